"""Curves: losses and AUROC over the epochs of trainings, and ROC curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from novanda.errors import InputError
from novanda.pictures.drawing import BLACK, GRAY, LINES, STYLES, WIDTH, new_figure, panel, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from novanda.training import Epoch

_MUCH = 30  # a curve whose largest value is this many times its smallest is drawn on a logarithmic axis
Points = Sequence[tuple[int, float]]


def loss_curves(histories: Mapping[str, Sequence[Epoch]]) -> Figure:
    """What training minimised: one panel per loss term, one line per named history, over epochs.

    Raises:
        InputError: no history has an epoch.
    """
    terms = list(dict.fromkeys(term for epochs in histories.values() for epoch in epochs for term in epoch.terms))
    if not terms:
        raise InputError("expected the epochs of at least one training; got none: this method learns without gradients")
    columns = min(3, len(terms))
    rows = -(-len(terms) // columns)
    figure = new_figure(0.8 + 3.0 * rows)
    drawn: dict[str, Any] = {}
    for number, term in enumerate(terms):
        row, column = divmod(number, columns)
        width = (WIDTH - 0.2) / columns
        axes = panel(figure, 0.2 + column * width + 0.6, 0.85 + 3.0 * row, width - 0.85, 2.05)
        values: list[float] = []
        for place, (name, epochs) in enumerate(histories.items()):
            points = [(epoch.number, epoch.terms[term]) for epoch in epochs if term in epoch.terms]
            if points:
                drawn.setdefault(name, _draw_line(axes, points, place))
                values.extend(value for _, value in points)
        _finish_epochs(axes, term, values)
    _legend_on_top(figure, drawn)
    return figure


@dataclass(frozen=True)
class Trace:
    """One training, as `training_curves` draws it.

    Attributes:
        name: which one, for the legend: "automobile, seed 0".
        loss, auroc: (epoch, value) pairs; either may be empty.
        loss_converged, auroc_converged: the epoch that is marked; None where there is none.
        remarks: what the legend adds below the name, a line each.
    """

    name: str
    loss: Points
    auroc: Points
    loss_converged: int | None = None
    auroc_converged: int | None = None
    remarks: tuple[str, ...] = ()


def training_curves(methods: Mapping[str, Sequence[Trace]]) -> Figure:
    """Loss and AUROC over epochs: one row of two panels per method, one line per training, convergence marked.

    Methods do not share a panel, for their losses have nothing in common but the name. A triangle marks the
    epoch of convergence on its line; the legend beside the panels says it in words.

    Raises:
        InputError: no training has an epoch.
    """
    rows = {name: [trace for trace in traces if trace.loss or trace.auroc] for name, traces in methods.items()}
    rows = {name: traces for name, traces in rows.items() if traces}
    if not rows:
        raise InputError("expected at least one training with epochs; got none")
    heights = [
        max(2.7, 0.95 + sum(0.16 * (1 + len(trace.remarks)) + 0.1 for trace in traces)) for traces in rows.values()
    ]
    figure = new_figure(0.15 + sum(heights))
    top = 0.15
    for (name, traces), height in zip(rows.items(), heights, strict=True):
        inside = height - 0.95
        axes = panel(figure, 0.75, top + 0.35, 3.5, inside)
        scores = panel(figure, 5.0, top + 0.35, 3.5, inside)
        drawn: dict[str, Any] = {}
        for place, trace in enumerate(traces):
            label = "\n".join((trace.name, *trace.remarks))
            for side, points, converged in (
                (axes, trace.loss, trace.loss_converged),
                (scores, trace.auroc, trace.auroc_converged),
            ):
                if points:
                    drawn.setdefault(label, _draw_line(side, points, place))
                    _mark(side, points, converged, place)
        _finish_epochs(axes, f"{name}: sum of the loss terms", [v for trace in traces for _, v in trace.loss])
        _finish_epochs(scores, "AUROC on the test set", [])  # never logarithmic
        if not any(trace.auroc for trace in traces):
            scores.text(0.5, 0.5, "not measured after each epoch", transform=scores.transAxes, ha="center", color=GRAY)
            scores.set_axis_off()
        figure.legend(
            drawn.values(), map(plain, drawn), loc="upper left", fontsize=8, frameon=False, borderpad=0,
            bbox_to_anchor=(8.75 / WIDTH, 1 - (top + 0.35) / figure.get_figheight()), borderaxespad=0, labelspacing=0.7,
        )  # fmt: skip
        top += height
    return figure


def roc_curves(panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> Figure:
    """ROC curves: a panel per named test set, in it a line per named method.

    Args:
        panels: false-positive and true-positive rates, (U,) each and rising from 0 to 1, by method, by panel.

    Raises:
        InputError: no curve.
    """
    if not any(panels.values()):
        raise InputError("expected at least one ROC curve; got none")
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    side = 2.3
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    top = 0.35 + 0.25 * -(-len(names) // 4)
    figure = new_figure(top + rows * (side + 0.85))
    drawn: dict[str, Any] = {}
    for number, (title, curves) in enumerate(panels.items()):
        row, column = divmod(number, columns)
        axes = panel(figure, 0.65 + column * 2.85, top + 0.3 + row * (side + 0.85), side, side)
        axes.plot((0, 1), (0, 1), color=GRAY, linewidth=0.8, linestyle=(0, (1, 3)))
        for name, (false, true) in curves.items():
            place = names.index(name)
            line = axes.plot(false, true, STYLES[place % len(STYLES)], color=LINES[place % len(LINES)], linewidth=1.4)
            drawn.setdefault(name, line[0])
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axes.set_title(plain(title), fontsize=10)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.set_xlabel("normals flagged", fontsize=8)
        if column == 0:
            axes.set_ylabel("novelties found", fontsize=8)
    _legend_on_top(figure, {name: drawn[name] for name in names}, columns=4)
    return figure


# ---------------------------------------------------------------------------------------------------------------
# Parts


def _draw_line(axes: Axes, points: Points, place: int) -> Any:
    marker = "o" if len(points) == 1 else None
    style, colour = STYLES[place % len(STYLES)], LINES[place % len(LINES)]
    return axes.plot(*zip(*points, strict=True), style, color=colour, marker=marker)[0]


def _mark(axes: Axes, points: Points, epoch: int | None, place: int) -> None:
    if epoch is not None:
        colour = LINES[place % len(LINES)]
        axes.plot(
            epoch, dict(points)[epoch], "v", markersize=9, color=colour, markeredgecolor=BLACK, zorder=5, clip_on=False
        )


def _finish_epochs(axes: Axes, title: str, values: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    if values and min(values) > 0 and max(values) > _MUCH * min(values):
        axes.set_yscale("log")
    axes.set_title(plain(title), fontsize=11)
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def _legend_on_top(figure: Figure, drawn: Mapping[str, Any], columns: int = 6) -> None:
    figure.legend(
        drawn.values(), map(plain, drawn), loc="upper left",
        bbox_to_anchor=(0.8 / WIDTH, 1 - 0.05 / figure.get_figheight()),
        ncols=min(columns, len(drawn)), fontsize=9, frameon=False, borderpad=0, borderaxespad=0,
    )  # fmt: skip
