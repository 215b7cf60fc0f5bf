"""A cell: one method trained once on one class of one data set and tested by one protocol."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

from novanda import datasets, methods, metrics
from novanda.benchmark.protocols import PROTOCOLS, Split
from novanda.benchmark.results import append_result, read_results
from novanda.checkpoint import written_atomically
from novanda.detector import Detector
from novanda.errors import InputError, Interrupted, NovandaError
from novanda.method import Method
from novanda.training import Training, has_fast_bf16

RATES = (0.01, 0.05, 0.10)
"""False-alarm rates at which a calibrated cell reports how many test normals it flags."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The specification of one run; equal specifications are the same cell, whatever machine or version runs them.

    Attributes:
        data_set, normal_class: names as in `datasets`.
        protocol: a key of `protocols.PROTOCOLS`.
        method, training: what a `Detector` takes.
        seed: of the detector.
        image_size: side to which images are resized; None keeps their own.
        calibration_fraction: 0 trains on all normals, as the paper does; otherwise the false-alarm rates on test
            normals are measured too.
    """

    data_set: str
    normal_class: str
    protocol: str
    method: Method
    training: Training = field(default_factory=Training)
    seed: int = 0
    image_size: int | None = None
    calibration_fraction: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The specification alone; device and precision are left out, for they belong to the machine that runs it."""
        training = self.training.filled(self.method.training).to_json()
        return {
            "data_set": self.data_set,
            "normal_class": self.normal_class,
            "protocol": self.protocol,
            "method": methods.to_json(self.method),
            "training": {k: v for k, v in training.items() if k not in ("device", "precision")},
            "seed": self.seed,
            "image_size": self.image_size,
            "calibration_fraction": self.calibration_fraction,
        }

    @property
    def key(self) -> str:
        """Hash of the specification, 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        share = f" calibrated {self.calibration_fraction:g}" if self.calibration_fraction else ""
        return f"{self.data_set}:{self.normal_class} {self.method.name} seed {self.seed}{share} [{self.key}]"


@lru_cache(maxsize=1)
def _load(data_set: str, root: Path) -> datasets.Labelled:
    return datasets.get(data_set).load(root)


def run_cell(cell: Cell, out: Path, root: Path, *, progress: bool = False) -> dict[str, Any]:
    """Train and test one cell, resuming from its checkpoint; writes raw scores and returns the result line."""
    data_set = datasets.get(cell.data_set)
    labelled = _load(cell.data_set, root)
    split = PROTOCOLS[cell.protocol](labelled, data_set.label(cell.normal_class))
    _no_leak(split)
    detector = Detector(
        cell.method,
        cell.training,
        seed=cell.seed,
        image_size=cell.image_size,
        calibration_fraction=cell.calibration_fraction,
        false_alarm_rate=min(RATES),
    )
    started = time.perf_counter()
    detector.fit(split.train_images, checkpoint=_checkpoint(out, cell.key), resume=True, progress=progress)
    fit_seconds = time.perf_counter() - started
    started = time.perf_counter()
    scores = detector.novelty_scores(split.test_images)
    score_seconds = time.perf_counter() - started
    arrays = {name: _narrowest(values) for name, values in scores.items()}
    with written_atomically(out / "scores" / f"{cell.key}.npz") as file:
        np.savez_compressed(file, novel=split.novel, **arrays)  # type: ignore[arg-type]  # numpy's stub wants bool there
    headline = next(iter(scores))
    return {
        "key": cell.key,
        "cell": cell.to_json(),
        "score": headline,
        "auroc": {name: metrics.auroc(v[~split.novel], v[split.novel]) for name, v in scores.items()},
        "average_precision": metrics.average_precision(scores[headline][~split.novel], scores[headline][split.novel]),
        "fpr_at_95_tpr": metrics.fpr_at_tpr(scores[headline][~split.novel], scores[headline][split.novel]),
        "equal_error_rate": metrics.equal_error_rate(scores[headline][~split.novel], scores[headline][split.novel]),
        "false_alarms": _false_alarms(detector, scores[headline][~split.novel]),
        "sizes": {
            "train": detector.training_count_,
            "calibration": len(split.train_images) - detector.training_count_,
            "test_normal": int((~split.novel).sum()),
            "test_novel": int(split.novel.sum()),
            "sample": list(detector.spec_.shape),
            "parameters": sum(p.numel() for p in detector.model_.parameters()),
        },
        "history": [
            {"seconds": round(e.seconds, 2), **{k: round(v, 5) for k, v in e.terms.items()}} for e in detector.history_
        ],
        "fit_seconds": round(sum(e.seconds for e in detector.history_) or fit_seconds, 2),
        "score_seconds": round(score_seconds, 2),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "data": {"checksum": labelled.checksum, "provenance": labelled.provenance, "standins": labelled.standins},
        "machine": _machine(detector),
        "versions": {p: version(p) for p in ("novanda", "torch", "numpy", "scikit-learn", "lightning-fabric")},
        "commit": commit(),
        "finished": _now(),
    }


def _checkpoint(out: Path, key: str) -> Path:
    return out / "work" / f"{key}.checkpoint"


def _narrowest(values: np.ndarray) -> np.ndarray:
    """As float32 where nothing is lost: rounded scores could tie, and the AUROC recomputed from them would differ."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values) else values


