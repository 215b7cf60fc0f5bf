"""Measure how fast clips are scored and how much memory that takes: `make bench`, or `python benchmarks/video.py`.

Two clips of one scene, the longer ten times as long, are made here, 640 x 360 at 25 frames a second, and each is scored
by a process of its own that is held to a single core, decoding included. Memory is flat if the longer clip takes no
more. Rates are given by the clock and by the processor's time, which company on that core does not lengthen. Adds one
JSON line to a file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from speed import machine, rounded

from novanda import methods
from novanda.benchmark.results import append_result
from novanda.benchmark.running import commit, peak_memory_mib, reset_peak_memory
from novanda.detector import Detector
from novanda.recordings import VideoForm
from novanda.sources.clips import opencv_package

PACKAGES = ("novanda", "torch", "numpy", "opencv-python-headless")
WIDTH, HEIGHT, RATE = 640, 360, 25


@dataclass(frozen=True)
class Sizes:
    """How much is measured; kept in the line."""

    short_seconds: int = 60
    """Length of the shorter clip; the longer one's is ten times that."""
    repetitions: int = 3
    """Of the shorter clip; the longer one is scored once, for it is many repetitions by itself."""


QUICK = Sizes(short_seconds=2, repetitions=1)
"""Only shows that everything runs: its figures mean nothing."""


def frames(count: int) -> Iterator[np.ndarray]:
    """A textured ground before which six textured squares move to the right, (H, W, 3) uint8 each."""
    library, generator = opencv_package(), np.random.default_rng(0)

    def texture(height: int, width: int) -> np.ndarray:
        noise = generator.normal(128, 180, (height, width, 3)).astype(np.float32)
        made: np.ndarray = np.clip(library.GaussianBlur(noise, (0, 0), 2), 0, 255).astype(np.uint8)
        return made

    ground, side = texture(HEIGHT, WIDTH), 100
    squares = [texture(side, side) for _ in range(6)]
    rows, begins = generator.integers(0, HEIGHT - side, 6), generator.integers(0, WIDTH, 6)
    for moment in range(count):
        frame = ground.copy()
        for square, row, begin in zip(squares, rows, begins, strict=True):
            left = (begin + 3 * moment) % (WIDTH - side)
            frame[row : row + side, left : left + side] = square
        yield frame


def write_clip(path: Path, seconds: int) -> None:
    """As MPEG-4 Part 2, which OpenCV's wheel can encode."""
    library = opencv_package()
    codec = library.VideoWriter.fourcc(*"mp4v")
    writer = library.VideoWriter(str(path), library.CAP_FFMPEG, codec, RATE, (WIDTH, HEIGHT))
    for frame in frames(seconds * RATE):
        writer.write(frame)
    writer.release()


def score_here(detector: Path, clip: Path) -> dict[str, float]:
    """Score a clip on one core: seconds by the clock and of the processor, pairs, and peak memory before and after."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    opencv_package().setNumThreads(1)
    loaded = Detector.load(detector, device="cpu")
    reset_peak_memory()  # on Linux it would otherwise begin at what the parent held
    before, began, busy = peak_memory_mib(), time.perf_counter(), time.process_time()
    pairs = sum(len(timeline.spans) for timeline in loaded.timelines(str(clip)))
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - busy,
        "pairs": pairs,
        "before_mib": before,
        "peak_mib": peak_memory_mib(),
    }


def scored(detector: Path, clip: Path) -> dict[str, float]:
    """`score_here` in a process of its own."""
    command = [sys.executable, __file__, "--score", str(detector), str(clip)]
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def measure(sizes: Sizes, folder: Path) -> dict[str, dict[str, Any]]:
    """Both clips, by their length in seconds: medians over the repetitions; memory is the greatest."""
    clips = {seconds: folder / f"{seconds}.mp4" for seconds in (sizes.short_seconds, 10 * sizes.short_seconds)}
    for seconds, clip in clips.items():
        write_clip(clip, seconds)
    detector = Detector(methods.PCA(), calibration_fraction=0.0, recording=VideoForm())
    detector.fit(str(clips[sizes.short_seconds])).save(folder / "detector.novanda")
    found = {}
    for seconds, clip in clips.items():
        times = sizes.repetitions if seconds == sizes.short_seconds else 1
        runs = [scored(folder / "detector.novanda", clip) for _ in range(times)]
        middle = {name: statistics.median(run[name] for run in runs) for name in ("seconds", "cpu_seconds")}
        found[str(seconds)] = {
            "repetitions": times,
            "pairs": int(runs[0]["pairs"]),
            **{name: rounded(value) for name, value in middle.items()},
            "times_real_time": rounded(seconds / middle["seconds"]),
            "times_real_time_cpu": rounded(seconds / middle["cpu_seconds"]),
            **{name: max(run[name] for run in runs) for name in ("before_mib", "peak_mib")},
        }
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description="Speed and memory of scoring video on one core.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("video.jsonl"), help="file to add to")
    parser.add_argument("--quick", action="store_true", help="only show that it runs; the figures mean nothing")
    parser.add_argument("--score", type=Path, nargs=2, help=argparse.SUPPRESS)  # how this file calls itself
    given = parser.parse_args(arguments)
    if given.score is not None:
        sys.stdout.write(json.dumps(score_here(*given.score)))
        return 0
    sizes, load = QUICK if given.quick else Sizes(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        clips = measure(sizes, Path(folder))
    line = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "quick": given.quick,
        "machine": machine(),
        "load_average": round(load, 2),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "sizes": {"width": WIDTH, "height": HEIGHT, "rate": RATE, "form": VideoForm().to_json(), **asdict(sizes)},
        "method": methods.PCA.name,
        "clips": clips,
    }
    append_result(given.out, line)
    Console(width=140).print_json(data=clips)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
