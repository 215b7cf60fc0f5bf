"""Contact sheets of inputs beside what was expected, and histograms of scores. Letters: as in the room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from novanda.errors import InputError
from novanda.pictures.drawing import BLACK, BLUE, GRAY, LEFT, RIGHT, VERMILLION, WIDTH, new_figure, plain, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE, _GAP = 0.80, 0.08  # inches: a tile, and between tiles
_BREAK = 0.25  # inches between the two ends
_EACH_END = 6  # samples shown from the most normal and from the most novel end
_BINS = 40


def score_sheet(
    images: np.ndarray,
    reconstructions: np.ndarray | None,
    novelty: np.ndarray,
    p_values: np.ndarray | None,
    novel: np.ndarray | None,
    threshold: float | None,
    scale: float,
) -> Figure:
    """A contact sheet: the most normal and the most novel inputs by score, above a histogram of all scores.

    Each column is a sample: its score and p-value, the input, and, where the method draws, what it expected to see and
    their difference. Inputs above the threshold have a thick red frame and the word "flagged".

    Args:
        images: (N, H, W, C) or (N, C, H, W), C 1 or 3 where it comes last; uint8, or float in the same raw units as
            the reconstructions. Channels other than 1 or 3 are shown as their mean.
        reconstructions: of the same images, in either layout, as `Detector.reconstruct` gives them; or None.
        novelty: (N,) higher = more novel.
        p_values: (N,) or None.
        novel: (N,) bool, whether each sample really is novel; None where that is not known.
        threshold: samples with novelty > threshold are flagged; None: nothing is.
        scale: the difference, in raw units and averaged over channels, that gets the error map's last colour. It is
            the same for all samples and not taken from them, so that sheets can be compared.

    Raises:
        InputError: no samples, or arrays that do not belong together.
    """
    scores, truth = _checked_scores(novelty, novel)
    pictures = _channels_last(images, "images")
    count = len(scores)
    if len(pictures) != count:
        raise InputError(f"expected a score for each image; got {len(pictures)} images and {count} scores")
    if p_values is not None and np.shape(p_values) != (count,):
        raise InputError(f"expected {count} p-values, one per image; got shape {np.shape(p_values)}")
    if not 0 < scale < np.inf:
        raise InputError(f"scale is the difference of the error map's last colour, above 0; got {scale!r}")
    expected = None if reconstructions is None else _channels_last(reconstructions, "reconstructions")
    if expected is not None and expected.shape != pictures.shape:
        raise InputError(f"expected reconstructions of shape {pictures.shape} like the images; got {expected.shape}")

    order = np.argsort(scores, kind="stable")
    split = count > 2 * _EACH_END
    chosen = np.concatenate([order[:_EACH_END], order[-_EACH_END:]]) if split else order
    low, high = _shown_range(pictures)
    columns = []
    for row in chosen.tolist():
        flagged = threshold is not None and bool(scores[row] > threshold)
        words = [short(scores[row])] + ([] if p_values is None else [f"p {short(float(p_values[row]))}"])
        words += ["flagged"] if flagged else []
        tiles = _tiles(pictures[row], None if expected is None else expected[row], low, high, scale)
        columns.append(_Column(tiles, words, flagged))
    headline = _headline(scores, truth, threshold)
    return _draw_sheet(columns, _EACH_END if split else None, headline, scale, (scores, truth, threshold))


def example_sheet(
    images: np.ndarray,
    reconstructions: np.ndarray | None,
    novelty: np.ndarray,
    novel: np.ndarray,
    scale: float,
    everyone: tuple[np.ndarray, np.ndarray],
    title: str,
) -> Figure:
    """A contact sheet of samples chosen before: those a detector found most normal, then those it found most novel.

    Above each column stand its score and whether the sample really is normal or novel; below all the histogram of
    `everyone`, the whole test set. Nothing is flagged: no threshold is asked for.

    Args:
        images: (2k, H, W, C) or (2k, C, H, W), the k lowest scored first; reconstructions, scale: as for `score_sheet`.
        novelty: (2k,) higher = more novel; novel: (2k,) bool, whether each sample really is.
        everyone: scores (N,) and novel (N,) of the whole test set.
        title: what was trained on what.

    Raises:
        InputError: an odd number of samples, none, or arrays that do not belong together.
    """
    scores, truth = _checked_scores(novelty, novel)
    pictures = _channels_last(images, "images")
    if len(pictures) != len(scores) or len(scores) % 2:
        raise InputError(f"expected as many images from either end; got {len(pictures)} and {len(scores)} scores")
    if not 0 < scale < np.inf:
        raise InputError(f"scale is the difference of the error map's last colour, above 0; got {scale!r}")
    expected = None if reconstructions is None else _channels_last(reconstructions, "reconstructions")
    if expected is not None and expected.shape != pictures.shape:
        raise InputError(f"expected reconstructions of shape {pictures.shape} like the images; got {expected.shape}")
    half = len(scores) // 2
    shown = min(half, _EACH_END)
    chosen = [*range(shown), *range(len(scores) - shown, len(scores))]
    low, high = _shown_range(pictures)
    columns = [
        _Column(
            _tiles(pictures[row], None if expected is None else expected[row], low, high, scale),
            [short(scores[row]), "novel" if truth is not None and truth[row] else "normal"],
            False,
        )
        for row in chosen
    ]
    return _draw_sheet(columns, shown, plain(title), scale, (*_checked_scores(*everyone), None))


def score_histogram(novelty: np.ndarray, novel: np.ndarray | None, threshold: float | None) -> Figure:
    """A histogram of scores: normal and novel samples apart where `novel` tells them, with the threshold.

    Args and errors as for `score_sheet`.
    """
    scores, truth = _checked_scores(novelty, novel)
    figure = new_figure(4.0)
    axes = figure.add_axes((LEFT / WIDTH, 0.17, (WIDTH - LEFT - RIGHT) / WIDTH, 0.68))
    _draw_histogram(axes, scores, truth, threshold)
    return figure


# ---------------------------------------------------------------------------------------------------------------
# Parts


@dataclass(frozen=True)
class _Column:
    """One sample of a sheet: its tiles from top to bottom, the words above them, and whether it is flagged."""

    tiles: list[np.ndarray]
    words: list[str]
    flagged: bool


def _tiles(picture: np.ndarray, expected: np.ndarray | None, low: float, high: float, scale: float) -> list[np.ndarray]:
    """Input, expectation and error map of a sample (H, W, C), as imshow draws them from 0 to 1."""
    tiles = [_as_picture(picture, low, high)]
    if expected is not None:
        tiles += [_as_picture(expected, low, high), np.abs(picture - expected).mean(2) / scale]
    return tiles


def _draw_sheet(
    columns: list[_Column],
    split: int | None,
    headline: str,
    scale: float,
    whole: tuple[np.ndarray, np.ndarray | None, float | None],
) -> Figure:
    """The columns, with room before column `split`, above the histogram of `whole`: scores, novel, threshold."""
    tile_rows = len(columns[0].tiles)
    top, caption, plot, below = 0.75, 0.62, 2.5, 0.65
    height = top + caption + tile_rows * (_SIDE + _GAP) + 0.75 + plot + below
    figure = new_figure(height)
    figure.text(LEFT / WIDTH, 1 - 0.3 / height, headline, fontsize=12, va="center")
    first_row = height - top - caption - _SIDE  # the lower edge of the first row of tiles
    for number, column in enumerate(columns):
        x = _column_start(number, split)
        figure.text(
            (x + _SIDE / 2) / WIDTH, (first_row + _SIDE + 0.05) / height, "\n".join(column.words), ha="center",
            va="bottom", fontsize=8, color=VERMILLION if column.flagged else BLACK,
            weight="bold" if column.flagged else "normal",
        )  # fmt: skip
        for place, tile in enumerate(column.tiles):
            y = first_row - place * (_SIDE + _GAP)
            axes = figure.add_axes((x / WIDTH, y / height, _SIDE / WIDTH, _SIDE / height))
            axes.imshow(tile, cmap="gray" if place < 2 else "magma", vmin=0, vmax=1, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            framed = column.flagged and place == 0
            for spine in axes.spines.values():
                spine.set(color=VERMILLION if framed else GRAY, linewidth=3 if framed else 0.5)
    for place, name in enumerate(("input", "expected", f"error\n(0 to {short(scale)})")[:tile_rows]):
        y = first_row - place * (_SIDE + _GAP) + _SIDE / 2
        figure.text((LEFT - 0.1) / WIDTH, y / height, name, ha="right", va="center", fontsize=9)
    heads = [("most normal to most novel", 0)] if split is None else [("most normal", 0), ("most novel", split)]
    for name, number in heads:
        x = _column_start(number, split)
        figure.text(x / WIDTH, 1 - (top - 0.08) / height, name, fontsize=10, color=GRAY, va="center")
    axes = figure.add_axes((LEFT / WIDTH, below / height, (WIDTH - LEFT - RIGHT) / WIDTH, plot / height))
    _draw_histogram(axes, *whole)
    return figure


def _column_start(number: int, split: int | None) -> float:
    return LEFT + number * (_SIDE + _GAP) + (_BREAK if split is not None and number >= split else 0.0)


def _checked_scores(novelty: np.ndarray, novel: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    scores = np.array(novelty, dtype=np.float64)
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        raise InputError(f"expected finite scores (N,), at least one; got shape {scores.shape}; leave out what failed")
    if novel is None:
        return scores, None
    truth = np.asarray(novel)
    if truth.shape != scores.shape or truth.dtype != bool:
        raise InputError(f"expected novel as {scores.shape} of bool; got {truth.shape} of {truth.dtype}")
    return scores, truth


def _channels_last(images: np.ndarray, what: str) -> np.ndarray:
    """(N, H, W, C) float32 of either layout."""
    array = np.asarray(images)
    if array.ndim != 4 or not array.size or array.dtype.kind not in "uif":
        raise InputError(
            f"expected {what} (N, H, W, C) or (N, C, H, W) of numbers; got shape {array.shape} of {array.dtype}"
        )
    if array.shape[3] not in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    return array.astype(np.float32)


def _shown_range(pictures: np.ndarray) -> tuple[float, float]:
    """The raw values drawn black and white: those of 8 bits where all values lie there, else the extremes."""
    low, high = float(pictures.min()), float(pictures.max())
    if low >= 0 and 1 < high <= 255:
        return 0.0, 255.0
    return low, high if high > low else low + 1


def _as_picture(sample: np.ndarray, low: float, high: float) -> np.ndarray:
    """(H, W, C) to what imshow draws, 0 to 1: (H, W, 3) or (H, W)."""
    scaled = ((sample - low) / (high - low)).clip(0, 1)
    return scaled if sample.shape[2] == 3 else scaled.mean(2)


def _draw_histogram(axes: Any, scores: np.ndarray, novel: np.ndarray | None, threshold: float | None) -> None:
    """Shares of each side, so that sides of different sizes can be compared."""
    marks = scores if threshold is None else np.append(scores, threshold)
    low, high = float(marks.min()), float(marks.max())
    logarithmic = low > 0 and high > 50 * low
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = max(abs(low), 1e-12) * 0.05
        low, high = low - room, high + room
    edges = np.geomspace(low, high, _BINS + 1) if logarithmic else np.linspace(low, high, _BINS + 1)
    sides = (
        [("samples", np.ones(len(scores), dtype=bool), BLUE, None)]
        if novel is None
        else [("normal", ~novel, BLUE, None), ("novel", novel, VERMILLION, "///")]
    )
    for name, chosen, colour, hatch in sides:
        if not chosen.any():
            continue
        part = scores[chosen]
        axes.hist(
            part, bins=edges, weights=np.full(len(part), 100 / len(part)), histtype="stepfilled", hatch=hatch,
            facecolor=(colour, 0.35), edgecolor=colour, linewidth=1.2, label=f"{name} ({len(part):,})",
        )  # fmt: skip
    if threshold is not None:
        axes.axvline(threshold, color=BLACK, linestyle="--", linewidth=1.5, label=f"threshold {short(threshold)}")
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlabel("novelty score (higher = more novel)", fontsize=10)
    axes.set_ylabel("share, %", fontsize=10)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    # Above the plot, where it covers no bar.
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3, frameon=False, fontsize=10, borderpad=0, borderaxespad=0.2
    )


def _headline(scores: np.ndarray, novel: np.ndarray | None, threshold: float | None) -> str:
    samples = f"{len(scores):,} sample{'' if len(scores) == 1 else 's'}"
    if threshold is None:
        return f"{samples}; no threshold, so nothing is flagged"
    flagged = scores > threshold
    if novel is None:
        return f"{int(flagged.sum()):,} of {samples} flagged"
    parts = [
        f"{int(flagged[side].sum()):,} of {int(side.sum()):,} {name}"
        for name, side in (("normal", ~novel), ("novel", novel))
        if side.any()
    ]
    return f"flagged: {' and '.join(parts)} samples"
