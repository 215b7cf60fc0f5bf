"""The bench of sound runs, and its page says what its line holds. No time is asserted."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from novanda.benchmark.tables.sound_speed import sound_facts, sound_table

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks/sound.py"
LINE: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789ab",
    "load_average": 0.25,
    "machine": {"processor": "one", "cores": 2, "threads": 1},
    "method": "pca",
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


def test_table_and_facts() -> None:
    assert sound_table(LINE).to_markdown().splitlines()[2:] == [
        "| 1 | 59 | 0.3 | 231 | 300 | 300 | 310 |",
        "| 60 | 3,599 | 12.0 | 1,300 | 1,400 | 301 | 312 |",
    ]
    recordings, machine = sound_facts(LINE).splitlines()
    assert "44,100 Hz, brought to 16,000; PCA reconstruction, 64 x 48, a segment of 2 s every 1.5 s" in recordings
    assert "one core of one; load 0.2 on 2 cores when it began, 2026-01-02, commit 0123456789ab." in machine


@pytest.mark.slow  # three processes that import torch: 10 s alone, a minute beside training runs
def test_it_runs_and_keeps_what_it_promises(tmp_path: Path) -> None:
    out = tmp_path / "sound.jsonl"
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), "--quick", "--out", str(out)], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    text = out.read_text()
    line = json.loads(text)
    assert line["recordings"].keys() == {"4", "12"}
    for seconds, found in line["recordings"].items():
        assert found["segments"] == int(seconds) - 1, "segments of 2 s, one a second"
        assert found["times_real_time"] == pytest.approx(int(seconds) / found["seconds"], rel=1e-3)
        assert 0 < found["before_mib"] <= found["peak_mib"]
    assert platform.node() not in text
    assert str(ROOT) not in text
    assert sound_table(line).rows
    assert sound_facts(line)
