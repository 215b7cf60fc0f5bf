"""Measure how fast clips are scored and how much memory that takes: `make bench`, or `python benchmarks/video.py`.

Two clips of one scene, the longer ten times as long, are made here, 640 x 360 at 25 frames a second, and each is scored
by a process of its own that is held to a single core, decoding included. Memory is flat if the longer clip takes no
more. Rates are given by the clock and by the processor's time, which company on that core does not lengthen. Adds one
JSON line to a file.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recorded import rates, run, score_here, scored
from speed import rounded

from novanda import methods
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


def score_clip(detector: Path, clip: Path) -> dict[str, float]:
    """Score a clip; these libraries take as many threads as the machine has cores, whatever they may use."""
    torch.set_num_threads(1)
    opencv_package().setNumThreads(1)
    return score_here(detector, clip, unit="pairs")


def measure(quick: bool, folder: Path) -> dict[str, Any]:
    """Both clips, by their length in seconds: medians over the repetitions; memory is the greatest."""
    sizes = QUICK if quick else Sizes()
    clips = {seconds: folder / f"{seconds}.mp4" for seconds in (sizes.short_seconds, 10 * sizes.short_seconds)}
    for seconds, clip in clips.items():
        write_clip(clip, seconds)
    detector = Detector(methods.PCA(), calibration_fraction=0.0, recording=VideoForm())
    detector.fit(str(clips[sizes.short_seconds])).save(folder / "detector.novanda")
    measured = {}
    for seconds, clip in clips.items():
        times = sizes.repetitions if seconds == sizes.short_seconds else 1
        runs = [scored(__file__, folder / "detector.novanda", clip) for _ in range(times)]
        middle = {name: statistics.median(each[name] for each in runs) for name in ("seconds", "cpu_seconds")}
        measured[str(seconds)] = {
            "repetitions": times,
            "pairs": int(runs[0]["pairs"]),
            **{name: rounded(value) for name, value in middle.items()},
            **rates(seconds, middle),
            **{name: max(each[name] for each in runs) for name in ("before_mib", "peak_mib")},
        }
    form = VideoForm().to_json()
    return {"sizes": {"width": WIDTH, "height": HEIGHT, "rate": RATE, "form": form, **asdict(sizes)}, "clips": measured}


if __name__ == "__main__":
    raise SystemExit(run(None, __file__, PACKAGES, score_clip, measure))
