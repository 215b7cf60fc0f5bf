"""The check for drift: its p-values against a plain loop, its guarantee and its power against simulation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest

from novanda.calibration import Calibration, drift
from novanda.calibration.drift import _online_p_values, _stakes, required_scores
from novanda.errors import InputError


def against(recent: np.ndarray, held_out: np.ndarray, **options: Any) -> Any:
    return drift(Calibration(held_out, 0.05), recent, **options)


def test_p_values_against_a_plain_loop() -> None:
    generator = np.random.default_rng(0)
    held_out, recent = generator.poisson(3, 50).astype(float), generator.poisson(3, 40).astype(float)
    found = _online_p_values(np.sort(held_out), recent, np.random.default_rng(7))
    draws = np.random.default_rng(7).random(40)
    pool = held_out.tolist()
    for place, score in enumerate(recent.tolist()):
        above = sum(other > score for other in pool)
        equal = 1 + sum(other == score for other in pool)
        assert found[place] == pytest.approx((above + draws[place] * equal) / (len(pool) + 1))
        pool.append(score)


def drawing(kind: str, generator: np.random.Generator) -> Callable[[int], np.ndarray]:
    kinds: dict[str, Callable[[int], np.ndarray]] = {
        "continuous": lambda size: generator.standard_cauchy(size),
        "ties": lambda size: generator.poisson(1, size).astype(np.float64),
        "constant": lambda size: np.zeros(size),
    }
    return kinds[kind]


@pytest.mark.parametrize("kind", ["continuous", "ties", "constant"])
def test_p_values_are_uniform_and_independent_even_with_ties(kind: str) -> None:
    generator = np.random.default_rng(1)
    draw = drawing(kind, generator)
    rows = np.array([_online_p_values(np.sort(draw(19)), draw(5), generator) for _ in range(1500)])
    assert kstest(rows.ravel(), "uniform").pvalue > 1e-3
    correlations = np.corrcoef(rows.T)[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 5 / math.sqrt(1500)


def test_the_stake_is_that_of_the_published_algorithm() -> None:
    # Algorithm 1 of Vovk et al. 2021, as it is printed: capital is never rescaled.
    p_values = np.random.default_rng(2).random(50) ** 2
    capital = {-1: 1 / 3, 0: 1 / 3, 1: 1 / 3}
    expected = []
    total = 1.0
    for p_value in p_values:
        capital = {bet: 0.99 * share + 0.01 / 3 * total for bet, share in capital.items()}
        capital = {bet: share * (1 + bet * (p_value - 0.5)) for bet, share in capital.items()}
        total = sum(capital.values())
        expected.append(total)
    np.testing.assert_allclose(np.exp(_stakes(p_values)[0]), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["continuous", "ties"])
def test_false_alarms_of_the_check_stay_within_its_level(kind: str) -> None:
    draw = drawing(kind, np.random.default_rng(3))
    level = 0.1
    found = np.mean([against(draw(150), draw(60), level=level).found for _ in range(1000)])
    assert found <= level + 3 * math.sqrt(level * (1 - level) / 1000)


@pytest.mark.parametrize(("shift", "towards"), [(1.0, "more novel"), (-1.0, "less novel")])
def test_a_shift_is_found_and_placed(shift: float, towards: str) -> None:
    generator = np.random.default_rng(4)
    places = []
    for _ in range(40):
        recent = generator.normal(size=200) + np.where(np.arange(200) < 50, 0, shift)
        found = against(recent, generator.normal(size=200))
        if found.found:
            places.append(found.position)
            assert found.towards == towards
            assert f"by number {found.position + 1} of 200 recent scores they were {towards}" in next(found.lines())
    assert len(places) >= 38
    assert np.median(places) > 50


def test_a_long_drift_overflows_nothing() -> None:
    found = against(np.full(20_000, 5.0), np.zeros(99))
    assert found.found
    assert math.isfinite(found.log10_evidence)
    json.dumps(found.to_json(), allow_nan=False)


def test_words_for_nothing_found_and_for_too_few() -> None:
    generator = np.random.default_rng(5)
    lines = list(against(generator.normal(size=100), generator.normal(size=100)).lines())
    assert lines[0] == "no drift found: the recent 100 may well be like the normals that set the threshold"
    assert "flagged at a false-alarm rate of 0.05" in lines[1]
    few = required_scores(0.01) - 1
    assert next(iter(against(np.full(few, 9.0), np.arange(99.0)).lines())).startswith(f"too few to tell: {few} recent")
    assert not against(np.full(few, 1e9), np.arange(99.0)).found, "so few can not show drift, whatever they are"


def test_the_share_flagged_is_told() -> None:
    held_out = np.arange(99.0)
    found = against(np.array([0.0, 1.0, 1000.0, 2000.0]), held_out)
    assert found.flagged == 0.5
    assert found.count == 4


@pytest.mark.parametrize("wrong", [[], [np.nan], [np.inf], [[1.0]], ["a"]])
def test_scores_that_can_not_serve_are_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="expected recent scores"):
        against(np.array(wrong), np.arange(99.0))


@pytest.mark.parametrize("level", [0, 1, -1, float("nan"), "0.1", True])
def test_levels_out_of_range_are_refused(level: Any) -> None:
    with pytest.raises(InputError, match="the level is a number"):
        against(np.arange(3.0), np.arange(99.0), level=level)


@pytest.mark.parametrize("level", [0.2, 0.01, 1e-6, 1e-320])
def test_the_fewest_scores_that_could_show_drift_are_just_enough(level: float) -> None:
    few = required_scores(level)
    for p_value in (0.0, 1.0):
        grown, _ = _stakes(np.full(few, p_value))
        assert grown[-1] >= -math.log(level)
        assert few == 1 or grown[-2] < -math.log(level)
