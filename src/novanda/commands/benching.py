"""`novanda bench`."""

from __future__ import annotations

import contextlib
import re
import runpy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from novanda.commands import benching_faces
from novanda.commands.terminal import DataRoot, argument, on_terminal, print_line, say
from novanda.errors import DataError, InputError, Interrupted

if TYPE_CHECKING:
    from novanda.benchmark.cells import Cell

Names = Annotated[str | None, argument(metavar="NAME,NAME")]
Budget = Literal["quick", "authors"]


def bench(
    study: Annotated[str | None, tyro.conf.Positional, argument(metavar="STUDY")] = None,
    out: Annotated[Path, argument(metavar="FOLDER")] = Path("results"),
    methods: Names = None,
    classes: Names = None,
    data_sets: Names = None,
    seeds: Annotated[str | None, argument(metavar="N,N")] = None,
    budget: Annotated[Budget | None, argument()] = None,
    epochs: Annotated[int | None, argument(metavar="N")] = None,
    spec: Annotated[Path | None, argument(metavar="FILE.py")] = None,
    only: Annotated[str | None, argument(metavar="PATTERN")] = None,
    reuse: Annotated[str | None, argument(metavar="FOLDER,FOLDER")] = None,
    dry_run: bool = False,
    jobs: int = 1,
    engine: Literal["joblib", "ray"] = "joblib",
    address: Annotated[str | None, argument(metavar="ADDRESS")] = None,
    network: Annotated[str | None, argument(metavar="NAME")] = None,
    weights: Annotated[Path | None, argument(metavar="FILE")] = None,
    data_root: DataRoot = None,
) -> int:
    """Run a study's cells, those not yet in FOLDER/results.jsonl; stop and repeat the command as you like.

    Args:
        study: one of `novanda list studies`: the paper's tables and figures, and more.
        out: where the result lines and raw scores go.
        methods: only these, such as nda,rotnet,knn.
        classes: only these as the normal class, such as car,plane.
        data_sets: only these.
        seeds: run each cell with each of these; otherwise the study's own, mostly 0.
        budget: "quick", unless given: minutes a cell on one core; "authors": as each method's authors train it.
        epochs: passes over the normals in place of the budget's.
        spec: in place of a study: a Python file of yours that sets `cells` to a list of
            novanda.benchmark.cells.Cell. It is run, so it must be your own.
        only: run the cells whose line in --dry-run matches this regular expression.
        reuse: other results' folders: a line of theirs for one of these cells is copied, and the cell not run again.
        dry_run: list the cells, say how long they may take, and run none.
        jobs: cells run at a time.
        engine: "joblib": processes of this machine; "ray": tasks on a Ray cluster.
        address: of the Ray cluster, such as auto; otherwise one is started on this machine.
        network: of table6, whose features the row CNN takes: residual, or timm:NAME; otherwise a small net is trained.
        weights: of table6, a .safetensors file for that network; otherwise its weights are random.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    from novanda import datasets
    from novanda.benchmark.engines import run_cells
    from novanda.benchmark.results import take_over
    from novanda.benchmark.studies import chosen

    if jobs < 1:
        raise InputError(f"--jobs is how many cells run at a time, at least 1; got {jobs}")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; --out is a folder here, for result lines and raw scores")
    if study == benching_faces.STUDY and spec is None:
        if classes or data_sets or jobs > 1 or engine != "joblib" or address or reuse:
            raise InputError(
                "table6 has two data sets and no classes, its own lines, and runs one cell at a time, in this process"
            )
        return benching_faces.bench_faces(
            benching_faces.Asked(
                out,
                _split(methods),
                _numbers(seeds),
                budget or "quick",
                epochs,
                only,
                dry_run,
                network,
                weights,
                data_root,
            )
        )
    if network is not None or weights is not None:
        raise InputError("--network and --weights are of the row CNN of table6; other studies have no such row")
    asked = _cells(study, spec, _numbers(seeds), budget)
    cells = chosen(
        asked, method_names=_split(methods), class_names=_split(classes), data_sets=_split(data_sets), epochs=epochs
    )
    try:
        cells = [cell for cell in cells if only is None or re.search(only, str(cell))]
    except re.error as error:
        raise InputError(f"--only is no regular expression: {error}") from error
    if not cells:
        raise InputError("no cell matches; --dry-run without --only, --methods and --classes shows them all")
    if dry_run:
        return _list(cells, out, jobs)
    if reuse is not None:
        taken = take_over({cell.key for cell in cells}, map(Path, _split(reuse)), out)
        say(f"{taken} finished {'cell' if taken == 1 else 'cells'} copied from {reuse}")
    root = datasets.find_root(data_root)
    try:
        with _live_table(cells) as watch:
            results = run_cells(cells, out, root, jobs=jobs, engine=engine, address=address, say=say, watch=watch)
    except (KeyboardInterrupt, Interrupted):  # with one job, training itself says what it kept
        raise Interrupted(f"stopped; finished cells are kept in {out}; give the same command to go on") from None
    failed = sum("error" in result for result in results)
    if failed:
        raise InputError(f"{failed} of {len(cells)} cells failed; their lines in {out / 'results.jsonl'} say why")
    return 0


def _list(cells: Sequence[Cell], out: Path, jobs: int) -> int:
    """The cells, which of them are done, and how long the others may take."""
    from novanda.benchmark.estimates import estimate
    from novanda.benchmark.results import read_results

    done = {key for key, line in read_results(out / "results.jsonl").items() if "error" not in line}
    for cell in cells:
        print_line(f"{cell}{' done' if cell.key in done else ''}")
    # What ran for another study tells as much: its folder lies beside this one.
    lines = []
    for path in out.absolute().parent.glob("*/results.jsonl"):
        with contextlib.suppress(DataError):  # somebody else's file of that name
            lines += [line for line in read_results(path).values() if {"cell", "sizes", "fit_seconds"} <= line.keys()]
    say(estimate([cell for cell in cells if cell.key not in done], lines, jobs))
    return 0


def _cells(study: str | None, spec: Path | None, seeds: Sequence[int], budget: Budget | None) -> list[Cell]:
    from novanda.benchmark.cells import Cell
    from novanda.benchmark.studies import STUDIES

    if (study is None) == (spec is None):
        raise InputError("name a study (`novanda list studies`), or give --spec FILE.py, and not both")
    if spec is None:
        if study not in STUDIES:
            raise InputError(f"unknown study {study!r}; known: {', '.join([*STUDIES, benching_faces.STUDY])}")
        chosen = budget or "quick"
        return STUDIES[study](seeds, chosen) if seeds else STUDIES[study](budget=chosen)
    if budget is not None:
        raise InputError("--budget is a study's; the cells of --spec name their own training")
    if not spec.is_file():
        raise InputError(f"{spec} is no file; --spec is a Python file that sets `cells`")
    try:
        found = runpy.run_path(str(spec)).get("cells")
    except (Exception, SystemExit) as error:  # it is the user's own program, and may fail in any way
        raise InputError(f"{spec} fails: {error!r}") from error
    if not isinstance(found, list | tuple) or not all(isinstance(cell, Cell) for cell in found):
        raise InputError(f"{spec} must set `cells` to a list of novanda.benchmark.cells.Cell")
    return [replace(cell, seed=seed) for cell in found for seed in seeds] if seeds else list(found)


def _split(names: str | None) -> list[str]:
    return [] if names is None else [name.strip() for name in names.split(",") if name.strip()]


def _numbers(words: str | None) -> list[int]:
    try:
        return [int(word) for word in _split(words)]
    except ValueError:
        raise InputError(f"--seeds are whole numbers with commas between them, such as 0,1,2; got {words!r}") from None


@contextlib.contextmanager
def _live_table(cells: Sequence[Cell]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """On a terminal a table of what is done, under the lines that are said; elsewhere those lines alone."""
    if not on_terminal():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from novanda.benchmark.cells import method_label

    rows: dict[str, list[str]] = {}
    for cell in cells:
        rows.setdefault(method_label(cell.method), []).append(cell.key)
    found: dict[str, float | None] = {}

    def drawn() -> Table:
        table = Table("method", "done", "AUROC, mean of what is done", title=f"{len(found)} of {len(cells)} cells")
        for name, keys in rows.items():
            done = [found[key] for key in keys if key in found]
            values = [value for value in done if value is not None]
            mean = f"{sum(values) / len(values):.3f}" if values else ""
            table.add_row(name, f"{len(done)} of {len(keys)}", mean)
        return table

    with Live(drawn(), console=Console(stderr=True), redirect_stdout=False) as live:

        def watch(result: dict[str, Any]) -> None:
            found[result["key"]] = None if "error" in result else result["auroc"][result["score"]]
            live.update(drawn())

        yield watch
