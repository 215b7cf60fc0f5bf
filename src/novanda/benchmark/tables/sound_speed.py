"""Speed and memory of scoring sound, from one line that `make bench` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from novanda import methods
from novanda.benchmark.tables.table import Table


def sound_table(line: Mapping[str, Any]) -> Table:
    """A row for each length of recording."""
    rows = [
        (
            f"{int(seconds) / 60:g}",
            f"{found['segments']:,}",
            f"{found['seconds']:.1f}",
            f"{found['times_real_time']:,.0f}",
            f"{found['times_real_time_cpu']:,.0f}",
            f"{found['before_mib']:.0f}",
            f"{found['peak_mib']:.0f}",
        )
        for seconds, found in line["recordings"].items()
    ]
    header = (
        "minutes of sound",
        "segments",
        "seconds",
        "times real time",
        "by the processor's time",
        "MiB before",
        "MiB at most",
    )
    return Table.of_texts("sound", "Speed and memory of scoring sound", header, rows)


def sound_facts(line: Mapping[str, Any]) -> str:
    """The recordings and the machine, as a list."""
    machine, form = line["machine"], line["sizes"]["form"]
    return "\n".join(
        (
            f"- 16-bit WAV at {line['sizes']['rate']:,} Hz, brought to {form['rate']:,}; "
            f"{methods.get(line['method']).title}, {form['bands']} x {form['frames']}, a segment of "
            f"{form['segment_seconds']:g} s every {form['hop_seconds']:g} s; decoding, resampling, spectrograms and "
            "score together.",
            f"- Machine: one core of {machine['processor']}; load {line['load_average']:.1f} on {machine['cores']} "
            f"cores when it began, {line['date'][:10]}, commit {line['commit']}. Other work on that core lengthens the "
            "time by the clock alone.",
        )
    )
