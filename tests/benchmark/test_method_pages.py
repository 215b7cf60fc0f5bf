"""The pages of the methods: figures by hand, the floor beside them, every method in the documentation's contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up import failed, run

from novanda import datasets
from novanda.benchmark.runs import Run
from novanda.benchmark.tables.comparison import table3, table4
from novanda.benchmark.tables.methods import against_nearest_neighbour, measured_table, method_page, methods_index
from novanda.methods import ALOCC, METHODS, NDA, PCA, NearestNeighbour, RotNet

ROOT = Path(__file__).resolve().parents[2]
RUNS = [
    run(RotNet(), "frog", 0.8),
    run(RotNet(), "frog", 0.7, seed=1),
    run(RotNet(), "deer", 0.5, protocol="one_vs_rest"),
    run(RotNet(), "ship", 0.99, calibration_fraction=0.2),
    run(NearestNeighbour(), "frog", 0.6),
    run(NearestNeighbour(), "deer", 0.65),
]
LINE: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "abc123",
    "machine": {"processor": "abacus", "threads": 2},
    "sizes": {"sample": [3, 32, 32], "batch_size": 10},
    "settings": {"rotnet": "rotnet width=8"},
    "training": {"rotnet": {"step_gflop": 4.0, "auto": {"images_per_second": {"median": 123.4}}}},
    "networks": {"rotnet": {"parameters": 7654321, "scoring_multiply_adds": 2500000}},
    "scoring": {"rotnet": {"images_per_second": {"median": 55.0}, "latency_ms": {"median": 6.25}}},
}


def test_figures_are_means_over_classes_of_means_over_seeds() -> None:
    (row,) = measured_table(RotNet, RUNS).rows
    named = dict(zip(measured_table(RotNet, RUNS).header, row, strict=True))
    assert named["AUROC"].value == pytest.approx((0.75 + 0.5) / 2)
    assert named["floor"].text == "0.625"
    assert named["classes"].text == "frog, deer"
    assert named["published"].text == "", "the paper's mean is over all ten"
    assert named["fit, s"].text == "2"


def test_what_was_calibrated_or_failed_is_no_figure() -> None:
    assert measured_table(PCA, RUNS).rows == ()
    assert measured_table(RotNet, [RUNS[3]]).rows == ()
    assert measured_table(RotNet, [Run(Path(), failed(RotNet(), "ship"))]).rows == ()


def test_the_published_mean_stands_beside_all_ten_classes_only() -> None:
    every = [run(RotNet(), name, 0.8) for name in datasets.get("cifar10").classes]
    table = measured_table(RotNet, every)
    named = dict(zip(table.header, table.rows[0], strict=True))
    assert named["classes"].text == "all 10"
    assert (named["published"].text, named["published"].kind) == ("0.833", "published")
    assert named["floor"].kind == "missing"


def test_the_published_mean_is_that_of_the_score_measured() -> None:
    for score, printed in (("dr", "0.88"), ("d", "0.82")):
        every = [run(ALOCC(), str(digit), {score: 0.8}, data_set="mnist") for digit in range(10)]
        table = measured_table(ALOCC, every)
        assert dict(zip(table.header, table.rows[0], strict=True))["published"].text == printed


def test_it_is_said_how_often_the_floor_is_beaten() -> None:
    assert "beats the nearest neighbour on pixels on 1 of 2 classes" in against_nearest_neighbour(RotNet, RUNS)
    assert "not** beat" in against_nearest_neighbour(PCA, [run(PCA(), "frog", 0.5), *RUNS])
    level = [run(PCA(), "frog", 0.6001), run(PCA(), "deer", 0.6499), *RUNS]
    assert "on 1 of 2 classes, at one of these budgets, and is level" in against_nearest_neighbour(PCA, level)
    assert "on 1 more." in against_nearest_neighbour(PCA, level)
    assert "was not measured" in against_nearest_neighbour(NDA, [run(NDA(), "ship", 0.5), *RUNS])
    assert against_nearest_neighbour(NearestNeighbour, RUNS) == ""


def test_a_thinned_test_set_is_held_against_the_whole_ones_floor() -> None:
    thinned = [run(RotNet(), "frog", 0.7, protocol="one_vs_rest_thinned"), run(NearestNeighbour(), "frog", 0.6)]
    assert "on 1 of 1" in against_nearest_neighbour(RotNet, thinned)
    folds = [run(RotNet(), "frog", 0.7, protocol="fold_1"), run(NearestNeighbour(), "frog", 0.6)]
    assert "not measured" in against_nearest_neighbour(RotNet, folds), "another protocol is another floor"


def test_the_page_has_the_docstring_the_figures_and_the_cost() -> None:
    page = method_page(RotNet, RUNS, LINE)
    assert "::: novanda.methods.rotnet.RotNet" in page
    for figure in ("0.625", "7,654,321", "2.5", "200.0", "123", "55", "6.2", "with width=8", "abacus, 2 threads"):
        assert figure in page, figure
    bare = method_page(PCA, RUNS, None)
    assert "No result line yet." in bare
    assert "Not measured yet." in bare


def test_the_list_of_methods_has_all_of_them() -> None:
    table = methods_index(RUNS, LINE)
    assert [row[0].text.split("]")[0][1:] for row in table.rows] == [kind.title for kind in METHODS]
    by_name = {row[0].text: row for row in table.rows}
    assert by_name["[RotNet](rotnet.md)"][2].kind == "missing", "two of ten classes are no mean"
    assert [entry.text for entry in by_name["[RotNet](rotnet.md)"][4:]] == ["7,654,321", "2.5", "123", "55"]


def test_the_list_says_whose_mean_is_of_fewer_novelties_or_of_a_gpu() -> None:
    classes = datasets.get("cifar10").classes
    gpu = {"device": "cuda", "name": "abacus"}
    runs = [run(RotNet(), name, 0.8, protocol="one_vs_rest_thinned", machine=gpu) for name in classes]
    runs += [run(PCA(), name, 0.6) for name in classes]
    by_name = {row[0].text: row[2] for row in methods_index(runs, LINE).rows}
    assert by_name["[RotNet](rotnet.md)"].text == "0.800, every 9th novelty, on a GPU"
    assert by_name[f"[{PCA.title}](pca.md)"].text == "0.600"


def test_every_method_has_its_page_in_the_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text()
    for kind in METHODS:
        assert f"- methods/{kind.name}.md\n" in contents
        assert (ROOT / f"docs/methods/{kind.name}.md").is_file()


def test_figures_that_designs_were_chosen_by_are_no_results() -> None:
    chosen = [run(RotNet(), "frog", 0.9, protocol="within_training"), run(PCA(), "frog", 0.5)]
    assert measured_table(RotNet, chosen).rows == ()
    shown = [row[2].text for row in table3(chosen).rows if row[1].text == "measured"]
    assert len(shown) == 1
    assert "training images only" not in str(table4(chosen))
