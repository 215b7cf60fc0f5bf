"""The `novanda` program: it parses the words it is given and runs one of the `commands`.

Exit codes: 0 all is well; 2 something given is wrong (one line on standard error says what); 130 stopped by Ctrl-C.
Results go to files or standard output, everything said about them to standard error.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import tyro

from novanda.commands.benching import bench
from novanda.commands.calibrating import calibrate, drift
from novanda.commands.explaining import explain
from novanda.commands.exporting import export
from novanda.commands.figures import figure5
from novanda.commands.fitting import fit, fit_command
from novanda.commands.looking import doctor, download, inspect, list_names
from novanda.commands.mixing import mix
from novanda.commands.reporting import report
from novanda.commands.scoring import evaluate, score
from novanda.commands.serving import serve
from novanda.commands.terminal import failed, forget_output, print_line, say, usable_streams
from novanda.errors import InputError, Interrupted, NovandaError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with usable_streams():
        try:
            code = _parsed(given)()
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            forget_output()  # `novanda list methods | head -1` is no error: the reader has had enough
            return 0
        except Interrupted as error:
            say(f"novanda: {error}")
            return 130
        except KeyboardInterrupt:
            say("novanda: stopped")
            return 130
        except NovandaError as error:
            return failed(str(error))
        except OSError as error:  # a full disk, a folder without permission
            what = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
            return failed(f"{what or error}; choose another place or mend this one")
        except ModuleNotFoundError as error:
            if (error.name or "novanda").partition(".")[0] == "novanda":
                raise
            return failed(f"this needs the package {error.name}, which is not installed; pip install it")
        except MemoryError:
            return failed("not enough memory; give fewer or smaller images (--image-size)")


_ABOUT = "Novelty detection from normal examples only: train, know the false-alarm rate, see why, run it."


def _parsed(given: Sequence[str]) -> Callable[[], int]:
    """What the words ask for, ready to run; InputError where they ask for nothing."""
    if list(given) == ["--version"]:
        return _version
    commands = {
        "inspect": inspect,
        "fit": fit_command(given) if given[:1] == ["fit"] else fit,
        "score": score,
        "evaluate": evaluate,
        "serve": serve,
        "explain": explain,
        "calibrate": calibrate,
        "drift": drift,
        "export": export,
        "mix": mix,
        "figure5": figure5,
        "list": list_names,
        "download": download,
        "bench": bench,
        "report": report,
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
    print_line(f"novanda {version('novanda')}")
    return 0
