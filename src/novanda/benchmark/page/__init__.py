"""The report's HTML page: tables that can be sorted, pictures inside, every number linked to its result line.

Nothing is fetched by it: style, script and pictures stand in it, and its own policy forbids all else. Whatever a result
line holds is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from novanda.benchmark.figures import Picture
from novanda.benchmark.groups import Group
from novanda.benchmark.runs import Run, data_set_title
from novanda.benchmark.tables.table import Entry, Table

_PAPERS = ("table1", "table2", "negatives_grid", "table3", "table4", "table5")
_LONG = ("history", "curve")  # lists in a result line that are shown with one entry a line
_FEW = 6  # names in a row of facts


def html_page(
    runs: Sequence[Run],
    tables: Sequence[Table],
    failed: Table,
    pictures: Sequence[Picture],
    left_out: Sequence[str],
) -> str:
    """The page. It reads well without its script, which sorts, filters and unfolds."""
    script, style = _part("report.js"), _part("report.css")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["data_uri"] = _data_uri
    sources = _Sources(runs)
    return environment.from_string(_part("report.html")).render(
        facts=_facts(runs),
        sections=[
            ("The paper's tables", [table for table in tables if table.name in _PAPERS]),
            ("More tables", [table for table in tables if table.name not in _PAPERS]),
        ],
        failed=failed,
        pictures=pictures,
        left_out=left_out,
        sources=sources,
        lines=[(run, _line_title(run), pretty(run.line)) for run in runs],
        script=Markup(script),
        style=Markup(style),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def pretty(line: Mapping[str, Any]) -> str:
    """A result line as JSON that a person can read: one field a line, one epoch a line."""
    fields = []
    for name, value in line.items():
        shown = json.dumps(value)
        if name in _LONG and isinstance(value, list) and value:
            shown = "[\n" + ",\n".join("  " + json.dumps(each) for each in value) + "\n ]"
        elif isinstance(value, dict):
            inner = (f"  {json.dumps(key)}: {json.dumps(each)}" for key, each in value.items())
            shown = "{\n" + ",\n".join(inner) + "\n }"
        fields.append(f" {json.dumps(name)}: {shown}")
    return "{\n" + ",\n".join(fields) + "\n}"


class _Sources:
    """Where links of figures lead: to a result line, or to a list of the lines that a figure is the mean of."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = {run.key: run for run in runs}
        self._lists: dict[tuple[str, ...], str] = {}

    def place(self, keys: tuple[str, ...]) -> str:
        """The anchor for these result lines; remembered, so that `lists` holds it."""
        if len(keys) == 1:
            return f"line-{keys[0]}"
        return self._lists.setdefault(keys, "from-" + hashlib.sha256(" ".join(keys).encode()).hexdigest()[:12])

    def lists(self) -> list[tuple[str, str, list[tuple[str, str]]]]:
        """Anchor, title and lines (key, title) of every list asked for so far."""
        found = []
        for keys, anchor in self._lists.items():
            runs = [self._runs[key] for key in keys]
            titles = ", ".join(dict.fromkeys(Group((run,)).title for run in runs))
            places = ", ".join(dict.fromkeys(data_set_title(run.data_set) for run in runs))
            found.append((anchor, f"{titles} on {places}: {len(runs)} lines", [(r.key, _line_title(r)) for r in runs]))
        return found

    @staticmethod
    def linked(entry: Entry) -> bool:
        """Whether an entry's text is a link: figures and the words in their place, not descriptions."""
        return bool(entry.keys) and entry.kind != "text"


def _line_title(run: Run) -> str:
    """What a folded result line shows."""
    outcome = "failed" if run.error is not None else f"AUROC {run.auroc:.3f}"
    group = Group((run,))
    where = f"{data_set_title(run.data_set)} {run.normal_class}"
    protocol = str(run.cell["protocol"]).replace("_", " ")
    return f"{group.title} on {where}, {protocol}, seed {run.cell['seed']}: {outcome}"


def _facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What the lines have in common, for the head of the page."""
    done = [run for run in runs if run.error is None]
    epochs = [group.epochs for group in (Group((run,)) for run in done) if group.epochs]
    machines = [run.line.get("machine") or {} for run in done]
    finished = sorted(str(run.line["finished"])[:10] for run in runs if run.line.get("finished"))
    failed = len(runs) - len(done)
    facts = {
        "cells finished": str(len(done)) + (f", and {failed} failed" if failed else ""),
        "methods": _listed([Group((run,)).title for run in runs]),
        "data sets": _listed([data_set_title(run.data_set) for run in runs]),
        "seeds": _listed([str(run.cell["seed"]) for run in runs]),
        "budgets": _budgets(epochs),
        "commits": _listed([str(run.line["commit"]) for run in runs if run.line.get("commit")]),
        "machines": _listed([f"{each.get('device')} {each.get('name')}" for each in machines if each]),
        "novanda": _listed([str((run.line.get("versions") or {}).get("novanda", "")) for run in done]),
        "finished": finished[0] + (f" to {finished[-1]}" if finished[-1] != finished[0] else "") if finished else "",
    }
    return [(name, value) for name, value in facts.items() if value]


def _budgets(epochs: Sequence[int]) -> str:
    if not epochs:
        return "no gradient training"
    low, high = min(epochs), max(epochs)
    return f"{low} to {high} epochs" if low < high else f"{high} epoch{'' if high == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    found = list(dict.fromkeys(name for name in names if name))
    return ", ".join(found[:_FEW]) + (f" and {len(found) - _FEW} more" if len(found) > _FEW else "")


def _part(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _data_uri(content: str | bytes, kind: str) -> str:
    raw = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"
