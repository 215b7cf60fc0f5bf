"""Tables of one study's cells, as the README shows them: what was not run yet is in them too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from novanda import datasets, methods
from novanda.benchmark.cells import Cell
from novanda.benchmark.published import cifar10_auroc
from novanda.benchmark.runs import core_seconds
from novanda.benchmark.tables.everything import interval
from novanda.benchmark.tables.table import FAILED, MISSING, Table
from novanda.methods import NearestNeighbour

Results = Mapping[str, Mapping[str, Any]]


def paper_table(cells: Sequence[Cell], results: Results) -> Table:
    """NDA at the paper's settings by its three errors, the published figure, and the floors, a row per class."""
    header = (
        "normal class",
        "NDA, MSE",
        "NDA, L1",
        "NDA, Laplacian",
        "published",
        "PCA",
        "nearest neighbour",
        "OCSVM",
    )
    uncalibrated = [cell for cell in cells if not cell.calibration_fraction and cell.protocol == "one_vs_rest"]
    rows = []
    for nda in (cell for cell in uncalibrated if cell.method.name == "nda"):
        same = {
            c.method.name: c for c in uncalibrated if (c.data_set, c.normal_class) == (nda.data_set, nda.normal_class)
        }
        rows.append(
            (
                class_name(nda),
                *(_auroc(nda, results, score) for score in ("mse", "l1", "laplacian")),
                f"{cifar10_auroc('Ours', nda.normal_class):.3f}" if nda.data_set == "cifar10" else "no figure",
                *(_auroc(same.get(name), results) for name in ("pca", "nearest_neighbour", "ocsvm")),
            )
        )
    return Table.of_texts("paper", "NDA beside its floors", header, rows)


def rotnet_table(cells: Sequence[Cell], results: Results) -> Table:
    """RotNet by both scores beside its published figure."""
    rows = [
        (
            class_name(cell),
            str(cell.training.filled(cell.method.training).epochs),
            _auroc(cell, results, "logit"),
            _auroc(cell, results, "log_probability"),
            f"{cifar10_auroc('RotNet', cell.normal_class):.3f}",
            _seconds(cell, results),
        )
        for cell in cells
        if cell.method.name == "rotnet" and cell.data_set == "cifar10" and not cell.calibration_fraction
    ]
    header = ("normal class", "epochs", "summed logits", "summed log-probabilities", "published", "fit seconds")
    return Table.of_texts("rotnet", "RotNet by both scores", header, rows)


def floors_table(cells: Sequence[Cell], results: Results) -> Table:
    """PCA and nearest neighbour on all ten CIFAR-10 classes, with their means."""
    names = ("pca", "nearest_neighbour")
    found: dict[str, dict[str, Cell]] = {name: {} for name in names}
    for cell in cells:
        if cell.method.name in found and cell.data_set == "cifar10" and not cell.calibration_fraction:
            found[cell.method.name][cell.normal_class] = cell
    classes = datasets.get("cifar10").classes
    rows = []
    for name in names:
        done = [results[c.key] for c in found[name].values() if "auroc" in results.get(c.key, {})]
        values = [next(iter(line["auroc"].values())) for line in done]
        mean = f"{np.mean(values):.3f}" if len(values) == len(classes) else MISSING
        title = methods.get(name).title
        rows.append((title, *(_auroc(found[name].get(label), results) for label in classes), mean))
    return Table.of_texts("floors", "Two floors on CIFAR-10", ("method", *classes, "mean"), rows)


def coil_table(cells: Sequence[Cell], results: Results) -> Table:
    """Every method on one COIL-20 object, split by blocks of angles."""
    coil = [cell for cell in cells if cell.data_set == "coil20"]
    rows = [(cell.method.title, _auroc(cell, results), _seconds(cell, results)) for cell in coil]
    return Table.of_texts("coil", "COIL-20, one object", ("method", "AUROC", "fit seconds"), rows)


def false_alarm_table(cells: Sequence[Cell], results: Results) -> Table:
    """Unseen normals flagged at each asked rate, with exact 95 % intervals."""
    rows = []
    for cell in cells:
        if not cell.calibration_fraction:
            continue
        line = results.get(cell.key)
        measured = [] if line is None or "error" in line else list(line["false_alarms"].values())
        shown = [interval(rate) for rate in measured] or [MISSING] * 3
        rows.append((cell.method.title, *shown))
    return Table.of_texts(
        "false_alarms", "Unseen normals flagged", ("method", "asked 0.01", "asked 0.05", "asked 0.10"), rows
    )


