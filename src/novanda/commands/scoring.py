"""`novanda score` and `novanda evaluate`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from novanda.commands.terminal import (
    DataRoot,
    ModelFile,
    MorePhotos,
    OutFile,
    Photos,
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

if TYPE_CHECKING:
    from novanda.detector import Detector
    from novanda.exported import ExportedDetector
    from novanda.samples import Source


def score(
    model: ModelFile, photos: Photos, out: OutFile = None, strict: bool = False, data_root: DataRoot = None
) -> int:
    """Score new images: one CSV row each with path, novelty, p_value, is_novel, error.

    Unreadable files get a row that says why; the others are scored all the same, and the exit code is then 2.

    Args:
        model: a file that `novanda fit` or `novanda export` wrote.
        photos: folders and image files, one .npy or .npz file, or a named set such as cifar10:car:test.
        out: CSV file to write; standard output if left out.
        strict: stop at the first unreadable file.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    import numpy as np

    check_writable(out)
    detector = load_scoring(model)
    calibration = detector.calibration_
    source = open_new(detector, photos, data_root)
    novel = broken = 0
    with text_output(out) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", "novelty", "p_value", "is_novel", "error"])
        # On a terminal that shows the rows themselves a bar would only be in their way.
        shown = out is not None or not sys.stdout.isatty()
        for path, outcome in progress_over(_scored(detector, source), len(source), "scoring", shown):
            if isinstance(outcome, DataError):
                if strict:
                    raise outcome
                broken += 1
                rows.writerow([path, "", "", "", _reason(path, outcome)])
                say(f"unreadable: {outcome}")
            elif calibration is None:
                rows.writerow([path, repr(outcome), "", "", ""])
            else:
                p_value = float(calibration.p_value(np.array([outcome]))[0])
                flagged = outcome > calibration.threshold
                novel += flagged
                rows.writerow([path, repr(outcome), repr(p_value), str(flagged).lower(), ""])
    decided = (
        f", {novel} novel at a false-alarm rate of {calibration.false_alarm_rate:g}"
        if calibration
        else "; the detector has no threshold, so nothing is decided"
    )
    say(f"{len(source) - broken} scored{decided}" + (f", {broken} unreadable" if broken else ""))
    if out is not None:
        say(f"written to {out}")
    return 2 if broken else 0


def evaluate(
    model: ModelFile,
    normal: MorePhotos = (),
    novel: MorePhotos = (),
    out: OutFile = None,
    strict: bool = False,
    data_root: DataRoot = None,
) -> int:
    """Measure a detector on labelled images: AUROC, average precision, error rates, with 95 % intervals.

    What is undefined is null with the reason: without novel images, for instance, only the false-alarm rate is
    known. The images must not be those the detector was fitted on. Unreadable ones make the exit code 2.

    Args:
        model: a file that `novanda fit` or `novanda export` wrote.
        normal: normal images it has not seen: folders, files, or a named set such as cifar10:car:test.
        novel: novel images, likewise; cifar10:not-car:test is every other class.
        out: JSON file to write beside what is printed.
        strict: stop at the first unreadable file instead of leaving it out.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    import numpy as np

    from novanda import metrics

    if not normal and not novel:
        raise InputError("say what to measure on: --normal, --novel or both, each with folders, files or a named set")
    check_writable(out)
    detector = load_scoring(model)
    threshold = detector.calibration().threshold
    given = {"normal": normal, "novel": novel}
    # All are opened before any is scored: a mistake in the second should not cost the time of the first.
    sources = {side: open_new(detector, photos, data_root) for side, photos in given.items() if photos}
    scores: dict[str, Any] = dict.fromkeys(given, np.empty(0))
    broken: dict[str, str] = {}
    for side, source in sources.items():
        values = []
        for path, outcome in progress_over(_scored(detector, source), len(source), f"scoring {side}"):
            if isinstance(outcome, DataError):
                if strict:
                    raise outcome
                broken[path] = _reason(path, outcome)
                say(f"left out: {outcome}")
            else:
                values.append(outcome)
        scores[side] = np.array(values, dtype=np.float64)
    found = metrics.evaluate(scores["normal"], scores["novel"], threshold)
    for line in found.lines():
        print_line(line)
    if out is not None:
        content = {"detector": str(model), "method": detector.method_name, **found.to_json(), "left_out": broken}
        write_json(out, content)
    return 2 if broken else 0


def _scored(detector: Detector | ExportedDetector, source: Source) -> Iterator[tuple[str, float | DataError]]:
    for position, outcome in detector.score_each(source):
        value = outcome if isinstance(outcome, DataError) else next(iter(outcome.values()))
        yield source.identifier(position), value


def _reason(path: str, error: DataError) -> str:
    return str(error).removeprefix(f"{path}: ")
