"""The commands. They parse, call the library and print; the logic is elsewhere.

Exit codes: 0 all is well; 2 something given is wrong (one line on standard error says what); 130 stopped by Ctrl-C.
Results go to files or standard output, everything said about them to standard error.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO, TypeVar

import tyro

from novanda.errors import DataError, InputError, Interrupted, NovandaError
from novanda.training_options import Training

if TYPE_CHECKING:
    from novanda.detector import Detector
    from novanda.samples import Source

DEFAULT_METHOD = "nda"
Item = TypeVar("Item")
_arg = functools.partial(tyro.conf.arg, help_behavior_hint="")
Photos = Annotated[tuple[str, ...], tyro.conf.Positional, _arg(metavar="PHOTOS ...")]
MorePhotos = Annotated[tuple[str, ...], _arg(metavar="PHOTOS ...")]
ModelFile = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
OutFile = Annotated[Path | None, _arg(metavar="FILE")]
DataRoot = Annotated[Path | None, _arg(metavar="FOLDER")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with _usable_streams():
        try:
            code = _parsed(given)()
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            _forget_output()  # `novanda list methods | head -1` is no error: the reader has had enough
            return 0
        except Interrupted as error:
            _say(f"novanda: {error}")
            return 130
        except KeyboardInterrupt:
            _say("novanda: stopped")
            return 130
        except NovandaError as error:
            return _failed(str(error))
        except OSError as error:  # a full disk, a folder without permission
            what = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
            return _failed(f"{what or error}; choose another place or mend this one")
        except MemoryError:
            return _failed("not enough memory; give fewer or smaller images (--image-size)")


_ABOUT = "Novelty detection from normal examples only: train, know the false-alarm rate, see why, run it."


def _parsed(given: Sequence[str]) -> Callable[[], int]:
    """What the words ask for, ready to run; InputError where they ask for nothing."""
    if list(given) == ["--version"]:
        return _version
    commands = {
        "inspect": inspect,
        "fit": _fit_command(given) if given[:1] == ["fit"] else fit,
        "score": score,
        "evaluate": evaluate,
        "list": list_names,
        "download": download,
        "bench": bench,
        "doctor": doctor,
    }
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # tyro draws a box of ten lines around every mistake
            parsed: Callable[[], int] = tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(command) for name, command in commands.items()},
                prog="novanda",
                description=_ABOUT,
                args=given,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
            )
        return parsed
    except SystemExit as stop:
        if not stop.code:  # --help was asked for, and given
            return lambda: 0
        command = f"novanda {given[0]}" if given and given[0] in commands else "novanda"
        raise InputError(f"{_in_one_line(said.getvalue())}; see {command} --help") from None


def _deferred(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """The command with its arguments bound but not run, so that what it does is not taken for parsing."""

    @functools.wraps(command)
    def bound(*values: Any, **named: Any) -> Callable[[], int]:
        return functools.partial(command, *values, **named)

    return bound


def _in_one_line(box: str) -> str:
    """What tyro's box says, without its frame, its title, its pointers to help and its private names."""
    rows = [re.sub(r"[│╭╮╰╯─]|^[ |+-]+$", " ", row).strip() for row in box.splitlines()]
    text = " ".join(row for row in rows[1:] if row)
    text = re.split(r"Argument helptext:|For full helptext", text)[0]
    text = re.sub(r"no type matching .* Got errors: - <class '\w+'>: |Error parsing __\S+: ", "", text)
    return text.strip().rstrip(".")


def _version() -> int:
    _print(f"novanda {version('novanda')}")
    return 0


# ---------------------------------------------------------------------------------------------------------------
# fit


def fit(photos: Photos, out: Path) -> int:
    """Learn what normal looks like from a folder of normal images, an array file or a named set."""
    raise AssertionError("replaced by _fit_command, which knows the method's own flags")


