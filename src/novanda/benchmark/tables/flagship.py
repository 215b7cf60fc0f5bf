"""novanda's own method: beside the paper's rows class by class, and what each of its parts carries."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from novanda import datasets, metrics
from novanda.benchmark import published
from novanda.benchmark.groups import Group, group_runs, is_for_choosing
from novanda.benchmark.runs import Run, class_place
from novanda.benchmark.tables.table import Entry, Table, text
from novanda.benchmark.tables.table import published as printed
from novanda.methods import Novanda

PARTS = ("shift", "shape", "parts", "texture")
_FUSED = "novelty"
_EXACT = 1e-3  # of a deviation: float32 scores summed in another order


def flagship_table(runs: Sequence[Run]) -> Table:
    """AUROC on CIFAR-10 class by class: ours at each preset, the paper's own row, the best of its other rows."""
    lines = published.table("table3_cifar10_auc")
    ours = [group for group in _whole(runs) if len(group.classes) > 1]
    known = datasets.named("cifar10")
    assert known is not None
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
    notes = ("Mean over seeds ± their deviation (n - 1), of the last epoch; one without ± is a single run.",)
    return Table("flagship", "novanda's own method on CIFAR-10", header, tuple(rows), notes)


def parts_table(runs: Sequence[Run]) -> Table:
    """Mean AUROC on CIFAR-10 of each part alone, and of the others without it."""
    known = datasets.named("cifar10")
    assert known is not None
    header = ("of the scores", "repeats", *known.classes, "mean")
    groups = [group for group in _whole(runs) if len(group.classes) == len(known.classes) and not group.calibrated]
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
        "raw scores of the same run: no run of its own is needed, and none was made. The parts cost the same to train, "
        "for they look at one net.",
    )
    return Table("parts", "What each part carries", header, tuple(rows), notes, words=2)


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


def _whole(runs: Sequence[Run]) -> list[Group]:
    """Our method's groups on CIFAR-10 that score the fused novelty, the longest training first."""
    mine = [run for run in runs if run.data_set == "cifar10" and not is_for_choosing(run)]
    groups = [group for group in group_runs(mine) if group.method == Novanda.name and group.done]
    kept = [group for group in groups if group.first.score == _FUSED and not group.calibrated]
    return sorted(kept, key=lambda group: (-len(group.classes), -group.epochs))


def _named(group: Group) -> str:
    return f"{group.settings.get('preset', Novanda().preset)}{', on a GPU' if group.on_gpu else ''}"
