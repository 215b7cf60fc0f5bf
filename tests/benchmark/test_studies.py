"""The paper's tables as lists of cells, what a person picks from them, and how long they will take."""

from __future__ import annotations

from typing import Any

import pytest

from novanda import datasets
from novanda.benchmark.cells import Cell
from novanda.benchmark.estimates import estimate, seconds_of
from novanda.benchmark.published import table
from novanda.benchmark.studies import STUDIES, chosen, compared, false_alarms, negatives, table1, table2, table3, table4
from novanda.errors import InputError
from novanda.methods import METHODS, NDA, PCA
from novanda.training import Training


def nda_of(cells: list[Cell]) -> list[NDA]:
    found = [cell.method for cell in cells if cell.normal_class == "cat"]
    assert all(isinstance(method, NDA) for method in found)
    return found  # type: ignore[return-value]  # checked above


def test_table_1_has_the_published_rows() -> None:
    rows = {(int(m.local_weight > 0), int(m.global_weight > 0), int(m.prior_weight > 0)) for m in nda_of(table1())}
    names = ("local_mi", "global_mi", "prior_mi")
    assert rows == {tuple(int(row[name]) for name in names) for row in table("table1_mi_ablation")}


def test_table_2_has_the_published_rows() -> None:
    methods = nda_of(table2())
    for part, field in (
        ("removed_input", "removed"),
        ("reconstruction_loss", "reconstruction_loss"),
        ("latent_prior", "latent_start"),
    ):
        published = {row["setting"] for row in table("table2_ablation") if row["part"] == part}
        assert {getattr(method, field) for method in methods} == published
        # One change at a time.
        assert all(
            sum(
                getattr(method, other) != getattr(NDA(), other)
                for other in ("removed", "reconstruction_loss", "latent_start")
            )
            <= 1
            for method in methods
        )


def test_the_grid_of_negatives_has_every_cell_that_differs() -> None:
    rows = {
        (method.local_weight > 0, method.global_weight > 0, method.prior_weight > 0, method.negatives)
        for method in nda_of(negatives())
    }
    kinds = ("augmented", "shuffled", "none")
    assert rows == {
        (False, False, False, "augmented"),
        (False, False, True, "augmented"),
        *((True, True, prior, kind) for prior in (False, True) for kind in kinds),
    }


# What a network of the user's own brings along is no system of the paper's, and waveforms are no images.
OF_IMAGES = {method.name for method in METHODS if "image" in method.kinds} - {"frozen_features"}


def test_the_compared_systems_have_six_classes_each() -> None:
    cells = compared()
    assert {cell.method.name for cell in cells} == OF_IMAGES
    of_one = [(cell.data_set, cell.normal_class) for cell in cells if cell.method.name == "ocgan"]
    assert len(of_one) == len(set(of_one)) == 6
    trained = [cell for cell in cells if cell.learns]
    assert all(cell.training.epochs is not None for cell in trained), "no method falls back to its authors' epochs"


def test_table_3_is_every_method_on_every_class() -> None:
    cells = table3(seeds=(0, 1))
    assert {cell.method.name for cell in cells} == OF_IMAGES
    assert len(cells) == len(OF_IMAGES) * 10 * 2
    authors = [cell for cell in table3(budget="authors") if cell.method == NDA()]
    assert len(authors) == 10
    assert {cell.training.filled(cell.method.training).epochs for cell in authors} == {100}
    assert {cell.protocol for cell in authors} == {"one_vs_rest"}


def test_table_4_has_both_protocols() -> None:
    cells = table4()
    for data_set, classes in (("mnist", 10), ("fashion_mnist", 10), ("coil20", 20)):
        of_set = [cell for cell in cells if cell.data_set == data_set]
        second = "angle_blocks" if data_set == "coil20" else "one_vs_rest"
        for name in ("pca", "nda", "geometric"):
            own = [cell for cell in of_set if cell.method.name == name]
            folds = {cell.protocol for cell in own if cell.protocol.startswith("fold_")}
            assert folds == ({"fold_1"} if name != "pca" else {f"fold_{n}" for n in range(1, 6)})
            assert sum(cell.protocol.startswith(second) for cell in own) == classes
    assert len({cell.protocol for cell in table4(budget="authors") if cell.method.name == "nda"}) == 7


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("budget", ["quick", "authors"])
def test_no_study_has_a_cell_twice_and_seeds_are_all_that_seeds_change(name: str, budget: str) -> None:
    cells = STUDIES[name](seeds=(3, 5), budget=budget)  # type: ignore[arg-type]  # one of the two
    assert len({cell.key for cell in cells}) == len(cells)
    assert {cell.seed for cell in cells} == {3, 5}


