"""A look at folders of images before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from novanda.errors import DataError
from novanda.inspection.surveys import Inspected, common, survey
from novanda.inspection.words import Spread, counts_in_words, summed
from novanda.sources.decoding import GRAY_MODES, decode_fully, pixel_digest
from novanda.sources.finding import PathLike, find_images

FEW_IMAGES = 50


@dataclass(frozen=True, kw_only=True)
class Inspection(Inspected):
    """What `inspect` found: beside what every inspection does (`Inspected`), of images.

    Attributes:
        formats, modes: how many readable files have each; modes are Pillow's (L gray, RGB, P palette ...).
        height, width: their spread over the readable images; None if there is none.
        common_sizes: the five most common (height, width, count).
        several_frames: files with more than one frame or page.
    """

    same: ClassVar[str] = "same pixels"
    called: ClassVar[str] = "files"

    formats: dict[str, int]
    modes: dict[str, int]
    height: Spread | None
    width: Spread | None
    common_sizes: tuple[tuple[int, int, int], ...]
    several_frames: int

    def facts(self) -> list[str]:
        """Their number, formats, modes and sizes."""
        lines = [f"{self.files:,} image files, {self.readable:,} readable"]
        if self.height and self.width:
            lines += [
                f"formats: {counts_in_words(self.formats)}; modes: {counts_in_words(self.modes)}",
                f"height {self.height}; width {self.width} pixels (least, median, greatest)",
                "common sizes: " + ", ".join(f"{h} x {w} ({count:,})" for h, w, count in self.common_sizes),
            ]
        if self.several_frames:
            lines.append(f"{self.several_frames:,} files have several frames or pages; the first is read")
        return lines


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
    others = () if against is None else find_images(against, purpose="score").files
    seen = survey(_look_at_one, found.files, others, workers, progress)
    sizes = Counter(look.size for look in seen.looks.values())
    modes = summed((look.mode, 1) for look in seen.looks.values())
    return Inspection(
        **common(found, seen, "images", _warnings(sizes, modes, len(seen.broken))),
        formats=summed((look.format, 1) for look in seen.looks.values()),
        modes=modes,
        height=_spread_of(sizes, 0),
        width=_spread_of(sizes, 1),
        common_sizes=tuple((*size, count) for size, count in sorted(sizes.items(), key=lambda it: (-it[1], it[0]))[:5]),
        several_frames=sum(look.several_frames for look in seen.looks.values()),
    )


def _look_at_one(path: Path) -> _Look | DataError:
    try:
        decoded = decode_fully(path)
    except DataError as error:
        return error
    height, width, _ = decoded.pixels.shape
    header = decoded.header
    return _Look(header.format, header.mode, (height, width), decoded.several_frames, pixel_digest(decoded.pixels))


def _warnings(sizes: Counter[tuple[int, int]], modes: dict[str, int], broken: int) -> list[str]:
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
    return warnings


def _spread_of(sizes: Counter[tuple[int, int]], side: int) -> Spread | None:
    return Spread.of(size[side] for size in sizes.elements())
