"""The patch dictionary against slow loops and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA

from novanda.errors import InputError
from novanda.patches import PatchDictionary, cells, patch_dictionary
from novanda.samples import Normals
from novanda.sources import ArraySource

FLOOR = 10 / 255 * 2


def structured(count: int, side: int = 16, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth random fields with grain, uint8 (N, H, W, C)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=generator)
    fields = F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=True)
    grain = 0.05 * torch.randn(fields.shape, generator=generator)
    return ((fields + grain).clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy()


def learned(side: int = 3, words: int = 7, channels: int = 3, seed: int = 0, most: int = 2000) -> PatchDictionary:
    return patch_dictionary(Normals(ArraySource(structured(40, channels=channels))), side, words, seed, most)


def by_loops(found: PatchDictionary, image: np.ndarray, side: int, grid: int, stride: int) -> np.ndarray:
    """Coates & Ng's "triangle" activations averaged over a grid, one patch at a time, in float64."""
    mean, whitening, words = (part.double().numpy() for part in (found.mean, found.whitening, found.words))
    starts = [range(0, size - side + 1, stride) for size in image.shape[1:]]
    active = np.empty((len(words), *map(len, starts)))
    for (r, row), (c, column) in itertools.product(*map(enumerate, starts)):
        patch = image[:, row : row + side, column : column + side].ravel()
        patch = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + FLOOR**2)
        distances = np.linalg.norm(words - (patch - mean) @ whitening, axis=1)
        active[:, r, c] = np.maximum(0, distances.mean() - distances)
    out = np.empty((len(words), grid, grid))
    height, width = active.shape[1:]
    for i, j in itertools.product(range(grid), repeat=2):
        rows = slice(i * height // grid, -(-(i + 1) * height // grid))
        columns = slice(j * width // grid, -(-(j + 1) * width // grid))
        out[:, i, j] = active[:, rows, columns].mean((1, 2))
    return out.ravel()


@pytest.mark.parametrize(("channels", "side", "grid", "stride"), [(3, 3, 2, 1), (1, 4, 3, 1), (2, 5, 1, 2)])
def test_activations_by_loops(channels: int, side: int, grid: int, stride: int) -> None:
    found = learned(side, channels=channels)
    images = next(Normals(ArraySource(structured(3, channels=channels, seed=1))).batches())
    expected = [by_loops(found, image.double().numpy(), side, grid, stride) for image in images]
    np.testing.assert_allclose(found.encode(images, side, (grid,), stride), expected, atol=2e-5)
    assert np.std(expected) > 1e-3


def test_several_grids_stand_side_by_side() -> None:
    found = learned()
    images = next(Normals(ArraySource(structured(3, seed=1))).batches())
    alone = [found.encode(images, 3, (grid,)) for grid in (2, 1)]
    assert torch.equal(found.encode(images, 3, (2, 1)), torch.cat(alone, 1))


def test_whitening_makes_patches_uncorrelated_where_the_ridge_is_small() -> None:
    found = learned(side=2, channels=1, most=40 * 64)
    # The symmetric root: what whitens is what PCA finds, turned back.
    values, axes = np.linalg.eigh(found.whitening.double().numpy())
    assert (values > 0).all()
    np.testing.assert_allclose(found.whitening, found.whitening.T, atol=1e-6)
    every = F.unfold(next(Normals(ArraySource(structured(40, channels=1))).batches()), 2).transpose(1, 2).reshape(-1, 4)
    patches = (every - every.mean(1, keepdim=True)) / (every.var(1, keepdim=True) + FLOOR**2).sqrt()
    pca = PCA().fit(patches.numpy())
    expected = 1 / np.sqrt(np.sort(pca.explained_variance_) + 0.1)
    np.testing.assert_allclose(np.sort(values), np.sort(expected), rtol=0.05)  # of other random patches
    assert axes.shape == (4, 4)


def test_words_are_centres_of_whitened_patches() -> None:
    found = learned(words=5)
    assert found.words.shape == (5, 27)
    assert len(np.unique(found.words.numpy().round(5), axis=0)) == 5
    assert found.words.mean(0).abs().max() < 1


def test_the_seed_decides() -> None:
    first, again, other = learned(), learned(), learned(seed=1)
    for name in ("mean", "whitening", "words"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.words, other.words)


def test_few_patches_give_few_words() -> None:
    flat = np.full((4, 8, 8, 1), 9, np.uint8)
    assert len(patch_dictionary(Normals(ArraySource(flat)), 3, 100, 0).words) == 1
    assert len(learned(words=500, most=40).words) <= 40


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    learned()
    assert torch.equal(before, torch.get_rng_state())


def test_a_patch_must_fit() -> None:
    with pytest.raises(InputError, match=r"smaller than its sample of 16 x 16 pixels; got 16"):
        learned(side=16)


@pytest.mark.parametrize(("size", "grid"), [(27, 3), (27, 4), (5, 2), (2, 3)])
def test_cells_are_those_of_adaptive_pooling(size: int, grid: int) -> None:
    rows = torch.rand(2, 3, size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rows @ cells(size, grid).T, F.adaptive_avg_pool1d(rows, grid))
