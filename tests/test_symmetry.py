"""Whether a mirrored normal still is one: by slow loops, SciPy's interval, and things with and without a side."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from novanda.samples import Kind, Normals
from novanda.sources.arrays import ArraySource
from novanda.symmetry import _lower_end, farther_when_mirrored, mirroring_shows


def normals(samples: np.ndarray, kind: Kind = "image") -> Normals:
    """A stream of samples (N, C, H, W) as they are."""
    return Normals(ArraySource(samples.astype(np.float32), kind=kind), batch_size=16)


def strokes(count: int, slanted: float) -> np.ndarray:
    """A slanting stroke somewhere in the middle, a share of them one way, and noise."""
    generator = np.random.default_rng(0)
    out = np.zeros((count, 1, 16, 16))
    for number in range(count):
        move = generator.integers(-2, 3)
        for row in range(3, 13):
            out[number, 0, row, row + move] = 1.0
        if number % 100 >= 100 * slanted:
            out[number] = out[number, :, :, ::-1]
    out = generator.permutation(out)
    noisy: np.ndarray = out + generator.normal(0, 0.05, out.shape)
    return noisy


@pytest.mark.parametrize(("slanted", "expected"), [(1.0, True), (0.9, True), (0.5, False)])
def test_what_mostly_slants_one_way_has_a_side(slanted: float, expected: bool) -> None:
    assert mirroring_shows(normals(strokes(200, slanted))) is expected


def test_a_few_are_not_believed() -> None:
    # Five of five may be chance: the interval reaches down to 0.57.
    samples = np.random.default_rng(4).normal(0, 0.05, (5, 1, 16, 16))
    samples[:, :, :, :8] += 0.8
    few = normals(samples)
    assert farther_when_mirrored(few) == (5, 5)
    assert not mirroring_shows(few)


def test_a_burst_of_shots_is_no_side() -> None:
    """Noise has no side; its near copies lie beside each other, and each has several but no near mirror image."""
    noise = np.repeat(np.random.default_rng(2).normal(0, 0.3, (50, 1, 16, 16)), 8, 0)
    burst = normals(noise + np.random.default_rng(3).normal(0, 0.01, noise.shape))
    farther, asked = farther_when_mirrored(burst)
    assert asked == 400
    # Only a burst that lies across two of the fifths finds a copy of itself.
    assert farther < 0.6 * asked
    assert not mirroring_shows(burst)


@pytest.mark.parametrize(("farther", "expected"), [(64, False), (72, True)])
def test_a_slight_habit_does_not_count(farther: int, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("novanda.symmetry.farther_when_mirrored", lambda _: (farther, 100))
    low = binomtest(farther, 100).proportion_ci(method="wilson").low
    assert bool(low > 0.6) is expected
    assert mirroring_shows(normals(strokes(5, 1.0))) is expected


def test_a_mirrored_motion_goes_the_other_way() -> None:
    generator = np.random.default_rng(1)
    # All of it moves to the right, so that a mirroring shows in nothing but the sign of x.
    field = generator.normal(0, 0.05, (60, 2, 8, 8))
    field[:, 0] += 0.8
    assert mirroring_shows(normals(field, "flow"))
    assert not mirroring_shows(normals(field))


@pytest.mark.parametrize(("side", "count"), [(32, 40), (64, 43)])
def test_it_is_what_slow_loops_find(side: int, count: int) -> None:
    generator = np.random.default_rng(side)
    samples = generator.uniform(-1, 1, (count, 1, side, side))
    samples[:, :, :, :3] += 0.6 * generator.integers(0, 2, (count, 1, 1, 1))
    factor = side // 32
    small = samples.astype(np.float32).reshape(count, 1, 32, factor, 32, factor).mean((3, 5))
    farther = 0
    for place in range(count):
        as_it_is, mirrored = [], []
        for other in range(count):
            if other * 5 // count != place * 5 // count:
                as_it_is.append(np.sqrt(((small[place] - small[other]) ** 2).sum()))
                mirrored.append(np.sqrt(((small[place][:, :, ::-1] - small[other]) ** 2).sum()))
        farther += min(mirrored) > min(as_it_is)
    assert 0.5 * count < farther < count
    assert farther_when_mirrored(normals(samples)) == (farther, count)


def test_of_many_five_hundred_are_asked() -> None:
    farther, asked = farther_when_mirrored(normals(strokes(2_300, slanted=1.0)))
    assert asked == 500
    assert farther > 450


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 3), (8, 8), (60, 100), (70, 100), (500, 500)])
def test_the_interval_is_scipys(successes: int, trials: int) -> None:
    low = binomtest(successes, trials).proportion_ci(method="wilson").low
    assert _lower_end(successes, trials) == pytest.approx(low, abs=1e-4)
