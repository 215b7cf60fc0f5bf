"""Replay-Attack and CASIA-MFSD: faces before a camera, and pictures and videos of faces held up to it.

Both are given out only against a signed agreement, so nothing is fetched; these read the layouts that come in the
archives. Replay-Attack (Chingovska, Anjos and Marcel, BIOSIG 2012):

    <root>/{train,devel,test}/real/client001_session01_webcam_authenticate_adverse_1.mov
                             /attack/{fixed,hand}/attack_highdef_client001_session01_highdef_photo_adverse.mov

CASIA-MFSD, also called CASIA-FASD (Zhang, Yan, Liu, Lei, Yi and Li, ICB 2012), one folder a subject:

    <root>/{train_release,test_release}/<subject>/{1,2,HR_1}.avi     live, with three cameras
                                                 {3,4,HR_2}.avi     a warped photograph
                                                 {5,6,HR_3}.avi     one with the eyes cut out
                                                 {7,8,HR_4}.avi     a video on a screen

Where a face is in each frame stands, of Replay-Attack, in <root>/face-locations/, in a file of the clip's name and
place with the suffix .face: lines of `frame x y width height` in pixels, frames counted from 0. CASIA-MFSD has no such
files; those that somebody makes are found in the same place below its root.

Video is not read here: `sources` does that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from novanda.errors import DataError

Split = Literal["train", "devel", "test"]
_CASIA_PARTS: tuple[tuple[Split, str], ...] = (("train", "train_release"), ("test", "test_release"))
_CASIA_CLIPS = {
    "1": None, "2": None, "HR_1": None, "3": "warped photo", "4": "warped photo", "HR_2": "warped photo",
    "5": "cut photo", "6": "cut photo", "HR_3": "cut photo", "7": "video", "8": "video", "HR_4": "video",
}  # fmt: skip
_REPLAY_PARTS: tuple[Split, ...] = ("train", "devel", "test")


@dataclass(frozen=True)
class FaceClip:
    """A clip of either set.

    Attributes:
        path: of its file.
        split: the official one; CASIA-MFSD has no devel.
        subject: whose face it shows, as the set numbers it within the split's own numbering.
        attack: what was held up, or None where the face is live.
        boxes: the file that says where the face is; None where there is none.
    """

    path: Path
    split: Split
    subject: str
    attack: str | None
    boxes: Path | None = None

    @property
    def live(self) -> bool:
        """Whether a face was there itself."""
        return self.attack is None


def read_replay_attack(root: str | Path) -> list[FaceClip]:
    """All clips of Replay-Attack that lie below `root`, in order of split and name; enrolment clips are left out.

    Raises:
        DataError: a part is missing, or a file is not named as the set's are.
    """
    clips = []
    for split in _REPLAY_PARTS:
        for part in ("real", "attack"):
            files = _files(Path(root) / split / part, "*.mov")
            for file in files:
                client = re.search(r"client(\d{3})_", file.name)
                kind = re.match(r"attack_([a-z]+)_", file.name)
                if client is None or (kind is None) == (part == "attack"):
                    raise DataError(f"{file}: expected a name such as Replay-Attack's, with its client; got another")
                attack = None if kind is None else f"{kind[1]} {file.parent.name}"
                clips.append(FaceClip(file, split, client[1], attack, _boxes(file, root)))
    return clips


def read_casia_mfsd(root: str | Path) -> list[FaceClip]:
    """All clips of CASIA-MFSD that lie below `root`, in order of split and name.

    Raises:
        DataError: a part is missing, or a file is not named as the set's are.
    """
    clips = []
    for split, folder in _CASIA_PARTS:
        for file in _files(Path(root) / folder, "*.avi"):
            if file.stem not in _CASIA_CLIPS:
                raise DataError(f"{file}: expected one of CASIA-MFSD's twelve names ({', '.join(_CASIA_CLIPS)})")
            clips.append(FaceClip(file, split, file.parent.name, _CASIA_CLIPS[file.stem], _boxes(file, root)))
    return clips


@dataclass(frozen=True)
class FaceSet:
    """One of the two data sets.

    Attributes:
        name: of its folder below the data root, and in result lines.
        title: how text calls it.
        read: gives its clips.
        parts: folders that its root holds, for a message.
        source: who gives it out.
    """

    name: str
    title: str
    read: Callable[[str | Path], list[FaceClip]]
    parts: str
    source: str

    def load(self, data_root: Path) -> list[FaceClip]:
        """Its clips below `data_root`; DataError that says what to put where."""
        root = data_root / self.name
        if not root.is_dir():
            raise DataError(
                f"{root}: expected {self.title}, with {self.parts} as in its archives; it is not there. It is given "
                f"out against a signed agreement by {self.source}; unpack it, or make a link to it, there"
            )
        return self.read(root)


FACE_SETS: tuple[FaceSet, ...] = (
    FaceSet(
        "replay-attack",
        "Replay-Attack",
        read_replay_attack,
        "{train,devel,test}/{real,attack}/**/*.mov",
        "the Idiap Research Institute (www.idiap.ch/en/dataset/replayattack)",
    ),
    FaceSet(
        "casia-mfsd",
        "CASIA-MFSD",
        read_casia_mfsd,
        "{train_release,test_release}/SUBJECT/*.avi",
        "the Center for Biometrics and Security Research of CASIA (www.cbsr.ia.ac.cn)",
    ),
)


def _boxes(file: Path, root: str | Path) -> Path | None:
    boxes = Path(root, "face-locations", file.relative_to(root)).with_suffix(".face")
    return boxes if boxes.is_file() else None


def _files(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.rglob(pattern))
    if not found:
        raise DataError(f"{folder}: expected clips ({pattern}) of the official layout; found none; check the folder")
    return found
