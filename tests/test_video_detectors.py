"""Detectors of video: what moves against the flow or is replayed is found, streams, files that remember, exports."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clips import RATE, How, moving, write
from novanda import Detector, VideoForm, explain, methods, metrics
from novanda.errors import InputError, ModelFileError
from novanda.export import export
from novanda.exported import ExportedDetector
from novanda.sources import VideoFiles

FORM = VideoForm(hop_seconds=0.1)


@pytest.fixture(scope="module")
def corridor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty normal clips of a second, as mp4v."""
    root = tmp_path_factory.mktemp("corridor")
    for number in range(30):
        write(root / f"{number:02d}.mp4", moving(number))
    return root


@pytest.fixture(scope="module")
def detector(corridor: Path) -> Detector:
    nearest = methods.NearestNeighbour()
    return Detector(nearest, recording=FORM, false_alarm_rate=0.1, calibration_fraction=0.3).fit(corridor)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ""])
@pytest.mark.parametrize("how", ["against", "replay"])
def test_what_moves_otherwise_is_told_from_normals(detector: Detector, tmp_path: Path, how: How, suffix: str) -> None:
    kinds: dict[How, int] = {"normal": 100, how: 200}
    for kind, first in kinds.items():
        for number in range(8):
            write(tmp_path / kind / f"{number}{suffix}", moving(first + number, kind))
    segments, wholes = {}, {}
    for kind in kinds:
        timelines = list(detector.timelines(tmp_path / kind, "mean"))
        assert [len(timeline.spans) for timeline in timelines] == [9] * 8
        segments[kind] = np.concatenate([timeline.novelty for timeline in timelines])
        wholes[kind] = np.array([timeline.whole.novelty for timeline in timelines if timeline.whole is not None])
    for scores in (segments, wholes):
        assert metrics.auroc(scores["normal"], scores[how]) >= 0.95


@pytest.mark.parametrize("rate", [RATE, 12.5])
def test_a_stream_gives_the_numbers_of_the_file(detector: Detector, tmp_path: Path, rate: float) -> None:
    frames = moving(50, frames=40)
    form = VideoForm(hop_seconds=0.1, frame_rate=rate)
    write(tmp_path / "frames", frames)
    source = VideoFiles.listed(tmp_path / "frames", form)
    wanted = detector.novelty_score(source.read(range(len(source))))
    cuts = np.sort(np.random.default_rng(0).integers(0, len(frames), 7))
    streamed = list(detector.stream(np.split(frames, cuts), rate))
    spans = [source.span(position) for position in range(len(source))]
    assert [(each.span.start, each.span.end) for each in streamed] == [(span.start, span.end) for span in spans]
    np.testing.assert_allclose([each.novelty for each in streamed], wanted, rtol=1e-5)
    calibration = detector.calibration()
    assert [each.is_novel for each in streamed] == (wanted > calibration.threshold).tolist()
    singly = [each.novelty for each in detector.stream(iter(frames), rate)]
    assert singly == [each.novelty for each in streamed]


def test_a_pair_is_scored_as_soon_as_its_second_frame_is_there(detector: Detector) -> None:
    given = []

    def camera() -> Any:
        for number, frame in enumerate(moving(51, frames=12)):
            given.append(number)
            yield frame

    for each in detector.stream(camera(), RATE):
        assert given[-1] == round(each.span.end * RATE)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 4), np.uint8), np.zeros(8, np.uint8), np.zeros((1, 0, 8, 3), np.uint8)],
)
def test_chunks_that_are_no_frames_are_refused(detector: Detector, wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected chunks of frames uint8"):
        list(detector.stream([wrong], RATE))


@pytest.mark.parametrize("rate", [0, -1.0, float("inf"), float("nan"), True])
def test_rates_that_are_none_are_refused(detector: Detector, rate: float) -> None:
    with pytest.raises(InputError, match="rate is a number of frames a second"):
        list(detector.stream([moving(0, frames=2)], rate))


def test_a_saved_detector_remembers_how_video_becomes_samples(
    detector: Detector, corridor: Path, tmp_path: Path
) -> None:
    detector.save(tmp_path / "corridor.novanda")
    loaded = Detector.load(tmp_path / "corridor.novanda")
    assert loaded.spec_.recording == loaded.recording == FORM
    clip = corridor / "03.mp4"
    ours, theirs = (next(each.timelines(clip)).novelty for each in (detector, loaded))
    np.testing.assert_array_equal(ours, theirs)
    with zipfile.ZipFile(tmp_path / "corridor.novanda") as archive:
        content, tensors = json.loads(archive.read("detector.json")), archive.read("tensors.safetensors")
    for change in ({"side": 16}, {"medium": "audio"}, {"interval": -1}):
        content["spec"]["recording"] = {**FORM.to_json(), **change}
        with zipfile.ZipFile(tmp_path / "changed.novanda", "w") as archive:
            archive.writestr("detector.json", json.dumps(content))
            archive.writestr("tensors.safetensors", tensors)
        with pytest.raises(ModelFileError):
            Detector.load(tmp_path / "changed.novanda")


def test_an_exported_file_sees_the_same(detector: Detector, corridor: Path, tmp_path: Path) -> None:
    export(detector, tmp_path / "corridor.onnx", VideoFiles.listed(corridor / "01.mp4", FORM))
    exported = ExportedDetector.load(tmp_path / "corridor.onnx", threads=1)
    assert exported.spec_ == detector.spec_
    ours, theirs = next(detector.timelines(corridor / "02.mp4")), next(exported.timelines(corridor / "02.mp4"))
    np.testing.assert_allclose(theirs.novelty, ours.novelty, rtol=1e-3)
    streamed = list(exported.stream([moving(52)], RATE))
    np.testing.assert_allclose(
        [each.novelty for each in streamed], [each.novelty for each in detector.stream([moving(52)], RATE)], rtol=1e-3
    )


def test_pairs_are_explained(detector: Detector, corridor: Path) -> None:
    explanation = next(iter(explain(detector, corridor / "04.mp4")))
    assert explanation.name == f"{corridor / '04.mp4'} 0.00-0.12 s"
    assert explanation.image.shape == (32, 32, 2)


def test_methods_say_which_sides_they_take(corridor: Path) -> None:
    with pytest.raises(InputError, match=r"got a side of 24; change it, --video\.side 32"):
        Detector(methods.NDA(), recording=VideoForm(side=24)).fit(corridor)
    with pytest.raises(InputError, match="recording must be an AudioForm"):
        Detector(recording="video").fit(corridor)  # type: ignore[arg-type]  # what a caller may give


def test_kind_flow_reads_video_at_the_defaults(corridor: Path) -> None:
    fitted = Detector(methods.PCA(components=4), false_alarm_rate=0.2).fit(corridor, kind="flow")
    assert fitted.spec_.recording == VideoForm()
    assert fitted.spec_.kind == "flow"
