"""novanda's own method: beside the paper's rows, on other data sets, what each part carries, unseen normals flagged."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from novanda import datasets, metrics
from novanda.benchmark import published
from novanda.benchmark.groups import Group, group_runs, is_for_choosing
from novanda.benchmark.runs import Run, class_place, data_set_place
from novanda.benchmark.tables.everything import flagged_at
from novanda.benchmark.tables.methods import floor_of
from novanda.benchmark.tables.table import Entry, Table, text
from novanda.benchmark.tables.table import published as printed
from novanda.methods import Novanda

PARTS = ("shift", "shape", "parts", "texture")
_FUSED = "novelty"
_EXACT = 1e-3  # of a deviation: float32 scores summed in another order


def flagship_table(runs: Sequence[Run]) -> Table:
    """AUROC on CIFAR-10 class by class: ours at each preset, the paper's own row, the best of its other rows."""
    lines = published.table("table3_cifar10_auc")
    known = datasets.named("cifar10")
    assert known is not None
    ours = [group for group in _longest_first(runs) if len(group.classes) == len(known.classes)]
    rows = []
    for name in (*known.classes, "mean"):
        column = published.CIFAR10_COLUMNS.get(name, name)
        best = max((line for line in lines if line["method"] != "Ours"), key=lambda line: float(line[column]))
        measured = [
            group.mean(known.classes, len(known.classes)) if name == "mean" else group.entry(name) for group in ours
        ]
        paper = next(line[column] for line in lines if line["method"] == "Ours")
        rows.append((text(name), *measured, printed(paper), Entry(f"{best[column]} ({best['method']})", "published")))
    header = ("normal class", *(_named(group) for group in ours), "paper's own, published", "best other, published")
    notes = (
        "Mean over seeds ± their deviation (n - 1), of the last epoch; one without ± is a single run.",
        *(
            f"The ten figures of the paper's own row average {mean:.3f}; {shown:.3f} is printed."
            for row, mean, shown in published.slips()
            if row == "Ours"
        ),
    )
    return Table("flagship", "novanda's own method on CIFAR-10", header, tuple(rows), notes)


def some_classes_table(runs: Sequence[Run]) -> Table:
    """AUROC on CIFAR-10 at presets that several of the classes were run at, beside those that all were, and means."""
    known = datasets.named("cifar10")
    assert known is not None
    groups = [group for group in _longest_first(runs) if len(group.classes) > 1]
    short = [group for group in groups if len(group.classes) < len(known.classes)]
    shared = [name for name in known.classes if short and all(name in group.classes for group in short)]
    shown = [*short, *(group for group in groups if group not in short)]
    rows = [(text(name), *(group.entry(name) for group in shown)) for name in shared]
    if shared:
        rows.append((text("mean of these"), *(group.mean(shared, len(shared)) for group in shown)))
    header = ("normal class", *(_named(group) for group in shown))
    return Table("some classes", "novanda's own method on some classes of CIFAR-10", header, tuple(rows))


def parts_table(runs: Sequence[Run]) -> Table:
    """Mean AUROC on CIFAR-10 of each part alone, and of the others without it."""
    known = datasets.named("cifar10")
    assert known is not None
    header = ("of the scores", "repeats", *known.classes, "mean")
    groups = [group for group in _longest_first(runs) if len(group.classes) == len(known.classes)]
    rows: list[tuple[Entry, ...]] = []
    for group in groups:
        found: dict[str, dict[str, list[float]]] = {}
        for run in sorted(group.done, key=lambda run: class_place("cifar10", run.normal_class)):
            for label, value in _without_each(run).items():
                found.setdefault(label, {}).setdefault(run.normal_class, []).append(value)
        for label, by_class in found.items():
            means = {name: statistics.fmean(values) for name, values in by_class.items()}
            figures = [Entry(f"{means[name]:.3f}", "measured", value=means[name]) for name in known.classes]
            whole = statistics.fmean(means.values())
            named = f"{label}, {_named(group)}"
            rows.append((text(named), text(group.repeats()), *figures, Entry(f"{whole:.3f}", "measured", value=whole)))
    notes = (
        "Mean over seeds. The fused score is a weighted sum of its parts, so what it is without one follows from the "
        "raw scores of the same run: no run of its own is needed, and none was made. What each costs "
        "is measured apart.",
    )
    return Table("parts", "What each part carries", header, tuple(rows), notes, words=2)


