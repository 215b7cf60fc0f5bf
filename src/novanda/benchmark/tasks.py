"""What a cell is about, of images or of sounds: what it learns from, and how what it learned is judged.

Letter: S test samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from novanda import datasets, metrics
from novanda.benchmark.cells import Cell
from novanda.benchmark.protocols import PROTOCOLS, Split
from novanda.benchmark.rare_sounds import rare_sound_scores
from novanda.benchmark.sound_protocols import SoundSplit, sound_split
from novanda.datasets import Labelled
from novanda.datasets.dcase2017 import Mixture
from novanda.detector import Detector
from novanda.errors import DataError, InputError
from novanda.timelines import Timeline


@dataclass(frozen=True)
class Judged:
    """What a test found.

    Attributes:
        novel: (S,) bool, whether each test sample is novel.
        scores: (S,) each, headline first, higher = more novel.
        aurocs: by name, the headline's first; of the scores, and of what else was judged.
        arrays: to be kept beside the scores.
        sizes: further counts for the result line.
    """

    novel: np.ndarray
    scores: Mapping[str, np.ndarray]
    aurocs: Mapping[str, float]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)


class ImageTask:
    """A class of images against others, by one of `protocols.PROTOCOLS`.

    Attributes:
        split: what trains and what tests.
        train: what a detector is fitted on.
        data: where it comes from, for the result line.
    """

    def __init__(self, cell: Cell, root: Path) -> None:
        data_set = datasets.get(cell.data_set)
        labelled = load(cell.data_set, root)
        self.split: Split = PROTOCOLS[cell.protocol](labelled, data_set.label(cell.normal_class))
        _no_leak(self.split)
        self.train: Any = self.split.train_images
        self.data = {
            "checksum": labelled.checksum,
            "provenance": labelled.provenance,
            "standins": labelled.standins,
        }

    def judged(self, detector: Detector) -> Judged:
        """Every score of the test images."""
        scores, novel = detector.novelty_scores(self.split.test_images), self.split.novel
        return Judged(novel, scores, {name: metrics.auroc(v[~novel], v[novel]) for name, v in scores.items()})


class SoundTask:
    """A scene against events that sound before it, by one of `sound_protocols.SOUND_PROTOCOLS`.

    What is scored are segments; the AUROC of whole files, and of either at one ratio of event to background, stand
    beside theirs. At one ratio, files with an event at another are left out, and those without any are in.

    Attributes:
        train, data: as of `ImageTask`.
    """

    def __init__(self, cell: Cell, root: Path) -> None:
        assert cell.recording is not None
        data_set = datasets.named(cell.data_set)
        if data_set is None:
            raise DataError(f"expected a set of sounds that is known here; got {cell.data_set!r}")
        scene = data_set.classes[data_set.label(cell.normal_class)]
        self._split = load_sounds(cell.data_set, scene, cell.protocol, root)
        self.train: Any = self._split.normals(cell.recording)
        self.data = {"checksum": self._split.checksum, "provenance": self._split.provenance, "standins": 0}

    def judged(self, detector: Detector) -> Judged:
        """AUROC of segments and files, over all ratios and at each."""
        mixtures = self._split.mixtures
        by_path = {str(mixture.path): mixture for mixture in mixtures}
        timelines = list(detector.timelines([mixture.path for mixture in mixtures]))
        found = rare_sound_scores(timelines, mixtures)
        if found.segment_auroc is None or found.file_auroc is None:
            raise InputError("expected mixtures with and without an event; all that can be read are alike")
        aurocs = {"segment": found.segment_auroc, "file": found.file_auroc}
        for ratio in sorted({mixture.ebr for mixture in mixtures if mixture.ebr is not None}):
            aurocs |= _at_ratio(ratio, timelines, by_path)
        return Judged(
            found.novel,
            {"segment": found.novelty},
            aurocs,
            {"whole": found.file_novelty, "whole_novel": found.novel_file},
            {"test_files": found.files, "test_novel_files": found.novel_files, "left_out": len(found.left_out)},
        )


def _at_ratio(ratio: float, timelines: list[Timeline], by_path: Mapping[str, Mixture]) -> dict[str, float]:
    chosen = [timeline for timeline in timelines if by_path[timeline.path].ebr in (None, ratio)]
    found = rare_sound_scores(chosen, list(by_path.values()))
    both = {f"segment at {ratio:g} dB": found.segment_auroc, f"file at {ratio:g} dB": found.file_auroc}
    return {name: value for name, value in both.items() if value is not None}


def task_of(cell: Cell, root: Path) -> ImageTask | SoundTask:
    """What the cell is about, its data read."""
    return ImageTask(cell, root) if cell.recording is None else SoundTask(cell, root)


@lru_cache(maxsize=1)
def load(data_set: str, root: Path) -> Labelled:
    """A data set, read once for all cells in a row that need it."""
    return datasets.get(data_set).load(root)


@lru_cache(maxsize=1)
def load_sounds(data_set: str, scene: str, protocol: str, root: Path) -> SoundSplit:
    """A scene's split, made once for all cells in a row that need it."""
    return sound_split(data_set, scene, protocol, root)


def _no_leak(split: Split) -> None:
    """Refuse a cell whose test set holds one of its training images' very pixels among the novelties."""
    train, novel = (
        {hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in images}
        for images in (split.train_images, split.test_images[split.novel])
    )
    both = train & novel
    if both:
        raise InputError(f"{len(both)} training images are also test novelties: the labels or the split are wrong")
