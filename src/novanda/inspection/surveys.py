"""Looking at every file of a folder, whatever it holds: which are broken, which are there twice, which leak."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from rich.console import Console
from rich.progress import track

from novanda.errors import DataError
from novanda.inspection.words import copies_in_words, cut
from novanda.sources.finding import FoundFiles
from novanda.sources.parallel import in_threads


class Look(Protocol):
    """What is kept of a file: at least what tells whether two hold the same."""

    @property
    def digest(self) -> bytes:
        """Alike for two files that hold the same."""
        ...


Kept = TypeVar("Kept", bound=Look)


@dataclass(frozen=True)
class Survey(Generic[Kept]):
    """What was seen in files, and in others that they are compared with.

    Attributes:
        looks: what is kept of each readable file.
        broken: why each other one can not be read.
        duplicates: groups of files that hold the same.
        against_files, against_broken: how many files they were compared with, and why some of those can not be read.
        leaks: (file of those, file here) that hold the same.
    """

    looks: dict[str, Kept]
    broken: dict[str, str]
    duplicates: tuple[tuple[str, ...], ...]
    against_files: int
    against_broken: dict[str, str]
    leaks: tuple[tuple[str, str], ...]


def survey(
    look_at: Callable[[Path], Kept | DataError],
    files: Sequence[Path],
    others: Sequence[Path],
    workers: int | None,
    progress: bool,
) -> Survey[Kept]:
    """Look at `files`, then at `others`, in threads; memory holds what is kept of each file."""
    looks, broken = _looks(look_at, files, "Inspecting", workers, progress)
    places: dict[bytes, list[str]] = {}
    for path, look in looks.items():
        places.setdefault(look.digest, []).append(path)
    theirs, against_broken = _looks(look_at, others, "Comparing", workers, progress)
    leaks = tuple((path, places[look.digest][0]) for path, look in theirs.items() if look.digest in places)
    duplicates = tuple(tuple(group) for group in places.values() if len(group) > 1)
    return Survey(looks, broken, duplicates, len(others), against_broken, leaks)


def _looks(
    look_at: Callable[[Path], Kept | DataError], files: Sequence[Path], title: str, workers: int | None, progress: bool
) -> tuple[dict[str, Kept], dict[str, str]]:
    seen = in_threads(look_at, files, workers)
    shown = track(seen, title, total=len(files), console=Console(stderr=True), transient=True) if progress else seen
    looks: dict[str, Kept] = {}
    broken: dict[str, str] = {}
    for path, look in zip(files, shown, strict=True):
        if isinstance(look, DataError):
            broken[str(path)] = str(look).removeprefix(f"{path}: ")
        else:
            looks[str(path)] = look
    return looks, broken


@dataclass(frozen=True, kw_only=True)
class Inspected(ABC):
    """What every inspection finds, whatever the files hold.

    Attributes:
        files, readable: how many files of that kind there are, and how many of them can be decoded.
        layout, note: how the folder was understood (see `find_images`, `find_sounds`, `find_videos`).
        broken: why each broken file can not be read.
        duplicates: groups of files that hold the same.
        against_files, against_broken: how many files they were compared with, and why some of those can not be read.
        leaks: (file of those, file here) that hold the same.
        warnings: sentences for a person.
    """

    same: ClassVar[str]
    """What two copies have in common, such as "same pixels"."""
    called: ClassVar[str]
    """What the files are called, such as "clips"."""

    files: int
    readable: int
    layout: str
    note: str
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
        counted, *facts = self.facts()
        lines = [counted, self.note, *facts]
        lines += cut("broken", [f"{path}: {why}" for path, why in self.broken.items()])
        lines += cut(self.same, [" = ".join(group) for group in self.duplicates])
        if self.against_files:
            lines += cut("broken", [f"{path}: {why}" for path, why in self.against_broken.items()])
            lines += cut("leaks", [f"{other} = {here}" for other, here in self.leaks])
            if not self.leaks:
                lines.append(f"no leaks among {self.against_files:,} other {self.called}")
        return lines + [f"warning: {warning}" for warning in self.warnings]

    @abstractmethod
    def facts(self) -> list[str]:
        """How many there are, then what is special to this kind of file, a line each."""


def common(found: FoundFiles, seen: Survey[Kept], kind: str, warnings: Iterable[str]) -> dict[str, Any]:
    """The fields of `Inspected`, of a folder and what was seen in it; `kind` is what they are called, as "sounds"."""
    return {
        "files": len(found.files),
        "readable": len(seen.looks),
        "layout": found.layout,
        "note": found.note,
        "broken": seen.broken,
        "duplicates": seen.duplicates,
        "against_files": seen.against_files,
        "against_broken": seen.against_broken,
        "leaks": seen.leaks,
        "warnings": (*warnings, *copies_in_words(kind, seen.duplicates, seen.leaks)),
    }
