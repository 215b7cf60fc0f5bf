"""Train and test one cell; gives its result line."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import subprocess
import time
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from novanda import metrics
from novanda.benchmark.cells import Cell
from novanda.benchmark.keeping import Curve, keep_pictures
from novanda.benchmark.tasks import ImageTask, task_of
from novanda.checkpoint import written_atomically
from novanda.detector import Detector
from novanda.training import has_fast_bf16

RATES = (0.01, 0.05, 0.10)
"""False-alarm rates at which a calibrated cell reports how many test normals it flags."""


def run_cell(cell: Cell, out: Path, root: Path, *, progress: bool = False) -> dict[str, Any]:
    """Train and test one cell, resuming from its checkpoint; writes raw scores and returns the result line."""
    task = task_of(cell, root)
    detector = Detector(
        cell.method,
        cell.training,
        seed=cell.seed,
        image_size=cell.image_size,
        recording=cell.recording,
        calibration_fraction=cell.calibration_fraction,
        false_alarm_rate=min(RATES),
        keep_examples=0,  # a cell keeps its scores, not its detector
    )
    reset_peak_memory()
    curve = Curve(cell, detector, task.split, out) if isinstance(task, ImageTask) and "curve" in cell.keep else None
    checkpoint = work_file(out, cell.key, "checkpoint")
    resumed = checkpoint.exists()
    started, busy = time.perf_counter(), time.process_time()
    for epoch in detector.fitting(task.train, checkpoint=checkpoint, resume=True, progress=progress):
        if curve is not None:
            curve.note(epoch)
    fit_seconds, fit_busy = time.perf_counter() - started, time.process_time() - busy
    started, busy = time.perf_counter(), time.process_time()
    judged = task.judged(detector)
    score_seconds, score_busy = time.perf_counter() - started, time.process_time() - busy
    scores, novel = judged.scores, judged.novel
    arrays = {name: _narrowest(values) for name, values in scores.items()} | dict(judged.arrays)
    with written_atomically(out / "scores" / f"{cell.key}.npz") as file:
        named: dict[str, Any] = {"novel": novel, **arrays}
        np.savez_compressed(file, **named)
    if isinstance(task, ImageTask):
        keep_pictures(cell, detector, task.split, scores, out)
    headline = next(iter(scores))
    sides = scores[headline][~novel], scores[headline][novel]
    return {
        "key": cell.key,
        "cell": cell.to_json(),
        "score": headline,
        "auroc": dict(judged.aurocs),
        "average_precision": metrics.average_precision(*sides),
        "fpr_at_95_tpr": metrics.fpr_at_tpr(*sides),
        "equal_error_rate": metrics.equal_error_rate(*sides),
        "false_alarms": _false_alarms(detector, sides[0]),
        "sizes": {
            "train": detector.training_count_,
            "calibration": len(task.train) - detector.training_count_,
            "test_normal": int((~novel).sum()),
            "test_novel": int(novel.sum()),
            **judged.sizes,
            "sample": list(detector.spec_.shape),
            "parameters": sum(p.numel() for p in detector.model_.parameters()),
        },
        "history": [
            {"seconds": round(e.seconds, 2), **{k: round(v, 5) for k, v in e.terms.items()}} for e in detector.history_
        ],
        **({} if curve is None else {"curve": curve.points}),
        "findings": detector.findings(),
        "fit_seconds": round(sum(e.seconds for e in detector.history_) or fit_seconds, 2),
        "score_seconds": round(score_seconds, 2),
        # Of all threads, so that company on the cores hardly counts; of a resumed cell the earlier part is not known.
        "cpu_seconds": {"fit": None if resumed else round(fit_busy, 2), "score": round(score_busy, 2)},
        "peak_memory_mib": peak_memory_mib(),
        "data": task.data,
        "machine": _machine(detector),
        "versions": {p: version(p) for p in ("novanda", "torch", "numpy", "scikit-learn", "lightning-fabric")},
        "commit": commit(),
        "finished": now(),
    }


def work_file(out: Path, key: str, ending: str) -> Path:
    """Where a cell keeps what it needs only until its line is written."""
    return out / "work" / f"{key}.{ending}"


def _narrowest(values: np.ndarray) -> np.ndarray:
    """As float32 where nothing is lost: rounded scores could tie, and the AUROC recomputed from them would differ."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values) else values


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
    """The commit of the checkout this code runs from, with "+" if it was changed since.

    Outside a checkout, as on a machine that was sent the bare files, what NOVANDA_COMMIT says; None without it.
    """
    package = Path(__file__).resolve().parent.parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True, check=True).stdout

    try:
        changed = "+" if git("status", "--porcelain", "--", ".").strip() else ""
        return git("rev-parse", "--short=12", "HEAD").strip() + changed
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("NOVANDA_COMMIT")


def now() -> str:
    """The time, for a result line."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def reset_peak_memory() -> None:
    """Begin to measure anew: a process that runs many cells would report the largest of them for all that follow."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mib() -> int:
    """The most memory held at once since `reset_peak_memory`, or, where the system can not tell, since the start."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
