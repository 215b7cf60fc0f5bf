"""AUROC against the cost of training, as a table."""

from __future__ import annotations

from made_up import run

from novanda import datasets
from novanda.benchmark.tables.frontier import frontier_table
from novanda.methods import PCA, NearestNeighbour, RotNet

CLASSES = datasets.get("cifar10").classes


def test_the_cheapest_stands_first_and_a_gpus_seconds_are_none() -> None:
    gpu = {"device": "cuda", "name": "abacus"}
    runs = [run(PCA(), name, 0.6, cpu_seconds={"fit": 90.0, "score": 1.0}) for name in CLASSES]
    runs += [run(NearestNeighbour(), name, 0.7, fit_seconds=30.0) for name in CLASSES]
    runs += [run(RotNet(), name, 0.9, machine=gpu, fit_seconds=6.0) for name in CLASSES]
    runs += [run(RotNet(), "frog", 0.8, seed=5, cpu_seconds={"fit": 600.0, "score": 1.0})]
    table = frontier_table(runs)
    found = [(row[0].text.split(",")[0], row[2].text, row[3].text) for row in table.rows]
    assert found == [
        ("Nearest neighbour", "at most 0.5", "0.700"),
        ("PCA reconstruction", "1.5", "0.600"),
        ("RotNet", "10", "0.900"),
    ]
    assert "on a GPU" in table.rows[2][1].text
    # Never timed on a CPU, it has no place.
    assert len(frontier_table(runs[:-1]).rows) == 2
