"""The one pass over training images: which can be read, what they have in common, and their samples kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from novanda.errors import DataError
from novanda.samples import SampleSpec
from novanda.sources.decoding import Header, choose_side, conform, decode_fully, pixel_digest, read_header
from novanda.sources.finding import Purpose
from novanda.sources.parallel import in_threads


@dataclass
class Seen:
    """What the images have in common, gathered one by one."""

    count: int = 0
    all_gray: bool = True
    shape: tuple[int, int] | None = None
    one_shape: bool = True

    def add(self, header: Header) -> None:
        """Count one more image in."""
        shape = (header.height, header.width)
        self.shape = self.shape or shape
        self.one_shape = self.one_shape and shape == self.shape
        self.all_gray = self.all_gray and header.gray
        self.count += 1

    def choose(self, size: int | None, channels: int | None, sides: Sequence[int] | None = None) -> SampleSpec:
        """The samples to make of them, where None leaves the choice to the images."""
        if size is None:
            size = choose_side(self.shape if self.one_shape else None, sides)
        return SampleSpec("image", channels or (1 if self.all_gray else 3), size, size)

    def note(self, spec: SampleSpec) -> str:
        """A sentence about their sizes and what becomes of them."""
        target = f"{spec.height} x {spec.width}"
        if not self.one_shape or self.shape is None:
            return f"The images differ in size; each is squashed to {target}."
        if self.shape == (spec.height, spec.width):
            return f"All images are {target}."
        verb = "resized" if self.shape[0] * spec.width == self.shape[1] * spec.height else "squashed"
        return f"All images are {self.shape[0]} x {self.shape[1]}; each is {verb} to {target}."


@dataclass
class Scan:
    """One pass over the files: `rows` are the readable ones' places among all files."""

    cache: np.ndarray
    seen: Seen
    rows: list[int]
    broken: dict[Path, str]
    several_frames: int = 0
    first_digest: bytes | None = None
    all_identical: bool = True


def scan_files(
    files: Sequence[Path], spec: SampleSpec, strict: bool, cache_bytes: int, progress: bool, workers: int | None
) -> Scan:
    """Decode every file once, keeping the samples of the first so many as fit in `cache_bytes`."""
    scan = Scan(empty_cache(min(len(files), cache_bytes // _sample_bytes(spec)), spec), Seen(), [], {})

    def look(row: int) -> tuple[Header, bool, bytes] | DataError:
        try:
            decoded = decode_fully(files[row])
        except DataError as error:
            return error
        if row < len(scan.cache):
            scan.cache[row] = conform(decoded.pixels, spec)
        height, width, _ = decoded.pixels.shape  # the header's are those before EXIF turned the image
        header = replace(decoded.header, height=height, width=width)
        return header, decoded.several_frames, pixel_digest(decoded.pixels)

    results: Iterable[tuple[Header, bool, bytes] | DataError] = in_threads(look, range(len(files)), workers)
    if progress:
        console = Console(stderr=True)
        results = track(results, "Reading images", total=len(files), console=console, transient=True)
    for row, result in enumerate(results):
        if isinstance(result, DataError):
            if strict:
                raise DataError(
                    f"{result} (strict: stopped at the first broken file, after {len(scan.rows):,} readable of "
                    f"{len(files):,}; mend or remove it, or leave strict off to skip such files)"
                ) from result
            scan.broken[files[row]] = str(result).removeprefix(f"{files[row]}: ")
            continue
        header, several_frames, digest = result
        scan.seen.add(header)
        scan.rows.append(row)
        scan.several_frames += several_frames
        scan.first_digest = scan.first_digest or digest
        scan.all_identical = scan.all_identical and digest == scan.first_digest
    return scan


def spec_of_headers(
    files: Sequence[Path],
    size: int | None,
    channels: int | None,
    sides: Sequence[int] | None,
    workers: int | None,
) -> SampleSpec:
    """The spec that the headers suggest, so that the one decoding pass already makes samples of the right size."""
    seen = Seen()
    if size is None or channels is None:
        for header in in_threads(_or_none(read_header), files, workers):
            if header is not None:
                seen.add(header)
    return seen.choose(size, channels, sides)


def _or_none(function: Callable[[Path], Header]) -> Callable[[Path], Header | None]:
    def attempt(path: Path) -> Header | None:
        try:
            return function(path)
        except DataError:
            return None

    return attempt


def check_readable(scan: Scan, count: int, purpose: Purpose) -> None:
    """Raise DataError where no image is readable or, to fit, where there is nothing to learn from."""
    if not scan.rows:
        path, reason = next(iter(scan.broken.items()))
        raise DataError(f"expected readable images; none of the {count:,} files is one. The first, {path}: {reason}")
    if purpose != "fit":
        return
    if len(scan.rows) == 1:
        raise DataError(f"expected at least 2 readable images to fit; got 1 (of {count:,} files); give more")
    if scan.all_identical:
        raise DataError(
            f"expected images that differ; all {len(scan.rows):,} have the very same pixels, so there is nothing to "
            "learn from them; give others"
        )


def _sample_bytes(spec: SampleSpec) -> int:
    return spec.size * (1 if (spec.low, spec.high) == (0.0, 255.0) else 4)


def empty_cache(count: int, spec: SampleSpec) -> np.ndarray:
    """Room for so many samples of this spec, (count, C, H, W)."""
    return np.empty((count, *spec.shape), dtype=np.uint8 if _sample_bytes(spec) == spec.size else np.float32)
