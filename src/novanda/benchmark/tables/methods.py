"""A page of one method: what its docstring says, what was measured, what it costs; and the list of all."""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from novanda import datasets
from novanda.benchmark import published
from novanda.benchmark.groups import Group, group_runs, is_fold, is_for_choosing
from novanda.benchmark.runs import Run, data_set_title
from novanda.benchmark.tables.ablations import is_ablated
from novanda.benchmark.tables.table import Entry, Table, missing, text
from novanda.benchmark.tables.table import published as printed
from novanda.method import Method
from novanda.methods import METHODS, NearestNeighbour

_NAMED = 6  # classes that are named one by one; of more only their number is told
_SCORING_ADDS = "multiply-adds to score an image, millions"
_PAPER = {"cifar10": ("table3_cifar10_auc", "mean"), "mnist": ("table4_mean_auc", "mnist")}
_PAPER |= {"fashion_mnist": ("table4_mean_auc", "fmnist"), "coil100": ("table4_mean_auc", "coil100")}


def method_page(kind: type[Method], runs: Sequence[Run], line: Mapping[str, Any] | None) -> str:
    """The whole page in Markdown; its first part is made of the docstring by the documentation's builder."""
    table = measured_table(kind, runs)
    measured = [table.to_markdown(notes=True), "", against_nearest_neighbour(kind, runs)] if table.rows else []
    return "\n".join(
        (
            "<!-- Made by `make readme` from the method's docstring and the committed result lines. -->",
            f"# {kind.title}",
            "",
            f"In Python `methods.{kind.__name__}`, on the command line `--method {kind.name}`"
            + (f" (or `{'`, `'.join(kind.aliases)}`)" if kind.aliases else "")
            + f". Takes samples of kind {', '.join(sorted(kind.kinds))}"
            + ("." if kind.sides is None else f", {', '.join(map(str, kind.sides))} pixels square."),
            "",
            f"::: {kind.__module__}.{kind.__name__}",
            "    options: {members: false, show_root_heading: false, show_root_toc_entry: false, show_bases: false}",
            "",
            "## Measured",
            "",
            *(measured or ["No result line yet."]),
            "",
            "## Cost",
            "",
            *_cost_lines(kind, line),
            "",
        )
    )


def measured_table(kind: type[Method], runs: Sequence[Run]) -> Table:
    """Mean AUROC of a method on each data set at each budget, the published figure and the floor beside it."""
    rows = []
    for data_set in dict.fromkeys(run.data_set for run in runs):
        mine = [run for run in runs if run.data_set == data_set]
        for group in _groups(kind, mine):
            classes = group.classes
            whole = datasets.named(data_set)
            named = f"all {len(classes)}" if whole and len(classes) == len(whole.classes) else str(len(classes))
            floor = floor_of(mine, group)
            means = [floor[name] for name in classes if name in floor]
            rows.append(
                (
                    text(data_set_title(data_set)),
                    text(f"by {group.first.score}, {group.description()}"),
                    text(", ".join(classes) if len(classes) <= _NAMED else named),
                    text(group.repeats()),
                    group.mean(classes, len(classes)),
                    _paper(kind, group, data_set, whole is not None and len(classes) == len(whole.classes)),
                    Entry(f"{statistics.fmean(means):.3f}") if len(means) == len(classes) else missing(),
                    text(f"{statistics.median(float(run.line['fit_seconds']) for run in group.done):,.0f}"),
                )
            )
    header = ("data", "settings, budget, protocol", "classes", "repeats", "AUROC", "published")
    notes = (
        "AUROC is the mean over these classes, of the last epoch. Published is the mean that the paper prints for all "
        "classes of the data set. The floor is the nearest neighbour on pixels, on the same classes. Seconds to fit "
        "are those of the result lines, of a CPU, or of a GPU where a row says so, that other runs shared: "
        "upper bounds.",
    )
    title = f"{kind.title}: what was measured"
    return Table(f"method_{kind.name}", title, (*header, "floor", "fit, s"), tuple(rows), notes, words=4)


def against_nearest_neighbour(kind: type[Method], runs: Sequence[Run]) -> str:
    """On how many of the cells where both were measured a method beats the nearest neighbour on pixels."""
    if kind is NearestNeighbour:
        return ""
    better, level, of = set(), set(), set()
    for data_set in dict.fromkeys(run.data_set for run in runs):
        mine = [run for run in runs if run.data_set == data_set]
        for group in _groups(kind, mine):
            floor = floor_of(mine, group)
            for name in group.classes:
                if name in floor:
                    of.add((data_set, name))
                    value = group.entry(name).value or 0.0
                    if value > floor[name]:
                        better.add((data_set, name))
                    elif f"{value:.3f}" == f"{floor[name]:.3f}":
                        level.add((data_set, name))
    if not of:
        return "The nearest neighbour on pixels was not measured on these classes."
    if not better:
        return f"At these budgets it does **not** beat the nearest neighbour on pixels on any of {len(of)} classes."
    said = f"It beats the nearest neighbour on pixels on {len(better)} of {len(of)} classes, at one of these budgets"
    tied = len(level - better)
    return f"{said}, and is level with it to three digits on {tied} more." if tied else f"{said}."


