"""`novanda calibrate` and `novanda drift`."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from novanda.commands.recordings import FILE, Aggregation, novelty_of_normals
from novanda.commands.terminal import (
    DataRoot,
    ModelFile,
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
    write_json,
)
from novanda.errors import DataError, InputError

if TYPE_CHECKING:
    import numpy as np

    from novanda.calibration import Calibration
    from novanda.detector import Detector
    from novanda.exported import ExportedDetector

ScoreFiles = Annotated[tuple[Path, ...], tyro.conf.Positional, argument(metavar="SCORES.csv ...")]
_MARK = "false_alarm"
_YES = ("1", "true", "yes", "y", "x")


def calibrate(
    model: ModelFile,
    photos: Photos = (),
    false_alarm_rate: Annotated[float | None, argument()] = None,
    confirm: OutFile = None,
    replace: bool = False,
    source: SourceName = None,
    out: OutFile = None,
    strict: bool = False,
    data_root: DataRoot = None,
) -> int:
    """Move the threshold without retraining: another rate, more normal images or sounds, confirmed false alarms.

    The images must be normal and must not be among those the detector was trained on. Their scores are added to those
    the file holds; with --replace they take their place, as they should once the camera, the light or the product has
    changed. The weights stay as they are, byte for byte.

    Args:
        model: a file that `novanda fit` or `novanda export` wrote.
        photos: normal images: folders, files, or a named set such as cifar10:car:test.
        false_alarm_rate: share of normal images that may be flagged; otherwise as before.
        confirm: CSV file of `novanda score` with the rows left in that a person found to be false alarms, or with a
            column false_alarm that says yes in theirs.
        replace: forget the scores in force.
        source: for images of this source alone, such as one of several cameras; a new name begins a calibration.
        out: where to write the detector; otherwise MODEL itself is changed.
        strict: stop at the first unreadable image instead of leaving it out.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    if not photos and false_alarm_rate is None and confirm is None:
        raise InputError("say what to change: give normal images, --false-alarm-rate or --confirm")
    if replace and not photos:
        raise InputError("--replace needs normal images whose scores take the place of those in force")
    check_writable(out)
    detector = load_scoring(model)
    before = detector.calibration_ if source is None else detector.sources_.get(source)
    given = _scores_of_normals(detector, photos, strict, data_root, replace) if photos else None
    if given is not None and before is not None and not replace:
        _tell_of_repeats(before, given.scores)
    after = _with_normals(detector, before, given, false_alarm_rate, replace)
    if confirm is not None:
        after = _with_confirmed(after, confirm)
    new = "" if source is None or source in detector.sources_ else " (a new one)"
    detector.calibrate(after, source).save_calibration(model, out)
    of = "" if source is None else f" of source {source!r}{new}"
    was = "" if before is None else f", before {before.threshold:.6g} by {len(before)} at {before.false_alarm_rate:g}"
    say(
        f"threshold{of} {after.threshold:.6g} on novelty, set by {len(after)} scores for a false-alarm rate of "
        f"{after.false_alarm_rate:g}{was}"
    )
    say(f"written to {out or model}")
    return 2 if given is not None and given.broken else 0


@dataclass(frozen=True, eq=False)
class _Normals:
    """Scores of the normals that were given; of recordings, which one each segment is of; how many are unreadable."""

    scores: np.ndarray
    recordings: np.ndarray | None
    broken: int


def _scores_of_normals(
    detector: Detector | ExportedDetector, photos: tuple[str, ...], strict: bool, data_root: Path | None, replace: bool
) -> _Normals:
    """Novelty of the readable normals; sets the scale of explanations where the file has none."""
    import numpy as np

    from novanda.exported import ExportedDetector
    from novanda.samples import Normals, RecordedSource

    source = open_new(detector, photos, data_root)
    if isinstance(source, RecordedSource):
        scores, groups, readable, broken = novelty_of_normals(detector, source, strict)
        found = _Normals(scores, groups, broken)
    else:
        places, values = [], []
        for position, outcome in progress_over(detector.score_each(source), len(source), "scoring"):
            if isinstance(outcome, DataError):
                if strict:
                    raise outcome
                say(f"left out: {outcome}")
                continue
            places.append(position)
            values.append(next(iter(outcome.values())))
        readable = np.array(places, dtype=np.int64)
        found = _Normals(np.array(values), None, len(source) - len(places))
    if isinstance(detector, ExportedDetector):  # it explains nothing
        return found
    stale = detector.heat_ is None or not detector.heat_.held_out or replace
    if len(readable) and stale and detector.spec_.kind != "features":
        detector.measure_heat(Normals(source, readable, device=detector.device_))
        what = "images" if found.recordings is None else "recordings"
        say(f"the scale of explanations' maps is taken from these {what}")
    return found


def _tell_of_repeats(before: Calibration, scores: np.ndarray) -> None:
    """Warn of normals given before: counted twice they make a threshold look better founded than it is."""
    import numpy as np

    # The same image scores the same to about seven digits, in whatever company and program it is scored.
    nearest = before.scores[np.searchsorted(before.scores, scores).clip(0, len(before.scores) - 1)]
    lower = before.scores[(np.searchsorted(before.scores, scores) - 1).clip(0, len(before.scores) - 1)]
    repeated = np.isclose(scores, nearest, rtol=1e-6, atol=0) | np.isclose(scores, lower, rtol=1e-6, atol=0)
    if repeated.sum() > len(scores) / 2:
        say(
            f"warning: {repeated.sum()} of {len(scores)} scores are in the calibration already: these images seem to "
            "have been given before. Counted twice, they let the false-alarm rate exceed what was asked; --replace "
            "starts anew"
        )


