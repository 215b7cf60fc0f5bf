"""The bench of video runs, and its page says what its line holds. No time is asserted."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from novanda.benchmark.tables.video import video_facts, video_table

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks/video.py"
LINE: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789ab",
    "load_average": 0.25,
    "machine": {"processor": "one", "cores": 2, "threads": 1},
    "method": "pca",
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


def test_table_and_facts() -> None:
    assert video_table(LINE).to_markdown().splitlines()[2:] == [
        "| 1 | 300 | 1.3 | 48 | 60 | 300 | 310 |",
        "| 10 | 3,000 | 20.0 | 30 | 60 | 301 | 312 |",
    ]
    clips, machine = video_facts(LINE).splitlines()
    assert "640 x 360 at 25 frames a second, MPEG-4; PCA reconstruction, 32 x 32, a pair every 0.2 s" in clips
    assert "one core of one; load 0.2 on 2 cores when it began, 2026-01-02, commit 0123456789ab." in machine


@pytest.mark.slow  # three processes that import torch: 10 s alone, a minute beside training runs
def test_it_runs_and_keeps_what_it_promises(tmp_path: Path) -> None:
    out = tmp_path / "video.jsonl"
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), "--quick", "--out", str(out)], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    text = out.read_text()
    line = json.loads(text)
    assert line["clips"].keys() == {"2", "20"}
    for seconds, found in line["clips"].items():
        assert found["pairs"] == 5 * int(seconds), "five pairs a second"
        assert found["times_real_time"] == pytest.approx(int(seconds) / found["seconds"], rel=1e-3)
        assert 0 < found["before_mib"] <= found["peak_mib"]
    assert platform.node() not in text
    assert str(ROOT) not in text
    assert video_table(line).rows
    assert video_facts(line)
