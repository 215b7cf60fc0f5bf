"""Screening a batch: against SciPy, and its guarantee against simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from novanda.calibration import Calibration, adjusted_p_values, discoveries
from novanda.errors import InputError

P_VALUES = st.lists(st.integers(1, 40).map(lambda k: k / 40) | st.floats(0, 1), min_size=1, max_size=60).map(np.array)


@given(P_VALUES)
def test_adjusted_p_values_are_scipys(p_values: np.ndarray) -> None:
    np.testing.assert_allclose(adjusted_p_values(p_values), false_discovery_control(p_values), rtol=1e-12)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.sampled_from([1, 5, 10, 20, 50]))
def test_discoveries_are_those_of_the_step_up_procedure_in_whole_numbers(counts: list[int], percent: int) -> None:
    # p = c / 40 at most rate * k / m is c * m * 100 at most percent * k * 40: no rounding enters.
    ordered, size = sorted(counts), len(counts)
    passing = [place for place, count in enumerate(ordered, 1) if count * size * 100 <= percent * place * 40]
    expected = [bool(passing) and count <= ordered[passing[-1] - 1] for count in counts]
    assert discoveries(np.array(counts) / 40, percent / 100).tolist() == expected


def test_a_batch_of_none_has_none() -> None:
    assert adjusted_p_values(np.array([])).shape == (0,)
    assert discoveries(np.array([]), 0.1).shape == (0,)


@pytest.mark.parametrize("novel", [0, 20])
def test_false_discoveries_stay_within_the_rate_over_1000_batches(novel: int) -> None:
    generator = np.random.default_rng(novel)
    rate, normal = 0.2, 40
    false, power = [], []
    for _ in range(1000):
        # One calibration for the whole batch: its p-values are not independent.
        calibration = Calibration(generator.normal(size=200), 0.1)
        batch = np.concatenate([generator.normal(size=normal), generator.normal(4, 1, size=novel)])
        found = discoveries(calibration.p_value(batch), rate)
        false.append(found[:normal].sum() / max(1, found.sum()))
        power.append(found[normal:].mean() if novel else 0)
    bound = rate * normal / (normal + novel)
    error = np.std(false, ddof=1) / np.sqrt(1000)
    assert np.mean(false) <= bound + 3 * error
    if novel:
        assert np.mean(power) > 0.9, "a procedure that finds nothing would stay within any rate"
        assert np.mean(false) > bound / 3


@pytest.mark.parametrize("wrong", [[-0.1], [1.1], [np.nan], [[0.5]], 0.5, ["a"], [True]])
def test_what_is_no_row_of_p_values_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="expected p-values"):
        adjusted_p_values(np.array(wrong))


@pytest.mark.parametrize("rate", [0, 1, -1, 2, float("nan"), "0.1", True, None])
def test_rates_out_of_range_are_refused(rate: Any) -> None:
    with pytest.raises(InputError, match="false-discovery rate is a number"):
        discoveries(np.array([0.5]), rate)
