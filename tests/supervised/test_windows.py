"""Windows of clips: which frames, which part of them, how much moves; what can not serve is named."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from clips import moving, write
from novanda.datasets.face_clips import FaceClip
from novanda.errors import DataError
from novanda.supervised.windows import EVERY_SECONDS, FRAMES, SIDE, Window, windows_of


def windows(path: Path, boxes: str | None = None) -> list[Window]:
    if boxes is None:
        return list(windows_of(FaceClip(path, "train", "1", None), boxes=False))
    file = path.with_suffix(".face")
    file.write_text(boxes)
    return list(windows_of(FaceClip(path, "train", "1", None, file), boxes=True))


def brightness(frames: int, rate: int, tmp_path: Path) -> Path:
    """A folder of frames, each as bright as its number."""
    pictures = [np.full((40, 60, 3), number, np.uint8) for number in range(frames)]
    return write(tmp_path / f"clip{rate}", np.stack(pictures))


def test_windows_begin_every_two_seconds(tmp_path: Path) -> None:
    found = windows(brightness(115, 25, tmp_path))
    begins = [int(each.faces[0, 0, 0, 0]) for each in found]
    assert begins == [0, 50], "25 frames a second; the third, from frame 100, would need frames up to 119"
    assert EVERY_SECONDS == 2
    for each, begin in zip(found, begins, strict=True):
        assert each.faces.shape == (FRAMES, SIDE, SIDE, 3)
        assert each.faces[:, 3, 5, 1].tolist() == list(range(begin, begin + FRAMES))
        np.testing.assert_allclose(each.motion, np.ones((2, FRAMES - 1)))


def test_a_short_clip_is_one_window_and_two_frames_are_none(tmp_path: Path) -> None:
    (short,) = windows(brightness(7, 1, tmp_path))
    assert short.faces.shape == (7, SIDE, SIDE, 3)
    assert short.motion.shape == (2, 6)
    with pytest.raises(DataError, match="expected at least 3 frames; got 2"):
        windows(brightness(2, 2, tmp_path))


def test_the_middle_is_cut_out_where_there_are_no_boxes(tmp_path: Path) -> None:
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[10:30, 20:40] = 200
    (window,) = windows(write(tmp_path / "clip", np.stack([frame] * 3)))
    assert (window.faces == 200).all()
    frame[9], frame[30], frame[:, 19], frame[:, 40] = (255,) * 4
    (window,) = windows(write(tmp_path / "framed", np.stack([frame] * 3)))
    assert (window.faces == 200).all(), "no pixel more"


def test_motion_is_that_of_a_loop(tmp_path: Path) -> None:
    frames = moving(3, frames=5, height=32, width=40)
    (window,) = windows(write(tmp_path / "clip", frames), "0 4 6 10 12\n")
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(int) for frame in frames]
    expected: list[list[float]] = [[], []]
    for first, second in itertools.pairwise(gray):
        sides: tuple[list[int], list[int]] = [], []
        for row in range(32):
            for column in range(40):
                inside = 6 <= row < 18 and 4 <= column < 14
                sides[not inside].append(abs(int(second[row, column]) - int(first[row, column])))
        for place, side in enumerate(sides):
            expected[place].append(sum(side) / len(side))
    np.testing.assert_allclose(window.motion, expected)
    assert window.motion.min() > 0


@pytest.mark.parametrize(
    ("boxes", "left"),
    [
        ("0 20 5 8 8\n", 20),
        ("3 10 5 8 8\n9 30 5 8 8\n", 10),  # the frame has none: the nearest one's
        ("0 0 0 0 0\n1 12 5 8 8\n", 12),  # an empty box says that no face was found
        ("0 -4 5 12 8\n", 0),  # what lies outside is cut off
    ],
)
def test_the_box_of_the_first_frame_counts(boxes: str, left: int, tmp_path: Path) -> None:
    frames = np.repeat(np.arange(60, dtype=np.uint8)[None, None, :, None], 3, 3).repeat(40, 1).repeat(4, 0)
    (window,) = windows(write(tmp_path / "clip", frames), boxes)
    seen = window.faces[0, 0, :, 0]
    assert (seen[0], seen[-1]) == (left, left + 7)


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ("0 1 2 3\n", "expected lines of `frame x y width height`"),
        ("0 a 2 3 4\n", "expected lines of `frame x y width height`"),
        ("0 0 0 0 0\n", "no line says so"),
        ("", "no line says so"),
        ("0 500 5 8 8\n", "expected a face inside of 60 x 40 pixels; its box is"),
    ],
)
def test_boxes_that_can_not_serve(boxes: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=reason):
        windows(brightness(4, 3, tmp_path), boxes)


def test_boxes_that_are_not_there(tmp_path: Path) -> None:
    clip = FaceClip(brightness(4, 3, tmp_path), "train", "1", None)
    with pytest.raises(DataError, match="expected a file that says where the face is"):
        list(windows_of(clip, boxes=True))


def test_gray_frames_are_taken_as_colour(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    for number in range(3):
        assert cv2.imwrite(str(tmp_path / "clip" / f"{number}.png"), np.full((16, 16), 9, np.uint8))
    (window,) = windows(tmp_path / "clip")
    assert window.faces.shape == (3, SIDE, SIDE, 3)
