"""Arrays and tensors as a source, in memory or mapped from a file: layout, range and checks.

Letters: N rows, H height, W width, C channels, F features.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from novanda.errors import DataError, InputError
from novanda.samples import KINDS, Kind, SampleSpec
from novanda.sources.decoding import KNOWN_RANGES, MIN_SIDE, choose_side, resize

__all__ = ["ArraySource", "as_array", "is_tensor", "open_array_file"]

MAX_CHANNELS = 4
_CHUNK_BYTES = 1 << 24


class ArraySource:
    """The rows of an array as samples (C, H, W), sliced as they are read: a memory-mapped array stays on disk.

    Args:
        data: (N, H, W, C) or (N, C, H, W) with C from 1 to 4 and H, W at least 8; (N, H, W) gray; (N, F) features.
            A numpy array, a tensor, or a list of arrays of one shape; bool, integers within 0 to 255, uint16, float.
        kind: what the numbers mean; None: "features" for (N, F), else "image".
        size: side to resize images to; None keeps them as they are, or chooses from `sides`.
        sides: the square sides that are wanted, see `choose_side`; None: any shape.
        spec: the samples of a fitted detector; nothing is inferred then, and images of another height or width are
            resized. None: shape and range are taken from these data, as for training. Range of floats: 0 to 1, -1
            to 1 or 0 to 255, the first that holds all values, else their least and greatest; flow: symmetric, so
            that no motion stays 0.
        name: what `identifier` calls a row; None: "row 3".

    Attributes:
        note: sentences for a person: how the array was understood, and whether it is resized.

    Raises:
        InputError: wrong shape, dtype or values; NaN or infinity, with the first row that has one.
    """

    def __init__(
        self,
        data: Any,
        *,
        kind: Kind | None = None,
        size: int | None = None,
        sides: Sequence[int] | None = None,
        spec: SampleSpec | None = None,
        name: Callable[[int], str] | None = None,
    ) -> None:
        if kind is not None and kind not in KINDS:
            raise InputError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
        if spec is not None and kind is not None and kind != spec.kind:
            raise InputError(f"expected data of kind {spec.kind!r}, as in training; got kind={kind!r}")
        data = as_array(data)
        self._name = name
        self._data, self._layout = _with_layout(data, spec.kind if spec else kind, spec)
        height, width, channels = self._data.shape[1:]
        self.note = f"{len(data):,} rows understood as {self._layout}."
        made: Kind = spec.kind if spec else kind or ("features" if data.ndim == 2 else "image")
        low, high = _check_values(self._data, made, as_declared=spec is None)
        if spec is None:
            value_range = _infer_range(made, self._data.dtype, low, high)
            self._spec = SampleSpec(made, channels, height, width, *value_range)
            if size is None and sides is not None and made == "image":
                size = choose_side((height, width), sides)
            if size is not None:
                _check_size(size, made)
                self._spec = replace(self._spec, height=size, width=size)
        else:
            self._spec = spec
            _check_against(self._data, spec, data.shape)
            self.note += _check_units(self._data.dtype, spec, low, high)
        if (height, width) != (self._spec.height, self._spec.width):
            self.note += f" Each is resized from {height} x {width} to {self._spec.height} x {self._spec.width}."

    @property
    def spec(self) -> SampleSpec:
        """What each sample looks like."""
        return self._spec

    def __len__(self) -> int:
        return len(self._data)

    def read(self, positions: Sequence[int]) -> np.ndarray:
        """Samples (n, C, H, W), uint8 for images of integers within 0 to 255, else float32; a contiguous copy."""
        rows = np.asarray(self._data[np.asarray(positions, dtype=np.int64)])
        narrow = self._spec.kind != "features" and rows.dtype.kind in "ui" and not _is_16_bit(rows.dtype)
        rows = resize(rows.astype(np.uint8 if narrow else np.float32), self._spec.height, self._spec.width)
        return np.ascontiguousarray(rows.transpose(0, 3, 1, 2))

    def identifier(self, position: int) -> str:
        """The row's number, counted from 0, unless a name was given."""
        return self._name(position) if self._name else f"row {position}"


