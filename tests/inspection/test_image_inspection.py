"""inspect: counts, sizes, broken files, duplicates and leaks of made-up folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from novanda.errors import DataError
from novanda.inspection import Spread, inspect


def picture(path: Path, seed: int, shape: tuple[int, ...] = (16, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def test_a_sound_folder_has_no_warnings(tmp_path: Path) -> None:
    for number in range(50):
        picture(tmp_path / f"{number}.png", number)
    found = inspect(tmp_path, progress=True)
    assert (found.files, found.readable) == (50, 50)
    assert (found.formats, found.modes) == ({"PNG": 50}, {"L": 50})
    assert found.height == found.width == Spread(16, 16.0, 16)
    assert found.common_sizes == ((16, 16, 50),)
    assert found.layout == "flat"
    assert not found.warnings
    assert not found.broken
    assert not found.duplicates
    (tmp_path / "0.png").unlink()
    assert inspect(tmp_path).warnings == ("49 readable images are few; 50 or more are better",)


def test_everything_that_is_odd_is_told(tmp_path: Path) -> None:
    train, test = tmp_path / "train", tmp_path / "test"
    original = picture(train / "a.png", 1)
    Image.open(original).convert("RGB").save(train / "copy.bmp")
    picture(train / "tall.png", 2, (40, 20, 3))
    picture(train / "wide.png", 3, (10, 30, 3))
    (train / "broken.png").write_bytes(b"")
    frames = [Image.new("L", (16, 16), level) for level in (1, 2)]
    frames[0].save(train / "pages.tif", save_all=True, append_images=frames[1:])
    picture(test / "new.png", 4)
    Image.open(original).save(test / "leak.webp", lossless=True)
    (test / "broken.jpg").write_text("text")

    found = inspect(train, against=test)
    assert (found.files, found.readable) == (6, 5)
    assert found.formats == {"PNG": 3, "BMP": 1, "TIFF": 1}
    assert found.modes == {"RGB": 3, "L": 2}
    assert found.height == Spread(10, 16.0, 40)
    assert found.width == Spread(16, 16.0, 30)
    assert found.common_sizes == ((16, 16, 3), (10, 30, 1), (40, 20, 1))
    assert found.several_frames == 1
    assert found.broken == {str(train / "broken.png"): "the file is empty (0 bytes)"}
    assert found.duplicates == ((str(train / "a.png"), str(train / "copy.bmp")),)
    assert found.against_files == 3
    assert list(found.against_broken) == [str(test / "broken.jpg")]
    assert found.leaks == ((str(test / "leak.webp"), str(train / "a.png")),)
    warnings = "\n".join(found.warnings)
    for words in ("5 readable", "1 broken", "3 sizes", "2 gray and 3 colour", "1 images repeat", "1 images to test"):
        assert words in warnings
    assert json.loads(json.dumps(found.to_json()))["leaks"] == [[str(test / "leak.webp"), str(train / "a.png")]]
    lines = "\n".join(found.lines())
    for words in (
        "6 image files, 5 readable",
        "broken.png: the file is empty",
        "a.png = ",
        "leak.webp = ",
        "10, 16, 40",
    ):
        assert words in lines
    assert "no leaks" not in lines
    assert "no leaks among 3 other files" in "\n".join(inspect(train / "tall.png", against=test).lines())


def test_training_folders_are_read_as_fit_would(tmp_path: Path) -> None:
    for seed, name in enumerate(("train/good/1.png", "test/hole/2.png", "ground_truth/hole/2.png")):
        picture(tmp_path / name, seed)
    picture(tmp_path / "test/good/1.png", 0)
    found = inspect(tmp_path, against=tmp_path)
    assert found.files == 1
    assert found.layout == "mvtec"
    assert found.leaks == ((str(tmp_path / "test/good/1.png"), str(tmp_path / "train/good/1.png")),)


def test_long_lists_are_cut_short_and_nothing_readable_is_told(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(b"")
    found = inspect(tmp_path)
    assert found.height is None
    assert found.readable == 0
    assert "broken: 2 more" in found.lines()
    with pytest.raises(DataError, match="nothing of that name"):
        inspect(tmp_path / "missing")
