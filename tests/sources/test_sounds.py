"""Sound files as a source: formats, rates, channels, what is broken, memory, segments alike however they are read."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from novanda.errors import DataError, InputError
from novanda.recordings import AudioForm, Span
from novanda.sources import SoundFiles, open_source, read_each, sound_envelope
from novanda.sources.segmenting import Cutter
from novanda.sources.spectrograms import samples_of

FORM = AudioForm(rate=8_000, segment_seconds=1.0, hop_seconds=0.5, bands=16, frames=16, fft=512)


def noise(seconds: float, rate: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    made: np.ndarray = np.random.default_rng(seed).normal(0, 0.1, (round(seconds * rate), channels)).astype(np.float32)
    return made


def write(path: Path, sound: np.ndarray, rate: int, subtype: str | None = None) -> Path:
    with soundfile.SoundFile(path, "w", rate, sound.shape[1], subtype=subtype) as file:
        for start in range(0, len(sound), 4096):  # libsndfile's Vorbis encoder fails on long sounds given at once
            file.write(sound[start : start + 4096])
    return path


def expected(path: Path, form: AudioForm = FORM) -> np.ndarray:
    """All segments, by soundfile's own whole decoding."""
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mixed = sound.mean(axis=1, dtype=np.float32)
    cutter = Cutter(form, rate)
    windows = [cutter.cut(mixed[slice(*cutter.reach(start))], start) for start in cutter.starts(len(mixed))]
    return samples_of(np.stack(windows), form)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five good files of four formats, each at its own rate, of one to three channels."""
    root = tmp_path / "sounds"
    root.mkdir()
    write(root / "a.wav", noise(3.2, 16_000, 2, 1), 16_000)
    write(root / "b.flac", noise(2.0, 22_050, 1, 2), 22_050)
    write(root / "c.ogg", noise(7.0, 44_100, 1, 3), 44_100)
    write(root / "d.mp3", noise(4.0, 32_000, 2, 4), 32_000)
    write(root / "e.WAV", noise(1.0, 8_000, 3, 5), 8_000, "PCM_24")
    return root


def test_every_format_rate_and_number_of_channels(folder: Path) -> None:
    source = open_source(folder, purpose="fit", form=FORM)
    assert isinstance(source, SoundFiles)
    wanted = [expected(file) for file in sorted(folder.iterdir())]
    assert len(source) == sum(map(len, wanted)) == 6 + 3 + 13 + 7 + 1
    assert source.recordings.tolist() == np.repeat(range(5), [6, 3, 13, 7, 1]).tolist()
    found = source.read(range(len(source)))
    assert found.dtype == np.float32
    assert (found == np.concatenate(wanted)).all()
    assert "5 recordings" in source.note
    assert "segments of 1 s, one every 0.5 s, at 8000 Hz" in source.note


def test_a_segment_is_the_same_kept_decoded_again_forwards_and_at_random(folder: Path) -> None:
    kept = SoundFiles.open(folder, FORM, purpose="fit")
    size = kept.read([0]).nbytes
    partly = SoundFiles.open(folder, FORM, purpose="fit", cache_bytes=9 * size)
    listed = SoundFiles.listed(folder, FORM)
    wanted = kept.read(range(len(kept)))
    order = np.random.default_rng(0).permutation(len(kept)).tolist()
    for source in (partly, listed):
        assert (source.read(order) == wanted[order]).all()
        assert all((a == b).all() for a, b in zip(read_each(source, range(len(kept))), wanted, strict=True))


def test_segments_are_called_by_file_and_seconds(folder: Path) -> None:
    source = SoundFiles.listed([folder / "b.flac", folder / "a.wav"], FORM)
    assert source.identifier(1) == f"{folder / 'b.flac'} 0.50-1.50 s"
    assert source.span(8) == Span(str(folder / "a.wav"), 2.2, 3.2), "the last segment ends with the file"


def truncated(path: Path, share: float = 0.5) -> Path:
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    return path


def broken_files(root: Path) -> dict[Path, str]:
    """Files that can not serve, each with words of the reason."""
    root.mkdir()
    spoilt = noise(3.0, 8_000)
    spoilt[10_000:10_010] = np.nan
    (root / "text.wav").write_text("not a sound at all")
    (root / "picture.mp3").write_bytes(b"\x89PNG\r\n\x1a\n" * 20)
    (root / "empty.flac").write_bytes(b"")
    (root / "head.wav").write_bytes(b"RIFF\x24\x00\x00\x00WAVE")
    return {
        root / "text.wav": "by its first bytes it is none",
        root / "picture.mp3": "by its first bytes it is none",
        root / "empty.flac": "the file is empty",
        root / "head.wav": "can not be read",
        write(root / "nothing.wav", noise(0, 8_000), 8_000): "length zero",
        write(root / "short.wav", noise(0.9, 8_000), 8_000): "at least a segment of 1 s; got 0.9 s",
        write(root / "nan.wav", spoilt, 8_000, "FLOAT"): "NaN or infinity at 1.250 s",
        truncated(write(root / "cut.wav", noise(4.0, 8_000), 8_000)): "truncated: 31,978 of 64,000 bytes",
        truncated(write(root / "cut.flac", noise(9.0, 8_000), 8_000)): "can not be decoded from",
        root / "absent.wav": "can not be read: No such file",
    }


def test_broken_files_are_set_aside_whole_and_named(folder: Path, tmp_path: Path) -> None:
    broken = broken_files(tmp_path / "broken")
    present = [path for path in broken if path.exists()]
    source = SoundFiles.open([*present[:4], folder, *present[4:]], FORM, purpose="fit")
    assert len(source.files) == 5
    assert (source.read(range(len(source))) == SoundFiles.open(folder, FORM, purpose="fit").read(range(30))).all()
    assert set(source.broken) == set(present)
    for path in present:
        assert broken[path] in source.broken[path], path
    with pytest.raises(DataError, match="strict: stopped at the first broken file"):
        SoundFiles.open([folder, present[0]], FORM, purpose="fit", strict=True)
    with pytest.raises(DataError, match=r"none of the 2 files is one.*text\.wav"):
        SoundFiles.open(present[:2], FORM, purpose="fit")


def test_in_scoring_a_broken_file_costs_no_other_and_no_more_of_itself_than_it_must(
    folder: Path, tmp_path: Path
) -> None:
    broken = broken_files(tmp_path / "broken")
    source = SoundFiles.listed([*broken, folder / "b.flac"], FORM)
    outcomes = read_each(source, range(len(source)))
    by_file: dict[str, list[np.ndarray | DataError]] = {}
    for position, outcome in enumerate(outcomes):
        by_file.setdefault(source.span(position).path, []).append(outcome)
    for path, reason in broken.items():
        errors = [outcome for outcome in by_file[str(path)] if isinstance(outcome, DataError)]
        assert errors
        assert all(reason in str(error) and str(path) in str(error) for error in errors), path
    good = {Path(name).name: sum(isinstance(o, np.ndarray) for o in found) for name, found in by_file.items()}
    assert good["nan.wav"] == 3, "segments that the NaN is not in"
    assert good["cut.wav"] == 3
    assert good["cut.flac"] >= 1
    assert good["b.flac"] == 3
    assert sum(good.values()) == 9 + good["cut.flac"]


def test_a_file_is_what_it_holds_whatever_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(2, 8_000), 8_000)
    wanted = expected(path)
    renamed = path.rename(tmp_path / "a.wav")
    assert (SoundFiles.listed(renamed, FORM).read([0, 1, 2]) == wanted).all()


def test_a_recorder_that_did_not_know_the_length_yet_wrote_no_truncated_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(2, 8_000), 8_000)
    raw = bytearray(path.read_bytes())
    raw[4:8] = raw[40:44] = b"\xff" * 4
    path.write_bytes(bytes(raw))
    source = SoundFiles.listed(path, FORM)
    assert len(source) == 3, "three segments, and no error after them"
    assert not any(isinstance(outcome, DataError) for outcome in read_each(source, range(3)))


def test_sounds_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    silent = [write(tmp_path / f"{n}.wav", np.zeros((16_000, 1), np.float32), 8_000) for n in range(3)]
    with pytest.raises(DataError, match="the very same"):
        SoundFiles.open(silent, FORM, purpose="fit")
    assert SoundFiles.listed(silent[0], FORM).read([0]) == pytest.approx(-80), "silence can be scored"
    single = write(tmp_path / "single.wav", noise(1.0, 8_000), 8_000)
    with pytest.raises(DataError, match="at least 2 segments"):
        SoundFiles.open(single, FORM, purpose="fit")


def test_waveforms_keep_their_levels_as_bytes(folder: Path) -> None:
    form = AudioForm(rate=8_000, content="waveform", segment_seconds=0.25, hop_seconds=0.25)
    source = SoundFiles.open(folder, form, purpose="fit")
    found = source.read([0, 1])
    assert found.dtype == np.uint8
    assert found.shape == (2, 1, 1, 2_000)
    assert (found == expected(folder / "a.wav", form)[:2]).all()


def peak_of_reading(path: Path, minutes: int) -> int:
    """Bytes allocated at most while a file that long is read in batches."""
    with soundfile.SoundFile(path, "w", 16_000, 1, subtype="PCM_16") as file:
        for second in range(60 * minutes):
            file.write(noise(1.0, 16_000, seed=second))
    source = SoundFiles.listed(path, AudioForm(rate=16_000, hop_seconds=1, segment_seconds=1))
    tracemalloc.start()
    for start in range(0, len(source), 8):
        source.read(range(start, min(start + 8, len(source))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_a_recording(tmp_path: Path) -> None:
    peak_of_reading(tmp_path / "first.wav", 1)  # what is kept for good, such as filters
    assert peak_of_reading(tmp_path / "long.wav", 8) < 1.1 * peak_of_reading(tmp_path / "short.wav", 1)


def test_wrong_askings_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give --kind audio"):
        open_source(folder / "a.wav", purpose="fit")
    with pytest.raises(DataError, match="give --kind audio for the 5 sounds there"):
        open_source(folder, purpose="fit")
    with pytest.raises(InputError, match="size is that of images"):
        open_source(folder, purpose="fit", form=FORM, size=64)
    with pytest.raises(InputError, match="kind 'waveform'"):
        open_source(folder, purpose="fit", form=FORM, kind="waveform")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="expected sounds"):
        open_source(tmp_path / "none", purpose="score", form=FORM)


def test_the_envelope_is_least_and_greatest_of_equal_stretches(tmp_path: Path) -> None:
    sound = noise(2.5, 8_000, 2)
    path = write(tmp_path / "a.wav", sound, 8_000, "FLOAT")
    seconds, envelope = sound_envelope(path, places=100)
    assert seconds == 2.5
    parts = sound.mean(axis=1).reshape(100, 200)
    # Beginning at 0 the greatest is never below it; noise crosses it anyway.
    np.testing.assert_allclose(envelope, np.stack([parts.min(1), parts.max(1)], 1), atol=1e-7)
    assert sound_envelope(tmp_path / "absent.wav")[0] == 0


def test_sound_is_read_without_torch(folder: Path) -> None:
    code = (
        "import sys; from novanda.sources import open_source; from novanda.recordings import AudioForm\n"
        f"source = open_source({str(folder)!r}, purpose='score', form=AudioForm())\n"
        "print(source.read([0]).shape, 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "(1, 1, 64, 64) False"
