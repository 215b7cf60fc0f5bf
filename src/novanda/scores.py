"""What a detector and its exported file do alike with scores, so that the two can not drift apart.

Scores here are novelty: HIGHER = MORE NOVEL, one array (B,) for each name, the headline first. No torch in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from novanda.calibration import Calibration
from novanda.errors import CalibrationError, DataError, InputError
from novanda.samples import Source
from novanda.sources import ImageFiles

Scores = dict[str, np.ndarray]


def checked_scores(scores: Mapping[str, np.ndarray]) -> Scores:
    """Scores of one batch as float64; InputError where the headline is not finite."""
    result = {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}
    headline, values = next(iter(result.items()))
    if not np.isfinite(values).all():
        raise InputError(
            f"the score {headline} is not finite for {int((~np.isfinite(values)).sum())} of {len(values)} samples: "
            "they hold values that are not finite or far beyond those fitted on"
        )
    return result


def score_each_of(
    source: Source, score: Callable[[np.ndarray], Scores], batch_size: int = 64
) -> Iterator[tuple[int, dict[str, float] | DataError]]:
    """Score a source sample by sample, in order: (position, scores headline first, or why it can not be read).

    `score` gets raw samples (B, C, H, W). A broken sample costs no other. Memory does not grow with the source.
    """
    for start in range(0, len(source), batch_size):
        positions = range(start, min(start + batch_size, len(source)))
        read = _read_each(source, positions)
        whole = [sample for sample in read if not isinstance(sample, DataError)]
        rows: list[dict[str, float]] = []
        if whole:
            batch = score(np.stack(whole))
            rows = [dict(zip(batch, row, strict=True)) for row in np.stack(list(batch.values()), 1).tolist()]
        scores = iter(rows)
        for position, sample in zip(positions, read, strict=True):
            yield position, sample if isinstance(sample, DataError) else next(scores)


def _read_each(source: Source, positions: Sequence[int]) -> list[np.ndarray | DataError]:
    if isinstance(source, ImageFiles):
        return source.read_each(positions)
    return list(source.read(positions))


def in_force(calibration: Calibration | None) -> Calibration:
    """The calibration; CalibrationError where the detector was fitted without held-out normals."""
    if calibration is None:
        raise CalibrationError(
            "this detector has no threshold: it was fitted with calibration_fraction=0. Fit it with normals "
            "held out, or call calibrate() with scores of normals it has not seen"
        )
    return calibration
