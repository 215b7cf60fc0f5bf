"""What may be averaged with what; means and deviations by hand; how rows are described."""

from __future__ import annotations

import dataclasses
import statistics

import pytest
from made_up import failed, line, run

from novanda.benchmark.groups import Group, group_runs
from novanda.benchmark.runs import Run
from novanda.methods import NDA, PCA, RotNet
from novanda.training import Training

CLASSES = ("airplane", "automobile")


def group(*runs: Run) -> Group:
    (found,) = group_runs(runs)
    return found


def test_class_seed_and_fold_may_differ_and_nothing_else() -> None:
    same = [
        run(NDA(), "airplane", protocol="fold_1"),
        run(NDA(), "truck", protocol="fold_2"),
        run(NDA(), "truck", protocol="fold_2", seed=1),
    ]
    assert [len(each.runs) for each in group_runs(same)] == [3]
    others = [
        run(NDA(), protocol="one_vs_rest"),
        run(NDA(), protocol="one_vs_rest_thinned"),
        run(NDA(width=32), protocol="fold_1"),
        run(NDA(), protocol="fold_1", training=Training(epochs=3)),
        run(NDA(), protocol="fold_1", calibration_fraction=0.2),
        run(PCA(), protocol="fold_1"),
    ]
    assert len(group_runs([*same, *others])) == 7


def test_copies_of_a_run_are_one_measurement() -> None:
    runs = [run(NDA(), "frog", 0.6), run(NDA(), "frog", 0.6, keep=["curve"]), run(NDA(), "frog", 0.7, seed=1)]
    assert len({each.key for each in runs}) == 3
    entry = group(*runs).entry("frog")
    assert entry.text == "0.650 ± 0.071"
    assert entry.keys == (runs[0].key, runs[2].key)
    broken = Run(runs[0].folder, failed(NDA(), "frog"))
    assert group(broken, runs[1]).entry("frog").text == "0.600"


def test_epochs_mean_nothing_where_no_gradient_is_taken() -> None:
    runs = [run(PCA(), training=Training(epochs=epochs), seed=epochs) for epochs in (1, 2)]
    assert [each.epochs for each in group_runs(runs)] == [0]


def test_mean_and_deviation_over_seeds() -> None:
    values = [0.61, 0.64, 0.70]
    found = group(*(run(NDA(), "frog", value, seed=seed) for seed, value in enumerate(values)))
    entry = found.entry("frog")
    assert entry.value == pytest.approx(statistics.mean(values))
    assert entry.text == "0.650 ± 0.046"  # by hand: deviations -0.04, -0.01, 0.05; sqrt(0.0042 / 2)
    assert len(entry.keys) == 3
    assert entry.kind == "measured"
    assert found.repeats() == "3 seeds"
    assert found.entry("cat").text == "not run"


def test_one_run_has_no_deviation() -> None:
    found = group(run(NDA(), "frog", 0.61))
    assert found.entry("frog").text == "0.610"
    assert found.repeats() == "1 seed"


def test_a_score_other_than_the_headline() -> None:
    found = group(run(NDA(), "frog", {"mse": 0.6, "l1": 0.7}))
    assert (found.entry("frog").text, found.entry("frog", "l1").text) == ("0.600", "0.700")


def test_the_deviation_of_a_mean_is_that_of_whole_repeats() -> None:
    runs = [run(NDA(), "airplane", value, seed=seed) for seed, value in enumerate((0.5, 0.6, 0.1))]
    runs += [run(NDA(), "automobile", value, seed=seed) for seed, value in enumerate((0.7, 0.8))]
    entry = group(*runs).mean(CLASSES, 2)
    # Classes average 0.4 and 0.75; the whole repeats, seeds 0 and 1, average 0.6 and 0.7.
    assert entry.text == "0.575 ± 0.071"
    assert len(entry.keys) == 5
    assert group(*runs).repeats() == "2 to 3 seeds"


def test_folds_and_seeds_are_both_repeats() -> None:
    runs = [
        run(NDA(), "airplane", 0.5 + 0.1 * fold, protocol=f"fold_{fold}", seed=seed)
        for fold in (1, 2, 3)
        for seed in (0, 1)
    ]
    found = group(*runs)
    assert found.repeats() == "3 folds, 2 seeds"
    values = [0.6, 0.6, 0.7, 0.7, 0.8, 0.8]
    assert found.entry("airplane").text == f"0.700 ± {statistics.stdev(values):.3f}"
    assert "protocol 1" in found.description()


def test_no_mean_where_a_class_is_missing() -> None:
    entry = group(run(NDA(), "airplane", 0.5)).mean(CLASSES, 2)
    assert (entry.text, entry.kind, entry.value) == ("1 of 2 classes", "missing", None)
    assert len(entry.keys) == 1
    beside = group(run(NDA(), "airplane", 0.5)).mean(CLASSES[:1], 10)
    assert beside.text == "0.500 (1 of 10 classes)"


def test_failures_are_told_apart_from_what_was_not_run() -> None:
    broken = Run(run(NDA()).folder, failed(NDA(), "frog", seed=1))
    whole = group(run(NDA(), "frog", 0.5), broken)
    assert whole.entry("frog").text == "0.500 (1 failed)"
    assert whole.mean(["frog"], 1).text == "0.500 (1 failed)", "a mean must not hide it either"
    alone = group(broken)
    assert (alone.entry("frog").text, alone.entry("frog").kind) == ("failed", "failed")
    assert alone.mean(["frog"], 1).kind == "failed"
    assert alone.entry("cat").text == "not run"
    assert alone.repeats() == ""


def test_rows_say_every_setting_that_is_not_the_default() -> None:
    found = group(
        run(NDA(width=32, lambdas=(1.0, 2.0, 1.0)), protocol="one_vs_rest_thinned", training=Training(epochs=1))
    )
    assert found.description() == (
        "lambdas [1.0, 2.0, 1.0], width 32, 1 epoch, sgd 0.002, batch 128, weight decay 0.005, protocol 2, "
        "every 9th novelty only"
    )
    assert "width" not in found.description(without={"width"})
    assert group(run(PCA())).description() == "no gradient training, protocol 2"
    unusual = Training(momentum=0.5, schedule="cosine")
    assert "momentum 0.5, cosine" in group(run(RotNet(), training=unusual)).description()


def test_image_size_and_held_out_normals_are_said() -> None:
    made = line(NDA(), calibration_fraction=0.2)
    made["cell"]["image_size"] = 32
    assert "at 32 x 32, 0.2 of the normals held out, protocol 2" in group(Run(run(NDA()).folder, made)).description()


def test_runs_of_a_gpu_are_a_row_of_their_own() -> None:
    gpu = {"device": "cuda:0", "name": "abacus"}
    found = group_runs([run(PCA(), "frog"), run(PCA(), "deer", machine=gpu), run(PCA(), "frog", seed=1, machine=gpu)])
    assert [(each.on_gpu, len(each.runs)) for each in found] == [(False, 1), (True, 2)]
    assert [each.description().endswith("on a GPU") for each in found] == [False, True]
    assert not group(Run(run(PCA()).folder, failed(PCA()))).on_gpu, "a failed cell knows no machine"


def test_a_method_of_another_version_shows_all_it_has() -> None:
    made = line(PCA())
    made["cell"]["method"] = {"name": "later", "depth": 3}
    found = group(dataclasses.replace(run(PCA()), line=made))
    assert found.title == "later"
    assert found.description().startswith("depth 3, ")
