"""The container of detectors and checkpoints: round trips, atomic writes, and files made to harm."""

from __future__ import annotations

import io
import json
import math
import os
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from novanda.checkpoint import flatten, read_archive, unflatten, write_archive, written_atomically
from novanda.errors import InputError, ModelFileError

MEMBER = "detector.json"
TENSORS = "tensors.safetensors"
DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int8,
    torch.uint8,
    torch.bool,
)
fast = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _good(path: Path) -> bytes:
    write_archive(path, MEMBER, {"name": "nda", "numbers": [1, 2.5, None]}, {"a/b": torch.arange(6.0).view(2, 3)})
    return path.read_bytes()


def _refused(path: Path, content: bytes | None = None, match: str | None = None) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=match) as caught:
        read_archive(path, MEMBER)
    assert str(path) in str(caught.value)


def _zip(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


PACKED = safetensors.torch.save({"a": torch.ones(3)})


# ---------------------------------------------------------------------------------------------------------------
# Round trips


def test_what_is_written_is_read(tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "text": "ÄÖ 魚 \u0000\n",
        "list": [1, -2, 1e-300, 0.1, True, None, {"deep": []}],
        "empty": {},
    }
    tensors = {
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(3.5),
        "strange": torch.tensor([math.nan, math.inf, -0.0]),
        **{str(dtype): (torch.arange(12) % 2).view(3, 4).to(dtype) for dtype in DTYPES},
        "": torch.ones(1),
        "channels last": torch.arange(24.0).view(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
        "transposed": torch.arange(6).view(2, 3).T,
        "learned": torch.nn.Parameter(torch.ones(2)),
    }
    write_archive(tmp_path / "x.novanda", MEMBER, content, tensors)
    found, read = read_archive(tmp_path / "x.novanda", MEMBER)
    assert found == content
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        torch.testing.assert_close(read[name], tensor.detach(), rtol=0, atol=0, equal_nan=True)
        assert not read[name].requires_grad


def test_tensors_that_share_memory_come_apart(tmp_path: Path) -> None:
    whole = torch.arange(10.0)
    write_archive(tmp_path / "x", MEMBER, {}, {"whole": whole, "same": whole, "part": whole[2:5], "one": whole[:1]})
    _, read = read_archive(tmp_path / "x", MEMBER)
    assert torch.equal(read["part"], torch.tensor([2.0, 3.0, 4.0]))
    read["whole"].zero_()  # writable, and nobody else's
    assert torch.equal(read["same"], whole)
    assert torch.equal(read["part"], whole[2:5])
    assert (tmp_path / "x").stat().st_size < 2000  # the part alone is written, not the storage behind it


def test_writing_leaves_the_tensors_as_they_are(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(2, 2, 2, 2).contiguous(memory_format=torch.channels_last))
    write_archive(tmp_path / "x", MEMBER, {}, {"p": parameter})
    assert parameter.requires_grad
    assert parameter.is_contiguous(memory_format=torch.channels_last)


def test_the_file_is_a_plain_zip_that_people_can_open(tmp_path: Path) -> None:
    _good(tmp_path / "x.novanda")
    with zipfile.ZipFile(tmp_path / "x.novanda") as archive:
        assert sorted(archive.namelist()) == [MEMBER, TENSORS]
        assert json.loads(archive.read(MEMBER))["name"] == "nda"
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        assert list(safetensors.torch.load(archive.read(TENSORS))) == ["a/b"]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_not_written(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="Out of range float values"):
        write_archive(tmp_path / "x", MEMBER, {"deep": [number]}, {})
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------------
# Atomic writes


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("written", [b"", b"half"])
def test_an_interrupted_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, error: type[BaseException], written: bytes
) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")

    def write() -> None:
        with written_atomically(path) as file:
            file.write(written)
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    path.unlink()
    with pytest.raises(error):
        write()
    assert not list(tmp_path.iterdir())


def test_the_file_appears_whole_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    with written_atomically(path) as file:
        file.write(b"one")
        file.flush()
        assert not path.exists()
        assert [p.parent for p in path.parent.iterdir()] == [path.parent]  # beside its place: a rename can not fail
    assert path.read_bytes() == b"one"
    with written_atomically(path) as file:
        file.write(b"two")
        assert path.read_bytes() == b"one"
    assert path.read_bytes() == b"two"
    assert len(list(path.parent.iterdir())) == 1


def test_long_names_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    with written_atomically(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        _good(tmp_path / "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode


def test_the_umask_of_the_process_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to all threads: another one's file would get the wrong permissions."""
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("umask was changed"))
    _good(tmp_path / "x")


def test_many_writers_leave_one_whole_file(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for _ in range(5):
            write_archive(tmp_path / "x", MEMBER, {"number": number}, {"t": torch.full((1000,), number)})

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content, tensors = read_archive(tmp_path / "x", MEMBER)
    assert (tensors["t"] == content["number"]).all()
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


# ---------------------------------------------------------------------------------------------------------------
# Trees

keys = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(["a", "a/b", "b", 1, "1", "items"])
)
tensor = st.builds(
    lambda shape, dtype, fill: torch.full(shape, fill).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(DTYPES),
    st.integers(0, 1),
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | tensor
)
trees = st.recursive(leaves, lambda t: st.lists(t, max_size=4) | st.dictionaries(keys, t, max_size=4), max_leaves=12)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and [(type(k), k) for k in one] == [(type(k), k) for k in other]
            and all(_same(a, b) for a, b in zip(one.values(), other.values(), strict=True))
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other


@fast
@given(trees)
def test_a_tree_comes_back_as_it_was(tmp_path: Path, tree: Any) -> None:
    tensors: dict[str, Tensor] = {}
    flat = flatten(tree, tensors, "optimizer/0")
    assert all(name.startswith("optimizer/0") for name in tensors)
    write_archive(tmp_path / "tree", MEMBER, {"tree": flat}, tensors)
    content, read = read_archive(tmp_path / "tree", MEMBER)
    assert _same(unflatten(content["tree"], read), tree)


def test_keys_that_lead_to_one_place_keep_their_tensors_apart() -> None:
    tree = {1: torch.tensor(1), "1": torch.tensor(2), "a/b": torch.tensor(3), "a": {"b": torch.tensor(4)}}
    tensors: dict[str, Tensor] = {}
    assert _same(unflatten(flatten(tree, tensors), tensors), tree)


def test_tensors_in_one_storage_come_back_with_their_own_values(tmp_path: Path) -> None:
    whole = torch.arange(4.0)
    tensors: dict[str, Tensor] = {}
    flat = flatten({"state": {0: {"buffer": whole[:2], "again": whole}}, "betas": (0.9, 0.99)}, tensors)
    write_archive(tmp_path / "x", MEMBER, flat, tensors)
    tree = unflatten(*read_archive(tmp_path / "x", MEMBER))
    assert _same(tree, {"state": {0: {"buffer": whole[:2], "again": whole}}, "betas": [0.9, 0.99]})


@pytest.mark.parametrize("odd", [{1, 2}, b"bytes", object(), 1j, {"deep": [len]}, {(1, 2): 3}])
def test_what_would_need_pickle_is_refused(odd: Any) -> None:
    with pytest.raises(TypeError, match="without pickle"):
        flatten({"here": odd}, {})


# ---------------------------------------------------------------------------------------------------------------
# Hostile files


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_is_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"bomb": _Bomb()}, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    _refused(tmp_path / "model.pt")
    assert not (tmp_path / "exploded").exists()


def test_missing_files_and_folders(tmp_path: Path) -> None:
    _refused(tmp_path / "nowhere", match="can not be read: No such file")
    _refused(tmp_path, match="is a folder; expected a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files(tmp_path: Path) -> None:
    _good(tmp_path / "x")
    (tmp_path / "x").chmod(0)
    _refused(tmp_path / "x", match="Permission denied")


def test_every_truncation(tmp_path: Path) -> None:
    whole = _good(tmp_path / "x")
    for length in range(len(whole)):
        _refused(tmp_path / "cut", whole[:length])


@pytest.mark.parametrize(
    "members",
    [
        [],
        [(MEMBER, b"{}")],
        [(TENSORS, PACKED)],
        [(MEMBER, b"{}"), (TENSORS, PACKED), ("code.py", b"")],
        [("../detector.json", b"{}"), (TENSORS, PACKED)],
        [("/etc/passwd", b"{}"), (TENSORS, PACKED)],
        [("checkpoint.json", b"{}"), (TENSORS, PACKED)],
        [(MEMBER + "/", b""), (TENSORS, PACKED)],
    ],
)
def test_other_members_are_refused(tmp_path: Path, members: list[tuple[str, bytes]]) -> None:
    _refused(tmp_path / "x", _zip(members), match=r"holds .*; expected \['detector.json', 'tensors.safetensors'\]")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_refused(tmp_path: Path) -> None:
    _refused(tmp_path / "x", _zip([(MEMBER, b"{}"), (MEMBER, b"{}"), (TENSORS, PACKED)]), match="holds")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_refused_before_they_are_unpacked(tmp_path: Path, compression: int) -> None:
    bomb = _zip([(MEMBER, b"{}" + b" " * 50_000_000), (TENSORS, PACKED)], compression)
    assert len(bomb) < 200_000
    _refused(tmp_path / "x", bomb, match="compressed")


def test_small_compressed_members_are_refused_as_well(tmp_path: Path) -> None:
    members = _zip([(MEMBER, b"{" + b" " * 50 + b"}"), (TENSORS, PACKED)], zipfile.ZIP_DEFLATED)
    _refused(tmp_path / "x", members, match="compressed")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"3",
        b'"text"',
        b'{"a": NaN}',
        b'{"a": [Infinity]}',
        b'{"a": -Infinity}',
        b"\xff\xfe\xfa",
        b"{'a': 1}",
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda text: text[:12].decode("latin-1"),
)
def test_wrong_json_is_refused(tmp_path: Path, text: bytes) -> None:
    _refused(tmp_path / "x", _zip([(MEMBER, text), (TENSORS, PACKED)]))


def _header(header: bytes, rest: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + rest


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x00" * 8,
        b"\xff" * 16,
        _header(b"{}", b"more"),
        _header(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,4]}}', b"\x00" * 4),
        _header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}}', b"\x00" * 4),
        _header(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b"\x00" * 4),
        _header(b'{"a":{"dtype":"object","shape":[1],"data_offsets":[0,4]}}', b"\x00" * 4),
        _header(b'{"a":{"dtype":"F32","shape":[18446744073709551615,4],"data_offsets":[0,4]}}', b"\x00" * 4),
        _header(b'{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}', b"\x00"),
    ],
)
def test_wrong_tensors_are_refused(tmp_path: Path, packed: bytes) -> None:
    _refused(tmp_path / "x", _zip([(MEMBER, b"{}"), (TENSORS, packed)]))