def as_array(data: Any) -> np.ndarray:
    """An array, a tensor or a list of arrays of one shape as one array of bool, integers or floats; N >= 1.

    Nothing is copied where that can be. Raises InputError for anything else.
    """
    if is_tensor(data):
        data = data.detach().cpu()
        try:
            data = (data.float() if str(data.dtype) == "torch.bfloat16" else data).numpy()
        except (TypeError, RuntimeError) as error:
            raise InputError(f"expected a dense tensor of numbers; got one that NumPy can not read: {error}") from error
    if not isinstance(data, np.ndarray):
        try:
            data = np.asarray(data)
        except (ValueError, TypeError) as error:
            raise InputError(
                "expected rows of one shape; these differ (a ragged list can not become an array); "
                f"resize them alike, or give file paths: {error}"
            ) from error
    array: np.ndarray = data
    if array.dtype.kind not in "buif":
        raise InputError(f"expected an array of bool, integers or floats; got dtype {array.dtype}; convert it first")
    if array.size == 0:
        raise InputError(f"expected at least one row with values; got an empty array of shape {array.shape}")
    return array


def is_tensor(value: object) -> bool:
    """Whether this is a tensor of torch; without importing torch, for who has made none need not have it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def open_array_file(path: str | Path) -> np.ndarray:
    """The array of a .npy (memory-mapped, read-only) or .npz file; pickled objects are never loaded.

    An .npz needs exactly one array, or one named "images" or "x".

    Raises:
        DataError: missing, corrupt, pickled, or an .npz in which the array is not evident (its names are listed).
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: expected a .npy or .npz file; there is none of that name; check the path")
    try:
        if path.suffix.lower() == ".npy":
            return np.lib.format.open_memmap(path, mode="r")
        # Opened here, as NumPy leaves its own file open where the archive is broken.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            names = list(archive.files)
            wanted = names if len(names) == 1 else [name for name in ("images", "x") if name in names][:1]
            if wanted:
                return np.asarray(archive[wanted[0]])
    except Exception as error:
        raise DataError(
            f"{path}: expected an array as numpy.save or numpy.savez write it; this is corrupt, or holds pickled "
            f"objects, which are never loaded as they could run code: {error or type(error).__name__}"
        ) from error
    raise DataError(
        f"{path}: expected one array, or one named 'images' or 'x'; got {', '.join(names) or 'none'}; save it alone"
    )


def _with_layout(data: np.ndarray, kind: Kind | None, spec: SampleSpec | None) -> tuple[np.ndarray, str]:
    """A view (N, H, W, C) and the name of the layout it had."""
    if kind == "features" and data.ndim != 2:
        raise InputError(
            f"expected features as a 2-D array (rows, features); got shape {data.shape}; reshape it, for instance "
            "array.reshape(1, -1) for a single row"
        )
    if data.ndim == 2 and kind in (None, "features"):
        return data[:, None, None, :], "features (N, F)"
    if data.ndim == 4:
        if spec is not None and data.shape[1:] == spec.shape:
            return data.transpose(0, 2, 3, 1), "(N, C, H, W)"
        last = 1 <= data.shape[3] <= MAX_CHANNELS and min(data.shape[1:3]) >= MIN_SIDE
        first = 1 <= data.shape[1] <= MAX_CHANNELS and min(data.shape[2:]) >= MIN_SIDE
        if last or first:
            return (data, "(N, H, W, C)") if last else (data.transpose(0, 2, 3, 1), "(N, C, H, W)")
    if data.ndim == 3 and min(data.shape[1:]) >= MIN_SIDE:
        return data[:, :, :, None], "gray (N, H, W)"
    hint = ""
    if data.ndim in (2, 3):
        hint = " If this is a single sample, give it a first axis: array[None]."
    wanted = f"samples of shape {spec.shape} (C, H, W): " if spec else ""
    raise InputError(
        f"expected {wanted}(N, H, W, C) or (N, C, H, W) with 1 to {MAX_CHANNELS} channels and sides of at least "
        f"{MIN_SIDE}, (N, H, W) gray, or (N, F) features; got shape {data.shape}.{hint}"
    )


