"""Result lines as Markdown tables, measured beside published. Nothing here is typed in: every figure is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from novanda import datasets, methods
from novanda.benchmark.cells import Cell
from novanda.benchmark.published import cifar10_auroc

Results = Mapping[str, Mapping[str, Any]]
MISSING = "not run"
FAILED = "failed"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns but the first are aligned right."""
    lines = ["| " + " | ".join(header) + " |", "|:--|" + "--:|" * (len(header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def paper_table(cells: Sequence[Cell], results: Results) -> str:
    """NDA at the paper's settings by its three errors, the published figure, and the floors, a row per class."""
    header = (
        "normal class",
        "NDA, MSE",
        "NDA, L1",
        "NDA, Laplacian",
        "published",
        "PCA",
        "nearest neighbour",
        "OCSVM",
    )
    uncalibrated = [cell for cell in cells if not cell.calibration_fraction and cell.protocol == "one_vs_rest"]
    rows = []
    for nda in (cell for cell in uncalibrated if cell.method.name == "nda"):
        same = {
            c.method.name: c for c in uncalibrated if (c.data_set, c.normal_class) == (nda.data_set, nda.normal_class)
        }
        rows.append(
            (
                class_name(nda),
                *(_auroc(nda, results, score) for score in ("mse", "l1", "laplacian")),
                f"{cifar10_auroc('Ours', nda.normal_class):.3f}" if nda.data_set == "cifar10" else "no figure",
                *(_auroc(same.get(name), results) for name in ("pca", "nearest_neighbour", "ocsvm")),
            )
        )
    return markdown(header, rows)


def rotnet_table(cells: Sequence[Cell], results: Results) -> str:
    """RotNet by both scores beside its published figure."""
    rows = [
        (
            class_name(cell),
            str(cell.training.filled(cell.method.training).epochs),
            _auroc(cell, results, "logit"),
            _auroc(cell, results, "log_probability"),
            f"{cifar10_auroc('RotNet', cell.normal_class):.3f}",
            _seconds(cell, results),
        )
        for cell in cells
        if cell.method.name == "rotnet" and cell.data_set == "cifar10" and not cell.calibration_fraction
    ]
    header = ("normal class", "epochs", "summed logits", "summed log-probabilities", "published", "fit seconds")
    return markdown(header, rows)


def floors_table(cells: Sequence[Cell], results: Results) -> str:
    """PCA and nearest neighbour on all ten CIFAR-10 classes, with their means."""
    names = ("pca", "nearest_neighbour")
    found: dict[str, dict[str, Cell]] = {name: {} for name in names}
    for cell in cells:
        if cell.method.name in found and cell.data_set == "cifar10" and not cell.calibration_fraction:
            found[cell.method.name][cell.normal_class] = cell
    classes = datasets.get("cifar10").classes
    rows = []
    for name in names:
        done = [results[c.key] for c in found[name].values() if "auroc" in results.get(c.key, {})]
        values = [next(iter(line["auroc"].values())) for line in done]
        mean = f"{np.mean(values):.3f}" if len(values) == len(classes) else MISSING
        title = methods.get(name).title
        rows.append((title, *(_auroc(found[name].get(label), results) for label in classes), mean))
    return markdown(("method", *classes, "mean"), rows)


def coil_table(cells: Sequence[Cell], results: Results) -> str:
    """Every method on one COIL-20 object, split by blocks of angles."""
    coil = [cell for cell in cells if cell.data_set == "coil20"]
    rows = [(cell.method.title, _auroc(cell, results), _seconds(cell, results)) for cell in coil]
    return markdown(("method", "AUROC", "fit seconds"), rows)


def false_alarm_table(cells: Sequence[Cell], results: Results) -> str:
    """Unseen normals flagged at each asked rate, with exact 95 % intervals."""
    rows = []
    for cell in cells:
        if not cell.calibration_fraction:
            continue
        line = results.get(cell.key)
        measured = [] if line is None or "error" in line else list(line["false_alarms"].values())
        shown = [f"{m['rate']:.3f} [{m['low']:.3f}, {m['high']:.3f}]" for m in measured] or [MISSING] * 3
        rows.append((cell.method.title, *shown))
    return markdown(("method", "asked 0.01", "asked 0.05", "asked 0.10"), rows)


def class_name(cell: Cell) -> str:
    """How a table calls a cell's data: "CIFAR-10 airplane"."""
    return f"{datasets.get(cell.data_set).title} {cell.normal_class}"


def _auroc(cell: Cell | None, results: Results, score: str | None = None) -> str:
    if cell is None or cell.key not in results:
        return MISSING
    if "error" in results[cell.key]:
        return FAILED
    found: Mapping[str, float] = results[cell.key]["auroc"]
    return f"{found[score or next(iter(found))]:.3f}"


def _seconds(cell: Cell, results: Results) -> str:
    return f"{results[cell.key]['fit_seconds']:.0f}" if "fit_seconds" in results.get(cell.key, {}) else MISSING


def norms_table(cells: Sequence[Cell], results: Results) -> str:
    """What becomes of training when Eqs. 1 and 2 are sums or means: Eq. 1's mean over the values, epoch by epoch."""
    rows = []
    for cell in cells:
        method = methods.to_json(cell.method)
        settings = (class_name(cell), method["pyramid_weighting"], method["latent_reduction"])
        line = results.get(cell.key)
        if line is None or "error" in line:
            rows.append((*settings, MISSING, MISSING, "" if line is None else line["error"].partition(". Try")[0]))
            continue
        scale = float(np.prod(line["sizes"]["sample"])) if method["pyramid_weighting"] == "sum" else 1.0
        first, last = (line["history"][place]["laplacian"] / scale for place in (0, -1))
        rows.append((*settings, f"{first:.4f}", f"{last:.4f}", f"{len(line['history'])} epochs"))
    return markdown(("normal class", "Eq. 1", "Eq. 2", "Eq. 1, first epoch", "last epoch", "outcome"), rows)


def speed_table(line: Mapping[str, Any]) -> str:
    """Every method's speed and memory from one line of `make bench`."""
    rows = []
    for name, scoring in line["scoring"].items():
        training, memory = line["training"].get(name), line["memory_mib"].get(name)
        rows.append(
            (
                methods.get(name).title,
                *(_rate(training and training[precision]["images_per_second"]) for precision in ("auto", "32")),
                "" if training is None else f"{training['auto']['share_of_peak']:.0%}",
                "" if memory is None else f"{memory['peak']:.0f}",
                _rate(scoring["images_per_second"]),
                f"{scoring['latency_ms']['median']:.1f}",
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
    )
    return markdown(header, rows)


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


def service_table(line: Mapping[str, Any]) -> str:
    """Latency of the service by number of clients, from one line of `make bench-service`."""
    rows = [
        (
            methods.get(name).title,
            clients,
            f"{found['p50_ms']:.1f}",
            f"{found['p99_ms']:.1f}",
            f"{found['requests_per_second']:,.0f}",
        )
        for name, parts in line["latency"].items()
        for clients, found in parts.items()
    ]
    return markdown(("method", "clients", "p50, ms", "p99, ms", "requests/s"), rows)


def service_facts(line: Mapping[str, Any]) -> str:
    """The machine of a `make bench-service` line, and the service's memory over many requests, as a list."""
    machine = line["machine"]
    facts = [
        f"- Machine: {machine['processor']}, {machine['cores']} cores, torch with {machine['threads']} threads; "
        f"load {line['load_average']:.1f} when it began, {line['date'][:10]}, commit {line['commit']}."
    ]
    for name, held in line["memory_mib"].items():
        facts.append(
            f"- Memory, {methods.get(name).title}: {held['before']:.0f} MiB after the runs above, "
            f"{held['after_a_tenth']:.0f} after a tenth of {held['requests']:,} more requests, {held['after']:.0f} "
            "after all of them."
        )
    return "\n".join(facts)


def _rate(measured: Mapping[str, float] | None) -> str:
    return "" if measured is None else f"{measured['median']:,.0f}"
