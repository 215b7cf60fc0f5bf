"""Bars and maps: what is drawn for which figures, by shape as well as by colour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_curves import assert_no_text_overlaps

from novanda.errors import InputError
from novanda.pictures import Bar, Cost, auroc_bars, embedding_maps, frontier

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "T-shirt/top")


def test_bars_with_intervals_and_published_figures() -> None:
    figure: Any = auroc_bars({"NDA": [Bar("cat", 0.6, (0.5, 0.7), 0.8), Bar("dog", 0.4, None)], "none": []})
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "NDA"
    assert [patch.get_width() for patch in axes.patches] == [0.6, 0.4]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    whiskers = [line for line in axes.lines if line.get_marker() == "|"]
    assert [list(line.get_xdata()) for line in whiskers] == [[0.5, 0.7]]
    diamonds = [line for line in axes.lines if line.get_marker() == "D"]
    assert [list(line.get_xdata()) for line in diamonds] == [[0.8]]
    assert [text.get_text() for text in axes.texts] == ["0.600", "0.400"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first class stands on top"


def test_only_what_was_published_is_in_the_legend() -> None:
    figure: Any = auroc_bars({"PCA": [Bar("cat", 0.6, None)]})
    assert "published" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_maps_tell_normal_from_novel_by_shape() -> None:
    places = np.random.default_rng(0).normal(size=(20, 2))
    novel = np.arange(20) % 4 == 0
    figure: Any = embedding_maps({"with": (places, novel), "without": (places + 1, novel)})
    assert [axes.get_title() for axes in figure.axes] == ["with", "without"]
    normals, novelties = figure.axes[0].collections
    np.testing.assert_allclose(normals.get_offsets(), places[~novel])
    np.testing.assert_allclose(novelties.get_offsets(), places[novel])
    shapes = [side.get_paths()[0].vertices.shape for side in (normals, novelties)]
    assert shapes[0] != shapes[1]


def test_the_frontier_joins_what_nothing_cheaper_reaches() -> None:
    costs = [
        Cost("slow", 9.0, 0.8),
        Cost("worse", 2.0, 0.5),
        Cost("quick", 0.1, 0.6, bound=True),
        Cost("dear", 20, 0.7),
    ]
    figure: Any = frontier(costs)
    (axes,) = figure.axes
    line, *marks = axes.lines
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [(0.1, 0.6), (9.0, 0.8), (20, 0.8)]
    assert [mark.get_xdata()[0] for mark in marks] == [0.1, 2.0, 9.0, 20]
    assert [mark.get_color() == "white" for mark in marks] == [True, False, False, False]
    assert axes.get_xscale() == "log"
    named = [text.get_text() for text in axes.texts if len(text.get_text()) > 2]
    assert named == ["1  quick: 0.600", "2  worse: 0.500", "3  slow: 0.800", "4  dear: 0.700"]
    assert_no_text_overlaps(frontier([Cost(f"a method of {n} epochs, wide", 2.0**n, 0.5) for n in range(20)]))
    with pytest.raises(InputError, match="core-minutes above 0"):
        frontier([Cost("free", 0.0, 0.5)])


def test_no_text_lies_on_another() -> None:
    bars = [Bar(name, 0.999, (0.99, 1.0), 0.985) for name in CLASSES]
    assert_no_text_overlaps(auroc_bars({f"Nearest neighbour, {n} epochs": bars for n in range(7)}))
    places, novel = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) > 9
    assert_no_text_overlaps(embedding_maps({f"with the estimators {n}": (places, novel) for n in range(3)}))


def test_what_can_not_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="at least one bar"):
        auroc_bars({"NDA": []})
    with pytest.raises(InputError, match="at least one map"):
        embedding_maps({})
    with pytest.raises(InputError, match="places"):
        embedding_maps({"x": (np.zeros((3, 3)), np.zeros(3, dtype=bool))})
