"""Finding image files, and ImageFiles for training and for scoring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from novanda.errors import DataError, InputError
from novanda.samples import SampleSpec, Source
from novanda.sources import decoding, images, scanning
from novanda.sources.arrays import ArraySource
from novanda.sources.images import ImageFiles, find_images
from novanda.sources.parallel import in_threads


def picture(path: Path, seed: int = 0, shape: tuple[int, ...] = (16, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def names(root: Path, files: tuple[Path, ...]) -> list[str]:
    return [file.relative_to(root).as_posix() for file in files]


def folder_of(root: Path, count: int, shape: tuple[int, ...] = (16, 16)) -> Path:
    for number in range(count):
        picture(root / f"{number:03d}.png", number, shape)
    return root


# Finding


def test_flat_folder_sorted_without_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.TIFF", "d.webp", "e.bmp", ".hidden.png", "__MACOSX/z.png", ".git/y.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    found = find_images(tmp_path, purpose="fit")
    assert names(tmp_path, found.files) == ["a.JPG", "b.png", "c.TIFF", "d.webp", "e.bmp"]
    assert found.layout == "flat"
    assert "5 images" in found.note


def test_class_folders_are_all_read_and_named(tmp_path: Path) -> None:
    for name in ("cat/2.png", "cat/1.png", "ant/deep/1.png"):
        picture(tmp_path / name)
    found = find_images(str(tmp_path), purpose="fit")
    assert names(tmp_path, found.files) == ["ant/deep/1.png", "cat/1.png", "cat/2.png"]
    assert found.layout == "class-folders"
    assert "ant (1), cat (2)" in found.note


def mvtec(root: Path) -> Path:
    for name in ("train/good/1.png", "test/good/2.png", "test/hole/3.png", "ground_truth/hole/3_mask.png"):
        picture(root / name)
    return root


def test_mvtec_fits_on_train_good_and_scores_test(tmp_path: Path) -> None:
    mvtec(tmp_path)
    fit, score = find_images(tmp_path, purpose="fit"), find_images(tmp_path, purpose="score")
    assert names(tmp_path, fit.files) == ["train/good/1.png"]
    assert names(tmp_path, score.files) == ["test/good/2.png", "test/hole/3.png"]
    assert fit.layout == score.layout == "mvtec"
    assert "train/good" in fit.note


def test_several_mvtec_categories_are_refused(tmp_path: Path) -> None:
    mvtec(tmp_path / "bottle")
    mvtec(tmp_path / "cable")
    with pytest.raises(DataError, match=r"bottle, cable\); give one of them"):
        find_images(tmp_path, purpose="fit")


def test_train_folder_alone_is_fitted_everything_scored(tmp_path: Path) -> None:
    for name in ("train/ship/1.png", "test/ship/2.png"):
        picture(tmp_path / name)
    fit = find_images(tmp_path, purpose="fit")
    assert names(tmp_path, fit.files) == ["train/ship/1.png"]
    assert fit.layout == "train-folder"
    assert "left out: test" in fit.note
    assert len(find_images(tmp_path, purpose="score").files) == 2


def test_several_paths_each_file_once(tmp_path: Path) -> None:
    single = picture(tmp_path / "one/b.png")
    picture(tmp_path / "one/a.png")
    found = find_images([single, tmp_path / "one", str(single)], purpose="fit")
    assert names(tmp_path, found.files) == ["one/b.png", "one/a.png"]
    assert found.layout == "mixed"
    assert find_images([single]).layout == "files"


def test_links_in_a_loop_end(tmp_path: Path) -> None:
    picture(tmp_path / "a/1.png")
    (tmp_path / "a/loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    assert names(tmp_path, find_images(tmp_path).files) == ["a/1.png"]


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected images .* found none"):
        find_images(tmp_path)
    (tmp_path / "train").mkdir()
    picture(tmp_path / "test/1.png")
    with pytest.raises(DataError, match="only train/ is read"):
        find_images(tmp_path, purpose="fit")
    for missing in (tmp_path / "missing", "x" * 5000, "~nobody-of-that-name/x"):
        with pytest.raises(DataError, match="nothing of that name"):
            find_images(missing)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(DataError, match=r"got \.txt"):
        find_images(tmp_path / "a.txt")
    with pytest.raises(InputError, match="empty list"):
        find_images([])


# Training


def test_small_squares_keep_their_size(tmp_path: Path) -> None:
    source = ImageFiles.open(folder_of(tmp_path, 3), purpose="fit")
    checked: Source = source
    assert len(checked) == 3
    assert source.spec == SampleSpec("image", 1, 16, 16)
    samples = source.read([2, 0])
    assert samples.shape == (2, 1, 16, 16)
    assert samples.dtype == np.uint8
    np.testing.assert_array_equal(samples[0, 0], np.asarray(Image.open(tmp_path / "002.png")))
    assert source.identifier(2) == str(tmp_path / "002.png")
    assert "All images are 16 x 16" in source.note
    samples[:] = 0  # the samples are the reader's own
    assert source.read([2]).any()
    assert source.read([]).shape == (0, 1, 16, 16)


@pytest.mark.parametrize(("shapes", "words"), [
    (((16, 16), (20, 20)), "differ in size; each is squashed to 64 x 64"),
    (((16, 20), (16, 20)), "16 x 20; each is squashed to 64 x 64"),
    (((80, 80), (80, 80)), "80 x 80; each is resized to 64 x 64"),
])  # fmt: skip
def test_other_sizes_become_64(tmp_path: Path, shapes: tuple[tuple[int, int], ...], words: str) -> None:
    for number, shape in enumerate(shapes):
        picture(tmp_path / f"{number}.png", number, shape)
    source = ImageFiles.open(tmp_path, purpose="fit")
    assert source.spec.shape == (1, 64, 64)
    assert words in source.note


def test_channels_follow_the_modes_unless_given(tmp_path: Path) -> None:
    folder_of(tmp_path, 2)
    assert ImageFiles.open(tmp_path, purpose="fit", channels=3).spec.channels == 3
    picture(tmp_path / "colour.png", 9, (16, 16, 3))
    assert ImageFiles.open(tmp_path, purpose="fit").spec.channels == 3
    assert ImageFiles.open(tmp_path, purpose="fit", channels=1, size=8).spec.shape == (1, 8, 8)
    for arguments in ({"channels": 4}, {"size": 7}):
        with pytest.raises(InputError, match="must be"):
            ImageFiles.open(tmp_path, purpose="fit", **arguments)  # type: ignore[arg-type]


def test_broken_files_are_set_aside_or_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, 4)
    (tmp_path / "001.png").write_bytes(b"")
    source = ImageFiles.open(tmp_path, purpose="fit")
    assert [Path(source.identifier(place)).name for place in range(len(source))] == ["000.png", "002.png", "003.png"]
    assert source.broken == {tmp_path / "001.png": "the file is empty (0 bytes)"}
    for place, number in enumerate((0, 2, 3)):
        np.testing.assert_array_equal(
            source.read([place])[0, 0], np.asarray(Image.open(tmp_path / f"{number:03d}.png"))
        )
    with pytest.raises(DataError, match=r"001.png: the file is empty.*after 1 readable of 4"):
        ImageFiles.open(tmp_path, purpose="fit", strict=True)


def test_a_broken_files_header_decides_nothing(tmp_path: Path) -> None:
    folder_of(tmp_path, 3)
    content = picture(tmp_path / "large.png", 5, (60, 60, 3)).read_bytes()
    (tmp_path / "large.png").write_bytes(content[: len(content) // 2])
    source = ImageFiles.open(tmp_path, purpose="fit")
    assert source.spec.shape == (1, 16, 16)
    assert len(source) == 3
    np.testing.assert_array_equal(source.read([1])[0, 0], np.asarray(Image.open(tmp_path / "001.png")))


def test_too_little_to_fit(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1)
    with pytest.raises(DataError, match="at least 2 readable images"):
        ImageFiles.open(tmp_path, purpose="fit")
    assert len(ImageFiles.open(tmp_path, purpose="score")) == 1
    Image.open(tmp_path / "a.png").convert("RGB").save(tmp_path / "b.bmp")
    with pytest.raises(DataError, match="very same pixels"):
        ImageFiles.open(tmp_path, purpose="fit")
    assert len(ImageFiles.open(tmp_path, purpose="score")) == 2
    different = picture(tmp_path / "a2.png", 2)
    assert len(ImageFiles.open(tmp_path, purpose="fit")) == 3  # two of them the same, the first and the last
    different.unlink()
    for name in ("a.png", "b.bmp"):
        (tmp_path / name).write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"none of the 2 files is one. The first, .*a.png: not an image"):
        ImageFiles.open(tmp_path, purpose="score")


@pytest.mark.parametrize("cached", [0, 1, 3, 5, 100])
def test_memory_stays_within_cache_bytes(tmp_path: Path, cached: int) -> None:
    folder_of(tmp_path, 6)
    (tmp_path / "001.png").write_bytes(b"")
    whole = ImageFiles.open(tmp_path, purpose="fit")
    source = ImageFiles.open(tmp_path, purpose="fit", cache_bytes=cached * 256 + 255)
    assert source.cached_bytes == min(cached, 6) * 256
    order = [4, 0, 2, 1, 3, 3, 0]
    np.testing.assert_array_equal(source.read(order), whole.read(order))
    for sample, expected in zip(source.read_each(order), whole.read(order), strict=True):
        np.testing.assert_array_equal(sample, expected)
    assert source.cached_bytes == min(cached, 6) * 256  # reading keeps nothing


def test_each_file_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path, 5)
    decoded: list[Path] = []

    def counted(path: Path) -> decoding.Decoded:
        decoded.append(path)
        return decoding.decode_fully(path)

    monkeypatch.setattr(scanning, "decode_fully", counted)
    monkeypatch.setattr(images, "decode", lambda path: pytest.fail(f"{path} is decoded again"))
    source = ImageFiles.open(tmp_path, purpose="fit", progress=True)
    source.read(range(5))
    assert sorted(decoded) == sorted(tmp_path.iterdir())


def test_a_file_that_vanishes_after_the_scan_is_named(tmp_path: Path) -> None:
    source = ImageFiles.open(folder_of(tmp_path, 3), purpose="fit", cache_bytes=256)
    (tmp_path / "001.png").unlink()
    assert source.read([0]).shape == (1, 1, 16, 16)
    with pytest.raises(DataError, match=r"001.png"):
        source.read([0, 1, 2])


def test_the_same_picture_is_the_same_sample_as_a_file_or_as_an_array(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 40, 30, 3), dtype=np.uint8)
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    files = ImageFiles.open(tmp_path, purpose="fit", size=24)
    np.testing.assert_array_equal(files.read(range(4)), ArraySource(pictures, size=24).read(range(4)))


def test_several_frames_are_counted(tmp_path: Path) -> None:
    folder_of(tmp_path, 2)
    frames = [Image.new("L", (16, 16), level) for level in (10, 200)]
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    source = ImageFiles.open(tmp_path, purpose="fit")
    assert source.several_frames == 1
    assert (source.read([2]) == 10).all()


# Scoring


def test_listed_reads_each_and_one_broken_costs_no_other(tmp_path: Path) -> None:
    gray, colour = picture(tmp_path / "gray.png", 1), picture(tmp_path / "colour.png", 2, (30, 20, 3))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    source = ImageFiles.listed([gray, broken, tmp_path / "missing.png", colour], SampleSpec("image", 3, 16, 16))
    assert len(source) == 4
    first, second, third, fourth = source.read_each(range(4))
    assert isinstance(first, np.ndarray)
    assert isinstance(fourth, np.ndarray)
    assert first.shape == fourth.shape == (3, 16, 16)
    assert isinstance(second, DataError)
    assert isinstance(third, DataError)
    assert "missing.png" in str(third)
    assert source.identifier(2) == str(tmp_path / "missing.png")
    with pytest.raises(DataError, match=r"broken.png"):
        source.read(range(4))
    np.testing.assert_array_equal(source.read([3, 0])[1], first)
    assert source.cached_bytes == 0


def test_listed_reads_folders_for_scoring(tmp_path: Path) -> None:
    source = ImageFiles.listed(mvtec(tmp_path), SampleSpec("image", 1, 16, 16))
    assert names(tmp_path, source.files) == ["test/good/2.png", "test/hole/3.png"]
    with pytest.raises(InputError, match="kind 'features'"):
        ImageFiles.listed(tmp_path, SampleSpec("features", 4, 1, 1, -1.0, 1.0))


def test_float_specs_get_float_samples(tmp_path: Path) -> None:
    Image.new("L", (16, 16), 255).save(tmp_path / "a.png")
    spec = SampleSpec("image", 1, 16, 16, 0.0, 1.0)
    sample = ImageFiles.listed(tmp_path, spec).read([0])
    assert sample.dtype == np.float32
    assert (sample == 1).all()
    opened = ImageFiles.open(tmp_path, purpose="score", spec=spec)
    np.testing.assert_array_equal(opened.read([0]), sample)
    assert opened.cached_bytes == 4 * 256


def test_little_is_begun_ahead_in_threads() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            begun.append(number)
            yield number

    results = in_threads(lambda number: number * 2, items(), 2)
    assert next(results) == 0
    assert len(begun) <= 8
    assert list(results) == [2 * number for number in range(1, 1000)]


def test_an_unlistable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", deny)
    with pytest.raises(DataError, match="Permission denied"):
        find_images(tmp_path)
