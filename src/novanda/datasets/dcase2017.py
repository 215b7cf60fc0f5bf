"""DCASE 2017 task 2, "TUT Rare Sound Events 2017": the official layout on disk, and what `novanda mix` writes in it.

Mixtures of everyday backgrounds with at most one rare event each (Mesaros et al., "DCASE 2017 challenge setup: tasks,
datasets and baseline system", DCASE workshop 2017). A part of the set is a folder

    <somewhere>/data/mixture_data/<split>/<hash>/audio/mixture_<split>_<class>_<number>_<hash>.wav
                                                /meta/mixture_recipes_<split>_<class>.yaml
                                                     /event_list_<split>_<class>.csv

with split devtrain and devtest (of the development set) or evaltest (of the evaluation set), and a class of event.
Sound is not read here: `sources` does that.
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from novanda.datasets.dataset import SoundSet
from novanda.errors import DataError, InputError

SOURCE = "https://doi.org/10.5281/zenodo.401395 (development) and https://doi.org/10.5281/zenodo.1160455 (evaluation)"
SCENES = (
    "beach", "bus", "cafe/restaurant", "car", "city_center", "forest_path", "grocery_store", "home", "library",
    "metro_station", "office", "park", "residential_area", "train", "tram",
)  # fmt: skip
EVENTS = ("babycry", "glassbreak", "gunshot")
Split = Literal["devtrain", "devtest", "evaltest"]
SPLITS: tuple[Split, ...] = get_args(Split)
FAULTY_LIST = "faulty.txt"

DCASE2017 = SoundSet(
    name="dcase2017",
    title="DCASE 2017 task 2",
    classes=SCENES,
    aliases={"restaurant": "cafe/restaurant", "cafe": "cafe/restaurant"},
    source=SOURCE,
    layout=(
        "TUT-rare-sound-events-2017-development/data/mixture_data/devtrain/ and "
        "TUT-rare-sound-events-2017-evaluation/data/mixture_data/evaltest/"
    ),
)


@dataclass(frozen=True)
class Event:
    """A rare event in a mixture: from `onset` to `offset`, in seconds from the mixture's beginning."""

    onset: float
    offset: float
    label: str


@dataclass(frozen=True)
class Mixture:
    """A file of the set.

    Attributes:
        path: of its sound.
        scene: the background's, `bg_classname` of the recipe.
        target: the class of event it was made for, whether or not it holds one.
        events: those it holds, by the event list.
        ebr: event-to-background ratio in dB; None without an event.
    """

    path: Path
    scene: str
    target: str
    events: tuple[Event, ...]
    ebr: float | None

    def overlaps(self, start: float, end: float) -> bool:
        """Whether an event sounds within this stretch, in seconds; one that only touches it does not."""
        return any(event.onset < end and start < event.offset for event in self.events)


def read_mixtures(
    root: str | Path, split: Split, *, scene: str | None = None, excluded: Sequence[str] = ()
) -> list[Mixture]:
    """The mixtures of a split below `root`, by target class and name.

    Files whose names stand in a `faulty.txt` beside their recipes, one a line, are left out: some published mixtures
    are faulty, and which ones their users found is no part of the set.

    Args:
        root: any folder above the split's, such as that of both sets.
        split: "devtrain", "devtest" or "evaltest".
        scene: only those with this background.
        excluded: names of further files to leave out.

    Raises:
        DataError: no such split below root; a recipe, an event list or a sound that is missing or not as expected.
        InputError: the split is none, or the package yaml is not installed.
    """
    if split not in SPLITS:
        raise InputError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    recipes = sorted(Path(root).glob(f"**/mixture_data/{split}/*/meta/mixture_recipes_{split}_*.yaml"))
    if not recipes:
        raise DataError(
            f"{root}: expected mixture_data/{split} somewhere below it; found none; get the set from {SOURCE} and "
            f"unpack it there, so that there are {DCASE2017.layout}"
        )
    found = [mixture for path in recipes for mixture in _of_recipes(path, split, frozenset(excluded))]
    if scene is None:
        return found
    chosen = [mixture for mixture in found if mixture.scene == scene]
    if not chosen:
        known = ", ".join(sorted({mixture.scene for mixture in found}))
        raise DataError(f"{root}: expected the scene {scene!r} in {split}; found {known}")
    return chosen


def _of_recipes(path: Path, split: str, excluded: frozenset[str]) -> list[Mixture]:
    target = path.stem.removeprefix(f"mixture_recipes_{split}_")
    events = _event_list(path.with_name(f"event_list_{split}_{target}.csv"))
    left_out = excluded | _faulty(path.with_name(FAULTY_LIST))
    mixtures = []
    for number, recipe in enumerate(_recipes(path)):
        try:
            name, scene = str(recipe["mixture_audio_filename"]), str(recipe["bg_classname"])
            ebr = float(recipe["ebr"]) if recipe["event_present"] else None
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: recipe {number} (from 0) is not as the set has them: {error!r}") from error
        if name in left_out:
            continue
        sound = path.parents[1] / "audio" / name
        if not sound.is_file():
            raise DataError(f"{sound}: expected this mixture of {path.name}; it is missing; get it from {SOURCE}")
        if name not in events:
            raise DataError(f"{path}: expected {name} in the event list beside it; it is not there")
        mixtures.append(Mixture(sound, scene, target, events[name], ebr))
    return mixtures


def _recipes(path: Path) -> list[Any]:
    yaml = yaml_package()
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: expected a YAML list of recipes; it can not be read: {error}") from error
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a YAML list of recipes; got a {type(content).__name__}")
    return content


def _event_list(path: Path) -> dict[str, tuple[Event, ...]]:
    """Each file's events; a line with the name alone says that it has none."""
    found: dict[str, tuple[Event, ...]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file, delimiter="\t"):
                cells = [cell for cell in row if cell]
                if len(cells) not in (0, 1, 4):
                    raise ValueError(f"a line of {len(cells)} cells")
                if cells:
                    events = (Event(float(cells[1]), float(cells[2]), cells[3]),) if len(cells) == 4 else ()
                    found[cells[0]] = found.get(cells[0], ()) + events
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: expected lines of file, onset, offset and label, or of a file: {error}") from error
    return found


def _faulty(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line)


def yaml_package() -> Any:
    """The package yaml; InputError that says how to get it where it is not installed."""
    try:
        return importlib.import_module("yaml")
    except ModuleNotFoundError as error:
        raise InputError("recipes of mixtures need the package pyyaml; pip install 'novanda[audio]'") from error
