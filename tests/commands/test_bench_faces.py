"""`novanda bench table6` as a person uses it, on made-up clips in both official layouts."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from face_sets import write_casia_mfsd, write_replay_attack
from novanda.benchmark import published
from novanda.benchmark.face_cells import THRESHOLDS
from novanda.cli import main
from novanda.datasets.face_clips import FACE_SETS

CHOSEN = ("--methods", "lbp,motion,knn")


def bench(*words: object) -> int:
    return main(["bench", "table6", *map(str, words)])


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both data sets, CASIA-MFSD with as many subjects as there are folds."""
    root = tmp_path_factory.mktemp("data")
    write_replay_attack(root / "replay-attack")
    write_casia_mfsd(root / "casia-mfsd", subjects=5)
    return root


@pytest.fixture(scope="module")
def out(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one run leaves."""
    folder = tmp_path_factory.mktemp("table6") / "results"
    assert bench(*CHOSEN, "--data-root", faces, "--out", folder) == 0
    return folder


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "table6.jsonl").read_text().splitlines()]


def share(values: Sequence[float], threshold: float, above: bool) -> float:
    return sum((value > threshold) == above for value in values) / len(values)


def test_every_figure_is_that_of_a_count_over_the_scores_that_are_kept(out: Path) -> None:
    found = lines(out)
    assert len(found) == 6
    for line in found:
        with np.load(out / "scores" / f"{line['key']}.npz") as kept:
            live, attacks = kept["live"].tolist(), kept["attacks"].tolist()
            development = kept["development_live"].tolist()
        to_replay = line["cell"]["target"] == "replay-attack"
        assert (len(live), len(attacks)) == ((5, 5) if to_replay else (4, 4))
        assert len(development) == (10 if to_replay else 5), "folds of the train split, or the devel split"
        for name in THRESHOLDS:
            threshold = line["thresholds"][name]
            by_hand = (share(live, threshold, above=True) + share(attacks, threshold, above=False)) / 2
            assert line["hter"][name] == pytest.approx(by_hand)
        assert line["thresholds"]["one_class"] == pytest.approx(np.percentile(development, 95))
        assert line["left_out"] == []


def test_published_rows_stand_beside_measured_ones(out: Path) -> None:
    rows = [re.split(r" *\| *", row)[1:-1] for row in (out / "table6.md").read_text().splitlines() if row[:2] == "| "]
    printed = [row for row in rows if row[1].startswith("published")]
    expected = published.table("table6_face_hter")
    assert [(row[0], row[3], row[4]) for row in printed] == [
        (each["method"], each["train_casia_test_replay"], each["train_replay_test_casia"]) for each in expected
    ]
    by_source = {(line["cell"]["system"]["name"], line["cell"]["source"]): line["hter"] for line in lines(out)}
    for title, name in (("LBP", "lbp"), ("Motion", "motion"), ("Nearest neighbour", "nearest_neighbour")):
        measured = [row[3:] for row in rows if row[:2] == [title, "measured"]]
        assert measured == [
            [f"{by_source[name, source][each]:.3f}" for source in ("casia-mfsd", "replay-attack")]
            for each in THRESHOLDS
        ]
    assert ["Ours", "not run", "", "not run", "not run"] in rows
    assert sum(row[0] == "Auxiliary" for row in rows) == 1, "of another setting, and not built"


def test_finished_cells_are_not_run_again(
    faces: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(out, tmp_path / "copy")
    content = (copy / "table6.jsonl").read_bytes()
    assert bench(*CHOSEN, "--data-root", faces, "--out", copy) == 0
    said = capsys.readouterr()
    assert said.err == "6 cells, 6 done before, 0 to run\n"
    assert said.out.startswith("| method | figures |")
    assert (copy / "table6.jsonl").read_bytes() == content
    assert bench("--methods", "lbp", "--data-root", faces, "--out", copy) == 0
    assert (copy / "table6.md").read_bytes() == (out / "table6.md").read_bytes(), "of all lines, whatever was asked for"
    capsys.readouterr()
    assert bench("--methods", "lbp,pca", "--only", "casia-mfsd to", "--dry-run", "--out", copy) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in listed] == ["lbp", "pca"]
    assert [line.endswith(" done") for line in listed] == [True, False]


def test_clips_are_decoded_once_for_all_methods(out: Path) -> None:
    """By whichever method: live train clips, development clips and test clips of both, each with flows of its own."""
    replay, casia = 5 + 10 + 10, 10 + 10 + 8
    assert len(list((out / "flows").iterdir())) == replay + casia


def test_missing_data_says_what_to_put_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(*CHOSEN, "--data-root", tmp_path, "--out", tmp_path / "r") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for each in FACE_SETS:
        assert f"{tmp_path / each.name}: expected {each.title}, with {each.parts}" in said
    assert not (tmp_path / "r").exists()
    write_replay_attack(tmp_path / "replay-attack")
    assert bench(*CHOSEN, "--data-root", tmp_path, "--out", tmp_path / "r") == 2
    said = capsys.readouterr().err
    assert "casia-mfsd: expected CASIA-MFSD" in said
    assert "Replay-Attack" not in said


def test_a_failed_cell_costs_no_other_and_shows_in_the_exit_code(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer subjects than folds: one direction fails."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "replay-attack").symlink_to(faces / "replay-attack")
    write_casia_mfsd(tmp_path / "data" / "casia-mfsd", subjects=2)
    given = ("--methods", "lbp", "--data-root", tmp_path / "data", "--out", tmp_path / "r")
    assert bench(*given) == 2
    said = capsys.readouterr()
    assert "casia-mfsd to replay-attack lbp" in said.err
    assert "failed: folds by subject are at least 2 and at most the 2 subjects; got 5" in said.err
    assert said.err.splitlines()[-1].endswith("1 of 2 cells failed; their lines in " + f"{tmp_path / 'r'} say why")
    assert "| failed |" in said.out
    assert [("error" in line) for line in lines(tmp_path / "r")] == [True, False]
    shutil.rmtree(tmp_path / "data" / "casia-mfsd")
    (tmp_path / "data" / "casia-mfsd").symlink_to(faces / "casia-mfsd")
    assert bench(*given) == 0
    assert "2 cells, 1 done before, 1 to run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--methods", "rotnet"), "no row of table6 is made by 'rotnet'; there are: lbp, lbp_top,"),
        (("--classes", "car"), "table6 has two data sets and no classes"),
        (("--jobs", "2"), "runs one cell at a time"),
        (("--only", "["), "--only is no regular expression"),
        (("--only", "nowhere"), "no cell matches"),
        (("--weights", "x.safetensors"), "--weights are a network's; name it by --network"),
        (("--network", "residual", "--weights", "x.safetensors"), "x.safetensors is no file"),
        (("--network", "bogus"), "FrozenFeatures.network must be the name of a network"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words, "--out", tmp_path / "r", "--data-root", tmp_path) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1


def test_other_studies_have_no_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "table3", "--network", "residual", "--out", str(tmp_path / "r")]) == 2
    assert "--network and --weights are of the row CNN of table6" in capsys.readouterr().err


def test_the_study_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "studies"]) == 0
    assert "table6         26 cells: Table 6: Replay-Attack and CASIA-MFSD" in capsys.readouterr().out
