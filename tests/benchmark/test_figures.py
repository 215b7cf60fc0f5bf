"""The report's pictures: which are drawn of which lines, and what is said of those that can not be."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import line, write, write_kept, write_scores
from PIL import Image

from novanda import datasets, pictures
from novanda.benchmark.figures import Picture, every_picture
from novanda.benchmark.runs import read_runs
from novanda.methods import NDA, PCA, NearestNeighbour, RotNet
from novanda.metrics import auroc_interval
from novanda.training import Training

RANDOM = np.random.default_rng(0)


def drawn(folder: Path) -> tuple[dict[str, Picture], list[str]]:
    left_out: list[str] = []
    found = every_picture(read_runs([folder]), left_out.append)
    for picture in found:
        with Image.open(io.BytesIO(picture.png)) as image:
            assert image.size[0] == 1200
    return {picture.name: picture for picture in found}, left_out


def scored(folder: Path, *given: Any, shift: float = 0.5, **named: Any) -> dict[str, Any]:
    made = line(*given, **named)
    write_scores(folder, made, RANDOM.normal(size=30), RANDOM.normal(shift, 1, 50))
    return made


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `auroc_bars` is given, as it goes on to draw it."""
    seen: list[Any] = []
    real = pictures.auroc_bars

    def watched(panels: Any) -> Any:
        seen.append(panels)
        return real(panels)

    monkeypatch.setattr(pictures, "auroc_bars", watched)
    return seen


def test_bars_hold_intervals_of_the_raw_scores_and_published_figures(tmp_path: Path, bars: list[Any]) -> None:
    lines = [scored(tmp_path, NearestNeighbour(), "airplane"), scored(tmp_path, PCA(), "airplane")]
    found, left_out = drawn(write(tmp_path, *lines))
    assert not left_out
    assert found["bars_cifar10_protocol_2"].keys == tuple(sorted((each["key"] for each in lines), key=_in_order(lines)))
    (panels,) = bars
    (bar,) = panels["Nearest neighbour"]
    runs = {run.method["name"]: run for run in read_runs([tmp_path])}
    assert bar.value == runs["nearest_neighbour"].auroc
    assert bar.interval == auroc_interval(*runs["nearest_neighbour"].scores())
    assert bar.published == 0.690
    assert panels["PCA reconstruction"][0].published is None


def _in_order(lines: list[dict[str, Any]]) -> Any:
    """PCA stands before nearest neighbour among novanda's methods, and so do their keys here."""
    return [each["key"] for each in reversed(lines)].index


def test_each_method_is_shown_once_with_its_largest_budget(tmp_path: Path, bars: list[Any]) -> None:
    write(
        tmp_path,
        scored(tmp_path, NDA(), "cat", training=Training(epochs=5)),
        scored(tmp_path, NDA(), "cat", training=Training(epochs=50)),
        scored(tmp_path, NDA(), "cat", training=Training(epochs=50), seed=1),
        scored(tmp_path, NDA(negatives="none"), "cat", training=Training(epochs=500)),
        scored(tmp_path, NDA(), "cat", training=Training(epochs=500), calibration_fraction=0.2),
    )
    drawn(tmp_path)
    (panels,) = bars
    assert {name: len(found) for name, found in panels.items()} == {"NDA (paper), 50 epochs": 1}


def test_missing_scores_leave_a_picture_out_and_say_so(tmp_path: Path) -> None:
    made = line(PCA(), "cat")
    found, left_out = drawn(write(tmp_path, made, line(NDA(), "cat")))
    assert not found
    assert len(left_out) == 4
    assert any(
        "the ROC curve of PCA reconstruction on CIFAR-10 cat" in each and f"{made['key']}.npz is missing" in each
        for each in left_out
    )


def test_one_missing_file_costs_no_other_class(tmp_path: Path) -> None:
    found, left_out = drawn(write(tmp_path, scored(tmp_path, PCA(), "cat"), line(PCA(), "dog")))
    assert {"bars_cifar10_protocol_2", "roc_cifar10_protocol_2"} == found.keys()
    assert all("dog" in each for each in left_out)


def test_training_curves_of_what_was_trained(tmp_path: Path) -> None:
    history = [{"seconds": 1.0, "laplacian": 1 / n} for n in range(1, 21)]
    curve = [{"epoch": n, "auroc": {"mse": 0.5 + n / 100}} for n in range(1, 21)]
    write(
        tmp_path,
        scored(tmp_path, NDA(), "cat", history=history, keep=["curve"], curve=curve),
        scored(tmp_path, NDA(), "dog", history=history),
        scored(tmp_path, PCA(), "cat"),
    )
    found, _ = drawn(tmp_path)
    assert len(found["training_cifar10"].keys) == 2


