"""Image files as a source: scanned once for training, read one by one for scoring."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from novanda.errors import DataError, InputError
from novanda.samples import SampleSpec
from novanda.sources.decoding import MAX_PIXELS, MIN_SIDE, check_spec_for_files, conform, decode, resize
from novanda.sources.finding import FoundFiles, PathLike, Purpose, as_paths, find_images
from novanda.sources.parallel import in_threads
from novanda.sources.scanning import check_readable, empty_cache, scan_files, spec_of_headers

__all__ = ["MAX_PIXELS", "MIN_SIDE", "FoundFiles", "ImageFiles", "decode", "find_images", "resize"]


class ImageFiles:
    """Image files as samples (C, H, W); made by `open` (for training) or `listed` (for scoring).

    Attributes:
        files: the readable files, in order.
        broken: why each file that was skipped can not be read (empty if `listed`: files are read when asked for).
        several_frames: how many files have more than one frame or page; the first is read.
        note: sentences for a person: which files were taken, and what was done to their size.
    """

    def __init__(
        self,
        files: Sequence[Path],
        spec: SampleSpec,
        *,
        note: str = "",
        broken: dict[Path, str] | None = None,
        several_frames: int = 0,
        cache: np.ndarray | None = None,
        cache_rows: np.ndarray | None = None,
        workers: int | None = None,
    ) -> None:
        self.files = tuple(files)
        self.broken = broken or {}
        self.several_frames = several_frames
        self.note = note
        self._spec = spec
        self._cache = empty_cache(0, spec) if cache is None else cache
        # Where in the cache each file's sample lies; beyond its end: nowhere.
        self._cache_rows = np.arange(len(self.files)) if cache_rows is None else cache_rows
        self._workers = workers

    @classmethod
    def open(
        cls,
        paths: PathLike | Sequence[PathLike],
        *,
        purpose: Purpose,
        size: int | None = None,
        sides: Sequence[int] | None = None,
        channels: int | None = None,
        spec: SampleSpec | None = None,
        strict: bool = False,
        cache_bytes: int = 1 << 30,
        progress: bool = False,
        workers: int | None = None,
    ) -> ImageFiles:
        """Decode every file once, set the broken ones aside and keep samples in memory up to `cache_bytes` in all.

        Args:
            paths: what `find_images` takes; `purpose` says how it reads a folder.
            size: side of the square samples, at least MIN_SIDE. None: chosen by `choose_side`.
            sides: those to choose from; None: any.
            channels: 1 or 3. None: 1 if every readable image is gray by its mode, else 3.
            spec: instead of size and channels, the samples to make.
            strict: raise at the first broken file instead of setting it aside.
            progress: draw a progress bar on standard error.

        Raises:
            InputError: an argument is out of range.
            DataError: no readable image; `strict` and a broken file; to fit, fewer than two or only identical images.
        """
        _check_choices(size, channels, spec)
        found = find_images(paths, purpose=purpose)
        guess = spec or spec_of_headers(found.files, size, channels, sides, workers)
        while True:
            scan = scan_files(found.files, guess, strict, cache_bytes, progress, workers)
            check_readable(scan, len(found.files), purpose)
            chosen = spec or scan.seen.choose(size, channels, sides)
            if chosen == guess:
                break
            # Only where a broken file's header misled: what can be decoded decides.
            guess = chosen
            del scan  # two caches would take twice the memory allowed
        return cls(
            [found.files[row] for row in scan.rows],
            chosen,
            note=" ".join((found.note, scan.seen.note(chosen))),
            broken=scan.broken,
            several_frames=scan.several_frames,
            cache=scan.cache,
            cache_rows=np.array(scan.rows),
            workers=workers,
        )

    @classmethod
    def listed(
        cls, paths: PathLike | Sequence[PathLike], spec: SampleSpec, *, workers: int | None = None
    ) -> ImageFiles:
        """Files for scoring: nothing is scanned or kept, each file is read when asked for and made to fit `spec`.

        Folders are searched with purpose "score". A single file is taken as it is, so that one that is missing
        or broken is told by `read_each` and costs no other.

        Raises:
            InputError: image files can not become samples of this spec.
            DataError: a folder holds no image.
        """
        check_spec_for_files(spec)
        files: list[Path] = []
        notes: dict[str, None] = {}
        for path in as_paths(paths):
            if os.path.isdir(path):
                found = find_images(path, purpose="score")
                files.extend(found.files)
                notes[found.note] = None
            else:
                files.append(path)
        return cls(files, spec, note=" ".join(notes), workers=workers)

    @property
    def spec(self) -> SampleSpec:
        """What each sample looks like."""
        return self._spec

    @property
    def cached_bytes(self) -> int:
        """Memory that the samples kept take; at most `cache_bytes`."""
        return self._cache.nbytes

    def __len__(self) -> int:
        return len(self.files)

    def read(self, positions: Sequence[int]) -> np.ndarray:
        """Samples (n, C, H, W), uint8 (float32 if the spec's range is not 0 to 255); a copy, yours to change.

        Raises:
            DataError: naming the first file of these that can not be read.
        """
        rows = self._cache_rows[np.asarray(positions, dtype=np.int64)]
        cached = rows < len(self._cache)
        if cached.all():
            return self._cache[rows]
        samples = np.empty((len(rows), *self._spec.shape), dtype=self._cache.dtype)
        samples[cached] = self._cache[rows[cached]]
        missing = np.flatnonzero(~cached)
        for place, sample in zip(missing, self._decode([positions[int(place)] for place in missing]), strict=True):
            if isinstance(sample, DataError):
                raise sample
            samples[place] = sample
        return samples

    def read_each(self, positions: Sequence[int]) -> list[np.ndarray | DataError]:
        """As `read`, but a sample (C, H, W) or the error for each position: one broken file costs no other."""
        return list(self._decode(positions))

    def identifier(self, position: int) -> str:
        """The file's path as it was given."""
        return str(self.files[position])

    def _decode(self, positions: Sequence[int]) -> Iterator[np.ndarray | DataError]:
        return in_threads(self._decode_one, positions, self._workers)

    def _decode_one(self, position: int) -> np.ndarray | DataError:
        row = self._cache_rows[position]
        if row < len(self._cache):
            return np.array(self._cache[row])
        try:
            return conform(decode(self.files[position]), self._spec)
        except DataError as error:
            return error


def _check_choices(size: int | None, channels: int | None, spec: SampleSpec | None) -> None:
    if spec is not None:
        check_spec_for_files(spec)
        return
    if size is not None and size < MIN_SIDE:
        raise InputError(f"size must be at least {MIN_SIDE} pixels; got {size}")
    if channels not in (None, 1, 3):
        raise InputError(f"channels must be 1 (gray), 3 (RGB) or None (by the images); got {channels}")
