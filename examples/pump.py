"""A tour of sound in half a minute: learn how a pump hums, then listen to it on a day when it begins to knock.

The recordings are made here, so the tour needs no download. Everything is written to ./demo/pump: the sounds, the
detector, its scores, and a picture of them over time.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import soundfile

from novanda.cli import main as novanda

RATE, SECONDS = 16_000, 10
HERE = Path("demo/pump")


def pump(seed: int, knocks: tuple[float, ...] = ()) -> np.ndarray:
    """Ten seconds of a pump that never turns quite as fast as before, with knocks at these moments: (n,) float64."""
    generator = np.random.default_rng(seed)
    moments = np.arange(RATE * SECONDS) / RATE
    turning = 2 * np.pi * np.cumsum(118 + 4 * np.sin(moments + generator.uniform(0, 6))) / RATE
    sound = sum(0.08 / n * np.sin(n * turning) for n in range(1, 6)) + generator.normal(0, 0.02, len(moments))
    sound *= generator.uniform(0.8, 1.2)
    for at in knocks:
        after = moments - at
        sound += np.where(after > 0, 0.4 * np.exp(-30 * after.clip(0)) * np.sin(2 * np.pi * 900 * after), 0)
    return sound


def main() -> int:
    """Make the recordings, then give the commands that a person would give; returns the last one's exit code."""
    shutil.rmtree(HERE, ignore_errors=True)
    days = {f"ok/{number:02d}": () for number in range(100)} | {"today/morning": (), "today/noon": (7.2,)}
    for number, (name, knocks) in enumerate((days | {"today/evening": (1.3, 3.1, 5.0, 6.8, 8.7)}).items()):
        path = HERE / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, pump(number, knocks), RATE)
    today = [str(HERE / "today" / f"{part}.wav") for part in ("morning", "noon", "evening")]
    code = 0
    for words in (
        ["inspect", str(HERE / "ok"), "--kind", "audio"],
        ["fit", str(HERE / "ok"), "--kind", "audio", "--method", "pca",
         "--out", str(HERE / "pump.novanda")],
        ["score", str(HERE / "pump.novanda"), *today, "--out", str(HERE / "scores.csv"),
         "--timeline", str(HERE / "timeline.png")],
        ["figure5", today[0], today[2], "--out", str(HERE / "figure5.png")],
    ):  # fmt: skip
        sys.stdout.write(f"\n$ novanda {' '.join(words)}\n")
        code = code or novanda(words)
    sys.stdout.write(f"\nLook at {HERE / 'timeline.png'} and {HERE / 'figure5.png'}.\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
