"""`novanda bench` as a person uses it: specifications of one's own, failures, and the table on a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from novanda.benchmark.cells import Cell
from novanda.benchmark.results import append_result, read_results
from novanda.cli import main
from novanda.commands import benching
from novanda.errors import Interrupted
from novanda.methods import PCA, NearestNeighbour

CELLS = """
from novanda.benchmark.cells import Cell
from novanda.benchmark.results import append_result, read_results
from novanda.methods import PCA, NearestNeighbour

def cell(method, seed=0):
    return Cell(
        data_set="coil20", normal_class="obj2", protocol="angle_blocks", method=method, image_size=32, seed=seed
    )

cells = [cell(PCA(components=4)), cell(NearestNeighbour()), cell(PCA(components=4), seed=1)]
"""


def bench(*words: object) -> int:
    return main(["bench", *map(str, words)])


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "cells.py"
    path.write_text(CELLS)
    return path


def test_cells_of_ones_own(spec: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--out", tmp_path / "r", "--data-root", root)
    assert bench("--spec", spec, *where, "--methods", "pca") == 0
    said = capsys.readouterr().err
    assert said.startswith("2 cells, 0 done before, 2 to run")
    assert said.count("coil20:obj2 pca components=4: AUROC by mse") == 2
    assert bench("--spec", spec, *where, "--dry-run") == 0
    listed = capsys.readouterr()
    assert [line.endswith(" done") for line in listed.out.splitlines()] == [True, False, True]
    assert listed.err == "1 to run; 1 of a method that has no line yet\n", "the nearest neighbour has not run yet"
    assert bench("--spec", spec, *where) == 0
    assert capsys.readouterr().err.startswith("3 cells, 2 done before, 1 to run")


def test_seeds_go_with_cells_of_ones_own_and_a_budget_does_not(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("--spec", spec, "--out", tmp_path / "r", "--methods", "knn", "--seeds", "4,7", "--dry-run") == 0
    assert [line.split()[-2] for line in capsys.readouterr().out.splitlines()] == ["4", "7"]
    assert bench("--spec", spec, "--out", tmp_path / "r", "--budget", "quick") == 2
    assert "--budget is a study's" in capsys.readouterr().err


def test_somebody_elses_lines_beside_ours_do_no_harm(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("a", '{"key": "x"}\n'), ("b", "no JSON\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.jsonl").write_text(content)
    assert bench("--spec", spec, "--out", tmp_path / "r", "--dry-run") == 0
    assert capsys.readouterr().err == "3 to run; 3 of a method that has no line yet\n"


def test_what_another_folder_has_finished_is_copied_and_not_run_again(
    spec: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, out = tmp_path / "first", tmp_path / "r"
    assert bench("--spec", spec, "--out", first, "--data-root", root, "--methods", "pca") == 0
    lines = read_results(first / "results.jsonl")
    lost = next(iter(lines))
    (first / "scores" / f"{lost}.npz").unlink()
    other = {**lines[lost], "key": "another", "cell": {**lines[lost]["cell"], "seed": 9}}
    append_result(first / "results.jsonl", other)
    capsys.readouterr()
    assert bench("--spec", spec, "--out", out, "--data-root", root, "--reuse", first) == 0
    said = capsys.readouterr().err.splitlines()
    # Of the two that had finished one has no scores any more, and the third was never run.
    assert said[:2] == [f"1 finished cell copied from {first}", "3 cells, 1 done before, 2 to run"]
    (kept,) = set(lines) - {lost}
    copied = read_results(out / "results.jsonl")
    assert copied[kept] == lines[kept]
    assert "another" not in copied
    assert (out / "scores" / f"{kept}.npz").read_bytes() == (first / "scores" / f"{kept}.npz").read_bytes()
    assert bench("--spec", spec, "--out", out, "--data-root", root, "--reuse", tmp_path) == 2
    assert "holds no results.jsonl" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on_with_bench(
    spec: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Interrupted("stopped in epoch 2; add --resume")

    monkeypatch.setattr("novanda.benchmark.engines.run_cell", stop)
    assert bench("--spec", spec, "--out", tmp_path / "r", "--data-root", root) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert "give the same command to go on" in said
    assert "--resume" not in said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("cells = [1]", "must set `cells` to a list"),
        ("other = 3", "must set `cells` to a list"),
        ("1 / 0", "fails: ZeroDivisionError"),
        ("cells = (", "fails: SyntaxError"),
        ("raise SystemExit(7)", "fails: SystemExit"),
        (None, "is no file"),
    ],
)
def test_a_spec_that_is_none(
    content: str | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cells.py"
    if content is not None:
        path.write_text(content)
    assert bench("--spec", path, "--out", tmp_path / "r") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert reason in said
    assert not (tmp_path / "r").exists()


def test_a_failed_cell_costs_no_other_and_shows_in_the_exit_code(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cells.py"
    path.write_text(CELLS.replace("seed=1)", "seed=-1)"))
    assert bench("--spec", path, "--out", tmp_path / "r", "--data-root", root) == 2
    said = capsys.readouterr().err
    assert "failed: seed must be a whole number" in said
    lines = tmp_path / "r" / "results.jsonl"
    assert said.rstrip().endswith(f"1 of 3 cells failed; their lines in {lines} say why")
    assert lines.read_bytes().count(b"\n") == 3


def test_the_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(benching, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    methods = (PCA(), PCA(), NearestNeighbour())
    cells = [
        Cell(data_set="mnist", normal_class=str(place), protocol="one_vs_rest", method=method)
        for place, method in enumerate(methods)
    ]
    with benching._live_table(cells) as watch:
        watch({"key": cells[0].key, "score": "mse", "auroc": {"mse": 0.5}})
        watch({"key": cells[1].key, "score": "mse", "auroc": {"mse": 0.75}})
        watch({"key": cells[2].key, "error": "failed"})
    drawn = capsys.readouterr().err
    assert "3 of 3 cells" in drawn
    rows = {line.split()[1]: line for line in drawn.splitlines() if "of" in line and "│" in line}
    assert "2 of 2" in rows["pca"]
    assert "0.625" in rows["pca"]
    assert "1 of 1" in rows["nearest_neighbour"]
