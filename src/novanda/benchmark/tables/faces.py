"""Table 6: HTER from one data set of faces to the other, published and measured rows under one name."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from novanda.benchmark import published
from novanda.benchmark.face_cells import THRESHOLDS
from novanda.benchmark.groups import budget_in_words, changed_settings, in_words, method_title
from novanda.benchmark.tables.table import FAILED, Entry, Table, missing, text
from novanda.benchmark.tables.table import published as printed
from novanda.supervised import DESCRIPTOR_SYSTEMS, CnnSvm

Line = Mapping[str, Any]
Row = tuple[Entry, ...]
_COLUMNS = (("casia-mfsd", "train_casia_test_replay"), ("replay-attack", "train_replay_test_casia"))
"""Which data set a column is learned on, and its name among the published figures."""
_IN_WORDS = {
    "development": "threshold: equal-error point of the source's development clips, attacks seen",
    "one_class": "threshold: 95 % quantile of the source's live clips",
    "oracle": "threshold: the test clips' own equal-error point, which no one can know in advance",
}


def table6(lines: Sequence[Line]) -> Table:
    """HTER of every system in the paper's order, then of methods that the paper's table has not."""
    groups = _grouped(lines)
    rows: list[Row] = []
    shown: list[str] = []
    for line in published.table("table6_face_hter"):
        system = published.face_system(line["method"])
        figures = [printed(line[column]) for _, column in _COLUMNS]
        rows.append((text(system.row), text(f"published {line['year']}"), text(system.remark), *figures))
        if system.method is None:
            continue
        mine = [row for group in groups.get(system.method, []) for row in _measured(group, system.row)]
        rows += mine or [(text(system.row), missing(), text(""), *[missing()] * len(_COLUMNS))]
        shown.append(system.method)
    for name, found in groups.items():
        if name not in shown:
            rows += [row for group in found for row in _measured(group, _title(name))]
    header = ("method", "figures", "settings", "CASIA-MFSD to Replay-Attack", "Replay-Attack to CASIA-MFSD")
    title = "Table 6: half total error rate (HTER) across two data sets of faces"
    return Table("table6", title, header, tuple(rows), tuple(_notes(lines)), words=3)


def _notes(lines: Sequence[Line]) -> Iterator[str]:
    if not lines:
        yield (
            "Nothing is measured here: both data sets are given out against a signed agreement alone, and neither was "
            "at hand. `novanda bench table6` measures every row that is marked as not run."
        )
    yield (
        "HTER is the mean of the share of live clips that are flagged and of the share of attacks that are not, from 0 "
        "to 1, at the threshold that the row names; the paper does not say at which threshold its figures hold. A "
        "clip's score is the mean over its parts."
    )
    yield (
        "Rows of another setting learn from attacks as well; those without a row of ours need more than attacks, or "
        "networks of their own, and keep their published figures."
    )
    means = {line["method"]: statistics.fmean(float(line[c]) for _, c in _COLUMNS) for line in _published()}
    own = means["Ours"]
    better = [f"{name} {mean:.4f}" for name, mean in means.items() if mean < own]
    if better:
        yield f"On average over both columns the paper's own row has {own:.4f}; lower in print: {', '.join(better)}."
    left_out = {path for line in lines for path in line.get("left_out", ())}
    if left_out:
        yield f"{len(left_out)} clips could not be read whole and are left out of measured rows."
    faces = sorted({line["faces"] for line in lines if "faces" in line})
    if faces:
        yield f"Faces in measured rows of another setting are cut out by: {', '.join(faces)}."


def _published() -> list[dict[str, str]]:
    return published.table("table6_face_hter")


def _grouped(lines: Sequence[Line]) -> dict[str, list[list[Line]]]:
    """Lines that differ in data sets and seed alone, by the name of their system."""
    found: dict[str, dict[str, list[Line]]] = {}
    for line in lines:
        cell = {name: value for name, value in line["cell"].items() if name not in ("source", "target", "seed")}
        found.setdefault(cell["system"]["name"], {}).setdefault(json.dumps(cell, sort_keys=True), []).append(line)
    return {name: list(groups.values()) for name, groups in found.items()}


def _measured(group: Sequence[Line], row: str) -> Iterator[Row]:
    """A row for each threshold."""
    keys = tuple(line["key"] for line in group)
    for threshold in THRESHOLDS:
        settings = "; ".join(part for part in (_IN_WORDS[threshold], _settings(group[0]["cell"])) if part)
        figures = [_figure([x for x in group if x["cell"]["source"] == source], threshold) for source, _ in _COLUMNS]
        yield (text(row), Entry("measured"), Entry(settings, keys=keys), *figures)


def _figure(lines: Sequence[Line], threshold: str) -> Entry:
    """The mean over seeds, with its deviation where there are two."""
    keys = tuple(line["key"] for line in lines)
    values = [line["hter"][threshold] for line in lines if "error" not in line]
    if not values:
        return Entry(FAILED, "failed", keys) if lines else missing()
    mean = statistics.fmean(values)
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return Entry(f"{mean:.3f}{spread}", "measured", keys, mean)


def _settings(cell: Mapping[str, Any]) -> str:
    """What differs from the defaults, and the training."""
    system = dict(cell["system"])
    if "form" in cell:  # a method of ours
        words = [in_words(name, value) for name, value in changed_settings(system).items()]
    else:
        words = [in_words(name, system[name]) for name in ("network", "weights", "width") if name in system]
    training = cell.get("training") or system.get("training")
    return ", ".join([*words, *([budget_in_words(training)] if training else [])])


def _title(name: str) -> str:
    supervised = {system.name: system.title for system in DESCRIPTOR_SYSTEMS}
    return {**supervised, CnnSvm.name: CnnSvm.title}.get(name) or method_title(name)
