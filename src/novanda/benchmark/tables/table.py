"""A table as a value: its cells know which result lines they are made of, and whether measured or published."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "measured", "published", "missing", "failed"]
MISSING = "not run"
FAILED = "failed"


@dataclass(frozen=True)
class Entry:
    """One cell of a table.

    Attributes:
        text: what is shown.
        kind: "measured" by novanda, "published" by others, "missing", "failed", or plain "text".
        keys: of the result lines it is made of.
        value: the number to sort by, where it is one.
    """

    text: str
    kind: Kind = "text"
    keys: tuple[str, ...] = ()
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """A table with its notes.

    Attributes:
        name: of its files; letters, digits, "_".
        title: a sentence about what it shows.
        header: one text a column.
        rows: as many entries each as the header has texts.
        notes: sentences below it.
        words: how many columns from the left hold words, which are aligned left.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()
    words: int = 1

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"table {self.name}: {len(self.header)} columns, but a row of {len(row)}")

    @classmethod
    def of_texts(cls, name: str, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
        """A table of words alone, for pages that link no figure to its line."""
        return cls(name, title, tuple(header), tuple(tuple(map(text, row)) for row in rows))

    def to_markdown(self, *, notes: bool = False) -> str:
        """As a Markdown table, its notes as a list below it where they are asked for."""
        aligned = [":--"] * self.words + ["--:"] * (len(self.header) - self.words)
        lines = [_markdown_row(self.header), "|" + "|".join(aligned) + "|"]
        lines += [_markdown_row([entry.text for entry in row]) for row in self.rows]
        if notes and self.notes:
            lines += ["", *(f"- {_markdown_text(note)}" for note in self.notes)]
        return "\n".join(lines)

    def to_csv(self) -> str:
        """As CSV: the header, then the rows; numbers as they are shown."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([_csv_text(text) for text in self.header])
        writer.writerows([_csv_text(entry.text) for entry in row] for row in self.rows)
        return out.getvalue()


def text(content: str) -> Entry:
    """A cell of words."""
    return Entry(content)


def published(value: str | float | None) -> Entry:
    """A figure that others printed, as they printed it; empty where they did not."""
    if value is None:
        return Entry("no figure", "missing")
    return Entry(value if isinstance(value, str) else f"{value:.3f}", "published", value=float(value))


def missing(content: str = MISSING) -> Entry:
    """A cell without a figure, and why."""
    return Entry(content, "missing")


def _markdown_row(texts: Sequence[str]) -> str:
    return "| " + " | ".join(map(_markdown_text, texts)) + " |"


def _markdown_text(content: str) -> str:
    """Text that can neither leave its cell nor become HTML."""
    plain = " ".join(content.split()).replace("&", "&amp;").replace("<", "&lt;").replace("\\", "\\\\")
    return plain.replace("|", "\\|")


def _csv_text(content: str) -> str:
    """Spreadsheets run what begins with one of these signs; an apostrophe makes it text."""
    return "'" + content if content[:1] in tuple("=+-@\t\r") else content
