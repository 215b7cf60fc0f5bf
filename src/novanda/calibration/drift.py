"""Have recent samples drifted away from the normals that set the threshold?

A test martingale: a gambler bets against the claim that the calibration's scores and the recent ones came in random
order. While the claim holds, the probability that the stake ever grows 1 / level times is at most `level`, whenever
one looks (Ville's inequality). The bets are those of the Simple Jumper (Vovk et al., "Retrain or not retrain:
conformal test martingales for change-point detection", COPA 2021). Letters: n calibration scores, m recent scores.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from novanda.calibration.conformal import Calibration
from novanda.errors import InputError

_BETS = (-1.0, 0.0, 1.0)  # on small p-values, on nothing, on large ones
_JUMP = 0.01  # share of the stake that is dealt out anew at each step
_MOST_GROWTH = 1.5  # in one step


@dataclass(frozen=True)
class Drift:
    """What the check found.

    Attributes:
        count: m, how many recent scores were looked at.
        level: the probability of finding drift where there is none, at most.
        log10_evidence: how far the stake had grown when it was largest, as a power of ten; 2 is a hundredfold.
        found: whether it ever reached 1 / level.
        position: of the recent scores the one, counted from 0, at which it first did; None where it did not.
        towards: the way in which the scores differed there; None where no drift was found.
        mean_p_value: of the recent ones, each compared with all scores before it: about 0.5 without drift, less where
            the recent ones are more novel.
        flagged: share of the recent scores above the calibration's threshold.
        false_alarm_rate: the share that the calibration allows.
    """

    count: int
    level: float
    log10_evidence: float
    found: bool
    position: int | None
    towards: Literal["more novel", "less novel"] | None
    mean_p_value: float
    flagged: float
    false_alarm_rate: float

    def lines(self) -> Iterator[str]:
        """The findings in plain words."""
        enough = required_scores(self.level)
        if self.position is not None:
            yield (
                f"drift: by number {self.position + 1:,} of {self.count:,} recent scores they were {self.towards} "
                "than the normals that set the threshold; by chance this happens in at most "
                f"{self.level:g} of all checks"
            )
            yield (
                "The false-alarm rate no longer holds. If what you see is still normal, calibrate on it: novanda "
                "calibrate --replace. If it is not, look at the most novel: many novelties look like drift"
            )
        elif self.count < enough:
            yield f"too few to tell: {self.count:,} recent scores; drift can show from {enough:,} on"
        else:
            yield f"no drift found: the recent {self.count:,} may well be like the normals that set the threshold"
        yield (
            f"evidence 10^{self.log10_evidence:.1f} of the 10^{-math.log10(self.level):.1f} needed, mean p-value "
            f"{self.mean_p_value:.3f} (0.5 without drift), {self.flagged:.2%} flagged at a false-alarm rate of "
            f"{self.false_alarm_rate:g}"
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def required_scores(level: float) -> int:
    """The fewest recent scores that could show drift at this level: those all more novel than any normal."""
    needed = -math.log(level)
    # The stake grows by half at most in a step, once it is all on one side; at first only a third of it is.
    grown, _ = _stakes(np.zeros(2 * math.ceil(needed / math.log(_MOST_GROWTH)) + 20))
    return int(np.flatnonzero(grown >= needed)[0]) + 1


def drift(calibration: Calibration, novelty: np.ndarray, *, level: float = 0.01, seed: int = 0) -> Drift:
    """Whether recent scores, in the order in which they came, could be those of the calibration's kind of normals.

    If the n scores of the calibration and the m recent ones are exchangeable, drift is found with a probability of at
    most `level`. Each recent score is compared with the calibration's and all recent ones before it; ties are broken at
    random, by `seed`, which makes these p-values independent and uniform whatever the scores' distribution. Scores of
    confirmed false alarms in a calibration are no random normals: many of them look like drift themselves.

    Args:
        calibration: what the recent scores are compared with.
        novelty: (m,) of the same detector, in order of time.
        level: strictly between 0 and 1.
        seed: for ties.

    Raises:
        InputError: no recent scores, scores that are not finite, or a level out of range.
    """
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise InputError(f"the level is a number strictly between 0 and 1; got {level!r}; give for instance 0.01")
    scores = np.asarray(novelty)
    if scores.ndim != 1 or not len(scores) or scores.dtype.kind not in "fiu" or not np.isfinite(scores).all():
        raise InputError(
            f"expected recent scores (m,), finite, at least one; got shape {scores.shape}; leave out what failed"
        )
    scores = scores.astype(np.float64)
    p_values = _online_p_values(calibration.scores, scores, np.random.default_rng(seed))
    grown, bets = _stakes(p_values)
    reached = np.flatnonzero(grown >= -math.log(level))
    position = int(reached[0]) if len(reached) else None
    return Drift(
        count=len(scores),
        level=float(level),
        log10_evidence=float(grown.max()) / math.log(10),
        found=position is not None,
        position=position,
        towards=None if position is None else "more novel" if bets[position] < 0 else "less novel",
        mean_p_value=float(p_values.mean()),
        flagged=float(np.mean(scores > calibration.threshold)),
        false_alarm_rate=calibration.false_alarm_rate,
    )


def _online_p_values(held_out: np.ndarray, recent: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Smoothed p-value of each recent score among those held out and all recent ones before it: (m,) in (0, 1)."""
    # Counting in the calibration is one call for all; the recent ones, which grow in number, are kept in order.
    above = len(held_out) - np.searchsorted(held_out, recent, side="right")
    equal = np.searchsorted(held_out, recent, side="right") - np.searchsorted(held_out, recent, side="left")
    before: list[float] = []
    for place, score in enumerate(recent.tolist()):
        right = bisect.bisect_right(before, score)
        above[place] += len(before) - right
        equal[place] += right - bisect.bisect_left(before, score)
        before.insert(right, score)
    total = len(held_out) + 1 + np.arange(len(recent))
    result: np.ndarray = (above + generator.random(len(recent)) * (equal + 1)) / total
    return result


def _stakes(p_values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """After each p-value the logarithm of the Simple Jumper's stake, begun at 0, and its mean bet: (m,) twice."""
    shares = [1 / len(_BETS)] * len(_BETS)
    grown = 0.0
    logarithms, bets = np.empty(len(p_values)), np.empty(len(p_values))
    for place, p_value in enumerate(p_values.tolist()):
        shares = [
            ((1 - _JUMP) * share + _JUMP / len(_BETS)) * (1 + bet * (p_value - 0.5))
            for bet, share in zip(_BETS, shares, strict=True)
        ]
        # Shares of 1, and what they have grown by apart, or a long drift would overflow.
        total = sum(shares)
        shares = [share / total for share in shares]
        grown += math.log(total)
        logarithms[place] = grown
        bets[place] = sum(bet * share for bet, share in zip(_BETS, shares, strict=True))
    return logarithms, bets
