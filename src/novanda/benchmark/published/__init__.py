"""The paper's published figures, as data: Tables 1 to 6 of Chen et al., IJCAI 2021.

They are printed beside ours and never mixed with them. Slips in the print are noted, not mended: see `slips`.
`systems.csv` says which method of ours is which row of Tables 3 to 5, and what is known of how a row came about;
`face_systems.csv` says the same of Table 6.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

CIFAR10_COLUMNS = {"airplane": "plane", "automobile": "car"}
"""Columns of Table 3 that bear another name than the CIFAR-10 class."""

DCASE_SCENES = {"restaurant": "cafe/restaurant"}
"""Rows of Table 5 that bear another name than the scene of DCASE 2017."""

ROUNDING = 0.001
"""A printed mean may differ by this from the mean of printed entries: half a unit of the last digit on either side."""


@dataclass(frozen=True)
class System:
    """A row of Tables 3, 4 and 6, or a column of Table 5.

    Attributes:
        row: its name in print.
        method: the name of novanda's method for it, or of its supervised system; None where there is none.
        score: which of the method's scores the row is of, for methods that stand in several rows; None: the headline.
        remark: what one should know of the published row; may be empty.
    """

    row: str
    method: str | None
    score: str | None
    remark: str


def table(name: str) -> list[dict[str, str]]:
    """A published table by its file's name, such as "table3_cifar10_auc": one dict a row."""
    text = (files(__name__) / f"{name}.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def system(row: str) -> System:
    """What is known of a row of Tables 3 and 4, or of a column of Table 5."""
    return _system("systems", row)


def face_system(row: str) -> System:
    """What is known of a row of Table 6."""
    return _system("face_systems", row)


def _system(file: str, row: str) -> System:
    found = next(line for line in table(file) if line["row"] == row)
    return System(row, found["method"] or None, found["score"] or None, found["remark"])


def cifar10_auroc(row: str, normal_class: str) -> float:
    """A cell of Table 3: the AUROC printed for a method's row and a class by its CIFAR-10 name."""
    found = next(line for line in table("table3_cifar10_auc") if line["method"] == row)
    return float(found[CIFAR10_COLUMNS.get(normal_class, normal_class)])


def slips() -> list[tuple[str, float, float]]:
    """(row, mean of its ten figures, mean in print) of Table 3 where rounding can not explain the difference."""
    found = []
    for line in table("table3_cifar10_auc"):
        figures = [float(value) for name, value in line.items() if name not in ("method", "year", "mean")]
        mean, printed = sum(figures) / len(figures), float(line["mean"])
        if abs(mean - printed) > ROUNDING + 1e-9:
            found.append((line["method"], mean, printed))
    return found
