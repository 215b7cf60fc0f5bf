"""The report's tables: published beside measured, what is missing called so, means by hand, safe text."""

from __future__ import annotations

import csv
import io
import itertools
import statistics
from typing import Any, get_args, get_type_hints

import pytest
from made_up import failed, run

from novanda import datasets, methods
from novanda.benchmark import published
from novanda.benchmark.runs import Run
from novanda.benchmark.tables.ablations import negatives_grid, table1, table2
from novanda.benchmark.tables.comparison import class_tables, pixel_statistics, table3, table4
from novanda.benchmark.tables.everything import all_runs, all_scores, every_table, failures, false_alarms
from novanda.benchmark.tables.table import Entry, Table
from novanda.methods import ALOCC, METHODS, NDA, OCSVM, PCA, NearestNeighbour, RotNet
from novanda.training import Training

CIFAR10 = datasets.get("cifar10").classes


def rows(table: Table) -> list[dict[str, Entry]]:
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def texts(table: Table) -> list[dict[str, str]]:
    return [{name: entry.text for name, entry in row.items()} for row in rows(table)]


# ---------------------------------------------------------------------------------------------------------------
# Table 3


def test_every_published_row_stands_in_the_papers_order_whatever_was_run() -> None:
    for made in (table3([]), table3([run(NDA(), "frog", 0.6)])):
        printed = [row for row in texts(made) if row["figures"].startswith("published")]
        expected = published.table("table3_cifar10_auc")
        assert [row["method"] for row in printed] == [line["method"] for line in expected]
        for row, line in zip(printed, expected, strict=True):
            assert [row["airplane"], row["automobile"], row["truck"]] == [line["plane"], line["car"], line["truck"]]
            assert row["mean"] == line["mean"]
            assert row["figures"] == f"published {line['year']}"
    kinds = {row["airplane"].kind for row in rows(table3([])) if row["figures"].text.startswith("published")}
    assert kinds == {"published"}


def test_measured_rows_stand_below_the_published_row_of_their_method() -> None:
    found = texts(table3([run(NearestNeighbour(), "frog", 0.7), run(NDA(), "frog", 0.6), run(PCA(), "frog", 0.5)]))
    names = [(row["method"], row["figures"].split()[0]) for row in found]
    for name in ("Neighbour", "Ours"):
        place = names.index((name, "published"))
        assert names[place + 1] == (name, "measured")
        assert found[place + 1]["settings, budget, protocol"].startswith(
            {"Neighbour": "Nearest neighbour", "Ours": "NDA (paper)"}[name]
        )
    assert names[-1] == ("PCA reconstruction", "measured"), "what the paper has not stands at the end"


def test_two_rows_of_one_method_show_it_by_a_score_each() -> None:
    by_both = {"dr": 0.6, "d": 0.7}
    runs = [run(ALOCC(), str(number), by_both, data_set="mnist") for number in range(10)]
    runs += [run(PCA(), str(number), 0.5, data_set="mnist") for number in range(10)]
    found = [row for row in texts(table4(runs)) if row["figures"] == "measured"]
    assert [(row["method"], row["MNIST"]) for row in found] == [
        ("ALOCC DR", "0.600"),
        ("ALOCC D", "0.700"),
        ("PCA reconstruction", "0.500"),
    ]
    described = [row["settings, budget, protocol"] for row in found]
    assert described[0].startswith("ALOCC, by dr, 40 epochs")
    assert described[1].startswith("ALOCC, by d, 40 epochs")
    (in_table_3,) = (row for row in texts(table3([run(ALOCC(), "frog", by_both)])) if row["figures"] == "measured")
    assert (in_table_3["method"], in_table_3["frog"]) == ("ALOCC", "0.600"), "a row that names no score: the headline"


def test_runs_without_the_score_of_a_row_are_not_shown_there() -> None:
    found = texts(
        table4([run(ALOCC(), "1", {"dr": 0.6}, data_set="mnist"), run(ALOCC(), "2", {"dr": 0.6}, data_set="mnist")])
    )
    rows_of = {row["method"]: row for row in found if not row["figures"].startswith("published")}
    assert rows_of["ALOCC DR"]["MNIST"] == "2 of 10 classes"
    assert rows_of["ALOCC D"]["figures"] == "not run"


