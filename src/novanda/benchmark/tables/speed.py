"""Speed and memory, from one line that `make bench` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from novanda import methods
from novanda.benchmark.tables.table import Table, text

PIECES = {  # of novanda's own score of an image: what it is, who needs it, how often an image takes it
    "turns": ("the net that names turns", "shift, shape, parts, texture", 8),
    "colors": ("the net that names colours", "parts, texture", 2),
    "shape": ("the comparison of shape", "shape", 2),
    "parts": ("the comparison of parts", "parts", 2),
    "texture": ("the comparison of texture", "texture", 2),
}


def speed_table(line: Mapping[str, Any]) -> Table:
    """Every method's speed and memory from one line of `make bench`; of exported files, where it has measured them."""
    rows, exported = [], line.get("exported", {})
    for name, scoring in line["scoring"].items():
        training, memory = line["training"].get(name), line["memory_mib"].get(name)
        rows.append(
            (
                _title(name, line.get("settings", {})),
                *(_rate(training and training[precision]["images_per_second"]) for precision in ("auto", "32")),
                "" if training is None else f"{training['auto']['share_of_peak']:.0%}",
                "" if memory is None else f"{memory['peak']:.0f}",
                _rate(scoring["images_per_second"]),
                f"{scoring['latency_ms']['median']:.1f}",
                *_exported_columns(name, exported),
            )
        )
    header = (
        "method",
        "training, images/s",
        "in float32",
        "share of the machine's convolution peak",
        "peak memory, MiB",
        "scoring, images/s",
        "one image, ms",
        *(("exported, images/s", "exported, one image, ms") if exported else ()),
    )
    return Table.of_texts("speed", "Speed and memory", header, rows)


def pieces_table(line: Mapping[str, Any]) -> Table:
    """What each piece of novanda's own score costs an image, from a line of `make bench` that has measured it."""
    rows = []
    for name, piece in line.get("novanda_pieces", {}).items():
        what, used_by, times = PIECES[name]
        total = piece["multiply_adds"] * times / 1e6
        milliseconds = piece["milliseconds"]["median"] * times
        normals = f"{piece['normals']:,}" if "normals" in piece else ""
        rows.append((what, used_by, f"{times}", normals, f"{total:,.0f}", f"{milliseconds:.2f}"))
    header = ("piece", "needed by", "times", "normals", "million multiply-adds", "ms")
    texts = tuple(tuple(map(text, row)) for row in rows)
    notes = (
        f"Measured on {line['machine']['processor']}, {line['machine']['threads']} threads, batches of "
        f"{line['sizes']['scored']} images; {line['date'][:10]}, commit {line['commit']}.",
    )
    return Table("pieces", "What each piece of a score costs", header, texts, notes if rows else (), words=2)


def _title(name: str, settings: Mapping[str, str]) -> str:
    """A method's title, and what was not at its default."""
    changed = settings.get(name, name).removeprefix(name).strip()
    return methods.get(name).title + (f" ({changed})" if changed else "")


def _exported_columns(name: str, exported: Mapping[str, Any]) -> tuple[str, ...]:
    if not exported:
        return ()
    found = exported.get(name)
    if found is None:
        return ("", "")
    return (_rate(found["images_per_second"]), f"{found['latency_ms']['median']:.2f}")


def speed_facts(line: Mapping[str, Any]) -> str:
    """The machine of a `make bench` line, its convolution peak, and augmentation against kornia, as a list."""
    machine, speeds = line["machine"], line["augmentation"]["images_per_second"]
    peaks = ", ".join(f"{name} {peak['peak']:.2f}" for name, peak in line["convolution_tflops"].items())
    load = f"load {line['load_average']:.1f} when it began, {line['date'][:10]}, commit {line['commit']}"
    return "\n".join(
        (
            f"- Machine: {machine['processor']}, {machine['threads']} of {machine['cores']} cores used; {load}.",
            f"- Measured convolution peak, forward and backward, TFLOP/s: {peaks}.",
            f"- Negative augmentation: {_rate(speeds['novanda'])} images/s; kornia, the same list: "
            f"{_rate(speeds['kornia'])}.",
            "- Largest change of a score when the network runs in bfloat16, in standard deviations of that score: "
            + ", ".join(
                f"{methods.get(name).title} {max(score['deviations'] for score in scores.values()):.2f}"
                for name, scores in line["bf16_score_differences"].items()
            )
            + ". Scores are always computed in float32.",
        )
    )


def _rate(measured: Mapping[str, float] | None) -> str:
    return "" if measured is None else f"{measured['median']:,.0f}"
