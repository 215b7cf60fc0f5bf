"""Runs that may be averaged: the same method, settings, budget and protocol, on other classes, seeds and folds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from novanda.benchmark.runs import Run, method_named
from novanda.benchmark.tables.table import FAILED, Entry, missing
from novanda.methods import to_json
from novanda.recordings import form_from_json

_PROTOCOLS = {
    "one_vs_rest": "protocol 2",
    "one_vs_rest_thinned": "protocol 2, every 9th novelty only",
    "fold": "protocol 1",
    "angle_blocks": "blocks of angles",
    "within_training": "training images only",
    "rare_sounds": "events before a scene",
    "rare_sounds_within_training": "events before a scene, training folds only",
}


@dataclass(frozen=True)
class Group:
    """Runs of one method at one budget by one protocol; never empty."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The run that stands for what all have in common."""
        return self.runs[0]

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.first.method["name"])

    @property
    def title(self) -> str:
        """How tables call the method."""
        return method_title(self.method)

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the method's fields that are not at their defaults."""
        return changed_settings(self.first.method)

    @property
    def protocol(self) -> str:
        """In words."""
        return protocol_in_words(str(self.first.cell["protocol"]))

    @property
    def calibrated(self) -> bool:
        """Whether part of the normals was kept out of training."""
        return bool(self.first.cell.get("calibration_fraction"))

    @property
    def epochs(self) -> int:
        """Of training; 0 where the method learns without gradients."""
        return int(self.first.cell["training"].get("epochs") or 0) if self.first.trained else 0

    @property
    def on_gpu(self) -> bool:
        """Whether its runs were trained on a GPU."""
        return self.first.on_gpu

    @property
    def done(self) -> tuple[Run, ...]:
        """The runs that did not fail."""
        return tuple(run for run in self.runs if run.error is None)

    @property
    def classes(self) -> list[str]:
        """Classes with a figure, in the order of the runs."""
        return list(dict.fromkeys(run.normal_class for run in self.done))

    def description(self, without: Collection[str] = ()) -> str:
        """Settings, budget, size and protocol, as a table's row states them; settings in `without` are left out."""
        settings = [in_words(name, value) for name, value in self.settings.items() if name not in without]
        size = self.first.cell.get("image_size")
        held_out = self.first.cell.get("calibration_fraction")
        sounds = self.first.cell.get("recording")
        parts = [
            *settings,
            budget_in_words(self.first.cell["training"]) if self.first.trained else "no gradient training",
            *([f"at {size} x {size}"] if size else []),
            *([form_from_json(sounds).described()] if sounds else []),
            *([f"{held_out:g} of the normals held out"] if held_out else []),
            self.protocol,
            *(["on a GPU"] if self.on_gpu else []),
        ]
        return ", ".join(parts)

    def repeats(self) -> str:
        """How many seeds and folds its figures are over."""
        per_class = [[run for run in self.done if run.normal_class == name] for name in self.classes]
        if not per_class:
            return ""
        seeds = _span([len({run.cell["seed"] for run in runs}) for runs in per_class], "seed")
        if not is_fold(self.first):
            return seeds
        return f"{_span([len({run.cell['protocol'] for run in runs}) for runs in per_class], 'fold')}, {seeds}"

    def entry(self, normal_class: str, score: str | None = None) -> Entry:
        """The figure of one class: the mean over seeds and folds, with its standard deviation where there are two."""
        runs = [run for run in self.runs if run.normal_class == normal_class]
        done = [run for run in runs if run.error is None]
        failed = len(runs) - len(done)
        if not done:
            return Entry(FAILED, "failed", tuple(run.key for run in runs)) if failed else missing()
        values = [_value(run, score) for run in done]
        more = f" ({failed} failed)" if failed else ""
        return _measured(statistics.fmean(values), values, done, more)

    def mean(self, classes: Sequence[str], of: int, score: str | None = None) -> Entry:
        """The mean over the classes, its deviation that of the means of those repeats that have every class.

        Where a class is missing there is no mean, and the entry says how many of them there are; where the classes are
        not all `of` the data set has, that is said beside the mean.
        """
        there = [name for name in classes if name in self.classes]
        if not there:
            return Entry(FAILED, "failed", tuple(run.key for run in self.runs)) if self.runs else missing()
        runs = [run for run in self.done if run.normal_class in there]
        failed = sum(run.error is not None and run.normal_class in classes for run in self.runs)
        lost = f" ({failed} failed)" if failed else ""
        if len(there) < len(classes):
            return Entry(f"{len(there)} of {of} classes{lost}", "missing", tuple(run.key for run in runs))
        by_class: dict[str, list[float]] = {}
        by_repeat: dict[tuple[Any, ...], dict[str, float]] = {}
        for run in runs:
            value = _value(run, score)
            by_class.setdefault(run.normal_class, []).append(value)
            repeat = by_repeat.setdefault((run.cell["seed"], run.cell["protocol"]), {})
            repeat[run.normal_class] = value
        whole = [statistics.fmean(each.values()) for each in by_repeat.values() if len(each) == len(classes)]
        more = (f" ({len(classes)} of {of} classes)" if len(classes) < of else "") + lost
        return _measured(statistics.fmean(map(statistics.fmean, by_class.values())), whole, runs, more)