def test_every_row_names_a_score_that_its_method_has() -> None:
    for line in published.table("systems"):
        system = published.system(line["row"])
        if system.score is not None:
            assert system.method is not None
            assert system.score in get_args(get_type_hints(methods.get(system.method))["score"])


def test_what_was_not_run_and_what_is_not_built_are_told_apart() -> None:
    found = texts(table3([]))
    built = {method.name for method in METHODS}
    for row in found:
        if row["figures"].startswith("published"):
            unbuilt = published.system(row["method"]).method not in built
            assert row["settings, budget, protocol"].startswith("not built") == unbuilt
    measured = [row for row in found if row["figures"] == "not run"]
    assert {"Ours", "Neighbour", "OCSVM", "RotNet"} <= {row["method"] for row in measured}
    for row in measured:
        assert {row[name] for name in (*CIFAR10, "mean")} == {"not run"}
    (unknown,) = (row for row in found if row["method"] == "AE-EN")
    assert unknown["settings, budget, protocol"] == "not built: no source is known so the row can not be reproduced"


def test_the_papers_row_is_held_against_pixel_statistics() -> None:
    """Of figures in the order of the paper's own row the rank correlation is 1, of those in the opposite order -1."""
    line = next(row for row in published.table("table3_cifar10_auc") if row["method"] == "Ours")
    figures = [float(line[published.CIFAR10_COLUMNS.get(name, name)]) for name in CIFAR10]
    same = pixel_statistics([run(PCA(), name, v / 2) for name, v in zip(CIFAR10, figures, strict=True)])
    assert "rank correlation 1.00" in same
    assert "0.14 (DualGAN) to 0.26 (VAE) above" in same
    other = pixel_statistics([run(PCA(), name, 1 - v) for name, v in zip(CIFAR10, figures, strict=True)])
    assert "rank correlation -1.00" in other
    assert pixel_statistics([run(PCA(), "frog", 0.5)]) == ""


def test_the_mean_is_over_all_ten_classes_or_there_is_none() -> None:
    runs = [run(PCA(), name, 0.4 + 0.01 * place) for place, name in enumerate(CIFAR10)]
    mine = rows(table3(runs))[-1]
    assert mine["mean"].text == f"{statistics.mean(0.4 + 0.01 * n for n in range(10)):.3f}"
    assert len(mine["mean"].keys) == 10
    assert mine["cat"].keys == (runs[3].key,)
    assert rows(table3(runs[:4]))[-1]["mean"].text == "4 of 10 classes"


def test_unlike_budgets_and_protocols_are_rows_of_their_own() -> None:
    runs = [
        run(NDA(), "frog", 0.6),
        run(NDA(), "frog", 0.5, training=Training(epochs=10)),
        run(NDA(), "frog", 0.4, protocol="one_vs_rest_thinned"),
        run(NDA(width=32), "frog", 0.3),
    ]
    ours = [row for row in texts(table3(runs)) if (row["method"], row["figures"]) == ("Ours", "measured")]
    assert sorted(row["frog"] for row in ours) == ["0.300", "0.400", "0.500", "0.600"]
    described = " / ".join(row["settings, budget, protocol"] for row in ours)
    for words in ("100 epochs", "10 epochs", "every 9th novelty only", "width 32"):
        assert words in described


def test_ablations_and_calibrated_cells_are_no_rows_of_table_3() -> None:
    others = (NDA(negatives="none"), NDA(prior_weight=0.0), NDA(latent_start="normal"), NDA(latent_reduction="sum"))
    runs = [run(method, "frog", 0.123) for method in others] + [run(NDA(), "frog", 0.123, calibration_fraction=0.2)]
    assert "0.123" not in table3(runs).to_markdown()
    assert table3(runs).to_markdown().count("not run") == table3([]).to_markdown().count("not run")


