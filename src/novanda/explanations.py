"""Why a detector finds a sample novel: what it expected, where the sample differs, which normals are most like it.

Letters: H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from novanda.calibration import Calibration
from novanda.errors import DataError, InputError
from novanda.examples import as_bytes
from novanda.heat import HeatKind, heat_kind, heat_maps
from novanda.sources import open_source, read_each

if TYPE_CHECKING:
    from novanda.detector import Detector
    from novanda.samples import Source

_BATCH = 16


@dataclass(frozen=True, eq=False)
class Neighbour:
    """One of the training images kept with the detector.

    Attributes:
        image: (H, W, C) uint8 as the detector saw it.
        identifier: its path, or its row, when the detector was fitted.
        distance: from the sample explained: Euclidean, between the method's features, or where it has none between
            values scaled to -1 to 1. Comparable within one detector only.
    """

    image: np.ndarray
    identifier: str
    distance: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a detector has to say about one sample.

    Attributes:
        name: the sample's path, or its row.
        image: (H, W, C) uint8: the sample as the detector saw it, resized; values of another range scaled to 0 to 255.
        expected: (H, W, C) uint8: what the method expected to see; None where it draws nothing.
        heat: (H, W) float32, at least 0. 1 is the 99 % quantile over all pixels of the maps of normals that were
            held out of training: of normal images one pixel in a hundred lies above it.
        heat_kind: "error": how far the sample is from what was expected; "occlusion": how much less novel the sample
            becomes when the region around a pixel is blurred.
        novelty: the headline score; higher = more novel.
        p_value, is_novel: by the calibration asked for; None where the detector has none.
        neighbours: the nearest of the training images kept, nearest first; empty where none are.
        remarks: sentences for a person.
    """

    name: str
    image: np.ndarray
    expected: np.ndarray | None
    heat: np.ndarray
    heat_kind: HeatKind
    novelty: float
    p_value: float | None
    is_novel: bool | None
    neighbours: tuple[Neighbour, ...]
    remarks: tuple[str, ...]


def explain(detector: Detector, X: Any, *, neighbours: int = 3, source: str | None = None) -> list[Explanation]:
    """Explain each sample.

    Args:
        detector: fitted, or loaded from a file.
        X: images in any form that `Detector.predict` takes: arrays, tensors, paths, a named set.
        neighbours: how many of the training images that are most like each sample to show.
        source: decide by the calibration of this source, see `Detector.calibration`.

    Returns:
        One explanation a sample, in order; all of them lie in memory (`explain_each` gives one at a time).

    Raises:
        InputError: samples that do not fit the detector, or rows of features, of which no picture can be drawn.
        DataError: the first sample that can not be read.
    """
    _check(detector, neighbours)
    samples = open_source(X, purpose="score", spec=detector.spec_)
    explanations = []
    for _, outcome in explain_each(detector, samples, neighbours=neighbours, source=source):
        if isinstance(outcome, DataError):
            raise outcome
        explanations.append(outcome)
    return explanations


def explain_each(
    detector: Detector, samples: Source, *, neighbours: int = 3, source: str | None = None
) -> Iterator[tuple[int, Explanation | DataError]]:
    """Explain samples one by one, in order: (position, explanation, or why the sample can not be read).

    A broken sample costs no other, and memory does not grow with their number. Where the method draws nothing, each
    sample costs as much time as scoring 65.
    """
    _check(detector, neighbours)
    calibration = detector.calibration_ if source is None else detector.calibration(source)
    for start in range(0, len(samples), _BATCH):
        positions = range(start, min(start + _BATCH, len(samples)))
        read = read_each(samples, positions)
        whole = [position for position, sample in zip(positions, read, strict=True) if isinstance(sample, np.ndarray)]
        made: list[Explanation] = []
        if whole:
            raw = np.stack([sample for sample in read if isinstance(sample, np.ndarray)])
            names = [samples.identifier(position) for position in whole]
            made = _explained(detector, raw, names, neighbours, calibration)
        explained = iter(made)
        for position, sample in zip(positions, read, strict=True):
            yield position, sample if isinstance(sample, DataError) else next(explained)


