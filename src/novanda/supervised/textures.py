"""Local binary patterns: histograms of how each pixel compares with those around it. Pure functions of arrays.

Letters: H height, W width, T frames.
"""

from __future__ import annotations

import numpy as np

CIRCLE = float(np.sqrt(0.5))
"""How far a diagonal neighbour lies off along a row and along a column on the circle of radius 1; in the square, 1."""

# Counterclockwise from the right-hand neighbour, (down, right), as in the source: bit p stands for the p-th.
_AROUND = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def _uniform_labels() -> np.ndarray:
    """Of each of the 256 codes its bin among 59: its own where its bits change at most twice around, else the last."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    uniform = (bits != np.roll(bits, 1, 1)).sum(1) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, uniform.sum())


UNIFORM_LABELS = _uniform_labels()
UNIFORM_BINS = 59


def pattern_codes(values: np.ndarray, axes: tuple[int, int] = (-2, -1), *, diagonal: float = 1.0) -> np.ndarray:
    """The code of each place from its eight neighbours in the plane of two axes: bit p is set where the p-th is >= it.

    Args:
        values: integers of any shape, such as an image (H, W) or frames (T, H, W); at least 3 along both axes.
        axes: those that go down and right in the plane.
        diagonal: how far diagonal neighbours lie off along either axis: 1, those of the 3 x 3 square; CIRCLE, on
            the circle, where values are interpolated bilinearly.

    Returns:
        uint8; two fewer along `axes`, which come last: a place at the rim has no neighbours.

    Source: Ojala, Pietikainen and Maenpaa, "Multiresolution Gray-Scale and Rotation Invariant Texture Classification
    with Local Binary Patterns", 2002.
    """
    plane = np.moveaxis(values, axes, (-2, -1)).astype(np.float32)
    height, width = plane.shape[-2] - 2, plane.shape[-1] - 2
    centre = plane[..., 1:-1, 1:-1]

    def difference(down: int, right: int) -> np.ndarray:
        there: np.ndarray = plane[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width] - centre
        return there

    codes = np.zeros(centre.shape, np.uint8)
    for bit, (down, right) in enumerate(_AROUND):
        found = difference(down, right)
        if down and right and diagonal < 1:
            # Bilinear, less the centre and divided by `diagonal`. Of differences, which are whole numbers: interpolated
            # values would be rounded, and an even surface would be full of patterns.
            found = diagonal * found + (1 - diagonal) * (difference(down, 0) + difference(0, right))
        codes |= (found >= 0).astype(np.uint8) << np.uint8(bit)
    return codes


def uniform_histogram(codes: np.ndarray) -> np.ndarray:
    """Shares of the 58 uniform codes, in rising order, and of all others together: (59,) float32."""
    counts = np.bincount(UNIFORM_LABELS[codes.ravel()], minlength=UNIFORM_BINS)
    return (counts / codes.size).astype(np.float32)


def lbp_top_histogram(frames: np.ndarray) -> np.ndarray:
    """LBP on three orthogonal planes of frames (T, H, W), T at least 3: xy, xt and yt, (177,) float32.

    Each plane's histogram is of all places that have neighbours in that plane. Time goes down, as the first axis.

    Source: Zhao and Pietikainen, "Dynamic Texture Recognition Using Local Binary Patterns", 2007: LBP-TOP 8,8,8,1,1,1.
    """
    planes = ((1, 2), (0, 2), (0, 1))
    return np.concatenate([uniform_histogram(pattern_codes(frames, axes, diagonal=CIRCLE)) for axes in planes])


def coalbp_histogram(image: np.ndarray, apart: int = 2) -> np.ndarray:
    """Co-occurrence of adjacent LBP: which pairs of 4-neighbour codes lie `apart` from each other, (1024,) float32.

    Codes are of the neighbours right, above, left and below at distance 1. For each of four directions (right, down
    right, down, down left) a histogram of 16 x 16 pairs as shares, the first code counting in sixteens.

    Args:
        image: (H, W) integers, each side at least 3 + `apart`.
        apart: pixels along each axis.

    Source: Nosaka, Ohkawa and Fukui, "Feature Extraction Based on Co-occurrence of Adjacent Local Binary Patterns",
    2011.
    """
    whole = pattern_codes(image)
    codes = np.zeros(whole.shape, np.int64)
    for bit, neighbour in enumerate((0, 2, 4, 6)):
        codes |= ((whole >> neighbour) & 1).astype(np.int64) << bit
    height, width = image.shape[0] - 2, image.shape[1] - 2
    histograms = []
    for down, right in ((0, apart), (apart, apart), (apart, 0), (apart, -apart)):
        left = max(0, -right)
        first = codes[: height - down, left : width - max(0, right)]
        second = codes[down:, left + right : left + right + first.shape[1]]
        counts = np.bincount((16 * first + second).ravel(), minlength=256)
        histograms.append((counts / first.size).astype(np.float32))
    return np.concatenate(histograms)