def test_slips_of_the_print_are_computed_from_it() -> None:
    expected = {}
    for line in published.table("table3_cifar10_auc"):
        values = [float(line[name]) for name in list(line)[2:-1]]
        assert len(values) == 10
        if abs(statistics.mean(values) - float(line["mean"])) > 0.00101:
            expected[line["method"]] = (f"{statistics.mean(values):.3f}", line["mean"])
    assert expected["Ours"] == ("0.838", "0.843")
    assert expected["Neighbour"] == ("0.595", "0.613")
    notes = table3([]).notes
    for row, (mean, shown) in expected.items():
        assert f'The row "{row}" averages {mean} over its ten classes; {shown} is printed.' in notes
    assert sum("averages" in note for note in notes) == len(expected)


def test_stand_ins_are_noted_from_the_lines() -> None:
    assert any("holds 93 declared stand-ins" in note for note in table3([run(PCA())]).notes)
    assert not any("stand-ins" in note for note in table3([run(PCA(), data={"standins": 0})]).notes)
    assert not any("stand-ins" in note for note in table3([]).notes)


# ---------------------------------------------------------------------------------------------------------------
# Table 4 and other classes


def test_table_4_has_a_row_a_protocol() -> None:
    runs = [
        run(RotNet(), str(digit), {"logit": 0.9 + 0.002 * fold}, data_set="mnist", protocol=f"fold_{fold}")
        for digit in range(10)
        for fold in (1, 2)
    ]
    runs += [
        run(RotNet(), "0", {"logit": 0.8}, data_set="mnist"),
        run(RotNet(), "obj1", data_set="coil20", protocol="angle_blocks"),
    ]
    found = [row for row in texts(table4(runs)) if (row["method"], row["figures"]) == ("Rot", "measured")]
    by_protocol = {row["settings, budget, protocol"].rpartition(", ")[2]: row for row in found}
    first, second, blocks = (by_protocol[name] for name in ("protocol 1", "protocol 2", "blocks of angles"))
    assert first["MNIST"] == "0.903 ± 0.001"
    assert first["repeats"] == "2 folds, 1 seed"
    assert (first["COIL-100"], second["MNIST"], second["COIL-20"]) == ("not run", "1 of 10 classes", "no such split")
    assert (blocks["COIL-20"], blocks["MNIST"]) == ("1 of 20 classes", "no such split")


def test_table_4_holds_the_published_means() -> None:
    printed = [row for row in texts(table4([])) if row["figures"].startswith("published")]
    expected = published.table("table4_mean_auc")
    assert [[r["method"], r["MNIST"], r["COIL-100"], r["Fashion-MNIST"], r["COIL-20"]] for r in printed] == [
        [line["method"], line["mnist"], line["coil100"], line["fmnist"], "no figure"] for line in expected
    ]


def test_classes_of_other_sets() -> None:
    (mnist,) = class_tables(
        [run(PCA(), "1", 0.9, data_set="mnist"), run(PCA(), "0", 0.8, data_set="mnist"), run(PCA())]
    )
    assert mnist.header[4:] == ("0", "1", "mean")
    assert texts(mnist)[0]["mean"] == "2 of 10 classes"
    odd = [run(PCA(), "rain", 0.9) for _ in range(2)]
    for each, name in zip(odd, ("a/b", "a:b"), strict=True):
        each.line["cell"]["data_set"] = name
    assert [table.name for table in class_tables(odd)] == ["classes_ab", "classes_ab_"]


# ---------------------------------------------------------------------------------------------------------------
# Ablations


def weighted(local: bool, whole: bool, prior: bool, **more: Any) -> NDA:
    return NDA(local_weight=0.5 * local, global_weight=0.5 * whole, prior_weight=0.1 * prior, **more)


def test_table_1_sets_every_combination_beside_its_published_mean() -> None:
    runs = [
        run(weighted(*on), name, 0.5 + 0.1 * sum(on) + 0.02 * (name == "frog"), seed=seed)
        for on in itertools.product((False, True), repeat=3)
        for name in ("frog", "cat")
        for seed in (0, 1)
    ]
    found = texts(table1(runs))
    assert len(found) == 8
    for row, line in zip(found, published.table("table1_mi_ablation"), strict=True):
        assert row["published mean"] == line["cifar10_mean_auc"]
        on = [line[name] == "1" for name in ("local_mi", "global_mi", "prior_mi")]
        assert [row["local"], row["global"], row["prior"]] == ["yes" if each else "no" for each in on]
        assert row["frog"] == f"{0.52 + 0.1 * sum(on):.3f} ± 0.000"
        assert row["measured mean"] == f"{0.51 + 0.1 * sum(on):.3f} ± 0.000 (2 of 10 classes)"
        assert row["repeats"] == "2 seeds"


