"""Flow on disk, kept between runs: found again by what the clip holds and by how its flow was made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from novanda.checkpoint import written_atomically
from novanda.errors import DataError
from novanda.recordings import VideoForm
from novanda.sources.clips import opencv_package
from novanda.sources.finding import frames_in

_RECIPE = 1  # raised whenever the same clip, form and OpenCV give other flow
_BLOCK = 1 << 20


def pair_type(form: VideoForm) -> np.dtype[np.void]:
    """A pair of frames as a row: start and end in seconds, flow (2, S, S)."""
    return np.dtype([("start", "<f8"), ("end", "<f8"), ("flow", "<f4", form.shape)])


class FlowCache:
    """A folder of flows, one .npy file a clip and form. Files in it may be deleted at any time.

    The name of a file is a digest of the clip's bytes, the form, the version of OpenCV and that of our recipe: a clip
    that is moved or renamed is found, one that is changed is not.
    """

    def __init__(self, folder: Path, form: VideoForm) -> None:
        self._folder, self._form = folder, form

    def kept(self, path: Path) -> np.ndarray | None:
        """The pairs (n,) of `pair_type` of this clip, mapped from disk; None where there are none to trust."""
        try:
            pairs: np.ndarray = np.load(self._file(path), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, DataError):
            return None  # not there, or not whole: it is made again
        return pairs if pairs.dtype == pair_type(self._form) and pairs.ndim == 1 and len(pairs) else None

    def keep(self, path: Path, pairs: np.ndarray) -> None:
        """Write the pairs of a clip that was read whole, atomically."""
        with written_atomically(self._file(path)) as file:
            np.save(file, np.asarray(pairs), allow_pickle=False)

    def _file(self, path: Path) -> Path:
        how = {**self._form.to_json(), "opencv": opencv_package().__version__, "recipe": _RECIPE}
        digest = hashlib.sha256(json.dumps(how, sort_keys=True).encode())
        digest.update(clip_digest(path))
        return self._folder / f"{digest.hexdigest()}.npy"


def clip_digest(path: Path) -> bytes:
    """SHA-256 of a video file's bytes, or of the names and bytes of a folder's frames; OSError if it is not there."""
    digest = hashlib.sha256()
    for file in frames_in(path) if path.is_dir() else [path]:
        if file is not path:
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.digest()
