"""Tensors and JSON in one file, without pickle: the container of fitted detectors and of training checkpoints.

The file is an uncompressed zip of two members: `detector.json` or `checkpoint.json`, which a person can read
(`unzip -p parts.novanda detector.json`), and `tensors.safetensors`. Nothing in it is executable. Files are
written beside their final place and moved there in one step, so that a kill leaves the old file or the new one.

torch is imported where tensors are: `written_atomically` also serves where exported files are scored without it.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from novanda.errors import InputError, ModelFileError

if TYPE_CHECKING:
    from torch import Tensor

_TENSORS = "tensors.safetensors"
_MAX_JSON = 256 * 2**20


@contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears at `path`, whole, when the block ends, and not at all when it raises.

    A link is followed: what it points to is replaced. InputError for a folder, a device or a pipe, which a file
    moved into its place would destroy.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no regular file and will not be replaced; choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A plain exclusive open gives the permissions that the user's umask asks for; tempfile's would be private. Only
    # part of the name is kept, for a long one with more around it could be longer than a file system allows.
    partial = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.partial")
    file = partial.open("xb")
    try:
        with file:
            if path.exists():  # a file that its owner made private stays so
                os.chmod(partial, stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_archive(path: Path, member: str, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write JSON `content` (as `member`) and named tensors to one file, atomically."""
    import safetensors.torch
    import torch

    # Views of one storage must become tensors of their own: safetensors refuses shared memory.
    plain = {name: t.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    text = json.dumps(content, indent=1, allow_nan=False).encode()
    with written_atomically(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr(member, text)
        archive.writestr(_TENSORS, safetensors.torch.save(plain))


def rewrite_archive(path: Path, out: Path, member: str, content: Mapping[str, Any]) -> None:
    """Write a copy of an archive with other JSON content, atomically; its tensors are copied byte for byte."""
    text = json.dumps(content, indent=1, allow_nan=False).encode()
    with zipfile.ZipFile(path) as archive:
        packed = archive.read(_TENSORS)
    with written_atomically(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr(member, text)
        archive.writestr(_TENSORS, packed)


def read_archive(path: Path, member: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `write_archive` wrote; ModelFileError with the reason for anything else, however hostile."""
    import safetensors.torch

    if path.is_dir():
        raise ModelFileError(f"{path} is a folder; expected a file written by novanda")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} can not be read: {error.strerror or error}") from error
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = sorted(info.filename for info in archive.infolist())
            if names != sorted([member, _TENSORS]):
                raise ModelFileError(f"{path} holds {names[:5]}; expected {[member, _TENSORS]}")
            for info in archive.infolist():
                # Stored, so sizes can not exceed the file's own: there is no decompression bomb to fear.
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(raw):
                    raise ModelFileError(f"{path}: member {info.filename} is compressed or larger than the file")
            if archive.getinfo(member).file_size > _MAX_JSON:
                raise ModelFileError(f"{path}: {member} is larger than {_MAX_JSON >> 20} MiB")
            text, packed = archive.read(member), archive.read(_TENSORS)
        content = json.loads(text, parse_constant=_refuse_constant)
        tensors = safetensors.torch.load(packed)
    except ModelFileError:
        raise
    except Exception as error:  # three parsers of foreign bytes: no list of what they raise would ever be whole
        raise ModelFileError(f"{path} is not a file that novanda wrote, or it is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path}: {member} should be a JSON object; got {type(content).__name__}")
    return content, tensors


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def flatten(tree: Any, tensors: dict[str, Tensor], place: str = "") -> Any:
    """Copy a tree of dicts, lists and plain values, moving its tensors to `tensors` and leaving {"tensor": name}.

    Made for optimizer states, whose dicts have whole numbers for keys: those become {"items": [[key, value], ...]}.
    A tuple comes back as a list. TypeError for anything that JSON and tensors can not hold.
    """
    from torch import Tensor

    if isinstance(tree, Tensor):
        while place in tensors:  # the keys 1 and "1", or "a/b" and b below a, lead to one place
            place += "'"
        tensors[place] = tree
        return {"tensor": place}
    if isinstance(tree, Mapping):
        odd = [key for key in tree if not (key is None or isinstance(key, bool | int | float | str))]
        if odd:
            raise TypeError(f"can not write the key {odd[0]!r} at {place} without pickle")
        return {"items": [[key, flatten(value, tensors, f"{place}/{key}")] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return [flatten(value, tensors, f"{place}/{i}") for i, value in enumerate(tree)]
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"can not write a {type(tree).__name__} at {place} without pickle")


def unflatten(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `flatten`."""
    if isinstance(tree, dict) and "tensor" in tree:
        return tensors[tree["tensor"]]
    if isinstance(tree, dict):
        return {key: unflatten(value, tensors) for key, value in tree["items"]}
    if isinstance(tree, list):
        return [unflatten(value, tensors) for value in tree]
    return tree
