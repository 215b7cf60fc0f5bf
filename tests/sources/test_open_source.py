"""open_source: whatever a person has, opened by what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from novanda import datasets
from novanda.datasets import DataSet, Labelled
from novanda.errors import DataError, InputError
from novanda.samples import SampleSpec
from novanda.sources import ArraySource, ImageFiles, open_source

RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.integers(0, 256, (4, 16, 16), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    for number, pixels in enumerate(PICTURES):
        Image.fromarray(pixels).save(tmp_path / "folder" / f"{number}.png")
    return tmp_path / "folder"


def little(root: Path) -> Labelled:
    assert root.is_dir()
    images = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((12, 70, 70, 1), np.uint8)
    labels = np.arange(12) % 3
    return Labelled(images[:9], labels[:9], images[9:], labels[9:], "Made up.")


@pytest.fixture
def _little_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    little_set = DataSet(
        "little", "Little", "image", ("ant", "bee", "cat"), source="nowhere", load=little, aliases={"kitten": "cat"}
    )
    monkeypatch.setattr(datasets, "DATASETS", (little_set,))
    monkeypatch.setenv("NOVANDA_DATA", str(tmp_path))


def values(source: ArraySource) -> list[int]:
    return [int(value) for value in source.read(range(len(source)))[:, 0, 0, 0]]


def test_folders_and_files_by_purpose(folder: Path) -> None:
    fit = open_source(folder, purpose="fit")
    assert isinstance(fit, ImageFiles)
    assert fit.spec.shape == (1, 16, 16)
    np.testing.assert_array_equal(fit.read(range(4))[:, 0], PICTURES)
    (folder / "broken.png").write_bytes(b"")
    assert len(open_source(str(folder), purpose="fit")) == 4
    with pytest.raises(DataError, match="strict"):
        open_source(folder, purpose="fit", strict=True)
    lazy = open_source(str(folder), purpose="score", spec=fit.spec)
    assert len(lazy) == 5
    single = open_source(folder / "2.png", purpose="score", spec=fit.spec)
    np.testing.assert_array_equal(single.read([0])[0, 0], PICTURES[2])
    several = open_source([folder / "1.png", str(folder / "3.png")], purpose="score", spec=fit.spec)
    assert several.identifier(1) == str(folder / "3.png")
    assert open_source(folder, purpose="fit", size=8).spec.shape == (1, 8, 8)


def test_arrays_tensors_and_lists() -> None:
    expected = PICTURES[:, None]
    data: Any
    for data in (PICTURES, torch.from_numpy(PICTURES), list(PICTURES), tuple(torch.from_numpy(PICTURES))):
        np.testing.assert_array_equal(open_source(data, purpose="fit").read(range(4)), expected)
    assert open_source([[0.0, 1.0], [2.0, 3.0]], purpose="fit").spec.kind == "features"
    assert open_source([torch.rand(8, 8, requires_grad=True)] * 2, purpose="fit").spec.shape == (1, 8, 8)
    assert open_source(PICTURES, purpose="fit", size=8).spec.shape == (1, 8, 8)
    spec = SampleSpec("image", 1, 12, 12)
    assert open_source(PICTURES, purpose="score", spec=spec).read([0]).shape == (1, 1, 12, 12)
    for data, words in (
        ([], "empty list"),
        ([np.zeros((8, 8)), np.zeros((8, 9))], r"\(8, 8\) and \(8, 9\)"),
        ([np.zeros((8, 8)), "a.png"], "both in one"),
        ([[1.0], [1.0, 2.0]], "ragged"),
        (object(), "dtype object"),
    ):
        with pytest.raises(InputError, match=words):
            open_source(data, purpose="fit")


def test_array_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.NPY".lower(), PICTURES)
    np.savez(tmp_path / "b.npz", x=PICTURES)
    for name in ("a.npy", "b.npz"):
        source = open_source(tmp_path / name, purpose="fit")
        np.testing.assert_array_equal(source.read([1])[0, 0], PICTURES[1])
        assert source.identifier(1) == f"{tmp_path / name} row 1"
    np.save(tmp_path / "bad.npy", np.full((3, 4), np.nan))
    with pytest.raises(DataError, match=r"bad.npy: Input contains NaN"):
        open_source(tmp_path / "bad.npy", purpose="fit")
    with pytest.raises(DataError, match="given alone"):
        open_source([tmp_path / "a.npy", tmp_path / "b.npz"], purpose="fit")


def test_kinds_that_files_can_not_have(folder: Path) -> None:
    with pytest.raises(InputError, match="kind 'flow'; got image files"):
        open_source(folder, purpose="fit", kind="flow")
    (folder / "notes.txt").write_text("text")
    with pytest.raises(DataError, match=r"notes.txt: expected .*\.npy .*\.png"):
        open_source(folder / "notes.txt", purpose="fit")


@pytest.mark.usefixtures("_little_set")
@pytest.mark.parametrize(("text", "expected"), [
    ("little:bee", [1, 4, 7]),
    ("little:BEE:test", [10]),
    ("LITTLE:1:all", [1, 4, 7, 10]),
    ("little:kitten:test", [11]),
    ("little:not-bee:test", [9, 11]),
    ("little:not-1", [0, 2, 3, 5, 6, 8]),
    ("little:all:test", [9, 10, 11]),
    ("little:all:all", list(range(12))),
])  # fmt: skip
def test_named_sets(text: str, expected: list[int]) -> None:
    source = open_source(text, purpose="fit")
    assert isinstance(source, ArraySource)
    assert values(source) == expected
    assert source.spec.shape == (1, 64, 64)  # as files of 70 x 70 would be
    assert "Made up." in source.note
    assert source.identifier(0) == (
        f"little train {expected[0]}" if expected[0] < 9 else f"little test {expected[0] - 9}"
    )


@pytest.mark.usefixtures("_little_set")
def test_named_sets_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, words in (
        ("litle:bee", r"litle:bee: expected a path or a published data set.*no file.*\(little\); got 'litle'"),
        ("no/such/folder", "no file or folder has that name"),
        ("little", r"form name:class.*ant, bee, cat and all"),
        ("little:dog", r"ant, bee, cat\) or a number from 0 to 2; got 'dog'"),
        ("little:3", "number from 0 to 2"),
        ("little:bee:valid", "split train, test or all; got 'valid'"),
        ("x" * 5000, "no file or folder"),
    ):
        with pytest.raises(DataError, match=words):
            open_source(text, purpose="fit")
    spec = SampleSpec("image", 3, 64, 64)
    with pytest.raises(InputError, match=r"\(3, 64, 64\).*70"):
        open_source("little:bee", purpose="score", spec=spec)
    assert open_source("little:bee", purpose="score", spec=SampleSpec("image", 1, 32, 32)).read([0]).shape[2] == 32
    monkeypatch.delenv("NOVANDA_DATA")
    with pytest.raises(DataError, match=r"data_root.*NOVANDA_DATA"):
        open_source("little:bee", purpose="fit")
    assert len(open_source("little:bee", purpose="fit", data_root=tmp_path)) == 3


@pytest.mark.usefixtures("_little_set")
def test_a_path_wins_over_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.rename(folder.parent / "little:bee")
    monkeypatch.chdir(folder.parent)
    assert isinstance(open_source("little:bee", purpose="fit"), ImageFiles)


@pytest.mark.usefixtures("_little_set")
def test_an_empty_part_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_test(root: Path) -> Labelled:
        whole = little(root)
        return Labelled(whole.train_images, whole.train_labels, whole.test_images[:0], whole.test_labels[:0], "")

    only = DataSet("little", "Little", "image", ("ant", "bee", "cat"), source="nowhere", load=no_test)
    monkeypatch.setattr(datasets, "DATASETS", (only,))
    with pytest.raises(DataError, match="has none there; try the split train"):
        open_source("little:bee:test", purpose="fit")
    assert len(open_source("little:bee:all", purpose="fit")) == 3
