"""Some of the segments of recordings, as a source of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from novanda.errors import DataError, InputError
from novanda.recordings import Span
from novanda.samples import SampleSpec
from novanda.sources.sounds import SoundFiles


class ChosenSegments:
    """The segments of `source` at these positions, in order; recordings without any are counted out.

    Raises:
        InputError: no position, or positions that do not rise.
    """

    def __init__(self, source: SoundFiles, positions: np.ndarray) -> None:
        self._positions = np.asarray(positions, dtype=np.int64)
        if not len(self._positions) or (np.diff(self._positions) <= 0).any():
            raise InputError("expected the positions of segments, at least one, each after the one before")
        self._source = source
        self._recordings = np.unique(source.recordings[self._positions], return_inverse=True)[1]
        self.note = f"{len(self._positions):,} of {len(source):,} segments. {getattr(source, 'note', '')}".strip()
        self.broken = getattr(source, "broken", {})

    @property
    def spec(self) -> SampleSpec:
        """What each sample looks like."""
        return self._source.spec

    @property
    def recordings(self) -> np.ndarray:
        """Of each segment the number of its recording among those that have one here: (N,) int64."""
        return self._recordings

    def __len__(self) -> int:
        return len(self._positions)

    def span(self, position: int) -> Span:
        """Which stretch of which recording a segment is."""
        return self._source.span(int(self._positions[position]))

    def identifier(self, position: int) -> str:
        """As the whole source has it."""
        return self._source.identifier(int(self._positions[position]))

    def read(self, positions: Sequence[int]) -> np.ndarray:
        """Samples (n, C, H, W); raises DataError naming the first that can not be read."""
        return self._source.read(self._positions[np.asarray(positions, dtype=np.int64)].tolist())

    def read_each(self, positions: Sequence[int]) -> list[np.ndarray | DataError]:
        """As `read`, but a sample (C, H, W) or the error for each position."""
        return self._source.read_each(self._positions[np.asarray(positions, dtype=np.int64)].tolist())
