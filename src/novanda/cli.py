"""The commands. They parse, call the library and print; the logic is elsewhere.

Exit codes: 0 all is well; 2 something given is wrong (one line on standard error says what); 130 stopped by Ctrl-C.
Results go to files or standard output, everything said about them to standard error.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO, TypeVar

import tyro
from tyro.conf import Positional

from novanda.errors import DataError, InputError, Interrupted, NovandaError
from novanda.training_options import Training

if TYPE_CHECKING:
    from novanda.detector import Detector
    from novanda.method import Method
    from novanda.samples import Source

DEFAULT_METHOD = "nda"
Paths = tuple[str, ...]
Item = TypeVar("Item")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _quiet_pipe():
            result = tyro.extras.subcommand_cli_from_dict(
                _commands(given), prog="novanda", description=_ABOUT, args=given
            )
        return int(result or 0)
    except Interrupted as error:
        _say(f"novanda: {error}")
        return 130
    except NovandaError as error:
        _say(f"novanda: error: {error}")
        return 2
    except KeyboardInterrupt:
        _say("novanda: stopped; nothing was written")
        return 130


_ABOUT = "Novelty detection from normal examples only: train, know the false-alarm rate, see why, run it."


def _commands(given: Sequence[str]) -> dict[str, Callable[..., Any]]:
    return {
        "inspect": inspect,
        "fit": _fit_command(given) if given[:1] == ["fit"] else fit,
        "score": score,
        "evaluate": evaluate,
        "list": list_names,
        "download": download,
        "bench": bench,
        "doctor": doctor,
    }


# ---------------------------------------------------------------------------------------------------------------
# fit


def fit(photos: Positional[Paths], out: Path) -> int:
    """Learn what normal looks like from a folder of normal images, an array file or a named set."""
    raise AssertionError("replaced by _fit_command, which knows the method's own flags")


def _fit_command(given: Sequence[str]) -> Callable[..., int]:
    """`fit` with the flags of the method that --method names."""
    from novanda import methods

    chosen = methods.get(_value_of("--method", given) or DEFAULT_METHOD)
    default = chosen()
    names = Literal[tuple(method.name for method in methods.METHODS)]  # type: ignore[valid-type]

    def fit(
        photos: Positional[Paths],
        out: Path,
        method: Any = chosen.name,
        false_alarm_rate: float = 0.05,
        calibration_fraction: float = 0.2,
        image_size: int | None = None,
        seed: int = 0,
        strict: bool = False,
        resume: bool = False,
        data_root: Path | None = None,
        training: Training = Training(),  # noqa: B008  # frozen: sharing it is harmless
        settings: Any = default,
    ) -> int:
        """Learn what normal looks like from a folder of normal images, an array file or a named set.

        Args:
            photos: folders and image files, one .npy or .npz file, or a named set such as cifar10:car.
            out: where the fitted detector is written.
            method: what learns; `novanda list methods` shows them. Its own flags are listed below.
            false_alarm_rate: share of normal images that may be flagged; 0.01 needs 99 held-out normals.
            calibration_fraction: share of the images held out of training to set the threshold.
            image_size: side in pixels to which images are resized.
            seed: of everything random.
            strict: stop at the first broken file instead of skipping it.
            resume: go on with a run that was stopped.
            data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
            training: what is left out is taken from the method's authors.
            settings: the method's hyper-parameters.
        """
        return _fit(
            photos, out, settings, training, false_alarm_rate, calibration_fraction, image_size, seed, strict, resume,
            data_root,
        )  # fmt: skip

    fit.__annotations__["method"] = names
    fit.__annotations__["settings"] = Annotated[chosen, tyro.conf.arg(name=chosen.name)]
    return fit


def _fit(
    photos: Paths,
    out: Path,
    settings: Method,
    training: Any,
    false_alarm_rate: float,
    calibration_fraction: float,
    image_size: int | None,
    seed: int,
    strict: bool,
    resume: bool,
    data_root: Path | None,
) -> int:
    from novanda.detector import Detector

    _check_writable(out)
    detector = Detector(
        settings,
        training,
        seed=seed,
        false_alarm_rate=false_alarm_rate,
        calibration_fraction=calibration_fraction,
        image_size=image_size,
    )
    checkpoint = out.with_name(out.name + ".checkpoint")
    detector.fit(
        _data(photos),
        data_root=data_root,
        strict=strict,
        checkpoint=checkpoint,
        resume=resume,
        progress=True,
    )
    detector.save(out)
    checkpoint.unlink(missing_ok=True)
    _say(detector.note_)
    for path, reason in detector.skipped_.items():
        _say(f"skipped {path}: {reason}")
    _say(
        f"{detector.method_.title}: learned from {detector.training_count_} samples" + _skipped(len(detector.skipped_))
    )
    if detector.calibration_ is not None:
        _say(
            f"threshold {detector.calibration_.threshold:.6g} on novelty, set by {len(detector.calibration_)} held-out "
            f"normals for a false-alarm rate of {false_alarm_rate:g}"
        )
    _say(f"written to {out}")
    return 0


# ---------------------------------------------------------------------------------------------------------------
# score and evaluate


def score(
    model: Positional[Path],
    photos: Positional[Paths],
    out: Path | None = None,
    strict: bool = False,
    data_root: Path | None = None,
) -> int:
    """Score new images: one CSV row each with path, novelty, p_value, is_novel, error.

    Unreadable files get a row that says why; the others are scored all the same, and the exit code is then 2.

    Args:
        model: a file that `novanda fit` wrote.
        photos: folders and image files, one .npy or .npz file, or a named set such as cifar10:car:test.
        out: CSV file to write; standard output if left out.
        strict: stop at the first unreadable file.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    import numpy as np

    detector = _load(model)
    calibration = detector.calibration_
    source = _open_new(detector, photos, data_root)
    novel = broken = 0
    with _text_output(out) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", "novelty", "p_value", "is_novel", "error"])
        for path, outcome in _progress(_scored(detector, source), len(source), "scoring"):
            if isinstance(outcome, DataError):
                if strict:
                    raise outcome
                broken += 1
                rows.writerow([path, "", "", "", str(outcome)])
                _say(f"novanda: error: {outcome}")
            elif calibration is None:
                rows.writerow([path, repr(outcome), "", "", ""])
            else:
                p_value = float(calibration.p_value(np.array([outcome]))[0])
                flagged = outcome > calibration.threshold
                novel += flagged
                rows.writerow([path, repr(outcome), repr(p_value), str(flagged).lower(), ""])
    decided = f", {novel} novel at a false-alarm rate of {calibration.false_alarm_rate:g}" if calibration else ""
    _say(f"{len(source) - broken} scored{decided}" + (f", {broken} unreadable" if broken else ""))
    return 2 if broken else 0


