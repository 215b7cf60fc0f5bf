"""The report: one HTML page that needs nothing else, with its pictures and tables as files beside it.

It is made of result lines alone, so that the same lines give the same bytes: no clock, no machine, no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from novanda.benchmark.figures import Picture, every_picture
from novanda.benchmark.page import html_page
from novanda.benchmark.runs import Run, read_runs
from novanda.benchmark.tables.everything import every_table, failures
from novanda.benchmark.tables.table import Table
from novanda.checkpoint import written_atomically

PAGE = "index.html"


@dataclass(frozen=True)
class Report:
    """What a report is made of.

    Attributes:
        runs: the result lines.
        tables: of figures; failed: the table of the cells that failed, which may have no row.
        pictures: in the order of the page.
        left_out: what could not be drawn, each with the reason.
    """

    runs: tuple[Run, ...]
    tables: tuple[Table, ...]
    failed: Table
    pictures: tuple[Picture, ...]
    left_out: tuple[str, ...]


def make_report(folders: Sequence[Path]) -> Report:
    """Read result folders and make all tables and pictures. DataError where there is nothing to make them of."""
    runs = read_runs(folders)
    left_out: list[str] = []
    pictures: dict[str, Picture] = {}
    for picture in every_picture(runs, left_out.append):
        name = picture.name
        while name in pictures:  # two names may differ only in signs that a file's name can not bear
            name += "_"
        pictures[name] = replace(picture, name=name)
    reasons = tuple(dict.fromkeys(left_out))
    return Report(tuple(runs), tuple(every_table(runs)), failures(runs), tuple(pictures.values()), reasons)


def write_report(report: Report, out: Path) -> list[Path]:
    """Write pictures/*.png, tables/*.csv, tables/*.md and index.html below `out`; returns the files, the page last."""
    texts: dict[Path, str] = {}
    for table in (*report.tables, *([report.failed] if report.failed.rows else [])):
        texts[out / "tables" / f"{table.name}.csv"] = table.to_csv()
        texts[out / "tables" / f"{table.name}.md"] = f"# {table.title}\n\n{table.to_markdown(notes=True)}\n"
    texts[out / PAGE] = html_page(report.runs, report.tables, report.failed, report.pictures, report.left_out)
    contents = {out / "pictures" / f"{picture.name}.png": picture.png for picture in report.pictures}
    # JSON can name half a character, which no UTF-8 file can hold.
    contents |= {path: text.encode("utf-8", "backslashreplace") for path, text in texts.items()}
    for path, content in contents.items():
        with written_atomically(path) as file:
            file.write(content)
    return list(contents)
