"""How long cells will take, told from the result lines of earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from novanda.benchmark.cells import Cell

Line = Mapping[str, Any]


def seconds_of(cell: Cell, lines: Iterable[Line]) -> float | None:
    """Seconds this cell should take: the median of the most similar lines; None: no idea.

    Most similar are lines of the same method with the same settings on the same data set by the same protocol, then
    those with the same settings on any data, then those of the same method at all. Training is scaled by epochs and by
    the number of images trained on, scoring by that of images tested on, as far as any line tells those of this cell.
    """
    specification = cell.to_json()
    finished = [line for line in lines if "error" not in line]
    here = [line for line in finished if _on_the_same_images(line, specification)]
    same = [line for line in finished if line["cell"]["method"]["name"] == cell.method.name]
    similar = [line for line in same if line["cell"]["method"] == specification["method"]]
    alike = [line for line in similar if _on_the_same_images(line, specification)]
    for group in (alike, similar, same):
        if group:
            seconds: float = median(
                line["fit_seconds"] * _epochs(cell, line) * _ratio(here, line, _trained)
                + line["score_seconds"] * _ratio(here, line, _tested)
                for line in group
            )
            return seconds
    return None


def _on_the_same_images(line: Line, specification: Mapping[str, Any]) -> bool:
    return all(line["cell"][name] == specification[name] for name in ("data_set", "protocol"))


def _epochs(cell: Cell, line: Line) -> float:
    asked, were = cell.to_json()["training"]["epochs"], line["cell"]["training"]["epochs"]
    return float(asked / were) if cell.learns else 1.0


def _trained(line: Line) -> int:
    return int(line["sizes"]["train"])


def _tested(line: Line) -> int:
    return int(line["sizes"]["test_normal"] + line["sizes"]["test_novel"])


def _ratio(here: Sequence[Line], line: Line, size: Any) -> float:
    """How many images the cell has for each of the line's; 1 where no line has the cell's data set and protocol."""
    return float(median(size(each) for each in here) / size(line)) if here else 1.0


def estimate(cells: Sequence[Cell], lines: Sequence[Line], jobs: int = 1) -> str:
    """A sentence: hours for these cells, `jobs` at a time, and how many of them are of a kind that never ran."""
    found = [seconds_of(cell, lines) for cell in cells]
    known = [seconds for seconds in found if seconds is not None]
    unknown = len(found) - len(known)
    said = [f"{len(cells)} to run"]
    if known:
        said.append(f"about {sum(known) / 3600 / jobs:.1f} hours {jobs} at a time for {len(known)}, by earlier lines")
    if unknown:
        said.append(f"{unknown} of a method that has no line yet")
    return "; ".join(said)
