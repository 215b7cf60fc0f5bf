"""`novanda score` and `novanda evaluate`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from novanda.commands.recordings import Aggregation, score_recordings, timelines
from novanda.commands.terminal import (
    DataRoot,
    ModelFile,
    MorePhotos,
    OutFile,
    Photos,
    SourceName,
    argument,
    check_writable,
    load_scoring,
    open_new,
    print_line,
    progress_over,
    say,
    text_output,
    write_json,
)
from novanda.errors import DataError, InputError
from novanda.recordings import Aggregate
from novanda.samples import RecordedSource

if TYPE_CHECKING:
    from novanda.calibration import Calibration
    from novanda.detector import Detector
    from novanda.exported import ExportedDetector
    from novanda.samples import Source


_COLUMNS = ("path", "novelty", "p_value", "is_novel", "error")
_SCREENED = ("adjusted_p_value", "is_discovery")


def score(
    model: ModelFile,
    photos: Photos,
    out: OutFile = None,
    false_discovery_rate: Annotated[float | None, argument()] = None,
    source: SourceName = None,
    aggregate: Aggregation = "max",
    timeline: OutFile = None,
    flow_cache: Annotated[Path | None, argument(metavar="FOLDER")] = None,
    strict: bool = False,
    data_root: DataRoot = None,
) -> int:
    """Score new images: one CSV row each with path, novelty, p_value, is_novel, error.

    Unreadable files get a row that says why; the others are scored all the same, and the exit code is then 2. A
    detector of recordings writes a row for each segment, and after them one for the file, with level, start and end.

    Args:
        model: a file that `novanda fit` or `novanda export` wrote.
        photos: folders and image files (or sound files, or clips), one .npy or .npz file, or a named set such as
            cifar10:car:test.
        out: CSV file to write; standard output if left out.
        false_discovery_rate: screen all the images as one batch too: of those with true in the added column
            is_discovery, at most this share is expected to be normal. adjusted_p_value is the lowest such rate.
        source: decide by this source's own threshold, see `novanda calibrate`.
        aggregate: of recordings, how the score of a file comes from those of its segments: the greatest, the mean or
            the 95th percentile. Choose it before you look at p-values.
        timeline: of recordings, PNG file to draw waveform or thumbnails, novelty, threshold and flagged spans in, 20
            files at most.
        flow_cache: of video, folder to keep the motion of clips in, as in `fit`.
        strict: stop at the first unreadable file.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    check_writable(out)
    _check_picture(timeline)
    detector = load_scoring(model)
    screening = false_discovery_rate is not None
    calibration = detector.calibration(source) if screening or source is not None else detector.calibration_
    if false_discovery_rate is not None:
        _screened([], false_discovery_rate)  # refuses what is no rate before anything is scored
    samples = open_new(detector, photos, data_root, flow_cache)
    if isinstance(samples, RecordedSource):
        return score_recordings(
            detector, samples, calibration, aggregate,
            out=out, picture=timeline, false_discovery_rate=false_discovery_rate, strict=strict,
        )  # fmt: skip
    if timeline is not None:
        raise InputError("--timeline draws recordings; these samples have no place in time. Leave it out")
    # On a terminal that shows the rows themselves a bar would only be in their way.
    shown = out is not None or not sys.stdout.isatty()
    outcomes = progress_over(_scored(detector, samples), len(samples), "scoring", shown)
    novel = broken = 0
    kept: list[list[str]] = []  # of a batch nothing can be said before all of it is scored
    with text_output(out) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([*_COLUMNS, *(_SCREENED if screening else ())])
        for path, outcome in outcomes:
            if isinstance(outcome, DataError):
                if strict:
                    raise outcome
                broken += 1
                say(f"unreadable: {outcome}")
            row = _row(path, outcome, calibration)
            novel += row[3] == "true"
            if screening:
                kept.append(row)
            else:
                rows.writerow(row)
        if false_discovery_rate is not None:
            kept = _screened(kept, false_discovery_rate)
            rows.writerows(kept)
    decided = (
        f", {novel} novel at a false-alarm rate of {calibration.false_alarm_rate:g}"
        if calibration
        else "; the detector has no threshold, so nothing is decided"
    )
    say(f"{len(samples) - broken} scored{decided}" + (f", {broken} unreadable" if broken else ""))
    if screening:
        found = sum(row[-1] == "true" for row in kept)
        say(f"{found} discoveries at a false-discovery rate of {false_discovery_rate:g}")
    if out is not None:
        say(f"written to {out}")
    return 2 if broken else 0


def _check_picture(timeline: Path | None) -> None:
    check_writable(timeline)
    if timeline is not None and timeline.suffix.lower() != ".png":
        raise InputError(f"--timeline is a file that ends in .png; got {timeline}")


