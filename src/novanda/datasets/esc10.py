"""ESC-10: clips of ten everyday sounds, five seconds each (Piczak, "ESC: Dataset for Environmental Sound
Classification", ACM Multimedia 2015).

A folder ESC-10 with `audio/<clip>.ogg` and `meta.csv`, a line a clip with its fold and category. Clips that were cut
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
    layout=f"{FOLDER}/audio/*.ogg and {FOLDER}/meta.csv",
)


@dataclass(frozen=True)
class Clip:
    """One file: where it lies, its category as meta.csv has it, and its fold, 1 to 5."""

    path: Path
    category: str
    fold: int


@dataclass(frozen=True)
class Clips:
    """All clips of the set, by name."""

    all: tuple[Clip, ...]

    def chosen(self, category: str, *folds: int) -> list[Path]:
        """The files of a category in these folds."""
        return [clip.path for clip in self.all if clip.category == category and clip.fold in folds]

    @cached_property
    def checksum(self) -> str:
        """sha256 (hex) of each file's name, category, fold and content; computed when first asked for."""
        digest = hashlib.sha256()
        for clip in self.all:
            digest.update(repr((clip.path.name, clip.category, clip.fold)).encode())
            digest.update(clip.path.read_bytes())
        return digest.hexdigest()


def read_clips(root: Path) -> Clips:
    """The clips below `root`/ESC-10.

    Raises:
        DataError: meta.csv or a clip is missing, or a line of it is not as the set has them.
    """
    table = root / FOLDER / "meta.csv"
    clips = []
    try:
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                path = table.parent / "audio" / f"{row['clip']}.ogg"
                clips.append(Clip(path, row["category"], int(row["fold"])))
    except FileNotFoundError as error:
        raise DataError(f"{table}: expected {ESC10.layout}; it is missing; get it from {ESC10.source}") from error
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{table}: expected the columns clip, fold and category: {error!r}; get it again") from error
    missing = [clip.path for clip in clips if not clip.path.is_file()]
    there = {(clip.category, clip.fold) for clip in clips}
    wanted = {(category, fold) for category in (*SCENES.values(), *EVENTS.values()) for fold in FOLDS}
    if missing or not wanted <= there:
        lacking = missing[0] if missing else "clips of {} in fold {}".format(*min(wanted - there))
        raise DataError(f"{table.parent}: expected {lacking}, which is not there; get the set from {ESC10.source}")
    return Clips(tuple(sorted(clips, key=lambda clip: clip.path.name)))
