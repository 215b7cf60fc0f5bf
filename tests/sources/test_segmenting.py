"""Segments of recordings: where they lie, that they are those of the whole resampled, the same however they come."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from novanda.recordings import AudioForm
from novanda.sources.segmenting import Cutter, Incoming

FORM = AudioForm(rate=8_000, segment_seconds=0.5, hop_seconds=0.2, bands=16, frames=16, fft=256)


def noise(length: int) -> np.ndarray:
    made: np.ndarray = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    return made


def cut_all(sound: np.ndarray, rate: int, form: AudioForm = FORM) -> list[tuple[int, np.ndarray]]:
    cutter = Cutter(form, rate)
    found = []
    for start in cutter.starts(len(sound)):
        first, last = cutter.reach(start)
        found.append((start, cutter.cut(sound[first:last], start)))
    return found


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000, 4_000, 22_051])
def test_segments_are_those_of_the_whole_resampled(rate: int) -> None:
    """But for rounding: the resampler's filter must not reach beyond the samples that a segment is made of."""
    sound = noise(round(2.3 * rate))
    whole = sound if rate == FORM.rate else soxr.resample(sound, rate, FORM.rate, quality="HQ")
    found = cut_all(sound, rate)
    assert [start for start, _ in found][:3] == [0, 1600, 3200]
    for start, segment in found:
        assert segment.shape == (4000,)
        np.testing.assert_allclose(segment, whole[start : start + 4000], atol=2e-6)


def test_all_of_a_recording_is_heard_but_for_a_tenth_of_a_hop() -> None:
    cutter = Cutter(FORM, 8_000)
    assert cutter.starts(3999) == []
    assert cutter.starts(4000) == [0]
    assert cutter.starts(4000 + 160) == [0]
    assert cutter.starts(4000 + 161) == [0, 161]
    assert cutter.starts(4000 + 1600) == [0, 1600]
    assert cutter.starts(4000 + 2400) == [0, 1600, 2400]


@settings(max_examples=40)
@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 44_100]),
    length=st.integers(0, 60_000),
    hop=st.sampled_from([0.05, 0.2, 0.5, 0.9]),
    chunks=st.lists(st.integers(0, 9_000), max_size=8),
)
def test_what_comes_in_chunks_gives_the_same_segments(rate: int, length: int, hop: float, chunks: list[int]) -> None:
    form = AudioForm(rate=8_000, segment_seconds=0.5, hop_seconds=hop, bands=16, frames=16, fft=256)
    sound = noise(length)
    incoming = Incoming(form, rate)
    found, at = [], 0
    for size in [*chunks, length]:
        found += list(incoming.feed(sound[at : at + size]))
        at += size
    found += list(incoming.finish())
    wanted = cut_all(sound, rate, form)
    assert [start for start, _ in found] == [start for start, _ in wanted]
    for (_, ours), (_, theirs) in zip(found, wanted, strict=True):
        assert (ours == theirs).all()


def test_a_long_stream_keeps_no_more_than_a_segment_and_its_surroundings() -> None:
    incoming = Incoming(FORM, 16_000)
    most = 0
    for _ in range(300):
        list(incoming.feed(noise(1_000)))
        most = max(most, len(incoming._kept))
    assert incoming.received == 300_000
    assert most < 3 * 8_000


def test_a_segment_is_there_as_soon_as_its_sound_is() -> None:
    incoming = Incoming(FORM, 8_000)
    assert list(incoming.feed(noise(3_999))) == []
    assert [start for start, _ in incoming.feed(noise(1))] == [0]
    resampling = Incoming(FORM, 16_000)
    come = list(resampling.feed(noise(8_000 + 2 * 256)))
    assert [start for start, _ in come] == [0], "a resampler waits for what its filter reaches, 32 ms here"
