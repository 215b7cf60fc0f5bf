"""The rule of convergence, by hand: when a curve has settled, how much it moves then, and when nothing can be said."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from novanda.benchmark.convergence import Convergence, convergence
from novanda.errors import InputError


def test_a_drop_then_a_level() -> None:
    """Medians of five see the drop of 8 at epoch 5 from epoch 5 on: places 3 to 7 hold 10, 10, 2, 2, 2."""
    found = convergence([10.0] * 4 + [2.0] * 12)
    assert (found.epoch, found.way, found.level, found.fluctuation, found.largest_step) == (5, 8.0, 2.0, 0.0, 0.0)
    assert str(found) == "converged at epoch 5; then ±0 an epoch (0.0% of its way)"


def test_what_a_curve_does_after_that_is_its_fluctuation() -> None:
    wobble = [2.0, 2.1] * 8
    found = convergence([10.0, 10.0, 10.0, 10.0, *wobble])
    assert found.epoch == 5
    assert found.fluctuation == pytest.approx(0.1)
    assert found.largest_step == pytest.approx(0.1)


def test_one_wild_epoch_moves_the_steps_but_not_the_epoch() -> None:
    calm = [10.0] * 4 + [2.0] * 16
    wild = [*calm[:12], 9.0, *calm[13:]]
    found = convergence(wild)
    assert found.epoch == convergence(calm).epoch
    assert found.largest_step == 7.0
    assert found.fluctuation == pytest.approx(2 * 7.0 / 15)


def test_rising_curves_are_read_like_falling_ones() -> None:
    curve = 3 * np.exp(-np.arange(60) / 8)
    falling, rising = convergence(curve.tolist()), convergence((0.9 - curve / 10).tolist())
    assert falling.epoch == rising.epoch
    assert falling.way is not None
    assert rising.way == pytest.approx(falling.way / 10)


def test_an_exponential_against_the_rule_in_slow_python() -> None:
    values = [float(v) for v in 1 + 3 * np.exp(-np.arange(40) / 5)]
    smooth = [statistics.median(values[max(0, t - 2) : t + 3]) for t in range(40)]
    way, level = max(smooth) - min(smooth), statistics.median(values[30:])
    inside = [abs(value - level) <= 0.05 * way for value in smooth]
    expected = next(t for t in range(40) if all(inside[t:])) + 1
    steps = [abs(values[t] - values[t - 1]) for t in range(expected, 40)]
    found = convergence(values)
    assert found.epoch == expected
    assert found.fluctuation == pytest.approx(statistics.mean(steps))
    assert found.largest_step == pytest.approx(max(steps))


def test_departures_of_the_second_half_count_leaps_and_no_drift() -> None:
    """By hand: epoch 15 of 20 leaps out of a line by 3, so that those beside it depart by 1.5: three of nine."""
    line = [20.0 - t for t in range(20)]
    assert convergence(line).largest_departure == 0.0
    early = [*line[:8], 50.0, *line[9:]]
    assert convergence(early).largest_departure == 0.0
    leap = [*line[:14], line[14] + 3.0, *line[15:]]
    found = convergence(leap)
    assert found.epoch is None
    assert found.departure == pytest.approx((1.5 + 3.0 + 1.5) / 9)
    assert found.largest_departure == pytest.approx(3.0)


def test_a_curve_that_still_moves_has_not_converged() -> None:
    found = convergence([float(v) for v in range(40)])
    assert found.epoch is None
    assert found.fluctuation is None
    assert found.level == 34.5
    assert str(found) == "still moving at the end"


def test_too_few_epochs_say_nothing() -> None:
    assert convergence([1.0] * 11) == Convergence(None)
    assert convergence([]) == Convergence(None)
    assert convergence([1.0] * 12).epoch == 1
    assert "fewer than 12" in str(convergence([1.0]))


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        convergence([1.0] * 20 + [float("nan")])
