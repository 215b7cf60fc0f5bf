"""Local binary patterns against loops over pixels, and against patterns that can be told by hand."""

from __future__ import annotations

import numpy as np
import pytest

from novanda.supervised.textures import (
    CIRCLE,
    UNIFORM_LABELS,
    coalbp_histogram,
    lbp_top_histogram,
    pattern_codes,
    uniform_histogram,
)

ANGLES = [2 * np.pi * p / 8 for p in range(8)]


def image(seed: int, *shape: int, levels: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, levels, shape).astype(np.uint8)


def bilinear(plane: np.ndarray, row: float, column: float) -> float:
    """The value between four pixels, as the textbook has it."""
    top, left = int(np.floor(row)), int(np.floor(column))
    down, right = row - top, column - left
    value = 0.0
    for i, j, weight in (
        (0, 0, (1 - down) * (1 - right)), (0, 1, (1 - down) * right), (1, 0, down * (1 - right)), (1, 1, down * right),
    ):  # fmt: skip
        if weight > 0:
            value += weight * float(plane[top + i, left + j])
    return value


def slow_codes(plane: np.ndarray, circle: bool) -> np.ndarray:
    """Neighbours by their angle; on the square pushed out to its corners."""
    height, width = plane.shape
    codes = np.zeros((height - 2, width - 2), int)
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            for bit, angle in enumerate(ANGLES):
                down, right = round(-np.sin(angle), 9), round(np.cos(angle), 9)
                if not circle:
                    down, right = round(down), round(right)
                value = bilinear(plane, row + down, column + right)
                # Interpolation rounds: what is equal on paper may come out a little less.
                if value >= float(plane[row, column]) - 1e-5:
                    codes[row - 1, column - 1] += 2**bit
    return codes


def slow_histogram(codes: list[int]) -> list[float]:
    """Bins of the uniform codes in rising order, then one for all others."""

    def changes(code: int) -> int:
        word = f"{code:08b}"
        return sum(word[place] != word[place - 1] for place in range(8))

    uniform = [code for code in range(256) if changes(code) <= 2]
    assert len(uniform) == 58
    counts = [codes.count(code) for code in uniform]
    return [count / len(codes) for count in [*counts, len(codes) - sum(counts)]]


@pytest.mark.parametrize("circle", [False, True])
@pytest.mark.parametrize("levels", [3, 256])
def test_codes_are_those_of_a_loop(circle: bool, levels: int) -> None:
    plane = image(levels, 11, 9, levels=levels)
    codes = pattern_codes(plane, diagonal=CIRCLE if circle else 1.0)
    np.testing.assert_array_equal(codes, slow_codes(plane, circle))


def test_codes_by_hand() -> None:
    plane = np.array([[9, 1, 5], [4, 5, 6], [0, 5, 7]], np.uint8)
    # Right 6, up right 5, up 1, up left 9, left 4, down left 0, down 5, down right 7, against 5.
    assert pattern_codes(plane).tolist() == [[0b11001011]]


@pytest.mark.parametrize("value", [0, 7, 255])
def test_an_even_surface_has_one_pattern(value: int) -> None:
    """Interpolated values are rounded: without care an even surface would come out as noise."""
    plane = np.full((12, 12), value, np.uint8)
    assert (pattern_codes(plane, diagonal=CIRCLE) == 255).all()


def test_the_histogram_is_that_of_a_count() -> None:
    codes = image(4, 30, 7)
    expected = slow_histogram([int(code) for code in codes.ravel()])
    np.testing.assert_allclose(uniform_histogram(codes), expected, rtol=1e-6)
    assert UNIFORM_LABELS[0b00000101] == 58
    assert UNIFORM_LABELS[0] == 0
    assert UNIFORM_LABELS[255] == 57


def test_three_planes_are_those_of_loops_over_slices() -> None:
    frames = image(5, 5, 8, 7, levels=20)
    length, height, width = frames.shape
    planes = (
        [frames[moment] for moment in range(length)],
        [frames[:, row] for row in range(height)],
        [frames[:, :, column] for column in range(width)],
    )
    expected = [
        share
        for slices in planes
        for share in slow_histogram([int(c) for plane in slices for c in slow_codes(plane, True).ravel()])
    ]
    np.testing.assert_allclose(lbp_top_histogram(frames), expected, rtol=1e-6)


def test_a_still_clip_has_one_pattern_along_time() -> None:
    """Up and down in time are equal, so what differs between the three planes is what differs along x and y."""
    frames = np.repeat(image(6, 1, 8, 8), 4, 0)
    xt = lbp_top_histogram(frames)[59:118]
    right_and_left = [frames[0][:, 2:] >= frames[0][:, 1:-1], frames[0][:, :-2] >= frames[0][:, 1:-1]]
    both = np.mean(right_and_left[0] & right_and_left[1])
    assert xt[UNIFORM_LABELS[255]] == pytest.approx(both)


@pytest.mark.parametrize("apart", [1, 2])
def test_co_occurrences_are_those_of_a_loop(apart: int) -> None:
    plane = image(7, 9, 10, levels=12)
    height, width = plane.shape
    codes = {
        (row, column): sum(
            2**bit
            for bit, (down, right) in enumerate(((0, 1), (-1, 0), (0, -1), (1, 0)))
            if plane[row + down, column + right] >= plane[row, column]
        )
        for row in range(1, height - 1)
        for column in range(1, width - 1)
    }
    expected: list[float] = []
    for down, right in ((0, apart), (apart, apart), (apart, 0), (apart, -apart)):
        counts = np.zeros(256)
        for (row, column), code in codes.items():
            other = codes.get((row + down, column + right))
            if other is not None:
                counts[16 * code + other] += 1
        expected += list(counts / counts.sum())
    np.testing.assert_allclose(coalbp_histogram(plane, apart), expected, rtol=1e-6)
