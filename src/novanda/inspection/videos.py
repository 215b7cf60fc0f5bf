"""A look at folders of video before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from novanda.errors import DataError
from novanda.inspection.surveys import Inspected, common, survey
from novanda.inspection.words import Spread, counts_in_words, cut, few_in_words, summed
from novanda.recordings import VideoForm
from novanda.sources.clips import Clip
from novanda.sources.finding import PathLike, find_videos
from novanda.sources.flow_cache import clip_digest

_MUCH_STILL = 0.5  # the share of frames that repeat the one before, from which a clip is named
_GAP = 3.0  # intervals between two frames, from which there is a gap


@dataclass(frozen=True, kw_only=True)
class VideoInspection(Inspected):
    """What `inspect_videos` found: beside what every inspection does (`Inspected`), of clips, decoded whole.

    Attributes:
        containers, sizes: how many readable clips have each; containers by what they hold, whatever their names.
        rates: the spread of their frames a second, as counted; None if there is none.
        seconds: the spread of their lengths, likewise.
        minutes: of all together.
        still: clips of which at least half of the frames repeat the one before to the last bit: the share.
        gaps: clips with frames more than 0.3 s apart: the longest time without one, in seconds.
    """

    same: ClassVar[str] = "same file"
    called: ClassVar[str] = "clips"

    containers: dict[str, int]
    sizes: dict[str, int]
    rates: Spread | None
    seconds: Spread | None
    minutes: float
    still: dict[str, float]
    gaps: dict[str, float]

    def facts(self) -> list[str]:
        """Their number and minutes, containers, sizes, rates, stillness, gaps."""
        lines = [f"{self.files:,} clips, {self.readable:,} readable, {self.minutes:.3g} minutes"]
        if self.seconds:
            lines += [
                f"formats: {counts_in_words(self.containers)}; sizes: {counts_in_words(self.sizes)}",
                f"length {self.seconds} s, {self.rates} frames a second (least, median, greatest)",
            ]
        lines += cut("still", [f"{path}: {share:.0%} of the frames" for path, share in self.still.items()])
        return lines + cut("gaps", [f"{path}: {seconds:.2f} s without a frame" for path, seconds in self.gaps.items()])


@dataclass(frozen=True)
class _Seen:
    """What is kept of a clip."""

    container: str
    size: str
    rate: float
    seconds: float
    still: float
    gap: float
    digest: bytes


def inspect_videos(
    paths: PathLike | Sequence[PathLike],
    against: PathLike | Sequence[PathLike] | None = None,
    *,
    workers: int | None = None,
    progress: bool = False,
) -> VideoInspection:
    """Decode every clip that training on `paths` would read, and compare with `against`, clips meant for testing.

    Memory holds two frames a thread, and a few hundred bytes a clip.

    Raises:
        DataError: a path is missing or holds no clips. Broken ones are told, not raised.
    """
    found = find_videos(paths, purpose="fit")
    others = () if against is None else find_videos(against, purpose="score").files
    compared = survey(_watch_one, found.files, others, workers, progress)
    seen = compared.looks
    return VideoInspection(
        **common(found, compared, "clips", _warnings(seen, compared.broken)),
        containers=summed((one.container, 1) for one in seen.values()),
        sizes=summed((one.size, 1) for one in seen.values()),
        rates=Spread.of(round(one.rate, 2) for one in seen.values()),
        seconds=Spread.of(round(one.seconds, 3) for one in seen.values()),
        minutes=sum(one.seconds for one in seen.values()) / 60,
        still={path: one.still for path, one in seen.items() if one.still >= _MUCH_STILL},
        gaps={path: one.gap for path, one in seen.items() if one.gap > _GAP * VideoForm().interval},
    )


def _watch_one(path: Path) -> _Seen | DataError:
    try:
        with Clip(path, VideoForm().frame_rate) as clip:
            before: tuple[float, np.ndarray] | None = None
            gap, still = 0.0, 0
            for seconds, pixels in clip.frames():
                if before is not None:
                    gap = max(gap, seconds - before[0])
                    still += bool(np.array_equal(pixels, before[1]))
                before = seconds, pixels
            steps = clip.read - 1
            rate = steps / clip.seconds if clip.seconds else clip.rate
            size = f"{clip.width} x {clip.height}"
            share = still / steps if steps else 0.0
            return _Seen(clip.container, size, rate, clip.seconds, share, gap, clip_digest(path))
    except DataError as error:
        return error


def _warnings(seen: dict[str, _Seen], broken: dict[str, str]) -> list[str]:
    form = VideoForm()
    short = sum(one.seconds < form.interval for one in seen.values())
    still = sum(one.still >= _MUCH_STILL for one in seen.values())
    gaps = sum(one.gap > _GAP * form.interval for one in seen.values())
    lengths = [one.seconds for one in seen.values()]
    warnings = few_in_words("clips", len(seen))
    if broken:
        warnings.append(f"{len(broken):,} broken clips would be skipped")
    if still:
        warnings.append(f"{still:,} clips stand still for the most part: a frozen camera would be learned as normal")
    if short:
        warnings.append(f"{short:,} clips are shorter than {form.interval:g} s and would be skipped")
    if gaps:
        warnings.append(f"{gaps:,} clips have gaps; between frames so far apart there is no flow")
    if len({one.size for one in seen.values()}) > 1:
        warnings.append(
            "sizes differ: all are squeezed into one square; shapes that differ change what motion looks like"
        )
    if lengths and max(lengths) > 2 * min(lengths):
        warnings.append("lengths differ: p-values of whole clips hold for clips as long as those fitted on")
    return warnings
