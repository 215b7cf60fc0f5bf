"""`novanda calibrate`, `drift` and screening with `score`, as a person gives them."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scans import Run, runner, write_zeros
from scipy.stats import false_discovery_control

from novanda.calibration import Calibration, drift
from novanda.detector import Detector
from novanda.exported import ExportedDetector


@pytest.fixture(scope="module")
def zeros(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zeros(tmp_path_factory.mktemp("zeros"))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return runner(capfd)


@pytest.fixture
def model(zeros: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    path = tmp_path / "copy.novanda"
    path.write_bytes((zeros / "zeros.novanda").read_bytes())
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def packed(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("tensors.safetensors")


def test_more_normals_are_added_or_take_the_place_of_the_old(
    run: Run, zeros: Path, model: Path, tmp_path: Path
) -> None:
    before = Detector.load(model)
    scores = before.novelty_score(zeros / "normal")
    out = tmp_path / "new.novanda"
    original = model.read_bytes()
    done = run("calibrate", model, zeros / "normal", "--false-alarm-rate", 0.02, "--out", out)
    assert (done.code, done.out) == (0, "")
    assert model.read_bytes() == original
    added = Detector.load(out).calibration()
    np.testing.assert_allclose(added.scores, np.sort(np.append(before.calibration().scores, scores)), rtol=1e-6)
    assert added.false_alarm_rate == 0.02
    assert f"threshold {added.threshold:.6g} on novelty, set by 90 scores for a false-alarm rate of 0.02" in done.err
    assert packed(out) == packed(model)

    assert run("calibrate", model, zeros / "normal", "--replace").code == 0
    replaced = Detector.load(model).calibration()
    np.testing.assert_allclose(replaced.scores, np.sort(scores), rtol=1e-6)
    assert replaced.false_alarm_rate == before.calibration().false_alarm_rate

    assert run("calibrate", model, "--false-alarm-rate", 0.1).code == 0
    assert Detector.load(model).calibration() == replaced.with_rate(0.1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.novanda", "new.novanda"]


def test_confirmed_false_alarms_raise_the_threshold(run: Run, zeros: Path, model: Path, tmp_path: Path) -> None:
    assert run("calibrate", model, "--false-alarm-rate", 0.2).code == 0
    run("score", model, zeros / "normal", "--out", tmp_path / "s.csv")
    rows = rows_of(tmp_path / "s.csv")
    flagged = [row for row in rows if row["is_novel"] == "true"]
    assert len(flagged) > 3, "else there would be nothing to confirm"
    whole = run("calibrate", model, "--confirm", tmp_path / "s.csv")
    assert whole.code == 2
    assert "nobody has picked the false alarms" in whole.err
    before = Detector.load(model).calibration()

    write_rows(tmp_path / "flagged.csv", flagged)
    assert run("calibrate", model, "--confirm", tmp_path / "flagged.csv", "--out", tmp_path / "left").code == 0
    after = Detector.load(tmp_path / "left").calibration()
    assert after == before.with_false_alarms(np.array([float(row["novelty"]) for row in flagged]))
    assert after.threshold > before.threshold

    chosen = flagged[:2]
    marked = [{**row, "false_alarm": "yes" if row in chosen else ""} for row in rows]
    write_rows(tmp_path / "marked.csv", marked)
    done = run("calibrate", model, "--confirm", tmp_path / "marked.csv")
    assert "2 false alarms added" in done.err
    after = Detector.load(model).calibration()
    assert len(after) == len(before) + 2
    again = run("calibrate", model, "--confirm", tmp_path / "marked.csv")
    assert again.code == 2
    assert "none of the 2 rows is a false alarm that could be added" in again.err
    assert Detector.load(model).calibration() == after


def test_a_source_has_a_threshold_of_its_own(run: Run, zeros: Path, model: Path, tmp_path: Path) -> None:
    pooled = Detector.load(model).calibration()
    done = run("calibrate", model, zeros / "normal", "--source", "camera 1", "--false-alarm-rate", 0.1)
    assert done.code == 0
    assert "of source 'camera 1' (a new one)" in done.err
    detector = Detector.load(model)
    assert detector.calibration() == pooled
    assert len(detector.calibration("camera 1")) == 70
    assert "(a new one)" not in run("calibrate", model, "--source", "camera 1", "--false-alarm-rate", 0.2).err

    run("score", model, zeros / "novel", "--source", "camera 1", "--out", tmp_path / "s.csv")
    own = Detector.load(model).calibration("camera 1")
    for row in rows_of(tmp_path / "s.csv"):
        assert float(row["p_value"]) == own.p_value(np.array([float(row["novelty"])]))[0]
        assert row["is_novel"] == str(float(row["novelty"]) > own.threshold).lower()
    for command in ("score", "evaluate", "explain"):
        flags: dict[str, list[str | Path]] = {"evaluate": ["--normal"], "explain": ["--out", tmp_path / "w.png"]}
        more = flags.get(command, [])
        wrong = run(command, model, *more, zeros / "novel", "--source", "camera 2")
        assert (wrong.code, wrong.out) == (2, ""), command
        assert "('camera 1'); got 'camera 2'" in wrong.err
    evaluated = run(
        "evaluate", model, "--normal", zeros / "normal", "--source", "camera 1", "--out", tmp_path / "e.json"
    )
    assert evaluated.code == 0
    share = np.mean(detector.novelty_score(zeros / "normal") > own.threshold)
    assert json.loads((tmp_path / "e.json").read_text())["false_alarm_rate"]["value"] == share


def test_screening_a_batch(run: Run, zeros: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("text")
    photos = (zeros / "normal", zeros / "novel", tmp_path / "broken.png")
    done = run("score", model, *photos, "--false-discovery-rate", 0.3, "--out", tmp_path / "s.csv")
    assert done.code == 2
    rows = rows_of(tmp_path / "s.csv")
    assert list(rows[0]) == ["path", "novelty", "p_value", "is_novel", "error", "adjusted_p_value", "is_discovery"]
    scored = [row for row in rows if not row["error"]]
    assert len(scored) == 80
    adjusted = false_discovery_control([float(row["p_value"]) for row in scored])
    np.testing.assert_allclose([float(row["adjusted_p_value"]) for row in scored], adjusted)
    assert [row["is_discovery"] for row in scored] == [str(value <= 0.3).lower() for value in adjusted]
    assert sum(row["is_discovery"] == "true" for row in scored[70:]) >= 8
    assert f"{sum(value <= 0.3 for value in adjusted)} discoveries at a false-discovery rate of 0.3" in done.err
    assert rows[-1]["error"]
    assert rows[-1]["adjusted_p_value"] == rows[-1]["is_discovery"] == ""


def test_drift(run: Run, zeros: Path, model: Path, tmp_path: Path) -> None:
    for name in ("normal", "novel"):
        run("score", model, zeros / name, "--out", tmp_path / f"{name}.csv")
    calm = run("drift", model, tmp_path / "normal.csv")
    assert (calm.code, calm.err) == (0, "")
    assert calm.out.startswith("no drift found: the recent 70")
    files = [tmp_path / "normal.csv", tmp_path / "novel.csv", tmp_path / "novel.csv"]
    found = run("drift", model, *files, "--level", 0.05, "--out", tmp_path / "d.json")
    assert found.code == 0
    written = json.loads((tmp_path / "d.json").read_text())
    scores = np.array([float(row["novelty"]) for path in files for row in rows_of(path)])
    expected = drift(Detector.load(model).calibration(), scores, level=0.05)
    assert written == {"detector": str(model), "source": None, **expected.to_json()}
    assert expected.found
    assert "they were more novel than the normals that set the threshold" in found.out


def test_a_file_without_heat_gets_its_scale_from_new_normals(run: Run, zeros: Path, model: Path) -> None:
    detector = Detector.load(model)
    detector.heat_ = None
    detector.save(model)
    done = run("calibrate", model, zeros / "normal")
    assert done.code == 0
    assert "the scale of explanations' maps is taken from these images" in done.err
    heat = Detector.load(model).heat_
    assert heat is not None
    assert (heat.normals, heat.held_out) == (70, True)


def test_broken_files_are_left_out(run: Run, zeros: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("text")
    done = run("calibrate", model, zeros / "normal", tmp_path / "broken.png")
    assert done.code == 2
    assert "left out: " in done.err
    assert len(Detector.load(model).calibration()) == 90
    before = model.read_bytes()
    assert run("calibrate", model, zeros / "normal", tmp_path / "broken.png", "--strict").code == 2
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["calibrate", "MODEL"], "say what to change"),
        (["calibrate", "MODEL", "--replace", "--false-alarm-rate", "0.1"], "--replace needs normal images"),
        (["calibrate", "MODEL", "--false-alarm-rate", "0.001"], "needs at least 999 calibration normals; got 20"),
        (["calibrate", "MODEL", "--false-alarm-rate", "2"], "strictly between 0 and 1"),
        (["calibrate", "MODEL", "--source", "new", "--false-alarm-rate", "0.1"], "give normal images"),
        (["calibrate", "MODEL", "NOVEL", "--source", "new", "--false-alarm-rate", "0.05"], "got 10"),
        (["calibrate", "MODEL", "NOVEL", "--source", " ", "--false-alarm-rate", "0.1"], "a source is a name"),
        (["calibrate", "MODEL", "--confirm", "NOWHERE"], "No such file"),
        (["calibrate", "MODEL", "--confirm", "TEXT"], "with a column novelty"),
        (["calibrate", "MODEL", "--confirm", "ODD"], "line 3: expected a finite novelty; got 'many'"),
        (["calibrate", "TEXT", "--false-alarm-rate", "0.1"], "not a file that novanda wrote"),
        (["drift", "MODEL"], "say whose scores"),
        (["drift", "MODEL", "EMPTY"], "expected rows with a novelty"),
        (["drift", "MODEL", "ODD"], "line 3"),
        (["drift", "MODEL", "GOOD", "--level", "0"], "level is a number"),
        (["drift", "MODEL", "GOOD", "--source", "camera"], "none yet"),
        (["score", "MODEL", "NOVEL", "--false-discovery-rate", "1"], "false-discovery rate is a number"),
    ],
)
def test_mistakes(words: list[str], reason: str, run: Run, zeros: Path, model: Path, tmp_path: Path) -> None:
    texts = {"TEXT": "text", "ODD": "novelty\n1\nmany\n", "EMPTY": "novelty,error\n,broken\n", "GOOD": "novelty\n1\n"}
    places = {"MODEL": model, "NOVEL": zeros / "novel", "NOWHERE": tmp_path / "nowhere"}
    for name, text in texts.items():
        places[name] = tmp_path / name.lower()
        places[name].write_text(text)
    before, there = model.read_bytes(), sorted(tmp_path.iterdir())
    done = run(*(places.get(word, word) for word in words))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
    assert reason in done.err
    assert model.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == there


def test_an_exported_file_is_calibrated_as_its_detector_is(run: Run, zeros: Path, tmp_path: Path) -> None:
    model, exported = tmp_path / "m.novanda", tmp_path / "m.onnx"
    model.write_bytes((zeros / "zeros.novanda").read_bytes())
    assert run("export", model, "--out", exported).code == 0
    for words in (["--false-alarm-rate", 0.2], [zeros / "normal"], ["--source", "line 1", zeros / "normal"]):
        for path in (model, exported):
            assert run("calibrate", path, *words).code == 0
    detector, read = Detector.load(model), ExportedDetector.load(exported)
    for source in (None, "line 1"):
        ours, theirs = detector.calibration(source), read.calibration(source)
        assert ours.false_alarm_rate == theirs.false_alarm_rate
        np.testing.assert_allclose(theirs.scores, ours.scores, rtol=1e-4, atol=1e-7)
    scores = [run("score", path, zeros / "novel", "--source", "line 1").out.splitlines() for path in (model, exported)]
    assert [row.split(",")[3] for row in scores[0]] == [row.split(",")[3] for row in scores[1]]
    for path in (model, exported):
        run("score", path, zeros / "normal", "--out", tmp_path / "s.csv")
        assert run("drift", path, tmp_path / "s.csv").code == 0
        assert run("score", path, zeros / "novel", "--source", "line 2").code == 2


def test_nothing_is_decided_without_held_out_normals_until_some_are_given(
    run: Run, zeros: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bare"
    run("fit", zeros / "train", "--out", path, "--method", "pca", "--calibration-fraction", 0)
    assert run("score", path, zeros / "novel", "--false-discovery-rate", 0.1).code == 2
    done = run("calibrate", path, zeros / "normal")
    assert done.code == 0
    assert "before" not in done.err
    found = Detector.load(path)
    assert found.calibration() == Calibration(found.calibration().scores, 0.05)
    assert len(found.calibration()) == 70


def test_a_spreadsheets_false_is_no_false_alarm(run: Run, zeros: Path, tmp_path: Path) -> None:
    model, scores = tmp_path / "m.novanda", tmp_path / "s.csv"
    model.write_bytes((zeros / "zeros.novanda").read_bytes())
    run("score", model, zeros / "normal", "--out", scores)
    scores.write_text(scores.read_text().replace(",false,", ",FALSE,").replace(",true,", ",TRUE,"))
    done = run("calibrate", model, "--confirm", scores)
    assert done.code == 2
    assert "nobody has picked" in done.err


def test_normals_given_twice_are_told(run: Run, zeros: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.novanda"
    model.write_bytes((zeros / "zeros.novanda").read_bytes())
    assert "given before" not in run("calibrate", model, zeros / "normal").err
    assert "seem to have been given before" in run("calibrate", model, zeros / "normal").err
    assert "given before" not in run("calibrate", model, zeros / "normal", "--replace").err


def test_heat_is_measured_anew_where_it_was_of_trained_on_or_replaced_normals(
    run: Run, zeros: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bare"
    run("fit", zeros / "train", "--out", path, "--method", "pca", "--pca.components", 8, "--calibration-fraction", 0)
    before = Detector.load(path).heat_
    assert before is not None
    assert not before.held_out
    run("calibrate", path, zeros / "normal")
    after = Detector.load(path).heat_
    assert after is not None
    assert after.held_out
    assert after.value > before.value
    run("calibrate", path, zeros / "novel", "--replace", "--false-alarm-rate", 0.2)
    other = Detector.load(path).heat_
    assert other is not None
    assert other.value > after.value, "these images have another scale"
