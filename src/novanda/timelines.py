"""Scores of recordings over time: of each segment and of the whole, from files or as sound or frames come in.

What a detector and its exported file do alike, without torch. Novelty: HIGHER = MORE NOVEL. Letter: S segments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from novanda.calibration import Calibration
from novanda.errors import DataError, InputError
from novanda.recordings import Aggregate, AudioForm, Form, Span, VideoForm, aggregated, check_aggregate
from novanda.samples import RecordedSource, Source
from novanda.scores import Scores
from novanda.sources.motion import Pairing
from novanda.sources.segmenting import Incoming
from novanda.sources.spectrograms import samples_of

Outcomes = Callable[[Source], Iterator[tuple[int, dict[str, float] | DataError]]]


@dataclass(frozen=True)
class SpanScore:
    """The score of a segment, or of a whole recording.

    Attributes:
        span: which stretch of which recording.
        novelty: higher = more novel.
        p_value, is_novel: by the calibration; None where there is none.
    """

    span: Span
    novelty: float
    p_value: float | None
    is_novel: bool | None


@dataclass(frozen=True, eq=False)
class Timeline:
    """What a detector says of one recording.

    Attributes:
        path: the recording.
        spans: (S) the readable segments, in order of time.
        novelty: (S,) float64 of these.
        errors: what could not be read and why, neighbours with the same reason as one stretch (0 to 0 s: all of it).
        calibration: of the detector, for segments; None where it has no threshold.
        how: how the score of the whole comes from those of its segments.
    """

    path: str
    spans: tuple[Span, ...]
    novelty: np.ndarray
    errors: tuple[tuple[Span, DataError], ...]
    calibration: Calibration | None
    how: Aggregate

    @property
    def seconds(self) -> float:
        """Where the last readable segment ends."""
        return self.spans[-1].end if self.spans else 0.0

    def segments(self) -> list[SpanScore]:
        """Each readable segment's score, in order of time."""
        return [_score(span, value, self.calibration) for span, value in zip(self.spans, self.novelty, strict=True)]

    @cached_property
    def whole(self) -> SpanScore | None:
        """The score of the recording as a whole; None where part of it could not be read.

        A part is not like a recording: what could not be read might have been what was novel.
        """
        if self.errors or not self.spans:
            return None
        calibration = None if self.calibration is None else self.calibration.of_recordings(self.how)
        return _score(Span(self.path, 0.0, self.seconds), aggregated(self.novelty, self.how), calibration)

    def remarks(self) -> Iterator[str]:
        """What a person should know before trusting the score of the whole: short sentences, often none."""
        if self.whole is None or self.calibration is None or self.calibration.recordings is None:
            return
        counts = np.bincount(self.calibration.recordings)
        if not counts.min() <= len(self.spans) <= counts.max():
            yield (
                f"{self.path} has {len(self.spans)} segments, the recordings that set the threshold {counts.min()} to "
                f"{counts.max()}: its p-value as a whole holds for recordings as long as these"
            )


def timelines_of(
    source: Source, score_each: Outcomes, calibration: Calibration | None, how: Aggregate
) -> Iterator[Timeline]:
    """One timeline a recording, in order. Memory holds the scores of one recording at a time, and no more of it.

    Args:
        source: of segments of recordings.
        score_each: gives (position, scores headline first, or why it can not be read) for every segment, in order.
        calibration: for segments; the recordings' own is taken from it.
        how: to aggregate, see `recordings.aggregated`.

    Raises:
        InputError: the samples are no segments of recordings, or an unknown way to aggregate.
    """
    check_aggregate(how)
    if not isinstance(source, RecordedSource):
        raise InputError(
            "expected recordings; got samples that are no segments of any: give sound files, clips or a folder"
        )
    recordings, span = source.recordings, source.span
    for _, outcomes in groupby(score_each(source), key=lambda outcome: int(recordings[outcome[0]])):
        spans: list[Span] = []
        novelty: list[float] = []
        errors: list[tuple[Span, DataError]] = []
        for position, outcome in outcomes:
            here = span(position)
            if not isinstance(outcome, DataError):
                spans.append(here)
                novelty.append(next(iter(outcome.values())))
            elif errors and str(errors[-1][1]) == str(outcome):
                errors[-1] = Span(here.path, errors[-1][0].start, here.end), outcome
            else:
                errors.append((here, outcome))
        yield Timeline(here.path, tuple(spans), np.array(novelty), tuple(errors), calibration, how)