def titled(group: Group, groups: Sequence[Group]) -> str:
    """The method's title and epochs, for unlike budgets must not pass for like ones; numbered where these are alike."""
    alike = [each for each in groups if (each.title, each.epochs) == (group.title, group.epochs)]
    epochs = f", {group.epochs} epoch{'' if group.epochs == 1 else 's'}" if group.epochs else ""
    return f"{group.title}{epochs}" + (f" ({alike.index(group) + 1})" if len(alike) > 1 else "")


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Runs put together that differ in data set, class, seed and fold alone; those of a GPU in groups of their own.

    Of cells that differ only in what they keep for pictures one counts, the first that did not fail: they are one and
    the same measurement, and a deviation over copies would be 0.
    """
    found: dict[str, dict[tuple[Any, ...], Run]] = {}
    for run in runs:
        cell = run.cell
        budget = cell["training"] if run.trained else None
        family = "fold" if is_fold(run) else cell["protocol"]
        same = (run.method, budget, family, *map(cell.get, ("image_size", "calibration_fraction", "recording")))
        members = found.setdefault(json.dumps((*same, run.on_gpu), sort_keys=True), {})
        repeat = (run.data_set, run.normal_class, cell["seed"], cell["protocol"])
        if repeat not in members or (members[repeat].error is not None and run.error is None):
            members[repeat] = run
    return [Group(tuple(each.values())) for each in found.values()]


def is_fold(run: Run) -> bool:
    """Whether it is one of protocol 1's folds."""
    return str(run.cell["protocol"]).startswith("fold_")


def is_for_choosing(run: Run) -> bool:
    """Whether it is a measurement on training data alone, by which designs are chosen: no figure of the paper's."""
    return str(run.cell["protocol"]).endswith("within_training")


def method_title(name: str) -> str:
    """How tables call a method, which may be one that this version has not."""
    known = method_named(name)
    return name if known is None else known.title


def protocol_in_words(protocol: str) -> str:
    """How tables call a protocol."""
    return _PROTOCOLS.get("fold" if protocol.startswith("fold_") else protocol, protocol)


def changed_settings(method: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a method, as JSON, that differ from this version's defaults."""
    known = method_named(str(method["name"]))
    # Through JSON and back, so that tuples compare with the lists of a result line.
    defaults = {} if known is None else json.loads(json.dumps(to_json(known())))
    return {name: value for name, value in method.items() if name != "name" and defaults.get(name, ...) != value}


def in_words(name: str, value: Any) -> str:
    """A setting as "width 32"; of nested settings the whole."""
    shown = json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else str(value)
    return f"{name.replace('_', ' ')} {shown}"


def budget_in_words(training: Mapping[str, Any]) -> str:
    """Epochs and optimizer; what few people change is said only where it was changed."""
    epochs = training.get("epochs")
    words = [f"{epochs} epoch{'' if epochs == 1 else 's'}"]
    words.append(f"{training.get('optimizer')} {training.get('learning_rate')}")
    words.append(f"batch {training.get('batch_size')}")
    if training.get("weight_decay"):
        words.append(f"weight decay {training['weight_decay']}")
    if training.get("momentum", 0.9) != 0.9:
        words.append(f"momentum {training['momentum']}")
    if training.get("schedule", "constant") != "constant":
        words.append(str(training["schedule"]).replace("_", " "))
    return ", ".join(words)


def _value(run: Run, score: str | None) -> float:
    return run.auroc if score is None else float(run.line["auroc"][score])


def _measured(mean: float, repeats: Sequence[float], runs: Sequence[Run], more: str) -> Entry:
    spread = f" ± {statistics.stdev(repeats):.3f}" if len(repeats) > 1 else ""
    return Entry(f"{mean:.3f}{spread}{more}", "measured", tuple(run.key for run in runs), mean)


def _span(counts: Sequence[int], what: str) -> str:
    low, high = min(counts), max(counts)
    shown = str(high) if low == high else f"{low} to {high}"
    return f"{shown} {what}{'' if high == 1 else 's'}"
