"""What all pictures share: the palette, a figure that belongs to nobody, where its parts go, and saving it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from novanda.checkpoint import written_atomically
from novanda.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, BLACK, GRAY = "#0072B2", "#D55E00", "#000000", "#595959"
LINES = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", BLACK)
STYLES = ("-", "--", "-.", ":")
WIDTH = 12.0  # inches: 1200 pixels
LEFT, RIGHT = 0.95, 0.3  # inches: margins
_DPI = 100


def new_figure(height: float) -> Figure:
    """An empty white figure, 12 inches wide, `height` inches high."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes in a figure, in inches from its upper left corner."""
    whole = figure.get_figheight()
    return figure.add_axes((left / WIDTH, (whole - top - height) / whole, width / WIDTH, height / whole))


def png(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes with the same matplotlib."""
    out = BytesIO()
    # The name of the program that made it would make the bytes differ between versions for no gain.
    figure.savefig(out, format="png", dpi=figure.dpi, metadata={"Software": None})
    return out.getvalue()


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG file, atomically.

    Raises:
        InputError: the name does not end in .png.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"expected a name that ends in .png; got {path}")
    with written_atomically(path) as file:
        file.write(png(figure))


def plain(words: str) -> str:
    """Words as matplotlib draws them literally: a pair of dollars would begin and end a formula."""
    return words.replace("$", r"\$")


def short(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}"
