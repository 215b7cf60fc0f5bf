"""All tables of a report; and those of all that was run: every group, every score, false alarms, what failed."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from novanda import datasets
from novanda.benchmark.groups import Group, group_runs
from novanda.benchmark.runs import Run, data_set_title
from novanda.benchmark.tables.ablations import is_ablated, negatives_grid, table1, table2
from novanda.benchmark.tables.comparison import class_tables, table3, table4
from novanda.benchmark.tables.convergence import figure6
from novanda.benchmark.tables.sounds import esc10, table5
from novanda.benchmark.tables.table import Entry, Table, text


def every_table(runs: Sequence[Run]) -> list[Table]:
    """The tables of a report: the paper's always, for what was not run is a finding; others where they have a row."""
    more = (figure6(runs), esc10(runs), false_alarms(runs), all_scores(runs), all_runs(runs))
    papers = [table1(runs), table2(runs), negatives_grid(runs), table3(runs), table4(runs), table5(runs)]
    return [*papers, *class_tables(runs), *(table for table in more if table.rows)]


def all_runs(runs: Sequence[Run]) -> Table:
    """One row per data set and group: what was measured, on how much of it, at what cost, by which commit."""
    rows = []
    for data_set, group in _by_data_set(runs):
        keys = tuple(run.key for run in group.runs)
        seconds = [float(run.line["fit_seconds"]) for run in group.done if "fit_seconds" in run.line]
        mean = Entry("", "missing")
        if seconds:
            mean = Entry(f"{statistics.fmean(seconds):.0f}", "measured", keys, statistics.fmean(seconds))
        failed = len(group.runs) - len(group.done)
        commits = sorted({str(run.line["commit"]) for run in group.runs if run.line.get("commit")})
        rows.append(
            (
                text(data_set_title(data_set)),
                text(group.title),
                Entry(group.description(), keys=keys),
                text(group.repeats()),
                text(", ".join(commits)),
                _mean(data_set, group),
                mean,
                Entry(str(failed), "failed" if failed else "text", keys if failed else (), float(failed)),
            )
        )
    header = ("data set", "method", "settings, budget, protocol", "repeats", "commit", "AUROC", "fit seconds", "failed")
    notes = (
        "AUROC is the mean over the classes run. Seconds are per cell, on a machine that may have had other work.",
    )
    return Table("all_runs", "Everything that was run", header, tuple(rows), notes, words=5)


def all_scores(runs: Sequence[Run]) -> Table:
    """Every score that a method gives, not the headline alone."""
    rows = []
    for data_set, group in _by_data_set(runs):
        names = list(dict.fromkeys(name for run in group.done for name in run.line["auroc"]))
        if len(names) < 2 or group.calibrated or is_ablated(group):
            continue
        for name in names:
            having = Group(tuple(run for run in group.done if name in run.line["auroc"]))
            head = "headline" if name == group.done[0].score else ""
            rows.append(
                (
                    text(data_set_title(data_set)),
                    text(group.title),
                    text(group.description()),
                    text(having.repeats()),
                    text(name.replace("_", " ")),
                    text(head),
                    _mean(data_set, having, name),
                )
            )
    header = ("data set", "method", "settings, budget, protocol", "repeats", "score", "", "AUROC")
    notes = ("The headline score was fixed beforehand; the others are shown and never chosen from.",)
    return Table("all_scores", "Every score of methods that have several", header, tuple(rows), notes, words=6)


def false_alarms(runs: Sequence[Run]) -> Table:
    """Test normals flagged at each asked rate, of runs that held normals out to set a threshold."""
    having = [run for run in runs if run.error is None and run.line.get("false_alarms")]
    rates = list(dict.fromkeys(rate for run in having for rate in run.line["false_alarms"]))
    rows = tuple(
        (
            text(f"{data_set_title(run.data_set)} {run.normal_class}"),
            text(Group((run,)).title),
            text(Group((run,)).description()),
            *(flagged_at(run, rate) for rate in rates),
        )
        for run in having
    )
    header = ("normal class", "method", "settings, budget, protocol", *(f"asked {rate}" for rate in rates))
    notes = ("The share of unseen test normals flagged, with its exact (Clopper-Pearson) 95 % interval.",)
    return Table("false_alarms", "Are unseen normals flagged as often as asked?", header, rows, notes, words=3)


def failures(runs: Sequence[Run]) -> Table:
    """Cells that failed, with their errors."""
    rows = tuple(
        (
            text(f"{data_set_title(run.data_set)} {run.normal_class}"),
            text(Group((run,)).title),
            text(Group((run,)).description()),
            text(f"seed {run.cell['seed']}"),
            Entry(run.error, "failed", (run.key,)),
        )
        for run in runs
        if run.error is not None
    )
    header = ("normal class", "method", "settings, budget, protocol", "seed", "error")
    return Table("failures", "Cells that failed", header, rows, words=5)


def interval(found: Mapping[str, Any]) -> str:
    """A rate of a result line with its interval."""
    return f"{found['rate']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def flagged_at(run: Run, rate: str) -> Entry:
    """The share of unseen normals flagged at an asked rate, with its interval."""
    found = run.line["false_alarms"].get(rate)
    return Entry("", "missing") if found is None else Entry(interval(found), "measured", (run.key,), found["rate"])


def _by_data_set(runs: Sequence[Run]) -> Iterator[tuple[str, Group]]:
    for data_set in dict.fromkeys(run.data_set for run in runs):
        for group in group_runs(run for run in runs if run.data_set == data_set):
            yield data_set, group


def _mean(data_set: str, group: Group, score: str | None = None) -> Entry:
    known = datasets.named(data_set)
    return group.mean(group.classes, len(group.classes if known is None else known.classes), score)
