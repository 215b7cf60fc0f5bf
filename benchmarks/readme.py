"""Write the README's tables and the loss curves from the committed result lines: `make readme`.

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`. With --check nothing is written and the exit code says
whether the README is what the result lines say.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from novanda import pictures
from novanda.benchmark import tables
from novanda.benchmark.results import read_results
from novanda.benchmark.studies import STUDIES
from novanda.training import Epoch

ROOT = Path(__file__).resolve().parent.parent
TABLES = {  # name in the page: what makes it, and the study whose cells it shows
    "paper": (tables.paper_table, "core"),
    "rotnet": (tables.rotnet_table, "core"),
    "floors": (tables.floors_table, "core"),
    "coil": (tables.coil_table, "core"),
    "false alarms": (tables.false_alarm_table, "core"),
    "norms": (tables.norms_table, "norms"),
}
LATEST = {  # a file whose last line is shown: name in the page, and what makes it
    "speed.jsonl": {"speed": tables.speed_table, "speed facts": tables.speed_facts},
    "service.jsonl": {"service": tables.service_table, "service facts": tables.service_facts},
}


def filled(text: str) -> str:
    """The page with every table made anew."""
    results = read_results(ROOT / "benchmarks/core/results.jsonl")
    made = {name: table(STUDIES[study](), results) for name, (table, study) in TABLES.items()}
    for file, shown in LATEST.items():
        if (ROOT / "benchmarks" / file).exists():
            line = json.loads((ROOT / "benchmarks" / file).read_text().splitlines()[-1])
            made |= {name: table(line) for name, table in shown.items()}
    for name, content in made.items():
        before, after = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        pattern = re.compile(f"({re.escape(before)}).*?({re.escape(after)})", re.DOTALL)
        text = pattern.sub(lambda found, content=content: f"{found[1]}{content}\n{found[2]}", text)  # type: ignore[misc]
    return text


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
            histories[tables.class_name(cell)] = [
                Epoch(number, len(lines), "train", each, 0.0) for number, each in enumerate(terms, 1)
            ]
    if histories:
        pictures.save(pictures.loss_curves(histories), ROOT / "docs/pictures/nda_losses.png")


def main() -> int:
    """Write, or with --check compare."""
    stale = []
    for page in (ROOT / "README.md", *(ROOT / f"docs/{name}.md" for name in ("results", "paper", "service"))):
        text = page.read_text()
        if filled(text) != text:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(filled(text))
    if "--check" in sys.argv:
        sys.stdout.write(f"stale: {', '.join(stale)}; run `make readme`\n" if stale else "up to date\n")
        return 1 if stale else 0
    draw_losses()
    return 0


if __name__ == "__main__":
    sys.exit(main())
