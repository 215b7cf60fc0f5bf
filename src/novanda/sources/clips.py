"""One clip, a video file or a folder of frames, decoded frame by frame: what it is, and each frame with its time."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from novanda.errors import DataError, InputError
from novanda.sources.decoding import MAX_PIXELS, decode
from novanda.sources.finding import frames_in

_SPARE, _SPARE_SHARE = 2, 0.01  # frames that a header may promise beyond those there are: some only estimate them


class Clip:
    """A clip, open; use it in a `with` block, and go through `frames` once.

    Args:
        path: a video file, MP4, MOV, AVI, WebM or Matroska by what it holds, or a folder of frames, in the natural
            order of their names (frame2 before frame10).
        frame_rate: of a folder of frames, frames a second.

    Attributes:
        container: "MP4", "AVI", "WebM" (or Matroska) or "frames".
        width, height: of its frames, in pixels.
        rate: frames a second; of a video file on average, and 0 where it does not tell.
        promised: how many frames there are by the file's header; 0 where it does not tell.
        read: how many frames were decoded so far.
        seconds: when the last of these is shown, from the first one on.

    Raises:
        DataError: it can not be opened, is no video of these formats, or has frames of more than 178 million pixels.
        InputError: OpenCV is not installed.
    """

    def __init__(self, path: Path, frame_rate: float) -> None:
        self.path = path
        self._library = opencv_package()
        self.read, self.seconds = 0, 0.0
        self._capture: Any = None
        self._files: tuple[Path, ...] = ()
        if path.is_dir():
            self._files = tuple(sorted(frames_in(path), key=_natural))
            if not self._files:
                raise DataError(f"{path}: expected a folder of frames; it holds no images")
            first = decode(self._files[0])
            self.container, self.rate, self.promised = "frames", frame_rate, len(self._files)
            self.height, self.width = first.shape[:2]
            return
        self.container = _container(path)
        self._capture = self._opened()
        capture, library = self._capture, self._library
        self.width = int(capture.get(library.CAP_PROP_FRAME_WIDTH))
        self.height = int(capture.get(library.CAP_PROP_FRAME_HEIGHT))
        self.rate = max(0.0, float(capture.get(library.CAP_PROP_FPS)))
        self.promised = max(0, int(capture.get(library.CAP_PROP_FRAME_COUNT)))
        if self.width * self.height > MAX_PIXELS:
            self.close()
            raise DataError(f"{path}: frames of {self.width} x {self.height} pixels are more than {MAX_PIXELS:,}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._capture is not None:
            self._capture.release()

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Each frame once: seconds from the first one on, and its pixels (H, W, 1 or 3) uint8, gray or RGB.

        Raises:
            DataError: it holds no frame, ends before what it promises (after the frames that there are), or a frame
                can not be decoded or has another size than the first.
        """
        decoded = self._of_folder() if self._capture is None else self._of_file()
        for seconds, pixels in decoded:
            if pixels.shape[:2] != (self.height, self.width):
                raise DataError(
                    f"{self.path}: expected frames of one size; got {self.width} x {self.height} and, at "
                    f"{seconds:.2f} s, {pixels.shape[1]} x {pixels.shape[0]}"
                )
            self.read, self.seconds = self.read + 1, seconds
            yield seconds, pixels
        if not self.read:
            raise DataError(f"{self.path}: expected a video; it holds no frame that can be decoded")
        if self.promised - self.read > max(_SPARE, _SPARE_SHARE * self.promised):
            raise DataError(
                f"{self.path}: truncated: it ends at {self.seconds:.2f} s, after {self.read:,} of the "
                f"{self.promised:,} frames it promises"
            )

    def _of_folder(self) -> Iterator[tuple[float, np.ndarray]]:
        for number, file in enumerate(self._files):
            try:
                yield number / self.rate, decode(file)
            except DataError as error:  # by the name of the clip, as all that is said of it
                raise DataError(f"{self.path}: {error}") from error

    def _of_file(self) -> Iterator[tuple[float, np.ndarray]]:
        library, capture = self._library, self._capture
        step = 1 / self.rate if self.rate else 0.04
        first = seconds = 0.0
        while True:
            try:
                there, pixels = capture.read()
            except library.error as error:
                raise DataError(f"{self.path}: it can not be decoded from {seconds:.2f} s on: {error.err}") from error
            if not there:
                return
            told = capture.get(library.CAP_PROP_POS_MSEC) / 1000
            if self.read == 0:
                first, seconds = told, 0.0
            else:  # a file whose times stand still is taken at its average rate
                seconds = told - first if told - first > seconds else seconds + step
            yield seconds, library.cvtColor(pixels, library.COLOR_BGR2RGB)

    def _opened(self) -> Any:
        """The decoder; by FFmpeg alone, for others take names for patterns or for devices."""
        library = self._library
        level = library.utils.logging.getLogLevel()
        library.utils.logging.setLogLevel(library.utils.logging.LOG_LEVEL_SILENT)
        try:
            capture = library.VideoCapture(str(self.path), library.CAP_FFMPEG)
        finally:
            library.utils.logging.setLogLevel(level)
        if not capture.isOpened():
            capture.release()
            raise DataError(
                f"{self.path}: expected a video; by its first bytes it is {self.container}, but it is truncated, "
                "damaged, holds no pictures, or is in a format that OpenCV does not decode"
            )
        return capture


