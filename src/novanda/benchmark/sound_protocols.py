"""From a published set of sounds to what one cell learns from and is tested on; `rare_sounds` judges what comes of it.

"rare_sounds" is Table 5's: normal is one scene, novel are the events that sound before it. DCASE 2017 has its own
splits. ESC-10 has no mixtures: its clips of folds 1 to 4 are learned from, and the test set is what `novanda mix` makes
of fold 5. "rare_sounds_within_training" is for choosing designs by: folds 1 to 3, tested on fold 4.
"""

from __future__ import annotations

import hashlib
import shutil
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

from novanda.benchmark.rare_sounds import training_segments
from novanda.datasets.dcase2017 import Mixture, read_mixtures
from novanda.datasets.esc10 import EVENTS, SCENES, read_clips
from novanda.errors import InputError
from novanda.mixing import Mixing, mix
from novanda.recordings import AudioForm
from novanda.sources import SoundFiles
from novanda.sources.choosing import ChosenSegments

MIXING = Mixing(ebr=(-6.0, 0.0, 6.0), count=48, seconds=4.9, gain=1.0)
"""Of ESC-10: 192 mixtures, about half of them with an event, for every scene the same draws. The clips last 5 s, a
few of them some hundredths less. The gain is 1, for the detectors learn from the clips as they are."""


@dataclass(frozen=True)
class SoundSplit:
    """What a cell of sound learns from and is tested on.

    Attributes:
        normals: gives the segments to learn from, of the asked form.
        mixtures: the annotated test files.
        checksum: sha256 (hex) of what both are made of.
        provenance: a sentence: whose files these are, and what became of them.
    """

    normals: Callable[[AudioForm], SoundFiles | ChosenSegments]
    mixtures: tuple[Mixture, ...]
    checksum: str
    provenance: str


def dcase(root: Path, scene: str) -> SoundSplit:
    """The segments of devtrain in which no event sounds, and evaltest, of one scene by the official layout."""
    train, test = (read_mixtures(root, split, scene=scene) for split in ("devtrain", "evaltest"))
    digest = hashlib.sha256()
    for mixture in (*train, *test):
        digest.update(repr((mixture.path.name, mixture.scene, mixture.target, mixture.events)).encode())
    return SoundSplit(
        partial(training_segments, train),
        tuple(test),
        digest.hexdigest(),
        f"{len(train)} mixtures of devtrain and {len(test)} of evaltest; the checksum is of names and annotations, for "
        "files have no published ones",
    )


def esc10(root: Path, scene: str, train: tuple[int, ...], test: int) -> SoundSplit:
    """The clips of the scene in the folds `train`, and what `MIXING` makes of its clips and the events' in fold `test`.

    The mixtures lie in a temporary folder, which goes when nothing needs the split any more.
    """
    clips = read_clips(root)
    normals = [clip.path for clip in clips.chosen(SCENES[scene], *train)]
    place = Path(mkdtemp(prefix="novanda-esc10-"))
    for part, categories in (("backgrounds", {scene: SCENES[scene]}), ("events", EVENTS)):
        for name, category in categories.items():
            (place / part / name).mkdir(parents=True)
            for clip in clips.chosen(category, test):
                shutil.copy(clip.path, place / part / name / clip.name)
    made = mix(place / "backgrounds", place / "events", place / "mixed", MIXING)
    folds = ", ".join(map(str, train))
    split = SoundSplit(
        partial(SoundFiles.open, normals, purpose="fit"),
        tuple(read_mixtures(place / "mixed", "evaltest")),
        clips.checksum,
        f"{len(normals)} clips of folds {folds}; {made.count} mixtures of clips of fold {test}, {made.with_event} with "
        f"an event, {made.clipped} of them cut off at full scale, {len(made.left_out)} clips too short to serve",
    )
    weakref.finalize(split, shutil.rmtree, place, ignore_errors=True)
    return split


SOUND_PROTOCOLS: Mapping[tuple[str, str], Callable[[Path, str], SoundSplit]] = {
    ("dcase2017", "rare_sounds"): dcase,
    ("esc10", "rare_sounds"): partial(esc10, train=(1, 2, 3, 4), test=5),
    ("esc10", "rare_sounds_within_training"): partial(esc10, train=(1, 2, 3), test=4),
}


def sound_split(data_set: str, scene: str, protocol: str, root: Path) -> SoundSplit:
    """What a cell of this set, scene and protocol is about.

    Raises:
        DataError: files are missing, or not the published ones; the message says what to put where.
        InputError: the set has no such protocol.
    """
    found = SOUND_PROTOCOLS.get((data_set, protocol))
    if found is None:
        known = ", ".join(f"{name} of {owner}" for owner, name in SOUND_PROTOCOLS)
        raise InputError(f"expected a protocol of sounds ({known}); got {protocol} of {data_set}")
    return found(root, scene)
