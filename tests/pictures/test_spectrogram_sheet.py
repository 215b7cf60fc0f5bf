"""Spectrograms beside each other, read back from the figure; and the command that draws a pair."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from PIL import Image

from novanda.cli import main
from novanda.errors import DataError, InputError
from novanda.pictures import SpectrogramPanel, png, spectrogram_sheet
from novanda.sources import sound_spectrogram


def made(seed: int, title: str = "a.wav", seconds: float = 2.0) -> SpectrogramPanel:
    decibels = np.random.default_rng(seed).normal(-20, 5, (40, 60))
    return SpectrogramPanel(title, seconds, decibels, np.linspace(50, 7000, 40))


def test_a_pair_has_one_scale_of_colours_and_its_own_seconds() -> None:
    left, right = made(0), made(1, "b" * 200, 5.0)
    figure = spectrogram_sheet([left, right])
    first, second, _ = figure.axes
    assert first.images[0].get_clim() == second.images[0].get_clim()
    assert (first.get_xlim(), second.get_xlim()) == ((0, 2), (0, 5))
    for axes, panel in ((first, left), (second, right)):
        assert np.array_equal(np.asarray(axes.images[0].get_array()), panel.decibels)
        assert axes.images[0].origin == "lower", "low notes lie low"
    # 1,000 Hz lies between bands: where 50 + place * 6950 / 39 is 1,000.
    marks = dict(zip([label.get_text() for label in first.get_yticklabels()], first.get_yticks(), strict=True))
    assert marks["1,000"] == pytest.approx(950 * 39 / 6950)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]  # Agg's canvas has one
    boxes = [axes.title.get_window_extent(renderer) for axes in (first, second)]
    titles = [axes.get_title(loc="left") for axes in (first, second)]
    assert titles[0] == "a.wav"
    assert titles[1].endswith("…")
    assert boxes[1].x1 <= figure.bbox.x1
    assert png(figure)[:4] == b"\x89PNG"


def test_what_is_no_spectrogram_is_refused() -> None:
    with pytest.raises(InputError, match="at least one recording"):
        spectrogram_sheet([])
    with pytest.raises(InputError, match="a frequency a band"):
        spectrogram_sheet([SpectrogramPanel("a", 1.0, np.zeros((4, 5)), np.zeros(5))])


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    moments = np.arange(48_000) / 16_000
    # Some hiss with it: far below the tone there would be rounding alone.
    hiss = np.random.default_rng(0).normal(0, 0.01, 48_000)
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 1000 * moments) + hiss, 16_000)
    return tmp_path / "tone.wav"


def test_the_spectrogram_of_a_file_is_librosas(tone: Path) -> None:
    seconds, decibels, hertz = sound_spectrogram(tone)
    assert seconds == 3.0
    sound, _ = soundfile.read(tone, dtype="float32")
    hop = (48_000 - 2048) // (decibels.shape[1] - 1)
    power = librosa.feature.melspectrogram(y=sound, sr=16_000, n_fft=2048, hop_length=hop, n_mels=128, center=False)
    theirs = librosa.power_to_db(power, ref=1.0, amin=1e-8, top_db=None)[:, : decibels.shape[1]]
    np.testing.assert_allclose(decibels, theirs, atol=1e-3)
    assert abs(hertz[decibels.mean(1).argmax()] - 1000) < 20
    assert sound_spectrogram(tone, most_seconds=1.0)[0] == 1.0


def test_the_command_draws_both(tone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "hiss.flac", np.random.default_rng(0).normal(0, 0.1, 8_000), 8_000)
    out = tmp_path / "pair.png"
    assert main(["figure5", str(tone), str(tmp_path / "hiss.flac"), "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert picture.size[0] == 1200
    assert f"written to {out}" in capsys.readouterr().err


@pytest.mark.parametrize("length", [100, 4_000])
def test_too_short_for_a_spectrogram(length: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "click.wav", np.ones(length) / 2, 16_000)
    with pytest.raises(DataError, match=r"at least 0\.3 s"):
        sound_spectrogram(tmp_path / "click.wav")
    out = tmp_path / "pair.png"
    assert main(["figure5", str(tmp_path / "click.wav"), str(tmp_path / "gone.wav"), "--out", str(out)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not out.exists()
