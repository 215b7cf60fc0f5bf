"""From a labelled data set to what one cell trains on and is tested on: pure functions, no randomness but a given seed.

Images are (N, H, W, C) uint8, `novel` (N,) bool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from novanda.datasets import Labelled
from novanda.errors import InputError

FOLDS = 5
_FOLD_SEED = 20210822  # any number will do; it is part of the protocols, as the official splits are
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


def within_training(labelled: Labelled, label: int) -> Split:
    """What design choices may be made on: official training images alone, four fifths of the class to train on.

    The class's other fifth, drawn alike on every machine, is tested against every tenth training image of each other
    class. No figure of it says anything of the official test set, and none is one of the paper's.
    """
    normal = np.flatnonzero(labelled.train_labels == label)
    order = np.random.default_rng([_FOLD_SEED, label]).permutation(len(normal))
    held_out, kept = (np.sort(normal[part]) for part in (order[: len(normal) // 5], order[len(normal) // 5 :]))
    others = [np.flatnonzero(labelled.train_labels == each)[::10] for each in np.unique(labelled.train_labels)]
    novel = np.concatenate([places for places in others if labelled.train_labels[places[0]] != label])
    test = np.concatenate([held_out, novel])
    return Split(labelled.train_images[kept], labelled.train_images[test], np.arange(len(test)) >= len(held_out))


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


def merged_folds(labelled: Labelled, label: int, fold: int) -> Split:
    """Protocol 1: official splits merged, five stratified folds; the `fold`-th, from 1 on, is the held-out part.

    The normal class's other four folds train. Its held-out fifth is tested against as many novelties, drawn uniformly
    from the held-out fifths of all other classes. Which image is in which fold is the same for every class taken as
    normal and on every machine.
    """
    images = [part for part in (labelled.train_images, labelled.test_images) if len(part)]
    merged = np.concatenate(images)
    labels = np.concatenate([labelled.train_labels, labelled.test_labels])
    fold_of = np.empty(len(labels), dtype=np.int64)
    for each in np.unique(labels).tolist():
        places = np.flatnonzero(labels == each)
        order = np.random.default_rng([_FOLD_SEED, each]).permutation(len(places))
        fold_of[places[order]] = np.arange(len(places)) % FOLDS + 1
    normal, held_out = labels == label, fold_of == fold
    others = np.flatnonzero(~normal & held_out)
    count = int((normal & held_out).sum())
    if count > len(others):
        raise InputError(f"protocol 1 wants {count} novelties, as many as held-out normals; there are {len(others)}")
    chosen = np.sort(np.random.default_rng([_FOLD_SEED, label, fold]).choice(others, count, replace=False))
    test = np.concatenate([np.flatnonzero(normal & held_out), chosen])
    return Split(merged[normal & ~held_out], merged[test], np.arange(len(test)) >= count)


PROTOCOLS: Mapping[str, Callable[[Labelled, int], Split]] = {
    "one_vs_rest": one_vs_rest,
    "one_vs_rest_thinned": one_vs_rest_thinned,
    "within_training": within_training,
    "angle_blocks": angle_blocks,
    **{f"fold_{number}": partial(merged_folds, fold=number) for number in range(1, FOLDS + 1)},
}
