"""What a sample is, and how a source is streamed: scaling, order, and how much is read at a time."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from novanda.errors import DataError, InputError
from novanda.samples import KINDS, Normals, SampleSpec, even_split


class Counted:
    """A source whose sample i holds the number i everywhere; remembers what was read."""

    def __init__(self, count: int, broken: int | None = None) -> None:
        self.spec = SampleSpec("image", 1, 2, 3)
        self.count, self.broken = count, broken
        self.reads: list[list[int]] = []
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return self.count

    def read(self, positions: Sequence[int]) -> np.ndarray:
        assert type(positions) is list
        assert all(type(p) is int for p in positions)
        self.reads.append(list(positions))
        self.threads.add(threading.current_thread().name)
        if self.broken in positions:
            raise DataError(f"sample {self.broken} is broken")
        return np.asarray(positions, dtype=np.uint8)[:, None, None, None].repeat(2, 2).repeat(3, 3)

    def identifier(self, position: int) -> str:
        return f"row {position}"


# ---------------------------------------------------------------------------------------------------------------
# SampleSpec


@pytest.mark.parametrize("kind", KINDS)
def test_a_spec_survives_json(kind: Any) -> None:
    spec = SampleSpec(kind, 3, 4, 5, -1.5, 2.0)
    assert SampleSpec(**spec.to_json()) == spec
    assert spec.shape == (3, 4, 5)
    assert spec.size == 60


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"kind": "picture"}, "kind"),
        ({"channels": 0}, r"\(0, 4, 5\)"),
        ({"height": 0}, r"\(3, 0, 5\)"),
        ({"width": -1}, r"\(3, 4, -1\)"),
        ({"low": 1.0, "high": 1.0}, "low=1.0, high=1.0"),
        ({"low": 2.0, "high": 1.0}, "low < high"),
        ({"low": math.nan}, "low=nan"),
        ({"low": -math.inf}, "finite"),
        ({"high": math.inf}, "finite"),
    ],
)
def test_a_wrong_spec_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    arguments: dict[str, Any] = {"kind": "image", "channels": 3, "height": 4, "width": 5, **wrong}
    with pytest.raises(InputError, match=named):
        SampleSpec(**arguments)


def test_scaling_maps_the_range_to_minus_one_and_one() -> None:
    raw = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    scaled = SampleSpec("image", 1, 1, 1).scale(raw)
    assert scaled.dtype == torch.float32
    assert scaled.flatten().tolist() == pytest.approx([-1, -0.6, 1], abs=1e-6)


def test_features_are_left_as_they_are_to_the_last_bit() -> None:
    features, spec = torch.tensor([-7.25, 0.0, 1e6, 1e-12, 1 / 3]), SampleSpec("features", 5, 1, 1, -1.0, 1.0)
    assert torch.equal(spec.scale(features), features)
    assert torch.equal(spec.unscale(features), features)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int64, torch.bool, torch.float32, torch.float64])
def test_scaling_never_touches_the_raw_samples(dtype: torch.dtype) -> None:
    raw = torch.tensor([[0, 1]]).to(dtype)
    before = raw.clone()
    SampleSpec("image", 1, 1, 2).scale(raw)
    assert torch.equal(raw, before)
    SampleSpec("image", 1, 1, 2).unscale(raw)
    assert torch.equal(raw, before)


@given(
    low=st.floats(-1e3, 1e3),
    extent=st.floats(1e-2, 1e3),
    shares=st.lists(st.floats(-1, 2), min_size=1, max_size=9),
)
def test_unscale_inverts_scale(low: float, extent: float, shares: list[float]) -> None:
    spec = SampleSpec("spectrogram", 1, 1, len(shares), low, low + extent)
    raw = torch.tensor([[low + share * extent for share in shares]], dtype=torch.float64)
    found = spec.unscale(spec.scale(raw)).double()
    # float32 carries 24 bits, of the offset as well as of the extent.
    assert torch.allclose(found, raw, rtol=0, atol=1e-6 * (abs(low) + extent))
    expected = 2 * torch.tensor(shares, dtype=torch.float64) - 1
    assert torch.allclose(spec.scale(raw).double(), expected[None], atol=1e-6 * (abs(low) + extent) / extent * 4)


# ---------------------------------------------------------------------------------------------------------------
# even_split


@given(count=st.integers(0, 300), size=st.integers(1, 90))
def test_even_split_loses_nothing_and_leaves_no_small_rest(count: int, size: int) -> None:
    index = torch.randperm(count)
    parts = even_split(index, size)
    assert torch.equal(torch.cat([*parts, index[:0]]), index)
    lengths = [len(part) for part in parts]
    assert len(parts) == math.ceil(count / size)
    assert all(0 < length <= size for length in lengths)
    assert not lengths or max(lengths) - min(lengths) <= 1


# ---------------------------------------------------------------------------------------------------------------
# Normals


def _value(samples: Tensor) -> list[int]:
    return [round(v) for v in SampleSpec("image", 1, 2, 3).unscale(samples)[:, 0, 0, 0].tolist()]


def test_normals_are_all_samples_in_order_by_default() -> None:
    normals = Normals(Counted(10), batch_size=4)
    batches = list(normals.batches())
    assert [len(batch) for batch in batches] == [4, 3, 3]
    assert [v for batch in batches for v in _value(batch)] == list(range(10))
    assert normals.spec == normals.source.spec
    for batch in batches:
        assert batch.shape[1:] == (1, 2, 3)
        assert batch.dtype == torch.float32


def test_normals_are_the_chosen_positions_in_their_order() -> None:
    normals = Normals(Counted(10), np.array([7, 2, 9, 2]))
    assert len(normals) == 4
    assert _value(torch.cat(list(normals.batches(3)))) == [7, 2, 9, 2]
    assert _value(normals.take(torch.tensor([2, 0]))) == [9, 7]
    assert len(Normals(Counted(10), np.array([]))) == 0
    assert list(Normals(Counted(10), np.array([])).batches()) == []


def test_walk_follows_the_order_given() -> None:
    normals = Normals(Counted(10), np.arange(9, -1, -1))
    order = [torch.tensor([3, 1]), torch.tensor([0]), torch.tensor([8, 2, 2])]
    walked = list(normals.walk(order))
    assert [index.tolist() for index, _ in walked] == [[3, 1], [0], [8, 2, 2]]
    assert [_value(samples) for _, samples in walked] == [[6, 8], [9], [1, 7, 7]]
    assert list(normals.walk([])) == []


def test_walk_reads_one_batch_ahead_and_no_more() -> None:
    source = Counted(40)
    for done, _ in enumerate(Normals(source, batch_size=4).batches(), start=1):
        # The next read may or may not have begun; the one after it must not.
        assert done <= len(source.reads) <= done + 1
    assert len(source.reads) == 10
    assert max(map(len, source.reads)) == 4
    assert all(name.startswith("novanda-read") for name in source.threads)


def test_a_read_runs_while_the_batch_before_it_is_used() -> None:
    source = Counted(8)
    begun = threading.Event()
    plain = source.read

    def read(positions: Sequence[int]) -> np.ndarray:
        if positions[0] == 4:
            begun.set()
        return plain(positions)

    source.read = read  # type: ignore[method-assign]
    batches = Normals(source, batch_size=4).batches()
    next(batches)
    assert begun.wait(10)
    batches.close()  # type: ignore[attr-defined]


def test_a_walk_left_early_leaves_no_thread() -> None:
    before = threading.active_count()
    batches = Normals(Counted(40), batch_size=4).batches()
    next(batches)
    del batches
    assert threading.active_count() == before


def test_an_error_of_the_source_arrives_with_its_batch() -> None:
    batches = Normals(Counted(12, broken=5), batch_size=4).batches()
    assert _value(next(batches)) == [0, 1, 2, 3]
    with pytest.raises(DataError, match="sample 5 is broken"):
        next(batches)


def test_samples_come_on_the_device() -> None:
    normals = Normals(Counted(4), device="meta")
    assert normals.take(torch.tensor([1])).device.type == "meta"
    assert Normals(Counted(4)).take(torch.tensor([1])).device.type == "cpu"


def test_float_samples_of_a_source_are_not_changed_by_reading_them() -> None:
    source = Counted(2)
    data = np.full((2, 1, 2, 3), 7.0, np.float32)
    source.read = lambda positions: data  # type: ignore[method-assign]
    for _ in range(2):
        assert _value(Normals(source).take(torch.tensor([0, 1]))) == [7, 7]
    assert (data == 7).all()
