"""Clips are watched: decoded once, frame by frame, and their flows kept in a temporary file."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from rich.console import Console
from rich.progress import track

from novanda.errors import DataError
from novanda.recordings import VideoForm
from novanda.sources.clips import Clip
from novanda.sources.flow_cache import FlowCache, pair_type
from novanda.sources.motion import Pairing

_BATCH = 64  # pairs written at a time


@dataclass(frozen=True)
class Footage:
    """A clip that was decoded.

    Attributes:
        path, seconds: which, and when the last frame that could be decoded is shown; from the cache, when that of the
            last pair is.
        pairs: how many flows it has.
        error: why it, or what follows its last pair, can not be read; None where it was read whole.
    """

    path: Path
    seconds: float
    pairs: int
    error: DataError | None = None

    def __len__(self) -> int:
        """Positions it takes: its pairs, and one for its error."""
        return self.pairs + (self.error is not None)


class FlowStore:
    """Rows appended to a temporary file, and mapped from it: memory holds none. Use it in a `with` block."""

    def __init__(self, form: VideoForm) -> None:
        self.type = pair_type(form)
        self._file = tempfile.TemporaryFile(prefix="novanda-flow-")  # noqa: SIM115  # closed by __exit__
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # what is mapped stays

    def append(self, rows: np.ndarray) -> None:
        """Write more rows."""
        self._file.write(rows.tobytes())
        self._rows += len(rows)

    def drop(self, rows: int) -> None:
        """Forget the last rows."""
        self._rows -= rows
        self._file.seek(self._rows * self.type.itemsize)
        self._file.truncate()

    def last(self, rows: int | None = None) -> np.ndarray:
        """So many rows appended last, or all of them, (n,), mapped."""
        rows = self._rows if rows is None else rows
        if not rows:
            return np.empty(0, self.type)  # nothing can not be mapped
        self._file.flush()
        return np.memmap(self._file, self.type, "r", (self._rows - rows) * self.type.itemsize, (rows,))


def let_go(rows: np.ndarray) -> None:
    """Give the memory of mapped rows back: what was read is on disk, and comes from there when it is read again.

    Without it every row ever read would count as this process's own, and a long clip take more than a short one.
    """
    mapping: object = rows.base
    if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def watched(
    files: Sequence[Path], form: VideoForm, store: FlowStore, cache: Path | None, progress: bool
) -> Iterator[Footage]:
    """Each clip, decoded into the store; what was decoded before an error is in it too."""
    shown: Iterable[Path] = files
    if progress:
        shown = track(files, "Reading videos", console=Console(stderr=True), transient=True)
    flows = None if cache is None else FlowCache(cache, form)
    for path in shown:
        kept = None if flows is None else flows.kept(path)
        if kept is not None:
            store.append(kept)
            yield Footage(path, float(kept["end"][-1]), len(kept))
            continue
        clip = _watch(path, form, store)
        if flows is not None and clip.error is None:
            flows.keep(path, store.last(clip.pairs))
        yield clip


def _watch(path: Path, form: VideoForm, store: FlowStore) -> Footage:
    """Decode one clip into the store."""
    pairing, count, error = Pairing(form), 0, None
    rows = np.empty(_BATCH, store.type)
    seconds = 0.0
    try:
        with Clip(path, form.frame_rate) as clip:
            try:
                for moment, pixels in clip.frames():
                    seconds = moment
                    for pair in pairing.feed(moment, pixels):
                        rows[count % _BATCH] = pair.start, pair.end, pair.flow
                        count += 1
                        if count % _BATCH == 0:
                            store.append(rows)
            finally:
                store.append(rows[: count % _BATCH])
    except DataError as reason:
        error = reason
    return Footage(path, seconds, count, error or (None if count else _nothing(path, seconds, form)))


def _nothing(path: Path, seconds: float, form: VideoForm) -> DataError:
    if seconds < form.interval:
        return DataError(f"{path}: expected frames {form.interval:g} s apart; got a clip of {seconds:.3g} s")
    return DataError(
        f"{path}: expected frames about {form.interval:g} s apart; they lie more than three times as far; fit with a "
        "longer interval"
    )
