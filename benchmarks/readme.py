"""Write the tables of the README and of docs/, and the loss curves, from the committed result lines: `make readme`.

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`. With --check nothing is written and the exit code says
whether the pages are what the result lines say.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from novanda import pictures
from novanda.benchmark import face_cells
from novanda.benchmark.figures import training_pictures
from novanda.benchmark.results import read_results
from novanda.benchmark.runs import read_runs
from novanda.benchmark.studies import STUDIES
from novanda.benchmark.tables import study
from novanda.benchmark.tables.ablations import negatives_grid, table1, table2
from novanda.benchmark.tables.comparison import pixel_statistics, table3, table4
from novanda.benchmark.tables.convergence import figure6
from novanda.benchmark.tables.faces import table6
from novanda.benchmark.tables.flagship import (
    alarms_table,
    flagship_table,
    parts_table,
    sets_table,
    some_classes_table,
)
from novanda.benchmark.tables.frontier import frontier_table, marks
from novanda.benchmark.tables.methods import method_page, methods_index
from novanda.benchmark.tables.service import service_facts, service_table
from novanda.benchmark.tables.sound_speed import sound_facts, sound_table
from novanda.benchmark.tables.sounds import esc10, esc10_means, table5
from novanda.benchmark.tables.speed import pieces_table, speed_facts, speed_table
from novanda.benchmark.tables.video import video_facts, video_table
from novanda.checkpoint import written_atomically
from novanda.methods import METHODS
from novanda.training import Epoch

ROOT = Path(__file__).resolve().parent.parent
TABLES = {  # name in the page: what makes it, and the study whose cells it shows
    "paper": (study.paper_table, "core"),
    "rotnet": (study.rotnet_table, "core"),
    "floors": (study.floors_table, "core"),
    "coil": (study.coil_table, "core"),
    "false alarms": (study.false_alarm_table, "core"),
    "norms": (study.norms_table, "norms"),
}
PAPER = {  # of every folder's lines
    each.__name__: each
    for each in (table1, table2, negatives_grid, table3, table4, table5, figure6, esc10, esc10_means)
}
PAGES = ("results", "paper", "benchmark", "service", "flagship", "sound", "video")
LATEST = {  # a file whose last line is shown, and what makes its table and its facts
    "speed": (speed_table, speed_facts),
    "service": (service_table, service_facts),
    "sound": (sound_table, sound_facts),
    "video": (video_table, video_facts),
}

INDEX = """<!-- Made by `make readme` from the methods' docstrings and the committed result lines. -->
# Methods

The systems of the paper's Tables 3 to 5, built through one contract and one training loop, and our own (AE-EN has no
known source; of Table 6's face systems [the benchmark](../benchmark.md) names those that are not built). A figure is
the mean AUROC over CIFAR-10's ten classes at the longest training that was run on all of them; which that is, and
what the paper prints, stands on the method's own page. `novanda fit --method NAME` takes any of them.
"""

COMPARED = """
## The same classes for all

