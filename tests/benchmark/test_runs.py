"""Result folders read for a report: what a run says of itself, arrays beside lines, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import failed, line, run, write, write_kept, write_scores

from novanda.benchmark.runs import Run, read_runs
from novanda.errors import DataError
from novanda.methods import NDA, PCA, NearestNeighbour
from novanda.training import Training


def test_a_run_says_what_its_line_holds() -> None:
    found = run(NDA(), "car", {"mse": 0.6, "l1": 0.7}, seed=3)
    assert (found.auroc, found.score, found.error) == (0.6, "mse", None)
    assert found.normal_class == "automobile", "aliases are the same class"
    assert run(PCA(), "0", data_set="fashion_mnist").normal_class == "T-shirt/top", "and so are numbers"
    assert found.trained
    assert not run(PCA()).trained


def test_losses_are_those_of_the_last_stage() -> None:
    history = [
        {"seconds": 9.0, "mse": 1.0},
        {"seconds": 9.0, "mse": 0.5},
        {"seconds": 9.0, "distance": 3.0, "decay": 1.0},
        {"seconds": 9.0, "distance": 2.0, "decay": 0.5},
    ]
    assert run(NDA(), history=history).losses == [(3, 4.0), (4, 2.5)]
    assert run(NDA(), history=[]).losses == []


def test_the_curve_of_the_headline() -> None:
    curve = [{"epoch": n, "auroc": {"mse": n / 10, "l1": 0.5}} for n in (1, 2)]
    assert run(NDA(), auroc={"mse": 0.2, "l1": 0.5}, curve=curve).aurocs() == [(1, 0.1), (2, 0.2)]
    assert run(NDA()).aurocs() == []


def test_folders_are_read_together_in_a_fixed_order(tmp_path: Path) -> None:
    lines = [line(method, name) for method in (NDA(), PCA()) for name in ("truck", "airplane")]
    write(tmp_path / "a", *lines)
    write(tmp_path / "b", *reversed(lines))
    found = read_runs([tmp_path / "a", tmp_path / "b"])
    assert [(each.normal_class, each.method["name"]) for each in found] == [
        ("airplane", "nda"), ("airplane", "pca"), ("truck", "nda"), ("truck", "pca"),
    ]  # fmt: skip
    assert [each.key for each in read_runs([tmp_path / "b"])] == [each.key for each in found]


@pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good")])
def test_of_one_cell_in_two_folders_the_finished_one_counts(order: tuple[str, str], tmp_path: Path) -> None:
    write(tmp_path / "good", line(PCA()))
    write(tmp_path / "bad", failed(PCA()))
    (found,) = read_runs([tmp_path / name for name in order])
    assert found.error is None
    assert found.folder == tmp_path / "good"


def test_scores_and_kept_arrays(tmp_path: Path) -> None:
    made = line(PCA(), keep=["embedding"])
    normal, novel = np.array([0.0, 2.0]), np.array([1.0, 3.0, 4.0])
    write_scores(tmp_path, made, normal, novel)
    write_kept(tmp_path, made)
    (found,) = read_runs([write(tmp_path, made)])
    assert found.auroc == pytest.approx(5 / 6)
    for got, given in zip(found.scores(), (normal, novel), strict=True):
        np.testing.assert_array_equal(got, given)
    assert found.kept("embedding", "embedding_novel")["embedding"].shape == (60, 2)
    with pytest.raises(DataError, match=r"kept.*npz holds no readable nothing"):
        found.kept("nothing")


def test_scores_of_another_run_are_not_taken_for_its_own(tmp_path: Path) -> None:
    made = line(PCA())
    write_scores(tmp_path, made, np.arange(5.0), np.arange(5.0) + 2)
    made["auroc"] = {"mse": 0.5}
    with pytest.raises(DataError, match=r"AUROC of 0\.8200 where the result line says 0\.5000"):
        Run(tmp_path, made).scores()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + b"\0" * 40])
def test_damaged_and_missing_arrays_are_named(content: bytes, tmp_path: Path) -> None:
    made = line(PCA())
    (read,) = read_runs([write(tmp_path, made)])
    with pytest.raises(DataError, match=r"scores.*npz is missing"):
        read.scores()
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / f"{made['key']}.npz").write_bytes(content)
    with pytest.raises(DataError, match="no readable novel and mse"):
        read.scores()


def test_arrays_that_would_run_code_are_refused(tmp_path: Path) -> None:
    made = line(PCA())
    (tmp_path / "scores").mkdir()
    objects = {"novel": np.array([True, False]), "mse": np.array([{}, {}], dtype=object)}
    np.savez(tmp_path / "scores" / f"{made['key']}.npz", allow_pickle=True, **objects)
    with pytest.raises(DataError, match="no readable"):
        Run(tmp_path, made).scores()


def test_folders_without_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"results.jsonl is missing; give a folder"):
        read_runs([tmp_path])
    (tmp_path / "results.jsonl").write_text("")
    with pytest.raises(DataError, match="no finished cell"):
        read_runs([tmp_path])
    (tmp_path / "results.jsonl").write_text('{"key": "a", "cell"')
    with pytest.raises(DataError, match="no finished cell"):
        read_runs([tmp_path])


BROKEN: dict[str, Any] = {
    "key that leads out": {"key": "../../etc/passwd"},
    "key of another kind": {"key": 7},
    "no cell": {"cell": None},
    "cell without a method": {"cell": {"data_set": "mnist", "normal_class": "0", "protocol": "x", "seed": 0}},
    "AUROC above 1": {"auroc": {"mse": 1.5}},
    "AUROC of text": {"auroc": {"mse": "0.5"}},
    "headline without a figure": {"score": "l2"},
    "no AUROC": {"auroc": {}},
    "loss of text": {"history": [{"seconds": 1, "mse": "low"}]},
    "curve of text": {"curve": "steep"},
    "curve without the headline": {"curve": [{"epoch": 1, "auroc": {"l1": 0.5}}]},
}


@pytest.mark.parametrize("what", BROKEN)
def test_lines_that_the_benchmark_never_wrote_are_refused(what: str, tmp_path: Path) -> None:
    made = {**line(NDA()), **BROKEN[what]}
    (tmp_path / "results.jsonl").write_text(json.dumps(line(NearestNeighbour())) + "\n" + json.dumps(made) + "\n")
    with pytest.raises(DataError, match=r"results\.jsonl.*mend or delete"):
        read_runs([tmp_path])


def test_methods_and_data_sets_of_another_version_are_read(tmp_path: Path) -> None:
    made = line(NDA(), training=Training(epochs=3))
    made["cell"] |= {"data_set": "sound", "normal_class": "rain", "method": {"name": "later", "depth": 3}}
    (found,) = read_runs([write(tmp_path, made)])
    assert (found.data_set, found.normal_class, found.trained) == ("sound", "rain", True)
