"""Measure how fast recordings are scored and how much memory that takes: `make bench`, or `python benchmarks/sound.py`.

Two WAV files of noise, the longer sixty times as long, are made here, and each is scored by a process of its own on a
single core, decoding, resampling and spectrograms included. Memory is flat if the longer takes no more. Rates are given
by the clock and by the processor's time, which company on that core does not lengthen. Adds one JSON line to a file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from rich.console import Console
from speed import machine, rounded

from novanda import methods
from novanda.benchmark.results import append_result
from novanda.benchmark.running import commit, peak_memory_mib, reset_peak_memory
from novanda.detector import Detector
from novanda.recordings import AudioForm

PACKAGES = ("novanda", "torch", "numpy", "soundfile", "soxr")
RATE = 44_100
LENGTHS, QUICK = (60, 3600), (4, 12)  # seconds; the second pair only shows that everything runs


def write_hiss(path: Path, seconds: int) -> None:
    """A 16-bit WAV file of noise, written a second at a time: a long one needs no memory here either."""
    generator = np.random.default_rng(seconds)
    with soundfile.SoundFile(path, "w", samplerate=RATE, channels=1, format="WAV", subtype="PCM_16") as file:
        for _ in range(seconds):
            file.write(generator.normal(0, 0.1, RATE).astype(np.float32))


def score_here(path: Path, recording: Path) -> dict[str, float]:
    """Score a recording; what that took."""
    detector = Detector.load(path)
    before = peak_memory_mib()
    reset_peak_memory()
    started, busy = time.perf_counter(), time.process_time()
    (timeline,) = detector.timelines([recording])
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - busy,
        "segments": len(timeline.novelty),
        "before_mib": before,
        "peak_mib": peak_memory_mib(),
    }


def measure(lengths: Sequence[int], folder: Path) -> dict[str, dict[str, Any]]:
    """Both recordings, by their length in seconds, each in a process of its own, one after the other."""
    if hasattr(os, "sched_setaffinity"):
        # Handed down: threads that a library starts on import would keep what they had before a process bound itself.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    write_hiss(folder / "normal.wav", 40)
    detector = Detector(methods.PCA(components=8), recording=AudioForm(), calibration_fraction=0.0)
    detector.fit(folder / "normal.wav").save(folder / "detector.novanda")
    found = {}
    for seconds in lengths:
        recording = folder / f"{seconds}.wav"
        write_hiss(recording, seconds)
        command = [sys.executable, __file__, "--score", str(folder / "detector.novanda"), str(recording)]
        run = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        found[str(seconds)] = {
            **{name: rounded(value) for name, value in run.items()},
            "times_real_time": rounded(seconds / run["seconds"]),
            "times_real_time_cpu": rounded(seconds / run["cpu_seconds"]),
        }
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description="Speed and memory of scoring sound on one core.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("sound.jsonl"), help="file to add to")
    parser.add_argument("--quick", action="store_true", help="only show that it runs; the figures mean nothing")
    parser.add_argument("--score", type=Path, nargs=2, help=argparse.SUPPRESS)  # how this file calls itself
    given = parser.parse_args(arguments)
    if given.score is not None:
        sys.stdout.write(json.dumps(score_here(*given.score)))
        return 0
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        recordings = measure(QUICK if given.quick else LENGTHS, Path(folder))
    line = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "quick": given.quick,
        "machine": machine(),
        "load_average": round(load, 2),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "sizes": {"rate": RATE, "form": AudioForm().to_json()},
        "method": methods.PCA.name,
        "recordings": recordings,
    }
    append_result(given.out, line)
    Console(width=140).print_json(data=recordings)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