def test_a_size_larger_than_the_file_is_refused(tmp_path: Path) -> None:
    """A member that claims 4 GB in the central directory."""
    whole = bytearray(_good(tmp_path / "x"))
    entry = whole.rindex(b"PK\x01\x02")
    whole[entry + 24 : entry + 28] = (2**32 - 2).to_bytes(4, "little")
    _refused(tmp_path / "x", bytes(whole), match="larger than the file")


@fast
@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda b: b"PK\x03\x04" + b + b"PK\x05\x06" + b))
def test_random_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    _refused(tmp_path / "x", content)


@settings(fast, max_examples=300)
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_refused_or_harmless(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    whole = bytearray(_good(tmp_path / "x"))
    for place, value in changes:
        whole[place % len(whole)] = value
    (tmp_path / "x").write_bytes(whole)
    try:
        content, tensors = read_archive(tmp_path / "x", MEMBER)
    except ModelFileError:
        return
    assert isinstance(content, dict)  # a date, or a flag that nobody reads
    assert torch.equal(tensors["a/b"], torch.arange(6.0).view(2, 3))


def test_a_device_or_folder_is_never_replaced_and_a_link_is_followed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (tmp_path, pipe):
        with pytest.raises(InputError, match="no regular file"), written_atomically(place) as file:
            file.write(b"x")
    assert pipe.is_fifo()
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with written_atomically(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_private_file_stays_private(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    path.chmod(0o600)
    with written_atomically(path) as file:
        file.write(b"new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
