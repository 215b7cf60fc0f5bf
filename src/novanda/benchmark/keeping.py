"""What a cell keeps beside its scores because a figure needs it and scores alone can not give it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from novanda import metrics
from novanda.benchmark.cells import Cell
from novanda.benchmark.protocols import Split
from novanda.checkpoint import written_atomically
from novanda.detector import Detector
from novanda.errors import InputError
from novanda.method import Method
from novanda.sources import open_source
from novanda.training import Epoch

EMBEDDED = 500  # test samples of either side in a t-SNE, as in the paper's Figure 4
EXAMPLES = 8  # samples from either end of the scores
_SCALE_FROM = 256  # training images that set the error map's scale


class Curve:
    """AUROC of every score after every epoch, kept on disk so that a killed cell goes on with it.

    It is for looking at: nothing that is reported or decided depends on it.
    """

    def __init__(self, cell: Cell, detector: Detector, split: Split, out: Path) -> None:
        if type(cell.method).reference is not Method.reference:
            raise InputError(
                f"{cell.method.name} has no curve over epochs: what it compares with is made when training ends"
            )
        self.detector, self.split = detector, split
        self.path = out / "work" / f"{cell.key}.curve.json"
        self.points: list[dict[str, Any]] = []
        if self.path.exists():
            self.points = json.loads(self.path.read_text())

    def note(self, epoch: Epoch) -> None:
        """Add the finished epoch, unless it is known from before the cell was killed."""
        if epoch.number <= len(self.points):
            return
        # Epochs kept by the checkpoint are yielded again with the last one's weights. A kill between an epoch's
        # checkpoint and its point leaves just that last one to be made up for.
        self.points = self.points[: epoch.number - 1]
        novel = self.split.novel
        scores = self.detector.novelty_scores(self.split.test_images)
        auroc = {name: metrics.auroc(values[~novel], values[novel]) for name, values in scores.items()}
        self.points.append({"epoch": epoch.number, "auroc": auroc})
        with written_atomically(self.path) as file:
            file.write(json.dumps(self.points).encode())


def keep_pictures(cell: Cell, detector: Detector, split: Split, scores: Mapping[str, np.ndarray], out: Path) -> None:
    """Write kept/KEY.npz with the embedding and the examples that the cell asks for; nothing where it asks for none."""
    arrays: dict[str, Any] = {}
    if "embedding" in cell.keep:
        arrays |= _embedding(cell, detector, split)
    if "examples" in cell.keep:
        arrays |= _examples(detector, split, next(iter(scores.values())))
    if arrays:
        with written_atomically(out / "kept" / f"{cell.key}.npz") as file:
            np.savez_compressed(file, **arrays)


def _embedding(cell: Cell, detector: Detector, split: Split) -> dict[str, np.ndarray]:
    """t-SNE of 500 normal and 500 novel test samples in the method's own features, or pixels where it has none."""
    from sklearn.manifold import TSNE

    generator = np.random.default_rng(cell.seed)
    sides = [np.flatnonzero(split.novel == side) for side in (False, True)]
    chosen = np.concatenate([generator.permutation(side)[:EMBEDDED] for side in sides])
    images = split.test_images[chosen]
    seen = detector.embed(images)
    features = images.reshape(len(images), -1).astype(np.float32) if seen is None else seen
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    drawn = TSNE(2, perplexity=perplexity, init="pca", random_state=cell.seed).fit_transform(features)
    return {"embedding": drawn.astype(np.float32), "embedding_novel": split.novel[chosen]}


def _examples(detector: Detector, split: Split, novelty: np.ndarray) -> dict[str, np.ndarray]:
    """The lowest- and the highest-scored test samples, with what was expected in their place."""
    order = np.argsort(novelty, kind="stable")
    count = min(EXAMPLES, len(order) // 2)
    chosen = np.concatenate([order[:count], order[len(order) - count :]])
    images = split.test_images[chosen]
    kept: dict[str, Any] = {"images": images, "novelty": novelty[chosen], "novel": split.novel[chosen]}
    expected = detector.reconstruct(images)
    if expected is not None:
        # At the detector's own size, which a data set's images may not have.
        kept["images"] = _as_seen(detector, images)
        kept["expected"] = expected.clip(0, 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
        normals = split.train_images[np.linspace(0, len(split.train_images) - 1, _SCALE_FROM).astype(int)]
        drawn = detector.reconstruct(normals)
        assert drawn is not None
        errors = np.abs(drawn.transpose(0, 2, 3, 1) - _as_seen(detector, normals)).mean(3)
        kept["scale"] = np.float64(max(np.quantile(errors, 0.99), 1e-6))
    return {f"examples_{name}": values for name, values in kept.items()}


def _as_seen(detector: Detector, images: np.ndarray) -> np.ndarray:
    """Images as the detector reads them, (N, H, W, C) uint8."""
    source = open_source(images, purpose="score", spec=detector.spec_)
    return source.read(range(len(images))).transpose(0, 2, 3, 1)
