"""Which files a path stands for: flat folders, class folders, MVTec's layout, folders with a train part."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from novanda.errors import DataError, InputError

Purpose = Literal["fit", "score"]
Layout = Literal["files", "flat", "class-folders", "mvtec", "train-folder", "mixed"]
PathLike = str | os.PathLike[str]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
SOUND_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".mp3"})
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".webm", ".mkv"})


@dataclass(frozen=True)
class _Wanted:
    """Files of which kind are looked for; with `frames` also folders that hold images and none of these."""

    noun: str
    article: str
    suffixes: frozenset[str]
    option: str
    frames: bool = False

    def has_name(self, path: Path) -> bool:
        """Whether the suffix, in any case, is one of these."""
        return path.suffix.lower() in self.suffixes

    def known(self) -> str:
        return " ".join(sorted(self.suffixes))


_IMAGES = _Wanted("image", "an", IMAGE_SUFFIXES, "leave --kind out")
_SOUNDS = _Wanted("sound", "a", SOUND_SUFFIXES, "give --kind audio")
_VIDEOS = _Wanted("video", "a", VIDEO_SUFFIXES, "give --kind video", frames=True)


@dataclass(frozen=True)
class FoundFiles:
    """Files of one kind, named as the paths they were asked by.

    Attributes:
        files: each file once, in a deterministic order.
        layout: how the folder was understood; "mixed" where several paths differ in it.
        note: sentences for a person that say what was read and what was left.
    """

    files: tuple[Path, ...]
    layout: Layout
    note: str


def as_paths(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """One path or several as a list; raises InputError where there is none."""
    several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not several:
        raise InputError("expected a folder, a file or a list of them; got an empty list")
    if any(not os.fspath(path) for path in several):
        raise InputError("expected a folder or a file; got an empty name")  # to Path, it would be the current folder
    # os.path, not Path: an unknown ~user and a name too long to be a file's are then just paths to nothing.
    return [Path(os.path.expanduser(path)) for path in several]


def find_images(paths: PathLike | Sequence[PathLike], *, purpose: Purpose = "score") -> FoundFiles:
    """Find the image files of folders (searched through) and files, in a deterministic order, each once.

    Hidden files and folders and `__MACOSX` are left out. Of an MVTec folder (`train/good`) "fit" reads train/good and
    "score" reads test/, never ground_truth; of a folder with train/ "fit" reads train/ alone. Of anything else
    everything is read.

    Raises:
        DataError: a path does not exist, is not an image, or holds none; or a folder of several MVTec categories.
    """
    return _find(paths, purpose, _IMAGES)


def find_sounds(paths: PathLike | Sequence[PathLike], *, purpose: Purpose = "score") -> FoundFiles:
    """As `find_images`, of sound files."""
    return _find(paths, purpose, _SOUNDS)


def find_videos(paths: PathLike | Sequence[PathLike], *, purpose: Purpose = "score") -> FoundFiles:
    """As `find_images`, of video files and of folders of frames: those that hold at least two images and no video."""
    return _find(paths, purpose, _VIDEOS)


def named_or_found(paths: PathLike | Sequence[PathLike], find: Callable[..., FoundFiles]) -> tuple[list[Path], str]:
    """Files as they are named, whatever they hold, and what `find` finds in folders; with its notes.

    For scoring: of a file that was named something must be said, though it can not be read.
    """
    files: list[Path] = []
    notes: dict[str, None] = {}
    for path in as_paths(paths):
        if os.path.isdir(path):
            found = find(path, purpose="score")
            files.extend(found.files)
            notes[found.note] = None
        else:
            files.append(path)
    return files, " ".join(notes)


def frames_in(folder: Path) -> list[Path]:
    """The image files that a folder itself holds, sorted by name."""
    return [child for child in _children(folder) if _IMAGES.has_name(child) and not _ignored(child.name)]


def _find(paths: PathLike | Sequence[PathLike], purpose: Purpose, wanted: _Wanted) -> FoundFiles:
    files: dict[Path, None] = {}
    layouts: list[Layout] = []
    notes: dict[str, None] = {}
    for path in as_paths(paths):
        found = _find_one(path, purpose, wanted)
        files.update(dict.fromkeys(found.files))
        layouts.append(found.layout)
        if found.note:
            notes[found.note] = None
    layout: Layout = layouts[0] if len(set(layouts)) == 1 else "mixed"
    if layout == "files":
        notes = {f"{_count(len(files), 'file')} given by name.": None}
    return FoundFiles(tuple(files), layout, " ".join(notes))


def _find_one(path: Path, purpose: Purpose, wanted: _Wanted) -> FoundFiles:
    what = f"{wanted.article} {wanted.noun}"
    if os.path.isdir(path):
        return _find_in_folder(path, purpose, wanted)
    if not os.path.exists(path):
        raise DataError(f"{path}: expected a folder or {what} file; there is nothing of that name; check the path")
    if not wanted.has_name(path):
        raise DataError(f"{path}: expected {what} ({wanted.known()}); got {path.suffix or 'no suffix'}")
    return FoundFiles((path,), "files", "")


def _find_in_folder(root: Path, purpose: Purpose, wanted: _Wanted) -> FoundFiles:
    folder, layout, note = _part_to_read(root, purpose)
    files = tuple(_walk(folder, wanted))
    if not files:
        where = f"{folder} (chosen because: {note})" if note else str(folder)
        raise DataError(
            f"{where}: expected {wanted.noun}s ({wanted.known()}); found none; give a folder that holds some"
            + (_others_there(folder, wanted) if purpose == "fit" else "")
        )
    if layout is not None:
        return FoundFiles(files, layout, f"{root}: {note}")
    classes = Counter(parts[0] for file in files if len(parts := file.relative_to(folder).parts) > 1)
    if not classes:
        return FoundFiles(files, "flat", f"{root}: {_count(len(files), wanted.noun)}.")
    counts = ", ".join(f"{name} ({count})" for name, count in sorted(classes.items())[:5])
    more = f" and {len(classes) - 5} more" if len(classes) > 5 else ""
    note = f"{root}: {_count(len(classes), 'class folder')}, all of them read: {counts}{more}."
    return FoundFiles(files, "class-folders", note)


def _others_there(folder: Path, wanted: _Wanted) -> str:
    """A hint where a folder holds files of another kind."""
    for other in (_IMAGES, _SOUNDS, _VIDEOS):
        count = 0 if other is wanted else sum(1 for path in _walk(folder, other) if not path.is_dir())
        if count:
            return f", or {other.option} for the {_count(count, other.noun)} there"
    return ""


def _part_to_read(root: Path, purpose: Purpose) -> tuple[Path, Layout | None, str]:
    """The folder to search, with its layout where the names alone tell it."""
    if (root / "train" / "good").is_dir():
        if purpose == "fit":
            return root / "train" / "good", "mvtec", "MVTec layout, so only train/good is read."
        if (root / "test").is_dir():
            return root / "test", "mvtec", "MVTec layout, so only test/ is read."
        return root / "train", "mvtec", "MVTec layout without test/, so train/ is read."
    children = [child for child in _children(root) if child.is_dir() and not _ignored(child.name)]
    categories = [child.name for child in children if (child / "train" / "good").is_dir()]
    if categories:
        # Reading them all would mix the defects and the masks of every category into the normals.
        raise DataError(
            f"{root}: expected one category of an MVTec data set; this folder holds {len(categories)} "
            f"({', '.join(categories[:5])}); give one of them, for instance {root / categories[0]}"
        )
    if purpose == "fit" and (root / "train").is_dir():
        others = [child.name for child in children if child.name != "train"]
        left = f"; left out: {', '.join(others[:5])}{' ...' if len(others) > 5 else ''}" if others else ""
        return root / "train", "train-folder", f"only train/ is read{left}."
    return root, None, ""


def _walk(folder: Path, wanted: _Wanted) -> Iterator[Path]:
    """Files of a kind below a folder, sorted by name at each depth; links are followed, a loop of them once."""
    stack, seen = [folder], set()
    while stack:
        place = stack.pop()
        real = os.path.realpath(place)
        if real in seen:
            continue
        seen.add(real)
        folders = []
        children = [child for child in _children(place) if not _ignored(child.name)]
        if wanted.frames and not any(map(wanted.has_name, children)) and len(frames_in(place)) > 1:
            yield place
        for child in children:
            if child.is_dir():
                folders.append(child)
            elif wanted.has_name(child) and child.is_file():  # is_file: a named pipe would wait for ever
                yield child
        stack.extend(reversed(folders))


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda child: child.name)
    except OSError as error:
        raise DataError(f"{folder}: expected a folder that can be listed; got: {error.strerror or error}") from error


def _ignored(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
