"""From the novelty scores of held-out normals to p-values and to a threshold with a known false-alarm rate.

Split conformal prediction (Vovk et al. 2005; for outliers, Bates et al., "Testing for outliers with conformal
p-values", Annals of Statistics 2023). All scores here point upwards: higher = more novel. They are kept and
compared as they come, in float64, never clamped or rescaled.

Segments of recordings are not exchangeable with each other: two of one recording are alike. Recordings are. So whole
recordings are held out, and each has the weight of one normal, shared by its segments (hierarchical conformal
prediction: Lee, Barber and Willett, "Distribution-free inference with hierarchical data", 2023).

Letters: n held-out normals, or recordings; N their scores, n of them where each normal has one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from novanda.errors import CalibrationError, InputError, ModelFileError
from novanda.recordings import Aggregate, aggregated, check_aggregate


def _check_rate(rate: object) -> float:
    number = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if not number or not 0 < rate < 1:  # type: ignore[operator]  # a number by now
        raise InputError(
            f"a false-alarm rate is a number strictly between 0 and 1; got {rate!r}; give for instance 0.05"
        )
    return float(rate)  # type: ignore[arg-type]  # a number by now


def required(rate: float) -> int:
    """Fewest held-out normals that can support a false-alarm rate: ceil(1 / rate) - 1, at least 1.

    The smallest conformal p-value is 1 / (n + 1); at a rate below it nothing would ever be flagged. The rounding
    is that of `Calibration.p_value`: the answer is the least n whose 1 / (n + 1), as a float, is at most `rate`.

    Raises:
        InputError: the rate is not a number strictly between 0 and 1.
    """
    rate = _check_rate(rate)
    # ceil(1 / rate) in floats misses by one at rates such as 1/49, so the condition itself is searched.
    enough = 1
    while 1 / (enough + 1) > rate:
        enough *= 2
    too_few = enough // 2  # 0 where one normal is enough
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if 1 / (middle + 1) > rate:
            too_few = middle
        else:
            enough = middle
    return enough


@dataclass(frozen=True, eq=False)
class Calibration:
    """Novelty scores of held-out normals, and the share of normals that may be flagged.

    What is guaranteed: if the held-out normals and a new normal sample are exchangeable (for instance drawn
    independently from one distribution, and none of them used in training), the probability that the new sample is
    flagged is at most `false_alarm_rate`. It holds for every n, every distribution of scores and every
    detector, good or bad. The probability is marginal: it is taken over the draw of the held-out normals as well as of
    the new sample, so the rate expected over many calibrations is at most the one asked, and is exactly
    floor(rate * (n + 1)) / (n + 1) where scores have no ties.

    What is not: that this one calibration stays below the rate. Given the held-out normals, the rate on new
    normals is itself random (without ties a Beta(k, n + 1 - k), k = floor(rate * (n + 1))); more of them narrow
    it. Nothing is promised for any subgroup of normals, for data that drift, or about how many novel samples are found.

    Of recordings: if the n held-out recordings and a new normal one are exchangeable, all this holds of a segment drawn
    at random from the new one. In other words, the expected share of a new recording's segments that are flagged is at
    most `false_alarm_rate`. Nothing is promised of any certain segment, such as the one that scores highest: for the
    recording as a whole `of_recordings` gives a calibration of its own.

    Attributes:
        scores: (N,) float64, finite, ascending, read-only; given in any order, copied and sorted here.
        false_alarm_rate: strictly between 0 and 1, and at least 1 / (n + 1).
        confirmed: how many of the scores are of confirmed false alarms, see `with_false_alarms`.
        recordings: (N,) int64, read-only: which recording each score is of, numbered from 0 without a gap; None: each
            score is a normal of its own.

    Raises:
        InputError: the rate is not strictly between 0 and 1, the scores are not a 1-D array of numbers, or the
            recordings not one number for each of them.
        CalibrationError: no scores, scores that are not finite, or too few of them for the rate.
    """

    scores: np.ndarray
    false_alarm_rate: float
    confirmed: int = 0
    recordings: np.ndarray | None = None

    def __post_init__(self) -> None:
        rate = _check_rate(self.false_alarm_rate)
        given = _as_numbers(self.scores, "calibration scores")
        if given.ndim != 1:
            raise InputError(f"calibration scores must be a 1-D array, one per normal; got shape {given.shape}")
        bad = int(np.count_nonzero(~np.isfinite(given)))
        if bad:
            raise CalibrationError(
                f"calibration scores must be finite; {bad} of {len(given)} are NaN or infinite: "
                "the detector fails on those normals; look at them or at its training before calibrating"
            )
        grouped = None if self.recordings is None else _as_recordings(self.recordings, len(given))
        count, what = (len(given), "normals") if grouped is None else (int(grouped.max(initial=-1)) + 1, "recordings")
        needed = required(rate)
        if count < needed:
            possible = (
                f"or ask for a rate of at least {1 / (count + 1):.6g}, the lowest that {count} can support"
                if count
                else "no rate is possible without any"
            )
            raise CalibrationError(
                f"a false-alarm rate of {rate:g} needs at least {needed} calibration {what}; got {count}; "
                f"hold out {needed - count} more, {possible}"
            )
        if type(self.confirmed) is not int or not 0 <= self.confirmed <= len(given):
            raise InputError(f"confirmed is a whole number from 0 to {len(given)}; got {self.confirmed!r}")
        order = np.argsort(given, kind="stable")
        for name, values in (("scores", given[order]), ("recordings", None if grouped is None else grouped[order])):
            if values is not None:
                values.setflags(write=False)
                object.__setattr__(self, name, values)
        object.__setattr__(self, "false_alarm_rate", rate)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Calibration):
            return NotImplemented
        mine, theirs = self.recordings, other.recordings
        grouped_alike = mine is theirs or (mine is not None and theirs is not None and np.array_equal(mine, theirs))
        same_rate = self.false_alarm_rate == other.false_alarm_rate
        return same_rate and grouped_alike and np.array_equal(self.scores, other.scores)

    def __hash__(self) -> int:
        return hash((self.scores.tobytes(), self.false_alarm_rate))

    def __len__(self) -> int:
        """n: how many normals, or recordings, there are."""
        return len(self.scores) if self.recordings is None else int(self.recordings.max()) + 1

    def __repr__(self) -> str:
        of = "" if self.recordings is None else f" of {len(self)} recordings"
        return f"Calibration({len(self.scores)} scores{of}, false_alarm_rate={self.false_alarm_rate!r})"

    @cached_property
    def _above(self) -> np.ndarray:
        """(N + 1,): how many normals lie from each place among the ordered scores on; a segment counts as its share."""
        if self.recordings is None:
            return np.arange(len(self.scores), -1, -1)
        shares = 1 / np.bincount(self.recordings)[self.recordings]
        # Rounded, for whole recordings must count as whole numbers, which their shares added up can miss either way.
        return np.append(np.round(np.cumsum(shares[::-1])[::-1], 9), 0.0)

    def p_value(self, novelty: np.ndarray) -> np.ndarray:
        """Conformal p-values: (1 + how many calibration normals are >= the novelty) / (n + 1).

        Of recordings each counts as the share of its segments that are.

        Args:
            novelty: any shape, higher = more novel; infinities are ordered like any other value.

        Returns:
            float64 of the same shape, from 1 / (n + 1) to 1; low = novel.

        Raises:
            InputError: a novelty is NaN or not a number.
        """
        values = _as_numbers(novelty, "novelty scores")
        unknown = int(np.count_nonzero(np.isnan(values)))
        if unknown:
            raise InputError(
                f"novelty scores must be numbers to have a p-value; {unknown} of {values.size} are NaN: "
                "look at those samples or at the detector's training"
            )
        above = self._above[np.searchsorted(self.scores, values, side="left")]
        return np.asarray((1 + above) / (len(self) + 1), dtype=np.float64)

    @property
    def threshold(self) -> float:
        """The novelty above which, strictly, a sample is flagged: the floor(rate * (n + 1))-th largest score.

        `novelty > threshold` is exactly `p_value(novelty) <= false_alarm_rate`, ties included. Compare in
        float64: NumPy would round the threshold to float32 to compare it with a float32 array.
        """
        if self.recordings is None:
            return float(self.scores[len(self) - self._flagged])
        # The highest score that is not flagged itself: p-values fall from score to score, the first is about 1.
        normal = np.flatnonzero(self.p_value(self.scores) > self.false_alarm_rate)
        return float(self.scores[normal[-1] if len(normal) else 0])

    def of_recordings(self, how: Aggregate) -> Calibration:
        """For recordings as a whole: of the score that `how` makes of each one's segments; see `aggregated`.

        If the held-out recordings and a new normal one are exchangeable (also in their length: the most novel of more
        segments is more novel), the new one is flagged with a probability of at most `false_alarm_rate`. Without
        recordings each score is one, and this calibration is returned.
        """
        check_aggregate(how)
        if self.recordings is None:
            return self
        order = np.argsort(self.recordings, kind="stable")
        parts = np.split(self.scores[order], np.cumsum(np.bincount(self.recordings))[:-1])
        return Calibration(np.array([aggregated(part, how) for part in parts]), self.false_alarm_rate)

    @property
    def _flagged(self) -> int:
        """k, the largest count with k / (n + 1) <= rate, by the division and the comparison that p-values undergo.

        rate * (n + 1) alone can fall just short of a whole number (0.07 * 100, 0.29 * 100), or land on one.
        """
        total = len(self) + 1
        count = math.floor(self.false_alarm_rate * total)
        while (count + 1) / total <= self.false_alarm_rate:
            count += 1
        while count / total > self.false_alarm_rate:
            count -= 1
        return count

    def with_rate(self, rate: float) -> Calibration:
        """The same normals with another false-alarm rate; raises as the constructor does.

        Once false alarms were confirmed, a lower rate is an InputError: their scores were picked above the threshold of
        the rate in force, lie below that of a lower one, and would let it flag more normals than asked.
        """
        if self.confirmed and _check_rate(rate) < self.false_alarm_rate:
            raise InputError(
                f"{self.confirmed} confirmed false alarms were picked at a false-alarm rate of "
                f"{self.false_alarm_rate:g}; expected at least that rate, got {rate:g}. Calibrate on normals anew "
                "(--replace) for a lower one"
            )
        return replace(self, false_alarm_rate=rate)

    def with_normals(self, scores: np.ndarray, recordings: np.ndarray | None = None) -> Calibration:
        """With the scores of more normals of the same kind, none of them trained on; raises as the constructor does.

        Args:
            scores: (M,), of any order.
            recordings: (M,) where this calibration has some: which of the new recordings each is of, from 0 on.
        """
        more, numbers = self.joined(scores, recordings)
        return replace(self, scores=more, recordings=numbers)

    def joined(self, scores: np.ndarray, recordings: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """The scores and recordings that `with_normals` would hold, of which neither part need be enough alone."""
        more = np.concatenate([self.scores, _as_numbers(scores, "scores of normals")])
        if self.recordings is None and recordings is None:
            return more, None
        if self.recordings is None or recordings is None:
            raise InputError("segments of recordings and single normals can not be mixed; give all with --replace")
        numbers = _as_recordings(recordings, len(more) - len(self.scores))
        return more, np.concatenate([self.recordings, numbers + len(self)])

    def with_false_alarms(self, scores: np.ndarray) -> Calibration:
        """With normals that were flagged and that a person found to be normal: the threshold can only rise.

        Normals that were chosen because they score high are no fair draw, so p-values are no longer exact. The
        false-alarm rate holds all the same, for whatever the new threshold flags, the old one flagged too: with
        k = floor(rate * (n + 1)) the old threshold is the k-th largest of n scores. With f scores above it added, it
        is the (k + f)-th largest, while the new threshold is the floor(rate * (n + f + 1))-th largest, and that
        number is at most k + f. For this reason scores not above the threshold are left out. So are those that the
        calibration already holds, so that a file given twice does no harm.

        Raises:
            InputError: the calibration is of recordings, for which nothing of this is proven.
        """
        if self.recordings is not None:
            raise InputError(
                "false alarms can not be confirmed one by one where normals are recordings; give recordings that are "
                "normal as a whole, chosen without looking at their scores, to calibrate on"
            )
        given = np.unique(_as_numbers(scores, "scores of false alarms"))
        added = given[(given > self.threshold) & ~np.isin(given, self.scores)]
        return replace(self.with_normals(added), confirmed=self.confirmed + len(added))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` gives it back to the last bit."""
        content: dict[str, Any] = {"false_alarm_rate": self.false_alarm_rate, "scores": self.scores.tolist()}
        if self.confirmed:
            content["confirmed"] = self.confirmed
        if self.recordings is not None:
            content["recordings"] = self.recordings.tolist()
        return content

    @classmethod
    def from_json(cls, value: object) -> Calibration:
        """Read what `to_json` wrote.

        Raises:
            ModelFileError: it is anything else: other keys, other types, not finite, not ascending, too few.
        """
        expected = "a calibration must be an object with exactly 'false_alarm_rate' and 'scores'"
        optional = {"confirmed", "recordings"}
        if not isinstance(value, Mapping) or set(value) - optional != {"false_alarm_rate", "scores"}:
            came = f"keys {sorted(map(repr, value))[:8]}" if isinstance(value, Mapping) else f"a {type(value).__name__}"
            raise ModelFileError(f"{expected}; got {came}; the file is damaged or not from novanda, fit again")
        rate, scores = value["false_alarm_rate"], value["scores"]
        # bool is an int to Python and "1.5" a number to NumPy; neither is what to_json writes.
        if not isinstance(scores, list) or not all(type(score) in (int, float) for score in scores):
            raise ModelFileError("a calibration's scores must be a list of numbers; the file is damaged, fit again")
        grouped = value.get("recordings")
        if "recordings" in value and not (isinstance(grouped, list) and all(type(one) is int for one in grouped)):
            raise ModelFileError("a calibration's recordings must be a list of numbers; the file is damaged, fit again")
        try:
            numbers = np.array([float(score) for score in scores], dtype=np.float64)
            read = cls(numbers, rate, value.get("confirmed", 0), None if grouped is None else np.array(grouped))
        except (InputError, CalibrationError, OverflowError) as error:
            raise ModelFileError(f"the stored calibration can not serve: {error}") from error
        if not np.array_equal(read.scores, numbers):
            raise ModelFileError("a calibration's scores must be ascending; the file is damaged, fit again")
        return read


def _as_numbers(values: object, what: str) -> np.ndarray:
    """Float64 values of anything array-like that holds real numbers."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} must be an array of real numbers; got {type(values).__name__}: {error}") from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what} must be an array of real numbers; got dtype {array.dtype}")
    return array.astype(np.float64)


def _as_recordings(values: object, count: int) -> np.ndarray:
    """int64 numbers of recordings, one for each of `count` scores, every number from 0 to the greatest used."""
    array = np.asarray(values)
    if array.shape != (count,) or (count and array.dtype.kind not in "iu"):
        raise InputError(f"recordings must be {count} whole numbers, one a score; got {array.shape} of {array.dtype}")
    numbers = array.astype(np.int64)
    if count and (numbers.min() != 0 or len(np.unique(numbers)) != numbers.max() + 1):
        raise InputError("recordings must be numbered from 0 without a gap")
    return numbers
