"""Tables are made of result lines and published figures, and say plainly what was not run or failed."""

from __future__ import annotations

from typing import Any

import pytest

from novanda.benchmark.cells import Cell
from novanda.benchmark.published import cifar10_auroc, table
from novanda.benchmark.studies import STUDIES
from novanda.benchmark.tables import study
from novanda.benchmark.tables.speed import pieces_table, speed_facts, speed_table
from novanda.benchmark.tables.table import Table
from novanda.methods import NDA, PCA, NearestNeighbour, RotNet


def _cell(name: str, method: Any, **fields: Any) -> Cell:
    return Cell(data_set="cifar10", normal_class=name, protocol="one_vs_rest", method=method, **fields)


def _line(cell: Cell, **auroc: float) -> dict[str, Any]:
    return {"key": cell.key, "cell": cell.to_json(), "auroc": auroc, "fit_seconds": 12.4}


def _rows(made: Table) -> list[list[str]]:
    return [[part.strip() for part in line.strip("|").split("|")] for line in made.to_markdown().splitlines()[2:]]


def test_published_figures_are_the_papers() -> None:
    assert cifar10_auroc("Ours", "airplane") == 0.985
    assert cifar10_auroc("RotNet", "automobile") == 0.945
    assert {len(table(f"table{i}_{name}")) for i, name in ((1, "mi_ablation"), (2, "ablation"))} == {8, 9}


def test_paper_table_sets_measured_beside_published_and_names_what_is_missing() -> None:
    nda, pca, other = _cell("airplane", NDA()), _cell("airplane", PCA()), _cell("automobile", NDA())
    results = {nda.key: _line(nda, mse=0.61, l1=0.62, laplacian=0.63), pca.key: _line(pca, mse=0.5)}
    first, second = _rows(study.paper_table([nda, pca, other], results))
    assert first == ["CIFAR-10 airplane", "0.610", "0.620", "0.630", "0.985", "0.500", "not run", "not run"]
    assert second[1:5] == ["not run"] * 3 + ["0.765"]


def test_a_failed_cell_is_called_failed() -> None:
    cell = _cell("automobile", RotNet())
    (row,) = _rows(study.rotnet_table([cell], {cell.key: {"key": cell.key, "error": "the loss is not finite"}}))
    assert row == ["CIFAR-10 automobile", "8", "failed", "failed", "0.945", "not run"]


def test_mean_over_classes_only_of_all_ten() -> None:
    cells = [cell for cell in STUDIES["core"]() if cell.method == PCA() and cell.data_set == "cifar10"]
    cells = [cell for cell in cells if not cell.calibration_fraction]
    results = {cell.key: _line(cell, mse=0.1 * place) for place, cell in enumerate(cells)}
    assert _rows(study.floors_table(cells, results))[0][-1] == "0.450"
    results.popitem()
    assert _rows(study.floors_table(cells, results))[0][-1] == "not run"


def test_false_alarms_come_with_their_interval() -> None:
    cell = _cell("automobile", PCA(), calibration_fraction=0.2)
    alarms = {rate: {"rate": 0.05, "low": 0.04, "high": 0.07} for rate in ("0.01", "0.05", "0.1")}
    (row,) = _rows(study.false_alarm_table([cell], {cell.key: {**_line(cell), "false_alarms": alarms}}))
    assert row == [PCA.title] + ["0.050 [0.040, 0.070]"] * 3


