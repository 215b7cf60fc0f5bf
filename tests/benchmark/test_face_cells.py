"""Cells of Table 6: specifications that are told apart, boxes that are used for both sets or for none, the table."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from face_sets import write_casia_mfsd, write_replay_attack
from novanda.benchmark import published
from novanda.benchmark.face_cells import FaceCell, load_face_sets, run_face_cell, table6, with_epochs
from novanda.benchmark.tables.faces import table6 as made
from novanda.benchmark.tables.table import Table
from novanda.method import Method
from novanda.methods import METHODS, NDA, PCA, FrozenFeatures
from novanda.recordings import VideoForm
from novanda.supervised import DESCRIPTOR_SYSTEMS, CnnSvm
from novanda.training_options import Training


def cell(**changes: Any) -> FaceCell:
    return replace(FaceCell(source="casia-mfsd", target="replay-attack", system=PCA()), **changes)


def test_cells_that_differ_have_other_keys() -> None:
    cells = [
        cell(),
        cell(source="replay-attack", target="casia-mfsd"),
        cell(system=PCA(components=3)),
        cell(system=DESCRIPTOR_SYSTEMS[0]),
        cell(system=DESCRIPTOR_SYSTEMS[1]),
        cell(system=CnnSvm()),
        cell(system=CnnSvm(FrozenFeatures())),
        cell(system=CnnSvm(training=Training(epochs=2))),
        cell(system=NDA()),
        cell(system=NDA(), training=Training(epochs=3)),
        cell(form=VideoForm(side=16)),
        cell(folds=4),
        cell(seed=1),
    ]
    assert len({each.key for each in cells}) == len(cells)
    assert cell(training=Training(epochs=3)).key == cell().key, "PCA knows no epochs"
    assert cell(system=NDA(), training=Training(device="cpu")).key == cell(system=NDA()).key


def test_the_study_runs_every_row_that_can_be_built_both_ways() -> None:
    cells = table6((0, 1))
    names = {each.system.name for each in cells}
    rows = [published.face_system(line["method"]) for line in published.table("table6_face_hter")]
    assert {row.method for row in rows if row.method} <= names
    assert len(cells) == len(names) * 2 * 2
    assert {(each.source, each.target) for each in cells} == {
        ("casia-mfsd", "replay-attack"),
        ("replay-attack", "casia-mfsd"),
    }
    methods_of_ours = {each.system.name for each in cells if isinstance(each.system, Method)}
    assert methods_of_ours == names & {method.name for method in METHODS}
    authors = [each for each in table6(budget="authors") if each.system.name == "nda"]
    assert {each.system for each in authors} == {NDA()}
    changed = with_epochs(cells, 7)
    assert {each.to_json()["training"]["epochs"] for each in changed if each.learns} == {7}
    assert [each.system.training.epochs for each in changed if isinstance(each.system, CnnSvm)] == [7] * 4
    assert [each.key for each in changed if each.system == PCA()] == [
        each.key for each in cells if each.system == PCA()
    ]


def test_faces_are_cut_out_of_both_sets_or_of_none(tmp_path: Path) -> None:
    write_replay_attack(tmp_path / "replay-attack")
    write_casia_mfsd(tmp_path / "casia-mfsd", subjects=5)

    def add_boxes(name: str) -> None:
        for file in [*(tmp_path / name).rglob("*.avi"), *(tmp_path / name).rglob("*.mov")]:
            boxes = tmp_path / name / "face-locations" / file.relative_to(tmp_path / name).with_suffix(".face")
            boxes.parent.mkdir(parents=True, exist_ok=True)
            boxes.write_text("0 2 3 20 20\n")

    def run() -> dict[str, Any]:
        loaded = load_face_sets(tmp_path)
        return run_face_cell(cell(system=DESCRIPTOR_SYSTEMS[0]), loaded, tmp_path / "out", tmp_path)

    add_boxes("replay-attack")
    first = run()
    assert first["faces"] == "middle of the frame"
    add_boxes("casia-mfsd")
    second = run()
    assert second["faces"] == "boxes"
    assert first["thresholds"] != second["thresholds"]


def line(system: dict[str, Any], source: str, value: float, seed: int = 0, **more: Any) -> dict[str, Any]:
    specification = {"source": source, "target": "other", "folds": 5, "seed": seed, "system": system, **more}
    hter = {"development": value, "one_class": value + 0.1, "oracle": value + 0.2}
    return {"key": f"{system['name']}{source}{seed}", "cell": specification, "hter": hter}


def texts(table: Table) -> list[list[str]]:
    return [[entry.text for entry in row] for row in table.rows]


def test_figures_are_means_over_seeds_and_link_to_their_lines() -> None:
    lbp = {"name": "lbp"}
    table = made([line(lbp, "casia-mfsd", value, seed) for seed, value in enumerate((0.1, 0.2, 0.6))])
    row = next(row for row in table.rows if row[0].text == "LBP" and row[1].text == "measured")
    assert row[3].text == f"0.300 ± {statistics.stdev([0.1, 0.2, 0.6]):.3f}"
    assert row[3].keys == ("lbpcasia-mfsd0", "lbpcasia-mfsd1", "lbpcasia-mfsd2")
    assert row[4].text == "not run"


def test_settings_that_differ_have_rows_of_their_own() -> None:
    narrow = {"name": "cnn", "network": "from scratch", "width": 4}
    brought = {"name": "cnn", "network": "residual", "weights": "0f"}
    table = made([line(narrow, "casia-mfsd", 0.1), line(brought, "casia-mfsd", 0.2)])
    rows = [row for row in texts(table) if row[:2] == ["CNN", "measured"]]
    assert [row[3] for row in rows] == ["0.100", "0.200", "0.300", "0.200", "0.300", "0.400"]
    assert all("from scratch, width 4" in row[2] for row in rows[:3])
    assert all("network residual, weights 0f" in row[2] for row in rows[3:])


def test_a_method_that_the_paper_has_not_stands_below() -> None:
    ours = line({"name": "pca", "components": 64}, "casia-mfsd", 0.1, form={}, training={})
    table = made([ours, {**line({"name": "lbp"}, "replay-attack", 0.1), "hter": {}, "error": "no"}])
    assert [row[0] for row in texts(table)][-3:] == ["PCA reconstruction"] * 3
    failed = [row for row in texts(table) if row[:2] == ["LBP", "measured"]]
    assert [row[3:] for row in failed] == [["not run", "failed"]] * 3


@pytest.mark.parametrize(("lines", "said"), [([], True), ([line({"name": "lbp"}, "casia-mfsd", 0.1)], False)])
def test_that_nothing_is_measured_is_said(lines: list[dict[str, Any]], said: bool) -> None:
    notes = made(lines).notes
    assert any("Nothing is measured here" in note for note in notes) == said
    assert "On average over both columns the paper's own row has 0.2415; lower in print: DualGAN 0.2345." in notes
