"""Some of the segments of recordings as a source: the same samples and spans, recordings counted anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from novanda.errors import DataError, InputError
from novanda.recordings import AudioForm
from novanda.samples import RecordedSource
from novanda.sources import ChosenSegments, SoundFiles, open_source, read_each

FORM = AudioForm(rate=8_000, segment_seconds=0.5, hop_seconds=0.5, bands=16, frames=16, fft=512)


@pytest.fixture
def source(tmp_path: Path) -> SoundFiles:
    """Four recordings of two segments each; the last one holds a NaN in its second."""
    for number in range(4):
        sound = np.random.default_rng(number).normal(0, 0.1, 8_000)
        sound[6_000] = np.nan if number == 3 else 0
        soundfile.write(tmp_path / f"{number}.wav", sound, 8_000, subtype="FLOAT")
    return SoundFiles.listed(tmp_path, FORM)


def test_chosen_segments_are_those_of_the_whole(source: SoundFiles) -> None:
    chosen = ChosenSegments(source, np.array([1, 4, 5, 6]))
    assert isinstance(chosen, RecordedSource)
    assert open_source(chosen, purpose="fit") is chosen
    assert (len(chosen), chosen.spec) == (4, source.spec)
    assert chosen.recordings.tolist() == [0, 1, 1, 2], "the second recording has none, and no number"
    assert [chosen.span(place) for place in range(4)] == [source.span(place) for place in (1, 4, 5, 6)]
    assert chosen.identifier(0) == source.identifier(1)
    assert (chosen.read([3, 0]) == source.read([6, 1])).all()
    assert "4 of 8 segments" in chosen.note


def test_a_segment_that_can_not_be_read_costs_no_other(source: SoundFiles) -> None:
    found = read_each(ChosenSegments(source, np.array([0, 7])), [0, 1])
    assert isinstance(found[0], np.ndarray)
    assert isinstance(found[1], DataError)


@pytest.mark.parametrize("positions", [[], [1, 1], [2, 1]])
def test_positions_must_rise(source: SoundFiles, positions: list[int]) -> None:
    with pytest.raises(InputError, match="each after the one before"):
        ChosenSegments(source, np.array(positions))
