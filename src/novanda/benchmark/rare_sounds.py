"""The protocol of Table 5: learn a scene from what holds no event, find the events in it (DCASE 2017 task 2).

A segment is novel if an annotated event sounds in it, a file if it holds one. Letters: S segments,
F files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from novanda.datasets.dcase2017 import Mixture
from novanda.errors import InputError
from novanda.metrics import auroc
from novanda.recordings import Aggregate, AudioForm
from novanda.sources import SoundFiles
from novanda.sources.choosing import ChosenSegments
from novanda.timelines import Timeline


@dataclass(frozen=True, eq=False)
class RareSoundScores:
    """How well events were found.

    Attributes:
        segment_auroc, file_auroc: novelty positive, over all segments and over all files; None where all are alike.
        segments, novel_segments, files, novel_files: how many were scored, and how many of them are novel.
        left_out: files that could not be read whole.
        how: how the score of a file came from those of its segments.
        novelty, novel: (S,) of the segments in the order of the timelines, higher = more novel, and whether each is.
        file_novelty, novel_file: (F,) the same of the files.
    """

    segment_auroc: float | None
    file_auroc: float | None
    segments: int
    novel_segments: int
    files: int
    novel_files: int
    left_out: tuple[str, ...]
    how: Aggregate
    novelty: np.ndarray = field(repr=False)
    novel: np.ndarray = field(repr=False)
    file_novelty: np.ndarray = field(repr=False)
    novel_file: np.ndarray = field(repr=False)


def training_segments(mixtures: Sequence[Mixture], form: AudioForm) -> ChosenSegments:
    """The segments of a training split in which no event sounds, as a source to fit on.

    Raises:
        DataError: a mixture can not be read.
        InputError: an event sounds in every segment.
    """
    source = SoundFiles.open([mixture.path for mixture in mixtures], form, purpose="fit")
    by_path = {str(mixture.path): mixture for mixture in mixtures}
    spans = [source.span(position) for position in range(len(source))]
    free = np.array([not by_path[span.path].overlaps(span.start, span.end) for span in spans])
    if not free.any():
        raise InputError("an event sounds in every segment of these mixtures; there is nothing normal to learn from")
    return ChosenSegments(source, np.flatnonzero(free))


def rare_sound_scores(timelines: Iterable[Timeline], mixtures: Sequence[Mixture]) -> RareSoundScores:
    """Judge what a detector says of mixtures against their annotations.

    Args:
        timelines: of the mixtures, in any order.
        mixtures: at least those of the timelines.

    Raises:
        InputError: a timeline is of no mixture, or there is none.
    """
    by_path = {str(mixture.path): mixture for mixture in mixtures}
    novelty: list[np.ndarray] = []
    truth: list[bool] = []
    wholes: list[tuple[float, bool]] = []
    left_out: list[str] = []
    how: Aggregate = "max"
    for timeline in timelines:
        if timeline.path not in by_path:
            raise InputError(f"{timeline.path}: expected one of the mixtures; it has no annotation")
        mixture, how = by_path[timeline.path], timeline.how
        if timeline.whole is None:
            left_out.append(timeline.path)
            continue
        novelty.append(timeline.novelty)
        truth += [mixture.overlaps(span.start, span.end) for span in timeline.spans]
        wholes.append((timeline.whole.novelty, bool(mixture.events)))
    if not wholes:
        raise InputError("expected at least one mixture that can be read whole; got none")
    scores, novel = np.concatenate(novelty), np.array(truth)
    whole_scores, novel_files = np.array([score for score, _ in wholes]), np.array([is_novel for _, is_novel in wholes])
    return RareSoundScores(
        segment_auroc=_auroc(scores, novel),
        file_auroc=_auroc(whole_scores, novel_files),
        segments=len(scores),
        novel_segments=int(novel.sum()),
        files=len(wholes),
        novel_files=int(novel_files.sum()),
        left_out=tuple(left_out),
        how=how,
        novelty=scores,
        novel=novel,
        file_novelty=whole_scores,
        novel_file=novel_files,
    )


def _auroc(scores: np.ndarray, novel: np.ndarray) -> float | None:
    return float(auroc(scores[~novel], scores[novel])) if novel.any() and not novel.all() else None