def test_rows_of_an_ablation_are_compared_over_the_classes_they_share() -> None:
    runs = [run(weighted(True, True, True), name, value) for name, value in (("cat", 0.6), ("frog", 0.8))]
    runs += [run(weighted(False, False, True), "cat", 0.5)]
    means = {row["measured mean"] for row in texts(table1(runs))}
    assert means == {"0.600 (1 of 10 classes)", "0.500 (1 of 10 classes)", "not run"}
    apart = [run(weighted(True, True, True), "frog", 0.6), run(weighted(False, True, True), "cat", 0.5)]
    assert {row["measured mean"] for row in texts(table1(apart))} == {"no class in common", "not run"}


def test_the_whole_method_alone_is_no_ablation() -> None:
    assert "0.777" not in table1([run(NDA(), "frog", 0.777)]).to_markdown()
    assert len(table1([run(NDA(), "frog", 0.777)]).rows) == 8


def test_ablations_at_two_budgets_are_not_mixed() -> None:
    runs = [
        run(weighted(*on), "frog", value, training=Training(epochs=epochs))
        for on, value, epochs in (
            ((True, True, True), 0.6, 10),
            ((False, True, True), 0.5, 10),
            ((False, True, True), 0.4, 20),
        )
    ]
    found = texts(table1(runs))
    budgets = [row["measured with"].partition(",")[0] for row in found]
    assert budgets == ["10 epochs"] * 8 + ["20 epochs"], "what was not run is said once, not at every budget"
    assert found[-1]["frog"] == "0.400"
    other = run(NDA(local_weight=1.0, prior_weight=0.0), "frog", 0.321, training=Training(epochs=10))
    separate = [row for row in texts(table1([*runs, other])) if row["frog"] == "0.321"]
    assert [row["measured with"].startswith("local weight 1.0") for row in separate] == [True]


def test_table_2_names_each_part_by_its_published_setting() -> None:
    methods = {"z_A": NDA(removed="z_A"), "mse": NDA(reconstruction_loss="mse"), "normal": NDA(latent_start="normal")}
    values = {"z_A": 0.1, "mse": 0.2, "normal": 0.3}
    runs = [run(method, "frog", values[name]) for name, method in methods.items()] + [run(NDA(), "frog", 0.4)]
    found = {(row["part"], row["setting"]): row for row in texts(table2(runs))}
    assert found["removed input", "z_A"]["frog"] == "0.100"
    assert found["reconstruction loss", "mse"]["frog"] == "0.200"
    assert found["latent prior", "normal"]["frog"] == "0.300"
    assert found["latent prior", "contrastive"]["frog"] == "not run"
    for whole in (("removed input", "none"), ("reconstruction loss", "laplacian"), ("latent prior", "pca")):
        assert (found[whole]["frog"], found[whole]["published mean"]) == ("0.400", "0.843")


def test_the_grid_the_paper_lacks() -> None:
    runs = [run(weighted(True, True, True, negatives=kind), "frog", value) for kind, value in (
        ("augmented", 0.7), ("shuffled", 0.6), ("none", 0.5),
    )]  # fmt: skip
    runs += [run(weighted(False, False, True), "frog", 0.4)]
    found = {row["estimators"]: row for row in texts(negatives_grid(runs))}
    assert list(found) == ["none", "prior", "local + global", "all"]
    columns = [f"negatives: {kind}" for kind in ("augmented", "shuffled", "none")]
    assert [found["all"][name].partition(" ")[0] for name in columns] == ["0.700", "0.600", "0.500"]
    assert [found["prior"][name] for name in columns] == ["0.400 (1 of 10 classes)"] + ["no negatives enter"] * 2
    assert [found["local + global"][name] for name in columns] == ["not run"] * 3
    assert {row[name] for row in texts(negatives_grid([])) for name in columns} == {"not run"}


