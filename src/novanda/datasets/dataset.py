"""What a published data set is, what loading one gives, and checks that their files share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from novanda.errors import DataError
from novanda.samples import Kind

ROOT_VARIABLE = "NOVANDA_DATA"


@dataclass(frozen=True)
class File:
    """A file as its publisher offers it: `name` is where it lies below the root; `md5` is the published one."""

    name: str
    url: str
    md5: str


@dataclass(frozen=True)
class Labelled:
    """A data set in memory.

    Attributes:
        train_images, test_images: (N, H, W, C) uint8.
        train_labels, test_labels: (N,) int64, places in `DataSet.classes`.
        provenance: a sentence: whose files these are and how that was checked.
        standins: how many images are declared not to be the published ones.
        extra: further arrays by name, one value per image, for instance "train_angles" in degrees.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    provenance: str
    standins: int = 0
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def checksum(self) -> str:
        """sha256 (hex) of the shapes, the pixels and the labels of both parts; computed when first asked for."""
        digest = hashlib.sha256()
        for images, labels in ((self.train_images, self.train_labels), (self.test_images, self.test_labels)):
            digest.update(repr(tuple(images.shape)).encode())
            digest.update(np.ascontiguousarray(images, dtype=np.uint8).data if images.size else b"")
            digest.update(labels.astype("<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class DataSet:
    """A published data set.

    Attributes:
        name: as it is typed; title: as it is written in text.
        kind: what its samples are.
        classes: their names by label; aliases: other names for some of them.
        source: where a person gets it.
        files: what `download` fetches; empty where nobody published checksums.
        load: root folder -> Labelled; raises DataError where files are missing or not the published ones.
        unpack: what turns the downloaded files into the layout that `load` reads, where that is not the same.
    """

    name: str
    title: str
    kind: Kind
    classes: tuple[str, ...]
    source: str
    load: Callable[[Path], Labelled]
    files: tuple[File, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    unpack: Callable[[Path], None] | None = None

    def label(self, name: str) -> int:
        """The label of a class given by name or alias (in any case) or by its number, as text.

        Raises:
            DataError: no such class; the message lists them.
        """
        return _label(self, name)


@dataclass(frozen=True)
class SoundSet:
    """A published set of recordings in which events sound before scenes: what it is, not its sound, which is long.

    Attributes:
        name: as it is typed; title: as it is written in text.
        classes: the scenes, each of which may be what is normal; aliases: other names for some of them.
        source: where a person gets it.
        layout: what has to lie below the root, in words.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    source: str
    layout: str
    aliases: Mapping[str, str] = field(default_factory=dict)

    def label(self, name: str) -> int:
        """The place of a scene given by name or alias (in any case) or by its number, as text.

        Raises:
            DataError: no such scene; the message lists them.
        """
        return _label(self, name)


def _label(data_set: DataSet | SoundSet, name: str) -> int:
    wanted = name.strip().lower()
    wanted = {alias.lower(): real.lower() for alias, real in data_set.aliases.items()}.get(wanted, wanted)
    by_name = {real.lower(): label for label, real in enumerate(data_set.classes)}
    if wanted in by_name:
        return by_name[wanted]
    if wanted.isascii() and wanted.isdigit() and int(wanted) < len(data_set.classes):
        return int(wanted)
    raise DataError(
        f"{data_set.name}: expected one of its classes ({', '.join(data_set.classes)}) or a number from 0 to "
        f"{len(data_set.classes) - 1}; got {name!r}"
    )


def find_root(data_root: str | Path | None = None) -> Path:
    """The folder that holds the data sets: the argument, else the environment's NOVANDA_DATA.

    Raises:
        DataError: neither is given, or the folder does not exist.
    """
    chosen = data_root if data_root is not None else os.environ.get(ROOT_VARIABLE) or None
    if chosen is None:
        raise DataError(
            "expected the folder that holds the data sets; got none; give data_root (--data-root on the command "
            f"line) or set the environment variable {ROOT_VARIABLE}"
        )
    root = Path(chosen).expanduser()
    if not root.is_dir():
        origin = "data_root" if data_root is not None else ROOT_VARIABLE
        raise DataError(f"{root}: expected the folder that holds the data sets ({origin}); it is not a folder")
    return root


def read_published(path: Path, source: str) -> bytes:
    """A data set's file as bytes; raises DataError saying where to get it if it is missing."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected this file of the data set; it is missing; get it from {source}") from error
    except OSError as error:
        raise DataError(f"{path}: can not be read: {error.strerror or error}") from error


def md5(content: bytes) -> str:
    """The md5 of a file's content in hex: a check of identity against published sums, not of trust."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
