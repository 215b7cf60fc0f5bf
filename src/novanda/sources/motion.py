"""Frames to samples: optical flow between two of them, paired as they come.

Flow is by Dense Inverse Search (Kroeger, Timofte, Dai and Van Gool, ECCV 2016) as OpenCV has it, preset medium.
Letters: S side of a sample.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from novanda.recordings import VideoForm
from novanda.samples import SampleSpec
from novanda.sources.clips import opencv_package

FINER = 4
"""Flow is searched on squares of this many times the sample's side, and averaged down to it."""
FULL = 1 / 16
"""The share of the frame's side that is crossed in an interval where a sample is +1 or -1; nothing is clamped. It is
the same for every detector: taken from the normals, it would let those held out take part in what new clips do not."""
_LATE = 1e-3  # seconds; containers round the times of frames to as much
_FARTHEST = 3  # intervals: between frames farther apart there is a gap, and no flow


def flow_spec(form: VideoForm) -> SampleSpec:
    """What samples of this form look like: in pixels of the sample, FULL of its side becomes 1."""
    most = form.side * FULL
    return SampleSpec("flow", *form.shape, -most, most, form)


@dataclass(frozen=True, eq=False)
class Pair:
    """The flow (2, S, S) float32 between the frames shown at `start` and at `end`, seconds."""

    start: float
    end: float
    flow: np.ndarray


class Pairing:
    """Makes pairs of the frames of one clip as they come; holds only those whose second frame has not come yet."""

    def __init__(self, form: VideoForm) -> None:
        library = opencv_package()
        self._form, self._library = form, library
        self._search = library.DISOpticalFlow_create(library.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._waiting: deque[tuple[float, np.ndarray]] = deque()
        self._next = 0.0  # from when on a frame begins the next pair

    def feed(self, seconds: float, pixels: np.ndarray) -> Iterator[Pair]:
        """The pairs that a frame completes: one hop or more after another, in order of time.

        Args:
            seconds: when it is shown, later than the one before.
            pixels: (H, W), (H, W, 1) or (H, W, 3) RGB, uint8.
        """
        form = self._form
        begins = seconds >= self._next - _LATE
        due = sum(seconds >= start + form.interval - _LATE for start, _ in self._waiting)
        if not due and not begins:
            return
        picture = self._prepared(pixels)
        for _ in range(due):
            start, first = self._waiting.popleft()
            if seconds - start <= _FARTHEST * form.interval + _LATE:
                yield Pair(start, seconds, self._flow(first, picture, seconds - start))
        if begins:
            self._waiting.append((seconds, picture))
            self._next = (np.floor((seconds + _LATE) / form.hop_seconds) + 1) * form.hop_seconds

    def _prepared(self, pixels: np.ndarray) -> np.ndarray:
        """The frame as a gray square (FINER * S, FINER * S) uint8."""
        library, side = self._library, FINER * self._form.side
        if pixels.ndim == 3:
            gray = library.cvtColor(pixels, library.COLOR_RGB2GRAY) if pixels.shape[2] == 3 else pixels[:, :, 0]
        else:
            gray = pixels
        picture: np.ndarray = library.resize(gray, (side, side), interpolation=library.INTER_AREA)
        return picture

    def _flow(self, first: np.ndarray, second: np.ndarray, seconds: float) -> np.ndarray:
        library, form = self._library, self._form
        found = self._search.calc(first, second, None)
        small = library.resize(found, (form.side, form.side), interpolation=library.INTER_AREA)
        flow: np.ndarray = np.ascontiguousarray(small.transpose(2, 0, 1)) * np.float32(form.interval / seconds / FINER)
        return flow
