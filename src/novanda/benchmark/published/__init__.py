"""The paper's published figures, as data: Tables 1 to 6 of Chen et al., IJCAI 2021.

They are printed beside ours and never mixed with them. Slips in the print are noted, not mended: the row "Ours" of
Table 3 averages 0.838 where 0.843 is printed, "Neighbour" 0.595 where 0.613 is.
"""

from __future__ import annotations

import csv
from importlib.resources import files

_CLASSES = {"airplane": "plane", "automobile": "car"}


def table(name: str) -> list[dict[str, str]]:
    """A published table by its file's name, such as "table3_cifar10_auc": one dict a row."""
    text = (files(__name__) / f"{name}.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def cifar10_auroc(row: str, normal_class: str) -> float:
    """A cell of Table 3: the AUROC printed for a method's row and a class by its CIFAR-10 name."""
    found = next(line for line in table("table3_cifar10_auc") if line["method"] == row)
    return float(found[_CLASSES.get(normal_class, normal_class)])
