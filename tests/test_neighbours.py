"""Distances to a bank and the axes they are measured along, against scikit-learn and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import inv, sqrtm
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from novanda import neighbours
from novanda.neighbours import comparison_axes, every_axis, nearest_at_places, nearest_distance

SMALL_WHOLE = st.integers(-3, 3).map(float)  # ties and duplicates above all
ROWS = st.integers(1, 6).flatmap(
    lambda width: st.tuples(
        st.lists(st.lists(SMALL_WHOLE, min_size=width, max_size=width), min_size=1, max_size=12),
        st.lists(st.lists(SMALL_WHOLE, min_size=width, max_size=width), min_size=1, max_size=8),
    )
)


@settings(deadline=None)
@given(ROWS, st.integers(1, 20), st.sampled_from([0.0, 1e3, -1e5]))
def test_nearest_distance_is_scikit_learns(
    rows: tuple[list[list[float]], list[list[float]]], k: int, far: float
) -> None:
    bank, queries = (torch.tensor(part) + far for part in rows)
    found = nearest_distance(queries, bank, k)
    count = min(k, len(bank))  # k beyond the bank is the whole bank
    search = NearestNeighbors(n_neighbors=count, algorithm="brute", metric="sqeuclidean")
    squares, _ = search.fit(bank.double().numpy() - far).kneighbors(queries.double().numpy() - far)
    assert found.shape == (len(queries),)
    np.testing.assert_allclose(found.numpy(), np.sqrt(squares.clip(0)).mean(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("far", [0.0, 1e2, 1e4])
@pytest.mark.parametrize("k", [1, 3])
def test_nearest_distance_in_continuous_data(far: float, k: int) -> None:
    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(300, 9, generator=generator) + far
    queries = torch.randn(50, 9, generator=generator) + far
    distances = np.sqrt(((queries.double()[:, None] - bank.double()[None]) ** 2).sum(2).numpy())
    expected = np.sort(distances, 1)[:, :k].mean(1)
    np.testing.assert_allclose(nearest_distance(queries, bank, k).numpy(), expected, rtol=1e-5)
    # A year or a pressure lies far from the origin: there, too, a member of the bank is at distance 0 exactly.
    assert (nearest_distance(bank, bank) == 0).all()


def test_at_each_place_only_what_was_there_is_compared() -> None:
    generator = np.random.default_rng(0)
    bank, parts = generator.normal(size=(5, 20, 3)), generator.normal(size=(5, 4, 3))
    found = nearest_at_places(*(torch.from_numpy(each.astype(np.float32)) for each in (parts, bank)))
    each = [
        NearestNeighbors(n_neighbors=1).fit(bank[place]).kneighbors(parts[place])[0][:, 0] for place in range(len(bank))
    ]
    np.testing.assert_allclose(found.numpy(), np.mean(each, 0), rtol=1e-5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_CHUNK", 2 * 5 * 20)  # two samples at once
        again = nearest_at_places(*(torch.from_numpy(each.astype(np.float32)) for each in (parts, bank)))
    np.testing.assert_allclose(again.numpy(), found.numpy(), rtol=1e-6)
    copies = torch.from_numpy(bank[:, 7:9].astype(np.float32))
    assert (nearest_at_places(copies, torch.from_numpy(bank.astype(np.float32))) == 0).all()


def test_wide_features_are_compared_in_smaller_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few normals with many features it is not the distance matrix that is large, but the nearest ones' features."""
    bank, queries = torch.randn(4, 100), torch.randn(9, 100)
    expected, pieces, multiply = nearest_distance(queries, bank), [], torch.addmm

    def addmm(*given: Any, **named: Any) -> torch.Tensor:
        pieces.append(len(given[1]))
        return multiply(*given, **named)

    monkeypatch.setattr(torch, "addmm", addmm)
    monkeypatch.setattr(neighbours, "_CHUNK", 400)
    assert torch.equal(nearest_distance(queries, bank), expected)
    assert max(pieces) * 2 * 100 <= 400, "one neighbour and one more of each query"


