"""Pictures of what a detector found: contact sheets of inputs beside what was expected, scores, training losses.

Functions here take arrays and give a `matplotlib.figure.Figure` that belongs to nobody else: pyplot, which keeps
figures and chooses windows, is never used. Colours are from the palette of Okabe and Ito, which colour-blind people
can tell apart, and nothing is said by colour alone. Letters: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from novanda.checkpoint import written_atomically
from novanda.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from novanda.training import Epoch

BLUE, VERMILLION, BLACK, GRAY = "#0072B2", "#D55E00", "#000000", "#595959"
_LINES = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", BLACK)
_STYLES = ("-", "--", "-.", ":")
_DPI = 100
_WIDTH = 12.0  # inches: 1200 pixels
_SIDE, _GAP, _LEFT, _RIGHT = 0.80, 0.08, 0.95, 0.3  # inches: a tile, between tiles, and the margins
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
    tile_rows = 1 if expected is None else 3
    top, caption, plot, below = 0.75, 0.62, 2.5, 0.65
    height = top + caption + tile_rows * (_SIDE + _GAP) + 0.75 + plot + below
    figure = _new_figure(height)
    figure.text(_LEFT / _WIDTH, 1 - 0.3 / height, _headline(scores, truth, threshold), fontsize=12, va="center")

    low, high = _shown_range(pictures)
    first_row = height - top - caption - _SIDE  # the lower edge of the first row of tiles
    for column, row in enumerate(chosen.tolist()):
        x = _LEFT + column * (_SIDE + _GAP) + (0.25 if split and column >= _EACH_END else 0.0)
        flagged = threshold is not None and bool(scores[row] > threshold)
        words = [_short(scores[row])] + ([] if p_values is None else [f"p {_short(float(p_values[row]))}"])
        words += ["flagged"] if flagged else []
        figure.text(
            (x + _SIDE / 2) / _WIDTH, (first_row + _SIDE + 0.05) / height, "\n".join(words), ha="center", va="bottom",
            fontsize=8, color=VERMILLION if flagged else BLACK, weight="bold" if flagged else "normal",
        )  # fmt: skip
        tiles = [_as_picture(pictures[row], low, high)]
        if expected is not None:
            tiles.append(_as_picture(expected[row], low, high))
            tiles.append(np.abs(pictures[row] - expected[row]).mean(2) / scale)
        for place, tile in enumerate(tiles):
            y = first_row - place * (_SIDE + _GAP)
            axes = figure.add_axes((x / _WIDTH, y / height, _SIDE / _WIDTH, _SIDE / height))
            axes.imshow(tile, cmap="gray" if place < 2 else "magma", vmin=0, vmax=1, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            framed = flagged and place == 0
            for spine in axes.spines.values():
                spine.set(color=VERMILLION if framed else GRAY, linewidth=3 if framed else 0.5)
    for place, name in enumerate(("input", "expected", f"error\n(0 to {_short(scale)})")[:tile_rows]):
        y = first_row - place * (_SIDE + _GAP) + _SIDE / 2
        figure.text((_LEFT - 0.1) / _WIDTH, y / height, name, ha="right", va="center", fontsize=9)
    heads = [("most normal", 0), ("most novel", _EACH_END)] if split else [("most normal to most novel", 0)]
    for name, column in heads:
        x = _LEFT + column * (_SIDE + _GAP) + (0.25 if column else 0.0)
        figure.text(x / _WIDTH, 1 - (top - 0.08) / height, name, fontsize=10, color=GRAY, va="center")

    axes = figure.add_axes((_LEFT / _WIDTH, below / height, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, plot / height))
    _draw_histogram(axes, scores, truth, threshold)
    return figure


def score_histogram(novelty: np.ndarray, novel: np.ndarray | None, threshold: float | None) -> Figure:
    """A histogram of scores: normal and novel samples apart where `novel` tells them, with the threshold.

    Args and errors as for `score_sheet`.
    """
    scores, truth = _checked_scores(novelty, novel)
    figure = _new_figure(4.0)
    axes = figure.add_axes((_LEFT / _WIDTH, 0.17, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, 0.68))
    _draw_histogram(axes, scores, truth, threshold)
    return figure


def loss_curves(histories: Mapping[str, Sequence[Epoch]]) -> Figure:
    """What training minimised: one panel per loss term, one line per named history, over epochs.

    Raises:
        InputError: no history has an epoch.
    """
    from matplotlib.ticker import MaxNLocator

    terms = list(dict.fromkeys(term for epochs in histories.values() for epoch in epochs for term in epoch.terms))
    if not terms:
        raise InputError("expected the epochs of at least one training; got none: this method learns without gradients")
    columns = min(3, len(terms))
    rows = -(-len(terms) // columns)
    height = 0.8 + 3.0 * rows
    figure = _new_figure(height)
    drawn: dict[str, Any] = {}
    for number, term in enumerate(terms):
        row, column = divmod(number, columns)
        width = (_WIDTH - 0.2) / columns
        axes = figure.add_axes(
            ((0.2 + column * width + 0.6) / _WIDTH, (height - 0.85 - 3.0 * row - 2.05) / height,
             (width - 0.85) / _WIDTH, 2.05 / height)
        )  # fmt: skip
        values: list[float] = []
        for place, (name, epochs) in enumerate(histories.items()):
            points = [(epoch.number, epoch.terms[term]) for epoch in epochs if term in epoch.terms]
            if points:
                marker = "o" if len(points) == 1 else None
                style = _STYLES[place % len(_STYLES)]
                line = axes.plot(*zip(*points, strict=True), style, color=_LINES[place % len(_LINES)], marker=marker)
                drawn.setdefault(name, line[0])
                values.extend(value for _, value in points)
        if min(values) > 0 and max(values) > 30 * min(values):
            axes.set_yscale("log")
        axes.set_title(term, fontsize=11)
        axes.set_xlabel("epoch", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    figure.legend(
        drawn.values(), drawn.keys(), loc="upper left", bbox_to_anchor=(0.8 / _WIDTH, 1 - 0.05 / height),
        ncols=min(6, len(drawn)), fontsize=9, frameon=False, borderpad=0, borderaxespad=0,
    )  # fmt: skip
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG file, atomically; the same figure gives the same bytes with the same matplotlib.

    Raises:
        InputError: the name does not end in .png.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"expected a name that ends in .png; got {path}")
    with written_atomically(path) as file:
        # The name of the program that made it would make the bytes differ between versions for no gain.
        figure.savefig(file, format="png", dpi=figure.dpi, metadata={"Software": None})


# ---------------------------------------------------------------------------------------------------------------
# Parts


def _new_figure(height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


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
        axes.axvline(threshold, color=BLACK, linestyle="--", linewidth=1.5, label=f"threshold {_short(threshold)}")
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


def _short(value: float) -> str:
    return f"{value:.3g}"
