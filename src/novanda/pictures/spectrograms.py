"""Spectrograms of whole recordings beside each other, as in the paper's Figure 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from novanda.errors import InputError
from novanda.pictures.drawing import LEFT, WIDTH, new_figure, panel, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEAD, _HEIGHT, _BELOW = 0.45, 3.2, 0.6  # inches: the title, a spectrogram, its axis
_BETWEEN, _BAR, _BAR_ROOM = 0.3, 0.18, 0.95  # inches: two panels, the scale of colours, the scale with its numbers
_SHOWN_HERTZ = (125, 250, 500, 1000, 2000, 4000, 8000, 16_000)
_LETTERS = 11  # of a title, an inch
_DARKEST = 2.0  # percent of all values that lie below the first colour, and above the last


@dataclass(frozen=True, eq=False)
class SpectrogramPanel:
    """One recording, as `spectrogram_sheet` draws it.

    Attributes:
        title: what is written above it.
        seconds: how long it lasts.
        decibels: (bands, frames), the lowest band in row 0, frames from its beginning to its end.
        hertz: (bands,) the middle of each band, rising.
    """

    title: str
    seconds: float
    decibels: np.ndarray
    hertz: np.ndarray


def spectrogram_sheet(panels: Sequence[SpectrogramPanel]) -> Figure:
    """Spectrograms from left to right with one scale of colours, so that a bright place is as loud in either.

    Raises:
        InputError: no recording, or one whose bands have no frequencies.
    """
    if not panels:
        raise InputError("expected at least one recording to draw; got none")
    for each in panels:
        if each.decibels.ndim != 2 or each.hertz.shape != each.decibels.shape[:1]:
            raise InputError(
                f"expected decibels (bands, frames) and a frequency a band; got {each.decibels.shape} and "
                f"{each.hertz.shape}"
            )
    figure = new_figure(_HEAD + _HEIGHT + _BELOW)
    values = np.concatenate([each.decibels.ravel() for each in panels])
    low, high = np.percentile(values, [_DARKEST, 100 - _DARKEST])
    width = (WIDTH - LEFT - _BAR_ROOM - _BETWEEN * len(panels)) / len(panels)
    shown: Any = None
    for number, each in enumerate(panels):
        axes = panel(figure, LEFT + number * (width + _BETWEEN), _HEAD, width, _HEIGHT)
        bands = len(each.hertz)
        shown = axes.imshow(
            each.decibels, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=max(high, low + 1),
            extent=(0, each.seconds, -0.5, bands - 0.5),
        )  # fmt: skip
        letters = int(width * _LETTERS)
        title = each.title if len(each.title) <= letters else f"{each.title[: letters - 1]}…"
        axes.set_title(plain(title), fontsize=10, loc="left")
        axes.set_xlabel("seconds", fontsize=9)
        marks = [hertz for hertz in _SHOWN_HERTZ if each.hertz[0] <= hertz <= each.hertz[-1]]
        places = np.interp(marks, each.hertz, np.arange(bands))
        axes.set_yticks(places, labels=[f"{hertz:,}" for hertz in marks] if number == 0 else [""] * len(marks))
        if number == 0:
            axes.set_ylabel("hertz", fontsize=9)
    bar = figure.colorbar(shown, cax=panel(figure, WIDTH - _BAR_ROOM, _HEAD, _BAR, _HEIGHT))
    bar.set_label("decibels", fontsize=9)
    return figure
