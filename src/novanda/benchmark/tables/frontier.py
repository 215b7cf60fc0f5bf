"""What an AUROC costs: the mean over all classes of a data set against the core-minutes that training takes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from novanda import datasets
from novanda.benchmark.groups import Group, group_runs, titled
from novanda.benchmark.runs import Run, core_seconds, data_set_title
from novanda.benchmark.tables.ablations import is_ablated
from novanda.benchmark.tables.table import Entry, Table, text
from novanda.pictures import Cost


def marks(runs: Sequence[Run], data_set: str) -> list[tuple[Group, Cost]]:
    """Every method at every budget that was run on all classes of a data set by protocol 2, and what it costs.

    A GPU's seconds are no core's: its runs stand where the same recipe was timed on a CPU, or are left out.
    """
    known = datasets.named(data_set)
    everything = group_runs([run for run in runs if run.data_set == data_set])
    timed = {group.first.recipe: group.done for group in everything if not group.on_gpu and group.done}
    groups = [
        group
        for group in everything
        if known is not None and len(group.classes) == len(known.classes)
        if not group.calibrated and not is_ablated(group) and group.protocol.startswith("protocol 2")
        if group.first.recipe in timed
    ]
    return [(group, Cost(titled(group, groups), *_cost(group, timed[group.first.recipe]))) for group in groups]


def frontier_table(runs: Sequence[Run], data_set: str = "cifar10") -> Table:
    """The marks as a table, the cheapest first."""
    rows = [
        (
            text(mark.label),
            text(group.description()),
            Entry(f"{'at most ' if mark.bound else ''}{mark.minutes:.2g}", value=mark.minutes),
            group.mean(group.classes, len(group.classes)),
        )
        for group, mark in sorted(marks(runs, data_set), key=lambda found: found[1].minutes)
    ]
    title = f"{data_set_title(data_set)}: AUROC against the cost of training"
    notes = (
        "Core-minutes to train one detector, scoring not counted, by the processor's own time where lines have it and "
        "by the clock of a machine that had other work (at most) where not.",
    )
    return Table(
        "frontier", title, ("method", "settings, budget", "core-minutes", "AUROC"), tuple(rows), notes, words=2
    )


def _cost(group: Group, timed: Sequence[Run]) -> tuple[float, float, bool]:
    """Mean core-minutes to train, by the timed runs, mean AUROC, and whether the minutes are an upper bound."""
    spent = [core_seconds(run.line, "fit") for run in timed]
    mean = group.mean(group.classes, len(group.classes)).value
    assert mean is not None
    return max(fmean(seconds for seconds, _ in spent), 0.1) / 60, mean, any(bound for _, bound in spent)
