"""Detectors of sound: recordings held out whole, scores of segments and wholes, streams, files that remember."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from novanda import Detector, explain, methods
from novanda.calibration import Calibration
from novanda.detector.training_data import split
from novanda.errors import CalibrationError, InputError, ModelFileError
from novanda.export import export
from novanda.exported import ExportedDetector
from novanda.recordings import AudioForm
from novanda.sources import SoundFiles
from novanda.training import Training

FORM = AudioForm(rate=8_000, segment_seconds=0.5, hop_seconds=0.25, bands=16, frames=16, fft=512)


@pytest.fixture(scope="module")
def detector(machine: Path) -> Detector:
    pca = methods.PCA(components=8)
    return Detector(pca, recording=FORM, false_alarm_rate=0.1, calibration_fraction=0.3).fit(machine / "ok")


def test_recordings_are_held_out_whole(detector: Detector, machine: Path) -> None:
    source = SoundFiles.listed(machine / "ok", FORM)
    # Drawn as `Detector.fitting` draws: the first of a seed's uses.
    learned, held_out = split(source, detector.method_, 0.3, 0.1, np.random.default_rng([detector.seed, 1]))
    sides = [set(source.recordings[side].tolist()) for side in (learned, held_out)]
    assert not sides[0] & sides[1]
    assert (len(sides[0]), len(sides[1])) == (28, 12)
    assert sorted([*learned.tolist(), *held_out.tolist()]) == list(range(len(source)))
    calibration = detector.calibration()
    assert len(calibration) == 12
    files = sorted((machine / "ok").iterdir())
    novelty = [next(detector.timelines(files[number])).novelty for number in sorted(sides[1])]
    wanted = Calibration(np.concatenate(novelty), 0.1, recordings=np.repeat(np.arange(12), 7))
    np.testing.assert_allclose(calibration.scores, wanted.scores, rtol=1e-4)
    np.testing.assert_allclose(
        calibration.of_recordings("mean").scores, np.sort([values.mean() for values in novelty]), rtol=1e-4
    )


def test_too_few_recordings_are_refused_however_many_segments(machine: Path) -> None:
    with pytest.raises(CalibrationError, match=r"of 40 recordings gives 8. Give at least 95 recordings"):
        Detector(methods.PCA(components=8), recording=FORM).fit(machine / "ok")


@pytest.mark.parametrize("how", ["max", "mean", "p95"])
def test_segments_and_wholes(detector: Detector, machine: Path, how: Any) -> None:
    calibration = detector.calibration()
    whole_calibration = calibration.of_recordings(how)
    functions: dict[str, Callable[[np.ndarray], Any]] = {
        "max": np.max,
        "mean": np.mean,
        "p95": lambda values: np.percentile(values, 95),
    }
    flagged = {"today": 0, "worn": 0}
    for folder in flagged:
        for timeline in detector.timelines(machine / folder, how):
            assert not timeline.errors
            raw = np.concatenate([SoundFiles.listed(timeline.path, FORM).read([n]) for n in range(7)])
            np.testing.assert_allclose(timeline.novelty, detector.novelty_score(raw), rtol=1e-5)
            scores = timeline.segments()
            assert [score.p_value for score in scores] == calibration.p_value(timeline.novelty).tolist()
            assert [score.is_novel for score in scores] == (timeline.novelty > calibration.threshold).tolist()
            whole = timeline.whole
            assert whole is not None
            assert whole.novelty == pytest.approx(functions[how](timeline.novelty))
            assert whole.p_value == whole_calibration.p_value(np.array([whole.novelty]))[0]
            assert (whole.span.start, whole.span.end) == (0, 2)
            flagged[folder] += bool(whole.is_novel)
    assert flagged["worn"] == 6
    assert flagged["today"] <= 4


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_a_stream_gives_the_numbers_of_the_file(detector: Detector, tmp_path: Path, rate: int) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (round(3.1 * rate), 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")
    (timeline,) = detector.timelines(tmp_path / "a.wav")
    cuts = np.sort(np.random.default_rng(1).integers(0, len(sound), 20))
    streamed = list(detector.stream(np.split(sound, cuts), rate))
    assert [(score.span.start, score.span.end) for score in streamed] == [(s.start, s.end) for s in timeline.spans]
    # The same samples are scored, one by one here: kernels add in another order for another batch.
    np.testing.assert_allclose([score.novelty for score in streamed], timeline.novelty, rtol=1e-5)
    assert [score.is_novel for score in streamed] == [score.is_novel for score in timeline.segments()]


def test_whole_numbers_and_channels_of_a_stream(detector: Detector) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32)
    whole = np.round(sound * 2**15).astype(np.int16)
    wanted = [score.novelty for score in detector.stream([whole / np.float32(2**15)], 8_000)]
    assert len(wanted) == 3
    for same in (whole, whole.astype(np.int32) * 2**16, np.stack([whole, whole], 1), whole / 2**15):
        assert [score.novelty for score in detector.stream([same], 8_000)] == wanted
    for wrong in (whole.astype(np.int64), np.zeros((2, 2, 2)), np.zeros((5, 0)), ["a"], np.array([np.nan])):
        with pytest.raises(InputError, match="chunk"):
            list(detector.stream([wrong], 8_000))
    for rate in (0, 8_000.0, True):
        with pytest.raises(InputError, match="rate is a whole number"):
            list(detector.stream([whole], rate))


def test_a_saved_detector_remembers_how_sound_becomes_samples(
    detector: Detector, machine: Path, tmp_path: Path
) -> None:
    detector.save(tmp_path / "pump.novanda")
    loaded = Detector.load(tmp_path / "pump.novanda")
    assert loaded.spec_.recording == loaded.recording == FORM
    assert loaded.calibration_ == detector.calibration_
    ours, theirs = (list(each.timelines(machine / "worn")) for each in (detector, loaded))
    assert [each.novelty.tolist() for each in ours] == [each.novelty.tolist() for each in theirs]


@pytest.mark.parametrize("change", [{"frames": 17}, {"rate": 10}, {"medium": "video"}, {"content": "waveform"}])
def test_a_file_whose_form_does_not_fit_is_refused(detector: Detector, tmp_path: Path, change: dict[str, Any]) -> None:
    detector.save(tmp_path / "pump.novanda")
    with zipfile.ZipFile(tmp_path / "pump.novanda") as archive:
        content, tensors = json.loads(archive.read("detector.json")), archive.read("tensors.safetensors")
    content["spec"]["recording"] |= change
    with zipfile.ZipFile(tmp_path / "changed.novanda", "w") as archive:
        archive.writestr("detector.json", json.dumps(content))
        archive.writestr("tensors.safetensors", tensors)
    with pytest.raises(ModelFileError):
        Detector.load(tmp_path / "changed.novanda")


def test_an_exported_file_hears_the_same_without_torch(detector: Detector, machine: Path, tmp_path: Path) -> None:
    export(detector, tmp_path / "pump.onnx", SoundFiles.listed(machine / "today", FORM))
    exported = ExportedDetector.load(tmp_path / "pump.onnx", threads=1)
    assert exported.spec_ == detector.spec_
    assert exported.calibration_ == detector.calibration_
    for ours, theirs in zip(detector.timelines(machine / "worn"), exported.timelines(machine / "worn"), strict=True):
        np.testing.assert_allclose(theirs.novelty, ours.novelty, rtol=1e-4)
        assert ours.whole is not None
        assert theirs.whole is not None
        assert ours.whole.p_value == theirs.whole.p_value
    sound, rate = soundfile.read(machine / "worn" / "00.wav", dtype="float32")
    streamed = [score.novelty for score in exported.stream([sound], rate)]
    np.testing.assert_allclose(streamed, next(exported.timelines(machine / "worn" / "00.wav")).novelty, rtol=1e-5)
    code = (
        "import sys; from novanda import ExportedDetector\n"
        f"found = list(ExportedDetector.load({str(tmp_path / 'pump.onnx')!r}).timelines({str(machine / 'worn')!r}))\n"
        "print(len(found), sorted({'torch', 'sklearn', 'scipy', 'librosa'} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "6 []"


def test_a_recording_that_can_not_be_read_whole_is_not_judged(detector: Detector, tmp_path: Path) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    sound[16_000] = np.inf
    soundfile.write(tmp_path / "a.wav", sound, 8_000, subtype="FLOAT")
    (timeline,) = detector.timelines(tmp_path / "a.wav")
    assert timeline.whole is None
    ((span, error),) = timeline.errors
    assert (span.start, span.end) == (1.75, 2.5), "neighbours with one reason are one stretch"
    assert "infinity at 2.000 s" in str(error)
    assert len(timeline.spans) == len(timeline.novelty) == 13
    (absent,) = detector.timelines([tmp_path / "absent.wav"])
    assert (absent.whole, len(absent.novelty), len(absent.errors)) == (None, 0, 1)


def test_recordings_of_other_lengths_are_told(detector: Detector, machine: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).normal(0, 0.1, 48_000), 8_000)
    (remark,) = next(detector.timelines(tmp_path / "long.wav")).remarks()
    assert "has 23 segments, the recordings that set the threshold 7 to 7" in remark
    assert not list(next(detector.timelines(machine / "worn")).remarks())


def test_a_network_learns_from_spectrograms_and_goes_on_where_it_stopped(machine: Path, tmp_path: Path) -> None:
    form = AudioForm(rate=8_000, segment_seconds=0.5, hop_seconds=0.5, bands=32, frames=32, fft=512)
    training = Training(epochs=1, batch_size=32, device="cpu", precision="32")
    method = methods.AutoEncoder(width=4, latent_dim=4)
    fitted = Detector(method, training, recording=form, calibration_fraction=0).fit(machine / "ok")
    assert len(fitted.history_) == 1
    (made,) = explain(fitted, machine / "worn" / "00.wav")[:1]
    assert made.name.endswith("00.wav 0.00-0.50 s")
    assert made.image.shape == (32, 32, 1)
    with pytest.raises(InputError, match=r"auto_encoder takes squares of .*got 16 bands by 16 frames"):
        Detector(method, training, recording=FORM).fit(machine / "ok")


def test_waveforms_can_be_learned_from_too(machine: Path) -> None:
    form = AudioForm(rate=8_000, content="waveform", segment_seconds=0.128, hop_seconds=0.5)
    fitted = Detector(methods.NearestNeighbour(), recording=form, calibration_fraction=0).fit(machine / "ok")
    assert fitted.spec_.shape == (1, 1, 1024)
    assert (fitted.novelty_score(machine / "ok" / "00.wav") == 0).all()
    by_kind = Detector(methods.PCA(components=4), calibration_fraction=0).fit(machine / "ok", kind="spectrogram")
    assert by_kind.spec_.recording == AudioForm()


def test_wrong_askings_are_refused(detector: Detector, machine: Path) -> None:
    images = Detector(methods.PCA(components=2), calibration_fraction=0).fit(
        np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype=np.uint8)
    )
    with pytest.raises(InputError, match="expected a detector of sound"):
        next(images.stream([np.zeros(10)], 8_000))
    with pytest.raises(InputError, match="expected recordings"):
        next(images.timelines(np.zeros((2, 8, 8), np.uint8)))
    with pytest.raises(InputError, match="max, mean or p95"):
        next(detector.timelines(machine / "worn", "median"))  # type: ignore[arg-type]  # what a caller may give
    with pytest.raises(InputError, match="recording must be an AudioForm"):
        Detector(recording="audio").fit(machine / "ok")  # type: ignore[arg-type]  # likewise
    with pytest.raises(InputError, match="leave it out, or give sound files"):
        Detector(methods.PCA(), recording=FORM).fit(np.zeros((10, 8, 8), np.uint8) + np.arange(8, dtype=np.uint8))
    with pytest.raises(InputError, match="learns from image; got spectrogram"):
        Detector(methods.RotNet(), recording=FORM).fit(machine / "ok")


def test_resampling_is_part_of_what_is_remembered(detector: Detector, machine: Path, tmp_path: Path) -> None:
    """The same sound at another rate scores alike: what lies below 4 kHz is kept."""
    sound, rate = soundfile.read(machine / "today" / "00.wav", dtype="float32")
    soundfile.write(tmp_path / "a.wav", soxr.resample(sound, rate, 48_000), 48_000, subtype="FLOAT")
    ours, theirs = (next(detector.timelines(p)) for p in (machine / "today" / "00.wav", tmp_path / "a.wav"))
    np.testing.assert_allclose(theirs.novelty, ours.novelty, rtol=0.2)