def _check_against(data: np.ndarray, spec: SampleSpec, shape: tuple[int, ...]) -> None:
    height, width, channels = data.shape[1:]
    same_size = (height, width) == (spec.height, spec.width) or spec.kind == "image"
    if channels != spec.channels or not same_size:
        what = f"{spec.channels} features" if spec.kind == "features" else f"samples of shape {spec.shape} (C, H, W)"
        raise InputError(
            f"expected {what}, as in training; got an array of shape {shape}, whose samples are "
            f"{(channels, height, width)}; convert it first"
        )


def _check_size(size: int, kind: Kind) -> None:
    if kind != "image":
        raise InputError(f"size can only be given for images; got size={size} for {kind}; leave it out")
    if size < MIN_SIDE:
        raise InputError(f"size must be at least {MIN_SIDE} pixels; got {size}")


def _chunks(data: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    step = max(1, _CHUNK_BYTES // max(1, data[:1].nbytes))
    for start in range(0, len(data), step):
        yield start, np.asarray(data[start : start + step])


def _is_16_bit(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "u" and dtype.itemsize == 2  # of either byte order


def _check_values(data: np.ndarray, kind: Kind, *, as_declared: bool) -> tuple[float, float]:
    """Least and greatest value, read chunk by chunk; raises InputError for what can not be a sample's value.

    With `as_declared` nothing is read of bool, uint8 and uint16: their dtype says their range.
    """
    if as_declared and data.dtype.kind in "bu" and data.dtype.itemsize <= 2:
        return 0.0, {"|b1": 1.0, "|u1": 255.0}.get(data.dtype.str, 65535.0)
    low, high = np.inf, -np.inf
    for start, chunk in _chunks(data):
        least, most = float(chunk.min()), float(chunk.max())
        if data.dtype.kind == "f" and not (_fits_float32(least) and _fits_float32(most)):
            raise _not_finite(start, chunk)
        low, high = min(low, least), max(high, most)
    if kind != "features" and data.dtype.kind in "ui" and not _is_16_bit(data.dtype) and not (low >= 0 and high <= 255):
        raise InputError(
            f"expected {data.dtype} values within 0 to 255 (or uint16, or floats); got {low:g} to {high:g}; convert "
            "the array to float32 to keep its values"
        )
    return low, high


def _fits_float32(value: float) -> bool:
    return abs(value) <= float(np.finfo(np.float32).max)  # false for NaN


def _not_finite(start: int, chunk: np.ndarray) -> InputError:
    """The error for a chunk that begins at row `start`; NaN first and in scikit-learn's words, as its users expect."""
    with np.errstate(over="ignore"):
        values = chunk.reshape(len(chunk), -1).astype(np.float32)
    rows, what = np.flatnonzero(np.isnan(values).any(axis=1)), "NaN"
    if not len(rows):
        rows, what = np.flatnonzero(np.isinf(values).any(axis=1)), "infinity or a value too large for dtype('float32')"
    return InputError(
        f"Input contains {what}: first in row {start + rows[0]} (counted from 0). Expected finite numbers; remove such "
        "rows or fill the values in"
    )


def _infer_range(kind: Kind, dtype: np.dtype[Any], low: float, high: float) -> tuple[float, float]:
    if kind == "features":
        return -1.0, 1.0
    if dtype.kind == "b":
        return 0.0, 1.0
    if dtype.kind in "ui":
        return 0.0, 65535.0 if _is_16_bit(dtype) else 255.0
    if kind == "flow":
        bound = max(abs(low), abs(high)) or 1.0
        return -bound, bound
    for candidate in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        if candidate[0] <= low and high <= candidate[1]:
            return candidate
    if low == high:
        raise InputError(f"expected values that differ; every value is {low:g}; there is nothing to learn from them")
    return low, high


def _check_units(dtype: np.dtype[Any], spec: SampleSpec, low: float, high: float) -> str:
    """Refuse integers that can only be in other units than training's; a remark for values that may be."""
    if spec.kind != "image" or (spec.low, spec.high) not in KNOWN_RANGES:
        return ""
    span = f"{spec.low:g} to {spec.high:g}"
    if dtype.kind in "ui" and high > spec.high:
        raise InputError(f"expected values of {span}, as in training; got {dtype} up to {high:g}; scale them alike")
    if spec.high >= 255 and 0 < high <= spec.high / 255:
        return f" Attention: all values lie within {low:g} to {high:g}, but training had {span}."
    return ""