def _fit_command(given: Sequence[str]) -> Callable[..., int]:
    """`fit` with the flags of the method that --method names, and with its authors' training as the default."""
    from novanda import methods

    chosen = methods.get(_value_of("--method", given) or DEFAULT_METHOD)
    default, default_training = chosen(), Training().filled(chosen.training)
    names = Literal[tuple(method.name for method in methods.METHODS)]  # type: ignore[valid-type]  # made at run time

    def fit(
        photos: Photos,
        out: Annotated[Path, tyro.conf.arg(metavar="FILE")],
        method: Any = chosen.name,
        false_alarm_rate: float = 0.05,
        calibration_fraction: float = 0.2,
        image_size: Annotated[int | None, _arg(metavar="PIXELS")] = None,
        seed: int = 0,
        strict: bool = False,
        resume: bool = False,
        data_root: DataRoot = None,
        training: Training = default_training,
        settings: Any = default,
    ) -> int:
        """Learn what normal looks like from a folder of normal images, an array file or a named set.

        The flags below --method's own are those of the method it names: `novanda fit --method pca --help`.

        Args:
            photos: folders and image files, one .npy or .npz file, or a named set such as cifar10:car.
            out: where the fitted detector is written.
            method: what learns; `novanda list methods` shows them.
            false_alarm_rate: share of normal images that may be flagged; 0.01 needs 99 held-out normals.
            calibration_fraction: share of the images held out of training to set the threshold; 0 sets none.
            image_size: side to which images are resized; otherwise their own, up to 64, where the method can take it.
            seed: of everything random.
            strict: stop at the first broken file instead of skipping it.
            resume: go on with a run that was stopped, from FILE.checkpoint.
            data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
            training: unless given, as the method's authors do it.
            settings: the method's hyper-parameters.
        """
        from novanda.detector import Detector

        detector = Detector(
            settings,
            training,
            seed=seed,
            false_alarm_rate=false_alarm_rate,
            calibration_fraction=calibration_fraction,
            image_size=image_size,
        )
        return _fit(detector, photos, out, strict=strict, resume=resume, data_root=data_root)

    fit.__annotations__["method"] = names
    fit.__annotations__["settings"] = Annotated[chosen, tyro.conf.arg(name=chosen.name)]
    return fit


