"""The protocol of Table 6: learn from one data set of faces, tell attacks from live faces in another.

The score of a clip is the mean over its parts, of the novelty of its flows where live faces alone are learned from
(`one_class`). What is reported is HTER, the mean of the share of live faces that are flagged and of the share of
attacks that are not, at three thresholds; see `FaceErrors`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold

from novanda.datasets.face_clips import FaceClip
from novanda.detector import Detector
from novanda.errors import InputError
from novanda.metrics import half_total_error_rate
from novanda.recordings import VideoForm
from novanda.sources import VideoFiles
from novanda.supervised import ClipJudge

QUANTILE = 0.95
Learn = Callable[[Sequence[FaceClip]], ClipJudge]
"""From train clips, live ones and attacks, to what judges others; which of them it looks at is its own affair."""


@dataclass(frozen=True)
class FaceErrors:
    """HTER on the target's test split, from 0 (best) to 1.

    Attributes:
        development: at the equal-error point of the source's development clips, live and attacks: its devel split, or,
            where it has none, folds by subject of its train split. Attacks on the source are seen for it.
        one_class: at the 95 % quantile of the live ones among these clips: no attack is seen.
        oracle: at the test split's own equal-error point: what no one can know in advance.
        thresholds: of the three, in this order.
        live, attacks: how many clips were judged.
        left_out: clips, of either set, that could not be read whole.
        scores: all that this was computed from: "development_live", "development_attacks", "live" and "attacks".
    """

    development: float
    one_class: float
    oracle: float
    thresholds: tuple[float, float, float]
    live: int
    attacks: int
    left_out: tuple[str, ...]
    scores: dict[str, np.ndarray] = field(compare=False)


def one_class(fit: Callable[[Sequence[Path]], Detector], flow_cache: Path | None = None) -> Learn:
    """Learn from the live clips alone, and judge a clip by the mean novelty of its flows.

    Args:
        fit: gives a detector of video that has learned from these files.
        flow_cache: folder in which the flows of the clips that are judged are kept, so as not to decode them again.
    """

    def learn(clips: Sequence[FaceClip]) -> ClipJudge:
        live = [clip.path for clip in clips if clip.live]
        if not live:
            raise InputError("expected live clips to learn from; the train split of the source has none")
        detector = fit(live)

        def judge(others: Sequence[FaceClip]) -> list[float | None]:
            form = detector.spec_.recording
            if not isinstance(form, VideoForm):
                raise InputError(f"expected a detector of video; got one of {detector.spec_.kind} samples")
            source = VideoFiles.listed([clip.path for clip in others], form, cache=flow_cache)
            timelines = detector.timelines(source, "mean")
            return [None if timeline.whole is None else timeline.whole.novelty for timeline in timelines]

        return judge

    return learn


def cross_data_set_errors(
    learn: Learn, source: Sequence[FaceClip], target: Sequence[FaceClip], *, folds: int = 5, seed: int = 0
) -> FaceErrors:
    """Learn from the train clips of `source` and judge the test clips of `target`.

    Args:
        learn: `one_class` of a detector, or `Classifier.learn` of a supervised system.
        source, target: clips of two data sets.
        folds: by subject, where the source has no devel split; for each one it is learned once more.
        seed: of the folds.

    Raises:
        InputError: a part has no live clips, or no attacks; fewer subjects than folds.
    """
    train = [clip for clip in source if clip.split == "train"]
    devel = [clip for clip in source if clip.split == "devel"]
    test = [clip for clip in target if clip.split == "test"]
    left_out: list[str] = []
    judge = learn(train)
    if devel:
        development = _scores(judge, devel, left_out)
    else:
        folded = _folds_by_subject(train, folds, seed)
        parts = [_scores(learn(rest), held, left_out) for rest, held in folded]
        development = np.concatenate([live for live, _ in parts]), np.concatenate([attacks for _, attacks in parts])
    judged = _scores(judge, test, left_out)
    for live, attacks in (development, judged):
        if not len(live) or not len(attacks):
            raise InputError(
                "expected live clips and attacks, of source and target, that can be read; got only one side"
            )
    thresholds = (
        equal_error_threshold(*development),
        float(np.quantile(development[0], QUANTILE)),
        equal_error_threshold(*judged),
    )
    development_error, one_class, oracle = (half_total_error_rate(*judged, threshold) for threshold in thresholds)
    return FaceErrors(
        development=development_error,
        one_class=one_class,
        oracle=oracle,
        thresholds=thresholds,
        live=len(judged[0]),
        attacks=len(judged[1]),
        left_out=tuple(left_out),
        scores={
            "development_live": development[0],
            "development_attacks": development[1],
            "live": judged[0],
            "attacks": judged[1],
        },
    )


def equal_error_threshold(live: np.ndarray, attacks: np.ndarray) -> float:
    """The threshold at which as nearly as possible as large a share of live clips is flagged as of attacks is missed.

    Midway between two neighbouring scores; of several that are as near the one with the smaller HTER, then the lowest.

    Args:
        live, attacks: (n,) and (m,) novelty, n and m at least 1.
    """
    scores = np.unique(np.concatenate([live, attacks]))
    candidates = np.concatenate([[scores[0]], (scores[:-1] + scores[1:]) / 2, [scores[-1]]])
    flagged = (live[None] > candidates[:, None]).mean(1)
    missed = (attacks[None] <= candidates[:, None]).mean(1)
    best = np.lexsort((candidates, flagged + missed, np.abs(flagged - missed)))[0]
    return float(candidates[best])


def _folds_by_subject(clips: Sequence[FaceClip], folds: int, seed: int) -> list[tuple[list[FaceClip], list[FaceClip]]]:
    """(all others, held out) for each fold; no subject is on both sides."""
    subjects = [clip.subject for clip in clips]
    if not 2 <= folds <= len(set(subjects)):
        raise InputError(f"folds by subject are at least 2 and at most the {len(set(subjects))} subjects; got {folds}")
    splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    return [
        ([clips[place] for place in rest], [clips[place] for place in held])
        for rest, held in splitter.split(subjects, groups=subjects)
    ]


def _scores(judge: ClipJudge, clips: Sequence[FaceClip], left_out: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the live clips and of the attacks that can be read whole; the others are added to `left_out`."""
    scores: dict[bool, list[float]] = {True: [], False: []}
    for clip, score in zip(clips, judge(clips), strict=True):
        if score is None:
            left_out.append(str(clip.path))
        else:
            scores[clip.live].append(score)
    return np.array(scores[True]), np.array(scores[False])
