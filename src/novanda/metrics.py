"""How well novelty scores separate normal from novel samples, each figure with its 95 % interval.

Scores point upwards: higher = more novel; novel is the positive class. Ties count as scikit-learn counts them
(against which every metric is tested), and a sample is flagged iff its score > threshold, strictly. Letters: N normal,
M novel samples, U distinct scores among both.

The metrics are computed here and not by scikit-learn because an interval needs each of them a thousand times: all
five are read off one pair of cumulative counts, some 40 times faster than the library's calls.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy.special import betaincinv, expit, ndtri

from novanda.errors import InputError

CONFIDENCE = 0.95
FEWEST_FOR_INTERVAL = 10
"""With fewer samples on a side a bootstrap only redraws the same few values; it gives no interval then."""

FEWEST_DRAWS = 40
"""Below this a 2.5 % tail holds less than one draw."""


# ---------------------------------------------------------------------------------------------------------------
# Single figures


def auroc(normal: np.ndarray, novel: np.ndarray) -> float:
    """Area under the ROC curve: the probability that a novel sample scores above a normal one, ties one half.

    Args:
        normal: (N,) novelty scores of normal samples, N >= 1.
        novel: (M,) novelty scores of novel samples, M >= 1.

    Returns:
        0 to 1; 0.5 for a detector that knows nothing, 1 for perfect separation.

    Raises:
        InputError: an array is empty, not 1-D, not numbers, or holds values that are not finite.
    """
    return _Ranking.of(*_two_sides(normal, novel)).observed().auroc()


def average_precision(normal: np.ndarray, novel: np.ndarray) -> float:
    """Sum over thresholds of (rise in recall) * precision, novel positive, not interpolated.

    It depends on the share of novel samples, M / (N + M): its level for a detector that knows nothing.
    Arguments and errors as for `auroc`.
    """
    return _Ranking.of(*_two_sides(normal, novel)).observed().average_precision()


def fpr_at_tpr(normal: np.ndarray, novel: np.ndarray, tpr: float = 0.95) -> float:
    """Share of normals flagged at the highest threshold that still flags at least `tpr` of the novel samples.

    That threshold lies just below the ceil(tpr * M)-th largest novel score, so normals that tie with it are flagged.
    Arguments and errors as for `auroc`; also InputError if `tpr` is not in (0, 1]. Returns 0 (best) to 1.
    """
    if not 0.0 < tpr <= 1.0:
        raise InputError(f"tpr is the share of novel samples to find, above 0 and at most 1; got {tpr!r}")
    return _Ranking.of(*_two_sides(normal, novel)).observed().fpr_at_tpr(tpr)


def equal_error_rate(normal: np.ndarray, novel: np.ndarray) -> float:
    """The error at which as large a share of normals is flagged as of novel samples is missed.

    Lowering the threshold from above all scores to below them draws the ROC curve: the share of normals flagged
    rises from 0 to 1 while that of novel samples missed falls from 1 to 0. Its points (one per distinct score, and
    the start) are joined by straight lines, as the AUROC does, and the rate is read where the two shares cross;
    there is exactly one such place. Arguments and errors as for `auroc`. Returns 0 (best) to 1.
    """
    return _Ranking.of(*_two_sides(normal, novel)).observed().equal_error_rate()


def half_total_error_rate(normal: np.ndarray, novel: np.ndarray, threshold: float) -> float:
    """(share of normals with score > threshold + share of novel samples with score <= threshold) / 2.

    Called HTER = (FAR + FRR) / 2 for face presentation attacks. Arguments and errors as for `auroc`; also
    InputError if the threshold is not finite. Returns 0 (best) to 1.
    """
    normal, novel = _two_sides(normal, novel)
    level = _finite_threshold(threshold)
    return float(np.mean(normal > level) + np.mean(novel <= level)) / 2


def roc_curve(normal: np.ndarray, novel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ROC curve: shares of either side flagged, as the threshold falls below one score after another.

    Arguments and errors as for `auroc`.

    Returns:
        false-positive and true-positive rates, (U + 1,) float64 each, rising from 0 to 1.
    """
    counts = _Ranking.of(*_two_sides(normal, novel)).observed()
    false, true = (np.concatenate(([0], side)) / side[-1] for side in (counts.false, counts.true))
    return false, true


