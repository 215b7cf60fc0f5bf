"""Commands on video, as a person gives them: fit with a cache, score with thumbnails, calibrate, explain, refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scans import Run, runner

from clips import moving, write
from novanda import pictures
from novanda.cli import main
from novanda.detector import Detector
from novanda.recordings import VideoForm


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ok/ with 20 clips, today/ with two and a folder of frames, odd/ with two against the flow; hall.novanda."""
    root = tmp_path_factory.mktemp("hall")
    for number in range(20):
        write(root / "ok" / f"{number:02d}.mp4", moving(number, frames=20))
    for number in range(2):
        write(root / "today" / f"{number}.avi", moving(100 + number, frames=20))
        write(root / "odd" / f"{number}.mp4", moving(200 + number, "against", frames=20))
    write(root / "today" / "frames", moving(102, frames=20))
    words = ["fit", root / "ok", "--kind", "video", "--method", "nearest_neighbour", "--video.hop-seconds", 0.1,
             "--out", root / "hall.novanda", "--false-alarm-rate", 0.15, "--calibration-fraction", 0.4,
             "--flow-cache", root / "flows"]  # fmt: skip
    assert main(list(map(str, words))) == 0
    return root


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return runner(capfd)


def test_fit_keeps_flows_and_remembers_the_form(run: Run, hall: Path, tmp_path: Path) -> None:
    assert len(list((hall / "flows").iterdir())) == 20
    assert Detector.load(hall / "hall.novanda").spec_.recording == VideoForm(hop_seconds=0.1)
    found = run("fit", hall / "ok", "--kind", "video", "--method", "pca", "--calibration-fraction", 0,
                "--pca.components", 4, "--video.side", 16, "--out", tmp_path / "a.novanda")  # fmt: skip
    assert found.code == 0
    assert (
        "20 clips, 0.253 minutes: flow between frames 0.1 s apart, one every 0.2 s, as x and y on 16 x 16" in found.err
    )
    assert "learning from 80 samples of 16 x 16 x 2; none held out" in found.err


def test_score_writes_pairs_and_clips_and_draws_thumbnails(
    run: Run, hall: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[pictures.TimelineBand] = []
    original = pictures.timeline_sheet

    def noted(bands: list[pictures.TimelineBand]) -> Any:
        drawn.extend(bands)
        return original(bands)

    monkeypatch.setattr(pictures, "timeline_sheet", noted)
    found = run("score", hall / "hall.novanda", hall / "today", hall / "odd", "--aggregate", "mean", "--out",
                tmp_path / "s.csv", "--timeline", tmp_path / "t.png", "--flow-cache", tmp_path / "new")  # fmt: skip
    assert found.code == 0
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    wholes = [row for row in rows if row["level"] == "file"]
    assert [Path(row["path"]).name for row in wholes] == ["0.avi", "1.avi", "frames", "0.mp4", "1.mp4"]
    assert [row["is_novel"] for row in wholes[3:]] == ["true", "true"]
    pairs = [row for row in rows if row["level"] == "segment" and row["path"] == wholes[2]["path"]]
    assert [row["start"] for row in pairs] == ["0.000", "0.120", "0.200", "0.320", "0.400", "0.520", "0.600"]
    assert [row["end"] for row in pairs] == ["0.120", "0.240", "0.320", "0.440", "0.520", "0.640", "0.720"]
    assert float(wholes[2]["novelty"]) == pytest.approx(np.mean([float(row["novelty"]) for row in pairs]))
    assert len(list((tmp_path / "new").iterdir())) == 5
    assert [len(band.thumbnails or ()) for band in drawn] == [12] * 5
    assert [band.seconds for band in drawn] == pytest.approx([0.76] * 5)
    with Image.open(tmp_path / "t.png") as picture:
        assert picture.size[0] == 1200


def test_broken_clips_get_rows_that_say_why(run: Run, hall: Path, tmp_path: Path) -> None:
    content = (hall / "today" / "0.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    (tmp_path / "none.mp4").write_text("words")
    found = run("score", hall / "hall.novanda", tmp_path, "--out", tmp_path / "s.csv", "--timeline", tmp_path / "t.png")
    assert found.code == 2
    assert "Traceback" not in found.err
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    errors = {Path(row["path"]).name: row["error"] for row in rows if row["level"] == "file"}
    assert errors["cut.avi"].startswith("truncated: it ends at 0.")
    assert errors["none.mp4"].startswith("expected MP4, MOV, AVI or WebM")
    assert sum(bool(row["novelty"]) for row in rows) >= 2  # what comes before the break is scored


def test_evaluate_calibrate_and_explain(run: Run, hall: Path, tmp_path: Path) -> None:
    model, out = hall / "hall.novanda", tmp_path / "e.json"
    words = (
        "evaluate",
        model,
        "--normal",
        hall / "today",
        "--novel",
        hall / "odd",
        "--aggregate",
        "mean",
        "--out",
        out,
    )
    assert run(*words).code == 0
    assert json.loads(out.read_text())["auroc"]["value"] == 1.0
    moved = tmp_path / "moved.novanda"
    found = run("calibrate", model, hall / "today", hall / "ok", "--replace", "--false-alarm-rate", 0.1, "--out", moved)
    assert found.code == 0
    calibration = Detector.load(moved).calibration_
    assert calibration is not None
    assert len(calibration) == 23
    assert run("explain", model, hall / "odd" / "0.mp4", "--out", tmp_path / "why.png").code == 0


def test_inspect_tells_of_video(run: Run, hall: Path, tmp_path: Path) -> None:
    found = run("inspect", hall / "ok", "--kind", "video", "--against", hall / "today", "--out", tmp_path / "i.json")
    assert found.code == 0
    assert "20 clips, 20 readable" in found.out
    assert "no leaks among 3 other clips" in found.out
    assert json.loads((tmp_path / "i.json").read_text())["sizes"] == {"96 x 72": 20}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit", "{}/ok", "--out", "{}/x.novanda", "--method", "pca"), "give --kind video for the 20 videos there"),
        (("fit", "{}/ok/00.mp4", "--out", "{}/x.novanda"), "to fit on video give --kind video"),
        (("fit", "{}/ok", "--out", "{}/x.novanda", "--video.side", "64"), "give --kind video"),
        (("fit", "{}/ok", "--out", "{}/x.novanda", "--kind", "video", "--video.side", "3"), "VideoForm.side must be"),
        (
            ("fit", "{}/ok", "--out", "{}/x.novanda", "--flow-cache", "{}/flows"),
            "keeps the flow of video; this is none",
        ),
        (("fit", "{}/ok", "--out", "{}/x.novanda", "--kind", "video", "--flow-cache", "{}/ok/00.mp4"), "is a folder"),
        (("fit", "{}/flows", "--out", "{}/x.novanda", "--kind", "video"), "expected videos"),
        (("serve", "{}/hall.novanda"), "the service takes images"),
        (("score", "{}/hall.novanda", "{}/absent.mp4"), "expected a path or a published data set"),
    ],
)
def test_mistakes_end_with_one_line(run: Run, hall: Path, words: tuple[str, ...], said: str) -> None:
    found = run(*(word.format(hall) for word in words))
    assert found.code == 2
    assert said in found.err
    assert "Traceback" not in found.err