def _with_normals(
    detector: Detector | ExportedDetector,
    before: Calibration | None,
    given: _Normals | None,
    rate: float | None,
    replace: bool,
) -> Calibration:
    from novanda.calibration import Calibration
    from novanda.exported import ExportedDetector

    if before is None:
        if given is None:
            raise InputError("there are no scores to move a threshold on yet: give normal images")
        if rate is None and detector.calibration_ is not None:
            rate = detector.calibration_.false_alarm_rate
        if rate is None and not isinstance(detector, ExportedDetector):
            rate = detector.false_alarm_rate  # asked for when it was fitted
        if rate is None:
            raise InputError("no threshold was set before: say the share of normals to flag, --false-alarm-rate")
        return Calibration(given.scores, rate, recordings=given.recordings)
    rate = before.false_alarm_rate if rate is None else rate
    if given is None:
        return before.with_rate(rate)
    # At once: neither the old scores nor the new ones alone need be enough for the new rate.
    if before.confirmed and not replace:
        say(
            "warning: confirmed false alarms are among the scores in force, which new normals should come before: give "
            "all normals with --replace, then confirm"
        )
        if rate < before.false_alarm_rate:
            before.with_rate(rate)  # refuses it, and says why
    if replace:
        return Calibration(given.scores, rate, recordings=given.recordings)
    scores, groups = before.joined(given.scores, given.recordings)
    return changed(before, scores=scores, recordings=groups, false_alarm_rate=rate)


def _with_confirmed(calibration: Calibration, path: Path) -> Calibration:
    import numpy as np

    if calibration.recordings is not None:
        calibration.with_false_alarms(np.empty(0))  # refuses it, and says why
    rows = list(_rows(path))
    if any(row.chosen is None and not row.flagged for row in rows):
        raise InputError(
            f"{path} holds rows that are not flagged, so nobody has picked the false alarms in it: leave only their "
            f"rows in, or add a column {_MARK} that says yes in theirs"
        )
    scores = [row.novelty for row in rows if row.chosen is not False]
    after = calibration.with_false_alarms(np.array(scores))
    added = len(after) - len(calibration)
    if added == 0:
        raise InputError(
            f"{path}: none of the {len(scores)} rows is a false alarm that could be added: they must lie above the "
            f"threshold of {calibration.threshold:.6g} and be none that was added before"
        )
    left = len(scores) - added
    reason = f", {left} left out: not above the threshold, or there already" if left else ""
    say(f"{added} false alarms added{reason}")
    return after


def drift(
    model: ModelFile,
    scores: ScoreFiles,
    level: float = 0.01,
    source: SourceName = None,
    aggregate: Aggregation = "max",
    out: OutFile = None,
) -> int:
    """Say whether recent scores, in the order of their rows, are still those of the normals that set the threshold.

    Of sound, the rows of whole files are looked at: segments of one file are alike, which would pass for drift.

    Args:
        model: a file that `novanda fit` or `novanda export` wrote.
        scores: CSV files that `novanda score` wrote with it, oldest first.
        level: probability of finding drift where there is none, at most.
        source: compare with the normals of this source alone.
        aggregate: of sound, as it was given to `novanda score`.
        out: JSON file to write beside what is printed.
    """
    import numpy as np

    from novanda import calibration

    if not scores:
        raise InputError("say whose scores to look at: CSV files that `novanda score` wrote, oldest first")
    check_writable(out)
    detector = load_scoring(model)
    in_force = detector.calibration(source)
    wanted = None if in_force.recordings is None else FILE
    novelty = np.array([row.novelty for path in scores for row in _rows(path) if row.level == wanted])
    if not len(novelty) and wanted:
        raise DataError(f"{scores[0]}: expected rows of whole files (level {FILE}), as `novanda score` writes of sound")
    if not len(novelty):
        raise DataError(f"{scores[0]}: expected rows with a novelty; found none")
    found = calibration.drift(in_force.of_recordings(aggregate), novelty, level=level)
    for line in found.lines():
        print_line(line)
    if out is not None:
        write_json(out, {"detector": str(model), "source": source, **found.to_json()})
    return 0


@dataclass(frozen=True)
class _Row:
    """What a row of a score file says; `chosen` and `level` are None where the file has no column for it."""

    level: str | None
    novelty: float
    flagged: bool
    chosen: bool | None


def _rows(path: Path) -> Iterator[_Row]:
    """The rows of a score file that have a novelty: a file that could not be read has none."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file)
            names = rows.fieldnames or []
            if "novelty" not in names:
                raise DataError(f"{path}: expected a CSV file with a column novelty, as `novanda score` writes it")
            for row in rows:
                text = row["novelty"] or ""
                if not text.strip():
                    continue
                if not _is_finite(text):
                    raise DataError(f"{path} line {rows.line_num}: expected a finite novelty; got {text!r}")
                chosen = (row[_MARK] or "").strip().lower() in _YES if _MARK in names else None
                flagged = "is_novel" not in names or (row["is_novel"] or "").strip().lower() == "true"
                yield _Row(row.get("level"), float(text), flagged, chosen)
    except OSError as error:
        raise DataError(f"{path}: expected a CSV file of scores: {error.strerror or error}") from error
    except csv.Error as error:
        raise DataError(f"{path}: expected a CSV file of scores; it can not be read: {error}") from error


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
