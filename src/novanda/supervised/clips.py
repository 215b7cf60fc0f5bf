"""Supervised systems on clips: described once each, learned from both sides, judged whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from novanda.datasets.face_clips import FaceClip
from novanda.errors import DataError, InputError
from novanda.supervised.systems import System
from novanda.supervised.windows import windows_of

ClipJudge = Callable[[Sequence[FaceClip]], list[float | None]]
"""The score of each clip, HIGHER = MORE OF AN ATTACK; None for one that can not be read whole."""


class Classifier:
    """Learns from clips and judges others; decodes each clip once, however often it learns.

    Args:
        system: what is described and how it learns.
        boxes: whether faces are cut out by files of boxes, see `windows_of`.
        seed: of what is random in learning.
    """

    def __init__(self, system: System, *, boxes: bool = False, seed: int = 0) -> None:
        self.system, self.boxes, self.seed = system, boxes, seed
        self._described: dict[Path, np.ndarray | None] = {}

    def learn(self, clips: Sequence[FaceClip]) -> ClipJudge:
        """Learn from live clips and attacks alike; those that can not be read whole are left out.

        The score of a clip is the mean of those of its windows.

        Raises:
            InputError: live clips or attacks are missing.
        """
        readable = [(clip, rows) for clip in clips if (rows := self.describe(clip)) is not None]
        if not readable:
            raise InputError("expected live clips and attacks to learn from; none of the clips can be read")
        attack = np.repeat([not clip.live for clip, _ in readable], [len(rows) for _, rows in readable])
        judge = self.system.learn(np.concatenate([rows for _, rows in readable]), attack, self.seed)

        def judged(others: Sequence[FaceClip]) -> list[float | None]:
            found = (self.describe(clip) for clip in others)
            return [None if rows is None else float(judge(rows).mean()) for rows in found]

        return judged

    def describe(self, clip: FaceClip) -> np.ndarray | None:
        """The system's description of each of a clip's windows, (n, F); None where it can not be read whole."""
        if clip.path not in self._described:
            try:
                rows = [self.system.describe(window) for window in windows_of(clip, boxes=self.boxes)]
                self._described[clip.path] = np.stack(rows)
            except DataError:
                self._described[clip.path] = None
        return self._described[clip.path]
