"""ESC-10: clips of ten everyday sounds, five seconds each (Piczak, "ESC: Dataset for Environmental Sound
Classification", ACM Multimedia 2015).

A folder ESC-10 as it is published, `001 - Dog bark/1-100032-A.ogg` (category, fold, clip), or flat, `audio/<clip>.ogg`
with `meta.csv`, a line a clip with its fold and category, where a clip is called `001_1-100032-A`. Clips that were cut
from one recording are in one fold. Sound is not read here: `sources` does that.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from novanda.datasets.dataset import SoundSet
from novanda.errors import DataError

FOLDER = "ESC-10"
FOLDS = (1, 2, 3, 4, 5)
SCENES = {
    "rain": "Rain",
    "sea_waves": "Sea waves",
    "clock_tick": "Clock tick",
    "helicopter": "Helicopter",
    "chainsaw": "Chainsaw",
    "fire_crackling": "Fire crackling",
}
"""The six sounds that go on and can be a background, and the category that each is in meta.csv."""
EVENTS = {"baby_cry": "Baby cry", "dog_bark": "Dog bark", "sneeze": "Person sneeze", "rooster": "Rooster"}
"""The four that are over soon."""

ESC10 = SoundSet(
    name="esc10",
    title="ESC-10",
    classes=tuple(SCENES),
    aliases={"sea": "sea_waves", "clock": "clock_tick", "fire": "fire_crackling"},
    source="https://github.com/karolpiczak/ESC-10",
    layout=f"{FOLDER}/001 - Dog bark/1-100032-A.ogg and so on, or {FOLDER}/audio/*.ogg and {FOLDER}/meta.csv",
)


@dataclass(frozen=True)
class Clip:
    """One file: where it lies, what it is called in either layout, its category in words, and its fold, 1 to 5."""

    path: Path
    name: str
    category: str
    fold: int


@dataclass(frozen=True)
class Clips:
    """All clips of the set, by name."""

    all: tuple[Clip, ...]

    def chosen(self, category: str, *folds: int) -> list[Clip]:
        """The clips of a category in these folds."""
        return [clip for clip in self.all if clip.category == category and clip.fold in folds]

    @cached_property
    def checksum(self) -> str:
        """sha256 (hex) of each file's name, category, fold and content; computed when first asked for."""
        digest = hashlib.sha256()
        for clip in self.all:
            digest.update(repr((clip.name, clip.category, clip.fold)).encode())
            digest.update(clip.path.read_bytes())
        return digest.hexdigest()


def read_clips(root: Path) -> Clips:
    """The clips below `root`/ESC-10, by name.

    Raises:
        DataError: meta.csv or a clip is missing, or a line of it is not as the set has them.
    """
    folder = root / FOLDER
    clips = _flat(folder / "meta.csv") if (folder / "meta.csv").exists() else _in_folders(folder)
    missing = [clip.path for clip in clips if not clip.path.is_file()]
    there = {(clip.category, clip.fold) for clip in clips}
    wanted = {(category, fold) for category in (*SCENES.values(), *EVENTS.values()) for fold in FOLDS}
    if not clips:
        raise DataError(f"{folder}: expected {ESC10.layout}; there is neither; get the set from {ESC10.source}")
    if missing or not wanted <= there:
        lacking = missing[0] if missing else "clips of {} in fold {}".format(*min(wanted - there))
        raise DataError(f"{folder}: expected {lacking}, which is not there; get the set from {ESC10.source}")
    return Clips(tuple(sorted(clips, key=lambda clip: clip.name)))


def _flat(table: Path) -> list[Clip]:
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = [(row["clip"], row["category"], int(row["fold"])) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{table}: expected the columns clip, fold and category: {error!r}; get it again") from error
    audio = table.parent / "audio"
    return [Clip(audio / f"{name}.ogg", f"{name}.ogg", category, fold) for name, category, fold in rows]


def _in_folders(folder: Path) -> list[Clip]:
    """What lies in `<number> - <category>/<fold>-<clip>.ogg`; nothing else is looked at."""
    clips = []
    for path in sorted(folder.glob("* - */*-*.ogg")):
        number, _, category = path.parent.name.partition(" - ")
        fold = path.name.partition("-")[0]
        if fold.isascii() and fold.isdigit():
            clips.append(Clip(path, f"{number}_{path.name}", category, int(fold)))
    return clips
