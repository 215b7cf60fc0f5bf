"""Log-mel spectrograms against librosa, mu-law levels against librosa and the formula."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest

from novanda.errors import InputError
from novanda.recordings import AudioForm
from novanda.sources.spectrograms import band_hertz, log_mel, mel_filters, mu_law, samples_of, spec_of


def sounds(count: int, length: int, seed: int = 0) -> np.ndarray:
    """Noise of very different loudness with a rising tone in it, float32."""
    generator = np.random.default_rng(seed)
    loudness = 10.0 ** generator.uniform(-5, 0, (count, 1))
    moments = np.arange(length) / length
    tone = np.sin(2 * np.pi * (20 + 2000 * moments) * moments)
    made: np.ndarray = (loudness * (0.3 * generator.normal(size=(count, length)) + tone)).astype(np.float32)
    return made


@pytest.mark.parametrize(
    "form",
    [
        AudioForm(),
        AudioForm(rate=44_100, segment_seconds=1.0, bands=128, frames=128, fft=2048),
        AudioForm(rate=8_000, segment_seconds=0.3, bands=16, frames=9, fft=400),
    ],
    ids=["defaults", "44.1 kHz", "8 kHz"],
)
def test_decibels_are_librosas(form: AudioForm) -> None:
    windows = sounds(3, form.length)
    windows[2] = 0
    found = log_mel(windows, form)
    assert found.shape == (3, form.bands, form.frames)
    for window, ours in zip(windows, found, strict=True):
        power = librosa.feature.melspectrogram(
            y=window, sr=form.rate, n_fft=form.fft, hop_length=form.frame_hop, n_mels=form.bands, center=False
        )
        theirs = librosa.power_to_db(power, ref=1.0, amin=1e-8, top_db=None)[:, : form.frames]
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert (found[2] == found[2, 0, 0]).all()
    assert found[2, 0, 0] == pytest.approx(-80), "digital silence is the floor"


def test_relative_levels_know_neither_gain_nor_colour() -> None:
    form, absolute = AudioForm(levels="relative"), AudioForm()
    windows = sounds(4, form.length)
    windows[:2] *= 0.3 / np.abs(windows[:2]).max()
    found, decibels = samples_of(windows, form), samples_of(windows, absolute)
    for sample, picture in zip(found[:, 0], decibels[:, 0], strict=True):
        for band, levels in zip(sample, picture, strict=True):
            np.testing.assert_allclose(band, levels - sum(levels.tolist()) / len(levels), atol=1e-4)
    loud = windows[:1] / 0.3
    np.testing.assert_allclose(samples_of(loud, form), samples_of(0.5 * loud, form), atol=2e-3)
    assert np.abs(samples_of(loud, absolute) - samples_of(0.5 * loud, absolute)).min() > 6
    spec = spec_of(form)
    assert (spec.low, spec.high) == (-50, 50), "no change is 0, the middle"


def test_the_middle_of_each_band_is_where_its_filter_is_highest() -> None:
    middles = band_hertz(16_000, 64)
    filters = librosa.filters.mel(sr=16_000, n_fft=16_384, n_mels=64)
    np.testing.assert_allclose(middles, filters.argmax(1) * 16_000 / 16_384, atol=16_000 / 16_384)


@pytest.mark.parametrize(("rate", "fft", "bands"), [(16_000, 1024, 64), (44_100, 2048, 128), (8_000, 512, 20)])
def test_filters_are_librosas(rate: int, fft: int, bands: int) -> None:
    np.testing.assert_allclose(
        mel_filters(rate, fft, bands), librosa.filters.mel(sr=rate, n_fft=fft, n_mels=bands), atol=1e-7
    )


def test_bands_without_a_frequency_are_refused() -> None:
    with pytest.raises(InputError, match="give fewer bands or a longer fft"):
        mel_filters(16_000, 256, 128)


def test_a_window_is_the_same_in_any_company() -> None:
    form = AudioForm()
    windows = sounds(7, form.length)
    together = samples_of(windows, form)
    for place in (0, 3, 6):
        assert (samples_of(windows[place : place + 1], form)[0] == together[place]).all()


def test_high_notes_stand_above_low_ones_as_in_a_picture() -> None:
    form = AudioForm()
    moments = np.arange(form.length) / form.rate
    low, high = (np.sin(2 * np.pi * hertz * moments).astype(np.float32) for hertz in (200, 6000))
    rows = samples_of(np.stack([low, high]), form).mean(-1)[:, 0].argmax(1)
    assert rows[0] > 50
    assert rows[1] < 14


def test_levels_are_those_of_the_formula_and_of_librosa() -> None:
    sound = np.concatenate([np.linspace(-1, 1, 2001), [-3.0, 2.5, 0.0]]).astype(np.float32)
    levels = mu_law(sound)
    assert levels.dtype == np.uint8
    for value, level in zip(sound.tolist(), levels.tolist(), strict=True):
        cut = max(-1.0, min(1.0, value))
        curved = math.copysign(math.log(1 + 255 * abs(cut)) / math.log(256), cut)
        assert level == pytest.approx((curved + 1) / 2 * 255, abs=0.5 + 1e-5)
    theirs = librosa.mu_compress(sound[:2001], mu=255, quantize=True) + 128
    # librosa cuts [-1, 1] into 256 equal bins, this rounds to the nearest of 256 levels from end to end.
    assert np.abs(levels[:2001].astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("encoding", ["mu-law", "float"])
def test_waveforms_are_one_row(encoding: str) -> None:
    form = AudioForm(content="waveform", encoding=encoding, segment_seconds=0.256)  # type: ignore[arg-type]  # a name
    windows = sounds(2, form.length)
    made = samples_of(windows, form)
    assert made.shape == (2, *spec_of(form).shape) == (2, 1, 1, 4096)
    wanted = mu_law(windows) if encoding == "mu-law" else windows
    assert (made[:, 0, 0] == wanted).all()
