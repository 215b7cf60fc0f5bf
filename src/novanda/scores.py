"""What a detector and its exported file do alike with scores, so that the two can not drift apart.

Scores here are novelty: HIGHER = MORE NOVEL, one array (B,) for each name, the headline first. No torch in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from novanda.calibration import Calibration
from novanda.errors import CalibrationError, DataError, InputError
from novanda.samples import Source
from novanda.sources import read_each

Scores = dict[str, np.ndarray]


def check_calibration(calibration: object, source: object) -> None:
    """InputError unless it is a calibration, and its source a name or None."""
    if not isinstance(calibration, Calibration):
        raise InputError(f"expected a calibration.Calibration; got {calibration!r}; make one of normals' novelty")
    if source is not None and (not isinstance(source, str) or not source.strip()):
        raise InputError(f"a source is a name, such as 'camera 1'; got {source!r}")


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
        read = read_each(source, positions)
        whole = [sample for sample in read if not isinstance(sample, DataError)]
        rows: list[dict[str, float]] = []
        if whole:
            batch = score(np.stack(whole))
            rows = [dict(zip(batch, row, strict=True)) for row in np.stack(list(batch.values()), 1).tolist()]
        scores = iter(rows)
        for position, sample in zip(positions, read, strict=True):
            yield position, sample if isinstance(sample, DataError) else next(scores)


def in_force(
    calibration: Calibration | None, sources: Mapping[str, Calibration], source: str | None = None
) -> Calibration:
    """The calibration for all samples or, where `source` is named, that of this source alone.

    Raises:
        CalibrationError: the detector was fitted without held-out normals.
        InputError: a source that has no calibration of its own.
    """
    if source is not None:
        if source not in sources:
            known = ", ".join(map(repr, sorted(sources))) or "none yet"
            raise InputError(
                f"expected a source with a calibration of its own ({known}); got {source!r}. Check the name, or "
                "calibrate it: novanda calibrate --source"
            )
        return sources[source]
    if calibration is None:
        raise CalibrationError(
            "this detector has no threshold: it was fitted with calibration_fraction=0. Fit it with normals "
            "held out, or call calibrate() with scores of normals it has not seen"
        )
    return calibration