def _check(detector: Detector, neighbours: int) -> None:
    if not hasattr(detector, "spec_"):
        raise InputError("expected a fitted detector; got one that is not: call fit first, or load one")
    if detector.spec_.kind == "features":
        raise InputError(
            f"expected a detector of images, sounds or motion; got one of {detector.spec_.channels} features, "
            "of which no picture can be drawn; compare its novelty_scores"
        )
    if isinstance(neighbours, bool) or not isinstance(neighbours, int) or neighbours < 0:
        raise InputError(f"neighbours must be a whole number of at least 0; got {neighbours!r}")


def _explained(
    detector: Detector, raw: np.ndarray, names: Sequence[str], neighbours: int, calibration: Calibration | None
) -> list[Explanation]:
    """Explanations of raw samples (n, C, H, W) that fit the detector."""
    method, model, reference = detector.method_, detector.model_, detector.reference_
    novelty = detector.novelty_score(raw)
    with torch.inference_mode():
        samples = detector.spec_.scale(torch.from_numpy(raw).to(detector.device_))
        expected = method.reconstruct(model, reference, samples)
        heat = heat_maps(method, model, reference, samples).cpu().numpy()
        remarks = method.remarks(model, reference, samples)
        near = _neighbours(detector, samples, neighbours)
        images = _pictures(samples)
        drawn = [None] * len(names) if expected is None else list(_pictures(expected))
    scale = detector.heat_
    explanations = []
    for place, name in enumerate(names):
        value = float(novelty[place])
        own = float(heat[place].max()) or 1.0
        scaled = (heat[place] / (scale.value if scale else own)).astype(np.float32)
        flagged = None if calibration is None else value > calibration.threshold
        said = [*remarks[place], *_remarks(detector, scaled, flagged)]
        explanations.append(
            Explanation(
                name=name,
                image=images[place],
                expected=drawn[place],
                heat=scaled,
                heat_kind=heat_kind(method),
                novelty=value,
                p_value=None if calibration is None else _p_value(calibration, value),
                is_novel=flagged,
                neighbours=near[place],
                remarks=tuple(said),
            )
        )
    return explanations


def _p_value(calibration: Calibration, novelty: float) -> float:
    return float(calibration.p_value(np.array([novelty]))[0])


def _pictures(scaled: torch.Tensor) -> np.ndarray:
    """(B, C, H, W) scaled to (B, H, W, C) uint8."""
    return np.ascontiguousarray(as_bytes(scaled).permute(0, 2, 3, 1).cpu().numpy())


def _neighbours(detector: Detector, samples: torch.Tensor, count: int) -> list[tuple[Neighbour, ...]]:
    examples = detector.examples_
    if examples is None or count == 0:
        return [()] * len(samples)
    features = detector.method_.embed(detector.model_, detector.reference_, samples)
    places, distances = examples.nearest(samples, features, count)
    return [
        tuple(
            Neighbour(examples.images[place].permute(1, 2, 0).numpy(), examples.identifiers[place], distance)
            for place, distance in zip(row, far, strict=True)
        )
        for row, far in zip(places.tolist(), distances.tolist(), strict=True)
    ]


def _remarks(detector: Detector, heat: np.ndarray, flagged: bool | None) -> Iterator[str]:
    """What a person should know before reading the map."""
    scale = detector.heat_
    if scale is None:
        yield (
            "The file does not say how much heat normal images show, so this map is relative to its own hottest pixel: "
            "`novanda calibrate` with normal images mends that."
        )
    elif not scale.held_out:
        yield "The map's scale comes from images the detector was trained on: new normal images will show more heat."
    if scale is not None and flagged and heat.max() <= 1:
        yield "No single region is unusual: it is the image as a whole."
    if detector.examples_ is None:
        yield "No training images are kept in the file, so no neighbours can be shown."
