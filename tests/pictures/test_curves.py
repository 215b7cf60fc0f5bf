"""Curves: what is drawn where, what is marked, and that no text lies on another."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib import cbook
from sklearn.metrics import roc_curve

from novanda.errors import InputError
from novanda.pictures import Trace, roc_curves, training_curves


def trace(name: str, count: int = 20, *, auroc: bool = True, **more: Any) -> Trace:
    points = [(epoch, 1 / epoch) for epoch in range(1, count + 1)]
    return Trace(name, points, points if auroc else [], **more)


def assert_no_text_overlaps(figure: Any) -> None:
    """Every text of the figure, ticks and legends too, lies inside it and on no other."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        found += [axes.title, axes._left_title, *axes.texts]
        if axes.axison:
            found += [axes.xaxis.label, axes.yaxis.label]
            found += [tick.label1 for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in found if text.get_text().strip()]
    for said, box in boxes:
        assert box.x0 >= 0, said
        assert box.x1 <= figure.bbox.width, said
        assert box.y0 >= 0, said
        assert box.y1 <= figure.bbox.height, said
    for (one, first), (other, second) in combinations(boxes, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        along = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert across <= 1 or along <= 1, (one, other)


def test_a_row_a_method_and_a_line_a_training() -> None:
    figure: Any = training_curves(
        {
            "NDA": [
                trace("car, seed 0", loss_converged=7, remarks=("loss: converged at epoch 7",)),
                trace("car, seed 1"),
            ],
            "RotNet": [trace("car, seed 0", auroc=False)],
            "none": [Trace("nothing", [], [])],
        }
    )
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "NDA: sum of the loss terms", "AUROC on the test set", "RotNet: sum of the loss terms", "AUROC on the test set",
    ]  # fmt: skip
    losses, scores, _, empty = figure.axes
    marked = [line for line in losses.lines if line.get_marker() == "v"]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in marked] == [([7], [1 / 7])]
    assert not [line for line in scores.lines if line.get_marker() == "v"]
    assert len({line.get_linestyle() for line in losses.lines if line.get_marker() != "v"}) == 2
    assert [text.get_text() for text in empty.texts] == ["not measured after each epoch"]
    assert figure.legends[0].get_texts()[0].get_text() == "car, seed 0\nloss: converged at epoch 7"


def test_no_text_lies_on_another() -> None:
    remarks = ("loss: converged at epoch 100", "then ±1.2e-05 an epoch (100.0% of its way)") * 2
    many = [trace(f"automobile, seed {n}", 100, remarks=remarks) for n in range(6)]
    assert_no_text_overlaps(training_curves({"Nearest neighbour, 100 epochs": many, "NDA": many[:1]}))
    line = np.linspace(0, 1, 5)
    curves = {f"Nearest neighbour, {n} epochs": (line, line**n) for n in range(1, 9)}
    assert_no_text_overlaps(roc_curves({f"class {n}": curves for n in range(10)}))


def test_a_dollar_in_a_name_is_no_formula() -> None:
    line = np.linspace(0, 1, 5)
    named = {r"$\nonsense{$": [trace("$x^{$", loss_converged=2)]}
    for figure in (training_curves(named), roc_curves({"$a$": {"$_$": (line, line)}})):
        figure.canvas.draw()  # a formula that can not be read would raise here
        assert not any(cbook.is_math_text(text.get_text()) for text in figure.legends[0].get_texts())


def test_roc_panels_hold_the_rates_given() -> None:
    truth, scores = np.arange(30) >= 10, np.random.default_rng(0).random(30)
    false, true, _ = roc_curve(truth, scores)
    figure: Any = roc_curves({"cat": {"PCA": (false, true)}, "dog": {"PCA": (false, true), "NDA": (true, false)}})
    assert [axes.get_title() for axes in figure.axes] == ["cat", "dog"]
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_xydata(), np.column_stack([false, true]))
    first, second = figure.axes[1].lines[1:]
    assert first.get_linestyle() != second.get_linestyle()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["PCA", "NDA"]


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(InputError, match="at least one training"):
        training_curves({"NDA": [Trace("x", [], [])]})
    with pytest.raises(InputError, match="at least one ROC"):
        roc_curves({"cat": {}})