def _row(path: str, outcome: float | DataError, calibration: Calibration | None) -> list[str]:
    """One sample's line of the CSV file, by the columns in front."""
    import numpy as np

    if isinstance(outcome, DataError):
        return [path, "", "", "", _reason(path, outcome)]
    if calibration is None:
        return [path, repr(outcome), "", "", ""]
    p_value = float(calibration.p_value(np.array([outcome]))[0])
    return [path, repr(outcome), repr(p_value), str(outcome > calibration.threshold).lower(), ""]


def _screened(rows: list[list[str]], rate: float) -> list[list[str]]:
    """The rows of a batch with the columns of its screening."""
    import numpy as np

    from novanda.calibration import adjusted_p_values, discoveries

    p_values = np.array([float(row[2]) for row in rows if row[2]])
    found = iter(zip(adjusted_p_values(p_values).tolist(), discoveries(p_values, rate).tolist(), strict=True))
    result = []
    for row in rows:
        adjusted, is_discovery = next(found) if row[2] else ("", "")
        result.append([*row, str(adjusted), str(is_discovery).lower()])
    return result


def evaluate(
    model: ModelFile,
    normal: MorePhotos = (),
    novel: MorePhotos = (),
    out: OutFile = None,
    source: SourceName = None,
    aggregate: Aggregation = "max",
    strict: bool = False,
    data_root: DataRoot = None,
) -> int:
    """Measure a detector on labelled images: AUROC, average precision, error rates, with 95 % intervals.

    What is undefined is null with the reason: without novel images, for instance, only the false-alarm rate is
    known. The images must not be those the detector was fitted on. Unreadable ones make the exit code 2. Of sound
    and video, whole files are judged: that a file is novel does not say which of its segments are.

    Args:
        model: a file that `novanda fit` or `novanda export` wrote.
        normal: normal images it has not seen: folders, files, or a named set such as cifar10:car:test.
        novel: novel images, likewise; cifar10:not-car:test is every other class.
        out: JSON file to write beside what is printed.
        source: judge by this source's own threshold, see `novanda calibrate`.
        aggregate: of sound and video, how the score of a file comes from those of its segments.
        strict: stop at the first unreadable file instead of leaving it out.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    import numpy as np

    from novanda import metrics

    if not normal and not novel:
        raise InputError("say what to measure on: --normal, --novel or both, each with folders, files or a named set")
    check_writable(out)
    detector = load_scoring(model)
    calibration = detector.calibration(source)
    given = {"normal": normal, "novel": novel}
    # All are opened before any is scored: a mistake in the second should not cost the time of the first.
    sources = {side: open_new(detector, photos, data_root) for side, photos in given.items() if photos}
    scores: dict[str, Any] = dict.fromkeys(given, np.empty(0))
    broken: dict[str, str] = {}
    for side, samples in sources.items():
        values = []
        recorded = isinstance(samples, RecordedSource)
        scored = _scored_files(detector, samples, calibration, aggregate) if recorded else _scored(detector, samples)
        # Files are fewer than the positions of their source; their bar is drawn where segments are scored.
        for path, outcome in scored if recorded else progress_over(scored, len(samples), f"scoring {side}"):
            if isinstance(outcome, DataError):
                if strict:
                    raise outcome
                broken[path] = _reason(path, outcome)
                say(f"left out: {outcome}")
            else:
                values.append(outcome)
        scores[side] = np.array(values, dtype=np.float64)
    threshold = (calibration.of_recordings(aggregate) if detector.spec_.recording else calibration).threshold
    found = metrics.evaluate(scores["normal"], scores["novel"], threshold)
    for line in found.lines():
        print_line(line)
    if out is not None:
        content = {"detector": str(model), "method": detector.method_name, **found.to_json(), "left_out": broken}
        write_json(out, content)
    return 2 if broken else 0


def _scored(detector: Detector | ExportedDetector, samples: Source) -> Iterator[tuple[str, float | DataError]]:
    for position, outcome in detector.score_each(samples):
        value = outcome if isinstance(outcome, DataError) else next(iter(outcome.values()))
        yield samples.identifier(position), value


def _scored_files(
    detector: Detector | ExportedDetector, samples: Source, calibration: Calibration, how: Aggregate
) -> Iterator[tuple[str, float | DataError]]:
    for timeline in timelines(detector, samples, calibration, how):
        yield timeline.path, timeline.errors[0][1] if timeline.whole is None else timeline.whole.novelty


def _reason(path: str, error: DataError) -> str:
    return str(error).removeprefix(f"{path}: ")
