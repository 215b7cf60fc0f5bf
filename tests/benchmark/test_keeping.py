"""What cells keep for figures: curves that survive a kill, embeddings and examples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from novanda.benchmark.cells import Cell
from novanda.benchmark.keeping import EXAMPLES, Curve
from novanda.benchmark.running import run_cell
from novanda.errors import InputError
from novanda.methods import PCA, AutoEncoder, NearestNeighbour
from novanda.training import Training

SMALL = AutoEncoder(width=4, latent_dim=4)


def coil(**fields: Any) -> Cell:
    training = Training(epochs=3, batch_size=32, device="cpu", precision="32")
    common = {"data_set": "coil20", "normal_class": "obj3", "protocol": "angle_blocks", "image_size": 32}
    return Cell(**{**common, "method": SMALL, "training": training, **fields})


def test_keeping_is_part_of_the_specification_only_where_something_is_kept() -> None:
    plain, kept = coil(), coil(keep=("curve", "examples"))
    assert "keep" not in plain.to_json(), "lines from before it existed keep their keys"
    assert kept.to_json()["keep"] == ["curve", "examples"]
    assert kept.key != plain.key
    assert coil(keep=("examples", "curve")).key == kept.key
    with pytest.raises(InputError, match=r"some of curve, embedding, examples; got \('film',\)"):
        coil(keep=("film",))


def test_the_curve_has_a_point_an_epoch_and_ends_at_the_result(root: Path, tmp_path: Path) -> None:
    result = run_cell(coil(keep=("curve",)), tmp_path, root)
    assert [point["epoch"] for point in result["curve"]] == [1, 2, 3]
    assert result["curve"][-1]["auroc"] == pytest.approx(result["auroc"], abs=1e-12)
    assert len({point["auroc"]["mse"] for point in result["curve"]}) > 1
    plain = run_cell(coil(), tmp_path, root)
    assert "curve" not in plain
    assert plain["auroc"] == result["auroc"], "looking on changes nothing"


@pytest.mark.parametrize("lost", [False, True])
def test_the_curve_survives_a_kill(lost: bool, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = coil(keep=("curve",))
    unbroken = run_cell(cell, tmp_path / "unbroken", root)
    note = Curve.note

    def killed(self: Curve, epoch: Any) -> None:
        if not lost:
            note(self, epoch)
        if epoch.number == 2:  # after its checkpoint; with `lost`, before its point was written
            raise KeyboardInterrupt
        if lost:
            note(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Curve, "note", killed)
        with pytest.raises(KeyboardInterrupt):
            run_cell(cell, tmp_path / "broken", root)
    resumed = run_cell(cell, tmp_path / "broken", root)
    assert resumed["curve"] == unbroken["curve"]


def test_no_curve_of_a_method_that_compares_at_the_end(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nearest_neighbour has no curve"):
        run_cell(coil(method=NearestNeighbour(), keep=("curve",)), tmp_path, root)


def test_an_embedding_of_both_sides(root: Path, tmp_path: Path) -> None:
    cell = coil(method=PCA(components=8), keep=("embedding",))
    run_cell(cell, tmp_path, root)
    with np.load(tmp_path / "kept" / f"{cell.key}.npz", allow_pickle=False) as file:
        drawn, novel = file["embedding"], file["embedding_novel"]
    assert drawn.shape == (15 + 500, 2), "all 15 normals there are, and 500 of the others"
    assert (~novel).sum() == 15
    assert np.isfinite(drawn).all()
    # Views of one object lie together: their spread is below that of all.
    assert drawn[~novel].std(0).max() < drawn[novel].std(0).max()


def test_examples_from_both_ends(root: Path, tmp_path: Path) -> None:
    cell = coil(keep=("examples",))
    run_cell(cell, tmp_path, root)
    with np.load(tmp_path / "scores" / f"{cell.key}.npz") as file:
        scores = np.sort(file["mse"].astype(float))
    with np.load(tmp_path / "kept" / f"{cell.key}.npz", allow_pickle=False) as file:
        kept = {name.removeprefix("examples_"): file[name] for name in file.files}
    expected = np.concatenate([scores[:EXAMPLES], scores[-EXAMPLES:]])
    np.testing.assert_allclose(kept["novelty"], expected, rtol=1e-6)
    assert kept["images"].shape == kept["expected"].shape == (2 * EXAMPLES, 32, 32, 1)
    assert kept["images"].dtype == kept["expected"].dtype == np.uint8
    errors = np.square((kept["expected"].astype(float) - kept["images"]) / 127.5).reshape(2 * EXAMPLES, -1).mean(1)
    np.testing.assert_allclose(errors, kept["novelty"], rtol=0.05, atol=1e-3)  # pictures are rounded to whole levels
    assert kept["scale"] > 0


def test_examples_of_a_method_that_draws_nothing(root: Path, tmp_path: Path) -> None:
    cell = dataclasses.replace(coil(), method=NearestNeighbour(), training=Training(), keep=("examples",))
    run_cell(cell, tmp_path, root)
    with np.load(tmp_path / "kept" / f"{cell.key}.npz") as file:
        assert "examples_expected" not in file.files
        assert file["examples_images"].shape == (2 * EXAMPLES, 128, 128, 1)
