"""Arrays and tensors as sources: layout, range, refusals, memory-mapped files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from novanda.errors import DataError, InputError
from novanda.samples import SampleSpec, Source
from novanda.sources import arrays
from novanda.sources.arrays import ArraySource, open_array_file

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (5, 10, 12, 3), dtype=np.uint8)


def spec_range(source: ArraySource) -> tuple[float, float]:
    return source.spec.low, source.spec.high


# Layout


def test_both_image_layouts_give_the_same_samples() -> None:
    last: Source = ArraySource(COLOUR)
    first = ArraySource(np.ascontiguousarray(COLOUR.transpose(0, 3, 1, 2)))
    assert last.spec == first.spec == SampleSpec("image", 3, 10, 12)
    samples = last.read([4, 0])
    assert samples.dtype == np.uint8
    assert samples.flags.c_contiguous
    np.testing.assert_array_equal(samples, COLOUR[[4, 0]].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(first.read([4, 0]), samples)
    assert len(last) == 5
    assert last.identifier(4) == "row 4"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_one_to_four_channels(channels: int) -> None:
    assert ArraySource(np.zeros((2, 9, 8, channels), np.uint8)).spec.shape == (channels, 9, 8)
    assert ArraySource(np.zeros((2, channels, 9, 8), np.uint8)).spec.shape == (channels, 9, 8)


def test_gray_and_features() -> None:
    assert ArraySource(COLOUR[..., 0]).spec == SampleSpec("image", 1, 10, 12)
    features = RANDOM.normal(size=(7, 30))
    source = ArraySource(features)
    assert source.spec == SampleSpec("features", 30, 1, 1, -1.0, 1.0)
    assert source.read([3]).dtype == np.float32
    np.testing.assert_array_equal(source.read([3])[0, :, 0, 0], features[3].astype(np.float32))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float16, np.uint16])
def test_features_of_any_dtype_become_float32(dtype: type) -> None:
    rows: np.ndarray = (RANDOM.normal(size=(7, 30)) * 1000).astype(dtype)
    source = ArraySource(rows)
    assert (source.spec.low, source.spec.high) == (-1, 1)
    samples = source.read(range(7))
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples[:, :, 0, 0], rows.astype(np.float32))


@pytest.mark.parametrize("shape", [
    (2, 3, 10, 4), (2, 10, 4, 3), (2, 5, 10, 12), (2, 10, 12, 5), (10, 12, 3), (5, 7, 9), (4,), (), (2, 3, 3, 8, 8),
])  # fmt: skip
def test_shapes_that_are_no_samples(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected .*got shape"):
        ArraySource(np.zeros(shape))


def test_kind_decides_and_is_checked() -> None:
    assert ArraySource(COLOUR[..., 0] / 255.0, kind="spectrogram").spec.kind == "spectrogram"
    for data, kind in ((COLOUR, "features"), (np.zeros((3, 9)), "image")):
        with pytest.raises(InputError, match="expected"):
            ArraySource(data, kind=kind)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="kind must be one of"):
        ArraySource(COLOUR, kind="picture")  # type: ignore[arg-type]


def test_flow_keeps_no_motion_at_zero() -> None:
    source = ArraySource(RANDOM.uniform(-3, 9, (4, 2, 8, 8)), kind="flow")
    assert source.spec.low == -source.spec.high
    assert (source.spec.scale(torch.zeros(1, 2, 8, 8)) == 0).all()


@pytest.mark.parametrize("data", [
    np.empty((0, 8, 8)), np.empty((3, 0)), np.array([None, 1]), np.zeros((2, 3), complex), np.array([["a", "b"]]),
    [np.zeros((8, 8)), np.zeros((8, 9))], [[1.0, 2.0], [1.0]], [], "text", None, {"a": 1},
])  # fmt: skip
def test_what_is_no_array_of_numbers(data: Any) -> None:
    with pytest.raises(InputError, match="expected"):
        ArraySource(data)


def test_tensors_and_lists() -> None:
    expected = ArraySource(COLOUR).read(range(5))
    np.testing.assert_array_equal(ArraySource(torch.from_numpy(COLOUR)).read(range(5)), expected)
    np.testing.assert_array_equal(ArraySource(list(COLOUR)).read(range(5)), expected)
    needs_gradient = torch.rand(3, 1, 8, 8, requires_grad=True)
    assert ArraySource(needs_gradient).spec == SampleSpec("image", 1, 8, 8, 0.0, 1.0)
    assert ArraySource(torch.rand(3, 5).to(torch.bfloat16)).read([0]).dtype == np.float32
    with pytest.raises(InputError, match="dense tensor"):
        ArraySource(torch.eye(9).to_sparse())


# Range


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0.0, 0.9, (0, 1)), (-0.5, 0.9, (-1, 1)), (0.0, 200.0, (0, 255)), (-3.0, 0.5, (-3, 0.5)), (5.0, 300.0, (5, 300)),
    (0.5, 0.5, (0, 1)),
])  # fmt: skip
def test_range_of_floats(low: float, high: float, expected: tuple[float, float]) -> None:
    data = np.full((4, 8, 8), low)
    data[3, 7, 7] = high
    source = ArraySource(data)
    assert spec_range(source) == expected
    assert source.read([0]).dtype == np.float32


def test_constant_values_beyond_known_ranges_are_refused() -> None:
    with pytest.raises(InputError, match="every value is 300"):
        ArraySource(np.full((4, 8, 8), 300.0))


def test_range_of_integers() -> None:
    zeros = np.zeros((2, 8, 8))
    assert spec_range(ArraySource(zeros.astype(bool))) == (0, 1)
    assert spec_range(ArraySource(zeros.astype(np.uint8))) == (0, 255)
    for order in ("<u2", ">u2"):
        wide = (zeros + 40000).astype(order)
        source = ArraySource(wide)
        assert spec_range(source) == (0, 65535)
        assert source.read([0]).dtype == np.float32
        assert (source.read([0]) == 40000).all()
    narrow = ArraySource((zeros + 255).astype(np.int64))
    assert spec_range(narrow) == (0, 255)
    assert narrow.read([0]).dtype == np.uint8
    assert (narrow.read([0]) == 255).all()
    for value in (-1, 256):
        with pytest.raises(InputError, match="within 0 to 255"):
            ArraySource((zeros + value).astype(np.int32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("shape", [(40, 6), (40, 8, 8)])
def test_the_first_row_that_is_not_finite_is_named(
    dtype: type, value: float, word: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_CHUNK_BYTES", 1000)
    data: np.ndarray = np.zeros(shape, dtype)
    data[31, ..., 2] = value
    data[35] = value
    with pytest.raises(InputError, match=rf"Input contains {word}.*first in row 31 "):
        ArraySource(data)
    with pytest.raises(InputError, match=rf"Input contains {word}"):
        ArraySource(data, spec=ArraySource(np.zeros(shape)).spec)


def test_values_too_large_for_float32() -> None:
    data = np.zeros((3, 4))
    data[2, 1] = 1e39
    with pytest.raises(InputError, match=r"too large for dtype\('float32'\).*row 2"):
        ArraySource(data)


@settings(max_examples=80, deadline=None)
@given(
    arrays_of.arrays(
        st.sampled_from([np.float32, np.float64, np.uint8, np.uint16, np.int16, np.bool_]),
        arrays_of.array_shapes(min_dims=1, max_dims=5, max_side=10),
    )
)
def test_any_array_is_taken_or_refused_with_words(data: np.ndarray) -> None:
    try:
        source = ArraySource(data)
    except InputError:
        return
    samples = source.read([len(data) - 1])
    assert samples.shape == (1, *source.spec.shape)
    assert (
        torch.isfinite(source.spec.scale(torch.from_numpy(samples))).all() or source.spec.high - source.spec.low < 1e-30
    )


# A given spec


def test_the_given_spec_is_never_inferred_again() -> None:
    spec = ArraySource(RANDOM.uniform(0, 1, (4, 8, 8))).spec
    later = ArraySource(RANDOM.uniform(-5, 7, (4, 8, 8)), spec=spec)
    assert later.spec is spec
    assert "Attention" not in later.note


def test_other_sizes_are_resized_for_images_only() -> None:
    spec = SampleSpec("image", 3, 8, 8)
    source = ArraySource(COLOUR, spec=spec)
    assert source.read(range(5)).shape == (5, 3, 8, 8)
    assert "resized from 10 x 12 to 8 x 8" in source.note
    assert "resized" not in ArraySource(COLOUR, spec=SampleSpec("image", 3, 10, 12)).note
    sized = ArraySource(COLOUR, size=8)
    np.testing.assert_array_equal(sized.read([1]), source.read([1]))
    with pytest.raises(InputError, match=r"\(1, 8, 8\).*\(4, 10, 12\).*\(1, 10, 12\)"):
        ArraySource(COLOUR[:4, :, :, 0] / 255.0, spec=SampleSpec("spectrogram", 1, 8, 8))


def test_other_channels_and_features_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(1, 10, 12\).*\(5, 10, 12, 3\)"):
        ArraySource(COLOUR, spec=SampleSpec("image", 1, 10, 12))
    features = SampleSpec("features", 30, 1, 1, -1.0, 1.0)
    with pytest.raises(InputError, match=r"30 features.*\(7, 29\)"):
        ArraySource(np.zeros((7, 29)), spec=features)
    with pytest.raises(InputError, match="reshape"):
        ArraySource(np.zeros(30), spec=features)
    with pytest.raises(InputError, match="kind 'features'"):
        ArraySource(np.zeros((7, 30)), spec=features, kind="image")


def test_shapes_below_8_are_taken_where_the_spec_has_them() -> None:
    spec = SampleSpec("waveform", 1, 1, 100, -1.0, 1.0)
    assert ArraySource(np.zeros((3, 1, 1, 100)), spec=spec).read([0]).shape == (1, 1, 1, 100)


def test_other_units_are_refused_or_remarked() -> None:
    with pytest.raises(InputError, match="0 to 1, as in training; got uint8 up to 255"):
        ArraySource(np.full((2, 8, 8), 255, np.uint8), spec=SampleSpec("image", 1, 8, 8, 0.0, 1.0))
    ones = ArraySource(np.ones((2, 8, 8), np.uint8), spec=SampleSpec("image", 1, 8, 8, 0.0, 1.0))
    assert (ones.spec.scale(torch.from_numpy(ones.read([0]))) == 1).all()
    with pytest.raises(InputError, match="0 to 255, as in training; got uint16"):
        ArraySource(np.full((2, 8, 8), 4000, np.uint16), spec=SampleSpec("image", 1, 8, 8))
    assert "Attention" in ArraySource(np.full((2, 8, 8), 0.7), spec=SampleSpec("image", 1, 8, 8)).note
    assert "Attention" not in ArraySource(np.full((2, 8, 8), 7.0), spec=SampleSpec("image", 1, 8, 8)).note


def test_size_is_checked() -> None:
    with pytest.raises(InputError, match="only be given for images"):
        ArraySource(np.zeros((3, 9)), size=32)
    with pytest.raises(InputError, match="at least 8"):
        ArraySource(COLOUR, size=7)


# Files


def test_npy_stays_on_disk_and_is_sliced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = RANDOM.uniform(0, 1, (50, 8, 8, 3)).astype(np.float32)
    np.save(tmp_path / "a.npy", data)
    mapped = open_array_file(tmp_path / "a.npy")
    assert isinstance(mapped, np.memmap)
    largest = 0
    chunks = arrays._chunks

    def watched(array: np.ndarray) -> Any:
        nonlocal largest
        for start, chunk in chunks(array):
            largest = max(largest, chunk.nbytes)
            yield start, chunk

    monkeypatch.setattr(arrays, "_CHUNK_BYTES", 5 * data[0].nbytes)
    monkeypatch.setattr(arrays, "_chunks", watched)
    source = ArraySource(mapped)
    assert largest == 5 * data[0].nbytes  # the range was found in parts
    assert isinstance(source._data, np.memmap)  # and the array was not copied
    assert spec_range(source) == (0, 1)
    samples = source.read([49, 2])
    np.testing.assert_array_equal(samples, data[[49, 2]].transpose(0, 3, 1, 2))
    samples[:] = 0  # a copy: writable, the file untouched
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), data)


def test_npz_needs_an_evident_array(tmp_path: Path) -> None:
    first, second = np.zeros((3, 8, 8)), np.ones((3, 8, 8))
    for name, content, expected in (
        ("one", {"anything": second}, second),
        ("images", {"images": second, "labels": first}, second),
        ("x", {"x": second, "y": first}, second),
    ):
        np.savez(tmp_path / f"{name}.npz", **content)  # type: ignore[arg-type]
        np.testing.assert_array_equal(open_array_file(tmp_path / f"{name}.npz"), expected)
    np.savez(tmp_path / "two.npz", a=first, b=second)
    with pytest.raises(DataError, match=r"two.npz.*got a, b"):
        open_array_file(tmp_path / "two.npz")


def test_files_that_hold_no_array(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=np.array([{"a": 1}], dtype=object))
    np.save(tmp_path / "cut.npy", np.zeros((30, 8, 8)))
    for name in ("cut.npy", "objects.npz"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"half_{name}").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "text.npy").write_text("text")
    (tmp_path / "text.npz").write_text("text")
    for name in ("objects.npy", "objects.npz", "half_cut.npy", "half_objects.npz", "empty.npy", "text.npy", "text.npz"):
        with pytest.raises(DataError, match=f"{name}: expected an array"):
            open_array_file(tmp_path / name)
    with pytest.raises(DataError, match="none of that name"):
        open_array_file(tmp_path / "missing.npy")
