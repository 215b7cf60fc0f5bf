"""`novanda bench`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import tyro

from novanda.commands.terminal import DataRoot, argument, print_line, say
from novanda.errors import InputError, Interrupted


def bench(
    study: Annotated[str, tyro.conf.Positional, argument(metavar="STUDY")],
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")],
    jobs: int = 1,
    only: Annotated[str | None, argument(metavar="PATTERN")] = None,
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
            print_line(str(cell))
        return 0
    try:
        run_cells(cells, out, datasets.find_root(data_root), jobs=jobs, say=say)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; finished cells are kept in {out}; give the same command to go on") from None
    return 0