def stream_of(
    chunks: Iterable[Any],
    rate: float,
    form: Form | None,
    score: Callable[[np.ndarray], Scores],
    calibration: Calibration | None,
) -> Iterator[SpanScore]:
    """Scores of segments of sound or video that comes in chunks, each as soon as what it needs is there.

    Memory does not grow: it holds a segment, or the frames whose pair is not complete, and a chunk. The scores are
    those of the same in a file: the same samples are made of it.

    Args:
        chunks: of sound, arrays (n,) or (n, channels) of any length: floats from -1 to 1, or int16 or int32; of video,
            arrays uint8 of frames (n, H, W, 3) in RGB or (n, H, W) in gray, or of a single one.
        rate: samples of sound, a whole number, or frames a second.
        form: how the detector's recordings become samples.
        score: every score of raw samples (B, C, H, W), headline first.
        calibration: for segments.

    Raises:
        InputError: the detector is none of recordings, a rate that is none, a chunk of another shape or type, or sound
            that is not finite.
    """
    if form is None:
        raise InputError(
            "expected a detector of sound or video; this one has learned from samples that are no recordings"
        )
    pieces = _of_frames(chunks, rate, form) if isinstance(form, VideoForm) else _of_sound(chunks, rate, form)
    for span, sample in pieces:
        novelty = next(iter(score(np.ascontiguousarray(sample[None])).values()))
        yield _score(span, float(novelty[0]), calibration)


def _of_sound(chunks: Iterable[Any], rate: float, form: AudioForm) -> Iterator[tuple[Span, np.ndarray]]:
    """Segments as samples (C, H, W), as the sound comes."""
    if isinstance(rate, bool) or not isinstance(rate, int) or rate < 1:
        raise InputError(f"rate is a whole number of samples a second; got {rate!r}")
    incoming = Incoming(form, rate)

    def made(pieces: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[Span, np.ndarray]]:
        for start, window in pieces:
            span = Span("stream", start / form.rate, (start + form.length) / form.rate)
            yield span, samples_of(window[None], form)[0]

    for chunk in chunks:
        yield from made(incoming.feed(_as_sound(chunk)))
    yield from made(incoming.finish())


def _of_frames(chunks: Iterable[Any], rate: float, form: VideoForm) -> Iterator[tuple[Span, np.ndarray]]:
    """Flows (2, S, S) of pairs of frames, as these come."""
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise InputError(f"rate is a number of frames a second, above 0; got {rate!r}")
    pairing = Pairing(form)
    frames = (frame for chunk in chunks for frame in _as_frames(chunk))
    for number, frame in enumerate(frames):
        for pair in pairing.feed(number / rate, frame):
            yield Span("stream", pair.start, pair.end), pair.flow


def _as_frames(chunk: Any) -> np.ndarray:
    """A chunk as frames (n, H, W) or (n, H, W, 3) uint8."""
    array = np.asarray(chunk)
    single = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    frames = array[None] if single else array
    wrong = frames.ndim not in (3, 4) or frames.shape[3:] not in ((), (3,)) or 0 in frames.shape[1:]
    if array.dtype != np.uint8 or wrong:
        raise InputError(
            "expected chunks of frames uint8, (n, H, W, 3) in RGB or (n, H, W) in gray; got "
            f"{array.shape} of {array.dtype}"
        )
    return frames


def _as_sound(chunk: Any) -> np.ndarray:
    """A chunk as float32 (n,), channels mixed to their mean, full scale from -1 to 1."""
    array = np.asarray(chunk)
    whole = {"int16": 2**15, "int32": 2**31}.get(array.dtype.name)
    if array.ndim not in (1, 2) or (array.dtype.kind != "f" and whole is None) or array.shape[1:] == (0,):
        raise InputError(
            "expected chunks of sound (n,) or (n, channels) as floats, int16 or int32; got "
            f"{array.shape} of {array.dtype}"
        )
    sound = array.astype(np.float32) / np.float32(whole or 1)
    if not np.isfinite(sound).all():
        raise InputError("a chunk of sound holds NaN or infinity; leave it out, or put silence in its place")
    return sound if sound.ndim == 1 else sound.mean(axis=1, dtype=np.float32)


def _score(span: Span, novelty: float, calibration: Calibration | None) -> SpanScore:
    value = float(novelty)
    if calibration is None:
        return SpanScore(span, value, None, None)
    return SpanScore(span, value, float(calibration.p_value(np.array([value]))[0]), value > calibration.threshold)
