"""Forms of sound and video: what they refuse, what they derive, JSON; and scores of a whole recording."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from novanda.errors import InputError
from novanda.recordings import AudioForm, Form, Span, VideoForm, aggregated, form_from_json
from novanda.samples import SampleSpec
from novanda.sources.motion import flow_spec
from novanda.sources.spectrograms import spec_of


def test_the_defaults_make_a_square_that_every_network_takes() -> None:
    form = AudioForm()
    assert (form.length, form.hop, form.shape) == (32_000, 16_000, (1, 64, 64))
    # The last frame ends where the segment does, but for what whole hops leave: less than one sample a frame.
    assert 0 <= form.length - (form.frame_hop * 63 + form.fft) < 63


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate": 999}, "rate must be a whole number from 1000"),
        ({"rate": 16_000.0}, "rate must be a whole number"),
        ({"bands": True}, "bands must be a whole number"),
        ({"segment_seconds": 0}, "segment_seconds must be a number of seconds above 0"),
        ({"segment_seconds": float("nan")}, "segment_seconds must be"),
        ({"hop_seconds": 1e-9}, "need from 1 to"),
        ({"segment_seconds": 5000.0}, "need from 1 to"),
        ({"segment_seconds": 0.05}, "do not fit in 800 samples"),
        ({"content": "melody"}, "content must be one of spectrogram, waveform"),
        ({"encoding": "a-law"}, "encoding must be one of mu-law, float"),
        ({"levels": "loud"}, "levels must be one of absolute, relative"),
    ],
)
def test_what_can_not_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        AudioForm(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"side": 7}, "side must be a whole number from 8 to 256"),
        ({"side": 32.0}, "side must be a whole number"),
        ({"side": True}, "side must be a whole number"),
        ({"interval": 0}, "interval must be a number from 0.001"),
        ({"interval": float("nan")}, "interval must be a number"),
        ({"hop_seconds": "1"}, "hop_seconds must be a number"),
        ({"frame_rate": True}, "frame_rate must be a number"),
        ({"interval": 1.7, "hop_seconds": 0.1}, "at most 16 hops"),
    ],
)
def test_what_can_not_be_of_video_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        VideoForm(**wrong)


@pytest.mark.parametrize(
    "form",
    [
        AudioForm(),
        AudioForm(content="waveform", encoding="float", segment_seconds=0.256),
        AudioForm(levels="relative"),
        VideoForm(),
        VideoForm(side=64, interval=1, hop_seconds=2, frame_rate=10),
    ],
)
def test_json_gives_the_form_and_the_spec_back(form: Form) -> None:
    spec = flow_spec(form) if isinstance(form, VideoForm) else spec_of(form)
    assert spec.recording == form
    assert SampleSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert "recording" not in SampleSpec("image", 3, 8, 8).to_json(), "files of images stay as they were"


@pytest.mark.parametrize(
    "hostile",
    [
        None,
        [],
        {},
        {"medium": "smell"},
        {"medium": "audio"},
        {"medium": ["audio"]},
        {**AudioForm().to_json(), "medium": "video"},
        {**VideoForm().to_json(), "side": 10**9},
        {**AudioForm().to_json(), "more": 1},
        {**AudioForm().to_json(), "levels": ["relative"]},
        {**VideoForm().to_json(), "levels": "relative"},
        {**AudioForm().to_json(), "rate": "16000"},
        {**AudioForm().to_json(), "segment_seconds": 10**400},
    ],
)
def test_hostile_json_is_refused(hostile: Any) -> None:
    with pytest.raises(InputError):
        form_from_json(hostile)


def test_a_form_from_before_levels_could_be_relative_is_read_as_it_was() -> None:
    content = AudioForm(rate=8_000).to_json()
    assert "levels" not in content
    assert form_from_json(content) == AudioForm(rate=8_000, levels="absolute")


def test_a_spec_must_have_the_shape_that_its_form_makes() -> None:
    with pytest.raises(InputError, match="makes a spectrogram"):
        SampleSpec("spectrogram", 1, 64, 32, recording=AudioForm())
    with pytest.raises(InputError, match="makes a flow"):
        SampleSpec("flow", 2, 64, 64, recording=VideoForm(side=32))
    with pytest.raises(InputError, match="makes a waveform"):
        SampleSpec("spectrogram", 1, 64, 64, recording=AudioForm(content="waveform"))


def test_scores_of_a_whole() -> None:
    novelty = np.random.default_rng(0).normal(size=37)
    assert aggregated(novelty, "max") == max(novelty)
    assert aggregated(novelty, "mean") == pytest.approx(sum(novelty) / 37)
    ordered, place = sorted(novelty), 0.95 * 36
    between = ordered[int(place)] + (place - int(place)) * (ordered[int(place) + 1] - ordered[int(place)])
    assert aggregated(novelty, "p95") == pytest.approx(between)
    with pytest.raises(InputError, match="max, mean or p95"):
        aggregated(novelty, "median")  # type: ignore[arg-type]  # what a caller may give


def test_a_span_says_which_stretch_it_is() -> None:
    assert str(Span("a/b.wav", 12, 14.5)) == "a/b.wav 12.00-14.50 s"
