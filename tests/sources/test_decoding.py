"""Decoding: every mode to gray or RGB, every breakage to DataError."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from novanda.errors import DataError, InputError
from novanda.samples import SampleSpec
from novanda.sources import decoding
from novanda.sources.decoding import (
    MAX_PIXELS,
    check_spec_for_files,
    conform,
    decode,
    decode_bytes,
    decode_fully,
    pixel_digest,
    resize,
    to_gray,
)

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (12, 16), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (12, 16, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (12, 16), dtype=np.uint8)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def on_white(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    part = alpha.astype(float) / 255
    part = part[:, :, None] if values.ndim == 3 else part
    return np.rint(values * part + 255 * (1 - part)).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_colour_survives_lossless_formats(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(COLOUR), **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(decode(path), COLOUR)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_gray_stays_one_channel(tmp_path: Path, suffix: str) -> None:
    pixels = decode(save(tmp_path / f"a.{suffix}", Image.fromarray(GRAY)))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, GRAY[:, :, None])


def test_jpeg_gray_and_colour(tmp_path: Path) -> None:
    assert decode(save(tmp_path / "g.jpg", Image.fromarray(GRAY))).shape == (12, 16, 1)
    smooth = np.broadcast_to(np.arange(16, dtype=np.uint8)[None, :, None] * 10, (12, 16, 3))
    assert np.abs(decode(save(tmp_path / "c.jpg", Image.fromarray(smooth.copy()))).astype(int) - smooth).max() <= 4


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = Image.fromarray(np.dstack([COLOUR, ALPHA]))
    np.testing.assert_array_equal(decode(save(tmp_path / "rgba.png", rgba)), on_white(COLOUR, ALPHA))
    la = Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(ALPHA)])
    np.testing.assert_array_equal(decode(save(tmp_path / "la.png", la))[:, :, 0], on_white(GRAY, ALPHA))


def test_palettes_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (16, 12))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    image.putdata((GRAY % 4).ravel().tolist())
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]], dtype=np.uint8)
    expected = colours[GRAY % 4]
    np.testing.assert_array_equal(decode(save(tmp_path / "p.png", image)), expected)
    expected[GRAY % 4 == 2] = 255
    np.testing.assert_array_equal(decode(save(tmp_path / "one.png", image, transparency=2)), expected)
    np.testing.assert_array_equal(
        decode(save(tmp_path / "bytes.png", image, transparency=bytes([255, 255, 0, 255]))), expected
    )


def test_a_transparent_colour_is_white(tmp_path: Path) -> None:
    pixels = COLOUR.copy()
    pixels[3:5] = (1, 2, 3)
    path = save(tmp_path / "a.png", Image.fromarray(pixels), transparency=(1, 2, 3))
    assert (decode(path)[3:5] == 255).all()
    gray = GRAY.copy()
    gray[gray == 7], gray[0, 0] = 8, 7
    decoded = decode(save(tmp_path / "g.png", Image.fromarray(gray), transparency=7))
    assert decoded[0, 0, 0] == 255
    assert decoded[0, 1, 0] == gray[0, 1]


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    image = Image.fromarray(GRAY > 127)
    assert image.mode == "1"
    np.testing.assert_array_equal(decode(save(tmp_path / "a.png", image))[:, :, 0], (GRAY > 127) * np.uint8(255))


@pytest.mark.parametrize(("suffix", "dtype"), [("png", np.uint16), ("tif", np.uint16), ("tif", np.int32)])
def test_16_bit_is_divided_by_257(tmp_path: Path, suffix: str, dtype: type) -> None:
    wide: np.ndarray = (RANDOM.integers(0, 65536, (12, 16))).astype(dtype)
    wide[0, :3] = 0, 65535, 257
    decoded = decode(save(tmp_path / f"a.{suffix}", Image.fromarray(wide)))
    np.testing.assert_array_equal(decoded[:, :, 0], np.rint(wide / 257))
    assert decoded[0, :3, 0].tolist() == [0, 255, 1]


def test_values_that_have_no_white_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="float pixels"):
        decode(save(tmp_path / "f.tif", Image.fromarray(GRAY.astype(np.float32))))
    with pytest.raises(DataError, match="expected 16-bit gray"):
        decode(save(tmp_path / "i.tif", Image.fromarray(GRAY.astype(np.int32) * 70000)))


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "tif")])
def test_print_and_video_colours_become_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.new("RGB", (16, 12), (200, 40, 90)).convert(mode)
    pixels = decode(save(tmp_path / f"a.{suffix}", image))
    assert pixels.shape == (12, 16, 3)
    assert np.abs(pixels.astype(int) - (200, 40, 90)).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    picture = np.zeros((16, 24), dtype=np.uint8)
    picture[:8, :8] = 255  # bright in the upper left
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(save(tmp_path / f"a.{suffix}", Image.fromarray(picture), exif=exif))
    # How the EXIF standard says what is in row 0 and in column 0 of what is stored.
    row, column = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }[orientation]  # fmt: skip
    assert decoded.shape == ((16, 24, 1) if orientation <= 4 else (24, 16, 1))
    vertical, horizontal = (row, column) if orientation <= 4 else (column, row)
    corner = decoded[0 if vertical == "top" else -1, 0 if horizontal == "left" else -1, 0]
    assert corner > 200
    assert (decoded > 128).sum() == 64


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow says so once more; the picture is sound
def test_unreadable_exif_costs_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.fromarray(GRAY), exif=b"Exif\0\0II*\0\xff\xff\xff\xff rubbish")
    assert decode(path).shape == (12, 16, 1)


def test_first_frame_of_animations_and_pages(tmp_path: Path) -> None:
    first, second = Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)
    for suffix in ("png", "webp", "tif"):
        options = {"lossless": True} if suffix == "webp" else {}
        path = save(tmp_path / f"a.{suffix}", first, save_all=True, append_images=[second], **options)
        decoded = decode_fully(path)
        assert decoded.several_frames
        np.testing.assert_array_equal(decoded.pixels, COLOUR)
    assert not decode_fully(save(tmp_path / "b.png", first)).several_frames


def bomb_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("width", [8_001, 12_000, 40_000])  # beyond our limit, Pillow's warning, Pillow's error
def test_bombs_are_refused_from_the_header(tmp_path: Path, width: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb_png(width, 8_000))
    with pytest.raises(DataError, match=rf"bomb.png: {width} x 8000 pixels .* {MAX_PIXELS:,}"):
        decode(path)


def test_limit_itself_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(GRAY))
    monkeypatch.setattr(decoding, "MAX_PIXELS", 12 * 16)
    assert decode(path).shape == (12, 16, 1)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 12 * 16 - 1)
    with pytest.raises(DataError, match="limit"):
        decode(path)


def test_small_images_are_refused(tmp_path: Path) -> None:
    assert decode(save(tmp_path / "8.png", Image.new("L", (8, 8)))).shape == (8, 8, 1)
    with pytest.raises(DataError, match=r"7.png: 20 x 7 pixels; each side needs at least 8"):
        decode(save(tmp_path / "7.png", Image.new("L", (20, 7))))


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    with pytest.raises(DataError, match=r"empty.png: the file is empty \(0 bytes\)"):
        decode(empty)
    text = tmp_path / "text.png"
    text.write_text("hello, I am a text of some length")
    with pytest.raises(DataError, match=r"text.png: not an image"):
        decode(text)
    with pytest.raises(DataError, match="nothing of that name"):
        decode(tmp_path / "missing.png")
    with pytest.raises(DataError, match="got a folder"):
        decode(tmp_path)
    with pytest.raises(DataError):
        decode(tmp_path / ("x" * 300 + ".png"))
    script = tmp_path / "page.png"
    script.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n")
    with pytest.raises(DataError, match="does not begin like"):
        decode(script)


def test_a_jpeg_named_png_is_read(tmp_path: Path) -> None:
    image = io.BytesIO()
    Image.fromarray(GRAY).save(image, "jpeg")
    (tmp_path / "a.png").write_bytes(image.getvalue())
    assert decode_fully(tmp_path / "a.png").header.format == "JPEG"


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=f"a.{suffix}: broken or not an image"):
        decode(path)


@pytest.mark.parametrize(
    "error",
    [OSError("x"), SyntaxError("x"), ValueError(), struct.error("x"), MemoryError(), zlib.error("x"), KeyError(1)],
)
def test_any_error_of_pillow_becomes_a_data_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = save(tmp_path / "a.png", Image.fromarray(GRAY))
    monkeypatch.setattr(decoding, "_pixels", fail)
    with pytest.raises(DataError, match=r"a\.png: broken or not an image: ."):
        decode(path)


def encoded(suffix: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(COLOUR).save(stream, suffix)
    return stream.getvalue()


WHOLE = {suffix: encoded(suffix) for suffix in ("png", "jpeg", "bmp", "tiff", "webp")}
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def decodes_or_refuses(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        pixels = decode(path)
    except DataError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] in (1, 3)


@FUZZ
@given(content=st.binary(max_size=200), suffix=st.sampled_from(sorted(WHOLE)))
def test_random_bytes_never_raise_anything_else(tmp_path: Path, content: bytes, suffix: str) -> None:
    decodes_or_refuses(tmp_path / "fuzz.png", WHOLE[suffix][:12] + content)
    decodes_or_refuses(tmp_path / "fuzz.png", content)


@FUZZ
@given(suffix=st.sampled_from(sorted(WHOLE)), data=st.data())
def test_damaged_images_never_raise_anything_else(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    content = bytearray(WHOLE[suffix])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    decodes_or_refuses(tmp_path / "fuzz.png", bytes(content[: data.draw(st.integers(0, len(content)))]))


def test_resize_leaves_the_right_size_untouched() -> None:
    for image in (COLOUR, COLOUR.astype(np.uint16), COLOUR[None]):
        assert resize(image, 12, 16) is image


def test_resize_of_a_batch_is_that_of_each_image() -> None:
    batch = RANDOM.integers(0, 256, (5, 30, 20, 3), dtype=np.uint8)
    alone = np.stack([resize(image, 16, 24) for image in batch])
    assert alone.dtype == np.uint8
    assert alone.shape == (5, 16, 24, 3)
    np.testing.assert_array_equal(resize(batch, 16, 24), alone)


@pytest.mark.parametrize("shape", [(28, 28), (40, 50), (200, 30), (8, 8)])
def test_resize_is_torchs_antialiased_bilinear(shape: tuple[int, int]) -> None:
    image = RANDOM.integers(0, 256, (*shape, 3), dtype=np.uint8)
    planes = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    exact = functional.interpolate(planes, size=(32, 24), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(resize(image.astype(np.float32), 32, 24), exact, atol=1e-3)
    # Half a gray level is rounding; a little more, where float32 sums on either side of it.
    assert np.abs(resize(image, 32, 24) - exact).max() <= 0.501


def test_resize_averages_and_keeps_floats() -> None:
    stripes = np.zeros((64, 64, 1), dtype=np.float32)
    stripes[:, ::8] = 1.0
    small = resize(stripes, 8, 8)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small[:, 1:-1], 1 / 8, atol=0.01)  # without antialiasing the stripes fall through
    level = resize((stripes * 255).astype(np.uint8), 8, 8)[4, 4, 0]
    assert abs(int(level) - 255 / 8) <= 1


def test_to_gray_is_pillows() -> None:
    colours = RANDOM.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_gray(colours)[:, :, 0], np.asarray(Image.fromarray(colours).convert("L")))


def test_conform_changes_channels_size_and_range() -> None:
    gray = SampleSpec("image", 1, 12, 16)
    np.testing.assert_array_equal(conform(COLOUR, gray)[0], to_gray(COLOUR)[:, :, 0])
    colour = conform(GRAY[:, :, None], SampleSpec("image", 3, 12, 16))
    np.testing.assert_array_equal(colour, np.stack([GRAY] * 3))
    assert conform(COLOUR, SampleSpec("image", 3, 20, 10)).shape == (3, 20, 10)
    signed = conform(np.full((8, 8, 1), 255, np.uint8), SampleSpec("image", 1, 8, 8, -1.0, 1.0))
    assert signed.dtype == np.float32
    assert (signed == 1).all()


def test_specs_that_files_can_not_serve() -> None:
    check_spec_for_files(SampleSpec("image", 3, 8, 8, 0.0, 65535.0))
    for spec, words in (
        (SampleSpec("flow", 2, 8, 8), "kind 'flow'"),
        (SampleSpec("image", 4, 8, 8), "4 channels"),
        (SampleSpec("image", 1, 8, 8, -3.0, 7.0), "-3 to 7"),
    ):
        with pytest.raises(InputError, match=words):
            check_spec_for_files(spec)


def test_digest_tells_pictures_apart_and_gray_alike() -> None:
    gray = GRAY[:, :, None]
    assert pixel_digest(gray) == pixel_digest(np.repeat(gray, 3, axis=2))
    assert pixel_digest(COLOUR) != pixel_digest(COLOUR[:, :, ::-1])
    assert pixel_digest(gray) != pixel_digest(gray.reshape(16, 12, 1))
    changed = COLOUR.copy()
    changed[-1, -1, -1] ^= 1
    assert pixel_digest(COLOUR) != pixel_digest(changed)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_bytes_are_decoded_as_files_are(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(COLOUR), **({} if suffix == "bmp" else {"exif": exif}))
    expected, content = decode(path), path.read_bytes()

    def opened(*words: Any, **named: Any) -> None:
        raise AssertionError("the disk was touched")

    monkeypatch.setattr("builtins.open", opened)
    monkeypatch.setattr(Path, "open", opened)
    np.testing.assert_array_equal(decode_bytes(content, "/etc/passwd"), expected)


def test_bytes_that_are_no_image_or_too_large_a_one(tmp_path: Path) -> None:
    content = save(tmp_path / "a.png", Image.fromarray(GRAY)).read_bytes()
    assert decode_bytes(content, "it", max_pixels=GRAY.size).shape == (12, 16, 1)
    for data, limit, reason in ((content, 191, "limit of 191"), (content[:60], None, "broken"), (b"", None, "empty")):
        with pytest.raises(DataError, match=rf"^it: .*{reason}"):
            decode_bytes(data, "it", limit)
