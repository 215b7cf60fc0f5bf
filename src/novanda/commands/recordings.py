"""What commands do with recordings where they would otherwise have single images: scores of segments and of wholes."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from novanda.commands.terminal import argument, progress_over, say, text_output
from novanda.errors import DataError, InputError
from novanda.recordings import Aggregate, Form, Span, VideoForm

if TYPE_CHECKING:
    import numpy as np

    from novanda.calibration import Calibration
    from novanda.detector import Detector
    from novanda.exported import ExportedDetector
    from novanda.samples import RecordedSource, Source
    from novanda.timelines import SpanScore, Timeline

Aggregation = Annotated[Aggregate, argument()]

SEGMENT, FILE = "segment", "file"
_COLUMNS = ("path", "level", "start", "end", "novelty", "p_value", "is_novel", "error")
_SCREENED = ("adjusted_p_value", "is_discovery")
_MOST_DRAWN = 20


def timelines(
    detector: Detector | ExportedDetector,
    samples: Source,
    calibration: Calibration | None,
    how: Aggregate,
    what: str = "scoring",
    shown: bool = True,
) -> Iterator[Timeline]:
    """What the detector says of each recording, with a bar where it would be seen."""
    from novanda.timelines import timelines_of

    def outcomes(source: Source) -> Iterator[tuple[int, dict[str, float] | DataError]]:
        return progress_over(detector.score_each(source), len(source), what, shown)

    return timelines_of(samples, outcomes, calibration, how)


def novelty_of_normals(
    detector: Detector | ExportedDetector, samples: RecordedSource, strict: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Novelty of the segments of all recordings that can be read whole, (N,) each, and how many others there are.

    Returns:
        Novelty; the number of each segment's recording among those read, from 0; its position in the source; others.
    """
    import numpy as np

    novelty: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    broken = 0
    for number, timeline in enumerate(timelines(detector, samples, None, "max")):
        if timeline.errors:
            if strict:
                raise timeline.errors[0][1]
            say(f"left out: {timeline.errors[0][1]}")
            broken += 1
            continue
        novelty.append(timeline.novelty)
        positions.append(np.flatnonzero(samples.recordings == number))
    if not novelty:
        raise DataError("expected recordings that can be read whole; none of these can")
    groups = np.repeat(np.arange(len(novelty)), [len(each) for each in novelty])
    return np.concatenate(novelty), groups, np.concatenate(positions), broken


@dataclass
class _Counts:
    """What is said at the end."""

    files: int = 0
    novel: int = 0
    segments: int = 0
    novel_segments: int = 0
    broken: int = 0

    def add(self, timeline: Timeline) -> None:
        """Count one more recording in."""
        self.files += timeline.whole is not None
        self.novel += timeline.whole is not None and timeline.whole.is_novel is True
        self.segments += len(timeline.spans)
        self.novel_segments += sum(score.is_novel is True for score in timeline.segments())
        self.broken += bool(timeline.errors)

    def said(self, calibration: Calibration | None) -> str:
        """In a sentence."""
        scored = f"{self.files} files, {self.segments} segments scored"
        unread = f", {self.broken} files not readable whole" if self.broken else ""
        if calibration is None:
            return f"{scored}; the detector has no threshold, so nothing is decided{unread}"
        rate = calibration.false_alarm_rate
        novel = f"novel at a false-alarm rate of {rate:g}: {self.novel} files, {self.novel_segments} segments"
        return f"{scored}; {novel}{unread}"


def score_recordings(
    detector: Detector | ExportedDetector,
    samples: Source,
    calibration: Calibration | None,
    how: Aggregate,
    *,
    out: Path | None,
    picture: Path | None,
    false_discovery_rate: float | None,
    strict: bool,
) -> int:
    """Write a row for each segment and then one for its file, file by file, and draw them; returns the exit code."""
    screening = false_discovery_rate is not None
    found = timelines(detector, samples, calibration, how, shown=out is not None or not sys.stdout.isatty())
    counts = _Counts()
    drawn: list[Timeline] = []
    kept: list[list[str]] = []  # of a batch nothing can be said before all of it is scored
    with text_output(out) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([*_COLUMNS, *(_SCREENED if screening else ())])
        for timeline in found:
            for _, error in timeline.errors:
                if strict:
                    raise error
                say(f"unreadable: {error}")
            for remark in timeline.remarks():
                say(f"note: {remark}")
            counts.add(timeline)
            if picture is not None:
                drawn = _with(drawn, timeline)
            if screening:
                kept.extend(_rows(timeline))
            else:
                rows.writerows(_rows(timeline))
        if false_discovery_rate is not None:
            kept = _screened(kept, false_discovery_rate)
            rows.writerows(kept)
    say(counts.said(calibration))
    if screening:
        discoveries = sum(row[-1] == "true" for row in kept)
        say(f"{discoveries} of the files are discoveries at a false-discovery rate of {false_discovery_rate:g}")
    if out is not None:
        say(f"written to {out}")
    if picture is not None:
        _draw(drawn, picture, detector.spec_.recording)
    return 2 if counts.broken else 0