Three classes of photos, two digits, a garment; every method within 15 minutes of one core a cell, seed 0. 93 of
CIFAR-10's images are declared stand-ins. `novanda bench compared` runs the cells again.
"""


def latest(name: str) -> Mapping[str, Any] | None:
    """The last line of a file of measurements; None: there is none yet."""
    file = ROOT / f"benchmarks/{name}.jsonl"
    if not file.exists():
        return None
    found: dict[str, Any] = json.loads(file.read_text().splitlines()[-1])
    return found


def filled(text: str) -> str:
    """The page with every table made anew."""
    results = read_results(ROOT / "benchmarks/core/results.jsonl")
    made = {name: table(STUDIES[cells](), results).to_markdown() for name, (table, cells) in TABLES.items()}
    runs = read_runs(sorted(path.parent for path in ROOT.glob("benchmarks/*/results.jsonl")))
    made |= {name: table(runs).to_markdown(notes=True) for name, table in PAPER.items()}
    made |= {
        "flagship": flagship_table(runs).to_markdown(notes=True),
        "some classes": some_classes_table(runs).to_markdown(),
        "parts": parts_table(runs).to_markdown(notes=True),
        "sets": sets_table(runs).to_markdown(),
        "alarms": alarms_table(runs).to_markdown(),
        "pixel statistics": pixel_statistics(runs),
        "frontier": frontier_table(runs).to_markdown(notes=True),
    }
    faces = read_results(ROOT / "benchmarks/table6" / face_cells.LINES)
    made["table6"] = table6(list(faces.values())).to_markdown(notes=True)
    for name, (table_of, facts_of) in LATEST.items():
        if line := latest(name):
            made |= {name: table_of(line).to_markdown(), f"{name} facts": facts_of(line)}
    if line := latest("speed"):
        made["pieces"] = pieces_table(line).to_markdown(notes=True)
    for name, content in made.items():
        before, after = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        pattern = re.compile(f"({re.escape(before)}).*?({re.escape(after)})", re.DOTALL)
        text = pattern.sub(lambda found, content=content: f"{found[1]}{content}\n{found[2]}", text)  # type: ignore[misc]
    return text


def method_pages() -> dict[Path, str]:
    """docs/methods: the list of all methods and a page of each, whole."""
    runs = read_runs(sorted(path.parent for path in ROOT.glob("benchmarks/*/results.jsonl")))
    line = latest("speed")
    folder = ROOT / "docs/methods"
    pages = {folder / f"{kind.name}.md": method_page(kind, runs, line) for kind in METHODS}
    index = methods_index(runs, line).to_markdown(notes=True)
    compared = study.compared_table(STUDIES["compared"](), read_results(ROOT / "benchmarks/compared/results.jsonl"))
    return pages | {folder / "index.md": f"{INDEX}\n{index}\n{COMPARED}\n{compared.to_markdown()}\n"}


def draw_losses() -> None:
    """docs/pictures/nda_losses.png: the terms of Eq. 8 over the epochs of every finished NDA cell of the study."""
    results = read_results(ROOT / "benchmarks/core/results.jsonl")
    histories = {}
    for cell in STUDIES["core"]():
        if cell.method.name == "nda" and cell.protocol == "one_vs_rest" and cell.key in results:
            if cell.calibration_fraction:
                continue
            lines = results[cell.key]["history"]
            terms = ({name: value for name, value in line.items() if name != "seconds"} for line in lines)
            histories[study.class_name(cell)] = [
                Epoch(number, len(lines), "train", each, 0.0) for number, each in enumerate(terms, 1)
            ]
    if histories:
        pictures.save(pictures.loss_curves(histories), ROOT / "docs/pictures/nda_losses.png")


def draw_frontier() -> None:
    """docs/pictures/frontier.png: mean AUROC on CIFAR-10 against core-minutes of training."""
    runs = read_runs(sorted(path.parent for path in ROOT.glob("benchmarks/*/results.jsonl")))
    found = [mark for _, mark in marks(runs, "cifar10")]
    if found:
        pictures.save(pictures.frontier(found), ROOT / "docs/pictures/frontier.png")


def draw_figure6() -> None:
    """docs/pictures/figure6.png: the curves of the cells of Figure 6 that have finished."""
    cells = {cell.key for cell in STUDIES["figure6"]()}
    found = [run for run in read_runs([ROOT / "benchmarks/figures"]) if run.key in cells]
    for picture in training_pictures(found, left_out=lambda _: None):
        with written_atomically(ROOT / "docs/pictures/figure6.png") as file:
            file.write(picture.png)


def main() -> int:
    """Write, or with --check compare."""
    stale = []
    pages = {page: filled(page.read_text()) for page in (ROOT / "README.md", *(ROOT / f"docs/{n}.md" for n in PAGES))}
    for page, wanted in (pages | method_pages()).items():
        if not page.exists() or page.read_text() != wanted:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.parent.mkdir(exist_ok=True)
                page.write_text(wanted)
    if "--check" in sys.argv:
        sys.stdout.write(f"stale: {', '.join(stale)}; run `make readme`\n" if stale else "up to date\n")
        return 1 if stale else 0
    draw_losses()
    draw_frontier()
    draw_figure6()
    return 0


if __name__ == "__main__":
    sys.exit(main())
