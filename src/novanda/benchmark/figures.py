"""The pictures of a report, from result lines and the arrays beside them.

A picture whose arrays are missing is left out, and the report says which and why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from novanda import metrics, pictures
from novanda.benchmark.convergence import convergence
from novanda.benchmark.groups import Group, group_runs, in_words, titled
from novanda.benchmark.published import cifar10_auroc, system, table
from novanda.benchmark.runs import Run, class_place, data_set_title
from novanda.benchmark.tables.ablations import is_ablated
from novanda.benchmark.tables.frontier import marks
from novanda.errors import DataError, InputError
from novanda.pictures import Bar, Trace

Say = Callable[[str], None]
_TRACES = 6  # lines in one panel: more can not be told apart
_SHORTEST = 3  # epochs that make a curve
_METHODS = 12  # panels or lines of one picture


@dataclass(frozen=True)
class Picture:
    """One picture of a report.

    Attributes:
        name: of its file, without ".png"; letters, digits, "_".
        title, caption: what it shows, and how to read it.
        keys: of the result lines it is made of.
        png: the picture itself.
    """

    name: str
    title: str
    caption: str
    keys: tuple[str, ...]
    png: bytes


def every_picture(runs: Sequence[Run], left_out: Say) -> list[Picture]:
    """All that the runs allow; `left_out` is told of each that could not be drawn, and why."""
    done = [run for run in runs if run.error is None]
    makers = (frontier_pictures, class_bars, roc_pictures, training_pictures, embedding_pictures, example_pictures)
    with warnings.catch_warnings():
        # Names come from result lines: a sign that the font has not is drawn as a box, and no fault of anybody's.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        return [picture for maker in makers for picture in maker(done, left_out)]


def class_bars(runs: Sequence[Run], left_out: Say) -> Iterator[Picture]:
    """AUROC per class with intervals, a picture per data set and protocol, a panel per method."""
    for data_set, protocol, groups in _fields(runs):
        panels: dict[str, list[Bar]] = {}
        keys: list[str] = []
        for group in groups:
            bars = []
            for run in _one_a_class(group):
                try:
                    low, high = metrics.auroc_interval(*run.scores())
                except (DataError, InputError) as error:
                    left_out(f"the interval of {_named(run)}: {error}")
                    continue
                keys.append(run.key)
                bars.append(Bar(run.normal_class, run.auroc, (low, high) if low < high else None, _published(run)))
            panels[titled(group, groups)] = bars
        if keys:
            yield Picture(
                f"bars_{_file_name(data_set, protocol)}",
                f"{data_set_title(data_set)}, {protocol}: AUROC per class",
                "Bars: AUROC of one run a class, the lowest seed and fold. Whiskers: its 95 % interval over the test "
                "samples (DeLong), which does not hold the scatter between seeds. Diamonds: published. Dotted line: "
                "0.5, which knows nothing.",
                tuple(keys),
                pictures.png(pictures.auroc_bars(panels)),
            )


def frontier_pictures(runs: Sequence[Run], left_out: Say) -> Iterator[Picture]:
    """Mean AUROC against the core-minutes of training, a picture per data set of which every class was run."""
    for data_set in dict.fromkeys(run.data_set for run in runs):
        found = marks(runs, data_set)
        if len(found) > 1:
            yield Picture(
                f"frontier_{_file_name(data_set)}",
                f"{data_set_title(data_set)}: AUROC against the cost of training",
                "Mean AUROC over all classes, each against the rest, and the mean time that one core would take to "
                "train a detector, scoring not counted. Hollow marks: lines that know only the time on the clock of a "
                "machine that had other work. The dashed line joins what nothing cheaper reaches.",
                tuple(run.key for group, _ in found for run in group.done),
                pictures.png(pictures.frontier([mark for _, mark in found])),
            )


def roc_pictures(runs: Sequence[Run], left_out: Say) -> Iterator[Picture]:
    """ROC curves, a picture per data set and protocol, a panel per class, a line per method."""
    for data_set, protocol, groups in _fields(runs):
        there = {run.normal_class for group in groups for run in group.done}
        classes = sorted(there, key=partial(class_place, data_set))
        panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {name: {} for name in classes}
        keys: list[str] = []
        for group in groups:
            for run in _one_a_class(group):
                try:
                    panels[run.normal_class][titled(group, groups)] = metrics.roc_curve(*run.scores())
                except (DataError, InputError) as error:
                    left_out(f"the ROC curve of {_named(run)}: {error}")
                    continue
                keys.append(run.key)
        if keys:
            yield Picture(
                f"roc_{_file_name(data_set, protocol)}",
                f"{data_set_title(data_set)}, {protocol}: ROC curves",
                "A panel per normal class: the share of novelties found against that of normals flagged, at every "
                "threshold. One run a class, the lowest seed and fold. Dotted: a detector that knows nothing.",
                tuple(keys),
                pictures.png(pictures.roc_curves({name: curves for name, curves in panels.items() if curves})),
            )


def training_pictures(runs: Sequence[Run], left_out: Say) -> Iterator[Picture]:
    """Loss and AUROC over epochs, a picture per data set; methods that measured the AUROC on their way come first."""
    for data_set in dict.fromkeys(run.data_set for run in runs):
        mine = [run for run in runs if run.data_set == data_set and run.losses and not Group((run,)).calibrated]
        mine.sort(key=lambda run: not run.aurocs())  # of two copies of a run the one with an AUROC per epoch is drawn
        groups = [group for group in group_runs(mine) if not is_ablated(group) and group.epochs >= _SHORTEST]
        rows = {}
        keys: list[str] = []
        for group in groups[:_METHODS]:
            shown = group.runs[:_TRACES]
            rows[titled(group, groups)] = [_trace(run) for run in shown]
            keys += [run.key for run in shown]
        if rows:
            yield Picture(
                f"training_{_file_name(data_set)}",
                f"{data_set_title(data_set)}: loss and AUROC over epochs",
                "Triangles: the epoch of convergence, from which on the running median of 5 epochs stays within 5 % of "
                "the curve's way of the level of its last quarter; ± is the mean step from epoch to epoch after that. "
                f"At most {_TRACES} runs a method. AUROC is measured after each epoch where a cell was asked to, and "
                "never chosen by.",
                tuple(keys),
                pictures.png(pictures.training_curves(rows)),
            )


def embedding_pictures(runs: Sequence[Run], left_out: Say) -> Iterator[Picture]:
    """Fig. 4: t-SNE maps of z with and without the estimators; one picture per class, seed and budget."""
    kept = [run for run in runs if "embedding" in (run.cell.get("keep") or ())]
    weights = ("local_weight", "global_weight", "prior_weight")
    found: dict[tuple[str, str, str, str, str], dict[str, Run]] = {}
    for group in group_runs(kept):
        for run in group.runs:
            off = run.method["name"] == "nda" and not any(run.method.get(name) for name in weights)
            state = "without the estimators" if off else "with the estimators" if run.method["name"] == "nda" else ""
            same = (run.data_set, run.normal_class, group.title, group.description(weights), str(run.cell["seed"]))
            some = sorted(set(group.settings) & set(weights)) if not off else []
            words = ", ".join(in_words(name, group.settings[name]) for name in some)
            found.setdefault(same, {}).setdefault(words or state, run)
    for number, (same, states) in enumerate(found.items(), 1):
        panels = {}
        keys = []
        for state, run in sorted(states.items()):
            try:
                arrays = run.kept("embedding", "embedding_novel")
                panels[state or same[2]] = (arrays["embedding"], arrays["embedding_novel"])
                keys.append(run.key)
            except DataError as error:
                left_out(f"the map of {_named(run)}: {error}")
        if panels:
            try:
                drawn = pictures.png(pictures.embedding_maps(panels))
            except InputError as error:
                left_out(f"the map of {same[0]} {same[1]}: {error}")
                continue
            yield Picture(
                f"embedding_{number}",
                f"t-SNE of {same[2]}'s features: {data_set_title(same[0])} {same[1]}",
                f"Test samples, normal and novel ones as many, as the trained encoder sees them. {same[3]}, "
                f"seed {same[4]}. Distances and sizes of clusters in such maps mean little.",
                tuple(keys),
                drawn,
            )


def example_pictures(runs: Sequence[Run], left_out: Say) -> Iterator[Picture]:
    """Contact sheets of the inputs that a detector found most normal and most novel."""
    kept = [run for run in runs if "examples" in (run.cell.get("keep") or ())]
    for run in kept:
        try:
            images = run.kept("examples_images", "examples_novelty", "examples_novel")
            scale, expected = _expected(run)
            normal, novel = run.scores()
            everyone = (np.concatenate([normal, novel]), np.arange(len(normal) + len(novel)) >= len(normal))
            sheet = pictures.example_sheet(
                images["examples_images"], expected, images["examples_novelty"], images["examples_novel"], scale,
                everyone, f"{Group((run,)).title} trained on {data_set_title(run.data_set)} {run.normal_class}",
            )  # fmt: skip
        except (DataError, InputError) as error:
            left_out(f"the contact sheet of {_named(run)}: {error}")
            continue
        yield Picture(
            f"examples_{run.key}",
            f"{Group((run,)).title} on {data_set_title(run.data_set)} {run.normal_class}: the ends of the test set",
            f"The test samples with the lowest and the highest novelty. {Group((run,)).description()}.",
            (run.key,),
            pictures.png(sheet),
        )


# ---------------------------------------------------------------------------------------------------------------
# Parts


def _fields(runs: Sequence[Run]) -> Iterator[tuple[str, str, list[Group]]]:
    """Data sets and protocols, with one group a method: the one with the most classes, then the most epochs."""
    places: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        group = Group((run,))
        if not group.calibrated and not is_ablated(group):
            places.setdefault((run.data_set, group.protocol), []).append(run)
    for (data_set, protocol), mine in places.items():
        best: dict[str, Group] = {}
        for group in sorted(group_runs(mine), key=lambda group: (-len(group.classes), -group.epochs)):
            best.setdefault(group.method, group)
        yield data_set, protocol, list(best.values())[:_METHODS]


def _one_a_class(group: Group) -> list[Run]:
    """The run of the lowest seed and fold of each class."""
    first: dict[str, Run] = {}
    for run in sorted(group.done, key=lambda run: (run.cell["seed"], run.cell["protocol"])):
        first.setdefault(run.normal_class, run)
    return [first[name] for name in group.classes]


def _trace(run: Run) -> Trace:
    losses, aurocs = run.losses, run.aurocs()
    loss = convergence([value for _, value in losses])
    score = convergence([value for _, value in aurocs])
    remarks = f"loss: {loss}".split("; ") + (f"AUROC: {score}".split("; ") if aurocs else [])
    fold = f", {run.cell['protocol'].replace('_', ' ')}" if run.cell["protocol"].startswith("fold_") else ""
    return Trace(
        f"{run.normal_class}, seed {run.cell['seed']}{fold}",
        losses,
        aurocs,
        None if loss.epoch is None else losses[loss.epoch - 1][0],
        None if score.epoch is None else aurocs[score.epoch - 1][0],
        tuple(remarks),
    )


def _expected(run: Run) -> tuple[float, np.ndarray | None]:
    """The scale of error maps, and what the method drew; of one that draws nothing, no image and any scale."""
    try:
        found = run.kept("examples_expected", "examples_scale")
    except DataError:
        return 1.0, None
    return float(found["examples_scale"].mean()), found["examples_expected"]


def _published(run: Run) -> float | None:
    if run.data_set != "cifar10" or run.cell["protocol"] not in ("one_vs_rest", "one_vs_rest_thinned"):
        return None
    rows = [line["method"] for line in table("table3_cifar10_auc")]
    mine = [row for row in rows if system(row).method == run.method["name"]]
    return cifar10_auroc(mine[0], run.normal_class) if mine else None


def _named(run: Run) -> str:
    return f"{Group((run,)).title} on {data_set_title(run.data_set)} {run.normal_class} [{run.key}]"


def _file_name(*parts: str) -> str:
    plain = ["".join(c if c.isascii() and c.isalnum() else "_" for c in part) for part in parts]
    return "_".join(part[:40] for part in plain)