def auroc_interval(normal: np.ndarray, novel: np.ndarray) -> tuple[float, float]:
    """95 % interval of the AUROC over test samples, in closed form.

    The variance is that of DeLong, DeLong and Clarke-Pearson (1988): of the share of novel samples above each normal
    one and of the share of normals below each novel one, ties one half. The interval is taken on logit(AUROC) and
    brought back, so it stays within (0, 1). `evaluate` bootstraps instead, for it needs every other figure too.
    At an AUROC of exactly 0 or 1 it is the exact bound that `evaluate` gives. Arguments and errors as for `auroc`.

    Returns:
        (low, high); both the AUROC itself where every placement is the same but not extreme.

    Raises:
        InputError: also with fewer than 2 samples on a side, which have no variance.
    """
    normal, novel = _two_sides(normal, novel)
    if min(len(normal), len(novel)) < 2:
        raise InputError(f"an interval needs 2 samples a side; got {len(normal)} normal and {len(novel)} novel")
    value = auroc(normal, novel)
    if value in (0.0, 1.0):
        pairs = min(len(normal), len(novel))
        return rate_interval(pairs if value else 0, pairs)
    variance = sum(
        _placements(side, other).var(ddof=1) / len(side) for side, other in ((normal, novel), (novel, normal))
    )
    width = float(ndtri((1 + CONFIDENCE) / 2)) * math.sqrt(variance) / (value * (1 - value))
    middle = math.log(value / (1 - value))
    return float(expit(middle - width)), float(expit(middle + width))


def _placements(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of `others` below each of `scores`, ties one half, (len(scores),)."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return below / (2 * len(others))


def rate_interval(hits: int, total: int) -> tuple[float, float]:
    """Exact 95 % interval of a rate, `hits` out of `total` independent samples (Clopper and Pearson 1934).

    It covers the true rate in at least 95 % of cases at every size, and is wider than needed for small ones.

    Returns:
        (low, high); low is exactly 0 for no hits and high exactly 1 for all hits.

    Raises:
        InputError: not 0 <= hits <= total, or total < 1.
    """
    if not 0 <= hits <= total or total < 1:
        raise InputError(f"a rate needs 0 <= hits <= total and total >= 1; got hits={hits}, total={total}")
    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(hits, total - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, total - hits, 1 - tail)) if hits < total else 1.0
    return low, high


# ---------------------------------------------------------------------------------------------------------------
# All figures, with intervals


@dataclass(frozen=True)
class Figure:
    """One metric with its 95 % interval.

    Attributes:
        value: the metric on all samples, 0 to 1; None where it is undefined.
        low, high: ends of the interval; both None where none can be given.
        reason: why value or interval is missing, in plain words; None if neither is.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.value is None:
            return f"undefined: {self.reason}"
        if self.low is None or self.high is None:
            return f"{self.value:.4f} (no interval: {self.reason})"
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Evaluation:
    """Every metric of one detector on one test set; see `evaluate` for how the intervals come about."""

    normal_count: int
    novel_count: int
    threshold: float
    draws: int
    seed: int
    auroc: Figure
    average_precision: Figure
    fpr_at_95_tpr: Figure
    equal_error_rate: Figure
    half_total_error_rate: Figure
    false_alarm_rate: Figure
    detection_rate: Figure

    def figures(self) -> dict[str, Figure]:
        """The metrics by name, in the order they are shown."""
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Figure)}

    def to_json(self) -> dict[str, Any]:
        """As a JSON object of plain numbers, text and nulls, one object per metric."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For the terminal: the sizes, then one line per metric."""
        head = f"{self.normal_count} normal, {self.novel_count} novel, threshold {self.threshold:.6g}; [95 % interval]"
        figures = self.figures()
        width = max(map(len, _TITLES.values()))
        return [head, *(f"{_TITLES[name]:<{width}}  {figure}" for name, figure in figures.items())]


_TITLES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "fpr_at_95_tpr": "FPR at 95 % TPR",
    "equal_error_rate": "equal error rate",
    "half_total_error_rate": "half total error rate",
    "false_alarm_rate": "false-alarm rate",
    "detection_rate": "detection rate",
}


