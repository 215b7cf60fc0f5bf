"""`novanda bench table6`: the study whose cells are clips of two data sets and whose figure is HTER."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from novanda.commands.terminal import print_line, say
from novanda.errors import InputError, Interrupted

if TYPE_CHECKING:
    from novanda.benchmark.face_cells import FaceCell

STUDY = "table6"


@dataclass(frozen=True)
class Asked:
    """What of `novanda bench`'s flags concerns this study; see there."""

    out: Path
    systems: Sequence[str]
    seeds: Sequence[int]
    budget: Literal["quick", "authors"]
    epochs: int | None
    only: str | None
    dry_run: bool
    network: str | None
    weights: Path | None
    data_root: Path | None


def bench_faces(asked: Asked) -> int:
    """Run the cells, write table6.csv and table6.md of all lines that are there, and print the table."""
    from novanda import datasets
    from novanda.benchmark.face_cells import LINES, run_face_cells
    from novanda.benchmark.results import read_results
    from novanda.benchmark.tables.faces import table6 as made
    from novanda.checkpoint import written_atomically

    cells = _chosen(asked)
    if asked.dry_run:
        return _list(cells, asked.out)
    root = datasets.find_root(asked.data_root)
    try:
        lines = run_face_cells(cells, asked.out, root, say=say)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; finished cells are kept in {asked.out}; give the same command to go on") from None
    table = made(list(read_results(asked.out / LINES).values()))
    markdown = table.to_markdown(notes=True)
    for ending, content in (("csv", table.to_csv()), ("md", f"# {table.title}\n\n{markdown}\n")):
        with written_atomically(asked.out / f"{STUDY}.{ending}") as file:
            file.write(content.encode())
    print_line(markdown)
    failed = sum("error" in line for line in lines)
    if failed:
        raise InputError(f"{failed} of {len(cells)} cells failed; their lines in {asked.out} say why")
    return 0


def _chosen(asked: Asked) -> list[FaceCell]:
    from novanda.benchmark.face_cells import table6, with_epochs
    from novanda.methods import FrozenFeatures

    if asked.weights is not None and asked.network is None:
        raise InputError("--weights are a network's; name it by --network, such as residual or timm:resnet18")
    network = None
    if asked.network is not None:
        if asked.weights is not None and not asked.weights.is_file():
            raise InputError(f"{asked.weights} is no file; --weights is a .safetensors file for --network")
        network = FrozenFeatures(network=asked.network, weights="" if asked.weights is None else str(asked.weights))
    cells = table6(asked.seeds or (0,), asked.budget, network)
    known = list(dict.fromkeys(cell.system.name for cell in cells))
    names = [_name_of(name) for name in asked.systems]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"no row of {STUDY} is made by {unknown[0]!r}; there are: {', '.join(known)}")
    cells = [cell for cell in cells if not names or cell.system.name in names]
    try:
        cells = [cell for cell in cells if asked.only is None or re.search(asked.only, str(cell))]
    except re.error as error:
        raise InputError(f"--only is no regular expression: {error}") from error
    if not cells:
        raise InputError("no cell matches; --dry-run without --only and --methods shows them all")
    return cells if asked.epochs is None else with_epochs(cells, asked.epochs)


def _name_of(name: str) -> str:
    """A method's name by its alias, such as knn; other names as they are."""
    from novanda.methods import METHODS

    return next((method.name for method in METHODS if name in method.aliases), name)


def _list(cells: Sequence[FaceCell], out: Path) -> int:
    from novanda.benchmark.face_cells import LINES
    from novanda.benchmark.results import read_results

    done = {key for key, line in read_results(out / LINES).items() if "error" not in line}
    for cell in cells:
        print_line(f"{cell}{' done' if cell.key in done else ''}")
    return 0
