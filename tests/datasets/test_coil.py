"""COIL-20 and COIL-100: a made-up set of two objects, and the real COIL-20 where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from novanda import datasets
from novanda.datasets import coil
from novanda.errors import DataError


def write(root: Path, mode: str, number_step: int) -> Path:
    folder = root / "little"
    folder.mkdir()
    for number in (1, 2):
        for view in range(72):
            level = 100 * (number - 1) + view
            image = Image.new(mode, (128, 128), level if mode == "L" else (level, 1, 2))
            image.save(folder / f"obj{number}__{view * number_step}.png")
    return folder


def load(root: Path, channels: int, number_step: int) -> datasets.Labelled:
    return coil.load(root, folder="little", objects=2, channels=channels, number_step=number_step, source="there")


@pytest.mark.parametrize(("mode", "channels", "number_step"), [("L", 1, 1), ("RGB", 3, 5)])
def test_objects_and_angles_in_order(tmp_path: Path, mode: str, channels: int, number_step: int) -> None:
    write(tmp_path, mode, number_step)
    labelled = load(tmp_path, channels, number_step)
    assert labelled.train_images.shape == (144, 128, 128, channels)
    assert labelled.train_images[:, 0, 0, 0].tolist() == [*range(72), *range(100, 172)]
    assert labelled.train_labels.tolist() == [0] * 72 + [1] * 72
    assert labelled.extra["train_angles"].tolist() == list(range(0, 360, 5)) * 2
    assert labelled.test_images.shape == (0, 128, 128, channels)
    assert len(labelled.test_labels) == len(labelled.extra["test_angles"]) == 0
    assert len(labelled.checksum) == 64


def test_incomplete_and_wrong_sets(tmp_path: Path) -> None:
    folder = write(tmp_path, "L", 1)
    with pytest.raises(DataError, match=r"obj1__0.png: expected a 128 x 128 PNG of mode RGB; got: .* mode L"):
        load(tmp_path, 3, 1)
    Image.new("L", (64, 64)).save(folder / "obj2__5.png")
    with pytest.raises(DataError, match=r"obj2__5\.png: expected"):
        load(tmp_path, 1, 1)
    (folder / "obj2__5.png").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"obj2__5\.png: expected"):
        load(tmp_path, 1, 1)
    (folder / "obj2__5.png").unlink()
    (folder / "obj1__71.png").unlink()
    with pytest.raises(DataError, match=r"expected 144 images; 2 are missing, the first is obj1__71.png.*there"):
        load(tmp_path, 1, 1)


def test_layouts_of_both_sets(tmp_path: Path) -> None:
    for data_set, first in ((coil.COIL20, "coil-20-proc"), (coil.COIL100, "coil-100")):
        assert len(data_set.classes) == int(data_set.name.removeprefix("coil"))
        with pytest.raises(DataError, match=f"{first}: expected {72 * len(data_set.classes):,} images"):
            data_set.load(tmp_path)


@pytest.mark.skipif("NOVANDA_DATA" not in os.environ, reason="NOVANDA_DATA is not set: no real COIL-20 here")
def test_the_real_set() -> None:
    root = datasets.find_root()
    if not (root / "coil-20-proc").is_dir():
        pytest.skip(f"no coil-20-proc in {root}")
    labelled = datasets.get("coil20").load(root)
    assert labelled.train_images.shape == (1440, 128, 128, 1)
    # Views 5 degrees apart are nearer to each other than to those from the other side.
    images = labelled.train_images.astype(float).reshape(20, 72, -1)
    near = np.square(images[:, 1:] - images[:, :-1]).mean()
    assert near < np.square(images[:, 36:] - images[:, :36]).mean() / 2
