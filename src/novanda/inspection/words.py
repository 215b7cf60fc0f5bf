"""What inspections of images and of sounds share: spreads of numbers, counts and long lists in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from novanda.calibration import required

_SHOWN = 10
_HELD_OUT, _RATE = 0.2, 0.05  # what `fit` does unless told otherwise


@dataclass(frozen=True)
class Spread:
    """Least, middle and greatest of some numbers."""

    least: float
    median: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Of these values; None where there are none."""
        ordered = sorted(values)
        return cls(ordered[0], float(median(ordered)), ordered[-1]) if ordered else None

    def __str__(self) -> str:
        return f"{self.least:g}, {self.median:g}, {self.greatest:g}"


def summed(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Counts by name, the greatest first."""
    counts: Counter[str] = Counter()
    for name, count in pairs:
        counts[name] += count
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def counts_in_words(counts: dict[str, int]) -> str:
    """Each name with its count."""
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())


def cut(title: str, entries: list[str]) -> list[str]:
    """A line for each of the first entries, and one that counts the others."""
    shown = [f"{title}: {entry}" for entry in entries[:_SHOWN]]
    return shown + ([f"{title}: {len(entries) - _SHOWN:,} more"] if len(entries) > _SHOWN else [])


def few_in_words(what: str, count: int) -> list[str]:
    """A warning where there are too few recordings for what `fit` does unless told otherwise."""
    enough = math.ceil(required(_RATE) / _HELD_OUT)
    if count >= enough:
        return []
    held_out = f"of which {required(_RATE)} are held out"
    return [f"{count} readable {what} are few; a false-alarm rate of {_RATE:g} takes {enough}, {held_out}"]


def copies_in_words(
    what: str, duplicates: tuple[tuple[str, ...], ...], leaks: tuple[tuple[str, str], ...]
) -> list[str]:
    """Warnings of files that are there twice."""
    warnings = []
    if duplicates:
        doubled = sum(len(group) - 1 for group in duplicates)
        warnings.append(f"{doubled:,} {what} repeat another one; held-out normals are then not new to the detector")
    if leaks:
        warnings.append(f"{len(leaks):,} {what} to test with are also here; remove them from one side")
    return warnings
