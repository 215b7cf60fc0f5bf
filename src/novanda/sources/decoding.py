"""One image file to pixels, and pixels to a sample: decoding, colour, size and range.

Letters: N images, H height, W width, C channels. Pixels lie (H, W, C) here; samples lie (C, H, W).
"""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile

from novanda.errors import DataError, InputError
from novanda.samples import SampleSpec

MAX_PIXELS = 64_000_000
MIN_SIDE = 8
DEFAULT_SIZE = 64
PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
GRAY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
# Value ranges in which a file's black and white have an evident place.
KNOWN_RANGES = frozenset({(0.0, 255.0), (0.0, 1.0), (-1.0, 1.0), (0.0, 65535.0)})

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels are decoded."""

    format: str
    mode: str
    height: int
    width: int

    @property
    def gray(self) -> bool:
        """Whether the mode has no colour; a palette counts as colour."""
        return self.mode in GRAY_MODES


@dataclass(frozen=True)
class Decoded:
    """An image's pixels (H, W, C) uint8, C 1 or 3, and what its file said of it."""

    pixels: np.ndarray
    header: Header
    several_frames: bool


def read_header(path: Path) -> Header:
    """A file's format, mode and size without decoding it; raises DataError as `decode` does."""
    with _only_data_errors(path), _opened(path) as image:
        return _checked_header(path, image)


def decode(path: Path) -> np.ndarray:
    """Decode an image file to (H, W, 1) gray or (H, W, 3) RGB pixels, uint8.

    EXIF orientation is applied. Transparency is laid on white: pictures with transparency are mostly drawn for white
    pages, and to drop it would uncover whatever colour was left beneath. 16-bit gray (Pillow's modes I;16 and I) is
    divided by 257, so that 65535 becomes 255. Of an animation or a file of several pages the first frame is taken.

    Raises:
        DataError: not a PNG, JPEG, WebP, BMP or TIFF; broken or truncated; more than MAX_PIXELS pixels (refused from
            the header); a side below MIN_SIDE; float pixels. Nothing else is ever raised for a bad file.
    """
    return decode_fully(path).pixels


def decode_fully(path: Path) -> Decoded:
    """As `decode`, with the header and whether the file has more than one frame."""
    with _only_data_errors(path), _opened(path) as image:
        header = _checked_header(path, image)
        several_frames = bool(getattr(image, "is_animated", False))
        image.load()
        pixels = _pixels(path, _turned_upright(image))
        return Decoded(np.ascontiguousarray(pixels), header, several_frames)


def decode_bytes(data: bytes, name: str, max_pixels: int | None = None) -> np.ndarray:
    """As `decode`, of a file that is in memory and came from a stranger; the disk is never touched.

    Args:
        data: the whole file.
        name: what errors call it; nothing is opened by it.
        max_pixels: refused from the header beyond this many, before a pixel is decoded; None: MAX_PIXELS.
    """
    with _only_data_errors(name):
        image = _identify(name, io.BytesIO(data))
        _checked_header(name, image, max_pixels)
        image.load()
        return np.ascontiguousarray(_pixels(name, _turned_upright(image)))


