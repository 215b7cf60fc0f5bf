"""Figure 6 in figures: when the curves of a training stand still, and how restless they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from novanda.benchmark.convergence import FEWEST_EPOCHS, Convergence, convergence
from novanda.benchmark.groups import Group, group_runs, is_for_choosing
from novanda.benchmark.runs import Run, data_set_title
from novanda.benchmark.tables.table import Entry, Table, missing, text
from novanda.methods import ALOCC, NDA, OCGAN, DualGAN

COMPARED = (NDA, OCGAN, ALOCC, DualGAN)
"""The paper's own method and the three that its figure compares it with."""
RECONSTRUCTION = ("laplacian", "squared error")
"""How the loss terms end that are a reconstruction's error."""


def figure6(runs: Sequence[Run]) -> Table:
    """Epoch of convergence and departures, of the loss, its reconstruction term and the AUROC, by method."""
    names = [kind.name for kind in COMPARED]
    having = [run for run in runs if len(run.aurocs()) >= FEWEST_EPOCHS and not is_for_choosing(run)]
    groups = [g for g in group_runs(having) if g.method in names and not g.calibrated]
    groups.sort(key=lambda group: (-group.epochs, names.index(group.method)))
    rows = [
        row
        for group in groups
        for data_set in dict.fromkeys(run.data_set for run in group.done)
        for row in _rows(Group(tuple(run for run in group.done if run.data_set == data_set)))
    ]
    header = ("data", "method", "settings, budget, protocol", "repeats", "curve", "converged at epoch")
    notes = (
        "Converged: the first epoch from which on the running median of five epochs stays within 5 % of the curve's "
        "way of the median of its last quarter; where that is in the last quarter, the curve was still moving at the "
        "end. One figure a run, in the order of the seeds.",
        "Departure: how far an epoch lies from the middle between those before and after it, over the second half "
        "of the epochs, as a share of the curve's whole way: mean over runs and epochs, and the largest of all. A "
        "steady drift is none.",
        "The paper: NDA converges after the 25th epoch and steadily, OCGAN at about the 40th, and the others fluctuate "
        "largely.",
    )
    title = "Figure 6: when training converges, and how steadily"
    return Table(
        "figure6", title, (*header, "mean departure", "largest departure", "last value"), tuple(rows), notes, words=6
    )


def reconstruction(run: Run) -> list[float]:
    """The reconstruction's error after each epoch of the last stage; empty where the loss has no such term."""
    history = run.line.get("history") or []
    places = [number - 1 for number, _ in run.losses]
    terms = [name for name in (history[places[-1]] if places else ()) if name.endswith(RECONSTRUCTION)]
    return [float(history[place][terms[0]]) for place in places] if terms else []


_CURVES: dict[str, Callable[[Run], list[float]]] = {
    "loss": lambda run: [value for _, value in run.losses],
    "reconstruction error": reconstruction,
    "AUROC": lambda run: [value for _, value in run.aurocs()],
}


def _rows(group: Group) -> list[tuple[Entry, ...]]:
    """One row a curve, over the runs of one method on one data set."""
    keys = tuple(run.key for run in group.runs)
    classes = ", ".join(group.classes)
    head = (
        text(f"{data_set_title(group.first.data_set)} {classes}"),
        text(group.title),
        Entry(group.description(), keys=keys),
        text(group.repeats()),
    )
    rows: list[tuple[Entry, ...]] = []
    for name, curve_of in _CURVES.items():
        curves = [curve for curve in map(curve_of, group.runs) if len(curve) >= FEWEST_EPOCHS]
        if curves:
            found = [convergence(curve) for curve in curves]
            epochs = ", ".join("still moving" if each.epoch is None else str(each.epoch) for each in found)
            last = sum(curve[-1] for curve in curves) / len(curves)
            shown = Entry(f"{last:.3g}" if name != "AUROC" else f"{last:.3f}", "measured", keys, last)
            rows.append((*head, text(name), Entry(epochs, "measured", keys), *_departures(found), shown))
    return rows


def _departures(found: Sequence[Convergence]) -> tuple[Entry, Entry]:
    """Mean and largest as shares of the way, of those curves that moved at all."""
    moved = [
        (f.departure / f.way, f.largest_departure / f.way)
        for f in found
        if f.way and f.departure is not None and f.largest_departure is not None
    ]
    if not moved:
        return missing(""), missing("")
    mean, most = sum(each for each, _ in moved) / len(moved), max(each for _, each in moved)
    return Entry(f"{mean:.1%}", "measured", value=mean), Entry(f"{most:.1%}", "measured", value=most)
