"""Pictures of measurements: AUROC per class with its interval and against its cost, and maps of embedded samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from novanda.errors import InputError
from novanda.pictures.drawing import BLACK, BLUE, GRAY, LEFT, VERMILLION, WIDTH, new_figure, panel, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Bar:
    """One class of a panel of `auroc_bars`.

    Attributes:
        label: of the class.
        value: AUROC, 0 to 1; interval: its two ends, or None.
        published: the figure published for it, or None.
    """

    label: str
    value: float
    interval: tuple[float, float] | None
    published: float | None = None


def auroc_bars(panels: Mapping[str, Sequence[Bar]]) -> Figure:
    """AUROC per class: a panel per named method, a bar per class with its interval, the published figure a diamond.

    Raises:
        InputError: no bar.
    """
    panels = {name: bars for name, bars in panels.items() if bars}
    if not panels:
        raise InputError("expected at least one bar; got none")
    columns = min(3, len(panels))
    width = (WIDTH - 0.2) / 3
    rows = [list(panels.items())[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [0.95 + 0.27 * max(len(bars) for _, bars in row) for row in rows]
    figure = new_figure(0.5 + sum(heights))
    top = 0.5
    for row, height in zip(rows, heights, strict=True):
        for column, (name, bars) in enumerate(row):
            axes = panel(figure, 0.2 + column * width + 1.05, top + 0.3, width - 1.75, 0.27 * len(bars))
            places = np.arange(len(bars))
            axes.barh(places, [bar.value for bar in bars], height=0.62, color=BLUE, alpha=0.45, edgecolor=BLUE)
            for place, bar in enumerate(bars):
                if bar.interval is not None:
                    axes.plot(bar.interval, (place, place), "|-", color=BLACK, linewidth=1.6, markersize=7)
                if bar.published is not None:
                    axes.plot(
                        bar.published,
                        place,
                        "D",
                        color="white",
                        markeredgecolor=VERMILLION,
                        markersize=6,
                        clip_on=False,
                    )
                axes.text(1.06, place, f"{bar.value:.3f}", va="center", fontsize=8)
            axes.axvline(0.5, color=GRAY, linewidth=0.8, linestyle=":")
            axes.set(xlim=(0, 1), ylim=(len(bars) - 0.5, -0.5), xticks=(0, 0.25, 0.5, 0.75, 1))
            axes.set_yticks(places, [plain(bar.label) for bar in bars])
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_title(plain(name), fontsize=10, loc="left")
        top += height
    _bars_legend(figure, any(bar.published is not None for bars in panels.values() for bar in bars))
    return figure


@dataclass(frozen=True)
class Cost:
    """One method at one budget, a mark of `frontier`.

    Attributes:
        label: of the method and its budget.
        minutes: of one core to train a detector, above 0.
        value: AUROC, 0 to 1.
        bound: whether the minutes are an upper bound only, such as wall-clock time on shared cores.
    """

    label: str
    minutes: float
    value: float
    bound: bool = False


def frontier(costs: Sequence[Cost]) -> Figure:
    """AUROC against core-minutes of training, on a logarithmic axis; a dashed line joins what nothing cheaper reaches.

    Raises:
        InputError: nothing to draw, or minutes that are not above 0.
    """
    if not costs or any(cost.minutes <= 0 for cost in costs):
        raise InputError("expected at least one method, each with core-minutes above 0")
    order = sorted(costs, key=lambda cost: (cost.minutes, -cost.value, cost.label))
    figure = new_figure(max(6.0, 1.0 + 0.24 * len(order)))
    axes = panel(figure, LEFT, 0.4, 7.4, figure.get_figheight() - 1.1)
    best = [cost for place, cost in enumerate(order) if all(cost.value > other.value for other in order[:place])]
    axes.step(
        [*(cost.minutes for cost in best), order[-1].minutes], [*(cost.value for cost in best), best[-1].value],
        where="post", color=GRAY, linewidth=1, linestyle="--", zorder=1,
    )  # fmt: skip
    for number, cost in enumerate(order, 1):
        colour = BLUE if cost in best else VERMILLION
        axes.plot(
            cost.minutes, cost.value, "o", markersize=15, color="white" if cost.bound else colour,
            markeredgecolor=colour,
        )  # fmt: skip
        # Marks can lie close together: their names stand beside the picture, where they do not overlap.
        axes.text(
            cost.minutes, cost.value, str(number), fontsize=8, ha="center", va="center_baseline",
            color=BLACK if cost.bound else "white",
        )  # fmt: skip
        place = 1 - 0.24 * number / (figure.get_figheight() - 1.1)
        named = f"{number}  {plain(cost.label)}: {cost.value:.3f}"
        axes.text(1.03, place, named, transform=axes.transAxes, fontsize=9)
    axes.set_xscale("log")
    axes.margins(x=0.1, y=0.1)
    axes.set(xlabel="core-minutes to train one detector (hollow marks: at most)", ylabel="AUROC")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure


def embedding_maps(panels: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Two-dimensional maps of samples side by side: normal ones blue dots, novel ones red triangles.

    Args:
        panels: places (N, 2) and novel (N,) bool by title. Axes of such maps have no unit and bear no numbers.

    Raises:
        InputError: no panel, or arrays of other shapes.
    """
    if not panels:
        raise InputError("expected at least one map; got none")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    side = 4.9
    figure = new_figure(0.55 + rows * (side + 0.45))
    drawn: dict[str, Any] = {}
    for number, (title, (places, novel)) in enumerate(panels.items()):
        if places.ndim != 2 or places.shape[1] != 2 or novel.shape != places.shape[:1] or novel.dtype != bool:
            raise InputError(f"expected places (N, 2) and novel (N,) bool; got {places.shape} and {novel.shape}")
        row, column = divmod(number, columns)
        axes = panel(figure, 0.6 + column * (side + 0.8), 0.9 + row * (side + 0.45), side, side)
        for name, chosen, marker, colour in (("normal", ~novel, "o", BLUE), ("novel", novel, "^", VERMILLION)):
            dots = axes.scatter(
                places[chosen, 0], places[chosen, 1], s=18, marker=marker, color=colour, alpha=0.55, linewidths=0
            )
            drawn.setdefault(name, dots)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(plain(title), fontsize=11)
    figure.legend(
        drawn.values(), drawn.keys(), loc="upper left", ncols=2, frameon=False, fontsize=10, borderpad=0,
        borderaxespad=0, bbox_to_anchor=(0.6 / WIDTH, 1 - 0.15 / figure.get_figheight()), markerscale=1.6,
    )  # fmt: skip
    return figure


def _bars_legend(figure: Figure, published: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown = [
        (Patch(facecolor=(BLUE, 0.45), edgecolor=BLUE), "AUROC measured"),
        (Line2D([], [], color=BLACK, marker="|", markersize=7), "its 95 % interval over test samples"),
    ]
    if published:
        diamond = Line2D([], [], color="white", marker="D", markeredgecolor=VERMILLION, linestyle="")
        shown.append((diamond, "published"))
    figure.legend(
        *zip(*shown, strict=True), loc="upper left", ncols=3, frameon=False, fontsize=9, borderpad=0, borderaxespad=0,
        bbox_to_anchor=(0.3 / WIDTH, 1 - 0.1 / figure.get_figheight()),
    )  # fmt: skip
