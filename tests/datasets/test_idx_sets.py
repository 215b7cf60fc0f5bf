"""MNIST and Fashion-MNIST: the IDX format with made-up files, and the real ones where they are at hand."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from novanda import datasets
from novanda.datasets.dataset import md5
from novanda.datasets.idx import PARTS, idx_files, load_idx, parse_idx
from novanda.errors import DataError

RANDOM = np.random.default_rng(0)
ARRAYS = tuple(
    RANDOM.integers(0, 10, shape, dtype=np.uint8) for shape in ((5, 28, 28), (5,), (3, 28, 28), (3,))
)  # in the order of PARTS
Contents = dict[str, bytes]


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


PLAIN: Contents = {name: idx_bytes(array) for name, array in zip(PARTS, ARRAYS, strict=True)}
ZIPPED: Contents = {name: gzip.compress(content) for name, content in PLAIN.items()}
MD5S = tuple(md5(ZIPPED[name]) for name in PARTS)
FILES = idx_files("Set/raw", "http://nowhere", (MD5S[0], MD5S[1], MD5S[2], MD5S[3]))
UNZIPPED_MD5S = {name: md5(content) for name, content in PLAIN.items()}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "Set" / "raw"
    folder.mkdir(parents=True)
    for name, content in ZIPPED.items():
        (folder / f"{name}.gz").write_bytes(content)
    return folder


def load(raw: Path) -> datasets.Labelled:
    return load_idx(raw.parent.parent, FILES, UNZIPPED_MD5S, "http://nowhere")


@pytest.mark.parametrize("unzipped", [(), PARTS, PARTS[1:3]])
def test_gzipped_and_unzipped_files(raw: Path, unzipped: tuple[str, ...]) -> None:
    for name in unzipped:
        (raw / f"{name}.gz").unlink()
        (raw / name).write_bytes(PLAIN[name])
    labelled = load(raw)
    np.testing.assert_array_equal(labelled.train_images[..., 0], ARRAYS[0])
    np.testing.assert_array_equal(labelled.train_labels, ARRAYS[1])
    np.testing.assert_array_equal(labelled.test_images[..., 0], ARRAYS[2])
    np.testing.assert_array_equal(labelled.test_labels, ARRAYS[3])
    assert labelled.train_images.shape == (5, 28, 28, 1)
    assert labelled.train_labels.dtype == np.int64
    assert "official" in labelled.provenance


def test_files_that_are_not_the_published_ones(raw: Path) -> None:
    path = raw / f"{PARTS[2]}.gz"
    path.write_bytes(gzip.compress(PLAIN[PARTS[2]], mtime=1))
    with pytest.raises(DataError, match=rf"{PARTS[2]}.gz: expected the published file \(md5 {MD5S[2]}\)"):
        load(raw)
    path.unlink()
    with pytest.raises(DataError, match=rf"{PARTS[2]}.gz: .* missing; get it from http://nowhere"):
        load(raw)
    (raw / PARTS[2]).write_bytes(PLAIN[PARTS[2]] + b"\0")
    with pytest.raises(DataError, match=f"{PARTS[2]}: expected the published file"):
        load(raw)


def test_parts_that_do_not_fit(raw: Path) -> None:
    mixed = (FILES[0], FILES[3], FILES[2], FILES[3])
    with pytest.raises(DataError, match=r"train files; got \(5, 28, 28\) and \(3,\)"):
        load_idx(raw.parent.parent, mixed, UNZIPPED_MD5S, "http://nowhere")


@given(st.integers(0, len(PLAIN[PARTS[0]]) - 1))
def test_cut_files_are_refused(length: int) -> None:
    with pytest.raises(DataError, match=r"cut\.idx"):
        parse_idx(PLAIN[PARTS[0]][:length], Path("cut.idx"))


@given(st.binary(max_size=40))
def test_random_bytes_are_refused_or_read(content: bytes) -> None:
    for prefix in (b"", b"\0\0\x08"):
        try:
            array = parse_idx(prefix + content, Path("a"))
        except DataError:
            continue
        assert array.dtype == np.uint8


@pytest.mark.skipif("NOVANDA_DATA" not in os.environ, reason="NOVANDA_DATA is not set: no real MNIST here")
@pytest.mark.parametrize(("name", "mean"), [("mnist", 0.1307), ("fashion_mnist", 0.2860)])
def test_the_real_sets(name: str, mean: float) -> None:
    root, data_set = datasets.find_root(), datasets.get(name)
    if not (root / data_set.files[0].name).parent.is_dir():
        pytest.skip(f"no {name} in {root}")
    labelled = data_set.load(root)
    assert labelled.train_images.shape == (60_000, 28, 28, 1)
    assert labelled.test_images.shape == (10_000, 28, 28, 1)
    assert len(np.bincount(labelled.train_labels)) == len(data_set.classes) == 10
    np.testing.assert_allclose(labelled.train_images.mean() / 255, mean, atol=1e-4)  # the published mean


@pytest.mark.skipif("NOVANDA_DATA" not in os.environ, reason="NOVANDA_DATA is not set: no real MNIST here")
def test_the_real_set_unzipped(tmp_path: Path) -> None:
    root = datasets.find_root()
    for name in ("mnist", "fashion_mnist"):
        data_set = datasets.get(name)
        if not (root / data_set.files[0].name).is_file():
            pytest.skip(f"no gzipped {name} in {root}")
        for file in data_set.files:
            target = (tmp_path / file.name).with_suffix("")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(gzip.decompress((root / file.name).read_bytes()))
        assert data_set.load(tmp_path).checksum == data_set.load(root).checksum