def evaluate(
    normal: np.ndarray, novel: np.ndarray, threshold: float, *, draws: int = 1000, seed: int = 0
) -> Evaluation:
    """Every metric with a 95 % interval over the test samples (not over training runs or seeds).

    The false-alarm and the detection rate have the exact interval of `rate_interval`, at any size. The others
    have the 2.5 % and 97.5 % percentiles of a bootstrap that redraws N normals and M novel samples, each from its own
    side, and so keep the share of novel samples as it is. Samples are taken to be independent: frames of one video, or
    segments of one recording, are not, and the intervals are then too narrow.

    An AUROC of exactly 0 or 1 would bootstrap to an interval without width, and gets instead the exact bound of
    n = min(N, M) hits out of n, [0.025^(1/n), 1] or its mirror image. It is valid and conservative: n pairs of a novel
    and a normal sample can be formed without using a sample twice, each is in order with probability at most the true
    AUROC, and perfect separation needs all n in order. An AUROC just below 1 has the bootstrap's interval, which can
    be narrower than that bound: read it with care at small sizes. Where all draws of another figure are equal, it
    gets no interval.

    Args:
        normal: (N,) novelty scores of normal samples, higher = more novel; may be empty.
        novel: (M,) novelty scores of novel samples; may be empty.
        threshold: a sample is flagged iff its score > threshold.
        draws: bootstrap draws, at least 40.
        seed: of the bootstrap; the same seed gives the same intervals.

    Raises:
        InputError: scores that are not 1-D arrays of finite numbers, a threshold that is not finite, too few draws.
    """
    normal, novel = _one_side(normal, "normal"), _one_side(novel, "novel")
    level = _finite_threshold(threshold)
    if draws < FEWEST_DRAWS:
        raise InputError(f"a 95 % bootstrap interval needs at least {FEWEST_DRAWS} draws, better 1000; got {draws}")
    return Evaluation(
        normal_count=len(normal),
        novel_count=len(novel),
        threshold=level,
        draws=draws,
        seed=seed,
        **_curve_figures(normal, novel, level, draws, seed),
        false_alarm_rate=_rate_figure(int(np.count_nonzero(normal > level)), len(normal), "normal"),
        detection_rate=_rate_figure(int(np.count_nonzero(novel > level)), len(novel), "novel"),
    )


def _rate_figure(hits: int, total: int, side: str) -> Figure:
    """A rate with its exact interval, which holds at every size."""
    return Figure(hits / total, *rate_interval(hits, total)) if total else Figure(None, reason=f"no {side} samples")


_CURVE_FIGURES = ("auroc", "average_precision", "fpr_at_95_tpr", "equal_error_rate", "half_total_error_rate")


def _curve_figures(normal: np.ndarray, novel: np.ndarray, threshold: float, draws: int, seed: int) -> dict[str, Figure]:
    """The figures that need both sides, each with a bootstrap interval or the reason why it has none."""
    missing = [f"no {side} samples" for side, scores in (("normal", normal), ("novel", novel)) if not len(scores)]
    if missing:
        return dict.fromkeys(_CURVE_FIGURES, Figure(None, reason=" and ".join(missing)))
    ranking = _Ranking.of(normal, novel)
    above = int(np.count_nonzero(ranking.distinct > threshold))
    values = ranking.observed().all_figures(above)
    few = [
        f"only {len(scores)} {side} samples, and an interval needs at least {FEWEST_FOR_INTERVAL}"
        for side, scores in (("normal", normal), ("novel", novel))
        if len(scores) < FEWEST_FOR_INTERVAL
    ]
    if few:
        return {name: Figure(value, reason="; ".join(few)) for name, value in zip(_CURVE_FIGURES, values, strict=True)}
    generator = np.random.default_rng(seed)
    redrawn = np.array([ranking.redrawn(generator).all_figures(above) for _ in range(draws)])
    tail = (1 - CONFIDENCE) / 2
    # "lower" and "higher" return values that were drawn: interpolating would invent width where draws are equal.
    lows = np.quantile(redrawn, tail, axis=0, method="lower").tolist()
    highs = np.quantile(redrawn, 1 - tail, axis=0, method="higher").tolist()
    pairs = min(len(normal), len(novel))
    return {
        name: _bootstrapped(name, *figure, pairs=pairs)
        for name, *figure in zip(_CURVE_FIGURES, values, lows, highs, strict=True)
    }


def _bootstrapped(name: str, value: float, low: float, high: float, *, pairs: int) -> Figure:
    """The figure, unless the bootstrap has lost its width; then what can honestly be said instead."""
    if name == "auroc" and value == 1.0:
        return Figure(value, *rate_interval(pairs, pairs))
    if name == "auroc" and value == 0.0:
        return Figure(value, *rate_interval(0, pairs))
    # Equal draws can differ in the last bit, as sums of other terms.
    if math.isclose(low, high, rel_tol=1e-12, abs_tol=1e-12):
        return Figure(value, reason="every bootstrap draw gives the same value, which does not make it certain")
    return Figure(value, low, high)


# ---------------------------------------------------------------------------------------------------------------
# Counting


