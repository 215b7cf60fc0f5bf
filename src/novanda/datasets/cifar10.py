"""CIFAR-10: 50,000 training and 10,000 test images of ten things, 32 x 32 RGB (Krizhevsky, 2009)."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from novanda.datasets.dataset import DataSet, File, Labelled, md5, read_published
from novanda.errors import DataError

SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"
FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
IMAGES_PER_BATCH = 10_000
BATCH_MD5S = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


def load(root: Path) -> Labelled:
    """Read `root/cifar-10-batches-py`, the python release; images (N, 32, 32, 3).

    Files that are not the published ones are accepted only where `standins.json` beside them declares which images
    differ: {"train": [numbers], "test": [numbers]}.

    Raises:
        DataError: a file is missing, holds anything but arrays and plain values, or differs without being declared.
    """
    folder = root / FOLDER
    contents = {name: read_published(folder / name, SOURCE) for name in BATCH_MD5S}
    changed = [name for name, content in contents.items() if md5(content) != BATCH_MD5S[name]]
    standins, provenance = 0, "The published release: the md5 of all 6 files is the official one."
    batches = [_batch(folder / name, content) for name, content in contents.items()]
    if changed:
        standins = _declared_standins(folder, changed)
        total = len(batches) * IMAGES_PER_BATCH
        provenance = f"{standins:,} of {total:,} images are declared JPEG stand-ins"
    images, labels = zip(*batches, strict=True)
    return Labelled(
        train_images=np.concatenate(images[:-1]),
        train_labels=np.concatenate(labels[:-1]),
        test_images=images[-1],
        test_labels=labels[-1],
        provenance=provenance,
        standins=standins,
    )


def unpack(root: Path) -> None:
    """Take the batches out of the downloaded archive, and nothing else, then remove it. Raises DataError."""
    archive = root / ARCHIVE
    (root / FOLDER).mkdir(exist_ok=True)
    try:
        with tarfile.open(archive) as members:
            for name in BATCH_MD5S:
                # By name and as a plain stream: no path that the archive holds is ever used.
                content = members.extractfile(f"{FOLDER}/{name}")
                if content is None:
                    raise KeyError(name)
                with content, (root / FOLDER / name).open("wb") as out:
                    shutil.copyfileobj(content, out)
    except (tarfile.TarError, KeyError, OSError, EOFError) as error:
        raise DataError(f"{archive}: expected the 6 batches of CIFAR-10; got: {error}; get it from {SOURCE}") from error
    archive.unlink()


class _ArraysOnly(pickle.Unpickler):
    """Unpickles containers, plain values and arrays; anything else that a pickle may call is refused."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            # However this version of NumPy calls it; its module moved between versions 1 and 2.
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _encode_latin1,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which could run code")
        return allowed[module, name]


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into old pickles; other codecs have no business there."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {encoding!r}")
    return text.encode("latin1")


def _batch(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) uint8 and labels (N,) int64 of one pickled batch."""
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        pixels, labels = batch[b"data"], np.asarray(batch[b"labels"])
        if pixels.dtype != np.uint8 or pixels.shape != (IMAGES_PER_BATCH, 3072):
            raise ValueError(f"pixels {pixels.dtype} {pixels.shape}")
        if labels.dtype.kind not in "iu" or labels.shape != (IMAGES_PER_BATCH,):
            raise ValueError(f"labels {labels.dtype} {labels.shape}")
        if labels.min() < 0 or labels.max() > 9:
            raise ValueError(f"labels from {labels.min()} to {labels.max()}")
    except Exception as error:  # unpickling a damaged file may raise anything
        raise DataError(
            f"{path}: expected a CIFAR-10 batch, {IMAGES_PER_BATCH:,} images (3072 bytes each) and labels from 0 to 9; "
            f"got: {error or type(error).__name__}; get it again from {SOURCE}"
        ) from error
    images = np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return images, labels.astype(np.int64)


def _declared_standins(folder: Path, changed: list[str]) -> int:
    path = folder / "standins.json"
    if not path.is_file():
        raise DataError(
            f"{folder}: expected the published files; the md5 of {', '.join(changed)} differs and no standins.json "
            f"beside them declares why; get them again from {SOURCE}"
        )
    try:
        declared = json.loads(path.read_text(encoding="utf-8"))
        sizes = {"train": IMAGES_PER_BATCH * (len(BATCH_MD5S) - 1), "test": IMAGES_PER_BATCH}
        numbers = {(part, number) for part in sizes for number in declared[part]}
        if not all(type(number) is int and 0 <= number < sizes[part] for part, number in numbers):
            raise ValueError("numbers beyond the images")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{path}: expected {{"train": [numbers], "test": [numbers]}} naming images; got: {error}; mend it'
        ) from error
    return len(numbers)


CIFAR10 = DataSet(
    name="cifar10",
    title="CIFAR-10",
    kind="image",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    aliases={"plane": "airplane", "aeroplane": "airplane", "car": "automobile"},
    source=SOURCE,
    load=load,
    files=(File(ARCHIVE, f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}", "c58f30108f718f92721af3b95e74349a"),),
    unpack=unpack,
)
