"""Commands on recordings, as a person gives them: rows of segments and files, timelines, thresholds, refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PIL import Image
from scans import Run, runner

from novanda.cli import main
from novanda.detector import Detector

SMALL = ("--audio.rate", 8000, "--audio.segment-seconds", 0.5, "--audio.hop-seconds", 0.25,
         "--audio.bands", 16, "--audio.frames", 16, "--audio.fft", 512)  # fmt: skip


@pytest.fixture(scope="module")
def pump(machine: Path) -> Path:
    words = ["fit", machine / "ok", "--kind", "audio", "--method", "pca", "--pca.components", 8, "--out"]
    rate = ["--false-alarm-rate", 0.1, "--calibration-fraction", 0.3]
    assert main(list(map(str, [*words, machine / "pump.novanda", *SMALL, *rate]))) == 0
    return machine / "pump.novanda"


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return runner(capfd)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def scored(run: Run, pump: Path, machine: Path, tmp_path: Path) -> SimpleNamespace:
    found = run("score", pump, machine / "today", machine / "worn", "--out", tmp_path / "scores.csv")
    return SimpleNamespace(
        code=found.code, err=found.err, rows=rows(tmp_path / "scores.csv"), path=tmp_path / "scores.csv"
    )


def test_fit_says_what_it_does(run: Run, machine: Path, tmp_path: Path) -> None:
    words = ["--method", "pca", "--pca.components", 4, "--calibration-fraction", 0, *SMALL]
    found = run("fit", machine / "ok", "--kind", "audio", "--out", tmp_path / "a.novanda", *words)
    assert found.code == 0
    assert "40 recordings, 0.0222 hours: segments of 0.5 s, one every 0.25 s, at 8000 Hz" in found.err
    assert "learning from 280 samples of 16 x 16 x 1; none held out" in found.err


def test_score_writes_a_row_for_each_segment_and_then_one_for_the_file(scored: SimpleNamespace) -> None:
    assert scored.code == 0
    names = ["path", "level", "start", "end", "novelty", "p_value", "is_novel", "error"]
    assert list(scored.rows[0]) == names
    assert len(scored.rows) == 18 * 8
    for start in range(0, len(scored.rows), 8):
        *segments, whole = scored.rows[start : start + 8]
        assert [row["level"] for row in segments] == ["segment"] * 7
        assert [row["start"] for row in segments] == [f"{0.25 * n:.3f}" for n in range(7)]
        assert [row["end"] for row in segments] == [f"{0.25 * n + 0.5:.3f}" for n in range(7)]
        assert (whole["level"], whole["start"], whole["end"]) == ("file", "0.000", "2.000")
        assert len({row["path"] for row in (*segments, whole)}) == 1
        assert float(whole["novelty"]) == max(float(row["novelty"]) for row in segments)
    wholes = [row for row in scored.rows if row["level"] == "file"]
    assert [row["is_novel"] for row in wholes[12:]] == ["true"] * 6
    assert "18 files, 126 segments scored; novel at a false-alarm rate of 0.1: " in scored.err


@pytest.mark.parametrize("how", ["mean", "p95"])
def test_another_way_to_aggregate(run: Run, pump: Path, machine: Path, tmp_path: Path, how: str) -> None:
    out = tmp_path / "scores.csv"
    assert run("score", pump, machine / "worn", "--aggregate", how, "--out", out).code == 0
    *segments, whole = rows(out)[:8]
    novelty = [float(row["novelty"]) for row in segments]
    wanted = np.mean(novelty) if how == "mean" else np.percentile(novelty, 95)
    assert float(whole["novelty"]) == pytest.approx(wanted)
    calibration = Detector.load(pump).calibration().of_recordings(how)  # type: ignore[arg-type]  # it is one of them
    assert float(whole["p_value"]) == calibration.p_value(np.array([float(whole["novelty"])]))[0]


def test_broken_recordings_get_rows_that_say_why(run: Run, pump: Path, machine: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("text")
    cut = tmp_path / "cut.wav"
    cut.write_bytes((machine / "today" / "00.wav").read_bytes()[:20_000])
    found = run("score", pump, tmp_path / "text.wav", cut, machine / "worn" / "00.wav", "--out", tmp_path / "s.csv")
    assert found.code == 2
    assert "Traceback" not in found.err
    assert "unreadable: " in found.err
    table = rows(tmp_path / "s.csv")
    text = [row for row in table if row["path"].endswith("text.wav")]
    assert [row["level"] for row in text] == ["segment", "file"]
    assert all("none of them" in row["error"] and not row["novelty"] for row in text)
    halves = [row for row in table if row["path"].endswith("cut.wav")]
    assert [row["level"] for row in halves].count("segment") == 5
    assert halves[0]["error"].startswith("truncated: ")
    assert halves[0]["start"] == "1.247"
    assert (halves[-1]["level"], halves[-1]["novelty"]) == ("file", "")
    assert table[-1]["path"].endswith("worn/00.wav")
    assert table[-1]["is_novel"] == "true"
    assert run("score", pump, cut, "--strict").code == 2


def test_screening_is_of_files(run: Run, pump: Path, machine: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    assert (
        run("score", pump, machine / "worn", machine / "today", "--false-discovery-rate", 0.3, "--out", out).code == 0
    )
    table = rows(out)
    assert {bool(row["adjusted_p_value"]) for row in table if row["level"] == "segment"} == {False}
    wholes = [row for row in table if row["level"] == "file"]
    assert all(row["adjusted_p_value"] and row["is_discovery"] in ("true", "false") for row in wholes)
    assert [row["is_discovery"] for row in wholes[:6]] == ["true"] * 6


def test_a_timeline_is_drawn(run: Run, pump: Path, machine: Path, tmp_path: Path) -> None:
    picture = tmp_path / "t.png"
    found = run("score", pump, machine / "worn", "--out", tmp_path / "s.csv", "--timeline", picture)
    assert found.code == 0
    assert f"written to {picture}" in found.err
    with Image.open(picture) as image:
        assert image.size[0] == 1200
    assert run("score", pump, machine / "ok", "--out", tmp_path / "s.csv", "--timeline", picture).code == 2
    assert run("score", pump, machine / "worn", "--timeline", tmp_path / "t.jpg").code == 2


def test_evaluate_judges_whole_files(run: Run, pump: Path, machine: Path, tmp_path: Path) -> None:
    words = ["--normal", machine / "today", "--novel", machine / "worn", "--out", tmp_path / "e.json"]
    found = run("evaluate", pump, *words, "--aggregate", "mean")
    assert found.code == 0
    assert "12 normal, 6 novel" in found.out
    threshold = Detector.load(pump).calibration().of_recordings("mean").threshold
    assert json.loads((tmp_path / "e.json").read_text())["threshold"] == pytest.approx(threshold)


def test_calibrate_takes_whole_recordings(run: Run, pump: Path, machine: Path, tmp_path: Path) -> None:
    before = Detector.load(pump).calibration()
    assert run("calibrate", pump, machine / "today", "--out", tmp_path / "more.novanda").code == 0
    more = Detector.load(tmp_path / "more.novanda").calibration()
    assert (len(before), len(more), len(more.scores)) == (12, 24, 24 * 7)
    assert run("calibrate", pump, machine / "today", "--replace", "--out", tmp_path / "new.novanda").code == 0
    fresh = Detector.load(tmp_path / "new.novanda").calibration()
    values = [line.novelty for line in Detector.load(pump).timelines(machine / "today")]
    np.testing.assert_allclose(fresh.scores, np.sort(np.concatenate(values)), rtol=1e-4)
    assert run("calibrate", pump, "--false-alarm-rate", 0.2, "--out", tmp_path / "rate.novanda").code == 0
    assert Detector.load(tmp_path / "rate.novanda").calibration() == before.with_rate(0.2)
    (tmp_path / "text.wav").write_text("text")
    found = run("calibrate", pump, machine / "today", tmp_path / "text.wav", "--out", tmp_path / "x.novanda")
    assert found.code == 2
    assert "left out: " in found.err
    assert len(Detector.load(tmp_path / "x.novanda").calibration()) == 24


def test_drift_looks_at_files(run: Run, pump: Path, scored: SimpleNamespace, tmp_path: Path) -> None:
    assert run("drift", pump, scored.path, "--out", tmp_path / "d.json").code == 0
    assert json.loads((tmp_path / "d.json").read_text())["count"] == 18
    images = tmp_path / "images.csv"
    images.write_text("path,novelty,p_value,is_novel,error\na.png,1.0,0.5,false,\n")
    refused = run("drift", pump, images)
    assert refused.code == 2
    assert "rows of whole files" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit", "{}/ok", "--out", "{}/x.novanda", "--method", "pca"), "give --kind audio for the 40 sounds there"),
        (("fit", "{}/ok", "--out", "{}/x.novanda", "--audio.rate", "8000"), "give --kind audio"),
        (("fit", "{}/ok", "--out", "{}/x.novanda", "--kind", "audio", "--audio.fft", "3"), "AudioForm.fft must be"),
        (("fit", "{}/ok", "--out", "{}/x.novanda", "--kind", "audio", "--image-size", "32"), "size is that of images"),
        (("fit", "{}/ok", "--out", "{}/x.novanda", "--kind", "audio"), "of 40 recordings gives 8"),
        (("serve", "{}/pump.novanda"), "the service takes images"),
        (("calibrate", "{}/pump.novanda", "--confirm", "{}/ok/00.wav"), "can not be confirmed one by one"),
        (("score", "{}/pump.novanda", "{}/absent.wav"), "expected a path or a published data set"),
    ],
)
def test_mistakes_end_with_one_line(run: Run, pump: Path, machine: Path, words: tuple[str, ...], said: str) -> None:
    found = run(*(word.format(machine) for word in words))
    assert found.code == 2
    assert said in found.err
    assert "Traceback" not in found.err


def test_images_have_no_timeline(run: Run, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", generator.integers(0, 256, (20, 8, 8), dtype=np.uint8))
    fitted = ["--method", "pca", "--pca.components", 2, "--calibration-fraction", 0]
    assert run("fit", tmp_path / "a.npy", "--out", tmp_path / "a.novanda", *fitted).code == 0
    found = run("score", tmp_path / "a.novanda", tmp_path / "a.npy", "--timeline", tmp_path / "t.png")
    assert found.code == 2
    assert "--timeline draws recordings" in found.err


def test_inspect_tells_of_sound(run: Run, machine: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "off.wav", np.zeros(16_000), 8_000)
    found = run("inspect", machine / "ok", tmp_path, "--kind", "audio", "--against", machine / "today", "--out",
                tmp_path / "i.json")  # fmt: skip
    assert found.code == 0
    assert "41 sound files, 41 readable" in found.out
    assert "off.wav: 100% of the time" in found.out
    assert "no leaks among 12 other files" in found.out
    assert json.loads((tmp_path / "i.json").read_text())["rates"] == {"8000 Hz": 41}