@dataclass(frozen=True)
class _Counts:
    """Cumulative counts down the distinct scores, from the highest to the lowest.

    Attributes:
        false: (U,) int64, normals whose score is at least the u-th highest distinct score.
        true: (U,) int64, the same of novel samples.
    """

    false: np.ndarray
    true: np.ndarray

    def auroc(self) -> float:
        # In whole numbers, so that perfect separation is exactly 1.
        normals, novels = int(self.false[-1]), int(self.true[-1])
        tied_or_above = self.false + np.concatenate(([0], self.false[:-1]))
        lost = int(np.diff(self.true, prepend=0) @ tied_or_above)
        return (2 * normals * novels - lost) / (2 * normals * novels)

    def average_precision(self) -> float:
        # A distinct score that a redraw left out at the very top has flagged nothing yet; its rise is 0.
        precision = self.true / np.maximum(self.true + self.false, 1)
        return float(np.diff(self.true, prepend=0) @ precision) / int(self.true[-1])

    def fpr_at_tpr(self, tpr: float) -> float:
        # The comparison is that of the two shares: ceil(tpr * M) in floats asks for 8 of 100 at 0.07.
        place = int(np.searchsorted(self.true / self.true[-1], tpr, side="left"))
        return int(self.false[place]) / int(self.false[-1])

    def equal_error_rate(self) -> float:
        normals, novels = int(self.false[-1]), int(self.true[-1])
        # (flagged share of normals - missed share of novels) * N * M, rising from -N * M to N * M.
        balance = self.false * novels - (novels - self.true) * normals
        place = int(np.searchsorted(balance, 0, side="left"))
        before = int(balance[place - 1]) if place else -normals * novels
        false_before = int(self.false[place - 1]) if place else 0
        part = -before / (int(balance[place]) - before)
        return (false_before + part * (int(self.false[place]) - false_before)) / normals

    def half_total_error_rate(self, above: int) -> float:
        """With the `above` highest distinct scores flagged."""
        false, true = (int(self.false[above - 1]), int(self.true[above - 1])) if above else (0, 0)
        return (false / int(self.false[-1]) + 1 - true / int(self.true[-1])) / 2

    def all_figures(self, above: int) -> tuple[float, float, float, float, float]:
        """In the order of `_CURVE_FIGURES`."""
        return (
            self.auroc(),
            self.average_precision(),
            self.fpr_at_tpr(0.95),
            self.equal_error_rate(),
            self.half_total_error_rate(above),
        )


@dataclass(frozen=True)
class _Ranking:
    """Scores as places among the U distinct ones, the highest at 0: sorted once, redrawn at will."""

    distinct: np.ndarray
    normal: np.ndarray
    novel: np.ndarray

    @classmethod
    def of(cls, normal: np.ndarray, novel: np.ndarray) -> _Ranking:
        distinct, place = np.unique(np.concatenate([normal, novel]), return_inverse=True)
        place = len(distinct) - 1 - place
        return cls(distinct[::-1], place[: len(normal)], place[len(normal) :])

    def observed(self) -> _Counts:
        return self._count(self.normal, self.novel)

    def redrawn(self, generator: np.random.Generator) -> _Counts:
        """Each side drawn anew from itself, with replacement."""
        return self._count(
            self.normal[generator.integers(len(self.normal), size=len(self.normal))],
            self.novel[generator.integers(len(self.novel), size=len(self.novel))],
        )

    def _count(self, normal: np.ndarray, novel: np.ndarray) -> _Counts:
        size = len(self.distinct)
        return _Counts(np.cumsum(np.bincount(normal, minlength=size)), np.cumsum(np.bincount(novel, minlength=size)))


def _one_side(scores: object, side: str) -> np.ndarray:
    """Checked float64 scores (n,), n >= 0."""
    try:
        array = np.asarray(scores)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{side} scores must be a 1-D array of numbers; got {type(scores).__name__}: {error}"
        ) from error
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise InputError(f"{side} scores must be a 1-D array of numbers; got shape {array.shape}, dtype {array.dtype}")
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise InputError(
            f"{side} scores must be finite; {bad} of {len(array)} are NaN or infinite: "
            "look at those samples or at the detector's training; dropping them would flatter the result"
        )
    return array.astype(np.float64)


def _two_sides(normal: object, novel: object) -> tuple[np.ndarray, np.ndarray]:
    """Checked scores of both sides, neither empty."""
    sides = _one_side(normal, "normal"), _one_side(novel, "novel")
    for side, scores in zip(("normal", "novel"), sides, strict=True):
        if not len(scores):
            raise InputError(f"this metric needs at least one score of each side; got no {side} samples")
    return sides


def _finite_threshold(threshold: float) -> float:
    if not math.isfinite(threshold):
        raise InputError(f"the threshold must be a finite number; got {threshold!r}")
    return float(threshold)
