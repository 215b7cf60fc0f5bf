"""What all commands share: the words they say, the files they write, the folders and detectors they are given."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypeVar

import tyro

from novanda.errors import InputError
from novanda.recordings import Form, VideoForm

if TYPE_CHECKING:
    from novanda.detector import Detector
    from novanda.exported import ExportedDetector
    from novanda.samples import Source

DEFAULT_METHOD = "novanda"
Item = TypeVar("Item")
argument = functools.partial(tyro.conf.arg, help_behavior_hint="")
Photos = Annotated[tuple[str, ...], tyro.conf.Positional, argument(metavar="PHOTOS ...")]
MorePhotos = Annotated[tuple[str, ...], argument(metavar="PHOTOS ...")]
ModelFile = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
OutFile = Annotated[Path | None, argument(metavar="FILE")]
SourceName = Annotated[str | None, argument(metavar="NAME")]
DataRoot = Annotated[Path | None, argument(metavar="FOLDER")]


def load_detector(model: Path, device: str = "auto") -> Detector:
    """The detector in a file that `fit` wrote, or the error that says why there is none."""
    from novanda.detector import Detector

    return Detector.load(model, device)


def load_scoring(model: Path) -> Detector | ExportedDetector:
    """What scores in a file that `fit` or `export` wrote, told apart by what they hold."""
    from novanda.exported import ExportedDetector, is_exported

    # The library that reads the other kind is not even imported: exported files are scored where there is no torch.
    return ExportedDetector.load(model) if is_exported(model) else load_detector(model)


def data_named(photos: tuple[str, ...]) -> str | list[str]:
    """What the words on the command line name, as `open_source` takes it."""
    if not all(photos) or not photos:  # "" would be the folder one is in; it comes from a shell variable left unset
        raise InputError("say what to read: a folder, image files, an array file or a named set")
    return photos[0] if len(photos) == 1 else list(photos)


def open_new(
    detector: Detector | ExportedDetector,
    photos: tuple[str, ...],
    data_root: Path | None,
    flow_cache: Path | None = None,
) -> Source:
    """Samples to be scored by this detector; flows of video are kept in `flow_cache`."""
    from novanda.sources import open_source

    spec, data = detector.spec_, data_named(photos)
    check_flow_cache(flow_cache, spec.recording)
    return open_source(
        data, purpose="score", spec=spec, data_root=data_root, flow_cache=flow_cache, progress=on_terminal()
    )


def check_flow_cache(folder: Path | None, form: Form | None) -> None:
    """Fail before anything is decoded where a cache makes no sense or can not be one."""
    if folder is None:
        return
    if not isinstance(form, VideoForm):
        raise InputError("--flow-cache keeps the flow of video; this is none. Leave it out")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--flow-cache is a folder; got the file {folder}")


def value_of(flag: str, given: Sequence[str]) -> str | None:
    """What a flag is set to on a command line, as `--flag value` or `--flag=value`; the last one counts."""
    value = None
    for place, word in enumerate(given):
        if word == flag and place + 1 < len(given):
            value = given[place + 1]
        elif word.startswith(flag + "="):
            value = word.partition("=")[2]
    return value


def check_writable(out: Path | None) -> None:
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
def text_output(out: Path | None) -> Iterator[TextIO]:
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


def write_json(out: Path, content: Any) -> None:
    """A JSON file that appears whole at `out`."""
    with text_output(out) as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.write("\n")
    say(f"written to {out}")


def on_terminal() -> bool:
    """Whether bars would be seen; elsewhere they leave blank lines."""
    return sys.stderr.isatty()


def progress_over(items: Iterable[Item], total: int, what: str, shown: bool = True) -> Iterator[Item]:
    """The items, with a bar where it would be seen."""
    if not (shown and on_terminal()):
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    # rich would otherwise send what is printed to standard output to the bar's console.
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        yield from bar.track(items, total=total, description=what)


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
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


def failed(message: str) -> int:
    """Say in one line what was wrong; returns the exit code for it."""
    try:
        sys.stdout.flush()  # what was found before the failure
    except OSError:
        forget_output()
    say(f"novanda: error: {' '.join(message.splitlines())}")  # one line, whatever a file's name put into it
    return 2


def forget_output() -> None:
    """Send what is still buffered nowhere: Python would fail on it once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def first_line(documented: Any) -> str:
    """The first line of what something says of itself."""
    return (documented.__doc__ or "").strip().partition("\n")[0]


def shown_names(names: Sequence[str]) -> str:
    """Names in a row, or from the first to the last where they are many."""
    return ", ".join(names) if len(names) <= 12 else f"{names[0]} to {names[-1]}"


def print_line(line: str) -> None:
    """One line of results, to standard output."""
    sys.stdout.write(line + "\n")


def say(line: str) -> None:
    """One line about what is going on, to standard error."""
    with contextlib.suppress(OSError):  # nobody listens any more; that ends no training
        sys.stderr.write(line + "\n")
