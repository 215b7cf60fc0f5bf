"""CIFAR-10: a made-up release of a few images, hostile pickles, and the real one where it is at hand."""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from novanda import datasets
from novanda.datasets import cifar10
from novanda.datasets.dataset import md5
from novanda.errors import DataError

COUNT = 4


def batch(seed: int, **changes: Any) -> dict[bytes, Any]:
    random = np.random.default_rng(seed)
    content: dict[bytes, Any] = {
        b"labels": random.integers(0, 10, COUNT).tolist(),
        b"data": random.integers(0, 256, (COUNT, 3072), dtype=np.uint8),
        b"filenames": [b"a.png"] * COUNT,
    }
    return content | {name.encode(): value for name, value in changes.items()}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root whose files have the md5s that the module expects."""
    folder = tmp_path / cifar10.FOLDER
    folder.mkdir()
    monkeypatch.setattr(cifar10, "IMAGES_PER_BATCH", COUNT)
    for seed, name in enumerate(cifar10.BATCH_MD5S):
        content = pickle.dumps(batch(seed), protocol=2)
        (folder / name).write_bytes(content)
        monkeypatch.setitem(cifar10.BATCH_MD5S, name, md5(content))
    return tmp_path


def change(root: Path, name: str, **changes: Any) -> Path:
    path = root / cifar10.FOLDER / name
    path.write_bytes(pickle.dumps(batch(99, **changes), protocol=2))
    return path


def test_reads_batches_in_order(root: Path) -> None:
    labelled = cifar10.load(root)
    assert labelled.train_images.shape == (5 * COUNT, 32, 32, 3)
    assert labelled.test_images.shape == (COUNT, 32, 32, 3)
    assert labelled.train_images.dtype == np.uint8
    assert labelled.train_labels.dtype == np.int64
    second = batch(1)
    # The release stores 1024 reds, then greens, then blues, each row by row.
    pixels = second[b"data"][3].reshape(3, 32, 32)
    np.testing.assert_array_equal(labelled.train_images[COUNT + 3, 5, 7], pixels[:, 5, 7])
    assert labelled.train_labels[COUNT : 2 * COUNT].tolist() == second[b"labels"]
    assert labelled.test_labels.tolist() == batch(5)[b"labels"]
    assert labelled.standins == 0
    assert "official" in labelled.provenance


def test_checksum_is_of_pixels_and_labels(root: Path) -> None:
    first = cifar10.load(root)
    assert first.checksum == cifar10.load(root).checksum
    assert len(first.checksum) == 64
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        other = cifar10.load(root)
        array = getattr(other, name)
        array.flat[-1] = (int(array.flat[-1]) + 1) % 10
        assert other.checksum != first.checksum


def test_changed_files_need_a_declaration(root: Path) -> None:
    change(root, "data_batch_3")
    with pytest.raises(DataError, match=r"md5 of data_batch_3 differs and no standins.json"):
        cifar10.load(root)
    declaration = root / cifar10.FOLDER / "standins.json"
    declaration.write_text(json.dumps({"train": [1, 5, 19], "test": [0, 3]}))
    labelled = cifar10.load(root)
    assert labelled.standins == 5
    assert labelled.provenance == "5 of 24 images are declared JPEG stand-ins"
    bad: Any
    for bad in ({"train": [20], "test": []}, {"train": []}, {"train": ["a"], "test": []}, [1], {"train": 1, "test": 1}):
        declaration.write_text(json.dumps(bad))
        with pytest.raises(DataError, match=r"standins\.json: expected"):
            cifar10.load(root)
    declaration.write_text("{")
    with pytest.raises(DataError, match=r"standins\.json: expected"):
        cifar10.load(root)


def test_missing_and_wrong_batches(root: Path) -> None:
    for changes in (
        {"data": np.zeros((COUNT, 3071), np.uint8)},
        {"data": np.zeros((COUNT, 3072), np.float32)},
        {"data": "text"},
        {"labels": [0] * (COUNT + 1)},
        {"labels": [10] * COUNT},
        {"labels": [0.5] * COUNT},
    ):
        change(root, "data_batch_2", **changes)
        with pytest.raises(DataError, match="data_batch_2: expected a CIFAR-10 batch"):
            cifar10.load(root)
    path = change(root, "data_batch_2")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="data_batch_2: expected a CIFAR-10 batch"):
        cifar10.load(root)
    path.unlink()
    with pytest.raises(DataError, match=r"data_batch_2: .*missing; get it from https://www.cs.toronto.edu"):
        cifar10.load(root)


class Hostile:
    """Its pickle calls a function when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def test_hostile_pickles_run_nothing(root: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    for hostile in (
        Hostile(os.system, f"touch {witness}"),
        Hostile(builtins.eval, f"open({str(witness)!r}, 'w')"),
        Hostile(builtins.getattr, np.ndarray, "tofile"),
        Hostile(np.fromfile, str(witness)),
        Hostile(open, str(witness), "w"),
    ):
        change(root, "data_batch_1", extra=hostile)
        with pytest.raises(DataError, match="could run code"):
            cifar10.load(root)
    assert not witness.exists()


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_arrays_of_old_and_new_numpy_are_read(root: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / cifar10.FOLDER / "test_batch"
    content = path.read_bytes()
    assert b"cnumpy._core.multiarray\n" in content or b"cnumpy.core.multiarray\n" in content
    content = content.replace(b"cnumpy._core.multiarray\n", f"c{module}\n".encode())
    path.write_bytes(content)
    monkeypatch.setitem(cifar10.BATCH_MD5S, "test_batch", md5(content))
    assert cifar10.load(root).test_labels.tolist() == batch(5)[b"labels"]


def test_other_codecs_are_refused() -> None:
    assert cifar10._encode_latin1("\xff", "latin1") == b"\xff"
    with pytest.raises(pickle.UnpicklingError, match="rot13"):
        cifar10._encode_latin1("a", "rot13")


def test_unpack_takes_the_batches_and_nothing_else(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with tarfile.open(target / cifar10.ARCHIVE, "w:gz") as archive:
        archive.add(root / cifar10.FOLDER, cifar10.FOLDER)
        evil = tarfile.TarInfo("../evil")
        evil.size = 4
        archive.addfile(evil, io.BytesIO(b"evil"))
    cifar10.unpack(target)
    assert cifar10.load(target).checksum == cifar10.load(root).checksum
    assert not (tmp_path / "evil").exists()
    assert not (target / cifar10.ARCHIVE).exists()
    (target / cifar10.ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(DataError, match="expected the 6 batches"):
        cifar10.unpack(target)


@pytest.mark.skipif("NOVANDA_DATA" not in os.environ, reason="NOVANDA_DATA is not set: no real CIFAR-10 here")
def test_the_real_set() -> None:
    root = datasets.find_root()
    if not (root / cifar10.FOLDER).is_dir():
        pytest.skip(f"no {cifar10.FOLDER} in {root}")
    labelled = cifar10.load(root)
    assert labelled.train_images.shape == (50_000, 32, 32, 3)
    assert labelled.test_images.shape == (10_000, 32, 32, 3)
    assert (np.bincount(labelled.train_labels) == 5_000).all()
    assert (np.bincount(labelled.test_labels) == 1_000).all()
    assert labelled.standins in (0, 93)
    if labelled.standins:
        assert labelled.provenance == "93 of 60,000 images are declared JPEG stand-ins"
    # The published channel means of the training images.
    np.testing.assert_allclose(labelled.train_images.mean((0, 1, 2)) / 255, (0.4914, 0.4822, 0.4465), atol=2e-4)