def _no_leak(split: Split) -> None:
    """Refuse a cell whose test set holds one of its training images' very pixels among the novelties."""
    train, novel = (
        {hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in images}
        for images in (split.train_images, split.test_images[split.novel])
    )
    both = train & novel
    if both:
        raise InputError(f"{len(both)} training images are also test novelties: the labels or the split are wrong")


def _false_alarms(detector: Detector, normal: np.ndarray) -> dict[str, Any] | None:
    """Test normals flagged at each rate, with the exact 95 % interval; None for an uncalibrated cell."""
    if detector.calibration_ is None:
        return None
    found = {}
    for rate in RATES:
        flagged = int((normal > detector.calibration_.with_rate(rate).threshold).sum())
        low, high = metrics.rate_interval(flagged, len(normal))
        share = flagged / len(normal)
        found[str(rate)] = {"flagged": flagged, "of": len(normal), "rate": share, "low": low, "high": high}
    return found


def _machine(detector: Detector) -> dict[str, Any]:
    training = detector.training_
    mixed = training.precision == "bf16" or (training.precision == "auto" and has_fast_bf16(detector.device_))
    name = torch.cuda.get_device_name(detector.device_) if detector.device_.type == "cuda" else platform.machine()
    return {
        "device": str(detector.device_),
        "name": name,
        "precision": "bf16-mixed" if mixed else "32",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


@lru_cache(maxsize=1)
def commit() -> str | None:
    """The commit of the checkout this code runs from, with "+" if it was changed since; None outside one."""
    package = Path(__file__).resolve().parent.parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True, check=True).stdout

    try:
        changed = "+" if git("status", "--porcelain", "--", ".").strip() else ""
        return git("rev-parse", "--short=12", "HEAD").strip() + changed
    except (OSError, subprocess.CalledProcessError):
        return None


def run_cells(
    cells: Sequence[Cell], out: Path, root: Path, *, jobs: int = 1, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """Run the cells that `out`/results.jsonl does not hold yet, `jobs` at a time; returns the results of all, in order.

    Each job gets its share of the cores. Interrupted cells go on from their last epoch when this is called again.
    A cell that fails gets a line with its "error" in place of figures; the others go on; it is tried again next time.
    """
    if jobs < 1:
        raise InputError(f"jobs must be at least 1; got {jobs}")
    path = out / "results.jsonl"
    done = {key: line for key, line in read_results(path).items() if "error" not in line}
    waiting = list({cell.key: cell for cell in cells if cell.key not in done}.values())
    say(f"{len(cells)} cells, {sum(cell.key in done for cell in cells)} done before, {len(waiting)} to run")
    if waiting:
        with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=max(1, (os.cpu_count() or 1) // jobs)):
            runner = joblib.Parallel(return_as="generator_unordered", batch_size=1)
            for result in runner(joblib.delayed(_run_in_job)(cell, out, root) for cell in waiting):
                append_result(path, result)
                if "error" not in result:  # the epochs of a cell that failed while scoring are still good
                    _checkpoint(out, result["key"]).unlink(missing_ok=True)
                say(describe(result))
    done = read_results(path)
    return [done[cell.key] for cell in cells]


def _run_in_job(cell: Cell, out: Path, root: Path) -> dict[str, Any]:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    try:
        return run_cell(cell, out, root)
    except Interrupted:
        raise  # Ctrl-C is no fault of the cell's
    except Exception as error:  # whatever it is, it must not cost the other cells
        reason = str(error) if isinstance(error, NovandaError) else repr(error)
        return {"key": cell.key, "cell": cell.to_json(), "error": reason, "commit": commit(), "finished": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(result: Mapping[str, Any]) -> str:
    """One line for the terminal."""
    cell = result["cell"]
    if "error" in result:
        return f"{cell['data_set']}:{cell['normal_class']} {cell['method']['name']}: failed: {result['error']}"
    scores = ", ".join(f"{name} {value:.4f}" for name, value in result["auroc"].items())
    what = f"{cell['data_set']}:{cell['normal_class']} {cell['method']['name']}"
    return f"{what}: AUROC by {scores} ({result['fit_seconds']:.0f} s)"