def methods_index(runs: Sequence[Run], line: Mapping[str, Any] | None) -> Table:
    """Every method in one line: its idea, its mean on CIFAR-10 where all ten classes were run, its cost."""
    cifar = [run for run in runs if run.data_set == "cifar10"]
    costs_of = ("parameters", _SCORING_ADDS, "training, images/s", "scoring, images/s")
    rows = []
    for kind in METHODS:
        whole = [group for group in _groups(kind, cifar) if len(group.classes) == 10]
        best = max(whole, key=lambda group: group.epochs, default=None)
        idea = inspect.cleandoc(kind.__doc__ or "").splitlines()[0]
        costs = _costs(kind, line)
        rows.append(
            (
                Entry(f"[{kind.title}]({kind.name}.md)"),
                text(idea),
                missing() if best is None else _whole_mean(best),
                text("" if best is None or not best.epochs else str(best.epochs)),
                *(text(costs.get(name, "")) for name in costs_of),
            )
        )
    header = (
        "method",
        "idea",
        "CIFAR-10 mean AUROC",
        "epochs",
        *costs_of,
    )
    return Table("methods", "Every method", header, tuple(rows), words=2)


def _whole_mean(group: Group) -> Entry:
    """A group's mean over all ten classes, with what sets it apart from a whole test set on a CPU."""
    mean = group.mean(group.classes, 10)
    apart = [
        *(["every 9th novelty"] if str(group.first.cell["protocol"]).endswith("_thinned") else []),
        *(["on a GPU"] if group.on_gpu else []),
    ]
    return replace(mean, text=", ".join([mean.text, *apart]))


def _groups(kind: type[Method], runs: Sequence[Run]) -> list[Group]:
    shown = [run for run in runs if not is_for_choosing(run)]
    groups = [group for group in group_runs(shown) if group.method == kind.name and group.done]
    kept = [group for group in groups if not is_ablated(group) and not group.calibrated]
    return sorted(kept, key=lambda group: (is_fold(group.first), -len(group.classes), -group.epochs))


def floor_of(runs: Sequence[Run], group: Group) -> dict[str, float]:
    """The nearest neighbour's AUROC by class, under the group's protocol or the whole of which it scores a part."""
    protocol = str(group.first.cell["protocol"]).removesuffix("_thinned")
    for other in _groups(NearestNeighbour, runs):
        theirs = str(other.first.cell["protocol"])
        if theirs == protocol or (is_fold(other.first) and is_fold(group.first)):
            values = {name: other.entry(name).value for name in other.classes}
            return {name: value for name, value in values.items() if value is not None}
    return {}


def _paper(kind: type[Method], group: Group, data_set: str, whole: bool) -> Entry:
    """The printed mean of the method's row, or of its score's; none where other classes were measured."""
    if data_set not in _PAPER or not whole:
        return missing("")
    name, column = _PAPER[data_set]
    systems = [(line, published.system(line["method"])) for line in published.table(name)]
    rows = [line for line, each in systems if each.method == kind.name and each.score in (None, group.first.score)]
    return printed(rows[0][column] or None) if rows else missing("")


def _costs(kind: type[Method], line: Mapping[str, Any] | None) -> dict[str, str]:
    """What one line of `make bench` says of a method, by column."""
    if line is None or kind.name not in line["scoring"]:
        return {}
    training, scoring = line["training"].get(kind.name), line["scoring"][kind.name]
    size = line.get("networks", {}).get(kind.name)
    costs = {}
    if size is not None:
        costs["parameters"] = f"{size['parameters']:,}"
        costs[_SCORING_ADDS] = f"{size['scoring_multiply_adds'] / 1e6:,.1f}"
        if training is not None:
            adds = training["step_gflop"] * 1e9 / 2 / line["sizes"]["batch_size"]
            costs["multiply-adds to train on an image once, millions"] = f"{adds / 1e6:,.1f}"
    if training is not None:
        costs["training, images/s"] = f"{training['auto']['images_per_second']['median']:,.0f}"
    costs["scoring, images/s"] = f"{scoring['images_per_second']['median']:,.0f}"
    costs["scoring one image, ms"] = f"{scoring['latency_ms']['median']:.1f}"
    return costs


def _cost_lines(kind: type[Method], line: Mapping[str, Any] | None) -> list[str]:
    costs = _costs(kind, line)
    if line is None or not costs:
        return ["Not measured yet."]
    machine, settings = line["machine"], line.get("settings", {}).get(kind.name, kind.name)
    changed = settings.removeprefix(kind.name).strip()
    where = f"{machine['processor']}, {machine['threads']} threads, {line['date'][:10]}, commit {line['commit']}"
    made = Table.of_texts("cost", "Cost", list(costs), [list(costs.values())])
    shape = " x ".join(map(str, line["sizes"]["sample"]))
    what = f"Samples of {shape}" + (f", with {changed}" if changed else ", default settings")
    return [made.to_markdown(), "", f"{what}. Measured by `make bench`: {where}."]
