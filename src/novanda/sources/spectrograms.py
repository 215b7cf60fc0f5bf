"""Windows of sound to samples: log-mel spectrograms and encoded waveforms, by NumPy alone.

No torch in here: exported detectors score sound without it. Letters: n windows, L samples in a window, F frames.
"""

from __future__ import annotations

import functools

import numpy as np

from novanda.errors import InputError
from novanda.recordings import AudioForm
from novanda.samples import SampleSpec

FLOOR = 1e-8
"""The least power: -80 dB. Below it lies a 16-bit file's own rounding noise, which tells of the recorder alone."""
LOW, HIGH = -80.0, 20.0
"""Decibels that become -1 and +1. They are the same for every detector: taken from the normals, they would let those
held out take part in what new sounds do not. A sine at full scale reaches 30 dB, +1.2, which nothing clamps."""
RELATIVE_LOW, RELATIVE_HIGH = -50.0, 50.0
"""The same for decibels relative to a band's mean, 0 in the middle: 50 dB are 1 either way."""
_MU = 255.0


def spec_of(form: AudioForm) -> SampleSpec:
    """What samples of this form look like."""
    if form.content == "spectrogram":
        low, high = (LOW, HIGH) if form.levels == "absolute" else (RELATIVE_LOW, RELATIVE_HIGH)
        return SampleSpec("spectrogram", 1, form.bands, form.frames, low, high, form)
    low, high = (0.0, _MU) if form.encoding == "mu-law" else (-1.0, 1.0)
    return SampleSpec("waveform", 1, 1, form.length, low, high, form)


def samples_of(windows: np.ndarray, form: AudioForm) -> np.ndarray:
    """Windows (n, L) float32 of sound at the form's rate as samples (n, C, H, W), as `spec_of` says.

    float32, or uint8 where they are mu-law levels.
    """
    if form.content == "spectrogram":
        decibels = log_mel(windows, form)[:, None, ::-1]
        return decibels if form.levels == "absolute" else decibels - decibels.mean(3, keepdims=True)
    shaped = windows[:, None, None, :]
    return mu_law(shaped) if form.encoding == "mu-law" else shaped.astype(np.float32)


def log_mel(windows: np.ndarray, form: AudioForm) -> np.ndarray:
    """Windows (n, L) to decibels (n, bands, frames) float32, the LOWEST band in row 0, at least -80.

    Power of the short-time Fourier transform (periodic Hann window, no padding), summed by `mel_filters`, as
    10 log10 max(power, FLOOR): what librosa's `melspectrogram(..., center=False)` and `power_to_db(..., ref=1,
    amin=1e-8, top_db=None)` give.
    """
    taken = np.lib.stride_tricks.sliding_window_view(windows, form.fft, axis=1)[:, :: form.frame_hop][:, : form.frames]
    spectrum = np.fft.rfft(taken * _hann(form.fft))
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    # A product for each window alone: one over all would round differently with their number.
    bands = np.stack([mel_filters(form.rate, form.fft, form.bands) @ each.T for each in power])
    decibels: np.ndarray = 10 * np.log10(np.maximum(bands, np.float32(FLOOR)))
    return decibels


@functools.cache
def _hann(size: int) -> np.ndarray:
    window: np.ndarray = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    window.setflags(write=False)
    return window


@functools.cache
def mel_filters(rate: int, fft: int, bands: int) -> np.ndarray:
    """Triangular filters (bands, fft // 2 + 1) float32, read-only, from 0 Hz to rate / 2, each of area 1 over hertz.

    Their corners lie equally far apart on the mel scale of Slaney's Auditory Toolbox (Interval Technical Report
    1998-010): linear up to 1 kHz, 200 / 3 Hz a mel; logarithmic above, where 27 mels are a factor of 6.4.

    Raises:
        InputError: a band is so narrow that no frequency of the FFT falls into it.
    """
    corners = _hertz(np.linspace(0, _mel(rate / 2), bands + 2))
    frequencies = np.arange(fft // 2 + 1) * (rate / fft)
    lower, middle, upper = (corners[place : bands + place, None] for place in range(3))
    rising, falling = (frequencies - lower) / (middle - lower), (upper - frequencies) / (upper - middle)
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (upper - lower)
    if not (filters > 0).any(1).all():
        raise InputError(
            f"{bands} mel bands at {rate} Hz are narrower than the frequencies that an fft of {fft} tells apart; give "
            "fewer bands or a longer fft"
        )
    result: np.ndarray = filters.astype(np.float32)
    result.setflags(write=False)
    return result


def band_hertz(rate: int, bands: int) -> np.ndarray:
    """The frequency in the middle of each of the `mel_filters`, (bands,), rising."""
    middles: np.ndarray = _hertz(np.linspace(0, _mel(rate / 2), bands + 2))[1:-1]
    return middles


_LINEAR, _BREAK, _FACTOR = 200 / 3, 1000.0, float(np.log(6.4)) / 27  # hertz a mel; hertz; logarithm a mel


def _mel(hertz: float) -> float:
    return hertz / _LINEAR if hertz < _BREAK else _BREAK / _LINEAR + float(np.log(hertz / _BREAK)) / _FACTOR


def _hertz(mels: np.ndarray) -> np.ndarray:
    above = mels - _BREAK / _LINEAR
    hertz: np.ndarray = np.where(above < 0, mels * _LINEAR, _BREAK * np.exp(np.maximum(above, 0) * _FACTOR))
    return hertz


def mu_law(sound: np.ndarray) -> np.ndarray:
    """Sound from -1 to 1, of any shape, as 256 levels, uint8; what lies beyond full scale is cut off.

    level = round((sign(x) ln(1 + 255 |x|) / ln 256 + 1) / 2 * 255): ITU-T G.711's curve in its continuous form.
    """
    cut = np.clip(sound, -1, 1)
    curved = np.sign(cut) * np.log1p(_MU * np.abs(cut)) / np.log1p(_MU)
    levels: np.ndarray = np.rint((curved + 1) / 2 * _MU).astype(np.uint8)
    return levels