def choose_side(shape: tuple[int, int] | None, sides: Sequence[int] | None = None) -> int:
    """The side of the square samples to make of images of one (height, width), or of several sizes (None).

    Squares of at most DEFAULT_SIZE, or of a side among `sides` (those a method can take; None: any), stay as they
    are. Everything else becomes the smallest side that loses nothing, but no more than DEFAULT_SIZE: four times
    the pixels cost four times the hours, so a larger size is left to be asked for.
    """
    height, width = shape or (0, DEFAULT_SIZE)
    if height == width and (height <= DEFAULT_SIZE if sides is None else height in sides):
        return height
    if sides is None:
        return DEFAULT_SIZE
    fitting = [side for side in sides if side <= DEFAULT_SIZE] or [min(sides)]
    return min((side for side in fitting if side >= max(height, width)), default=max(fitting))


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize pixels (H, W, C) or (N, H, W, C) bilinearly with antialiasing, the same way for files and for arrays.

    By Pillow, on planes of float32; uint8 comes back rounded to uint8, anything else as float32. Pixels that already
    have the size come back untouched, whatever their dtype.
    """
    if image.shape[-3:-1] == (height, width):
        return image
    batch = image if image.ndim == 4 else image[None]
    shape = (len(batch), height, width, batch.shape[3])
    resized = np.empty(shape, dtype=np.uint8 if image.dtype == np.uint8 else np.float32)
    for row, channel in np.ndindex(shape[0], shape[3]):
        plane = Image.fromarray(batch[row, :, :, channel].astype(np.float32))
        values = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR))
        # A mean of values within 0 to 255 stays there but for rounding errors, which this takes away.
        resized[row, :, :, channel] = values.round().clip(0, 255) if image.dtype == np.uint8 else values
    return resized if image.ndim == 4 else resized[0]


def check_spec_for_files(spec: SampleSpec) -> None:
    """Raise InputError where an image file can not become a sample of this spec."""
    if spec.kind != "image":
        raise InputError(f"expected samples of kind {spec.kind!r}; got image files; give {spec.kind} data")
    if spec.channels not in (1, 3):
        raise InputError(
            f"expected arrays of {spec.channels} channels, as in training; image files give 1 or 3; give arrays"
        )
    if (spec.low, spec.high) not in KNOWN_RANGES:
        raise InputError(
            f"expected arrays with values like those of training ({spec.low:g} to {spec.high:g}); got image files, "
            "whose black and white have no known place in that range; give arrays"
        )


def conform(pixels: np.ndarray, spec: SampleSpec) -> np.ndarray:
    """Pixels (H, W, C) uint8, C 1 or 3, to a sample (C, H, W) of this spec.

    Gray becomes RGB by repetition, RGB becomes gray by the weights of ITU-R 601 (as Pillow's), then the size is
    changed. The sample is uint8 where the spec's range is 0 to 255, else float32 with black at low and white at high.
    """
    if pixels.shape[2] != spec.channels:
        pixels = to_gray(pixels) if spec.channels == 1 else np.repeat(pixels, 3, axis=2)
    sample = np.ascontiguousarray(resize(pixels, spec.height, spec.width).transpose(2, 0, 1))
    if (spec.low, spec.high) == (0.0, 255.0):
        return sample
    return sample.astype(np.float32) * np.float32((spec.high - spec.low) / 255.0) + np.float32(spec.low)


def to_gray(pixels: np.ndarray) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 to (H, W, 1) uint8, with Pillow's own integer arithmetic."""
    red, green, blue = (pixels[:, :, channel].astype(np.uint32) for channel in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[:, :, None]


def pixel_digest(pixels: np.ndarray) -> bytes:
    """16 bytes that are equal for equal pictures (H, W, C) uint8, gray saved as gray or as RGB alike."""
    if pixels.shape[2] == 3 and np.array_equal(pixels[:, :, 0], pixels[:, :, 1]):
        same = np.array_equal(pixels[:, :, 0], pixels[:, :, 2])
        pixels = pixels[:, :, :1] if same else pixels
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


@contextmanager
def _only_data_errors(path: Path | str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected an image file; there is nothing of that name; check the path") from error
    except Exception as error:
        # Pillow raises OSError, SyntaxError, ValueError, struct.error, zlib.error, MemoryError and more for files
        # that are broken in one way or another; none of them may end a run over many files.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path}: broken or not an image: {reason}") from error


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    if not path.exists():
        raise FileNotFoundError
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError(f"{path}: expected an image file; got a {'folder' if path.is_dir() else 'special file'}")
    with path.open("rb") as stream:
        yield _identify(path, stream)


def _identify(path: Path | str, stream: IO[bytes]) -> ImageFile.ImageFile:
    """What Image.open does, less its warning for large images.

    Silencing that warning would mean warnings.catch_warnings, which threads must not share.
    """
    prefix = stream.read(16)
    if not prefix:
        raise DataError(f"{path}: the file is empty (0 bytes)")
    Image.init()
    for name in PILLOW_FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(prefix) is True:
            stream.seek(0)
            return factory(stream, "")
    raise DataError(f"{path}: not an image: the file does not begin like {', '.join(PILLOW_FORMATS)}")


def _checked_header(path: Path | str, image: ImageFile.ImageFile, max_pixels: int | None = None) -> Header:
    width, height = image.size
    most = MAX_PIXELS if max_pixels is None else max_pixels
    if width * height > most:
        raise DataError(
            f"{path}: {width} x {height} pixels are more than the limit of {most:,}; make the image smaller"
        )
    if min(width, height) < MIN_SIDE:
        raise DataError(f"{path}: {width} x {height} pixels; each side needs at least {MIN_SIDE}")
    return Header(image.format or "", image.mode, height, width)


def _turned_upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except Exception:
        return image  # unreadable EXIF says nothing about orientation, and the pixels are sound
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _pixels(path: Path | str, image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        raise DataError(f"{path}: float pixels have no known white; save the image as 8 or 16 bit, or give an array")
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535:
            raise DataError(f"{path}: values {wide.min()} to {wide.max()}; expected 16-bit gray, 0 to 65535")
        return ((wide.astype(np.uint32) + 128) // 257).astype(np.uint8)[:, :, None]
    gray = image.mode in GRAY_MODES
    if image.has_transparency_data:
        return _on_white(np.asarray(image.convert("LA" if gray else "RGBA")))
    if gray:
        return np.asarray(image.convert("L"))[:, :, None]
    return np.asarray(image.convert("RGB"))


def _on_white(layered: np.ndarray) -> np.ndarray:
    """(H, W, 2 or 4) with alpha last to (H, W, 1 or 3): value * alpha + white * (1 - alpha), rounded."""
    alpha = layered[:, :, -1:].astype(np.uint32)
    return ((layered[:, :, :-1] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
