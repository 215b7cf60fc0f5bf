"""What measuring sound and video has in common: each recording is scored by a process of its own, on a single core."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from speed import machine, rounded

from novanda import methods
from novanda.benchmark.results import append_result
from novanda.benchmark.running import commit, peak_memory_mib, reset_peak_memory
from novanda.detector import Detector


def score_here(detector: Path, recording: Path, unit: str) -> dict[str, float]:
    """Score a recording: seconds by the clock and of the processor, units, and peak memory before and after."""
    loaded = Detector.load(detector, device="cpu")
    reset_peak_memory()  # on Linux it would otherwise begin at what the parent held
    before, began, busy = peak_memory_mib(), time.perf_counter(), time.process_time()
    units = sum(len(timeline.novelty) for timeline in loaded.timelines([recording]))
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - busy,
        unit: units,
        "before_mib": before,
        "peak_mib": peak_memory_mib(),
    }


def scored(script: str, detector: Path, recording: Path) -> dict[str, float]:
    """`score_here` in a process of its own, by a script whose `main` is `run`."""
    if hasattr(os, "sched_setaffinity"):
        # Handed down: threads that a library starts on import would keep what they had before a process bound itself.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    command = [sys.executable, script, "--score", str(detector), str(recording)]
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def rates(length: int, found: Mapping[str, float]) -> dict[str, float]:
    """How many times faster than a recording of this length in seconds goes by."""
    return {
        "times_real_time": rounded(length / found["seconds"]),
        "times_real_time_cpu": rounded(length / found["cpu_seconds"]),
    }


def run(
    arguments: Sequence[str] | None,
    script: str,
    packages: Sequence[str],
    score: Callable[[Path, Path], dict[str, float]],
    measure: Callable[[bool, Path], dict[str, Any]],
) -> int:
    """Measure, print, append a line.

    Args:
        score: what the script does when it calls itself for one recording: `score_here`, its libraries set up.
        measure: whether to be quick, and an empty folder, to what the line says of sizes and recordings.
    """
    subject = Path(script).stem
    parser = argparse.ArgumentParser(description=f"Speed and memory of scoring {subject} on one core.")
    parser.add_argument("--out", type=Path, default=Path(script).with_suffix(".jsonl"), help="file to add to")
    parser.add_argument("--quick", action="store_true", help="only show that it runs; the figures mean nothing")
    parser.add_argument("--score", type=Path, nargs=2, help=argparse.SUPPRESS)  # how the script calls itself
    given = parser.parse_args(arguments)
    if given.score is not None:
        sys.stdout.write(json.dumps(score(*given.score)))
        return 0
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.quick, Path(folder))
    line = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "quick": given.quick,
        "machine": machine(),
        "load_average": round(load, 2),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        "method": methods.PCA.name,
        **found,
    }
    append_result(given.out, line)
    Console(width=140).print_json(data=found)
    return 0
