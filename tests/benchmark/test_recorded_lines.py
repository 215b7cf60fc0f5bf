"""The benches of sound and video run, and their pages say what their lines hold. No time is asserted."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from novanda.benchmark.tables.sound_speed import sound_facts, sound_table
from novanda.benchmark.tables.video import video_facts, video_table

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
HEAD: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789ab",
    "load_average": 0.25,
    "machine": {"processor": "one", "cores": 2, "threads": 1},
    "method": "pca",
}
SOUND: dict[str, Any] = {
    **HEAD,
    "sizes": {
        "rate": 44_100,
        "form": {"rate": 16_000, "bands": 64, "frames": 48, "segment_seconds": 2.0, "hop_seconds": 1.5},
    },
    "recordings": {
        "60": {
            "segments": 59, "seconds": 0.26, "times_real_time": 230.7, "times_real_time_cpu": 300.4,
            "before_mib": 300, "peak_mib": 310,
        },
        "3600": {
            "segments": 3599, "seconds": 12.0, "times_real_time": 1300.2, "times_real_time_cpu": 1400.0,
            "before_mib": 301, "peak_mib": 312,
        },
    },
}  # fmt: skip
VIDEO: dict[str, Any] = {
    **HEAD,
    "sizes": {"width": 640, "height": 360, "rate": 25, "form": {"side": 32, "hop_seconds": 0.2}},
    "clips": {
        "60": {
            "pairs": 300, "seconds": 1.26, "times_real_time": 47.6, "times_real_time_cpu": 60.4,
            "before_mib": 300, "peak_mib": 310,
        },
        "600": {
            "pairs": 3000, "seconds": 20.0, "times_real_time": 30.0, "times_real_time_cpu": 59.6,
            "before_mib": 301, "peak_mib": 312,
        },
    },
}  # fmt: skip


def test_table_and_facts_of_sound() -> None:
    assert sound_table(SOUND).to_markdown().splitlines()[2:] == [
        "| 1 | 59 | 0.3 | 231 | 300 | 300 | 310 |",
        "| 60 | 3,599 | 12.0 | 1,300 | 1,400 | 301 | 312 |",
    ]
    recordings, machine = sound_facts(SOUND).splitlines()
    assert "44,100 Hz, brought to 16,000; PCA reconstruction, 64 x 48, a segment of 2 s every 1.5 s" in recordings
    assert "one core of one; load 0.2 on 2 cores when it began, 2026-01-02, commit 0123456789ab." in machine


def test_table_and_facts_of_video() -> None:
    assert video_table(VIDEO).to_markdown().splitlines()[2:] == [
        "| 1 | 300 | 1.3 | 48 | 60 | 300 | 310 |",
        "| 10 | 3,000 | 20.0 | 30 | 60 | 301 | 312 |",
    ]
    clips, machine = video_facts(VIDEO).splitlines()
    assert "640 x 360 at 25 frames a second, MPEG-4; PCA reconstruction, 32 x 32, a pair every 0.2 s" in clips
    assert "one core of one; load 0.2 on 2 cores when it began, 2026-01-02, commit 0123456789ab." in machine


@pytest.mark.slow  # three processes that import torch: 10 s alone, a minute beside training runs
@pytest.mark.parametrize(
    ("script", "recordings", "lengths", "unit"),
    [("sound", "recordings", {"4", "12"}, "segments"), ("video", "clips", {"2", "20"}, "pairs")],
)
def test_it_runs_and_keeps_what_it_promises(
    script: str, recordings: str, lengths: set[str], unit: str, tmp_path: Path
) -> None:
    out = tmp_path / "line.jsonl"
    command = [sys.executable, "-W", "error", str(BENCHMARKS / f"{script}.py"), "--quick", "--out", str(out)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    text = out.read_text()
    line = json.loads(text)
    assert line[recordings].keys() == lengths
    for seconds, found in line[recordings].items():
        # Segments of 2 s, one a second; five pairs a second.
        assert found[unit] == (int(seconds) - 1 if unit == "segments" else 5 * int(seconds))
        assert found["times_real_time"] == pytest.approx(int(seconds) / found["seconds"], rel=1e-3)
        assert 0 < found["before_mib"] <= found["peak_mib"]
    assert platform.node() not in text
    assert str(BENCHMARKS.parent) not in text
    table_of, facts_of = (sound_table, sound_facts) if script == "sound" else (video_table, video_facts)
    assert table_of(line).rows
    assert facts_of(line)