def test_nearest_distance_in_pieces_of_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    bank, queries = (torch.randn(count, 12, generator=generator) for count in (80, 30))
    whole = nearest_distance(queries, bank, 2)
    monkeypatch.setattr(neighbours, "_CHUNK", 7 * len(bank))
    np.testing.assert_allclose(nearest_distance(queries, bank, 2), whole, rtol=1e-6)
    monkeypatch.setattr(neighbours, "_CHUNK", 1)
    np.testing.assert_allclose(nearest_distance(queries, bank, 2), whole, rtol=1e-6)


def test_a_centred_bank_is_compared_as_any_other() -> None:
    generator = torch.Generator().manual_seed(0)
    bank, queries = (torch.randn(count, 12, generator=generator) for count in (80, 30))
    expected = nearest_distance(queries, bank, 2)
    np.testing.assert_allclose(nearest_distance(queries, bank, 2, centred=True), expected, rtol=1e-6)
    assert (nearest_distance(bank, bank, centred=True) == 0).all()


def correlated(count: int = 60, width: int = 10, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=torch.Generator().manual_seed(9))
    return torch.randn(count, width, generator=generator) @ mixing + 3


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("components", [1, 4, 99])
def test_axes_are_halfway_whitened_principal_components(components: int, weighted: bool) -> None:
    features, fresh = correlated(), correlated(5, seed=1)
    weights = torch.linspace(0.5, 2, 10) if weighted else None
    described = comparison_axes(features, components, weights).describe(fresh)
    mean, deviation = features.numpy().mean(0), features.numpy().std(0, ddof=1)
    scale = (1 if weights is None else weights.numpy()) / deviation
    pca = PCA(min(components, 10), svd_solver="full").fit((features.numpy() - mean) * scale)
    expected = (fresh.numpy() - mean) * scale @ pca.components_.T / pca.explained_variance_**0.25
    # An axis may point either way: distances do not see it.
    np.testing.assert_allclose(described.abs(), np.abs(expected), atol=2e-3)


def test_what_no_normal_has_is_not_infinitely_far() -> None:
    features = torch.cat([correlated(), torch.zeros(60, 1)], 1)
    axes = comparison_axes(features, 20)
    strange = torch.cat([correlated(5), torch.ones(5, 1)], 1)
    distances = nearest_distance(axes.describe(strange), axes.describe(features))
    assert torch.isfinite(distances).all()
    flat = comparison_axes(torch.ones(6, 3), 2)
    assert torch.isfinite(flat.describe(torch.rand(2, 3))).all()


def test_components_are_clamped_to_what_the_normals_allow() -> None:
    assert comparison_axes(correlated(5), 99).projection.shape == (10, 4)


@pytest.mark.parametrize("count", [400, 5, 2])
def test_along_every_axis_distances_are_halfway_to_mahalanobis(count: int) -> None:
    generator = np.random.default_rng(0)
    features = (generator.normal(size=(count, 12)) @ generator.normal(size=(12, 12)) + 3).astype(np.float32)
    others = generator.normal(size=(7, 12)).astype(np.float32)
    axes = every_axis(torch.from_numpy(features))
    described = axes.describe(torch.from_numpy(others)).numpy()
    covariance = np.cov(features.T.astype(np.float64))
    metric = inv(sqrtm(covariance + 0.1 * np.trace(covariance) / 12 * np.eye(12)))
    for one in range(7):
        # With fewer normals than features, too, no direction is left out.
        difference = (others[one] - others[one - 1]).astype(np.float64)
        expected = np.sqrt(difference @ metric @ difference)
        assert np.linalg.norm(described[one] - described[one - 1]) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(axes.describe(torch.from_numpy(features)).mean(0).numpy(), 0, atol=1e-4)


def test_every_axis_of_normals_that_are_all_alike_is_finite() -> None:
    axes = every_axis(torch.ones(6, 3))
    assert axes.describe(torch.tensor([[1.0, 1.0, 1.0], [1.0, 2.0, 1.0]])).isfinite().all()
