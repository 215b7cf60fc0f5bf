"""Looking at every file of a folder, whatever it holds: which are broken, which are there twice, which leak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from rich.console import Console
from rich.progress import track

from novanda.errors import DataError
from novanda.inspection.words import cut
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


class Compared(Protocol):
    """Those fields of an inspection that every kind of file has."""

    @property
    def broken(self) -> dict[str, str]:
        """Why each broken file can not be read."""
        ...

    @property
    def duplicates(self) -> tuple[tuple[str, ...], ...]:
        """Groups of files that hold the same."""
        ...

    @property
    def against_files(self) -> int:
        """How many files they were compared with."""
        ...

    @property
    def against_broken(self) -> dict[str, str]:
        """Why some of those can not be read."""
        ...

    @property
    def leaks(self) -> tuple[tuple[str, str], ...]:
        """(file of those, file here) that hold the same."""
        ...


def comparison_lines(found: Compared, same: str, what: str) -> list[str]:
    """For the terminal: what is broken, what is there twice, what leaks.

    Args:
        same: what two copies have in common, such as "same pixels".
        what: the files are called, such as "clips".
    """
    lines = cut("broken", [f"{path}: {why}" for path, why in found.broken.items()])
    lines += cut(same, [" = ".join(group) for group in found.duplicates])
    if found.against_files:
        lines += cut("broken", [f"{path}: {why}" for path, why in found.against_broken.items()])
        lines += cut("leaks", [f"{other} = {here}" for other, here in found.leaks])
        if not found.leaks:
            lines.append(f"no leaks among {found.against_files:,} other {what}")
    return lines
