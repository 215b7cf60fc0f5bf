"""The patch dictionary as a method: its distance by NumPy, what it learns, its bounds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from test_contract import made_normals, made_novel

from novanda.detector import Detector
from novanda.errors import InputError
from novanda.methods import Dictionary
from novanda.metrics import auroc
from novanda.patches import PatchDictionary
from novanda.samples import Normals
from novanda.sources import ArraySource

SMALL = Dictionary(words=20, components=6, neighbours=2)


def fitted(method: Dictionary = SMALL, seed: int = 0) -> Detector:
    return Detector(method, seed=seed, calibration_fraction=0.0).fit(made_normals(0))


def scaled(images: np.ndarray) -> torch.Tensor:
    return next(Normals(ArraySource(images), batch_size=len(images)).batches())


def test_the_distance_by_numpy() -> None:
    detector = fitted()
    reference = {name: part.cpu() for name, part in detector.reference_.items()}
    words = PatchDictionary(reference["patch_mean"], reference["whitening"], reference["words"])
    normals, queries = (
        words.encode(scaled(images), 6, (1, 2, 3)).double().numpy() for images in (made_normals(0), made_novel(1))
    )
    mean, deviation = normals.mean(0), normals.std(0, ddof=1)
    deviation = np.maximum(deviation, 0.01 * deviation.max())
    deviation *= np.repeat([1.0, 2.0, 3.0], [20, 80, 180])  # each grid as a whole weighs the same
    pca = PCA(6, svd_solver="full").fit((normals - mean) / deviation)

    def described(features: np.ndarray) -> np.ndarray:
        turned: np.ndarray = ((features - mean) / deviation) @ pca.components_.T / pca.explained_variance_**0.25
        return turned

    gaps = np.linalg.norm(described(queries)[:, None] - described(normals)[None], axis=2)
    expected = np.sort(gaps, 1)[:, :2].mean(1)
    np.testing.assert_allclose(detector.novelty_score(made_novel(1)), expected, rtol=0.02)


def test_stripes_are_novel_among_discs() -> None:
    detector = fitted()
    assert auroc(detector.novelty_score(made_normals(5, 40)), detector.novelty_score(made_novel(1, 40))) > 0.95


def test_the_seed_of_the_detector_decides() -> None:
    one, same, other = fitted(), fitted(), fitted(seed=1)
    assert torch.equal(one.reference_["words"], same.reference_["words"])
    assert not torch.equal(one.reference_["words"], other.reference_["words"])


def test_the_bank_is_bounded() -> None:
    assert len(fitted(dataclasses.replace(SMALL, bank=30)).reference_["bank"]) == 30
    assert len(fitted().reference_["bank"]) == 120


def test_a_larger_sample_costs_no_more_places() -> None:
    large = made_normals(0, count=30, side=96)
    detector = Detector(SMALL, calibration_fraction=0.0).fit(large)
    assert np.isfinite(detector.novelty_score(large)).all()


def test_flat_normals_score() -> None:
    flat = np.repeat(np.arange(40, 80, dtype=np.uint8), 16 * 16 * 3).reshape(40, 16, 16, 3)
    detector = Detector(SMALL, calibration_fraction=0.0).fit(flat)
    assert np.isfinite(detector.novelty_score(np.concatenate([flat, 255 - flat]))).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("words", 0),
        ("patch_side", 1),
        ("grids", (1, 0)),
        ("grids", ()),
        ("components", 0),
        ("neighbours", 0),
        ("bank", 1),
    ],
)
def test_bad_fields_are_named(field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"Dictionary\.{field} must be .*at least"):
        Dictionary(**{field: value})  # type: ignore[arg-type]  # that is what is tried
