"""A dictionary of image patches, learned without a gradient, and the features that it gives (Coates & Ng 2011).

Letters: B batch, C channels, H height, W width, P = C side side values in a patch, K words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from novanda.errors import InputError
from novanda.samples import Normals

_FLOOR = 10 / 255 * 2  # to a patch's deviation: 10 gray levels of 255, here on the scale from -1 to 1 (Coates & Ng)
_RIDGE = 0.1  # to the variances in whitening, theirs
_PER_IMAGE = 64  # patches taken from one image at most


@dataclass(frozen=True)
class PatchDictionary:
    """Words that patches are described by, after their contrast is normalised and their correlations removed.

    Attributes: mean (P,) and whitening (P, P) of normalised patches; words (K, P), the centres of whitened patches.
    """

    mean: Tensor
    whitening: Tensor
    words: Tensor

    def encode(self, images: Tensor, side: int, grids: Sequence[int], stride: int = 1) -> Tensor:
        """How much each word is present in each part of an image: (B, C, H, W) to (B, F), F = K sum of grid^2.

        A patch at distance t_k from word k activates it by max(0, mean(t) - t_k) ("triangle"); activations are averaged
        over each cell of a grid x grid division of the image, for every grid in turn. Patches start every `stride`
        pixels.
        """
        values = self.mean.shape[0]
        kernels = self.whitening.T.reshape(values, -1, side, side)
        average = torch.full_like(kernels[:1], 1 / values)
        mean = F.conv2d(images, average, stride=stride)
        variance = (F.conv2d(images.square(), average, stride=stride) - mean.square()).clamp_min(0)
        deviation = (variance * values / (values - 1) + _FLOOR**2).sqrt()
        # Normalising and whitening are linear but for the division, so that a convolution does both.
        shift = self.whitening.sum(0)[None, :, None, None]
        whitened = (F.conv2d(images, kernels, stride=stride) - mean * shift) / deviation
        whitened = whitened - (self.mean @ self.whitening)[None, :, None, None]
        products = F.conv2d(whitened, -2 * self.words[:, :, None, None], self.words.square().sum(1))
        distances = (products + whitened.square().sum(1, keepdim=True)).clamp_min(0).sqrt()
        active = (distances.mean(1, keepdim=True) - distances).clamp_min(0)
        parts = []
        for grid in grids:
            rows, columns = (cells(size, grid).to(active) for size in active.shape[2:])
            parts.append((rows @ active @ columns.T).flatten(1))
        return torch.cat(parts, 1)


def cells(size: int, grid: int) -> Tensor:
    """What averages `size` places over `grid` cells, each as wide as its share rounded outwards: (grid, size)."""
    # As adaptive pooling does; but that can be exported only where the cells divide the places evenly.
    averages = torch.zeros(grid, size)
    for cell in range(grid):
        first, last = cell * size // grid, -(-(cell + 1) * size // grid)
        averages[cell, first:last] = 1 / (last - first)
    return averages


def patch_dictionary(normals: Normals, side: int, words: int, seed: int, most: int = 60_000) -> PatchDictionary:
    """Learn a dictionary from random patches of the normals: their whitening, then k-means (scikit-learn's).

    Args:
        side: of a patch, in pixels.
        words: K; clamped to the number of patches.
        seed: which patches are taken, and where k-means starts.
        most: patches in all, at most.

    Raises:
        InputError: a patch as large as the sample, or larger.
    """
    height, width = normals.spec.height, normals.spec.width
    if side >= min(height, width):
        raise InputError(f"a patch must be smaller than its sample of {height} x {width} pixels; got {side}")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(normals), generator=generator)[: max(1, most // 8)]
    each = min(_PER_IMAGE, -(-most // len(chosen)))
    parts = []
    for place in range(0, len(chosen), normals.batch_size):
        images = normals.take(chosen[place : place + normals.batch_size]).cpu()
        rows = torch.randint(height - side + 1, (each, len(images)), generator=generator)
        columns = torch.randint(width - side + 1, (each, len(images)), generator=generator)
        every = images.unfold(2, side, 1).unfold(3, side, 1)  # a view: (B, C, rows, columns, side, side)
        parts.append(every[torch.arange(len(images)), :, rows, columns].flatten(2).flatten(0, 1))
    patches = torch.cat(parts)
    patches = (patches - patches.mean(1, keepdim=True)) / (patches.var(1, keepdim=True) + _FLOOR**2).sqrt()
    mean = patches.mean(0)
    variances, axes = torch.linalg.eigh(torch.cov(patches.T.double()))
    whitening = (axes * (variances.clamp_min(0) + _RIDGE).rsqrt() @ axes.T).float()
    whitened = ((patches - mean) @ whitening).numpy()
    count = min(words, len(np.unique(whitened, axis=0)))
    found = KMeans(count, init="random", n_init=1, max_iter=30, random_state=seed % 2**32).fit(whitened)
    return PatchDictionary(mean, whitening, torch.from_numpy(np.ascontiguousarray(found.cluster_centers_)))
