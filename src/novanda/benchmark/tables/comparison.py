"""Tables 3 and 4: every system of the paper, published and measured rows under one name; and classes of other sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from scipy.stats import spearmanr

from novanda import datasets
from novanda.benchmark import published
from novanda.benchmark.groups import Group, group_runs, is_fold, is_for_choosing, method_title
from novanda.benchmark.runs import Run, class_place, data_set_title, method_named
from novanda.benchmark.tables.ablations import is_ablated
from novanda.benchmark.tables.table import Entry, Table, missing, text
from novanda.benchmark.tables.table import published as printed
from novanda.methods import PCA

Row = tuple[Entry, ...]
_HEAD = ("method", "figures", "settings, budget, protocol", "repeats")


def table3(runs: Sequence[Run]) -> Table:
    """AUROC on CIFAR-10 per class and their mean, of every system in the paper's order."""
    mine = [run for run in runs if run.data_set == "cifar10" and not is_for_choosing(run)]
    classes = _classes("cifar10")

    def published_row(line: dict[str, str]) -> Row:
        columns = [line[published.CIFAR10_COLUMNS.get(name, name)] for name in classes]
        return (*map(printed, columns), printed(line["mean"]))

    def measured_row(group: Group, score: str | None) -> Row:
        return (*(group.entry(name, score) for name in classes), group.mean(classes, len(classes), score))

    rows = _side_by_side(published.table("table3_cifar10_auc"), mine, len(classes) + 1, published_row, measured_row)
    slips = (
        f'The row "{row}" averages {mean:.3f} over its ten classes; {shown:.3f} is printed.'
        for row, mean, shown in published.slips()
    )
    notes = (*slips, *_remarks("table3_cifar10_auc"), *_notes(mine))
    header = (*_HEAD, *classes, "mean")
    return Table("table3", "Table 3: AUROC on CIFAR-10, per class", header, tuple(rows), notes, words=4)


_TABLE4 = {"mnist": "mnist", "coil100": "coil100", "fashion_mnist": "fmnist", "coil20": None}
"""Data sets of Table 4 and their published columns; COIL-20 is ours, for COIL-100 is not everywhere at hand."""


def table4(runs: Sequence[Run]) -> Table:
    """Mean AUROC over the classes of MNIST, COIL and Fashion-MNIST, by protocol."""
    mine = [run for run in runs if run.data_set in _TABLE4 and not is_for_choosing(run)]

    def published_row(line: dict[str, str]) -> Row:
        return tuple(printed(None if column is None else line[column]) for column in _TABLE4.values())

    def measured_row(group: Group, score: str | None) -> Row:
        return tuple(_mean_on(name, group, score) for name in _TABLE4)

    rows = _side_by_side(published.table("table4_mean_auc"), mine, len(_TABLE4), published_row, measured_row)
    notes = (
        "Protocol 1: official splits merged, five folds, 80 % of the normal class trains, the rest tests with as many "
        "novelties. Protocol 2: official splits, every other class novel. Blocks of angles: COIL's views from 0 to 280 "
        "degrees train, which leaves two test views beside a training one (285 and 355) where a random split leaves "
        "nearly all.",
        *_remarks("table4_mean_auc"),
        *_notes(mine),
    )
    header = (*_HEAD, *map(data_set_title, _TABLE4))
    title = "Table 4: mean AUROC over the classes of MNIST, COIL and Fashion-MNIST"
    return Table("table4", title, header, tuple(rows), notes, words=4)


RECONSTRUCTING = ("VAE", "AnoGAN", "ALOCC", "OCGAN", "DualGAN")
"""Rows of Table 3 whose score is, or holds, the error of a drawn image."""


def pixel_statistics(runs: Sequence[Run]) -> str:
    """A sentence on how the paper's own row of Table 3 follows a measured linear auto-encoder's, far above others.

    Empty where PCA was not run on all ten classes.
    """
    mine = [run for run in runs if run.data_set == "cifar10" and not is_for_choosing(run)]
    groups = [group for group in group_runs(mine) if group.method == PCA.name and not group.calibrated]
    classes = _classes("cifar10")
    measured = next((group for group in groups if set(group.classes) == set(classes)), None)
    if measured is None:
        return ""
    lines = {line["method"]: line for line in published.table("table3_cifar10_auc")}
    ours = [float(lines["Ours"][published.CIFAR10_COLUMNS.get(name, name)]) for name in classes]
    rank = float(spearmanr(ours, [measured.entry(name).value for name in classes]).statistic)
    above = {name: float(lines["Ours"]["mean"]) - float(lines[name]["mean"]) for name in RECONSTRUCTING}
    least, most = min(above, key=above.__getitem__), max(above, key=above.__getitem__)
    return (
        f"- Per class, the published figures follow pixel statistics (rank correlation {rank:.2f} with our lines of a "
        f"linear PCA auto-encoder), and their mean is {above[least]:.2f} ({least}) to {above[most]:.2f} ({most}) above "
        "those of the other reconstruction methods in the same table."
    )