def _with(drawn: list[Timeline], timeline: Timeline) -> list[Timeline]:
    if len(drawn) == _MOST_DRAWN:
        raise InputError(f"a timeline shows at most {_MOST_DRAWN} recordings; give fewer, or leave --timeline out")
    return [*drawn, timeline]


def _rows(timeline: Timeline) -> Iterator[list[str]]:
    """Rows of a recording by the columns in front: what could not be read, its segments, the whole."""
    for span, error in timeline.errors:
        yield [span.path, SEGMENT, *_ends(span), "", "", "", _reason(span.path, error)]
    for score in timeline.segments():
        yield _row(score, SEGMENT)
    if timeline.whole is not None:
        yield _row(timeline.whole, FILE)
    else:
        reasons = dict.fromkeys(_reason(timeline.path, error) for _, error in timeline.errors)
        yield [timeline.path, FILE, "", "", "", "", "", "; ".join(reasons)]


def _row(score: SpanScore, level: str) -> list[str]:
    decided = ["", ""] if score.p_value is None else [repr(score.p_value), str(score.is_novel).lower()]
    return [score.span.path, level, *_ends(score.span), repr(score.novelty), *decided, ""]


def _ends(span: Span) -> list[str]:
    return ["", ""] if span.end == 0 else [f"{span.start:.3f}", f"{span.end:.3f}"]


def _reason(path: str, error: DataError) -> str:
    return str(error).removeprefix(f"{path}: ")


def _screened(rows: list[list[str]], rate: float) -> list[list[str]]:
    """The rows with the columns of screening, which are the files' alone: p-values of segments are of no one batch."""
    import numpy as np

    from novanda.calibration import adjusted_p_values, discoveries

    p_values = np.array([float(row[5]) for row in rows if row[1] == FILE and row[5]])
    found = iter(zip(adjusted_p_values(p_values).tolist(), discoveries(p_values, rate).tolist(), strict=True))
    result = []
    for row in rows:
        adjusted, is_discovery = next(found) if row[1] == FILE and row[5] else ("", "")
        result.append([*row, str(adjusted), str(is_discovery).lower()])
    return result


def _draw(drawn: list[Timeline], picture: Path, form: Form | None) -> None:
    import numpy as np

    from novanda import pictures
    from novanda.sources import clip_thumbnails, sound_envelope

    bands = []
    for timeline in drawn:
        envelope: np.ndarray | None = None
        thumbnails: list[np.ndarray] | None = None
        if isinstance(form, VideoForm):
            seconds, thumbnails = clip_thumbnails(Path(timeline.path), form.frame_rate)
        else:
            seconds, envelope = sound_envelope(Path(timeline.path))
        whole, calibration = timeline.whole, timeline.calibration
        said = "not readable whole, so not judged as a whole"
        if whole is not None:
            said = f"{timeline.how} novelty {whole.novelty:.3g}"
        if whole is not None and whole.p_value is not None:
            said += f", p-value {whole.p_value:.3g}: {'flagged as novel' if whole.is_novel else 'normal'}"
        bands.append(
            pictures.TimelineBand(
                title=f"{timeline.path}: {said}",
                seconds=max(seconds, timeline.seconds),
                envelope=envelope,
                thumbnails=None if thumbnails is None else tuple(thumbnails),
                start=np.array([span.start for span in timeline.spans]),
                end=np.array([span.end for span in timeline.spans]),
                novelty=timeline.novelty,
                threshold=None if calibration is None else calibration.threshold,
                is_novel=None if whole is None else whole.is_novel,
                # What is missing at the end of a file has a beginning alone.
                unread=tuple((s.start, s.end if s.end > s.start else seconds) for s, _ in timeline.errors),
            )
        )
    if not bands:
        raise InputError("there is nothing to draw a timeline of")
    pictures.save(pictures.timeline_sheet(bands), picture)
    say(f"written to {picture}")
