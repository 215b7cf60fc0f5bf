"""Tables 1 and 2, what becomes of NDA without its parts, and the cells that the paper lacks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from novanda.benchmark import published
from novanda.benchmark.groups import Group, changed_settings, group_runs
from novanda.benchmark.runs import Run, class_place
from novanda.benchmark.tables.table import Entry, Table, missing, text
from novanda.benchmark.tables.table import published as printed
from novanda.datasets.cifar10 import CIFAR10
from novanda.methods import NDA

_WEIGHTS = ("local_weight", "global_weight", "prior_weight")
_PARTS = ("removed", "reconstruction_loss", "latent_start")
_NORMS = ("pyramid_weighting", "latent_reduction")
_NOTE = (
    "Published figures are means over all ten classes. The measured mean is over the classes that every measured row "
    "of the same budget has, so compare measured rows with one another. NDA with its default settings but for what the "
    "row says."
)
_OF = {"removed_input": "removed", "reconstruction_loss": "reconstruction_loss", "latent_prior": "latent_start"}
"""Table 2's parts and NDA's settings; the values bear the same names in both."""


def is_ablated(group: Group, without: Collection[str] = ()) -> bool:
    """Whether a group belongs to an ablation: NDA without one of its parts, or with one in another reading.

    Settings in `without` are not looked at.
    """
    return group.method == "nda" and any(
        name in (*_PARTS, *_NORMS, "negatives") or (name in _WEIGHTS and not value)
        for name, value in group.settings.items()
        if name not in without
    )


def table1(runs: Sequence[Run]) -> Table:
    """The effect of the three estimators of mutual information, one by one."""
    lines = published.table("table1_mi_ablation")
    columns = ("local_mi", "global_mi", "prior_mi")
    settings = [
        _Setting(
            tuple("yes" if line[column] == "1" else "no" for column in columns),
            {weight: line[column] == "1" for weight, column in zip(_WEIGHTS, columns, strict=True)},
            line["cifar10_mean_auc"],
        )
        for line in lines
    ]
    return _ablation(
        "table1", "Table 1: the estimators of mutual information", ("local", "global", "prior"), settings, runs
    )


def table2(runs: Sequence[Run]) -> Table:
    """What estimators see, what reconstruction is measured by, and where latents start."""
    settings = [
        _Setting(
            (line["part"].replace("_", " "), line["setting"]),
            {_OF[line["part"]]: line["setting"]},
            line["cifar10_mean_auc"],
        )
        for line in published.table("table2_ablation")
    ]
    return _ablation("table2", "Table 2: ablation of NDA's parts", ("part", "setting"), settings, runs)


_ESTIMATORS = {
    "none": (False, False, False),
    "prior": (False, False, True),
    "local + global": (True, True, False),
    "all": (True, True, True),
}
_NEGATIVES = ("augmented", "shuffled", "none")


def negatives_grid(runs: Sequence[Run]) -> Table:
    """Does the negative augmentation carry anything? Estimators by kind of negatives; not in the paper."""
    fields = (*_WEIGHTS, "negatives")
    rows: list[tuple[Entry, ...]] = []
    wanted = {
        words: [{**dict(zip(_WEIGHTS, on, strict=True)), "negatives": kind} for kind in _NEGATIVES]
        for words, on in _ESTIMATORS.items()
    }
    for number, every in enumerate(_bases(runs, fields)):
        base = every.showing(each for row in wanted.values() for each in row)
        for words, on in _ESTIMATORS.items():
            cells = [base.find(each) for each in wanted[words]]
            if not any(cells) and number:
                continue
            moot = missing("no negatives enter") if not (on[0] or on[1]) else missing()
            repeats = next((group.repeats() for group in cells if group), "")
            head = (text(base.description), text(repeats))
            for name in base.shared:
                entries = [moot if group is None else group.entry(name) for group in cells]
                rows.append((text(words), text(name), *head, *entries))
            rows.append((text(words), text("mean"), *head, *(base.mean(group, moot) for group in cells)))
    if not rows:
        rows = [(text(words), text("mean"), missing(), text(""), *[missing()] * 3) for words in _ESTIMATORS]
    negatives = (f"negatives: {kind}" for kind in _NEGATIVES)
    header = ("estimators", "normal class", "settings, budget, protocol", "repeats", *negatives)
    notes = (
        "AUROC on CIFAR-10, all measured; the paper has no such table. Shuffled: other images' local maps as "
        "negatives. None: positive pairs alone. Without the local and the global estimator no negatives enter the "
        "loss: that one figure stands in the first column.",
    )
    return Table(
        "negatives_grid", "Does the negative augmentation carry anything?", header, tuple(rows), notes, words=4
    )


# ---------------------------------------------------------------------------------------------------------------
# Parts


@dataclass(frozen=True)
class _Setting:
    """A row: its words, the values it stands for (True and False: a weight above or at 0), its published figure."""

    words: tuple[str, ...]
    wanted: Mapping[str, Any]
    printed: str


@dataclass(frozen=True)
class _Base:
    """Runs that are alike but for the settings an ablation varies.

    Attributes:
        description: what they have in common.
        groups: (values of those settings, runs).
        classes: that any of the runs has a figure for.
        shared: those that every one of its groups has, over which rows can be compared.
    """

    description: str
    groups: tuple[tuple[dict[str, Any], Group], ...]
    classes: tuple[str, ...]
    shared: tuple[str, ...]

    def find(self, wanted: Mapping[str, Any]) -> Group | None:
        """The group with these values and, of what else the ablation varies, the whole method's."""
        return next((group for values, group in self.groups if values == {**_whole(values), **wanted}), None)

    def showing(self, wanted: Iterable[Mapping[str, Any]]) -> _Base:
        """The same, its shared classes those of the groups that a table shows: other runs must not decide on them."""
        sides = [set(group.classes) for group in map(self.find, wanted) if group is not None and group.classes]
        return replace(self, shared=tuple(name for name in self.classes if sides and all(name in s for s in sides)))

    def mean(self, group: Group | None, otherwise: Entry) -> Entry:
        """Over the classes that all groups shown of this base have, so that rows can be compared."""
        if group is None:
            return otherwise
        if group.classes and not self.shared:
            return missing("no class in common")
        return group.mean(self.shared, len(CIFAR10.classes))