def test_runs_that_the_grid_does_not_show_do_not_choose_its_classes() -> None:
    """Table 1's row "local alone", run on one class, once took the other class out of every mean of the grid."""
    shown = [run(NDA(negatives=kind), name, 0.6) for kind in ("augmented", "none") for name in ("cat", "frog")]
    shown += [run(weighted(False, False, False), name, 0.4) for name in ("cat", "frog")]
    elsewhere = run(weighted(True, False, False), "cat", 0.9)
    for runs in (shown, [*shown, elsewhere]):
        found = texts(negatives_grid(runs))
        means = {row["estimators"]: row["negatives: augmented"] for row in found if row["normal class"] == "mean"}
        assert means["all"] == "0.600 (2 of 10 classes)"
        assert [row["normal class"] for row in found if row["estimators"] == "all"] == ["cat", "frog", "mean"]


# ---------------------------------------------------------------------------------------------------------------
# Everything


def test_every_run_stands_in_the_table_of_all() -> None:
    runs = [
        run(NDA(negatives="none"), "frog", 0.6),
        run(PCA(), "cat", 0.5, commit="def456"),
        run(PCA(), "dog", 0.7, fit_seconds=5.5),
        Run(run(PCA()).folder, failed(OCSVM(), "dog")),
    ]
    table = all_runs(runs)
    assert {key for row in table.rows for entry in row for key in entry.keys} == {each.key for each in runs}
    found = {row["method"]: row for row in texts(table)}
    assert found["PCA reconstruction"]["AUROC"] == "0.600 (2 of 10 classes)"
    assert found["PCA reconstruction"]["fit seconds"] == "4"
    assert found["PCA reconstruction"]["commit"] == "abc123, def456"
    assert (found["OCSVM"]["AUROC"], found["OCSVM"]["failed"]) == ("failed", "1")


def test_scores_beside_the_headline() -> None:
    (first, second) = texts(all_scores([run(RotNet(), "frog", {"logit": 0.8, "log_probability": 0.7}), run(PCA())]))
    assert (first["score"], first[""], first["AUROC"]) == ("logit", "headline", "0.800 (1 of 10 classes)")
    assert (second["score"], second[""], second["AUROC"]) == ("log probability", "", "0.700 (1 of 10 classes)")


def test_false_alarms_and_failures() -> None:
    alarms = {"0.05": {"rate": 0.04, "low": 0.03, "high": 0.06}}
    (row,) = texts(false_alarms([run(PCA(), calibration_fraction=0.2, false_alarms=alarms), run(PCA())]))
    assert row["asked 0.05"] == "0.040 [0.030, 0.060]"
    broken = Run(run(PCA()).folder, failed(NDA(), "frog", "the loss is not finite", seed=2))
    (row,) = texts(failures([broken, run(PCA())]))
    assert (row["seed"], row["error"]) == ("seed 2", "the loss is not finite")
    assert not failures([run(PCA())]).rows


def test_tables_are_files_of_their_own() -> None:
    tables = every_table([run(PCA()), run(PCA(), "0", data_set="mnist")])
    names = [table.name for table in tables]
    assert names[:6] == ["table1", "table2", "negatives_grid", "table3", "table4", "table5"]
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------------------------------------------------------
# Text

HOSTILE = '<script>alert("1")</script> | a \\| b\nc `d`'


def test_markdown_keeps_hostile_text_in_its_cell() -> None:
    table = Table.of_texts("t", "T", ("a", "b"), [(HOSTILE, "x")])
    *_, row = table.to_markdown().splitlines()
    assert row == '| &lt;script>alert("1")&lt;/script> \\| a \\\\\\| b c `d` | x |'
    noted = Table("t", "T", ("a",), (), ("1 < 2",))
    assert noted.to_markdown(notes=True).endswith("\n\n- 1 &lt; 2")


@pytest.mark.parametrize("sign", "=+-@\t")
def test_csv_reads_back_and_starts_no_formula(sign: str) -> None:
    table = Table.of_texts("t", "T", ("a", "b"), [(sign + "1+1", HOSTILE)])
    header, row = csv.reader(io.StringIO(table.to_csv()))
    assert header == ["a", "b"]
    assert row == ["'" + sign + "1+1", HOSTILE]


def test_rows_must_fit_the_header() -> None:
    with pytest.raises(ValueError, match="2 columns, but a row of 1"):
        Table.of_texts("t", "T", ("a", "b"), [("x",)])