def sets_table(runs: Sequence[Run]) -> Table:
    """Mean AUROC on the other data sets, the lowest class, and the nearest neighbour on pixels beside it."""
    rows = []
    for data_set in sorted({run.data_set for run in runs} - {"cifar10"}, key=data_set_place):
        known = datasets.named(data_set)
        whole = [] if known is None else [g for g in _mine(runs, data_set) if len(g.classes) == len(known.classes)]
        for group in whole:
            assert known is not None
            lowest = min(group.classes, key=lambda name: group.entry(name).value or 0.0)
            floor = floor_of([run for run in runs if run.data_set == data_set], group)
            rows.append(
                (
                    text(known.title),
                    text(_named(group)),
                    text(group.protocol),
                    text(group.repeats()),
                    group.mean(known.classes, len(known.classes)),
                    Entry(f"{group.entry(lowest).text} ({lowest})", "measured", group.entry(lowest).keys),
                    text(f"{statistics.fmean(floor.values()):.3f}" if len(floor) == len(known.classes) else ""),
                )
            )
    header = ("data", "preset", "protocol", "repeats", "mean AUROC", "lowest class", "nearest neighbour on pixels")
    return Table("sets", "novanda's own method on other data sets", header, tuple(rows), words=4)


def alarms_table(runs: Sequence[Run]) -> Table:
    """Unseen normals of CIFAR-10 flagged at each asked rate, class by class, with exact 95 % intervals."""
    groups = _mine(runs, "cifar10", calibrated=True)
    rates = list(dict.fromkeys(rate for group in groups for run in group.done for rate in run.line["false_alarms"]))
    rows = []
    for group in groups:
        for run in sorted(group.done, key=lambda run: class_place("cifar10", run.normal_class)):
            flagged = [flagged_at(run, rate) for rate in rates]
            auroc = Entry(f"{run.auroc:.3f}", "measured", (run.key,), run.auroc)
            rows.append((text(run.normal_class), text(_named(group)), *flagged, auroc))
    header = ("normal class", "preset", *(f"asked {float(rate):.2f}" for rate in rates), "AUROC")
    return Table("alarms", "Unseen normals flagged by novanda's own method", header, tuple(rows), words=2)


def _without_each(run: Run) -> dict[str, float]:
    """AUROC of all parts together, of each alone, and of the others without it, from a run's raw scores."""
    found = run.raw_scores("novel", _FUSED, *PARTS)
    novel = found["novel"]

    def auroc(values: np.ndarray) -> float:
        return metrics.auroc(values[~novel], values[novel])

    parts = np.stack([found[name].astype(np.float64) for name in PARTS], 1)
    # The fused score is linear in its parts; which weights fitting gave them shows in the scores themselves.
    table = np.column_stack([parts, np.ones(len(parts))])
    weights, *_ = np.linalg.lstsq(table, found[_FUSED].astype(np.float64), rcond=None)
    worst = np.abs(table @ weights - found[_FUSED]).max()
    if worst > _EXACT * found[_FUSED].std():
        raise ValueError(f"the fused score of {run.key} is no weighted sum of its parts: off by {worst:.3g}")
    alone = {f"{name} alone": auroc(found[name]) for name in PARTS}
    removed = {
        f"without {name}": auroc(np.delete(parts, place, 1) @ np.delete(weights[:-1], place))
        for place, name in enumerate(PARTS)
    }
    return {"all": auroc(found[_FUSED]), **removed, **alone}


def _longest_first(runs: Sequence[Run]) -> list[Group]:
    """Our method's groups on CIFAR-10."""
    return sorted(_mine(runs, "cifar10"), key=lambda group: -group.epochs)


def _mine(runs: Sequence[Run], data_set: str, *, calibrated: bool = False) -> list[Group]:
    """Our method's groups on a data set that score the fused novelty, calibrated or not."""
    mine = [run for run in runs if run.data_set == data_set and not is_for_choosing(run)]
    groups = [group for group in group_runs(mine) if group.method == Novanda.name and group.done]
    return [group for group in groups if group.first.score == _FUSED and group.calibrated is calibrated]


def _named(group: Group) -> str:
    """The preset; its epochs where they are not the preset's own."""
    preset = group.settings.get("preset", Novanda().preset)
    usual = Novanda(preset=preset).usual_training().epochs
    epochs = "" if group.epochs == usual else f", {group.epochs} epoch{'' if group.epochs == 1 else 's'}"
    return f"{preset}{epochs}{', on a GPU' if group.on_gpu else ''}"