def _ablation(
    name: str, title: str, columns: tuple[str, ...], settings: Sequence[_Setting], runs: Sequence[Run]
) -> Table:
    """Every published setting once, at the budget with the most of them or as not run; at others what was run."""
    fields = tuple(dict.fromkeys(field for setting in settings for field in setting.wanted))
    bases = [base.showing(setting.wanted for setting in settings) for base in _bases(runs, fields)]
    classes = sorted({c for base in bases for c in base.classes}, key=lambda c: class_place("cifar10", c))
    rows: list[tuple[Entry, ...]] = []
    for number, base in enumerate(bases or (None,)):
        for setting in settings:
            words = tuple(map(text, setting.words))
            group = None if base is None else base.find(setting.wanted)
            if group is None and number:
                continue
            if base is None or group is None:
                described = missing() if base is None else text(base.description)
                figures = tuple([missing()] * (len(classes) + 1))
                rows.append((*words, described, text(""), printed(setting.printed), *figures))
            else:
                figures = (*map(group.entry, classes), base.mean(group, missing()))
                described = text(base.description)
                rows.append((*words, described, text(group.repeats()), printed(setting.printed), *figures))
    header = (*columns, "measured with", "repeats", "published mean", *classes, "measured mean")
    return Table(name, f"{title} (CIFAR-10, AUROC)", header, tuple(rows), (_NOTE,), words=len(columns) + 2)


def _bases(runs: Sequence[Run], fields: tuple[str, ...]) -> list[_Base]:
    """NDA's runs on CIFAR-10 by what they have in common, if that is the whole method but for the settings varied.

    Only where at least one of them has something taken away: the whole method alone is no ablation.
    """
    found: dict[str, list[tuple[dict[str, Any], Group]]] = {}
    mine = [run for run in runs if run.data_set == "cifar10" and run.method["name"] == "nda"]
    for group in group_runs(mine):
        if not group.calibrated and all(name in group.first.method for name in fields):
            values = {name: _value(name, group.first.method[name]) for name in fields}
            found.setdefault(_in_common(group, fields), []).append((values, group))
    bases = []
    for groups in found.values():
        varied = _varied(groups[0][1], fields)
        if is_ablated(groups[0][1], without=varied) or all(values == _whole(values) for values, _ in groups):
            continue
        sides = [set(group.classes) for _, group in groups if group.classes]
        there = sorted(set().union(*sides), key=lambda name: class_place("cifar10", name))
        shared = tuple(name for name in there if all(name in side for side in sides))
        bases.append(_Base(groups[0][1].description(without=varied), tuple(groups), tuple(there), shared))
    return sorted(bases, key=lambda base: (-len(base.groups), base.description))


def _in_common(group: Group, fields: Sequence[str]) -> str:
    varied, cell = _varied(group, fields), group.first.cell
    method = {name: value for name, value in cell["method"].items() if name not in varied}
    protocol = group.protocol
    return json.dumps((method, cell["training"], protocol, cell.get("image_size")), sort_keys=True)


def _varied(group: Group, fields: Sequence[str]) -> set[str]:
    """The settings an ablation varies; not a weight that is neither 0 nor the default, which is another base."""
    changed = changed_settings(group.first.method)
    return {name for name in fields if not (name in _WEIGHTS and changed.get(name, 0))}


def _value(name: str, value: Any) -> Any:
    return bool(value) if name in _WEIGHTS else value


def _whole(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the whole method."""
    return {name: _value(name, getattr(NDA(), name)) for name in values}