def clip_thumbnails(path: Path, frame_rate: float, count: int = 12, height: int = 72) -> tuple[float, list[np.ndarray]]:
    """How long a clip lasts in seconds, and small pictures (h, w, 3) uint8 at equal distances in it, first to last.

    For a picture: decoded in one pass, of which at most twice `count` small frames are kept. 0 s and nothing for what
    is no clip; of one that breaks off what can be decoded.
    """
    kept: list[tuple[float, np.ndarray]] = []
    every = 1
    try:
        with Clip(path, frame_rate) as clip:
            library = opencv_package()
            size = (max(1, round(height * clip.width / clip.height)), height)
            try:
                for number, (seconds, pixels) in enumerate(clip.frames()):
                    if number % every == 0:
                        small = library.resize(pixels, size, interpolation=library.INTER_AREA)
                        kept.append((seconds, np.repeat(small[:, :, None], 3, 2) if small.ndim == 2 else small))
                    if len(kept) > 2 * count:
                        kept, every = kept[::2], 2 * every
            except DataError:
                pass  # why it breaks off is told where its scores are
            lasts = clip.seconds
    except DataError:
        return 0.0, []
    times = np.array([seconds for seconds, _ in kept])
    wanted = np.linspace(0, lasts, min(count, len(kept)))
    return lasts, [kept[int(np.abs(times - moment).argmin())][1] for moment in wanted]


def opencv_package() -> Any:
    """OpenCV; InputError that says how to get it where it is not installed."""
    # FFmpeg inside it writes to standard error by itself, beside the error that is raised; it reads this once.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise InputError(f"video needs OpenCV; pip install 'novanda[video]' ({error})") from error


def _container(path: Path) -> str:
    """What a file is by its first bytes; DataError for what is no video: FFmpeg would also take playlists of others."""
    if path.exists() and not path.is_file():  # a named pipe would wait for ever
        raise DataError(f"{path}: expected a video file; got a special file")
    try:
        with path.open("rb") as file:
            begin = file.read(12)
    except OSError as error:
        raise DataError(f"{path}: can not be read: {error.strerror or error}") from error
    if not begin:
        raise DataError(f"{path}: expected a video; the file is empty")
    if begin[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "MP4"
    if begin[:4] == b"RIFF" and begin[8:12] == b"AVI ":
        return "AVI"
    if begin[:4] == b"\x1aE\xdf\xa3":
        return "WebM"
    raise DataError(f"{path}: expected MP4, MOV, AVI or WebM; by its first bytes it is none of them; convert it")


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts names with numbers in them by these."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
