"""Speed and memory of scoring sound, from one line that `make bench` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from novanda import methods
from novanda.benchmark.tables.table import Table
from novanda.benchmark.tables.video import core_facts, recordings_table


def sound_table(line: Mapping[str, Any]) -> Table:
    """A row for each length of recording."""
    return recordings_table("sound", "segments", line["recordings"])


def sound_facts(line: Mapping[str, Any]) -> str:
    """The recordings and the machine, as a list."""
    form = line["sizes"]["form"]
    return "\n".join(
        (
            f"- 16-bit WAV at {line['sizes']['rate']:,} Hz, brought to {form['rate']:,}; "
            f"{methods.get(line['method']).title}, {form['bands']} x {form['frames']}, a segment of "
            f"{form['segment_seconds']:g} s every {form['hop_seconds']:g} s; decoding, resampling, spectrograms and "
            "score together.",
            core_facts(line),
        )
    )
