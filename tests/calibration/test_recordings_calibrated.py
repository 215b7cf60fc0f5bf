"""Calibrations of recordings: p-values against a loop, what they guarantee by simulation, JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from novanda.calibration import Calibration
from novanda.errors import CalibrationError, InputError, ModelFileError


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    sizes = draw(st.lists(st.integers(1, 6), min_size=4, max_size=30))
    scores = draw(st.lists(st.integers(0, 12), min_size=sum(sizes), max_size=sum(sizes)))
    return Calibration(np.array(scores) / 4, 0.2, recordings=np.repeat(np.arange(len(sizes)), sizes))


def looped_p_value(calibration: Calibration, novelty: float) -> float:
    """Straight from the definition: of each recording the share of its segments that are at least as novel."""
    assert calibration.recordings is not None
    count = len(set(calibration.recordings.tolist()))
    total = 1.0
    for recording in range(count):
        own = calibration.scores[calibration.recordings == recording].tolist()
        total += sum(score >= novelty for score in own) / len(own)
    return total / (count + 1)


@given(calibrations(), st.lists(st.integers(-2, 14), min_size=1, max_size=5))
def test_p_values_and_threshold_are_those_of_a_loop(calibration: Calibration, given_scores: list[int]) -> None:
    for novelty in (np.array(given_scores) / 4).tolist():
        wanted = looped_p_value(calibration, novelty)
        assert calibration.p_value(np.array([novelty]))[0] == pytest.approx(wanted)
        if abs(wanted - calibration.false_alarm_rate) > 1e-9:
            assert (novelty > calibration.threshold) == (wanted <= calibration.false_alarm_rate)


@given(calibrations())
def test_one_segment_a_recording_is_the_ordinary_case(calibration: Calibration) -> None:
    scores = calibration.scores
    grouped = Calibration(scores, 0.2, recordings=np.random.default_rng(0).permutation(len(scores)))
    plain = Calibration(scores, 0.2)
    asked = np.append(scores, [-1, 99])
    assert (grouped.p_value(asked) == plain.p_value(asked)).all()
    assert grouped.threshold == plain.threshold
    assert (grouped.of_recordings("mean").scores == plain.scores).all()


def made_recordings(generator: np.random.Generator, count: int) -> list[np.ndarray]:
    """Exchangeable recordings of different lengths whose segments are alike; longer ones are also louder."""
    sizes = generator.integers(1, 30, count)
    return [generator.normal() + 0.05 * size + generator.normal(size=size) for size in sizes]


def test_the_rate_holds_for_segments_of_new_recordings_and_for_recordings_as_a_whole() -> None:
    """Over many calibrations. The threshold for segments, used for the greatest of each recording, flags far more."""
    generator = np.random.default_rng(0)
    segments, wholes, careless = [], [], []
    for _ in range(400):
        held_out, new = made_recordings(generator, 19), made_recordings(generator, 10)
        groups = np.repeat(np.arange(19), [len(each) for each in held_out])
        calibration = Calibration(np.concatenate(held_out), 0.1, recordings=groups)
        whole = calibration.of_recordings("max")
        segments.append([float(np.mean(each > calibration.threshold)) for each in new])
        wholes.append([bool(each.max() > whole.threshold) for each in new])
        careless.append([bool(each.max() > calibration.threshold) for each in new])
    # 4,000 recordings, ten for each calibration: the mean's standard error is about 0.005.
    assert 0.06 < np.mean(segments) <= 0.115
    assert 0.08 < np.mean(wholes) <= 0.115
    assert np.mean(careless) > 0.25


def test_wholes_are_those_of_each_recording() -> None:
    scores, groups = np.array([3.0, 1, 2, 9, 4, 0]), np.array([1, 0, 1, 2, 1, 0])
    calibration = Calibration(scores, 0.3, recordings=groups)
    assert len(calibration) == 3
    assert calibration.of_recordings("max").scores.tolist() == [1, 4, 9]
    assert calibration.of_recordings("mean").scores.tolist() == [0.5, 3, 9]
    assert repr(calibration) == "Calibration(6 scores of 3 recordings, false_alarm_rate=0.3)"
    assert calibration.with_rate(0.4).recordings is not None


def test_recordings_are_counted_not_segments() -> None:
    with pytest.raises(CalibrationError, match="needs at least 9 calibration recordings; got 8; hold out 1 more"):
        Calibration(np.arange(80.0), 0.1, recordings=np.repeat(np.arange(8), 10))


@pytest.mark.parametrize("groups", [[0, 0, 1], [0, 2, 2, 0], [1, 1, 2, 2], [0.0, 1.0, 1.0, 0.0], [[0, 1, 1, 0]]])
def test_numbers_of_recordings_that_do_not_fit_are_refused(groups: Any) -> None:
    with pytest.raises(InputError, match="recordings must be"):
        Calibration(np.arange(4.0), 0.5, recordings=groups)


def test_more_recordings_are_added_as_recordings() -> None:
    calibration = Calibration(np.arange(6.0), 0.3, recordings=np.array([0, 0, 1, 1, 2, 2]))
    more = calibration.with_normals(np.array([10.0, 11.0, 12.0]), np.array([0, 1, 0]))
    assert len(more) == 5
    assert more.of_recordings("max").scores.tolist() == [1, 3, 5, 11, 12]
    with pytest.raises(InputError, match="can not be mixed"):
        calibration.with_normals(np.array([1.0]))
    with pytest.raises(InputError, match="can not be mixed"):
        Calibration(np.arange(6.0), 0.3).with_normals(np.array([1.0]), np.array([0]))
    with pytest.raises(InputError, match="can not be confirmed one by one"):
        calibration.with_false_alarms(np.array([100.0]))


@given(calibrations())
def test_json_gives_it_back(calibration: Calibration) -> None:
    text = json.dumps(calibration.to_json(), allow_nan=False)
    back = Calibration.from_json(json.loads(text))
    assert back == calibration
    assert back != Calibration(calibration.scores, 0.3)
    assert hash(back) == hash(calibration)


@pytest.mark.parametrize("recordings", [None, "0011", [0, 0, 1], [0, 0, 2, 2], [0, 0, 1.0, 1], [0, 0, True, 1], {}])
def test_hostile_recordings_are_refused(recordings: Any) -> None:
    content = {"false_alarm_rate": 0.5, "scores": [1.0, 2.0, 3.0, 4.0], "recordings": recordings}
    with pytest.raises(ModelFileError):
        Calibration.from_json(content)


def test_whole_recordings_count_as_whole_numbers() -> None:
    """Shares of a third, a seventh, a tenth, added up in floats, would give p-values above 1 and flag at 0.99999."""
    recordings = np.repeat(np.arange(200), np.resize([3, 7, 10, 6, 49], 200))
    scores = np.arange(len(recordings), dtype=np.float64)
    calibration = Calibration(scores, 0.05, recordings=recordings)
    assert calibration.p_value(np.array([-1.0]))[0] == 1.0
    first_of_each = np.flatnonzero(np.diff(recordings, prepend=-1))
    np.testing.assert_array_equal(calibration.p_value(scores[first_of_each]), (201 - np.arange(200)) / 201)
