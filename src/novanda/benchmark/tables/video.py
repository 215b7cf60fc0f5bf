"""Speed and memory of scoring video, from one line that `make bench` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from novanda import methods
from novanda.benchmark.tables.table import Table


def video_table(line: Mapping[str, Any]) -> Table:
    """A row for each length of clip."""
    rows = [
        (
            f"{int(seconds) / 60:g}",
            f"{found['pairs']:,}",
            f"{found['seconds']:.1f}",
            f"{found['times_real_time']:.0f}",
            f"{found['times_real_time_cpu']:.0f}",
            f"{found['before_mib']:.0f}",
            f"{found['peak_mib']:.0f}",
        )
        for seconds, found in line["clips"].items()
    ]
    header = (
        "minutes of video",
        "pairs",
        "seconds",
        "times real time",
        "by the processor's time",
        "MiB before",
        "MiB at most",
    )
    return Table.of_texts("video", "Speed and memory of scoring video", header, rows)


def video_facts(line: Mapping[str, Any]) -> str:
    """The clip and the machine, as a list."""
    machine, sizes = line["machine"], line["sizes"]
    return "\n".join(
        (
            f"- Clips of {sizes['width']} x {sizes['height']} at {sizes['rate']} frames a second, MPEG-4; "
            f"{methods.get(line['method']).title}, {sizes['form']['side']} x {sizes['form']['side']}, a pair every "
            f"{sizes['form']['hop_seconds']:g} s; decoding, flow and score together.",
            f"- Machine: one core of {machine['processor']}; load {line['load_average']:.1f} on {machine['cores']} "
            f"cores when it began, {line['date'][:10]}, commit {line['commit']}. Other work on that core lengthens the "
            "time by the clock alone.",
        )
    )
