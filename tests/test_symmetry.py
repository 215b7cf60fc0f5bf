"""Whether a mirrored normal still is one: by slow loops, SciPy's interval, and things with and without a side."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from novanda.samples import Kind, Normals
from novanda.sources.arrays import ArraySource
from novanda.symmetry import _lower_end, mirroring_shows


def normals(samples: np.ndarray, kind: Kind = "image") -> Normals:
    """A stream of samples (N, C, H, W) as they are."""
    return Normals(ArraySource(samples.astype(np.float32), kind=kind), batch_size=16)


def split(count: int, asked: int) -> tuple[torch.Tensor, torch.Tensor]:
    every = torch.arange(count)
    return every[asked:], every[:asked]


def strokes(count: int, both_ways: bool, kind: Kind = "image") -> np.ndarray:
    """A slanting stroke somewhere in the middle, always one way or as often the other."""
    generator = np.random.default_rng(0)
    out = generator.normal(0, 0.05, (count, 2 if kind == "flow" else 1, 16, 16))
    for number, sample in enumerate(out):
        move = generator.integers(-2, 3)
        for row in range(3, 13):
            sample[0, row, row + move] = 1.0
        if both_ways and number % 2:
            sample[:] = sample[:, :, ::-1]
    return out


@pytest.mark.parametrize(("both_ways", "expected"), [(False, True), (True, False)])
def test_what_always_slants_one_way_has_a_side(both_ways: bool, expected: bool) -> None:
    assert mirroring_shows(normals(strokes(80, both_ways)), *split(80, 20)) is expected


def test_a_few_are_not_believed() -> None:
    # Three of three may be chance: the interval reaches down to 0.44.
    assert not mirroring_shows(normals(strokes(80, both_ways=False)), *split(80, 3))


@pytest.mark.parametrize(("copies", "expected"), [(10, False), (60, True)])
def test_a_slight_habit_does_not_count(copies: int, expected: bool) -> None:
    # Noise has no side, so that one half are nearer as they are by chance; of so many the bank has a copy besides.
    samples = np.random.default_rng(2).normal(0, 0.3, (600, 1, 16, 16))
    samples[:copies] = samples[100 : 100 + copies]
    assert mirroring_shows(normals(samples), *split(600, 100)) is expected


def test_a_mirrored_motion_goes_the_other_way() -> None:
    generator = np.random.default_rng(1)
    # All of it moves to the right, so that a mirroring shows in nothing but the sign of x.
    field = generator.normal(0, 0.05, (60, 2, 8, 8))
    field[:, 0] += 0.8
    assert mirroring_shows(normals(field, "flow"), *split(60, 20))
    assert not mirroring_shows(normals(field), *split(60, 20))


@pytest.mark.parametrize("side", [32, 64])
def test_it_is_what_slow_loops_find(side: int) -> None:
    generator = np.random.default_rng(side)
    samples = generator.uniform(-1, 1, (40, 1, side, side))
    samples[:, :, :, : side // 2] += generator.normal(0, 0.01, (40, 1, side, 1))
    samples[:, :, :, :3] += 0.3 * generator.integers(0, 2, (40, 1, 1, 1))
    bank, asked = split(40, 12)
    factor = side // 32
    small = samples.astype(np.float32).reshape(40, 1, 32, factor, 32, factor).mean((3, 5))
    farther = 0
    for place in asked.tolist():
        as_it_is, mirrored = [], []
        for other in bank.tolist():
            as_it_is.append(np.sqrt(((small[place] - small[other]) ** 2).sum()))
            mirrored.append(np.sqrt(((small[place][:, :, ::-1] - small[other]) ** 2).sum()))
        farther += min(mirrored) > min(as_it_is)
    low = binomtest(farther, len(asked)).proportion_ci(method="wilson").low
    assert mirroring_shows(normals(samples), bank, asked) is bool(low > 0.6)


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 3), (8, 8), (60, 100), (70, 100), (500, 500)])
def test_the_interval_is_scipys(successes: int, trials: int) -> None:
    low = binomtest(successes, trials).proportion_ci(method="wilson").low
    assert _lower_end(successes, trials) == pytest.approx(low, abs=1e-4)
