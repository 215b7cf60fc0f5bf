"""Metrics against scikit-learn, SciPy and plain loops; intervals against what they promise."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from novanda import metrics
from novanda.errors import InputError
from novanda.metrics import Evaluation, Figure, evaluate, rate_interval

# Few distinct values, so that ties are the rule; and any finite values.
_TIED = st.lists(st.integers(-2, 2).map(float), min_size=1, max_size=12)
_ANY = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=12)
SIDES = st.tuples(_TIED, _TIED) | st.tuples(_ANY, _ANY)

ALL = ("auroc", "average_precision", "fpr_at_95_tpr", "equal_error_rate", "half_total_error_rate")
RATES = ("false_alarm_rate", "detection_rate")


def _labelled(normal: list[float], novel: list[float]) -> tuple[list[int], list[float]]:
    return [0] * len(normal) + [1] * len(novel), normal + novel


def _roc_by_loops(normal: list[float], novel: list[float]) -> list[tuple[float, float]]:
    """(false-alarm rate, detection rate) at each threshold from above all scores to below them."""
    levels = sorted({*normal, *novel}, reverse=True)
    share = [tuple(sum(s >= level for s in side) / len(side) for side in (normal, novel)) for level in levels]
    return [(0.0, 0.0), *((far, found) for far, found in share)]


@given(SIDES)
def test_auroc_is_scikit_learns_and_that_of_all_pairs(sides: tuple[list[float], list[float]]) -> None:
    normal, novel = sides
    value = metrics.auroc(np.array(normal), np.array(novel))
    assert value == pytest.approx(roc_auc_score(*_labelled(normal, novel)), abs=1e-12)
    pairs = [(b > a) + 0.5 * (b == a) for a in normal for b in novel]
    assert value == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


@given(SIDES)
def test_average_precision_is_scikit_learns(sides: tuple[list[float], list[float]]) -> None:
    normal, novel = sides
    value = metrics.average_precision(np.array(normal), np.array(novel))
    assert value == pytest.approx(average_precision_score(*_labelled(normal, novel)), abs=1e-12)


@given(SIDES, st.sampled_from([0.07, 0.3, 0.5, 0.9, 0.95, 1.0]))
def test_fpr_at_tpr_is_that_of_the_highest_threshold_that_suffices(
    sides: tuple[list[float], list[float]], tpr: float
) -> None:
    normal, novel = sides
    enough = [fpr for fpr, found in _roc_by_loops(normal, novel) if found >= tpr]
    assert metrics.fpr_at_tpr(np.array(normal), np.array(novel), tpr) == enough[0] == min(enough)


def test_fpr_at_tpr_asks_for_no_more_than_the_share() -> None:
    # 0.07 * 100 is 7.000000000000001 in floats: 7 of the 100 must do.
    novel = np.arange(100.0)
    assert metrics.fpr_at_tpr(np.array([92.5]), novel, 0.07) == 0.0
    assert metrics.fpr_at_tpr(np.array([93.0]), novel, 0.07) == 1.0


@given(SIDES)
def test_equal_error_rate_is_where_the_roc_crosses(sides: tuple[list[float], list[float]]) -> None:
    normal, novel = sides
    value = metrics.equal_error_rate(np.array(normal), np.array(novel))
    points = _roc_by_loops(normal, novel)
    crossings = []
    for (fpr0, tpr0), (fpr1, tpr1) in itertools.pairwise(points):
        before, after = fpr0 - (1 - tpr0), fpr1 - (1 - tpr1)
        if before <= 1e-12 and after >= -1e-12:
            crossings.append(fpr0 + (fpr1 - fpr0) * -before / (after - before))
    assert crossings == pytest.approx([value] * len(crossings), abs=1e-9)
    assert crossings


def test_equal_error_rate_by_hand() -> None:
    # Flagging everything from 2 up: 1 of 4 normals flagged, 1 of 4 novel missed.
    assert metrics.equal_error_rate(np.array([0, 0, 1, 2]), np.array([1, 2, 3, 4])) == 0.25
    # One step, from (0, miss 1) to (1, miss 0): halfway.
    assert metrics.equal_error_rate(np.zeros(3), np.zeros(5)) == 0.5


@given(SIDES, st.integers(-3, 3))
def test_half_total_error_rate_counts_flags_strictly_above(
    sides: tuple[list[float], list[float]], threshold: int
) -> None:
    normal, novel = sides
    alarms = sum(s > threshold for s in normal) / len(normal)
    misses = sum(s <= threshold for s in novel) / len(novel)
    expected = (alarms + misses) / 2
    assert metrics.half_total_error_rate(np.array(normal), np.array(novel), threshold) == pytest.approx(expected)
    shown = evaluate(np.array(normal), np.array(novel), threshold, draws=40)
    assert shown.half_total_error_rate.value == pytest.approx(expected)
    assert shown.false_alarm_rate.value == alarms
    assert shown.detection_rate.value == pytest.approx(1 - misses)


@given(SIDES)
def test_evaluate_gives_the_values_of_the_functions(sides: tuple[list[float], list[float]]) -> None:
    normal, novel = np.array(sides[0]), np.array(sides[1])
    shown = evaluate(normal, novel, 0.0, draws=40)
    assert shown.auroc.value == metrics.auroc(normal, novel)
    assert shown.average_precision.value == metrics.average_precision(normal, novel)
    assert shown.fpr_at_95_tpr.value == metrics.fpr_at_tpr(normal, novel)
    assert shown.equal_error_rate.value == metrics.equal_error_rate(normal, novel)


@given(SIDES)
def test_swapping_the_signs_mirrors_auroc_and_single_precision_is_enough(
    sides: tuple[list[float], list[float]],
) -> None:
    normal, novel = np.array(sides[0]), np.array(sides[1])
    assert metrics.auroc(-normal, -novel) == pytest.approx(1 - metrics.auroc(normal, novel), abs=1e-12)
    narrow = normal.astype(np.float32), novel.astype(np.float32)
    assert metrics.auroc(*narrow) == metrics.auroc(*(side.astype(np.float64) for side in narrow))


@given(st.integers(1, 300).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_rate_interval_is_the_exact_binomial_one(case: tuple[int, int]) -> None:
    hits, total = case
    exact = binomtest(hits, total).proportion_ci(0.95, method="exact")
    assert rate_interval(hits, total) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_rate_interval_at_the_ends() -> None:
    assert rate_interval(0, 20)[0] == 0.0
    assert rate_interval(0, 20)[1] == pytest.approx(1 - 0.025 ** (1 / 20))
    assert rate_interval(20, 20)[0] == pytest.approx(0.025 ** (1 / 20))
    assert rate_interval(20, 20)[1] == 1.0


@pytest.mark.parametrize(("hits", "total"), [(0, 0), (3, 2), (-1, 5)])
def test_rate_interval_refuses_impossible_counts(hits: int, total: int) -> None:
    with pytest.raises(InputError, match=f"hits={hits}, total={total}"):
        rate_interval(hits, total)


# ---------------------------------------------------------------------------------------------------------------
# Intervals


def test_bootstrap_intervals_are_those_of_slow_redraws_with_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    normal = generator.normal(size=40).round(1)
    novel = generator.normal(1, size=25).round(1)
    shown = evaluate(normal, novel, 0.8, draws=600, seed=5)

    slow = np.random.default_rng(11)
    draws: list[list[float]] = []
    for _ in range(600):
        a, b = slow.choice(normal, 40).tolist(), slow.choice(novel, 25).tolist()
        far, frr = np.mean(np.array(a) > 0.8), np.mean(np.array(b) <= 0.8)
        enough = [fpr for fpr, found in _roc_by_loops(a, b) if found >= 0.95]
        draws.append(
            [
                roc_auc_score(*_labelled(a, b)),
                average_precision_score(*_labelled(a, b)),
                enough[0],
                metrics.equal_error_rate(np.array(a), np.array(b)),
                float(far + frr) / 2,
            ]
        )
    redrawn = np.array(draws)
    spread = np.std(redrawn, axis=0)
    ends = np.quantile(redrawn, [0.025, 0.975], axis=0)
    for place, name in enumerate(ALL):
        figure = shown.figures()[name]
        # Another generator: equal up to the noise of a quantile of 600 draws.
        assert figure.low == pytest.approx(ends[0, place], abs=0.45 * spread[place]), name
        assert figure.high == pytest.approx(ends[1, place], abs=0.45 * spread[place]), name


def test_every_redraw_computes_the_metrics_of_what_was_drawn() -> None:
    generator = np.random.default_rng(0)
    ranking = metrics._Ranking.of(
        generator.integers(0, 6, 15).astype(float), generator.integers(2, 8, 11).astype(float)
    )
    for seed in range(50):
        counts = ranking.redrawn(np.random.default_rng(seed))
        # The same draw again, as scores.
        again = np.random.default_rng(seed)
        normal = ranking.distinct[ranking.normal[again.integers(15, size=15)]]
        novel = ranking.distinct[ranking.novel[again.integers(11, size=11)]]
        expected = (
            metrics.auroc(normal, novel),
            metrics.average_precision(normal, novel),
            metrics.fpr_at_tpr(normal, novel),
            metrics.equal_error_rate(normal, novel),
            metrics.half_total_error_rate(normal, novel, 4.0),
        )
        assert counts.all_figures(int(np.sum(ranking.distinct > 4.0))) == pytest.approx(expected, abs=1e-12)


def test_auroc_intervals_cover_the_truth_about_95_times_in_100() -> None:
    # Two unit normals 1 apart: AUROC = Phi(1 / sqrt 2).
    truth, covered = 0.7602499389, 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        figure = evaluate(generator.normal(size=80), generator.normal(1, size=60), 0.5, draws=200, seed=seed).auroc
        assert figure.low is not None
        assert figure.high is not None
        covered += figure.low <= truth <= figure.high
    assert 178 <= covered <= 198  # 190 +- 4 standard errors, and the percentile bootstrap's small shortfall


def test_the_seed_decides_the_intervals_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    normal, novel = generator.normal(size=50), generator.normal(1, size=50)
    first = evaluate(normal, novel, 0.5, draws=100, seed=1)
    assert evaluate(normal, novel, 0.5, draws=100, seed=1) == first
    other = evaluate(normal, novel, 0.5, draws=100, seed=2)
    assert other.auroc.low != first.auroc.low
    assert {n: f.value for n, f in other.figures().items()} == {n: f.value for n, f in first.figures().items()}


@given(SIDES, st.integers(0, 5))
@settings(max_examples=50)
def test_intervals_are_ordered_within_0_and_1_and_something_is_said_where_missing(
    sides: tuple[list[float], list[float]], seed: int
) -> None:
    shown = evaluate(np.array(sides[0]), np.array(sides[1]), 0.5, draws=40, seed=seed)
    for figure in shown.figures().values():
        if figure.low is None or figure.high is None:
            assert figure.low is figure.high is None
            assert figure.reason
        else:
            assert figure.reason is None
            assert 0 <= figure.low < figure.high <= 1


@pytest.mark.parametrize("count", [10, 30, 200])
def test_perfect_separation_is_not_certainty(count: int) -> None:
    normal, novel = np.arange(count, dtype=float), np.arange(500.0) + count
    best = evaluate(normal, novel, count - 0.5, draws=40)
    assert (best.auroc.value, best.auroc.high, best.auroc.reason) == (1.0, 1.0, None)
    assert best.auroc.low == pytest.approx(0.025 ** (1 / count))
    worst = evaluate(novel, normal, 0, draws=40)
    assert (worst.auroc.value, worst.auroc.low, worst.auroc.reason) == (0.0, 0.0, None)
    assert worst.auroc.high == pytest.approx(1 - 0.025 ** (1 / count))
    for name in ALL[1:]:
        figure = best.figures()[name]
        assert figure.value in (0.0, 1.0)
        assert figure.low is None
        assert "same value" in str(figure.reason)
    # The two rates have an honest interval all the same.
    assert best.false_alarm_rate == Figure(0.0, *rate_interval(0, count))
    assert best.detection_rate == Figure(1.0, *rate_interval(500, 500))


def test_the_bound_for_perfect_separation_covers_a_detector_that_is_not_perfect() -> None:
    # AUROC 0.69 = 0.025^(1/10): ten and ten samples may look perfectly separated in at most 2.5 % of cases.
    generator = np.random.default_rng(0)
    shift = 0.7071  # Phi(0.7071 / sqrt 2) = 0.6915
    perfect = sum(
        metrics.auroc(generator.normal(size=10), generator.normal(shift, size=10)) == 1.0 for _ in range(2000)
    )
    assert perfect / 2000 <= 0.025


def test_constant_scores_say_so() -> None:
    shown = evaluate(np.zeros(20), np.zeros(20), 0.0, draws=40)
    assert shown.auroc == Figure(
        0.5, reason="every bootstrap draw gives the same value, which does not make it certain"
    )
    assert shown.detection_rate == Figure(0.0, *rate_interval(0, 20))


# ---------------------------------------------------------------------------------------------------------------
# What can not be known


def test_one_sided_test_sets_say_what_is_missing() -> None:
    scores = np.arange(20.0)
    no_novel = evaluate(scores, scores[:0], 9.5)
    no_normal = evaluate(scores[:0], scores, 9.5)
    neither = evaluate(scores[:0], scores[:0], 9.5)
    for name in ALL:
        assert no_novel.figures()[name] == Figure(None, reason="no novel samples")
        assert no_normal.figures()[name] == Figure(None, reason="no normal samples")
        assert neither.figures()[name] == Figure(None, reason="no normal samples and no novel samples")
    assert no_novel.false_alarm_rate == no_normal.detection_rate == Figure(0.5, *rate_interval(10, 20))
    assert no_novel.detection_rate == Figure(None, reason="no novel samples")
    assert no_normal.false_alarm_rate == Figure(None, reason="no normal samples")


@pytest.mark.parametrize(("normals", "novels", "side"), [(9, 50, "9 normal"), (50, 9, "9 novel"), (1, 1, "1 normal")])
def test_fewer_than_ten_of_a_side_give_a_value_without_a_bootstrap(normals: int, novels: int, side: str) -> None:
    shown = evaluate(np.arange(normals), np.arange(novels) + 0.5, 3.0)
    for name in ALL:
        figure = shown.figures()[name]
        assert figure.value is not None
        assert figure.low is figure.high is None
        assert f"only {side} samples" in str(figure.reason)
    assert shown.false_alarm_rate.low is not None  # exact at any size


def test_ten_of_each_are_enough() -> None:
    assert evaluate(np.arange(10.0), np.arange(10.0) + 3.5, 5.0).auroc.low is not None


_PAIRWISE: list[Callable[..., object]] = [
    metrics.auroc,
    metrics.average_precision,
    metrics.fpr_at_tpr,
    metrics.equal_error_rate,
    lambda normal, novel: metrics.half_total_error_rate(normal, novel, 0.0),
    lambda normal, novel: evaluate(normal, novel, 0.0),
]


@pytest.mark.parametrize("function", _PAIRWISE)
def test_scores_that_are_not_finite_are_counted_and_refused(function: Callable[..., object]) -> None:
    bad = np.array([0.0, np.nan, np.inf, 1.0, -np.inf])
    with pytest.raises(InputError, match="normal scores must be finite; 3 of 5"):
        function(bad, np.zeros(3))
    with pytest.raises(InputError, match="novel scores must be finite; 3 of 5"):
        function(np.zeros(3), bad)


@pytest.mark.parametrize("function", _PAIRWISE)
@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.array(["a"]), np.array([True]), [[1.0], [2.0, 3.0]], 1.0, None])
def test_what_is_not_a_row_of_numbers_is_refused(function: Callable[..., object], bad: object) -> None:
    with pytest.raises(InputError, match="novel scores must be a 1-D array of numbers; got"):
        function(np.zeros(3), bad)


@pytest.mark.parametrize("function", _PAIRWISE[:-1])
def test_single_metrics_refuse_an_empty_side(function: Callable[..., object]) -> None:
    with pytest.raises(InputError, match="got no novel samples"):
        function(np.zeros(3), np.zeros(0))
    with pytest.raises(InputError, match="got no normal samples"):
        function(np.zeros(0), np.zeros(3))


@pytest.mark.parametrize("tpr", [0.0, -0.1, 1.01, float("nan")])
def test_fpr_at_tpr_refuses_impossible_shares(tpr: float) -> None:
    with pytest.raises(InputError, match="above 0 and at most 1"):
        metrics.fpr_at_tpr(np.zeros(2), np.ones(2), tpr)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_thresholds_must_be_finite(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold must be a finite number"):
        evaluate(np.zeros(2), np.ones(2), threshold)
    with pytest.raises(InputError, match="threshold must be a finite number"):
        metrics.half_total_error_rate(np.zeros(2), np.ones(2), threshold)


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(InputError, match="at least 40 draws, better 1000; got 39"):
        evaluate(np.zeros(2), np.ones(2), 0.5, draws=39)


# ---------------------------------------------------------------------------------------------------------------
# For people and machines


def _example() -> Evaluation:
    generator = np.random.default_rng(0)
    return evaluate(generator.normal(size=30), generator.normal(1, size=8), 0.5, draws=40)


def test_json_holds_everything_as_plain_values() -> None:
    shown = _example()
    back = json.loads(json.dumps(shown.to_json(), allow_nan=False))
    figures: dict[str, Any] = {name: Figure(**back.pop(name)) for name in (*ALL, *RATES)}
    assert Evaluation(**back, **figures) == shown


def test_one_line_for_each_metric() -> None:
    shown = replace(_example(), false_alarm_rate=Figure(0.25, 0.125, 0.5), detection_rate=Figure(None, reason="why"))
    lines = shown.lines()
    assert len(lines) == 1 + len(shown.figures()) == 8
    assert lines[0].startswith("30 normal, 8 novel, threshold 0.5;")
    assert lines[1].startswith("AUROC ")
    assert lines[1].endswith("(no interval: only 8 novel samples, and an interval needs at least 10)")
    assert lines[-2] == "false-alarm rate       0.2500 [0.1250, 0.5000]"
    assert lines[-1] == "detection rate         undefined: why"


# ---------------------------------------------------------------------------------------------------------------
# Curves and closed intervals


@pytest.mark.parametrize("decimals", [6, 1])
def test_roc_curve_is_scikit_learns(decimals: int) -> None:
    random = np.random.default_rng(3)
    normal, novel = random.normal(size=40).round(decimals), random.normal(1, 1, 70).round(decimals)
    false, true = metrics.roc_curve(normal, novel)
    truth = np.arange(110) >= 40
    expected = roc_curve(truth, np.concatenate([normal, novel]), drop_intermediate=False)
    np.testing.assert_allclose(false, expected[0])
    np.testing.assert_allclose(true, expected[1])


def test_auroc_interval_is_delongs_in_slow_loops() -> None:
    random = np.random.default_rng(4)
    normal, novel = random.normal(size=23).round(1), random.normal(0.7, 1, 31).round(1)

    def beats(a: float, b: float) -> float:
        return 1.0 if a > b else 0.5 if a == b else 0.0

    found = [np.mean([beats(y, x) for x in normal]) for y in novel]
    kept = [np.mean([beats(y, x) for y in novel]) for x in normal]
    value = float(np.mean(found))
    error = np.sqrt(np.var(found, ddof=1) / len(novel) + np.var(kept, ddof=1) / len(normal))
    logit = np.log(value / (1 - value))
    ends = logit + np.array([-1, 1]) * norm.ppf(0.975) * error / (value * (1 - value))
    np.testing.assert_allclose(metrics.auroc_interval(normal, novel), 1 / (1 + np.exp(-ends)))


def test_auroc_interval_is_near_the_bootstraps() -> None:
    random = np.random.default_rng(5)
    normal, novel = random.normal(size=400), random.normal(0.8, 1.3, 900)
    drawn = metrics.evaluate(normal, novel, 0.0, draws=400).auroc
    low, high = metrics.auroc_interval(normal, novel)
    assert low == pytest.approx(drawn.low, abs=0.006)
    assert high == pytest.approx(drawn.high, abs=0.006)


def test_auroc_interval_of_perfect_separation_has_a_width() -> None:
    assert metrics.auroc_interval(np.zeros(5), np.ones(9)) == metrics.rate_interval(5, 5)
    assert metrics.auroc_interval(np.ones(5), np.zeros(9)) == metrics.rate_interval(0, 5)
    with pytest.raises(InputError, match="2 samples a side"):
        metrics.auroc_interval(np.zeros(1), np.ones(9))
