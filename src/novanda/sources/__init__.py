"""Files, arrays and named data sets as sources of samples (C, H, W)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from novanda import datasets
from novanda.errors import DataError, InputError
from novanda.recordings import AudioForm, Form, VideoForm
from novanda.samples import Kind, SampleSpec, Source
from novanda.sources.arrays import ArraySource, is_tensor, open_array_file
from novanda.sources.choosing import ChosenSegments
from novanda.sources.clips import clip_thumbnails
from novanda.sources.decoding import choose_side
from novanda.sources.finding import (
    IMAGE_SUFFIXES,
    SOUND_SUFFIXES,
    VIDEO_SUFFIXES,
    FoundFiles,
    Purpose,
    as_paths,
    find_images,
    find_sounds,
    find_videos,
)
from novanda.sources.images import ImageFiles, decode, resize
from novanda.sources.sounds import SoundFiles, sound_envelope, sound_spectrogram
from novanda.sources.videos import VideoFiles

__all__ = [
    "ArraySource",
    "ChosenSegments",
    "FoundFiles",
    "ImageFiles",
    "Purpose",
    "SoundFiles",
    "VideoFiles",
    "clip_thumbnails",
    "decode",
    "find_images",
    "find_sounds",
    "find_videos",
    "open_array_file",
    "open_source",
    "read_each",
    "resize",
    "sound_envelope",
    "sound_spectrogram",
]

FORM_OF_NAMES = "name:class[:split], for instance cifar10:ship or mnist:not-3:test"


def read_each(source: Source, positions: Sequence[int]) -> list[np.ndarray | DataError]:
    """The raw samples (C, H, W) at these positions, or for each the error that says why it can not be read."""
    if isinstance(source, ImageFiles | SoundFiles | VideoFiles | ChosenSegments):
        return source.read_each(positions)
    return list(source.read(positions))


@dataclass(frozen=True)
class _Request:
    purpose: Purpose
    kind: Kind | None
    size: int | None
    sides: Sequence[int] | None
    spec: SampleSpec | None
    form: Form | None
    flow_cache: Path | None
    strict: bool
    progress: bool


def open_source(
    data: Any,
    *,
    purpose: Purpose,
    kind: Kind | None = None,
    size: int | None = None,
    sides: Sequence[int] | None = None,
    spec: SampleSpec | None = None,
    form: Form | None = None,
    flow_cache: Path | None = None,
    strict: bool = False,
    data_root: str | Path | None = None,
    progress: bool = False,
) -> Source:
    """Samples from whatever a person has.

    Args:
        data: a source, which is taken as it is; an array, a tensor or a list of arrays (see `ArraySource`); a path, or
            a list of paths, of folders and image files (see `ImageFiles`), sound files (see `SoundFiles`) or clips (see
            `VideoFiles`); a .npy or .npz file; or a published data set as "name:class[:split]", where the class is a
            name, a number, "not-" and one of these, or "all", and the split is train (default), test or all. A path
            that exists wins over a name.
        purpose: "fit" scans image files and infers shape and range; "score" needs `spec` for files to be read lazily.
        kind: what the numbers mean, where the data leave it open.
        size: side of square images; None: see `ArraySource` and `ImageFiles.open`; data sets as files.
        sides: the sides to choose from where `size` is None, such as those a method can take.
        spec: the samples of a fitted detector: everything is made to fit it or refused, and `size` is not used.
        form: how recordings become samples; paths are then read as sound or video. None: as `spec` says.
        flow_cache: of video, a folder to keep flows in between runs, see `flow_cache.FlowCache`.
        strict: a broken file is an error instead of being skipped.
        data_root: where published data sets lie; None: the environment's NOVANDA_DATA.
        progress: draw a progress bar on standard error.

    Raises:
        InputError: arrays or arguments that can not serve.
        DataError: files or names that can not.
    """
    form = spec.recording if form is None and spec is not None else form
    if isinstance(data, Source):
        return data
    request = _Request(purpose, kind, size, sides, spec, form, flow_cache, strict, progress)
    if isinstance(data, str | Path):
        path = as_paths(data)[0]
        if os.path.exists(path):  # not Path.exists, which raises where the name is too long to be a file's
            return _open_paths([path], request)
        return _open_named(str(data), data_root, request)
    if isinstance(data, list | tuple):
        if not data:
            raise InputError("expected an array, a path or a list of them; got an empty list")
        paths = [item for item in data if isinstance(item, str | Path)]
        if len(paths) == len(data):
            return _open_paths(as_paths(paths), request)
        if paths:
            raise InputError("expected a list of arrays or a list of paths; got both in one; give them apart")
        data = _stack(data)
    return ArraySource(data, kind=kind, size=size, sides=sides, spec=spec)


def _stack(rows: Sequence[Any]) -> Any:
    rows = [row.detach().cpu() if is_tensor(row) else row for row in rows]
    shapes = list(dict.fromkeys(np.shape(row) for row in rows if hasattr(row, "shape")))
    if len(shapes) > 1:
        raise InputError(f"expected arrays of one shape; got {shapes[0]} and {shapes[1]}; resize them alike")
    if all(hasattr(row, "shape") for row in rows):
        return np.stack([np.asarray(row) for row in rows])
    return rows


def _open_paths(paths: list[Path], request: _Request) -> Source:
    """One file by its suffix; folders and lists of files are recordings where a form is given, else images."""
    if request.form is not None and not (len(paths) == 1 and paths[0].suffix.lower() in ARRAY_SUFFIXES):
        return _open_recordings(paths, request, request.form)
    if len(paths) == 1 and os.path.isfile(paths[0]):
        opener = OPENERS.get(paths[0].suffix.lower())
        for medium, suffixes in (("audio", SOUND_SUFFIXES), ("video", VIDEO_SUFFIXES)):
            if opener is None and paths[0].suffix.lower() in suffixes:
                raise DataError(f"{paths[0]}: expected images or an array; to fit on {medium} give --kind {medium}")
        if opener is None:
            known = " ".join(sorted(OPENERS))
            raise DataError(f"{paths[0]}: expected a folder or a file of a known kind ({known}); convert it")
        return opener(paths, request)
    arrays = [path for path in paths if path.suffix.lower() in ARRAY_SUFFIXES and not os.path.isdir(path)]
    if arrays:
        raise DataError(f"{arrays[0]}: expected image files in a list of several; an array file is given alone")
    return _open_images(paths, request)


def _open_images(paths: list[Path], request: _Request) -> Source:
    if request.kind not in (None, "image"):
        raise InputError(f"expected data of kind {request.kind!r}; got image files ({paths[0]}); leave kind out")
    if request.purpose == "score" and request.spec is not None:
        return ImageFiles.listed(paths, request.spec)
    return ImageFiles.open(
        paths,
        purpose=request.purpose,
        size=request.size,
        sides=request.sides,
        spec=request.spec,
        strict=request.strict,
        progress=request.progress,
    )


def _open_recordings(paths: list[Path], request: _Request, form: Form) -> Source:
    if request.kind not in (None, form.content):
        raise InputError(
            f"expected data of kind {request.kind!r}; got a form of recordings that makes a {form.content}"
        )
    if request.size is not None:
        raise InputError(
            "size is that of images; a spectrogram's is AudioForm.bands by AudioForm.frames, a flow's VideoForm.side; "
            "leave it out"
        )
    if request.flow_cache is not None and isinstance(form, AudioForm):
        raise InputError("a flow cache is of video; leave it out for sound")
    if isinstance(form, VideoForm):
        cache, progress = request.flow_cache, request.progress
        if request.purpose == "score":
            return VideoFiles.listed(paths, form, cache=cache, progress=progress)
        return VideoFiles.open(
            paths, form, purpose=request.purpose, strict=request.strict, cache=cache, progress=progress
        )
    if request.purpose == "score":
        return SoundFiles.listed(paths, form)
    return SoundFiles.open(paths, form, purpose=request.purpose, strict=request.strict, progress=request.progress)


def _open_array_file(paths: list[Path], request: _Request) -> Source:
    path = paths[0]
    array = open_array_file(path)
    try:
        return ArraySource(
            array,
            kind=request.kind,
            size=request.size,
            sides=request.sides,
            spec=request.spec,
            name=lambda row: f"{path} row {row}",
        )
    except InputError as error:
        raise DataError(f"{path}: {error}") from error


Opener = Callable[[list[Path], _Request], Source]
ARRAY_SUFFIXES = (".npy", ".npz")
# A new kind of file is a line here: its suffixes and what opens them.
OPENERS: dict[str, Opener] = {
    **dict.fromkeys(sorted(IMAGE_SUFFIXES), _open_images),
    **dict.fromkeys(ARRAY_SUFFIXES, _open_array_file),
}


def _open_named(text: str, data_root: str | Path | None, request: _Request) -> Source:
    name, *rest = text.split(":")
    try:
        data_set = datasets.get(name)
    except DataError as error:
        raise DataError(
            f"{text}: expected a path or a published data set ({FORM_OF_NAMES}); no file or folder has that name, "
            f"and as a data set: {error}"
        ) from error
    if len(rest) not in (1, 2):
        raise DataError(
            f"{text}: no file or folder has that name; as a data set it needs the form {FORM_OF_NAMES}; the classes of "
            f"{data_set.name} are {', '.join(data_set.classes)} and all"
        )
    split = rest[1].strip().lower() if len(rest) == 2 else "train"
    if split not in ("train", "test", "all"):
        raise DataError(f"{text}: expected the split train, test or all; got {rest[1]!r}")
    chosen = _labels(data_set, rest[0])
    labelled = data_set.load(datasets.find_root(data_root))
    images, names = _of_classes(data_set, labelled, chosen, split)
    if not len(images):
        raise DataError(f"{text}: expected some images; {data_set.title} has none there; try the split train or all")
    size = request.size
    if request.spec is None and size is None:  # as for image files, so that a set and its files give the same samples
        size = choose_side((images.shape[1], images.shape[2]), request.sides)
    source = ArraySource(images, kind=request.kind, size=size, spec=request.spec, name=names.__getitem__)
    source.note = f"{data_set.title}: {labelled.provenance.rstrip('.')}. {source.note}"
    return source


def _labels(data_set: datasets.DataSet, text: str) -> list[int]:
    everything = list(range(len(data_set.classes)))
    wanted = text.strip().lower()
    if wanted == "all":
        return everything
    if wanted.startswith("not-"):
        unwanted = data_set.label(wanted[len("not-") :])
        return [label for label in everything if label != unwanted]
    return [data_set.label(wanted)]


def _of_classes(
    data_set: datasets.DataSet, labelled: datasets.Labelled, chosen: list[int], split: str
) -> tuple[np.ndarray, list[str]]:
    """The images (N, H, W, C) of these labels, and a name for each: set, part and row there."""
    parts: list[np.ndarray] = []
    names: list[str] = []
    for part, images, labels in (
        ("train", labelled.train_images, labelled.train_labels),
        ("test", labelled.test_images, labelled.test_labels),
    ):
        if split in (part, "all"):
            rows = np.flatnonzero(np.isin(labels, chosen))
            parts.append(images[rows])
            names.extend(f"{data_set.name} {part} {row}" for row in rows.tolist())
    return np.concatenate(parts), names
