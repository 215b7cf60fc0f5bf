"""Tables made of result lines, published figures beside measured ones. Nothing is typed in: every figure is read."""

from __future__ import annotations

from collections.abc import Sequence

from novanda.benchmark.runs import Run
from novanda.benchmark.tables.ablations import negatives_grid, table1, table2
from novanda.benchmark.tables.comparison import class_tables, table3, table4
from novanda.benchmark.tables.everything import all_runs, all_scores, failures, false_alarms
from novanda.benchmark.tables.table import Entry, Table

__all__ = ["Entry", "Table", "every_table", "failures", "negatives_grid", "table1", "table2", "table3", "table4"]


def every_table(runs: Sequence[Run]) -> list[Table]:
    """The tables of a report: the paper's always, for what was not run is a finding; others where they have a row."""
    more = (false_alarms(runs), all_scores(runs), all_runs(runs))
    papers = [table1(runs), table2(runs), negatives_grid(runs), table3(runs), table4(runs)]
    return [*papers, *class_tables(runs), *(table for table in more if table.rows)]
