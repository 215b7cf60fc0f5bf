"""Conformal calibration against plain loops, and its guarantee against simulation."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from novanda.calibration import Calibration, required
from novanda.errors import CalibrationError, InputError, ModelFileError

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=40) | st.lists(
    st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40
)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    """Any scores, with any rate they can support, those on the steps of the p-value above all."""
    scores = np.array(draw(SCORES))
    lowest = 1 / (len(scores) + 1)
    step = st.integers(1, len(scores)).map(lambda count: count / (len(scores) + 1))
    beside = st.tuples(step, st.sampled_from([0.0, 1.0])).map(lambda pair: float(np.nextafter(*pair)))
    short = st.integers(1, 99).map(lambda percent: percent / 100)
    rate = draw((step | beside | short | st.floats(lowest, 0.9999)).filter(lambda rate: lowest <= rate < 1))
    return Calibration(scores, rate)


@given(calibrations(), SCORES)
def test_p_values_and_threshold_against_a_plain_loop(calibration: Calibration, fresh: list[float]) -> None:
    held_out = calibration.scores.tolist()
    # Fresh scores, and the held-out ones themselves for ties, with their neighbours.
    beside = [math.nextafter(score, end) for score in held_out for end in (math.inf, -math.inf)]
    novelty = np.array([*fresh, *held_out, *beside, math.inf, -math.inf])
    p_values = calibration.p_value(novelty)
    expected = [(1 + sum(score >= value for score in held_out)) / (len(held_out) + 1) for value in novelty.tolist()]
    assert p_values.tolist() == expected
    flagged = novelty > calibration.threshold
    assert flagged.tolist() == [p <= calibration.false_alarm_rate for p in expected]


@pytest.mark.parametrize(
    ("rate", "normals", "flagged"),
    [(0.1, 9, 1), (0.3, 9, 3), (0.07, 99, 7), (0.29, 99, 29), (0.57, 99, 57), (0.05, 19, 1), (1 / 3, 2, 1)],
)
def test_whole_products_are_not_lost_to_rounding(rate: float, normals: int, flagged: int) -> None:
    scores = np.arange(normals, dtype=float)
    assert int(np.sum(scores > Calibration(scores, rate).threshold)) == flagged - 1
    assert Calibration(scores, rate).threshold == normals - flagged


def test_every_percentage_of_every_size_is_as_exact_arithmetic_has_it() -> None:
    for normals in range(1, 300):
        scores = np.arange(normals, dtype=float)
        for percent in range(1, 100):
            count = Fraction(percent, 100) * (normals + 1)
            if count >= 1:
                assert Calibration(scores, percent / 100).threshold == normals - math.floor(count)


@pytest.mark.parametrize(("normals", "flagged"), [(5, 5), (9, 9), (10, 9), (12, 3), (19, 9)])
def test_a_rate_just_below_a_step_does_not_reach_it(normals: int, flagged: int) -> None:
    # rate * (n + 1) rounds up to the whole number here, while the p-value still lies above the rate.
    calibration = Calibration(np.arange(normals, dtype=float), math.nextafter(flagged / (normals + 1), 0))
    assert calibration.threshold == normals - flagged + 1


def test_by_hand_with_ties() -> None:
    calibration = Calibration(np.array([3.0, 1.0, 2.0, 2.0]), 0.4)
    assert calibration.scores.tolist() == [1, 2, 2, 3]
    assert calibration.p_value(np.array([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5])).tolist() == [
        1,
        1,
        0.8,
        0.8,
        0.4,
        0.4,
        0.2,
    ]
    assert calibration.threshold == 2.0
    assert calibration.with_rate(0.2).threshold == 3.0


def test_p_values_keep_the_shape_and_nothing_is_clamped() -> None:
    calibration = Calibration(np.array([-1e300, 1e300, 5e-324]), 0.25)
    assert calibration.p_value(np.zeros((2, 3, 1))).shape == (2, 3, 1)
    assert calibration.p_value(np.array(np.inf)).shape == ()
    assert calibration.scores.tolist() == [-1e300, 5e-324, 1e300]
    assert calibration.threshold == 1e300
    assert Calibration(np.array([0.1], dtype=np.float32), 0.5).threshold == float(np.float32(0.1))
    assert Calibration(np.array([2, 1]), 0.5).threshold == 2.0


@pytest.mark.parametrize("draw", ["cauchy", "log-normal", "normal"])
@pytest.mark.parametrize(("normals", "rate"), [(19, 0.05), (30, 0.1), (99, 0.07), (200, 0.05), (50, 0.5)])
def test_the_promised_false_alarm_rate_holds_over_1000_calibrations(draw: str, normals: int, rate: float) -> None:
    generator = np.random.default_rng([normals, int(1000 * rate)])
    samplers: dict[str, Callable[[int], np.ndarray]] = {
        "cauchy": lambda size: generator.standard_cauchy(size),
        "log-normal": lambda size: generator.lognormal(sigma=4, size=size),
        "normal": lambda size: generator.standard_normal(size),
    }
    sample = samplers[draw]
    rates = np.array([float(np.mean(sample(400) > Calibration(sample(normals), rate).threshold)) for _ in range(1000)])
    promised = math.floor(Fraction(str(rate)) * (normals + 1)) / (normals + 1)
    error = float(rates.std(ddof=1)) / math.sqrt(1000)
    assert promised <= rate
    assert abs(float(rates.mean()) - promised) <= 4 * error


def test_ties_make_it_stricter_never_laxer() -> None:
    generator = np.random.default_rng(0)
    rates = [
        float(np.mean(generator.poisson(1, 400) > Calibration(generator.poisson(1, 39), 0.1).threshold))
        for _ in range(1000)
    ]
    assert np.mean(rates) <= 0.1


# ---------------------------------------------------------------------------------------------------------------
# More normals, false alarms, sources


@given(calibrations(), SCORES)
def test_more_normals_are_added(calibration: Calibration, more: list[float]) -> None:
    after = calibration.with_normals(np.array(more))
    assert after.scores.tolist() == sorted([*calibration.scores.tolist(), *more])
    assert after.false_alarm_rate == calibration.false_alarm_rate


@given(calibrations(), SCORES)
def test_false_alarms_never_lower_the_threshold(calibration: Calibration, confirmed: list[float]) -> None:
    after = calibration.with_false_alarms(np.array(confirmed))
    assert after.threshold >= calibration.threshold
    added = {score for score in confirmed if score > calibration.threshold} - set(calibration.scores.tolist())
    assert len(after) == len(calibration) + len(added)
    assert after.with_false_alarms(np.array(confirmed)).threshold >= after.threshold


def test_the_same_false_alarms_given_twice_change_nothing_more() -> None:
    calibration = Calibration(np.arange(99.0), 0.05)
    once = calibration.with_false_alarms(np.array([200.0, 300.0, 300.0, 3.0]))
    assert once.scores.tolist() == [*range(99), 200, 300]
    assert once.with_false_alarms(np.array([200.0, 300.0])) == once


@pytest.mark.parametrize(("normals", "rate"), [(39, 0.05), (99, 0.1), (20, 0.3)])
def test_the_rate_holds_after_false_alarms_were_confirmed_over_1000_calibrations(normals: int, rate: float) -> None:
    """A person confirms some of the false alarms of each day, picked as may be."""
    generator = np.random.default_rng([normals, 2])
    before, after = [], []
    for run in range(1000):
        calibration = Calibration(generator.lognormal(size=normals), rate)
        later = generator.lognormal(size=400)
        before.append(np.mean(later > calibration.threshold))
        for _ in range(3):
            day = generator.lognormal(size=100)
            alarms = np.sort(day[day > calibration.threshold])
            picked = alarms[: run % 4] if run % 2 else alarms  # only those nearest to the threshold, or all
            calibration = calibration.with_false_alarms(picked)
        after.append(np.mean(later > calibration.threshold))
    error = np.std(after, ddof=1) / math.sqrt(1000)
    assert np.mean(after) <= rate + 3 * error
    assert np.mean(after) < np.mean(before), "the confirmed alarms must have had their effect"


def test_the_rate_holds_in_each_source_where_one_threshold_for_all_would_not() -> None:
    """Two cameras, one with higher scores: a calibration for each (Mondrian) against the pooled one."""
    generator = np.random.default_rng(5)
    rate, own, pooled = 0.1, [], []
    for _ in range(1000):
        dark, bright = generator.normal(0, 1, 50), generator.normal(2, 1, 50)
        new_dark, new_bright = generator.normal(0, 1, 200), generator.normal(2, 1, 200)
        own.append([np.mean(new > Calibration(old, rate).threshold) for old, new in
                    ((dark, new_dark), (bright, new_bright))])  # fmt: skip
        both = Calibration(np.concatenate([dark, bright]), rate)
        pooled.append([np.mean(new_dark > both.threshold), np.mean(new_bright > both.threshold)])
    error = np.std(own, axis=0, ddof=1) / math.sqrt(1000)
    assert (np.mean(own, axis=0) <= rate + 3 * error).all()
    assert np.mean(own, axis=0).min() > rate / 2
    assert np.mean(pooled, axis=0)[1] > 1.5 * rate, "else this test would show nothing"


# ---------------------------------------------------------------------------------------------------------------
# Too few, or wrong


@pytest.mark.parametrize(
    ("rate", "normals"), [(0.1, 9), (0.05, 19), (0.01, 99), (1 / 3, 2), (0.3, 3), (0.5, 1), (0.9, 1)]
)
def test_required_by_hand(rate: float, normals: int) -> None:
    assert required(rate) == normals


@given(st.integers(1, 10**6))
def test_required_inverts_the_smallest_p_value(normals: int) -> None:
    # ceil(1 / rate) - 1 in floats is wrong for some of these.
    assert required(1 / (normals + 1)) == normals


@given(st.floats(1e-12, 1, exclude_max=True))
def test_required_is_the_least_that_serves(rate: float) -> None:
    normals = required(rate)
    assert normals >= 1
    assert 1 / (normals + 1) <= rate
    assert normals == 1 or 1 / normals > rate
    assert abs(normals - max(1, math.ceil(1 / Fraction(rate)) - 1)) <= 1


def test_required_of_the_smallest_float_ends() -> None:
    assert required(5e-324) > 10**300


@given(st.integers(1, 60), st.floats(0.001, 0.999))
def test_too_few_normals_are_refused_exactly_below_the_number_required(normals: int, rate: float) -> None:
    scores = np.arange(normals, dtype=float)
    if normals >= required(rate):
        assert scores[0] <= Calibration(scores, rate).threshold <= scores[-1]
    else:
        with pytest.raises(CalibrationError):
            Calibration(scores, rate)


def test_the_message_names_what_is_needed_what_there_is_and_what_is_possible() -> None:
    with pytest.raises(CalibrationError) as caught:
        Calibration(np.arange(10.0), 0.05)
    assert str(caught.value) == (
        "a false-alarm rate of 0.05 needs at least 19 calibration normals; got 10; "
        "hold out 9 more, or ask for a rate of at least 0.0909091, the lowest that 10 can support"
    )
    with pytest.raises(CalibrationError, match="needs at least 19 calibration normals; got 0; hold out 19 more"):
        Calibration(np.array([]), 0.05)
    with pytest.raises(CalibrationError, match="at least 99 calibration normals; got 19"):
        Calibration(np.arange(19.0), 0.05).with_rate(0.01)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 2, math.nan, math.inf, 10**400, True, "0.05", None])
def test_rates_outside_0_and_1_are_refused(rate: Any) -> None:
    with pytest.raises(InputError, match="strictly between 0 and 1; got"):
        Calibration(np.arange(100.0), rate)
    with pytest.raises(InputError, match="strictly between 0 and 1; got"):
        required(rate)


def test_scores_that_are_not_finite_are_counted() -> None:
    with pytest.raises(CalibrationError, match="2 of 4 are NaN or infinite"):
        Calibration(np.array([0.0, np.nan, 1.0, np.inf]), 0.5)


@pytest.mark.parametrize(
    "scores", [np.zeros((3, 3)), np.array(1.0), np.array(["1.0"]), [[1.0], [1.0, 2.0]], None, [True]]
)
def test_scores_that_are_not_a_row_of_numbers_are_refused(scores: Any) -> None:
    with pytest.raises(InputError, match="calibration scores must be"):
        Calibration(scores, 0.5)


def test_a_novelty_without_a_value_has_no_p_value() -> None:
    with pytest.raises(InputError, match="1 of 3 are NaN"):
        Calibration(np.arange(9.0), 0.1).p_value(np.array([0.0, np.nan, np.inf]))


# ---------------------------------------------------------------------------------------------------------------
# A value


def test_it_owns_its_scores() -> None:
    scores = np.array([2.0, 1.0])
    calibration = Calibration(scores, 0.5)
    scores[:] = 7
    assert calibration.scores.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        calibration.scores[0] = 9


def test_equality_hash_length_and_copies() -> None:
    calibration = Calibration(np.arange(9.0), 0.1)
    assert calibration == Calibration(np.arange(9.0)[::-1], 0.1)
    assert hash(calibration) == hash(Calibration(np.arange(9.0)[::-1], 0.1))
    assert calibration != calibration.with_rate(0.2)
    assert calibration != Calibration(np.arange(10.0), 0.1)
    assert calibration != 3
    assert len(calibration) == 9
    assert repr(calibration) == "Calibration(9 scores, false_alarm_rate=0.1)"
    assert pickle.loads(pickle.dumps(calibration)) == calibration


@given(calibrations())
def test_json_gives_it_back_to_the_last_bit(calibration: Calibration) -> None:
    text = json.dumps(calibration.to_json(), allow_nan=False)
    back = Calibration.from_json(json.loads(text))
    assert back == calibration
    assert back.threshold == calibration.threshold


@pytest.mark.parametrize(
    "hostile",
    [
        None,
        [],
        "text",
        {},
        {"scores": [1.0, 2.0]},
        {"scores": [1.0, 2.0], "false_alarm_rate": 0.5, "more": 1},
        {1: 2, "scores": [1.0]},
        {"scores": [1.0, 2.0], "false_alarm_rate": "0.5"},
        {"scores": [1.0, 2.0], "false_alarm_rate": True},
        {"scores": [1.0, 2.0], "false_alarm_rate": 0.1},
        {"scores": [1.0, 2.0], "false_alarm_rate": math.nan},
        {"scores": [1.0, 2.0], "false_alarm_rate": 10**400},
        {"scores": [2.0, 1.0], "false_alarm_rate": 0.5},
        {"scores": [], "false_alarm_rate": 0.5},
        {"scores": "12", "false_alarm_rate": 0.5},
        {"scores": {"0": 1.0}, "false_alarm_rate": 0.5},
        {"scores": [1.0, None], "false_alarm_rate": 0.5},
        {"scores": [1.0, "2.0"], "false_alarm_rate": 0.5},
        {"scores": [False, True], "false_alarm_rate": 0.5},
        {"scores": [[1.0], [2.0]], "false_alarm_rate": 0.5},
        {"scores": [1.0, math.nan], "false_alarm_rate": 0.5},
        {"scores": [1.0, math.inf], "false_alarm_rate": 0.5},
        {"scores": [1, 10**400], "false_alarm_rate": 0.5},
    ],
)
def test_hostile_json_is_refused(hostile: Any) -> None:
    with pytest.raises(ModelFileError):
        Calibration.from_json(hostile)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(_JSON | st.fixed_dictionaries({"scores": _JSON | st.lists(st.floats()), "false_alarm_rate": _JSON}))
def test_any_json_gives_a_calibration_or_a_model_file_error(value: Any) -> None:
    try:
        calibration = Calibration.from_json(value)
    except ModelFileError:
        return
    assert calibration.to_json() == value


def test_after_confirmed_alarms_no_lower_rate_is_taken() -> None:
    """Picked above the old threshold they lie below that of a lower rate, which they would drag down."""
    calibration = Calibration(np.arange(99.0), 0.2)
    after = calibration.with_false_alarms(np.array([80.5, 81.5, 200.0]))
    assert (after.confirmed, len(after)) == (3, 102)
    assert after.with_rate(0.3).confirmed == 3
    with pytest.raises(InputError, match=r"3 confirmed false alarms were picked at a false-alarm rate of 0\.2"):
        after.with_rate(0.1)
    again = Calibration.from_json(json.loads(json.dumps(after.to_json())))
    assert (again, again.confirmed) == (after, 3)
    assert "confirmed" not in calibration.to_json(), "files without any stay as they were"
    for wrong in (-1, 200, True, 1.5):
        with pytest.raises(InputError, match="confirmed is a whole number"):
            Calibration(np.arange(99.0), 0.2, wrong)  # type: ignore[arg-type]  # what a file may hold
