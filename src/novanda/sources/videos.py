"""Clips as a source of flows: every clip is decoded once, frame by frame, and its flows are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from novanda.errors import DataError
from novanda.recordings import Span, VideoForm
from novanda.samples import SampleSpec
from novanda.sources.finding import PathLike, Purpose, find_videos, named_or_found
from novanda.sources.motion import flow_spec
from novanda.sources.watching import FlowStore, Footage, let_go, watched


class VideoFiles:
    """Flows of clips as samples; made by `open` (for training) or `listed` (for scoring).

    Both decode every clip once, one frame in memory at a time, and keep the flows (8 KB a pair at the defaults, 24 MB
    for ten minutes) in a temporary file without a name, which is gone with the source.

    Attributes:
        files: the clips, in order.
        broken: why each clip that was skipped can not be read (empty if `listed`: their positions give the error).
        note: sentences for a person: which clips were taken, and how they became samples.
    """

    def __init__(
        self,
        files: Sequence[Footage],
        form: VideoForm,
        pairs: np.ndarray,
        *,
        note: str = "",
        broken: dict[Path, str] | None = None,
    ) -> None:
        self.files = tuple(files)
        self.broken = broken or {}
        self.note = note
        self._spec = flow_spec(form)
        self._pairs = pairs
        counts = [len(file) for file in self.files]
        self._recordings = np.repeat(np.arange(len(counts)), counts)
        self._begin = np.cumsum([0, *counts])  # position of each clip's first pair
        self._first = np.cumsum([0, *(file.pairs for file in self.files)])  # row of each clip's first pair

    @classmethod
    def open(
        cls,
        paths: PathLike | Sequence[PathLike],
        form: VideoForm,
        *,
        purpose: Purpose,
        strict: bool = False,
        cache: Path | None = None,
        progress: bool = False,
    ) -> VideoFiles:
        """Decode every clip, and set those that can not be read whole aside.

        Args:
            paths: folders, video files, folders of frames.
            form: how they become samples.
            purpose: which part of a folder is read, see `find_videos`.
            strict: stop at the first broken clip.
            cache: folder to keep flows in between runs, see `FlowCache`.
            progress: show a bar.

        Raises:
            DataError: no readable clip; `strict` and a broken one; to fit, fewer than two pairs or only identical ones.
        """
        found = find_videos(paths, purpose=purpose)
        broken: dict[Path, str] = {}
        whole: list[Footage] = []
        with FlowStore(form) as store:
            for clip in watched(found.files, form, store, cache, progress):
                if clip.error is None:
                    whole.append(clip)
                    continue
                if strict:
                    raise DataError(f"{clip.error} (strict: stopped at the first broken clip; mend or remove it)")
                broken[clip.path] = str(clip.error).removeprefix(f"{clip.path}: ")
                store.drop(clip.pairs)
            pairs = store.last()
        _check_enough(len(found.files), broken, pairs, purpose)
        minutes = sum(clip.seconds for clip in whole) / 60
        note = f"{found.note} {len(whole):,} clips, {minutes:.3g} minutes: {form.described()}."
        return cls(whole, form, pairs, note=note, broken=broken)

    @classmethod
    def listed(
        cls,
        paths: PathLike | Sequence[PathLike],
        form: VideoForm,
        *,
        cache: Path | None = None,
        progress: bool = False,
    ) -> VideoFiles:
        """Clips for scoring: one that is missing, broken or too short takes one position more, for its error.

        Raises:
            DataError: a folder holds no clips.
        """
        files, note = named_or_found(paths, find_videos)
        with FlowStore(form) as store:
            clips = list(watched(files, form, store, cache, progress))
            return cls(clips, form, store.last(), note=note)

    @property
    def spec(self) -> SampleSpec:
        """What each sample looks like."""
        return self._spec

    @property
    def recordings(self) -> np.ndarray:
        """Of each pair the number of its clip, counted from 0: (N,) int64."""
        return self._recordings

    def __len__(self) -> int:
        return len(self._recordings)

    def span(self, position: int) -> Span:
        """From the first frame of a pair to its second; for an error from where on it holds, 0 to 0 for all of it."""
        clip, row = self._place(position)
        if row is None:
            since = clip.seconds if clip.pairs else 0.0
            return Span(str(clip.path), since, since)
        return Span(str(clip.path), float(self._pairs["start"][row]), float(self._pairs["end"][row]))

    def identifier(self, position: int) -> str:
        """The clip's path as it was given, and the times of the pair's frames in seconds."""
        clip, row = self._place(position)
        return str(clip.path) if row is None else str(self.span(position))

    def read(self, positions: Sequence[int]) -> np.ndarray:
        """Flows (n, 2, S, S) float32; a copy. Raises DataError naming the first clip that can not be read there."""
        rows = []
        for position in positions:
            clip, row = self._place(position)
            if row is None:
                assert clip.error is not None  # it is what this position stands for
                raise clip.error
            rows.append(row)
        found = np.array(self._pairs["flow"][rows])
        let_go(self._pairs)
        return found

    def read_each(self, positions: Sequence[int]) -> list[np.ndarray | DataError]:
        """As `read`, but a flow (2, S, S) or the error for each position: one broken clip costs no other."""
        found: list[np.ndarray | DataError] = []
        for position in positions:
            clip, row = self._place(position)
            if row is None:
                assert clip.error is not None  # it is what this position stands for
                found.append(clip.error)
            else:
                found.append(np.array(self._pairs["flow"][row]))
        let_go(self._pairs)
        return found

    def _place(self, position: int) -> tuple[Footage, int | None]:
        """The clip of a position, and the row of its flow; None where the position is that of the clip's error."""
        number = int(self._recordings[position])
        clip, place = self.files[number], int(position - self._begin[number])
        return clip, None if place == clip.pairs else int(self._first[number]) + place


def _check_enough(clips: int, broken: dict[Path, str], pairs: np.ndarray, to: Purpose) -> None:
    """Raise DataError where no clip is readable or, to fit, where there is nothing to learn from."""
    if clips == len(broken):
        path, reason = next(iter(broken.items()))
        raise DataError(f"expected readable videos; none of the {clips:,} is one. The first, {path}: {reason}")
    if to != "fit":
        return
    if len(pairs) < 2:
        raise DataError(f"expected at least 2 pairs of frames to fit; got {len(pairs)}, of {clips:,} clips; give more")
    if not any((pairs["flow"][row] != pairs["flow"][0]).any() for row in range(1, len(pairs))):
        raise DataError(
            f"expected clips in which something moves; all {len(pairs):,} flows are the very same (a still picture), "
            "so there is nothing to learn from them; give others"
        )
