"""inspect_sounds: formats, lengths, silence, clipping, what is broken, copies and leaks of made recordings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from novanda.errors import DataError
from novanda.inspection import Spread, inspect_sounds


def write(path: Path, sound: np.ndarray, rate: int = 8_000, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate, subtype=subtype)
    return path


def noise(seed: int, seconds: float = 2.0, rate: int = 8_000) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, round(seconds * rate))


def test_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise(0))
    write(tmp_path / "b.flac", noise(1, 3.0, 16_000), 16_000)
    write(tmp_path / "c.wav", np.stack([noise(2, 7.0), noise(3, 7.0)], 1))
    found = inspect_sounds(tmp_path, progress=True)
    assert (found.files, found.readable, found.layout) == (3, 3, "flat")
    assert found.formats == {"WAV": 2, "FLAC": 1}
    assert found.rates == {"8000 Hz": 2, "16000 Hz": 1}
    assert found.channels == {"1": 2, "2": 1}
    assert found.seconds == Spread(2.0, 3.0, 7.0)
    assert found.hours == pytest.approx(12 / 3600)
    assert [found.silent, found.clipped, found.broken, found.duplicates] == [{}, {}, {}, ()]
    said = " ".join(found.warnings)
    assert "3 readable recordings are few; a false-alarm rate of 0.05 takes 95, of which 19 are held out" in said
    assert "2 files have fewer than 16,000 samples a second" in said
    assert "lengths differ" in said
    json.dumps(found.to_json(), allow_nan=False)


def test_silence_and_clipping_are_measured(tmp_path: Path) -> None:
    half = noise(0, 4.0)
    half[: 2 * 8_000 + 800] = 0
    write(tmp_path / "half.wav", half)
    loud = np.clip(noise(1) * 40, -1, 1)
    write(tmp_path / "loud.wav", loud)
    write(tmp_path / "mild.wav", noise(2))
    write(tmp_path / "soft.wav", noise(4) / 50)  # some 20 dB above silence
    spike = noise(3)
    spike[4_000:4_002] = 1.0  # two samples at full scale are no plateau
    write(tmp_path / "spike.wav", spike)
    found = inspect_sounds(tmp_path)
    assert found.silent == {str(tmp_path / "half.wav"): pytest.approx(21 / 40)}
    full = np.abs(loud) >= 0.99
    plateaus = sum(full[n] and full[n - 1] and full[n - 2] for n in range(2, len(full)))
    assert found.clipped == {str(tmp_path / "loud.wav"): pytest.approx(plateaus / len(loud))}
    said = "\n".join(found.lines())
    assert "half.wav: 52% of the time" in said
    assert "warning: 1 files are clipped" in said


def test_broken_files_copies_and_leaks(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.wav", noise(0), subtype="FLOAT")
    write(tmp_path / "train" / "b.wav", np.round(noise(1) * 2**15) / 2**15)
    write(tmp_path / "train" / "same.flac", np.round(noise(1) * 2**15) / 2**15)
    (tmp_path / "train" / "text.mp3").write_text("text")
    spoilt = noise(4)
    spoilt[800] = np.nan
    write(tmp_path / "train" / "nan.wav", spoilt, subtype="FLOAT")
    cut = write(tmp_path / "train" / "cut.wav", noise(5))
    cut.write_bytes(cut.read_bytes()[:-1000])
    write(tmp_path / "test" / "leak.wav", noise(0), subtype="FLOAT")
    write(tmp_path / "test" / "new.wav", noise(9))
    (tmp_path / "test" / "empty.ogg").write_bytes(b"")
    found = inspect_sounds(tmp_path / "train", tmp_path / "test")
    assert {Path(path).name: why.split(":")[0] for path, why in found.broken.items()} == {
        "text.mp3": "expected WAV, FLAC, Ogg or MP3; by its first bytes it is none of them; convert it",
        "nan.wav": "expected finite samples; got NaN or infinity at 0.100 s",
        "cut.wav": "truncated",
    }
    assert [[Path(path).name for path in group] for group in found.duplicates] == [["b.wav", "same.flac"]]
    assert [(Path(other).name, Path(here).name) for other, here in found.leaks] == [("leak.wav", "a.wav")]
    assert [Path(path).name for path in found.against_broken] == ["empty.ogg"]
    said = "\n".join(found.lines())
    assert "3 broken files would be skipped" in said
    assert "1 sounds repeat another one" in said
    assert "1 sounds to test with are also here" in said


def test_a_folder_without_sounds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected sounds"):
        inspect_sounds(tmp_path)
