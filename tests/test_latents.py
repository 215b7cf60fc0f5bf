"""Principal components and the starts of z' against scikit-learn and NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from novanda.errors import InputError
from novanda.latents import principal_components, principal_latents
from novanda.samples import Normals, SampleSpec


class Rows:
    """Float samples from an array; remembers how many were read at once."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data.astype(np.float32)
        self.spec = SampleSpec("features", data.shape[1], 1, 1, -1.0, 1.0)
        self.largest, self.total = 0, 0

    def __len__(self) -> int:
        return len(self.data)

    def read(self, positions: Sequence[int]) -> np.ndarray:
        self.largest, self.total = max(self.largest, len(positions)), self.total + len(positions)
        return self.data[list(positions)][:, :, None, None]

    def identifier(self, position: int) -> str:
        return str(position)


def _separated(count: int, size: int, strong: int, seed: int = 0, weakest: float = 1.0) -> np.ndarray:
    """`strong` directions with deviations halving down to `weakest`, far above noise of 0.001, and a mean apart."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((size, strong)))[0]
    deviations = weakest * 2.0 ** np.arange(strong)[::-1]
    rows = rng.standard_normal((count, strong)) * deviations @ basis.T
    data: np.ndarray = rows + 0.001 * rng.standard_normal((count, size)) + rng.standard_normal(size)
    return data


@pytest.mark.parametrize("count", [300, 512, 513, 1700])
def test_components_are_those_of_exact_pca(count: int) -> None:
    data = _separated(count, 30, 5).astype(np.float32)
    source = Rows(data)
    found = principal_components(Normals(source), 5)
    exact = PCA(5, svd_solver="full").fit(data.astype(np.float64))
    assert np.degrees(subspace_angles(found.components.T.numpy(), exact.components_.T)).max() < 0.05
    # Each component alone, too: their sign is free.
    cosines = np.abs((found.components.numpy() * exact.components_).sum(1))
    assert cosines.min() > 1 - 1e-5
    np.testing.assert_allclose(found.deviations, np.sqrt(exact.explained_variance_), rtol=1e-4)
    np.testing.assert_allclose(found.mean, exact.mean_, atol=1e-5)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(5), atol=1e-5)
    # The same latents up to sign, and the same restored samples whatever the sign.
    samples = torch.from_numpy(data)
    expected = exact.transform(data)
    latents = found.project(samples).numpy()
    signs = np.sign((latents * expected).sum(0))
    np.testing.assert_allclose(latents * signs, expected, atol=0.01)
    np.testing.assert_allclose(found.restore(found.project(samples)), exact.inverse_transform(expected), atol=0.01)
    assert all(part.dtype == torch.float32 for part in (found.mean, found.components, found.deviations))


def test_images_are_flattened_channel_by_channel() -> None:
    data = _separated(40, 12, 2)

    class Images(Rows):
        def __init__(self, data: np.ndarray) -> None:
            super().__init__(data)
            self.spec = SampleSpec("image", 3, 2, 2, -1.0, 1.0)

        def read(self, positions: Sequence[int]) -> np.ndarray:
            return super().read(positions).reshape(-1, 3, 2, 2)

    flat, images = (principal_components(Normals(kind(data)), 2) for kind in (Rows, Images))
    assert torch.equal(flat.components, images.components)
    batch = torch.from_numpy(data.astype(np.float32))
    assert torch.equal(flat.project(batch), images.project(batch.view(-1, 3, 2, 2)))


def test_raw_latents_are_the_coefficients() -> None:
    data = _separated(600, 20, 4)
    latents = principal_latents(Normals(Rows(data)), 4, "raw").numpy()
    principal = principal_components(Normals(Rows(data)), 4)
    expected = (data - principal.mean.numpy()) @ principal.components.numpy().T
    assert latents.shape == (600, 4)
    np.testing.assert_allclose(latents, expected, atol=1e-4)
    # PCA coefficients are uncorrelated and centred.
    np.testing.assert_allclose(latents.mean(0), 0, atol=1e-3)
    correlation = np.corrcoef(latents.T)
    np.testing.assert_allclose(correlation, np.eye(4), atol=1e-3)


def test_whitened_latents_have_unit_variance() -> None:
    latents = principal_latents(Normals(Rows(_separated(1300, 20, 6))), 6).numpy()
    np.testing.assert_allclose(latents.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(latents.std(0, ddof=1), 1, rtol=1e-3)
    np.testing.assert_allclose(np.corrcoef(latents.T), np.eye(6), atol=2e-3)


def test_unit_ball_shortens_only_what_is_long() -> None:
    data = _separated(200, 10, 2, weakest=0.4)
    raw = principal_latents(Normals(Rows(data)), 2, "raw").numpy()
    lengths = np.linalg.norm(raw, axis=1)
    assert (lengths < 1).any()
    assert (lengths > 1).any()
    expected = np.where(lengths[:, None] > 1, raw / lengths[:, None], raw)
    np.testing.assert_allclose(principal_latents(Normals(Rows(data)), 2, "unit_ball"), expected, rtol=1e-5)


def test_latents_keep_the_order_of_the_normals() -> None:
    data = _separated(50, 8, 3)
    chosen = np.random.default_rng(1).permutation(50)[:20]
    latents = principal_latents(Normals(Rows(data), chosen, batch_size=7), 3)
    again = principal_latents(Normals(Rows(data[chosen])), 3)
    torch.testing.assert_close(latents, again)
    torch.testing.assert_close(latents, principal_latents(Normals(Rows(data), chosen), 3))


def test_no_pass_holds_more_than_a_batch() -> None:
    source = Rows(_separated(2500, 8, 3))
    principal_components(Normals(source), 3)
    assert source.largest <= 512
    assert source.total == 2500  # one pass
    source = Rows(_separated(2500, 8, 3))
    principal_latents(Normals(source, batch_size=100), 3)
    assert source.largest <= 512
    assert source.total == 5000
    wide = Rows(_separated(2500, 400, 3))
    principal_components(Normals(wide), 300)  # a batch holds at least twice as many samples as components
    assert wide.largest <= 600


@pytest.mark.parametrize(
    ("shape", "count"), [((10, 4), 0), ((10, 4), 5), ((3, 9), 4), ((10, 4), -1), ((1, 4), 1), ((0, 4), 1)]
)
def test_too_many_components_are_refused(shape: tuple[int, int], count: int) -> None:
    with pytest.raises(InputError, match=f"got {count}$|for {count} component"):
        principal_components(Normals(Rows(np.ones(shape))), count)


def test_an_unknown_scale_is_refused() -> None:
    wrong: Any = "unit"
    with pytest.raises(InputError, match="latent_scale must be 'whitened', 'unit_ball' or 'raw'; got 'unit'"):
        principal_latents(Normals(Rows(_separated(20, 8, 3))), 2, wrong)


def test_directions_without_variance_give_no_noise() -> None:
    """Duplicates leave fewer directions than asked for; whitening must not blow up the rounding along the others."""
    data = np.repeat(_separated(5, 100, 4, weakest=10.0), 12, axis=0)
    latents = principal_latents(Normals(Rows(data)), 12).numpy()
    assert np.isfinite(latents).all()
    np.testing.assert_allclose(latents[:, :4].std(0, ddof=1), 1, rtol=1e-3)
    assert np.abs(latents[:, 4:]).max() < 0.1
    constant = principal_latents(Normals(Rows(np.full((20, 9), 0.3))), 5)
    assert constant.abs().max() < 0.1
