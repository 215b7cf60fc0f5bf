"""From a labelled data set to what one cell trains on and is tested on: pure functions, no randomness but a given seed.

Images are (N, H, W, C) uint8, `novel` (N,) bool.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from novanda.datasets import Labelled
from novanda.errors import InputError

COIL_TRAIN_BELOW = 285.0  # degrees; the last of the 57 training views is at 280


@dataclass(frozen=True)
class Split:
    """Training normals, and test samples with whether each is novel."""

    train_images: np.ndarray
    test_images: np.ndarray
    novel: np.ndarray


def one_vs_rest(labelled: Labelled, label: int) -> Split:
    """Protocol 2: train on one class's official training split, test on the whole official test set."""
    if not len(labelled.test_labels):
        raise InputError("one_vs_rest needs an official test split, which this data set has not; use angle_blocks")
    return Split(
        labelled.train_images[labelled.train_labels == label],
        labelled.test_images,
        labelled.test_labels != label,
    )


def one_vs_rest_thinned(labelled: Labelled, label: int) -> Split:
    """Protocol 2 with all test normals but only every ninth novelty: for what does not hang on the novelties."""
    whole = one_vs_rest(labelled, label)
    kept = ~whole.novel
    kept[np.flatnonzero(whole.novel)[::9]] = True
    return Split(whole.train_images, whole.test_images[kept], whole.novel[kept])


def angle_blocks(labelled: Labelled, label: int) -> Split:
    """COIL: train on one object's views from 0 to below 285 degrees, test on its other views and all other objects.

    Views 5 degrees apart are near-duplicates, which a random split would leave on both sides; a block leaves two.
    """
    angles = labelled.extra.get("train_angles")
    if angles is None:
        raise InputError("angle_blocks needs each view's angle, which only coil20 and coil100 have")
    train = (labelled.train_labels == label) & (np.asarray(angles) < COIL_TRAIN_BELOW)
    return Split(
        labelled.train_images[train],
        labelled.train_images[~train],
        labelled.train_labels[~train] != label,
    )


PROTOCOLS = {
    "one_vs_rest": one_vs_rest,
    "one_vs_rest_thinned": one_vs_rest_thinned,
    "angle_blocks": angle_blocks,
}
