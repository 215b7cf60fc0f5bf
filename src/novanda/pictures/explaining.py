"""What a detector has to say about single samples, drawn: input, what was expected, heat, nearest training images."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from novanda.errors import InputError
from novanda.pictures.drawing import BLACK, GRAY, VERMILLION, WIDTH, new_figure, panel, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from novanda.explanations import Explanation

HOTTEST = 3.0  # heat that gets the last colour: normal images, below 1 nearly everywhere, stay in the darkest third
_MARGIN, _GAP, _BAR = 0.35, 0.12, 0.75  # inches: at the sides, between tiles, for the colour bar and its numbers
_LARGEST = 1.6  # inches: a tile
_HEAD, _TITLE, _CAPTION, _LINE = (
    0.55,
    0.22,
    0.42,
    0.17,
)  # inches: above a sample, around tiles, a remark
_LETTERS = 150  # in a remark's line


def explanation_sheet(explanations: Sequence[Explanation]) -> Figure:
    """One band a sample: its name and score, the input, what was expected, the heat, the nearest training images.

    The heat's colours are the same in every sheet: 1 is the most seen on normal images, but for one pixel in a
    hundred, and the last colour begins at 3.

    Args:
        explanations: at least one; `png` of the figure gives bytes for a page or a service, `save` a file.

    Raises:
        InputError: none was given.
    """
    if not explanations:
        raise InputError("expected at least one explanation to draw; got none")
    remarks = [[line for said in each.remarks for line in textwrap.wrap(said, _LETTERS)] for each in explanations]
    columns = max(2 + (each.expected is not None) + len(each.neighbours) for each in explanations)
    side = min(_LARGEST, (WIDTH - 2 * _MARGIN - _BAR) / columns - _GAP)
    bands = [_HEAD + _TITLE + side + _CAPTION + _LINE * len(lines) + 0.1 for lines in remarks]
    figure = new_figure(sum(bands) + 0.1)
    top = 0.1
    for explanation, lines, band in zip(explanations, remarks, bands, strict=True):
        _draw_band(figure, explanation, lines, top, side)
        top += band
    return figure


def _draw_band(figure: Figure, explanation: Explanation, remarks: list[str], top: float, side: float) -> None:
    flagged = bool(explanation.is_novel)
    _write(figure, _MARGIN, top + 0.15, _shortened(explanation.name, 120), size=11, weight="bold")
    verdict = _verdict(explanation)
    _write(figure, _MARGIN, top + 0.38, verdict, size=10, colour=VERMILLION if flagged else BLACK)
    upper, x = top + _HEAD + _TITLE, _MARGIN
    tiles = [("input", explanation.image)]
    if explanation.expected is not None:
        tiles.append(("expected", explanation.expected))
    for title, image in tiles:
        _draw_tile(figure, x, upper, side, title, _as_picture(image), framed=flagged and title == "input")
        x += side + _GAP
    title = "error" if explanation.heat_kind == "error" else "less novel when hidden"
    shown = _draw_tile(figure, x, upper, side, title, explanation.heat, cmap="magma", vmin=0, vmax=HOTTEST)
    x += side
    _draw_bar(figure, shown, x + 0.06, upper, side)
    x += _BAR
    for number, neighbour in enumerate(explanation.neighbours):
        title = "nearest training image" if number == 0 else ""
        _draw_tile(figure, x, upper, side, title, _as_picture(neighbour.image))
        caption = f"{_shortened(neighbour.identifier, int(side * 14), end=True)}\ndistance {short(neighbour.distance)}"
        _write(figure, x, upper + side + 0.21, caption, size=8, colour=GRAY)
        x += side + _GAP
    for number, line in enumerate(remarks):
        _write(figure, _MARGIN, upper + side + _CAPTION + _LINE * (number + 0.5), line, size=9)


def _verdict(explanation: Explanation) -> str:
    said = f"novelty {short(explanation.novelty)}"
    if explanation.p_value is None:
        return f"{said}; the detector has no threshold, so nothing is decided"
    return f"{said}, p-value {short(explanation.p_value)}: {'flagged as novel' if explanation.is_novel else 'normal'}"


def _draw_tile(
    figure: Figure, x: float, y: float, side: float, title: str, image: np.ndarray, framed: bool = False, **look: Any
) -> Any:
    """A square of `side` inches that holds the image whole, whatever its shape; returns what imshow gave."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    # A sound of one row, or the like, is drawn as high as can be seen.
    drawn_width, drawn_height = max(width * scale, side / 6), max(height * scale, side / 6)
    axes = panel(figure, x + (side - drawn_width) / 2, y + (side - drawn_height) / 2, drawn_width, drawn_height)
    colours = look or {"cmap": "gray", "vmin": 0, "vmax": 255}
    shown = axes.imshow(image, aspect="auto", interpolation="nearest", **colours)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=VERMILLION if framed else GRAY, linewidth=3 if framed else 0.5)
    _write(figure, x, y - 0.11, title, size=9, colour=GRAY)
    return shown


def _draw_bar(figure: Figure, shown: Any, x: float, y: float, side: float) -> None:
    axes = panel(figure, x, y, 0.1, side)
    bar = figure.colorbar(shown, cax=axes)
    bar.set_ticks([0, 1, HOTTEST], labels=["0", "1", f"{HOTTEST:g}+"])
    axes.tick_params(labelsize=8, length=2, pad=2)
    bar.outline.set_linewidth(0.5)


def _write(
    figure: Figure, x: float, y: float, text: str, size: float, colour: str = BLACK, weight: str = "normal"
) -> None:
    """Text whose left end and middle are at a place in inches from the upper left corner; a $ in it is a $."""
    figure.text(
        x / WIDTH, 1 - y / figure.get_figheight(), _drawable(text), fontsize=size, color=colour, weight=weight,
        ha="left", va="center", parse_math=False,
    )  # fmt: skip


def _as_picture(image: np.ndarray) -> np.ndarray:
    """(H, W, C) uint8 to what imshow draws: motion where there are two channels, else three or their mean."""
    if image.shape[2] == 2:
        return _motion(image)
    return image if image.shape[2] == 3 else image.mean(2)


def _motion(flow: np.ndarray) -> np.ndarray:
    """Flow (H, W, 2) uint8, at rest between 127 and 128, as colours (H, W, 3) from 0 to 1.

    White is rest; the hue tells where to (red right, yellow-green down, cyan left, violet up), its depth how fast. Half
    of full scale is the deepest, for most motion is well below it.
    """
    from matplotlib.colors import hsv_to_rgb

    x, y = (flow.astype(np.float64).transpose(2, 0, 1) - 127.5) / 127.5
    hue = np.arctan2(y, x) / (2 * np.pi) % 1
    colours: np.ndarray = hsv_to_rgb(np.stack([hue, np.clip(2 * np.hypot(x, y), 0, 1), np.ones_like(hue)], -1))
    return colours


def _shortened(text: str, most: int, end: bool = False) -> str:
    """A name in at most so many letters: of a path the end tells most."""
    if len(text) <= most:
        return text
    kept = most - 3
    return f"...{text[-kept:]}" if end else f"{text[: kept // 3]}...{text[-(kept - kept // 3) :]}"


def _drawable(text: str) -> str:
    """The text with a question mark for every letter that the font does not have, which matplotlib warns about."""
    return "".join(letter if letter == "\n" or ord(letter) in _letters() else "?" for letter in text)


@functools.cache
def _letters() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont(FontProperties())).get_charmap())
