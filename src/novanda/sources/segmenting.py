"""Where the segments of a recording lie, and how each is cut out of the file's own samples.

Every segment is resampled from the samples around it alone, never by a filter that runs through the file: a segment is
then the same to the last bit whether it is read singly, with others, or as the sound comes in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from novanda.recordings import AudioForm

_MARGIN = 256  # samples, of the lower of both rates, around a segment: beyond, the resampler's filter hears nothing
_LEAST_TAIL = 0.1  # of a hop or a segment: a last segment that would add less is left out


class Cutter:
    """Cuts recordings of one rate into segments of one form."""

    def __init__(self, form: AudioForm, rate: int) -> None:
        common = math.gcd(rate, form.rate)
        self._form, self._rate = form, rate
        # Native and resampled samples fall on the same moment every so many.
        self._every_resampled, self._every_native = form.rate // common, rate // common
        self._margin = 0 if rate == form.rate else math.ceil(_MARGIN * max(1, form.rate / rate))

    def starts(self, native: int) -> list[int]:
        """Where segments of a recording of so many native samples begin, in samples at the form's rate.

        One every hop, and one more that ends with the recording, so that its end is heard; none if it is too short.
        """
        form = self._form
        total = self.resampled(native)
        if total < form.length:
            return []
        starts = list(range(0, total - form.length + 1, form.hop))
        left = total - form.length - starts[-1]
        return [*starts, total - form.length] if left > _LEAST_TAIL * min(form.hop, form.length) else starts

    def resampled(self, native: int) -> int:
        """Samples at the form's rate that so many native ones last."""
        return native * self._every_resampled // self._every_native

    def reach(self, start: int) -> tuple[int, int]:
        """The native samples, first and one past the last, that a segment is made of; the file may end before."""
        first = max(0, start - self._margin) // self._every_resampled
        last = -(-(start + self._form.length + self._margin) // self._every_resampled)
        return first * self._every_native, last * self._every_native

    def cut(self, native: np.ndarray, start: int) -> np.ndarray:
        """The segment (L,) float32 that begins at `start`, from the native samples of its `reach`."""
        length = self._form.length
        if self._rate == self._form.rate:
            return native[:length]
        import soxr

        first = max(0, start - self._margin) // self._every_resampled * self._every_resampled
        cut: np.ndarray = soxr.resample(native, self._rate, self._form.rate, quality="HQ")[start - first :][:length]
        return cut if len(cut) == length else np.pad(cut, (0, length - len(cut)))  # at the end it may round down


class Incoming:
    """Cuts segments off sound that comes in chunks; holds no more than a segment and its surroundings.

    Args:
        form: how sound becomes samples.
        rate: of the sound that comes.
    """

    def __init__(self, form: AudioForm, rate: int) -> None:
        self._form, self._cutter = form, Cutter(form, rate)
        self._kept = np.empty(0, dtype=np.float32)
        self._first = self._next = 0  # native sample that `_kept` begins with; where the next segment starts

    @property
    def received(self) -> int:
        """Native samples that have come so far."""
        return self._first + len(self._kept)

    def feed(self, sound: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The segments that these samples (n,) float32 complete: where each starts, at the form's rate, and (L,)."""
        self._kept = np.concatenate([self._kept, sound])
        while self._cutter.reach(self._next)[1] <= self.received:
            yield self._next, self._cut(self._next)
            self._next += self._form.hop
        # Kept is also what a last segment, which ends with the sound, may still need.
        earliest = self._cutter.resampled(self.received) - self._form.length
        needed = min(self._cutter.reach(max(0, min(self._next, earliest)))[0], self.received)
        self._kept, self._first = self._kept[max(0, needed - self._first) :].copy(), max(self._first, needed)

    def finish(self) -> Iterator[tuple[int, np.ndarray]]:
        """The segments that only the end of the sound completes."""
        for start in self._cutter.starts(self.received):
            if start >= self._next or start % self._form.hop:
                yield start, self._cut(start)

    def _cut(self, start: int) -> np.ndarray:
        first, last = self._cutter.reach(start)
        return self._cutter.cut(self._kept[first - self._first : last - self._first], start)
