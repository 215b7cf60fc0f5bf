"""Speed and memory of scoring video, from one line that `make bench` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from novanda import methods
from novanda.benchmark.tables.table import Table


def video_table(line: Mapping[str, Any]) -> Table:
    """A row for each length of clip."""
    return recordings_table("video", "pairs", line["clips"])


def recordings_table(what: str, samples: str, recordings: Mapping[str, Mapping[str, float]]) -> Table:
    """A row for each length of a recording of sound or video, by its seconds; `samples` is what it is cut into."""
    rows = [
        (
            f"{int(seconds) / 60:g}",
            f"{found[samples]:,.0f}",
            f"{found['seconds']:.1f}",
            f"{found['times_real_time']:,.0f}",
            f"{found['times_real_time_cpu']:,.0f}",
            f"{found['before_mib']:.0f}",
            f"{found['peak_mib']:.0f}",
        )
        for seconds, found in recordings.items()
    ]
    spent = ("seconds", "times real time", "by the processor's time", "MiB before", "MiB at most")
    return Table.of_texts(what, f"Speed and memory of scoring {what}", (f"minutes of {what}", samples, *spent), rows)


def core_facts(line: Mapping[str, Any]) -> str:
    """The core that such a line was measured on, as an item of a list."""
    machine = line["machine"]
    return (
        f"- Machine: one core of {machine['processor']}; load {line['load_average']:.1f} on {machine['cores']} cores "
        f"when it began, {line['date'][:10]}, commit {line['commit']}. Other work on that core lengthens "
        "the time by the clock alone."
    )


def video_facts(line: Mapping[str, Any]) -> str:
    """The clip and the machine, as a list."""
    sizes = line["sizes"]
    return "\n".join(
        (
            f"- Clips of {sizes['width']} x {sizes['height']} at {sizes['rate']} frames a second, MPEG-4; "
            f"{methods.get(line['method']).title}, {sizes['form']['side']} x {sizes['form']['side']}, a pair every "
            f"{sizes['form']['hop_seconds']:g} s; decoding, flow and score together.",
            core_facts(line),
        )
    )
