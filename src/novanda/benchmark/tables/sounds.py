"""Table 5 of the paper, published beside measured, and its counterpart on ESC-10, from result lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from novanda.benchmark import published
from novanda.benchmark.groups import Group, budget_in_words, group_runs, in_words, is_for_choosing
from novanda.benchmark.runs import Run, method_named
from novanda.benchmark.sound_studies import esc10 as esc10_cells
from novanda.benchmark.tables.ablations import is_ablated
from novanda.benchmark.tables.table import Entry, Table, missing, text
from novanda.benchmark.tables.table import published as printed
from novanda.datasets.dcase2017 import SCENES
from novanda.datasets.esc10 import ESC10
from novanda.recordings import form_from_json

LEVELS = ("segment", "file")
RATIOS = (-6, 0, 6)
_RECIPE = (
    "A segment is novel if an annotated event sounds in it, a file if it holds one; a file scores as its most novel "
    "segment does."
)


def table5(runs: Sequence[Run]) -> Table:
    """AUROC on DCASE 2017 task 2 per scene, of every system in the paper's order, by segment and by file."""
    groups = _groups(runs, "dcase2017")
    lines = published.table("table5_dcase_auc")
    rows: list[tuple[Entry, ...]] = []
    shown: list[Group] = []
    for name in [name for name in lines[0] if name != "scenario"]:
        figures = {published.DCASE_SCENES.get(line["scenario"], line["scenario"]): line[name] for line in lines}
        mean = sum(map(float, figures.values())) / len(figures)
        head = (text(name), text("published"), text(""), text(""))
        rows.append((*head, *(printed(figures[scene]) for scene in SCENES), Entry(f"{mean:.3f}")))
        method = published.system(name).method
        ours = [group for group in groups if group.method == method]
        rows += [row for group in ours for row in _measured(group, name)]
        shown += ours
        kind = None if method is None else method_named(method)
        if kind is not None and not ours:
            lacking = missing() if kind.kinds & {"spectrogram", "waveform"} else missing("takes no sound")
            rows.append((text(name), lacking, text(""), text(""), *[lacking] * (len(SCENES) + 1)))
    rows += [row for group in groups if group not in shown for row in _measured(group, group.title)]
    notes = (
        f"{_RECIPE} Which of the two the paper's figures are of is not said; the published mean is that of the column. "
        "Measured over all ratios of event to background.",
    )
    header = ("method", "figures", "settings, budget, protocol", "repeats", *SCENES, "mean")
    return Table("table5", "Table 5: AUROC of rare sounds, per scene", header, tuple(rows), notes, words=4)


def esc10(runs: Sequence[Run]) -> Table:
    """AUROC on ESC-10 per background, ratio and level, a column a method."""
    return _esc10(runs, "esc10", (*ESC10.classes, None))


def esc10_means(runs: Sequence[Run]) -> Table:
    """The mean over ESC-10's six backgrounds alone."""
    return _esc10(runs, "esc10_means", (None,))


def _esc10(runs: Sequence[Run], name: str, scenes: Sequence[str | None]) -> Table:
    by_method: dict[str, Group] = {}
    for group in _groups(runs, "esc10"):
        by_method.setdefault(group.method, group)
    order = dict.fromkeys(cell.method.name for cell in esc10_cells())
    groups = [by_method.pop(method) for method in order if method in by_method] + list(by_method.values())

    def figure(group: Group, scene: str | None, score: str) -> Entry:
        count = len(ESC10.classes)
        return group.mean(ESC10.classes, count, score) if scene is None else group.entry(scene, score)

    rows = [
        (
            text("mean" if scene is None else scene.replace("_", " ")),
            text(f"{ratio} dB"),
            text(level),
            *(figure(group, scene, f"{level} at {ratio} dB") for group in groups),
        )
        for scene in scenes
        for ratio in RATIOS
        for level in LEVELS
    ]
    notes = (
        "Learned from the clips of folds 1 to 4, tested on what `novanda mix` makes of fold 5: baby cry, dog bark, "
        f"sneeze and rooster mixed in at -6, 0 and 6 dB. {_RECIPE} Nothing was chosen on fold 5.",
        *_budgets(groups),
    )
    header = ("background", "event to background", "AUROC of", *(group.title for group in groups))
    return Table(name, "ESC-10: events before six backgrounds", header, tuple(rows) if groups else (), notes, words=3)


def _budgets(groups: Sequence[Group]) -> Iterator[str]:
    """How sound became samples, with the methods that heard it so and their settings: a sentence for each form."""
    by_form: dict[str, list[str]] = {}
    for group in groups:
        recording, training = group.first.cell.get("recording"), group.first.cell["training"]
        form = form_from_json(recording).described() if recording else "sound"
        settings = [in_words(name, value) for name, value in group.settings.items()]
        settings.append(budget_in_words(training) if group.first.trained else "no gradient training")
        by_form.setdefault(form, []).append(f"{group.title} ({', '.join(settings)})")
    yield from (f"{form[0].upper()}{form[1:]}: {', '.join(names)}." for form, names in by_form.items())


def _groups(runs: Sequence[Run], data_set: str) -> list[Group]:
    """Those with most scenes first, then those with the longest training."""
    mine = group_runs(run for run in runs if run.data_set == data_set and not is_for_choosing(run))
    kept = [group for group in mine if not is_ablated(group) and not group.calibrated]
    return sorted(kept, key=lambda group: (-len(group.classes), -group.epochs, group.title))


def _measured(group: Group, name: str) -> Iterator[tuple[Entry, ...]]:
    keys = tuple(run.key for run in group.runs)
    mine = "" if name == group.title else f"{group.title}, "
    for level in LEVELS:
        yield (
            text(name),
            Entry(f"measured, by {level}"),
            Entry(mine + group.description(), keys=keys),
            text(group.repeats()),
            *(group.entry(scene, level) for scene in SCENES),
            group.mean(SCENES, len(SCENES), level),
        )
