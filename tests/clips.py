"""Clips for tests: textured objects that move to the right, against the flow, or lie still on a card that shakes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from novanda.sources.clips import opencv_package

opencv_package()  # quiet from the first use on: FFmpeg reads only then how much it should say

RATE = 25
How = Literal["normal", "against", "replay"]
_CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".mkv": "MJPG", ".webm": "VP80"}


def texture(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A smooth random pattern in colour, (H, W, 3) uint8."""
    noise = generator.normal(0, 180, (height, width, 3)).astype(np.float32)
    made: np.ndarray = np.clip(cv2.GaussianBlur(noise, (0, 0), 1.5) + 128, 0, 255).astype(np.uint8)
    return made


def moving(seed: int, how: How = "normal", frames: int = 26, height: int = 72, width: int = 96) -> np.ndarray:
    """Frames (n, H, W, 3) uint8 RGB: four objects move over a still ground, or one frame of that is shaken."""
    generator = np.random.default_rng(seed)
    ground = texture(generator, height, width)
    speeds, rows, begins = (
        generator.uniform(1.2, 2, 4),
        generator.uniform(4, height - 26, 4),
        generator.uniform(0, width, 4),
    )
    objects = [texture(generator, 22, 22) for _ in range(4)]

    def drawn(moment: int, sign: int) -> np.ndarray:
        frame = np.concatenate([ground, np.zeros((height, 22, 3), np.uint8)], 1)
        for thing, speed, row, begin in zip(objects, speeds, rows.astype(int), begins, strict=True):
            left = round(begin + sign * speed * moment) % width
            frame[row : row + 22, left : left + 22] = thing
        return frame[:, :width]

    if how != "replay":
        return np.stack([drawn(moment, 1 if how == "normal" else -1) for moment in range(frames)])
    card = np.pad(drawn(0, 1), ((8, 8), (8, 8), (0, 0)), mode="reflect")
    shaken = []
    for moment in range(frames):
        x, y = round(8 + 4 * np.sin(0.9 * moment + seed)), round(8 + 3 * np.cos(0.7 * moment + seed))
        shaken.append(card[y : y + height, x : x + width])
    return np.stack(shaken)


def write(path: Path, frames: np.ndarray, rate: float = RATE) -> Path:
    """A video file by its suffix, or, without one, a folder of frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.suffix:
        path.mkdir()
        for number, frame in enumerate(frames):
            assert cv2.imwrite(str(path / f"frame{number}.png"), frame[:, :, ::-1])
        return path
    codec = cv2.VideoWriter.fourcc(*_CODECS[path.suffix])
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, rate, (frames.shape[2], frames.shape[1]))
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()
    return path


def retime(path: Path, milliseconds: Sequence[int]) -> None:
    """Write these times over those of the frames of a Matroska file, of which each must lie after its cluster's."""
    content, cluster, number = bytearray(path.read_bytes()), 0, 0
    for found in re.finditer(
        rb"\x1f\x43\xb6\x75.{8}\xe7(?:\x81(.)|\x82(..))|\xa3..\x81(..)\x80", bytes(content), re.DOTALL
    ):
        short, long, block = found.groups()
        if block is None:
            cluster = int.from_bytes(short or long, "big")
            continue
        content[found.start(3) : found.end(3)] = (milliseconds[number] - cluster).to_bytes(2, "big")
        number += 1
    assert number == len(milliseconds)
    path.write_bytes(content)
