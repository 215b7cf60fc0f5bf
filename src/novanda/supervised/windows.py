"""Clips of faces as short windows of frames: the face cut out, and how much it and what lies around it move.

Letters: T frames of a window, at most FRAMES; S is SIDE.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from novanda.datasets.face_clips import FaceClip
from novanda.errors import DataError
from novanda.sources.clips import Clip, opencv_package

SIDE = 64
"""Faces are brought to this many pixels along either side, as in the sources of all descriptors."""
FRAMES = 20
"""Of a window, as in Anjos and Marcel, "Counter-Measures to Photo Attacks in Face Recognition", 2011."""
EVERY_SECONDS = 2.0
"""From one window's beginning to the next one's. The sources look at every frame; neighbours say nearly the same."""
FEWEST = 3
"""Frames that a clip must have: a pattern along time needs one before and one after."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Window:
    """Frames that follow one another.

    Attributes:
        faces: (T, S, S, 3) uint8 RGB, cut out by one box, that of the first frame.
        motion: (2, T - 1) float64: the mean absolute difference in gray between each frame and the next, inside the box
            and outside of it.
    """

    faces: np.ndarray
    motion: np.ndarray


def windows_of(clip: FaceClip, *, boxes: bool) -> Iterator[Window]:
    """A window of FRAMES frames every EVERY_SECONDS; of a clip that is shorter than one, the one there is.

    Args:
        clip: which file, and which file of boxes.
        boxes: cut out the face, by the clip's file of boxes; otherwise the middle of the frame, a square of half its
            shorter side. (From version 5 on OpenCV's package holds no detector of faces that needs no file beside it.)

    Raises:
        DataError: it can not be read whole, is too short, or has no boxes that can be used.
    """
    known = _read_boxes(clip) if boxes else {}
    frames: list[np.ndarray] = []
    box: Box = (0, 0, 0, 0)
    begin, complete = 0.0, False
    with Clip(clip.path, frame_rate=25.0) as video:  # the rate is of folders of frames, which neither set has
        for number, (seconds, pixels) in enumerate(video.frames()):
            if not frames and seconds < begin:
                continue
            if not frames:
                begin = seconds + EVERY_SECONDS
                box = _nearest(known, number) if boxes else _middle(pixels)
            frames.append(pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, 2))
            if len(frames) == FRAMES:
                yield _window(frames, box, clip.path)
                frames, complete = [], True
    if complete:
        return
    if len(frames) < FEWEST:
        raise DataError(f"{clip.path}: expected at least {FEWEST} frames; got {len(frames)}")
    yield _window(frames, box, clip.path)


def _window(frames: Sequence[np.ndarray], box: Box, path: Path) -> Window:
    library = opencv_package()
    height, width = frames[0].shape[:2]
    left, top = max(0, box[0]), max(0, box[1])
    right, bottom = min(width, box[0] + box[2]), min(height, box[1] + box[3])
    if right - left < 2 or bottom - top < 2:
        raise DataError(f"{path}: expected a face inside of {width} x {height} pixels; its box is {box}")
    faces = np.stack(
        [
            library.resize(each[top:bottom, left:right], (SIDE, SIDE), interpolation=library.INTER_AREA)
            for each in frames
        ]
    )
    gray = np.stack([library.cvtColor(each, library.COLOR_RGB2GRAY) for each in frames]).astype(np.int16)
    change = np.abs(np.diff(gray, axis=0))
    inside = change[:, top:bottom, left:right].sum((1, 2), dtype=np.int64)
    around = change.sum((1, 2), dtype=np.int64) - inside
    pixels = (bottom - top) * (right - left)
    return Window(faces, np.stack([inside / pixels, around / max(1, height * width - pixels)]))


def _middle(pixels: np.ndarray) -> Box:
    height, width = pixels.shape[:2]
    side = min(height, width) // 2
    return (width - side) // 2, (height - side) // 2, side, side


def _nearest(boxes: dict[int, Box], number: int) -> Box:
    """That of the frame, or of the one nearest to it that has one; of two as near, the earlier."""
    return boxes[min(boxes, key=lambda each: (abs(each - number), each))]


def _read_boxes(clip: FaceClip) -> dict[int, Box]:
    """Boxes by frame; lines with an empty one, which say that no face was found, are left out."""
    if clip.boxes is None:
        raise DataError(f"{clip.path}: expected a file that says where the face is; there is none")
    found: dict[int, Box] = {}
    try:
        for line in clip.boxes.read_text().splitlines():
            if line.strip():
                number, left, top, width, height = map(int, line.split())
                if width > 0 and height > 0:
                    found[number] = (left, top, width, height)
    except (OSError, ValueError) as error:
        raise DataError(f"{clip.boxes}: expected lines of `frame x y width height`; got others ({error})") from error
    if not found:
        raise DataError(f"{clip.boxes}: expected where the face is in at least one frame; no line says so")
    return found