def compared_table(cells: Sequence[Cell], results: Results) -> Table:
    """Every method on the same few classes: its AUROC, on how many it is above the pixels' nearest neighbour, cost."""
    columns = {(cell.data_set, cell.normal_class): class_name(cell) for cell in cells}
    floors = {
        (cell.data_set, cell.normal_class): results[cell.key]["auroc"][results[cell.key]["score"]]
        for cell in cells
        if cell.method.name == NearestNeighbour.name and "auroc" in results.get(cell.key, {})
    }
    rows = []
    for name in dict.fromkeys(cell.method.name for cell in cells):
        mine = {(cell.data_set, cell.normal_class): cell for cell in cells if cell.method.name == name}
        lines = {place: results[c.key] for place, c in mine.items() if "auroc" in results.get(c.key, {})}
        values = {place: line["auroc"][line["score"]] for place, line in lines.items()}
        epochs = [str(cell.training.filled(cell.method.training).epochs) for cell in mine.values() if cell.learns]
        thinned = all(cell.protocol.endswith("_thinned") for cell in mine.values())
        against = [values[place] > floors[place] for place in values if place in floors]
        rows.append(
            (
                methods.get(name).title + (", every 9th novelty" if thinned else ""),
                " or ".join(dict.fromkeys(epochs)),
                *(
                    f"{values[p]:.3f}" if p in values else FAILED if "error" in _line(mine[p], results) else MISSING
                    for p in columns
                ),
                f"{sum(against)} of {len(against)}" if against and name != NearestNeighbour.name else "",
                f"{max(_minutes(line) for line in lines.values()):.1f}" if lines else MISSING,
            )
        )
    header = ("method", "epochs", *columns.values(), "above the nearest neighbour", "core-minutes, at most")
    return Table.of_texts("compared", "Every method on the same classes", header, rows)


def class_name(cell: Cell) -> str:
    """How a table calls a cell's data: "CIFAR-10 airplane"."""
    return f"{datasets.get(cell.data_set).title} {cell.normal_class}"


def _auroc(cell: Cell | None, results: Results, score: str | None = None) -> str:
    if cell is None or cell.key not in results:
        return MISSING
    if "error" in results[cell.key]:
        return FAILED
    found: Mapping[str, float] = results[cell.key]["auroc"]
    return f"{found[score or next(iter(found))]:.3f}"


def _line(cell: Cell, results: Results) -> Mapping[str, Any]:
    return results.get(cell.key, {})


def _minutes(line: Mapping[str, Any]) -> float:
    """Of one core, to train and to score."""
    return sum(core_seconds(line, part)[0] for part in ("fit", "score")) / 60


def _seconds(cell: Cell, results: Results) -> str:
    return f"{results[cell.key]['fit_seconds']:.0f}" if "fit_seconds" in results.get(cell.key, {}) else MISSING


def norms_table(cells: Sequence[Cell], results: Results) -> Table:
    """What becomes of training when Eqs. 1 and 2 are sums or means: Eq. 1's mean over the values, epoch by epoch."""
    rows = []
    for cell in cells:
        method = methods.to_json(cell.method)
        settings = (class_name(cell), method["pyramid_weighting"], method["latent_reduction"])
        line = results.get(cell.key)
        if line is None or "error" in line:
            shown, why = (MISSING, "") if line is None else (FAILED, line["error"].partition(". Try")[0])
            rows.append((*settings, shown, shown, why))
            continue
        scale = float(np.prod(line["sizes"]["sample"])) if method["pyramid_weighting"] == "sum" else 1.0
        first, last = (line["history"][place]["laplacian"] / scale for place in (0, -1))
        rows.append((*settings, f"{first:.4f}", f"{last:.4f}", f"{len(line['history'])} epochs"))
    return Table.of_texts(
        "norms",
        "Sums and means in Eqs. 1 and 2",
        ("normal class", "Eq. 1", "Eq. 2", "Eq. 1, first epoch", "last epoch", "outcome"),
        rows,
    )
