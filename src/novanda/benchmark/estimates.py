"""How long cells will take, told from the result lines of earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from novanda.benchmark.cells import Cell

Line = Mapping[str, Any]


def seconds_of(cell: Cell, lines: Iterable[Line]) -> float | None:
    """Seconds this cell should take: the median of the most similar lines, training scaled by epochs; None: no idea.

    Most similar are lines of the same method with the same settings on the same data set by the same protocol, then
    those with the same settings on any data, then those of the same method at all.
    """
    specification = cell.to_json()
    same = [line for line in lines if "error" not in line and line["cell"]["method"]["name"] == cell.method.name]
    similar = [line for line in same if line["cell"]["method"] == specification["method"]]
    alike = [line for line in similar if all(line["cell"][k] == specification[k] for k in ("data_set", "protocol"))]
    epochs = specification["training"]["epochs"]
    for group in (alike, similar, same):
        if group:
            seconds: float = median(
                line["fit_seconds"] * (epochs / line["cell"]["training"]["epochs"] if cell.learns else 1)
                + line["score_seconds"]
                for line in group
            )
            return seconds
    return None


def estimate(cells: Sequence[Cell], lines: Sequence[Line], jobs: int = 1) -> str:
    """A sentence: hours for these cells, `jobs` at a time, and how many of them are of a kind that never ran."""
    found = [seconds_of(cell, lines) for cell in cells]
    known = [seconds for seconds in found if seconds is not None]
    unknown = len(found) - len(known)
    sentence = f"{len(cells)} to run, about {sum(known) / 3600 / jobs:.1f} hours {jobs} at a time, by earlier lines"
    return sentence + (f"; {unknown} of them are of a method that has no line yet" if unknown else "")