def class_tables(runs: Sequence[Run]) -> list[Table]:
    """What was measured on each class of each data set but CIFAR-10, which has Table 3."""
    tables: list[Table] = []
    for data_set in dict.fromkeys(run.data_set for run in runs if run.data_set != "cifar10"):
        mine = [run for run in runs if run.data_set == data_set]
        there = {run.normal_class for run in mine}
        shown = sorted(there, key=lambda name: class_place(data_set, name))
        whole = _classes(data_set) or shown
        rows = [
            (*_measured_head(group, group.title), *map(group.entry, shown), group.mean(whole, len(whole)))
            for group in sorted(group_runs(mine), key=_coverage)
            if not is_ablated(group) and not group.calibrated
        ]
        if rows:
            title = f"{data_set_title(data_set)}: AUROC per class"
            name = "classes_" + "".join(c for c in data_set if c.isascii() and (c.isalnum() or c == "_"))[:40]
            while any(table.name == name for table in tables):  # of data sets whose names differ in other signs alone
                name += "_"
            header = (*_HEAD, *shown, "mean")
            tables.append(Table(name, title, header, tuple(rows), _notes(mine), words=4))
    return tables


def _side_by_side(
    lines: Iterable[dict[str, str]],
    runs: Sequence[Run],
    width: int,
    published_row: Callable[[dict[str, str]], Row],
    measured_row: Callable[[Group, str | None], Row],
) -> list[Row]:
    """Every published row, below it ours of the same method; then the methods that the paper's table has not.

    A row of one of a method's scores has ours by that score, and leaves our runs to its other rows.
    """
    groups = [group for group in group_runs(runs) if not is_ablated(group) and not group.calibrated]
    groups.sort(key=_coverage)
    rows: list[Row] = []
    shown: list[Group] = []
    for line in lines:
        system = published.system(line["method"])
        built = system.method is not None and method_named(system.method) is not None
        state = "" if built else f"not built: {system.remark or 'no method is named for it'}"
        rows.append((text(system.row), text(f"published {line['year']}"), text(state), text(""), *published_row(line)))
        ours = [group for group in groups if group.method == system.method and _has(group, system.score)]
        rows += [
            (*_measured_head(group, system.row, system.score), *measured_row(group, system.score)) for group in ours
        ]
        shown += ours
        if built and not ours:
            rows.append((text(system.row), missing(), text(""), text(""), *[missing()] * width))
    others = [group for group in groups if group not in shown]
    rows += [(*_measured_head(group, group.title), *measured_row(group, None)) for group in others]
    return rows


def _has(group: Group, score: str | None) -> bool:
    """Whether all finished runs know that score; every run has a headline."""
    return score is None or all(score in run.line["auroc"] for run in group.done)


def _measured_head(group: Group, row: str, score: str | None = None) -> Row:
    keys = tuple(run.key for run in group.runs)
    described = f"by {score or group.done[0].score}, {group.description()}" if group.done else group.description()
    mine = "" if row == group.title else f"{group.title}, "
    return (text(row), Entry("measured"), Entry(mine + described, keys=keys), text(group.repeats()))


def _coverage(group: Group) -> tuple[int, int, str]:
    """Groups with the most classes first, then those with the longest training; extras in the order of their names."""
    return (-len(group.classes), -group.epochs, method_title(group.method))


def _mean_on(data_set: str, group: Group, score: str | None) -> Entry:
    runs = tuple(run for run in group.runs if run.data_set == data_set)
    protocol = str(group.first.cell["protocol"])
    official = data_set not in ("coil20", "coil100")
    if not is_fold(group.first) and (protocol == "angle_blocks") == official:
        return missing("no such split")
    if not runs:
        return missing()
    classes = _classes(data_set)
    return Group(runs).mean(classes, len(classes), score)


def _classes(data_set: str) -> tuple[str, ...]:
    known = datasets.named(data_set)
    return () if known is None else known.classes


def _remarks(name: str) -> list[str]:
    systems = [published.system(line["method"]) for line in published.table(name)]
    return [f"{system.row}: {system.remark}." for system in systems if system.remark]


def _notes(runs: Sequence[Run]) -> tuple[str, ...]:
    """What has to be known of the data and of how figures came about."""
    notes = [
        '"published" figures were printed in the paper and measured by others; "measured" ones are made of result '
        "lines. A figure with ± is a mean over seeds and folds with their standard deviation (n - 1); one without is "
        "a single run. The last epoch is scored; nothing is chosen on test data.",
    ]
    standins = {
        (run.data_set, run.line["data"]["standins"]) for run in runs if (run.line.get("data") or {}).get("standins")
    }
    notes += [
        f"{data_set_title(name)} as measured here holds {count} declared stand-ins for images of the published release."
        for name, count in sorted(standins)
    ]
    if any(run.cell["protocol"] == "one_vs_rest_thinned" for run in runs):
        notes.append(
            '"every 9th novelty only": all test normals and every ninth novelty were scored; such an AUROC estimates '
            "that of the whole test set."
        )
    return tuple(notes)
