"""Table 5 and its counterpart on ESC-10, of made-up lines: figures read back, published ones against the file."""

from __future__ import annotations

import statistics

import pytest
from made_up import run

from novanda.benchmark import published
from novanda.benchmark.runs import Run
from novanda.benchmark.tables.everything import every_table
from novanda.benchmark.tables.sounds import esc10, esc10_means, table5
from novanda.benchmark.tables.table import Table
from novanda.datasets.dcase2017 import SCENES
from novanda.datasets.esc10 import ESC10
from novanda.methods import NDA, PCA, WaveNet


def texts(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.header, [entry.text for entry in row], strict=True)) for row in table.rows]


def heard(method: PCA | NDA | WaveNet, scene: str, segment: float, data_set: str = "dcase2017") -> Run:
    names = ["segment", "file", *(f"{level} at {ratio} dB" for ratio in (-6, 0, 6) for level in ("segment", "file"))]
    figures = {name: segment + 0.01 * place for place, name in enumerate(names)}
    return run(method, scene, figures, data_set=data_set, protocol="rare_sounds")


def test_published_figures_of_table_5_stand_by_scene() -> None:
    rows = texts(table5([]))
    for line in published.table("table5_dcase_auc"):
        scene = "cafe/restaurant" if line["scenario"] == "restaurant" else line["scenario"]
        assert scene in SCENES
        for name, figure in line.items():
            if name != "scenario":
                (row,) = [row for row in rows if (row["method"], row["figures"]) == (name, "published")]
                assert row[scene] == figure
    ours = [float(line["Ours"]) for line in published.table("table5_dcase_auc")]
    (row,) = [row for row in rows if (row["method"], row["figures"]) == ("Ours", "published")]
    assert row["mean"] == f"{statistics.fmean(ours):.3f}"
    assert [row["method"] for row in rows if row["figures"] == "not run"] == ["Geometric", "WaveNet", "DualGAN", "Ours"]
    assert [row["method"] for row in rows if row["bus"] == "takes no sound"] == ["RotNet"], "turns are no sounds"


def test_measured_rows_stand_below_the_published_one_by_segment_and_by_file() -> None:
    runs = [heard(NDA(), scene, 0.5 + 0.02 * place) for place, scene in enumerate(SCENES)] + [heard(PCA(), "bus", 0.7)]
    rows = texts(table5(runs))
    place = next(i for i, row in enumerate(rows) if (row["method"], row["figures"]) == ("Ours", "published"))
    segment, file = rows[place + 1 : place + 3]
    assert (segment["figures"], file["figures"]) == ("measured, by segment", "measured, by file")
    assert (segment["bus"], file["bus"]) == ("0.520", "0.530")
    assert segment["mean"] == f"{statistics.fmean(0.5 + 0.02 * i for i in range(15)):.3f}"
    others = [row for row in rows if row["method"] == PCA.title]
    assert [row["bus"] for row in others] == ["0.700", "0.710"]
    assert {row["mean"] for row in others} == {"1 of 15 classes"}


def test_esc10_has_a_row_for_each_background_ratio_and_level() -> None:
    runs = [heard(PCA(), scene, 0.6 + 0.01 * place, "esc10") for place, scene in enumerate(ESC10.classes)]
    runs += [heard(WaveNet(), "rain", 0.5, "esc10")]
    choosing = run(PCA(), "rain", {"segment": 0.1}, data_set="esc10", protocol="rare_sounds_within_training")
    table = esc10([*runs, choosing])
    rows = texts(table)
    assert len(rows) == (6 + 1) * 3 * 2
    found = {(row["background"], row["event to background"], row["AUROC of"]): row for row in rows}
    # The eight figures of `heard` go up by 0.01: segments at 6 dB are the seventh.
    assert found["sea waves", "6 dB", "segment"][PCA.title] == "0.670"
    assert found["rain", "-6 dB", "file"][WaveNet.title] == "0.530"
    assert found["rain", "-6 dB", "file"][PCA.title] == "0.630"
    mean = statistics.fmean(0.6 + 0.01 * place + 0.06 for place in range(6))
    assert found["mean", "6 dB", "segment"][PCA.title] == f"{mean:.3f}"
    assert found["mean", "6 dB", "segment"][WaveNet.title] == "1 of 6 classes"
    assert texts(esc10_means(runs)) == [row for row in rows if row["background"] == "mean"]
    assert any("no gradient training" in note for note in table.notes), "budgets are said"


def test_a_report_has_table_5_always_and_esc10_where_it_was_run() -> None:
    assert not esc10([]).rows
    names = [table.name for table in every_table([run(PCA())])]
    assert "table5" in names
    assert "esc10" not in names
    with_esc = [table.name for table in every_table([heard(PCA(), "rain", 0.5, "esc10")])]
    assert "esc10" in with_esc


@pytest.mark.parametrize("name", ["RotNet", "Geometric", "WaveNet", "DualGAN", "Ours"])
def test_every_column_of_table_5_is_a_known_system(name: str) -> None:
    assert published.system(name).method is not None