def evaluate(
    model: Positional[Path],
    normal: Paths,
    novel: Paths,
    out: Path | None = None,
    strict: bool = False,
    data_root: Path | None = None,
) -> int:
    """Measure a detector on labelled images: AUROC, average precision, error rates, with 95 % intervals.

    What is undefined is null with the reason. The images must not be those the detector was fitted on.

    Args:
        model: a file that `novanda fit` wrote.
        normal: normal images it has not seen: folders, files, or a named set such as cifar10:car:test.
        novel: novel images, likewise; cifar10:not-car:test is every other class.
        out: JSON file to write beside what is printed.
        strict: stop at the first unreadable file instead of leaving it out.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    import numpy as np

    from novanda import metrics

    detector = _load(model)
    sides: dict[str, Any] = {}
    broken: dict[str, str] = {}
    for side, photos in (("normal", normal), ("novel", novel)):
        source = _open_new(detector, photos, data_root)
        values = []
        for path, outcome in _progress(_scored(detector, source), len(source), f"scoring {side}"):
            if isinstance(outcome, DataError):
                if strict:
                    raise outcome
                broken[path] = str(outcome)
                _say(f"left out: {outcome}")
            else:
                values.append(outcome)
        sides[side] = np.array(values, dtype=np.float64)
    found = metrics.evaluate(sides["normal"], sides["novel"], detector.calibration().threshold)
    for line in found.lines():
        _print(line)
    if out is not None:
        content = {"detector": str(model), "method": detector.method_.name, **found.to_json(), "left_out": broken}
        with _text_output(out) as file:
            json.dump(content, file, indent=1, allow_nan=False)
            file.write("\n")
        _say(f"written to {out}")
    return 2 if broken else 0


def _scored(detector: Detector, source: Source) -> Iterator[tuple[str, float | DataError]]:
    for position, outcome in detector.score_each(source):
        value = outcome if isinstance(outcome, DataError) else next(iter(outcome.values()))
        yield source.identifier(position), value


# ---------------------------------------------------------------------------------------------------------------
# inspect, list, download, doctor, bench


def inspect(photos: Positional[Paths], against: Paths = (), out: Path | None = None) -> int:
    """Show what would be read: counts, sizes, modes, broken files, duplicates, leaks between train and test.

    Args:
        photos: folders and image files.
        against: other images, such as the test folder, to look for copies of these in.
        out: JSON file to write beside what is printed.
    """
    from novanda.inspection import inspect as look

    found = look(list(photos), list(against) or None)
    for line in found.lines():
        _print(line)
    if out is not None:
        with _text_output(out) as file:
            json.dump(found.to_json(), file, indent=1)
            file.write("\n")
    return 0


def list_names(what: Positional[Literal["methods", "datasets", "studies"]]) -> int:
    """List the methods, the named data sets or the studies that `bench` runs.

    Args:
        what: methods, datasets or studies.
    """
    if what == "methods":
        from novanda.methods import METHODS

        for method in METHODS:
            takes = ", ".join(sorted(method.kinds))
            default = " (default)" if method.name == DEFAULT_METHOD else ""
            _print(f"{method.name:18} {method.title}{default}: {_first_line(method)} Takes {takes}.")
    elif what == "datasets":
        from novanda.datasets import DATASETS

        for data_set in DATASETS:
            _print(
                f"{data_set.name:14} {data_set.title}, {data_set.kind}: {_shown(data_set.classes)}. {data_set.source}"
            )
    else:
        from novanda.benchmark.studies import STUDIES

        for name, study in STUDIES.items():
            _print(f"{name:14} {len(study())} cells: {_first_line(study)}")
    return 0


def download(name: Positional[str], data_root: Path | None = None) -> int:
    """Download a named data set from its publisher, checked against the published checksums.

    Args:
        name: one of `novanda list datasets`.
        data_root: folder to put it in; otherwise the environment's NOVANDA_DATA.
    """
    from novanda import datasets

    root = data_root or (Path(os.environ["NOVANDA_DATA"]) if os.environ.get("NOVANDA_DATA") else None)
    if root is None:
        raise DataError("say where to put the data set: --data-root FOLDER, or set NOVANDA_DATA")
    datasets.download(name, root)
    _say(f"{name} is in {root}")
    return 0


def bench(
    study: Positional[str],
    out: Path,
    jobs: int = 1,
    only: str | None = None,
    dry_run: bool = False,
    data_root: Path | None = None,
) -> int:
    """Run a study's cells, those not yet in OUT/results.jsonl; stop and repeat the command as you like.

    Args:
        study: one of `novanda list studies`.
        out: folder of the result lines and raw scores.
        jobs: cells run at a time.
        only: run the cells whose line in --dry-run matches this regular expression.
        dry_run: list the cells and run none.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    import re

    from novanda import datasets
    from novanda.benchmark.cells import run_cells
    from novanda.benchmark.studies import STUDIES

    if study not in STUDIES:
        raise InputError(f"unknown study {study!r}; known: {', '.join(STUDIES)}")
    try:
        cells = [cell for cell in STUDIES[study]() if only is None or re.search(only, str(cell))]
    except re.error as error:
        raise InputError(f"--only is no regular expression: {error}") from error
    if dry_run:
        for cell in cells:
            _print(str(cell))
        return 0
    run_cells(cells, out, datasets.find_root(data_root), jobs=jobs, say=_say)
    return 0


