"""Tables are made of result lines and published figures, and say plainly what was not run or failed."""

from __future__ import annotations

from typing import Any

import pytest

from novanda.benchmark import tables
from novanda.benchmark.cells import Cell
from novanda.benchmark.published import cifar10_auroc, table
from novanda.benchmark.studies import STUDIES
from novanda.methods import NDA, PCA, RotNet


def _cell(name: str, method: Any, **fields: Any) -> Cell:
    return Cell(data_set="cifar10", normal_class=name, protocol="one_vs_rest", method=method, **fields)


def _line(cell: Cell, **auroc: float) -> dict[str, Any]:
    return {"key": cell.key, "cell": cell.to_json(), "auroc": auroc, "fit_seconds": 12.4}


def _rows(made: str) -> list[list[str]]:
    return [[part.strip() for part in line.strip("|").split("|")] for line in made.splitlines()[2:]]


def test_published_figures_are_the_papers() -> None:
    assert cifar10_auroc("Ours", "airplane") == 0.985
    assert cifar10_auroc("RotNet", "automobile") == 0.945
    assert {len(table(f"table{i}_{name}")) for i, name in ((1, "mi_ablation"), (2, "ablation"))} == {8, 9}


def test_paper_table_sets_measured_beside_published_and_names_what_is_missing() -> None:
    nda, pca, other = _cell("airplane", NDA()), _cell("airplane", PCA()), _cell("automobile", NDA())
    results = {nda.key: _line(nda, mse=0.61, l1=0.62, laplacian=0.63), pca.key: _line(pca, mse=0.5)}
    first, second = _rows(tables.paper_table([nda, pca, other], results))
    assert first == ["CIFAR-10 airplane", "0.610", "0.620", "0.630", "0.985", "0.500", "not run", "not run"]
    assert second[1:5] == ["not run"] * 3 + ["0.765"]


def test_a_failed_cell_is_called_failed() -> None:
    cell = _cell("automobile", RotNet())
    (row,) = _rows(tables.rotnet_table([cell], {cell.key: {"key": cell.key, "error": "the loss is not finite"}}))
    assert row == ["CIFAR-10 automobile", "8", "failed", "failed", "0.945", "not run"]


def test_mean_over_classes_only_of_all_ten() -> None:
    cells = [cell for cell in STUDIES["core"]() if cell.method == PCA() and cell.data_set == "cifar10"]
    cells = [cell for cell in cells if not cell.calibration_fraction]
    results = {cell.key: _line(cell, mse=0.1 * place) for place, cell in enumerate(cells)}
    assert _rows(tables.floors_table(cells, results))[0][-1] == "0.450"
    results.popitem()
    assert _rows(tables.floors_table(cells, results))[0][-1] == "not run"


def test_false_alarms_come_with_their_interval() -> None:
    cell = _cell("automobile", PCA(), calibration_fraction=0.2)
    alarms = {rate: {"rate": 0.05, "low": 0.04, "high": 0.07} for rate in ("0.01", "0.05", "0.1")}
    (row,) = _rows(tables.false_alarm_table([cell], {cell.key: {**_line(cell), "false_alarms": alarms}}))
    assert row == [PCA.title] + ["0.050 [0.040, 0.070]"] * 3


@pytest.mark.parametrize("study", ["core", "norms"])
def test_every_table_can_be_made_of_nothing(study: str) -> None:
    cells = STUDIES[study]()
    made = (tables.paper_table, tables.rotnet_table, tables.floors_table, tables.coil_table, tables.false_alarm_table)
    for function in made if study == "core" else (tables.norms_table,):
        assert "not run" in function(cells, {})