def test_every_method_is_set_against_the_nearest_neighbour_on_the_cells_that_both_have() -> None:
    there = ((PCA(), 0.7), (NearestNeighbour(), 0.6), (NDA(), 0.5), (RotNet(), None))
    cells = [_cell(name, method) for name in ("airplane", "automobile") for method, _ in there]
    results = {}
    for cell, (_, value) in zip(cells, there * 2, strict=True):
        if value is not None:
            line = {**_line(cell, other=0.9, headline=value), "score": "headline", "score_seconds": 6.0}
            results[cell.key] = {**line, "cpu_seconds": {"fit": 54.0, "score": None}}
    lost = next(cell for cell in cells if cell.method == NDA() and cell.normal_class == "automobile")
    results[lost.key] = {"key": lost.key, "error": "the loss is not finite"}
    untimed = next(cell for cell in cells if cell.method == NearestNeighbour())  # 12.4 s by the clock, and 6 to score
    results[untimed.key] |= {"cpu_seconds": {"fit": None, "score": None}, "machine": {"threads": 10}}
    pca, neighbour, nda, rotnet = _rows(study.compared_table(cells, results))
    assert pca == [PCA.title, "", "0.700", "0.700", "2 of 2", "1.0"]
    assert neighbour[2:] == ["0.600", "0.600", "", f"{184 / 60:.1f}"]
    assert nda == [NDA.title, "100", "0.500", "failed", "0 of 1", "1.0"]
    assert rotnet == [RotNet.title, "8", "not run", "not run", "", "not run"]


@pytest.mark.parametrize("name", ["core", "norms"])
def test_every_table_can_be_made_of_nothing(name: str) -> None:
    cells = STUDIES[name]()
    made = (study.paper_table, study.rotnet_table, study.floors_table, study.coil_table, study.false_alarm_table)
    for function in made if name == "core" else (study.norms_table,):
        assert "not run" in function(cells, {}).to_markdown()


def test_speed_tables_show_what_a_line_of_make_bench_holds() -> None:
    spread = {"median": 1234.4, "min": 1.0, "max": 2.0}
    line = {
        "date": "2026-01-02T03:04:05+00:00",
        "commit": "abc",
        "load_average": 0.24,
        "machine": {"processor": "a CPU", "threads": 2, "cores": 4},
        "convolution_tflops": {"bf16": {"peak": 0.5}, "32": {"peak": 0.25}},
        "training": {
            "nda": {"auto": {"images_per_second": spread, "share_of_peak": 0.6}, "32": {"images_per_second": spread}}
        },
        "memory_mib": {"nda": {"before": 300.0, "peak": 650.4}},
        "augmentation": {"images_per_second": {"novanda": spread, "kornia": spread}},
        "scoring": {name: {"images_per_second": spread, "latency_ms": {"median": 2.26}} for name in ("nda", "pca")},
        "bf16_score_differences": {"nda": {"mse": {"deviations": 0.01}, "l1": {"deviations": 0.12}}},
    }
    first, second = _rows(speed_table(line))
    assert first == [NDA.title, "1,234", "1,234", "60%", "650", "1,234", "2.3"]
    assert second == [PCA.title, "", "", "", "", "1,234", "2.3"]
    exported = {"nda": {"images_per_second": spread, "latency_ms": {"median": 1.234}}}
    first, second = _rows(speed_table({**line, "exported": exported}))
    assert first == [NDA.title, "1,234", "1,234", "60%", "650", "1,234", "2.3", "1,234", "1.23"]
    assert second == [PCA.title, "", "", "", "", "1,234", "2.3", "", ""]
    assert _rows(pieces_table({**line, "sizes": {"scored": 256}})) == []
    cost = {"multiply_adds": 2_600_000, "milliseconds": spread}
    found = {"turns": cost, "shape": {**cost, "normals": 9_000}}
    table = pieces_table({**line, "novanda_pieces": found, "sizes": {"scored": 256}})
    assert "2 threads, batches of 256 images; 2026-01-02, commit abc" in table.to_markdown(notes=True)
    assert _rows(table) == [
        ["the net that names turns", "shift, shape, parts, texture", "8", "", "21", "9875.20"],
        ["the comparison of shape", "shape", "2", "9,000", "5", "2468.80"],
    ]
    facts = speed_facts(line)
    assert "a CPU, 2 of 4 cores" in facts
    assert "load 0.2" in facts
    assert "bf16 0.50, 32 0.25" in facts
    assert f"{NDA.title} 0.12" in facts
