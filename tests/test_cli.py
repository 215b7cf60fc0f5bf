"""The commands as a person gives them: what they write, what they say, how they fail and how they are stopped."""

from __future__ import annotations

import csv
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from novanda import training
from novanda.cli import main
from novanda.detector import Detector

COMMANDS = (
    *("inspect", "fit", "score", "evaluate", "explain", "calibrate", "drift", "export", "mix", "figure5", "serve"),
    *("list", "download", "bench", "report", "doctor"),
)
PROGRAM = "import sys; from novanda.cli import main; sys.exit(main())"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
Run = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Zeros to learn from and to test with, ones as novelties, and one image alone; 8 x 8 PNGs."""
    root = tmp_path_factory.mktemp("digits")
    found = load_digits()
    images = (found.images * 255 / 16).astype(np.uint8)
    zeros, ones = images[found.target == 0], images[found.target == 1]
    for folder, part in (("train", zeros[:100]), ("normal", zeros[100:130]), ("novel", ones[:30]), ("one", ones[:1])):
        (root / folder).mkdir()
        for number, image in enumerate(part):
            Image.fromarray(image).save(root / folder / f"{number:03d}.png")
    return root


@pytest.fixture(scope="module")
def model(digits: Path) -> Path:
    path = digits / "zeros.novanda"
    assert main(["fit", str(digits / "train"), "--out", str(path), "--method", "pca", "--pca.components", "8"]) == 0
    return path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: exit code, standard output, standard error."""

    def command(*words: str | Path | float) -> SimpleNamespace:
        capfd.readouterr()
        code = main([str(word) for word in words])
        said = capfd.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return command