def doctor() -> int:
    """Say what this machine offers: versions, devices, precision, data sets, optional parts."""
    from novanda.doctor import report

    for line in report():
        _print(line)
    return 0


# ---------------------------------------------------------------------------------------------------------------
# Parts


def _load(model: Path) -> Detector:
    from novanda.detector import Detector

    return Detector.load(model)


def _data(photos: Paths) -> str | list[str]:
    if not photos:
        raise InputError("say what to read: a folder, image files, an array file or a named set")
    return photos[0] if len(photos) == 1 else list(photos)


def _open_new(detector: Detector, photos: Paths, data_root: Path | None) -> Source:
    from novanda.sources import open_source

    return open_source(_data(photos), purpose="score", spec=detector.spec_, data_root=data_root)


def _value_of(flag: str, given: Sequence[str]) -> str | None:
    """What a flag is set to on a command line, as `--flag value` or `--flag=value`."""
    for place, word in enumerate(given):
        if word == flag and place + 1 < len(given):
            return given[place + 1]
        if word.startswith(flag + "="):
            return word.partition("=")[2]
    return None


def _check_writable(out: Path) -> None:
    """Fail before hours of training, not after."""
    if out.is_dir():
        raise InputError(f"{out} is a folder; --out is the file to write")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out.parent} can not be made: {error.strerror}. Choose another --out") from error
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"{out.parent} is not writable. Choose another --out")


@contextmanager
def _text_output(out: Path | None) -> Iterator[TextIO]:
    """A text file that appears whole at `out`, or standard output."""
    if out is None:
        yield sys.stdout
        return
    from novanda.checkpoint import written_atomically

    _check_writable(out)
    with written_atomically(out) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        yield text
        text.flush()
        text.detach()


def _progress(items: Iterator[Item], total: int, what: str) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=what, total=total, console=Console(stderr=True), transient=True)


@contextmanager
def _quiet_pipe() -> Iterator[None]:
    """`novanda list methods | head` is no error: a reader that has had enough ends us without a traceback."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _first_line(documented: Any) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{names[0]} to {names[-1]}"


def _skipped(count: int) -> str:
    return f"; {count} unreadable files were skipped" if count else ""


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


def _say(line: str) -> None:
    if line:
        sys.stderr.write(line + "\n")
