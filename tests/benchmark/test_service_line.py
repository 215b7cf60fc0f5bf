"""The bench of the service runs, and its page says what its line holds. No time is asserted."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from novanda.benchmark.tables.service import service_facts, service_table

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks/service.py"
LINE: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789ab",
    "load_average": 0.25,
    "machine": {"processor": "one", "cores": 2, "threads": 1},
    "latency": {
        "pca": {
            "1": {"requests": 10, "p50_ms": 1.26, "p99_ms": 9.99, "requests_per_second": 1234.5},
            "8": {"requests": 10, "p50_ms": 2.0, "p99_ms": 3.0, "requests_per_second": 99.0},
        }
    },
    "memory_mib": {"pca": {"before": 300.4, "after_a_tenth": 301.0, "after": 302.6, "requests": 10000}},
}


def test_table_and_facts() -> None:
    assert service_table(LINE).to_markdown().splitlines()[2:] == [
        "| PCA reconstruction | 1 | 1.3 | 10.0 | 1,234 |",
        "| PCA reconstruction | 8 | 2.0 | 3.0 | 99 |",
    ]
    machine, memory = service_facts(LINE).splitlines()
    assert machine == (
        "- Machine: one, 2 cores, torch with 1 threads; load 0.2 when it began, 2026-01-02, commit 0123456789ab."
    )
    assert memory == (
        "- Memory, PCA reconstruction: 300 MiB after the runs above, 301 after a tenth of 10,000 more requests, 303 "
        "after all of them."
    )


@pytest.mark.slow  # two detectors, two services: 25 s
def test_it_runs_and_keeps_what_it_promises(tmp_path: Path) -> None:
    out = tmp_path / "service.jsonl"
    command = [sys.executable, "-W", "error", str(SCRIPT), "--quick", "--threads", "1", "--out", str(out)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    line = json.loads(out.read_text())
    assert line["latency"].keys() == line["memory_mib"].keys() == {"nda", "pca"}
    for parts in line["latency"].values():
        assert [found["requests"] for found in parts.values()] == [line["sizes"]["requests"]] * 2
        assert all(0 < found["p50_ms"] <= found["p99_ms"] for found in parts.values())
    for held in line["memory_mib"].values():
        assert held["requests"] == line["sizes"]["many"]
    assert platform.node() not in out.read_text()
    assert str(ROOT) not in out.read_text()


def test_a_wrong_number_of_threads_is_refused() -> None:
    finished = subprocess.run([sys.executable, str(SCRIPT), "--threads", "0"], capture_output=True, text=True)
    assert finished.returncode == 2
    assert "--threads must be at least 1; got 0" in finished.stderr
