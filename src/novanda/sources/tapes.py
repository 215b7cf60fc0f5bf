"""One sound file, decoded as it is read: what it is, and its samples by their place, mixed to one channel."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from novanda.errors import DataError, InputError

BLOCK = 16_384  # samples decoded at a time
# What libsndfile can place exactly. In a compressed stream it lands up to a packet beside what reading through gives,
# so those files are read forwards only.
_EXACT = frozenset({"WAV", "WAVEX", "RF64", "FLAC"})
_UNFINISHED = 2**31 - 2**16  # a length from here on was written by who did not know it yet: no truncated file


class Tape:
    """A sound file, open; use it in a `with` block.

    Attributes:
        path: as it was given.
        format: "WAV", "FLAC", "OGG", "MP3" ..., by what the file holds, whatever its name.
        rate, channels: samples a second; how many are mixed.
        length: samples (of one channel) that there are to read, by the file's header.
        truncated: the sentence that says that a WAV file ends before the sound that its header promises; or "".

    Raises:
        DataError: it can not be opened, is no sound of these formats, or holds no sound at all.
        InputError: the package soundfile is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = soundfile_package()
        # What was decoded last and may be asked for again: samples from `_first` to before `_at`.
        self._kept = np.empty(0, dtype=np.float32)
        self._first = self._at = 0
        self._failure: DataError | None = None
        self._file = self._open()
        self.format: str = self._file.format
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.length: int = self._file.frames
        self.truncated = _missing_data(path, self._file.extra_info)
        if self.length < 1:
            self.close()
            raise DataError(f"{path}: {self.truncated or 'expected sound; it has length zero'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.length / self.rate

    def blocks(self) -> Iterator[np.ndarray]:
        """All samples (n, channels) float32 from the beginning, at most BLOCK at a time; DataError where they break."""
        self._open_again()
        while self._at < self.length:
            yield self._decoded()

    def read(self, first: int, last: int) -> np.ndarray:
        """The samples from `first` to before `last` (or the end), mixed to one channel, float32.

        Cheap where each call reads from a little after the one before, which may overlap it.

        Raises:
            DataError: the file ends early or can not be decoded there; a sample is NaN or infinite.
        """
        last = min(last, self.length)
        if first < self._first:
            self._open_again()
        if self.format in _EXACT and first > self._at and self._failure is None:
            self._seek(first)
        while self._at < last:
            block = self._decoded().mean(axis=1, dtype=np.float32)
            useless = min(max(0, first - self._first), len(self._kept))
            self._kept = np.concatenate([self._kept[useless:], block])
            self._first += useless
        found = self._kept[first - self._first : last - self._first]
        if not np.isfinite(found).all():
            where = (first + int(np.flatnonzero(~np.isfinite(found))[0])) / self.rate
            raise DataError(f"{self.path}: expected finite samples; got NaN or infinity at {where:.3f} s")
        return found

    def _seek(self, first: int) -> None:
        try:
            self._file.seek(first)
        except self._library.SoundFileError as error:
            raise self._failed(f"it can not be read from {first / self.rate:.2f} s on: {_reason(error)}") from error
        self._kept, self._first, self._at = self._kept[:0], first, first

    def _failed(self, what: str) -> DataError:
        """The error for this file, kept: whoever reads on gets it again, for a decoder can not go on from there."""
        self._failure = DataError(f"{self.path}: {what}")
        return self._failure

    def _open(self) -> Any:
        _check_content(self.path)
        try:
            return self._library.SoundFile(str(self.path))
        except (self._library.SoundFileError, OSError, TypeError) as error:
            raise DataError(f"{self.path}: expected sound; it can not be read: {_reason(error)}") from error

    def _open_again(self) -> None:
        if self._at or len(self._kept):
            self.close()
            self._kept, self._first, self._at, self._failure = self._kept[:0], 0, 0, None
            self._file = self._open()

    def _decoded(self) -> np.ndarray:
        """The next samples (n, channels), n >= 1."""
        if self._failure is not None:
            raise self._failure
        at = self._at / self.rate
        try:
            block: np.ndarray = self._file.read(min(BLOCK, self.length - self._at), dtype="float32", always_2d=True)
        except self._library.SoundFileError as error:
            raise self._failed(f"it can not be decoded from {at:.2f} s on: {_reason(error)}") from error
        if not len(block):
            raise self._failed(f"truncated: it ends at {at:.2f} s of the {self.seconds:.2f} s it promises")
        self._at += len(block)
        return block


def soundfile_package() -> Any:
    """The package soundfile; InputError that says how to get it where it is not installed."""
    try:
        return importlib.import_module("soundfile")
    except (ModuleNotFoundError, OSError) as error:  # OSError: the package is there and libsndfile is not
        raise InputError(f"sound needs the package soundfile; pip install 'novanda[audio]' ({error})") from error


def _check_content(path: Path) -> None:
    """Refuse by name what does not begin as sound does: a decoder would search all of it for something to play."""
    try:
        with path.open("rb") as file:
            begin = file.read(12)
    except OSError as error:
        raise DataError(f"{path}: can not be read: {error.strerror or error}") from error
    if not begin:
        raise DataError(f"{path}: expected sound; the file is empty")
    is_wav = begin[:4] in (b"RIFF", b"RF64") and begin[8:12] == b"WAVE"
    is_mp3 = begin[:3] == b"ID3" or (len(begin) > 1 and begin[0] == 0xFF and begin[1] >= 0xE0)
    if not (is_wav or is_mp3 or begin[:4] in (b"fLaC", b"OggS")):
        raise DataError(f"{path}: expected WAV, FLAC, Ogg or MP3; by its first bytes it is none of them; convert it")


def _missing_data(path: Path, log: str) -> str:
    """What libsndfile's log says of a WAV file's data that are not there."""
    found = re.search(r"^\s*data : (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if found is None or not int(found[2]) < int(found[1]) < _UNFINISHED:
        return ""
    return f"truncated: {int(found[2]):,} of {int(found[1]):,} bytes of sound are there"


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", "") or error).strip().rstrip(".")
