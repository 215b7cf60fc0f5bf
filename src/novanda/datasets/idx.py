"""The IDX format of MNIST and its kin: four files, gzipped or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from novanda.datasets.dataset import File, Labelled, md5, read_published
from novanda.errors import DataError

PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_files(folder: str, address: str, md5s: tuple[str, str, str, str]) -> tuple[File, ...]:
    """The four gzipped files below `folder`, fetched from `address`, in the order of PARTS."""
    return tuple(
        File(f"{folder}/{name}.gz", f"{address}/{name}.gz", value) for name, value in zip(PARTS, md5s, strict=True)
    )


def load_idx(root: Path, files: tuple[File, ...], unzipped_md5s: Mapping[str, str], source: str) -> Labelled:
    """Read the four files, each as .gz or unzipped, checked against the published md5 of the form that is there.

    Images are (N, H, W, 1). Raises DataError where a file is missing, broken or not the published one.
    """
    arrays = [_read_part(root, file, unzipped_md5s, source) for file in files]
    for images, labels, part in ((arrays[0], arrays[1], "train"), (arrays[2], arrays[3], "t10k")):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(
                f"{root / files[0].name}: expected images (N, H, W) and labels (N,) in the {part} files; "
                f"got {images.shape} and {labels.shape}; get them again from {source}"
            )
    return Labelled(
        train_images=arrays[0][..., None],
        train_labels=arrays[1].astype(np.int64),
        test_images=arrays[2][..., None],
        test_labels=arrays[3].astype(np.int64),
        provenance="The published release: the md5 of all 4 files is the official one.",
    )


def parse_idx(content: bytes, path: Path) -> np.ndarray:
    """The unsigned bytes of an IDX file's content; raises DataError naming `path` where it is none or cut short."""
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{path}: expected an IDX file of unsigned bytes; it does not begin like one; get it again")
    rank = content[3]
    start = 4 + 4 * rank
    shape = struct.unpack(f">{rank}I", content[4:start]) if len(content) >= start else ()
    if rank == 0 or len(content) - start != math.prod(shape):
        raise DataError(f"{path}: expected {math.prod(shape):,} values {shape}; the file is cut short; get it again")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape).copy()


def _read_part(root: Path, file: File, unzipped_md5s: Mapping[str, str], source: str) -> np.ndarray:
    zipped = root / file.name
    unzipped = zipped.with_suffix("")
    path = unzipped if unzipped.is_file() and not zipped.is_file() else zipped
    content = read_published(path, source)
    expected = file.md5 if path == zipped else unzipped_md5s[unzipped.name]
    if md5(content) != expected:
        raise DataError(
            f"{path}: expected the published file (md5 {expected}); this one has md5 {md5(content)}: damaged or "
            f"changed; get it again from {source}"
        )
    if path == zipped:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: expected a gzip file; got: {error}; get it again from {source}") from error
    return parse_idx(content, path)
