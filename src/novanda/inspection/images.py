"""A look at folders of images before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from novanda.errors import DataError
from novanda.inspection.words import Spread, copies_in_words, counts_in_words, cut, reason, summed
from novanda.sources.decoding import GRAY_MODES, decode_fully, pixel_digest
from novanda.sources.finding import PathLike, find_images
from novanda.sources.parallel import in_threads

FEW_IMAGES = 50


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found.

    Attributes:
        files, readable: how many image files there are, and how many of them can be decoded.
        layout, note: how the folder was understood (see `find_images`).
        formats, modes: how many readable files have each; modes are Pillow's (L gray, RGB, P palette ...).
        height, width: their spread over the readable images; None if there is none.
        common_sizes: the five most common (height, width, count).
        several_frames: files with more than one frame or page.
        broken: why each broken file can not be read.
        duplicates: groups of files whose decoded pixels are the same.
        against_files, against_broken: the same of the other folder, if one was given.
        leaks: (file of the other folder, file here) with the same decoded pixels.
        warnings: sentences for a person.
    """

    files: int
    readable: int
    layout: str
    note: str
    formats: dict[str, int]
    modes: dict[str, int]
    height: Spread | None
    width: Spread | None
    common_sizes: tuple[tuple[int, int, int], ...]
    several_frames: int
    broken: dict[str, str]
    duplicates: tuple[tuple[str, ...], ...]
    against_files: int
    against_broken: dict[str, str]
    leaks: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For the terminal: a fact a line, long lists cut short."""
        lines = [f"{self.files:,} image files, {self.readable:,} readable", self.note]
        if self.height and self.width:
            lines += [
                f"formats: {counts_in_words(self.formats)}; modes: {counts_in_words(self.modes)}",
                f"height {self.height}; width {self.width} pixels (least, median, greatest)",
                "common sizes: " + ", ".join(f"{h} x {w} ({count:,})" for h, w, count in self.common_sizes),
            ]
        if self.several_frames:
            lines.append(f"{self.several_frames:,} files have several frames or pages; the first is read")
        lines += cut("broken", [f"{path}: {why}" for path, why in self.broken.items()])
        lines += cut("same pixels", [" = ".join(group) for group in self.duplicates])
        if self.against_files:
            lines += cut("broken", [f"{path}: {why}" for path, why in self.against_broken.items()])
            lines += cut("leaks", [f"{other} = {here}" for other, here in self.leaks])
            if not self.leaks:
                lines.append(f"no leaks among {self.against_files:,} other files")
        return lines + [f"warning: {warning}" for warning in self.warnings]


@dataclass(frozen=True)
class _Look:
    """What is kept of an image."""

    format: str
    mode: str
    size: tuple[int, int]
    several_frames: bool
    digest: bytes


def inspect(
    paths: PathLike | Sequence[PathLike],
    against: PathLike | Sequence[PathLike] | None = None,
    *,
    workers: int | None = None,
    progress: bool = False,
) -> Inspection:
    """Decode every image that training on `paths` would read, and compare with `against`, images meant for testing.

    Memory holds one image a thread, and a few hundred bytes a file.

    Raises:
        DataError: a path is missing or holds no images. Broken images are told, not raised.
    """
    found = find_images(paths, purpose="fit")
    looks: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    places: dict[bytes, list[Path]] = {}
    broken: dict[str, str] = {}
    several_frames = 0
    for path, look in zip(found.files, _look_at(found.files, "Inspecting", workers, progress), strict=True):
        if isinstance(look, DataError):
            broken[str(path)] = reason(path, look)
            continue
        looks[look.format, look.mode] += 1
        sizes[look.size] += 1
        several_frames += look.several_frames
        places.setdefault(look.digest, []).append(path)
    against_files, against_broken, leaks = _compare(against, places, workers, progress)
    duplicates = tuple(tuple(map(str, group)) for group in places.values() if len(group) > 1)
    modes = summed((mode, count) for (_, mode), count in looks.items())
    return Inspection(
        files=len(found.files),
        readable=sum(looks.values()),
        layout=found.layout,
        note=found.note,
        formats=summed((format_, count) for (format_, _), count in looks.items()),
        modes=modes,
        height=_spread_of(sizes, 0),
        width=_spread_of(sizes, 1),
        common_sizes=tuple((*size, count) for size, count in sorted(sizes.items(), key=lambda it: (-it[1], it[0]))[:5]),
        several_frames=several_frames,
        broken=broken,
        duplicates=duplicates,
        against_files=against_files,
        against_broken=against_broken,
        leaks=leaks,
        warnings=tuple(_warnings(sizes, modes, len(broken), duplicates, leaks)),
    )


def _compare(
    against: PathLike | Sequence[PathLike] | None, places: dict[bytes, list[Path]], workers: int | None, progress: bool
) -> tuple[int, dict[str, str], tuple[tuple[str, str], ...]]:
    if against is None:
        return 0, {}, ()
    files = find_images(against, purpose="score").files
    broken: dict[str, str] = {}
    leaks = []
    for path, look in zip(files, _look_at(files, "Comparing", workers, progress), strict=True):
        if isinstance(look, DataError):
            broken[str(path)] = reason(path, look)
        elif look.digest in places:
            leaks.append((str(path), str(places[look.digest][0])))
    return len(files), broken, tuple(leaks)


def _look_at(files: Sequence[Path], title: str, workers: int | None, progress: bool) -> Iterable[_Look | DataError]:
    looks = in_threads(_look_at_one, files, workers)
    if not progress:
        return looks
    return track(looks, title, total=len(files), console=Console(stderr=True), transient=True)


def _look_at_one(path: Path) -> _Look | DataError:
    try:
        decoded = decode_fully(path)
    except DataError as error:
        return error
    height, width, _ = decoded.pixels.shape
    header = decoded.header
    return _Look(header.format, header.mode, (height, width), decoded.several_frames, pixel_digest(decoded.pixels))


def _warnings(
    sizes: Counter[tuple[int, int]],
    modes: dict[str, int],
    broken: int,
    duplicates: tuple[tuple[str, ...], ...],
    leaks: tuple[tuple[str, str], ...],
) -> list[str]:
    readable = sum(sizes.values())
    gray = sum(count for mode, count in modes.items() if mode in GRAY_MODES)
    warnings = []
    if readable < FEW_IMAGES:
        warnings.append(f"{readable} readable images are few; {FEW_IMAGES} or more are better")
    if broken:
        warnings.append(f"{broken:,} broken files would be skipped")
    if len(sizes) > 1:
        warnings.append(f"{len(sizes):,} sizes are mixed; all are squashed to one square size")
    if 0 < gray < readable:
        warnings.append(f"{gray:,} gray and {readable - gray:,} colour images are mixed; all are read as colour")
    return [*warnings, *copies_in_words("images", duplicates, leaks)]


def _spread_of(sizes: Counter[tuple[int, int]], side: int) -> Spread | None:
    return Spread.of(size[side] for size in sizes.elements())
