"""Made-up result lines, as `novanda bench` would write them, with arrays beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from novanda.benchmark.cells import Cell
from novanda.benchmark.results import append_result
from novanda.benchmark.runs import Run
from novanda.method import Method
from novanda.training import Training


def line(
    method: Method,
    normal_class: str = "frog",
    auroc: float | dict[str, float] = 0.5,
    *,
    data_set: str = "cifar10",
    protocol: str = "one_vs_rest",
    seed: int = 0,
    training: Training | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A result line; `more` replaces or adds fields of the line, and gives the cell what it keeps and holds out."""
    cell = Cell(
        data_set=data_set, normal_class=normal_class, protocol=protocol, method=method, seed=seed,
        training=training or Training(), calibration_fraction=more.pop("calibration_fraction", 0.0),
        keep=tuple(more.pop("keep", ())),
    )  # fmt: skip
    scores = {"mse": auroc} if isinstance(auroc, float) else auroc
    made = {
        "key": cell.key,
        "cell": cell.to_json(),
        "score": next(iter(scores)),
        "auroc": scores,
        "history": [],
        "fit_seconds": 2.5,
        "data": {"standins": 93 if data_set == "cifar10" else 0},
        "machine": {"device": "cpu", "name": "abacus"},
        "versions": {"novanda": "0.1.0"},
        "commit": "abc123",
        "finished": "2026-01-02T03:04:05+00:00",
    }
    found: dict[str, Any] = json.loads(json.dumps({**made, **more}))  # as it is read back, without tuples
    return found


def failed(method: Method, normal_class: str = "frog", error: str = "it broke", **named: Any) -> dict[str, Any]:
    """The line of a cell that failed."""
    made = line(method, normal_class, **named)
    return {name: made[name] for name in ("key", "cell", "commit", "finished")} | {"error": error}


def run(*given: Any, **named: Any) -> Run:
    """A run of `line`'s arguments that lies nowhere."""
    return Run(Path("nowhere"), line(*given, **named))


def write(folder: Path, *lines: dict[str, Any]) -> Path:
    """A results folder with these lines."""
    for each in lines:
        append_result(folder / "results.jsonl", each)
    return folder


def write_scores(folder: Path, made: dict[str, Any], normal: np.ndarray, novel: np.ndarray) -> None:
    """Raw scores of a line, whose AUROC becomes theirs."""
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    truth = np.arange(len(normal) + len(novel)) >= len(normal)
    scores = np.concatenate([normal, novel]).astype(np.float32)
    value = float(roc_auc_score(truth, scores))
    made["auroc"] = dict.fromkeys(made["auroc"], value)
    arrays = {"novel": truth, **dict.fromkeys(made["auroc"], scores)}
    np.savez(folder / "scores" / f"{made['key']}.npz", **arrays)  # type: ignore[arg-type]  # numpy's stub wants bool


def write_kept(folder: Path, made: dict[str, Any], *, expected: bool = True, half: int = 6) -> None:
    """A map of 60 samples and examples of 8 x 8 gray images."""
    random = np.random.default_rng(len(made["key"]))
    (folder / "kept").mkdir(parents=True, exist_ok=True)
    images = random.integers(0, 256, (2 * half, 8, 8, 1), dtype=np.uint8)
    arrays = {
        "embedding": random.normal(size=(60, 2)).astype(np.float32),
        "embedding_novel": np.arange(60) >= 30,
        "examples_images": images,
        "examples_novelty": np.sort(random.random(2 * half)),
        "examples_novel": np.arange(2 * half) % 3 == 0,
    }
    if expected:
        arrays |= {"examples_expected": images // 2, "examples_scale": np.array(64.0)}
    np.savez(folder / "kept" / f"{made['key']}.npz", **arrays)
