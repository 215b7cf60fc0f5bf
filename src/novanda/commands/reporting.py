"""`novanda report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from novanda.commands.terminal import argument, print_line, say
from novanda.errors import InputError


def report(
    results: Annotated[tuple[Path, ...], tyro.conf.Positional, argument(metavar="RESULTS ...")],
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")],
) -> int:
    """Make a page, pictures and tables of what `novanda bench` measured, published figures beside it.

    FOLDER/index.html needs no network and no other file; pictures/ and tables/ hold its parts as PNG, CSV and
    Markdown. The same result lines give the same files.

    Args:
        results: folders that `novanda bench` wrote to; of a cell in two of them the finished one counts.
        out: where the report goes.
    """
    from novanda.benchmark.report import make_report, write_report

    if not results:
        raise InputError("say what to report on: one or more folders that `novanda bench --out` wrote to")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; --out is a folder here, for the page, its pictures and its tables")
    made = make_report(results)
    for reason in made.left_out:
        say(f"left out: {reason}")
    written = write_report(made, out)
    failed = len(made.failed.rows)
    made_of = f"{len(made.runs)} result lines, {failed} of them failures"
    say(f"{made_of}: {len(made.tables)} tables, {len(made.pictures)} pictures")
    print_line(str(written[-1]))
    return 0