def test_maps_with_and_without_the_estimators_are_one_picture(tmp_path: Path) -> None:
    off = NDA(local_weight=0.0, global_weight=0.0, prior_weight=0.0)
    lines = [line(method, "frog", keep=["embedding"]) for method in (NDA(), off)]
    other = line(NDA(width=32), "frog", keep=["embedding"])
    for each in (*lines, other):
        write_kept(tmp_path, each)
    found, _ = drawn(write(tmp_path, *lines, other, line(NDA(), "cat", keep=["embedding"])))
    maps = [set(picture.keys) for name, picture in found.items() if name.startswith("embedding")]
    assert sorted(maps, key=len) == [{other["key"]}, {each["key"] for each in lines}]


@pytest.mark.parametrize("expected", [True, False])
def test_contact_sheets_of_kept_examples(expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = pictures.example_sheet

    def watched(*given: Any) -> Any:
        seen.append(given)
        return real(*given)

    monkeypatch.setattr(pictures, "example_sheet", watched)
    made = scored(tmp_path, RotNet(), "frog", {"logit": 0.5}, keep=["examples"])
    write_kept(tmp_path, made, expected=expected, half=3)
    found, left_out = drawn(write(tmp_path, made))
    sheet = found[f"examples_{made['key']}"]
    assert sheet.keys == (made["key"],)
    assert not left_out
    ((images, reconstructions, novelty, novel, _, (everyone, truth), title),) = seen
    assert (reconstructions is not None) == expected
    assert len(images) == len(novelty) == len(novel) == 6
    assert (len(everyone), int(truth.sum())) == (80, 50)
    assert title == "RotNet trained on CIFAR-10 frog"


def test_a_sheet_without_its_scores_is_left_out(tmp_path: Path) -> None:
    made = line(PCA(), "frog", keep=["examples"])
    write_kept(tmp_path, made)
    _, left_out = drawn(write(tmp_path, made))
    assert any(each.startswith("the contact sheet of PCA reconstruction on CIFAR-10 frog") for each in left_out)


def test_hostile_names_are_drawn_and_name_safe_files(tmp_path: Path) -> None:
    made = scored(tmp_path, PCA(), "cat")
    made["cell"] |= {"normal_class": "$\\frac{ \U0001f600", "data_set": "../../$x$", "protocol": "a/b"}
    found, _ = drawn(write(tmp_path, made))
    assert len(found) == 2
    assert all(name.replace("_", "").isalnum() for name in found)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the frontier was drawn of."""
    costs_drawn: list[Any] = []
    real = pictures.frontier

    def watched(costs: Any) -> Any:
        costs_drawn.append(costs)
        return real(costs)

    monkeypatch.setattr(pictures, "frontier", watched)
    return costs_drawn


def test_the_frontier_has_methods_run_on_every_class(tmp_path: Path, seen: list[Any]) -> None:
    names = datasets.get("cifar10").classes
    busy = [line(PCA(), name, 0.6, cpu_seconds={"fit": 90.0, "score": 1.0}) for name in names]
    clock = [line(RotNet(), name, 0.8, fit_seconds=30.0, machine={"threads": 2}) for name in names]
    resumed = [line(NDA(), name, 0.7, cpu_seconds={"fit": None, "score": 1.0}) for name in names]
    found, _ = drawn(write(tmp_path, *busy, *clock, *resumed, line(NearestNeighbour(), names[0], 0.9)))
    assert "frontier_cifar10" in found
    (costs,) = seen
    by_name = {cost.label.split(",")[0]: cost for cost in costs}
    assert set(by_name) == {"PCA reconstruction", "RotNet", "NDA (paper)"}, "one class is no mean"
    assert (by_name["PCA reconstruction"].minutes, by_name["PCA reconstruction"].bound) == (1.5, False)
    assert (by_name["RotNet"].minutes, by_name["RotNet"].bound) == (1.0, True)
    assert by_name["NDA (paper)"].bound
    assert by_name["RotNet"].value == pytest.approx(0.8)


def test_a_gpus_runs_stand_at_what_a_cpu_took(tmp_path: Path, seen: list[Any]) -> None:
    names = datasets.get("cifar10").classes
    gpu: dict[str, Any] = {"cpu_seconds": {"fit": 1.0, "score": 1.0}, "machine": {"device": "cuda", "name": "abacus"}}
    lines = [line(PCA(), name, 0.6, cpu_seconds={"fit": 90.0, "score": 1.0}) for name in names]
    lines += [line(RotNet(), name, 0.8, **gpu) for name in names]
    lines += [line(NDA(), name, 0.7, **gpu) for name in names]
    lines += [line(RotNet(), names[0], 0.9, seed=5, cpu_seconds={"fit": 600.0, "score": 1.0})]
    drawn(write(tmp_path, *lines))
    (costs,) = seen
    by_name = {cost.label.split(",")[0]: cost for cost in costs}
    assert set(by_name) == {"PCA reconstruction", "RotNet"}, "nobody knows what NDA takes on a CPU"
    assert by_name["RotNet"].minutes == pytest.approx(10)
    assert by_name["RotNet"].value == pytest.approx(0.8), "the mean is that of the GPU's runs"