@pytest.fixture
def broken(digits: Path, tmp_path: Path) -> Path:
    """Three sound images and two that are not."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for name in ("000.png", "001.png", "002.png"):
        (folder / name).write_bytes((digits / "normal" / name).read_bytes())
    (folder / "text.png").write_text("text")
    (folder / "short.png").write_bytes((digits / "normal" / "003.png").read_bytes()[:60])
    return folder


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


# ---------------------------------------------------------------------------------------------------------------
# Doing what was asked


def test_fit_says_what_it_will_do_and_what_it_did(run: Run, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "d.novanda"
    done = run(
        "fit", digits / "train", "--out", out, "--method", "pca", "--pca.components", 8, "--false-alarm-rate", 0.1
    )
    assert (done.code, done.out) == (0, "")
    lines = done.err.splitlines()
    assert lines[0].endswith("train: 100 images. All images are 8 x 8.")
    assert (
        lines[1] == "PCA reconstruction: learning from 80 samples of 8 x 8 x 1, 20 more held out to set the threshold"
    )
    assert "set by 20 held-out normals for a false-alarm rate of 0.1" in lines[2]
    assert lines[3].startswith("the file keeps 80 of the training images")
    assert lines[4:] == [f"written to {out}"]
    detector = Detector.load(out)
    assert detector.training_count_ == 80
    assert detector.calibration().false_alarm_rate == 0.1
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_training_is_announced_before_it_begins(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def stop(*_: Any, **__: Any) -> Any:
        seen.append("training")
        raise KeyboardInterrupt

    monkeypatch.setattr("novanda.commands.fitting.say", seen.append)
    monkeypatch.setattr(training, "_epoch", stop)
    words = ("--method", "auto_encoder", "--image-size", 32, "--training.epochs", 7, "--training.device", "cpu")
    assert run("fit", digits / "train", "--out", tmp_path / "d", *words).code == 130
    assert seen[1].startswith("DCAE: learning from 80 samples of 32 x 32 x 1, 20 more held out")
    assert seen[2].startswith("training for 7 epochs in batches of 80 by adam at learning rate 0.001 on cpu")
    assert seen[3] == "training"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "epochs"),
    [((), 30), (("--novanda.preset", "quick"), 18), (("--novanda.preset=quick", "--training.epochs", 4), 4)],
)
def test_a_preset_decides_how_long_it_trains(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[object, ...], epochs: int
) -> None:
    seen: list[str] = []

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("novanda.commands.fitting.say", seen.append)
    monkeypatch.setattr(training, "_epoch", stop)
    assert run("fit", digits / "train", "--out", tmp_path / "d", "--image-size", 32, *more).code == 130
    assert seen[1].startswith("novanda: learning from 80 samples")
    assert seen[2].startswith(f"training for {epochs} epochs")


def test_fit_skips_broken_files_or_stops_at_them(run: Run, digits: Path, broken: Path, tmp_path: Path) -> None:
    words = ("fit", digits / "train", broken, "--out", tmp_path / "d", "--method", "pca")
    done = run(*words)
    assert done.code == 0
    assert f"skipped {broken / 'text.png'}: not an image" in done.err
    assert "2 unreadable files skipped" in done.err
    (tmp_path / "d").unlink()
    stopped = run(*words, "--strict")
    assert stopped.code == 2
    assert "strict" in stopped.err
    assert not (tmp_path / "d").exists()


def test_score_decides_as_the_library_does(run: Run, digits: Path, model: Path, tmp_path: Path) -> None:
    done = run("score", model, digits / "normal", digits / "novel")
    assert done.code == 0
    assert done.out.splitlines()[0] == "path,novelty,p_value,is_novel,error"
    rows = rows_of(done.out)
    detector = Detector.load(model)
    paths = [*sorted((digits / "normal").iterdir()), *sorted((digits / "novel").iterdir())]
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    np.testing.assert_array_equal([float(row["novelty"]) for row in rows], detector.novelty_score(paths))
    np.testing.assert_array_equal([float(row["p_value"]) for row in rows], detector.p_value(paths))
    assert [row["is_novel"] for row in rows] == [str(d < 0).lower() for d in detector.predict(paths)]
    assert {row["is_novel"] for row in rows} == {"true", "false"}
    assert {row["error"] for row in rows} == {""}
    assert done.err.splitlines() == [
        f"60 scored, {sum(row['is_novel'] == 'true' for row in rows)} novel at a false-alarm rate of 0.05"
    ]
    written = run("score", model, digits / "normal", digits / "novel", "--out", tmp_path / "s.csv")
    assert (written.code, written.out) == (0, "")
    assert (tmp_path / "s.csv").read_text() == done.out


def test_score_tells_broken_files_and_scores_the_others(run: Run, model: Path, broken: Path, tmp_path: Path) -> None:
    done = run("score", model, broken)
    assert done.code == 2
    rows = {Path(row["path"]).name: row for row in rows_of(done.out)}
    assert len(rows) == 5
    assert rows["text.png"]["error"].startswith("not an image")
    assert rows["text.png"]["novelty"] == rows["text.png"]["p_value"] == rows["text.png"]["is_novel"] == ""
    assert float(rows["002.png"]["novelty"]) == Detector.load(model).novelty_score(broken / "002.png")[0]
    assert done.err.splitlines()[-1].startswith("3 scored")
    assert done.err.splitlines()[-1].endswith("2 unreadable")
    strict = run("score", model, broken, "--strict", "--out", tmp_path / "s.csv")
    assert strict.code == 2
    assert strict.err.count("\n") == 1
    assert not (tmp_path / "s.csv").exists()


def test_score_without_a_threshold_decides_nothing(run: Run, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    words = ("--method", "pca", "--calibration-fraction", 0)
    assert run("fit", digits / "train", "--out", out, *words).code == 0
    done = run("score", out, digits / "one")
    assert done.code == 0
    (row,) = rows_of(done.out)
    assert float(row["novelty"]) > 0
    assert row["p_value"] == row["is_novel"] == ""
    assert "no threshold" in done.err
    refused = run("evaluate", out, "--normal", digits / "one")
    assert (refused.code, refused.out) == (2, "")


def test_names_that_are_no_utf8_come_back_as_they_are(run: Run, digits: Path, model: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(name, "wb") as file:
        file.write((digits / "one" / "000.png").read_bytes())
    assert run("score", model, tmp_path, "--out", tmp_path / "s.csv").code == 0
    assert name in (tmp_path / "s.csv").read_bytes()


def test_evaluate_measures_as_the_library_does(run: Run, digits: Path, model: Path, tmp_path: Path) -> None:
    done = run(
        "evaluate", model, "--normal", digits / "normal", "--novel", digits / "novel", "--out", tmp_path / "e.json"
    )
    assert done.code == 0
    found = json.loads((tmp_path / "e.json").read_text())
    detector = Detector.load(model)
    normal, novel = (detector.novelty_score(digits / side) for side in ("normal", "novel"))
    pairs = (novel[:, None] > normal) + 0.5 * (novel[:, None] == normal)
    assert found["auroc"]["value"] == pytest.approx(pairs.mean())
    assert found["false_alarm_rate"]["value"] == (detector.predict(digits / "normal") < 0).mean()
    assert found["detection_rate"]["value"] == (detector.predict(digits / "novel") < 0).mean()
    assert (found["normal_count"], found["novel_count"], found["method"]) == (30, 30, "pca")
    assert found["left_out"] == {}
    assert f"AUROC                  {found['auroc']['value']:.4f}" in done.out


def test_evaluate_says_null_and_why_where_there_is_nothing_to_say(
    run: Run, digits: Path, model: Path, tmp_path: Path
) -> None:
    done = run("evaluate", model, "--normal", digits / "normal", "--out", tmp_path / "e.json")
    assert done.code == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["auroc"] == {"value": None, "low": None, "high": None, "reason": "no novel samples"}
    assert found["detection_rate"]["value"] is None
    assert found["false_alarm_rate"]["value"] is not None
    assert "undefined: no novel samples" in done.out
    single = run("evaluate", model, "--normal", digits / "one", "--novel", digits / "one", "--out", tmp_path / "e.json")
    assert single.code == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["auroc"]["value"] == 0.5
    assert found["auroc"]["low"] is None
    assert "only 1" in found["auroc"]["reason"]


def test_evaluate_leaves_broken_files_out_and_says_so(run: Run, model: Path, broken: Path, tmp_path: Path) -> None:
    done = run("evaluate", model, "--normal", broken, "--out", tmp_path / "e.json")
    assert done.code == 2
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["normal_count"] == 3
    assert set(found["left_out"]) == {str(broken / "text.png"), str(broken / "short.png")}
    assert found["left_out"][str(broken / "text.png")].startswith("not an image")
    assert run("evaluate", model, "--normal", broken, "--strict").out == ""


def test_inspect(run: Run, digits: Path, broken: Path, tmp_path: Path) -> None:
    done = run("inspect", broken, "--against", digits / "normal", "--out", tmp_path / "i.json")
    assert done.code == 0
    assert "5 image files, 3 readable" in done.out
    assert done.out.count("leaks: ") == 3
    found = json.loads((tmp_path / "i.json").read_text())
    assert found["readable"] == 3
    assert len(found["leaks"]) == 3


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", ["nda", "pca", "nearest_neighbour", "ocsvm", "auto_encoder", "rotnet"]),
        ("datasets", ["cifar10", "mnist", "fashion_mnist", "coil20", "coil100", "dcase2017", "esc10"]),
        ("studies", ["core", "false_alarms"]),
    ],
)
def test_list(run: Run, what: str, names: list[str]) -> None:
    done = run("list", what)
    assert (done.code, done.err) == (0, "")
    assert set(names) <= {line.split()[0] for line in done.out.splitlines()}


def test_doctor(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOVANDA_DATA", raising=False)
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    for word in ("novanda 0", "torch", "device:", "training precision:", "NOVANDA_DATA"):
        assert word in done.out
    monkeypatch.setenv("NOVANDA_DATA", str(tmp_path))
    done = run("doctor")
    assert done.code == 0
    assert re.search(r"^  mnist: .*missing", done.out, re.MULTILINE)


def test_bench_dry_run(run: Run, tmp_path: Path) -> None:
    done = run("bench", "core", "--out", tmp_path / "b", "--dry-run")
    assert done.code == 0
    assert re.fullmatch(r"\d+ to run; \d+ of a method that has no line yet\n", done.err)
    chosen = run("bench", "core", "--out", tmp_path / "b", "--dry-run", "--only", "ship (pca|near)")
    assert [line.rpartition(" [")[0] for line in chosen.out.splitlines()] == [
        "cifar10:ship pca one_vs_rest seed 0",
        "cifar10:ship nearest_neighbour one_vs_rest seed 0",
    ]
    assert set(chosen.out.splitlines()) < set(done.out.splitlines())
    assert not (tmp_path / "b").exists()


@pytest.fixture(scope="module")
def exported(model: Path) -> Path:
    path = model.with_name("zeros.onnx")
    assert main(["export", str(model), "--out", str(path)]) == 0
    return path


def test_an_exported_file_gives_the_same_rows(
    run: Run, model: Path, exported: Path, digits: Path, broken: Path, tmp_path: Path
) -> None:
    found = {}
    renamed = tmp_path / "renamed.novanda"  # what a file is, its content says and not its name
    renamed.write_bytes(exported.read_bytes())
    for name, scoring in (("detector", model), ("exported", exported), ("renamed", renamed)):
        done = run("score", scoring, digits / "normal", digits / "novel", broken, "--out", tmp_path / name)
        assert done.code == 2  # for the broken files
        assert "63 scored" in done.err
        found[name] = rows_of((tmp_path / name).read_text())
    assert found["exported"] == found["renamed"]
    novel = 0
    for expected, row in zip(found["detector"], found["exported"], strict=True):
        same = ("path", "p_value", "is_novel", "error")
        assert [row[name] for name in same] == [expected[name] for name in same]
        novel += row["is_novel"] == "true"
        if not row["error"]:
            assert float(row["novelty"]) == pytest.approx(float(expected["novelty"]), rel=1e-5)
    assert 0 < novel < 60


def test_evaluate_takes_an_exported_file(run: Run, model: Path, exported: Path, digits: Path, tmp_path: Path) -> None:
    words = ("--normal", digits / "normal", "--novel", digits / "novel", "--out", tmp_path / "e.json")
    of_detector, of_exported = run("evaluate", model, *words), run("evaluate", exported, *words)
    assert of_exported.code == 0
    assert of_exported.out == of_detector.out
    assert json.loads((tmp_path / "e.json").read_text())["method"] == "pca"


def test_export_says_what_was_compared(run: Run, model: Path, digits: Path, tmp_path: Path) -> None:
    done = run("export", model, "--out", tmp_path / "d.onnx", "--check", digits / "normal")
    assert (done.code, done.out) == (0, "")
    first, second, third = done.err.splitlines()
    assert first.startswith("novelty of 286 samples differs from the detector's by at most ")
    assert first.endswith(" of the greatest (1e-05 allowed)")
    assert second.startswith("where the file itself resizes images, by ")
    assert third == f"written to {tmp_path / 'd.onnx'}"


def test_export_of_what_is_no_detector(run: Run, exported: Path, tmp_path: Path) -> None:
    for given in (exported, tmp_path / "missing.novanda"):
        done = run("export", given, "--out", tmp_path / "d.onnx")
        assert done.code == 2
        assert done.err.startswith("novanda: error: ")
        assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "d.onnx").exists()


def test_a_damaged_exported_file_is_one_line(run: Run, exported: Path, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(exported.read_bytes()[:3000])
    done = run("score", tmp_path / "cut.onnx", digits / "normal")
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"novanda: error: .*cut\.onnx is no ONNX file, or it is damaged: .*\n", done.err)


# ---------------------------------------------------------------------------------------------------------------
# Help


def test_help_of_every_command(run: Run) -> None:
    assert all(command in run("--help").out for command in COMMANDS)
    for command in COMMANDS:
        done = run(command, "--help")
        assert (done.code, done.err) == (0, "")
        # None is worth showing for a method's own field alone, where it is one of the values to choose.
        commons = done.out.partition("nda options")[0]
        for clutter in ("--no-", "{None}", "(default: None)"):
            assert clutter not in commons, command
    assert "--pca.components" in run("fit", "--method", "pca", "--help").out
    assert "--pca.components" not in run("fit", "--help").out
    assert re.fullmatch(r"novanda \d+\.\d+\S*\n", run("--version").out)


def test_help_is_quick_because_torch_is_not_loaded() -> None:
    program = "import sys\nfrom novanda.cli import main\nmain(['--help'])\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=ENVIRONMENT, timeout=300)


# ---------------------------------------------------------------------------------------------------------------
# Failing


def mistakes(digits: Path, model: Path, place: Path) -> Iterator[tuple[list[Any], str]]:
    """Commands that can not be done, and a part of the line that says why."""
    train, new = digits / "train", place / "x"
    for name, content in (("text", b"text"), ("pickle", pickle.dumps([1])), ("short", model.read_bytes()[:2000])):
        (place / name).write_bytes(content)
        yield ["score", place / name, train], "not a file that novanda wrote"
    (place / "empty").mkdir()
    (place / "unfinished").mkdir()
    (place / "unfinished" / "results.jsonl").write_text('{"key": "torn')
    (place / "link").symlink_to(place / "text")
    os.mkfifo(place / "pipe")
    fit = ["fit", train, "--out", new, "--method", "pca"]
    yield [], "Expected one of"
    yield ["nonsense"], "nonsense"
    yield ["fit", train], "--out"
    yield ["fit", "--out", new], "say what to read"
    yield ["fit", "", "--out", new], "say what to read"
    yield ["fit", place / "nowhere", "--out", new], "nowhere"
    yield ["fit", place / "empty", "--out", new], "found none"
    yield ["fit", place / "text", "--out", new], "known kind"
    yield ["fit", digits / "one", "--out", new], "at least 2"
    yield ["fit", train, "--out", place], "is a folder"
    yield ["fit", train, "--out", place / "text" / "x"], "is no folder"
    yield ["fit", train, "--out", place / "link"], "would be replaced"
    yield ["fit", train, "--out", place / "pipe"], "would be replaced"
    yield ["fit", train, "--out", place / ("x" * 300)], "name too long"
    yield ["fit", train, "--out", new, "--method", "nonsense"], "known: novanda, nda"
    yield ["fit", train, "--out", new, "--method"], "--method"
    yield ["fit", train, "--out", new, "--training.epochs", "0"], "Training.epochs must be a whole number"
    yield ["fit", train, "--out", new, "--training.epochs", "many"], "'many'"
    yield ["fit", train, "--out", new, "--epochs", "3"], "--training.epochs"
    yield [*fit, "--bogus", "1"], "--bogus"
    yield [*fit, "--pca.components", "0"], "PCA.components must be at least 1; got 0"
    yield [*fit, "--false-alarm-rate", "2"], "strictly between 0 and 1"
    yield [*fit, "--false-alarm-rate", "0.001"], "at least 999 held-out normals"
    yield [*fit, "--calibration-fraction", "1"], "calibration_fraction"
    yield [*fit, "--seed", "-1"], "seed"
    yield [*fit, "--image-size", "3"], "at least 8"
    yield [*fit, "--training.device", "abacus"], "Training.device"
    yield ["fit", "mnist:1", "--out", new], "NOVANDA_DATA"
    yield ["fit", "mnist:ten", "--out", new], "'ten'"
    yield ["fit", "mnist:1", "--out", new, "--data-root", place / "nowhere"], "not a folder"
    yield ["score", place / "nowhere", train], "No such file"
    yield ["score", place, train], "is a folder"
    yield ["score", model], "say what to read"
    yield ["score", model, place / "empty"], "found none"
    yield ["score", model, train, "--out", place / "link"], "would be replaced"
    yield ["evaluate", model], "--normal, --novel or both"
    yield ["evaluate", model, "--normal", train, "--novel", place / "empty"], "found none"
    yield ["evaluate", model, "--normal", train, "--out", place], "is a folder"
    yield ["inspect"], "say what to read"
    yield ["inspect", place / "nowhere"], "nowhere"
    yield ["inspect", train, "--out", place], "is a folder"
    yield ["list"], "{methods,datasets,studies}"
    yield ["list", "nonsense"], "'nonsense'"
    yield ["download", "nonsense"], "cifar10, mnist"
    yield ["download", "mnist"], "--data-root"
    yield ["download", "coil20", "--data-root", place / "data"], "published checksums"
    yield ["bench"], "name a study"
    yield ["bench", "core", "--spec", place / "text"], "not both"
    yield ["bench", "core", "--out", new, "--methods", "nonsense"], "unknown method"
    yield ["bench", "core", "--out", new, "--classes", "9,unicorn"], "as its class"
    yield ["bench", "core", "--out", new, "--seeds", "0,x"], "--seeds"
    yield ["bench", "nonsense", "--out", new], "core, false_alarms"
    yield ["bench", "core", "--out", new, "--only", "("], "regular expression"
    yield ["bench", "core", "--out", new, "--only", "nonsense"], "no cell"
    yield ["bench", "core", "--out", new, "--jobs", "0"], "--jobs"
    yield ["bench", "core", "--out", place / "text"], "is a file"
    yield ["bench", "core", "--out", new], "NOVANDA_DATA"
    yield ["report", "--out", new], "say what to report on"
    yield ["report", place / "empty"], "--out"
    yield ["report", place / "nowhere", "--out", new], "results.jsonl is missing"
    yield ["report", place / "empty", "--out", new], "results.jsonl is missing"
    yield ["report", place / "unfinished", "--out", new], "no finished cell"
    yield ["report", place / "unfinished", "--out", place / "text"], "is a file"


def test_mistakes_are_told_in_one_line_and_leave_nothing(
    run: Run, digits: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOVANDA_DATA", raising=False)
    for words, reason in mistakes(digits, model, tmp_path):
        there = sorted(tmp_path.rglob("*"))
        done = run(*words)
        said = f"{words}: {done.out}{done.err}"
        assert (done.code, done.out) == (2, ""), said
        assert done.err.startswith("novanda: error: "), said
        assert done.err.count("\n") == 1, said
        assert reason.lower() in done.err.lower(), said
        assert not re.search("[│╭╰]|__tyro|class '", done.err), said
        assert sorted(tmp_path.rglob("*")) == there, said


def test_no_permission(run: Run, digits: Path, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # these tests may run as root, who may do all
    for words in (
        ["fit", digits / "train", "--out", tmp_path / "x"],
        ["score", model, digits, "--out", tmp_path / "x"],
    ):
        done = run(*words)
        assert done.code == 2
        assert "not writable" in done.err


def test_a_full_disk(run: Run, digits: Path, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    for words in (["fit", digits / "train", "--method", "pca"], ["score", model, digits / "one"]):
        done = run(*words, "--out", tmp_path / "x")
        assert done.code == 2
        assert done.err.splitlines()[-1].startswith("novanda: error: No space left on device")
        assert not list(tmp_path.iterdir())


def test_streams_that_are_closed_end_a_command_quietly(digits: Path, model: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "score", str(model), str(digits / "normal")],
            stdout=writer, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, timeout=300,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    shell = f'exec "{sys.executable}" -c "{PROGRAM}" list methods >&-'
    closed = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert (closed.returncode, closed.stderr) == (0, "")


# ---------------------------------------------------------------------------------------------------------------
# Stopping


def test_a_stopped_fit_goes_on_to_where_an_unbroken_one_ends(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["fit", digits / "train", "--method", "auto_encoder", "--image-size", 32, "--training.epochs", 3]
    assert run(*words, "--out", tmp_path / "unbroken").code == 0
    real, begun = training._epoch, []

    def third_is_stopped(*given: Any, **named: Any) -> dict[str, float]:
        begun.append(1)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return real(*given, **named)

    out, checkpoint = tmp_path / "d", tmp_path / "d.checkpoint"
    monkeypatch.setattr(training, "_epoch", third_is_stopped)
    stopped = run(*words, "--out", out)
    assert stopped.code == 130
    assert "Epochs 1 to 2 are kept" in stopped.err
    assert "--resume" in stopped.err
    assert checkpoint.exists()
    assert not out.exists()

    for other in (words, ["fit", digits / "train", "--method", "pca"]):
        again = run(*other, "--out", out)
        assert again.code == 2
        assert "keeps an unfinished run" in again.err
        assert checkpoint.exists(), "another command must not cost somebody's epochs"

    begun.clear()
    resumed = run(*words, "--out", out, "--resume")
    assert resumed.code == 0
    assert len(begun) == 1
    assert f"going on from {checkpoint}" in resumed.err
    assert not checkpoint.exists()
    scores = [run("score", tmp_path / name, digits / "novel").out for name in ("d", "unbroken")]
    assert scores[0] == scores[1]


def test_ctrl_c_after_the_last_epoch_keeps_it(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Detector, "save", stop)
    words = ["--method", "auto_encoder", "--image-size", 32, "--training.epochs", 1]
    done = run("fit", digits / "train", "--out", tmp_path / "d", *words)
    assert done.code == 130
    assert f"kept in {tmp_path / 'd.checkpoint'}" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["d.checkpoint"]


def test_ctrl_c_while_scoring_leaves_no_file(
    run: Run, digits: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Any, source: Any) -> Iterator[Any]:
        yield 0, {"mse": 1.0}
        raise KeyboardInterrupt

    monkeypatch.setattr(Detector, "score_each", stop)
    (tmp_path / "s.csv").write_text("of an earlier run")
    done = run("score", model, digits / "normal", "--out", tmp_path / "s.csv")
    assert (done.code, done.out, done.err) == (130, "", "novanda: stopped\n")
    assert (tmp_path / "s.csv").read_text() == "of an earlier run"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_real_ctrl_c_during_training(digits: Path, tmp_path: Path) -> None:
    words = [str(digits / "train"), "--out", str(tmp_path / "d"), "--method", "auto_encoder", "--image-size", "32"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "fit", *words, "--training.epochs", "60"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stdout is not None
    try:
        said = []
        for line in process.stderr:  # ends with the process, after a minute at the worst
            said.append(line)
            if line.startswith("epoch 1 of 60"):
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # a pipe left open would be reported in another test
        process.stderr.close()
    assert process.returncode == 130, "".join([*said, err])
    assert out == ""
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1
    assert "--resume" in err
    assert not [line for line in said if not line.strip()], "bars leave blank lines where there is no terminal"
    assert [path.name for path in tmp_path.iterdir()] == ["d.checkpoint"]
