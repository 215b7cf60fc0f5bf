"""`novanda explain` as a person gives it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scans import Run, runner, write_zeros

from novanda import explain, pictures
from novanda.detector import Detector


@pytest.fixture(scope="module")
def zeros(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zeros(tmp_path_factory.mktemp("zeros"))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return runner(capfd)


def test_one_image_gives_one_picture(run: Run, zeros: Path, tmp_path: Path) -> None:
    photo, out = zeros / "novel/000.png", tmp_path / "deep/why.png"
    done = run("explain", zeros / "zeros.novanda", photo, "--out", out)
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == ["1 explained", f"written to {out}"]
    expected = explain(Detector.load(zeros / "zeros.novanda"), photo)
    assert out.read_bytes() == pictures.png(pictures.explanation_sheet(expected))


def test_a_folder_gives_a_sheet_or_a_picture_each(run: Run, zeros: Path, tmp_path: Path) -> None:
    model, novel = zeros / "zeros.novanda", zeros / "novel"
    assert run("explain", model, novel, "--out", tmp_path / "sheet.png").code == 0
    assert run("explain", model, novel, "--out", tmp_path / "each", "--neighbours", 0).code == 0
    names = sorted(path.name for path in (tmp_path / "each").iterdir())
    assert names == [f"{number + 1:02d}_{number:03d}.png" for number in range(10)]
    with Image.open(tmp_path / "sheet.png") as sheet, Image.open(tmp_path / "each" / names[0]) as one:
        assert sheet.size[0] == one.size[0]
        assert sheet.size[1] > 8 * one.size[1]
    full = run("explain", model, zeros / "normal", "--out", tmp_path / "full.png")
    assert (full.code, full.err.count("\n")) == (2, 1)
    assert "one sheet holds at most 50 images; got 70" in full.err
    assert not (tmp_path / "full.png").exists()


def test_rows_of_an_array_keep_their_numbers(run: Run, zeros: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.zeros((2, 8, 8), np.uint8))
    assert run("explain", zeros / "zeros.novanda", tmp_path / "two.npy", "--out", tmp_path / "each").code == 0
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == ["1_two.npy_row_0.png", "2_two.npy_row_1.png"]


def test_broken_files_cost_no_other(run: Run, zeros: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "good.png").write_bytes((zeros / "novel/000.png").read_bytes())
    (photos / "text.png").write_text("text")
    done = run("explain", zeros / "zeros.novanda", photos, "--out", tmp_path / "out")
    assert done.code == 2
    assert done.err.startswith(f"unreadable: {photos / 'text.png'}: not an image")
    assert "1 explained, 1 unreadable" in done.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1_good.png"]
    strict = run("explain", zeros / "zeros.novanda", photos, "--out", tmp_path / "s.png", "--strict")
    assert (strict.code, strict.err.count("\n")) == (2, 1)
    assert not (tmp_path / "s.png").exists()
    none = run("explain", zeros / "zeros.novanda", photos / "text.png", "--out", tmp_path / "n.png")
    assert none.code == 2
    assert "0 explained, 1 unreadable" in none.err
    assert not (tmp_path / "n.png").exists()


def test_a_fit_says_that_it_keeps_images_and_can_be_asked_not_to(run: Run, zeros: Path, tmp_path: Path) -> None:
    words = ("fit", zeros / "train", "--method", "pca", "--out", tmp_path / "d")
    assert "keeps 80 of the training images" in run(*words).err
    bare = run(*words, "--keep-examples", 0)
    assert bare.code == 0
    assert "training images" not in bare.err
    assert b"train/0" not in (tmp_path / "d").read_bytes()
    assert run("explain", tmp_path / "d", zeros / "novel/000.png", "--out", tmp_path / "w.png").code == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--out", "why.txt/x.png"], "no folder"),
        (["--out", "zeros.txt"], "is no folder; --out is a file that ends in .png"),
        (["--out", "new.png", "--neighbours", "9"], "at most 8"),
        (["--out", "new.png", "--neighbours", "-1"], "at least 0"),
        (["--out", "new.png", "--source", "camera"], "none yet"),
        ([], "--out"),
    ],
)
def test_mistakes(words: list[str], reason: str, run: Run, zeros: Path, tmp_path: Path) -> None:
    for name in ("zeros.txt", "why.txt"):
        (tmp_path / name).write_text("text")
    there = sorted(tmp_path.iterdir())
    given = [str(tmp_path / word) if word.endswith(("png", "txt")) else word for word in words]
    done = run("explain", zeros / "zeros.novanda", zeros / "novel/000.png", *given)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert reason in done.err
    assert sorted(tmp_path.iterdir()) == there
