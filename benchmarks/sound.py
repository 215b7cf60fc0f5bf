"""Measure how fast recordings are scored and how much memory that takes: `make bench`, or `python benchmarks/sound.py`.

Two WAV files of noise, the longer sixty times as long, are made here, and each is scored by a process of its own on a
single core, decoding, resampling and spectrograms included. Memory is flat if the longer takes no more. Rates are given
by the clock and by the processor's time, which company on that core does not lengthen. Adds one JSON line to a file.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from recorded import rates, run, score_here, scored
from speed import rounded

from novanda import methods
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


def measure(quick: bool, folder: Path) -> dict[str, Any]:
    """Both recordings, by their length in seconds, one after the other."""
    write_hiss(folder / "normal.wav", 40)
    detector = Detector(methods.PCA(components=8), recording=AudioForm(), calibration_fraction=0.0)
    detector.fit(folder / "normal.wav").save(folder / "detector.novanda")
    recordings = {}
    for seconds in QUICK if quick else LENGTHS:
        recording = folder / f"{seconds}.wav"
        write_hiss(recording, seconds)
        found = scored(__file__, folder / "detector.novanda", recording)
        recordings[str(seconds)] = {name: rounded(value) for name, value in found.items()} | rates(seconds, found)
    return {"sizes": {"rate": RATE, "form": AudioForm().to_json()}, "recordings": recordings}


if __name__ == "__main__":
    raise SystemExit(run(None, __file__, PACKAGES, partial(score_here, unit="segments"), measure))