def test_thorough_is_a_gpus_and_asked_for_by_budget() -> None:
    quick, authors = (STUDIES["flagship"](budget=budget) for budget in ("quick", "authors"))
    added = [cell for cell in authors if cell not in quick]
    assert [cell for cell in authors if cell in quick] == quick
    assert {getattr(cell.method, "preset", None) for cell in added} == {"thorough"}
    assert sorted(cell.normal_class for cell in added) == sorted(datasets.get("cifar10").classes)
    assert {cell.training.filled(cell.method.usual_training()).epochs for cell in added} == {60}


def test_a_choice_by_names_and_aliases() -> None:
    cells = chosen(table3(seeds=(0, 1)), method_names=["knn", "nda"], class_names=["car", "Plane"])
    assert {cell.method.name for cell in cells} == {"nearest_neighbour", "nda"}
    assert {cell.normal_class for cell in cells} == {"automobile", "airplane"}
    assert len(cells) == 8
    assert chosen(cells) == cells
    digits = chosen(table4(), data_sets=["mnist"], class_names=["8"], method_names=["pca"])
    assert {(cell.data_set, cell.normal_class) for cell in digits} == {("mnist", "8")}


def test_epochs_in_place_of_the_budgets() -> None:
    cells = chosen(table3(), epochs=2)
    for cell in cells:
        assert (cell.training.epochs == 2) == cell.learns, "PCA keeps its key, for it has no epochs"
        if cell.learns:
            assert "2 epochs" in str(cell)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"method_names": ["nonsense"]}, "unknown method 'nonsense'"),
        ({"class_names": ["car", "unicorn"]}, "no cell of this study has 'unicorn' as its class; there are: airplane"),
        ({"data_sets": ["mnist"]}, "'mnist' as its data set; there are: cifar10"),
    ],
)
def test_a_name_that_nothing_has_is_refused(words: dict[str, list[str]], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        chosen(table3(), **words)  # type: ignore[arg-type]


def line(cell: Cell, fit: float, score: float, train: int = 5000, test: int = 2000) -> dict[str, Any]:
    sizes = {"train": train, "test_normal": 1000, "test_novel": test - 1000}
    return {"key": cell.key, "cell": cell.to_json(), "fit_seconds": fit, "score_seconds": score, "sizes": sizes}


def nda(width: int = 64, data_set: str = "cifar10", epochs: int = 10) -> Cell:
    name = "airplane" if data_set == "cifar10" else "0"
    method, training = NDA(width=width), Training(epochs=epochs)
    return Cell(data_set=data_set, normal_class=name, protocol="one_vs_rest", method=method, training=training)


def test_estimates_take_the_most_similar_lines() -> None:
    lines: list[dict[str, Any]] = [
        line(nda(32), 100, 1),
        line(nda(32, epochs=20), 400, 3),
        line(nda(32, "mnist"), 70, 7),
        line(nda(), 1000, 5),
        {"key": "x", "cell": nda(8).to_json(), "error": "failed"},
    ]
    # 100 s for 10 epochs and 400 s for 20: at 5 epochs 51 s and 103 s, and the median lies between.
    assert seconds_of(nda(32, epochs=5), lines) == pytest.approx((51 + 103) / 2)
    assert seconds_of(nda(32, "mnist"), lines) == pytest.approx(77)
    assert seconds_of(nda(32, "fashion_mnist"), lines) == pytest.approx(101), "of 101, 203, 77"
    assert seconds_of(nda(8), lines) == pytest.approx((101 + 203) / 2), "of 77, 101, 203, 1005"
    pca = Cell(data_set="cifar10", normal_class="cat", protocol="one_vs_rest", method=PCA())
    assert seconds_of(pca, lines) is None
    said = estimate([nda(), pca], lines, jobs=2)
    assert said == "2 to run; about 0.1 hours 2 at a time for 1, by earlier lines; 1 of a method that has no line yet"


def test_estimates_are_scaled_by_how_many_images_there_are() -> None:
    """COIL has 57 images of an object: another method's line there tells so."""
    coil = Cell(data_set="coil20", normal_class="obj1", protocol="angle_blocks", method=PCA(), image_size=32)
    lines = [line(nda(), 500, 20, train=5000, test=10_000), line(coil, 1, 1, train=50, test=1500)]
    other = Cell(
        data_set="coil20",
        normal_class="obj2",
        protocol="angle_blocks",
        method=NDA(),
        training=Training(epochs=40),
        image_size=32,
    )
    assert seconds_of(other, lines) == pytest.approx(500 * 4 * 50 / 5000 + 20 * 1500 / 10_000)
    assert seconds_of(other, lines[:1]) == pytest.approx(500 * 4 + 20), "nothing is known of COIL"


def test_false_alarms_are_counted_for_every_method_of_images_in_few_epochs() -> None:
    cells = false_alarms()
    assert {cell.method.name for cell in cells} == OF_IMAGES | {"frozen_features"}
    assert all(0 < (cell.training.epochs or 0) <= 5 for cell in cells if cell.learns)