def _fit(
    detector: Detector, photos: tuple[str, ...], out: Path, *, strict: bool, resume: bool, data_root: Path | None
) -> int:
    _check_writable(out)
    checkpoint = out.with_name(out.name + ".checkpoint")
    if checkpoint.exists() and not resume:  # said before the images are read, and even if no epochs are to come
        raise InputError(
            f"{checkpoint} keeps an unfinished run; go on with it (--resume), or delete it to start afresh"
        )
    if checkpoint.exists():
        _say(f"going on from {checkpoint}")

    def announce(learned: int, held_out: int) -> None:
        for line in _plan(detector, learned, held_out):
            _say(line)

    try:
        epochs = detector.fitting(
            _data(photos),
            data_root=data_root,
            strict=strict,
            checkpoint=checkpoint,
            resume=resume,
            progress=_on_terminal(),
            begin=announce,
        )
        for epoch in epochs:
            if not _on_terminal() and (epoch.number in (1, epoch.total) or epoch.number % -(-epoch.total // 20) == 0):
                terms = ", ".join(f"{name} {value:.4g}" for name, value in epoch.terms.items())
                _say(f"epoch {epoch.number} of {epoch.total} ({epoch.seconds:.1f} s): {terms}")
        detector.save(out)
    except KeyboardInterrupt:  # outside an epoch, where training itself does not say what is kept
        if not checkpoint.exists():
            raise
        raise Interrupted(f"stopped. What was learned is kept in {checkpoint}; add --resume to go on") from None
    if detector.history_:
        checkpoint.unlink(missing_ok=True)
    if detector.calibration_ is not None:
        _say(
            f"threshold {detector.calibration_.threshold:.6g} on novelty, set by {len(detector.calibration_)} held-out "
            f"normals for a false-alarm rate of {detector.false_alarm_rate:g}"
        )
    _say(f"written to {out}")
    return 0


def _plan(detector: Detector, learned: int, held_out: int) -> Iterator[str]:
    """What `fit` is about to do, for a person to stop it in time."""
    method, training, spec = detector.method_, detector.training_, detector.spec_
    for path, reason in detector.skipped_.items():
        yield f"skipped {path}: {reason}"
    if detector.skipped_:
        yield f"{len(detector.skipped_)} unreadable files skipped"
    if detector.note_:
        yield detector.note_
    size = " x ".join(map(str, (spec.height, spec.width, spec.channels)))
    held = f", {held_out} more held out to set the threshold" if held_out else "; none held out, so no threshold"
    yield f"{method.title}: learning from {learned} samples of {size}{held}"
    # `fit` has filled what was left open.
    assert training.epochs is not None
    assert training.batch_size is not None
    epochs = sum(stage.epochs for stage in method.stages(detector.model_, training.epochs))
    if epochs:
        yield (
            f"training for {epochs} epochs in batches of {min(training.batch_size, learned)} by {training.optimizer} "
            f"at learning rate {training.learning_rate:g} on {detector.device_}"
        )


# ---------------------------------------------------------------------------------------------------------------
# score and evaluate


def score(
    model: ModelFile, photos: Photos, out: OutFile = None, strict: bool = False, data_root: DataRoot = None
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

    _check_writable(out)
    detector = _load(model)
    calibration = detector.calibration_
    source = _open_new(detector, photos, data_root)
    novel = broken = 0
    with _text_output(out) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", "novelty", "p_value", "is_novel", "error"])
        # On a terminal that shows the rows themselves a bar would only be in their way.
        shown = out is not None or not sys.stdout.isatty()
        for path, outcome in _progress(_scored(detector, source), len(source), "scoring", shown):
            if isinstance(outcome, DataError):
                if strict:
                    raise outcome
                broken += 1
                rows.writerow([path, "", "", "", _reason(path, outcome)])
                _say(f"unreadable: {outcome}")
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
    _say(f"{len(source) - broken} scored{decided}" + (f", {broken} unreadable" if broken else ""))
    if out is not None:
        _say(f"written to {out}")
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
        model: a file that `novanda fit` wrote.
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
    _check_writable(out)
    detector = _load(model)
    threshold = detector.calibration().threshold
    given = {"normal": normal, "novel": novel}
    # All are opened before any is scored: a mistake in the second should not cost the time of the first.
    sources = {side: _open_new(detector, photos, data_root) for side, photos in given.items() if photos}
    scores: dict[str, Any] = dict.fromkeys(given, np.empty(0))
    broken: dict[str, str] = {}
    for side, source in sources.items():
        values = []
        for path, outcome in _progress(_scored(detector, source), len(source), f"scoring {side}"):
            if isinstance(outcome, DataError):
                if strict:
                    raise outcome
                broken[path] = _reason(path, outcome)
                _say(f"left out: {outcome}")
            else:
                values.append(outcome)
        scores[side] = np.array(values, dtype=np.float64)
    found = metrics.evaluate(scores["normal"], scores["novel"], threshold)
    for line in found.lines():
        _print(line)
    if out is not None:
        content = {"detector": str(model), "method": detector.method_.name, **found.to_json(), "left_out": broken}
        _write_json(out, content)
    return 2 if broken else 0


def _scored(detector: Detector, source: Source) -> Iterator[tuple[str, float | DataError]]:
    for position, outcome in detector.score_each(source):
        value = outcome if isinstance(outcome, DataError) else next(iter(outcome.values()))
        yield source.identifier(position), value


def _reason(path: str, error: DataError) -> str:
    return str(error).removeprefix(f"{path}: ")


# ---------------------------------------------------------------------------------------------------------------
# inspect, list, download, doctor, bench


def inspect(photos: Photos, against: MorePhotos = (), out: OutFile = None) -> int:
    """Show what would be read: counts, sizes, modes, broken files, duplicates, leaks between train and test.

    Args:
        photos: folders and image files.
        against: other images, such as the test folder, to look for copies of these in.
        out: JSON file to write beside what is printed.
    """
    from novanda.inspection import inspect as look

    _check_writable(out)
    _data(photos)
    found = look(list(photos), list(against) or None, progress=_on_terminal())
    for line in found.lines():
        _print(line)
    if out is not None:
        _write_json(out, found.to_json())
    return 0


def list_names(
    what: Annotated[Literal["methods", "datasets", "studies"], tyro.conf.Positional, _arg()],
) -> int:
    """List the methods, the named data sets or the studies that `bench` runs.

    Args:
        what: whose names to list.
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


def download(name: Annotated[str, tyro.conf.Positional, _arg(metavar="NAME")], data_root: DataRoot = None) -> int:
    """Download a named data set from its publisher, checked against the published checksums.

    Args:
        name: one of `novanda list datasets`.
        data_root: folder to put it in; otherwise the environment's NOVANDA_DATA.
    """
    from novanda import datasets

    data_set = datasets.get(name)
    root = data_root or (Path(os.environ["NOVANDA_DATA"]) if os.environ.get("NOVANDA_DATA") else None)
    if root is None:
        raise DataError("say where to put the data set: --data-root FOLDER, or set NOVANDA_DATA")
    datasets.download(data_set.name, root)
    _say(f"{data_set.name} is in {root}")
    return 0


def bench(
    study: Annotated[str, tyro.conf.Positional, _arg(metavar="STUDY")],
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")],
    jobs: int = 1,
    only: Annotated[str | None, _arg(metavar="PATTERN")] = None,
    dry_run: bool = False,
    data_root: DataRoot = None,
) -> int:
    """Run a study's cells, those not yet in FOLDER/results.jsonl; stop and repeat the command as you like.

    Args:
        study: one of `novanda list studies`.
        out: where the result lines and raw scores go.
        jobs: cells run at a time.
        only: run the cells whose line in --dry-run matches this regular expression.
        dry_run: list the cells and run none.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    from novanda import datasets
    from novanda.benchmark.cells import run_cells
    from novanda.benchmark.studies import STUDIES

    if study not in STUDIES:
        raise InputError(f"unknown study {study!r}; known: {', '.join(STUDIES)}")
    if jobs < 1:
        raise InputError(f"--jobs is how many cells run at a time, at least 1; got {jobs}")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; --out is a folder here, for result lines and raw scores")
    try:
        cells = [cell for cell in STUDIES[study]() if only is None or re.search(only, str(cell))]
    except re.error as error:
        raise InputError(f"--only is no regular expression: {error}") from error
    if not cells:
        raise InputError(f"no cell of {study} matches --only {only!r}; --dry-run without --only shows them all")
    if dry_run:
        for cell in cells:
            _print(str(cell))
        return 0
    try:
        run_cells(cells, out, datasets.find_root(data_root), jobs=jobs, say=_say)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; finished cells are kept in {out}; give the same command to go on") from None
    return 0


def doctor() -> int:
    """Say what this machine offers: versions, device, precision, data sets."""
    from novanda.doctor import report

    for line in report():
        _print(line)
    return 0


# ---------------------------------------------------------------------------------------------------------------
# Parts


def _load(model: Path) -> Detector:
    from novanda.detector import Detector

    return Detector.load(model)


def _data(photos: tuple[str, ...]) -> str | list[str]:
    if not all(photos) or not photos:  # "" would be the folder one is in; it comes from a shell variable left unset
        raise InputError("say what to read: a folder, image files, an array file or a named set")
    return photos[0] if len(photos) == 1 else list(photos)


def _open_new(detector: Detector, photos: tuple[str, ...], data_root: Path | None) -> Source:
    from novanda.sources import open_source

    return open_source(_data(photos), purpose="score", spec=detector.spec_, data_root=data_root)


def _value_of(flag: str, given: Sequence[str]) -> str | None:
    """What a flag is set to on a command line, as `--flag value` or `--flag=value`; the last one counts."""
    value = None
    for place, word in enumerate(given):
        if word == flag and place + 1 < len(given):
            value = given[place + 1]
        elif word.startswith(flag + "="):
            value = word.partition("=")[2]
    return value


def _check_writable(out: Path | None) -> None:
    """Fail before hours of training, not after; and never let a device or a link be replaced by a file."""
    if out is None:
        return
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        kind = os.lstat(out).st_mode
        if stat.S_ISDIR(kind):
            raise InputError(f"{out} is a folder; --out is the file to write")
        if not stat.S_ISREG(kind):
            raise InputError(f"{out} is a link or a device, which would be replaced; --out is a plain file to write")
    folder = next(parent for parent in out.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; choose another --out")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder} is not writable; choose another --out")


@contextlib.contextmanager
def _text_output(out: Path | None) -> Iterator[TextIO]:
    """A text file that appears whole at `out`, or standard output."""
    if out is None:
        yield sys.stdout
        return
    from novanda.checkpoint import written_atomically

    with written_atomically(out) as binary:
        # Names of files may be no UTF-8; they are written as the bytes that they are.
        text = io.TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="")
        yield text
        text.flush()
        text.detach()


def _write_json(out: Path, content: Any) -> None:
    with _text_output(out) as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.write("\n")
    _say(f"written to {out}")


def _on_terminal() -> bool:
    """Whether bars would be seen; elsewhere they leave blank lines."""
    return sys.stderr.isatty()


def _progress(items: Iterable[Item], total: int, what: str, shown: bool = True) -> Iterator[Item]:
    if not (shown and _on_terminal()):
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    # rich would otherwise send what is printed to standard output to the bar's console.
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        yield from bar.track(items, total=total, description=what)


@contextlib.contextmanager
def _usable_streams() -> Iterator[None]:
    """Standard output and error that can be written to: they are None where the caller closed them."""
    with contextlib.ExitStack() as stack:
        if sys.stdout is None:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        if sys.stderr is None:
            stack.enter_context(contextlib.redirect_stderr(stack.enter_context(open(os.devnull, "w"))))
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Names of files may be no UTF-8, and a terminal may know less than Unicode.
            unicode = sys.stdout.encoding.lower() in ("utf-8", "utf8")
            with contextlib.suppress(OSError):  # it flushes, and whoever reads may be gone already
                sys.stdout.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")
        yield


def _failed(message: str) -> int:
    try:
        sys.stdout.flush()  # what was found before the failure
    except OSError:
        _forget_output()
    _say(f"novanda: error: {' '.join(message.splitlines())}")  # one line, whatever a file's name put into it
    return 2


def _forget_output() -> None:
    """Send what is still buffered nowhere: Python would fail on it once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _first_line(documented: Any) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{names[0]} to {names[-1]}"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more; that ends no training
        sys.stderr.write(line + "\n")
