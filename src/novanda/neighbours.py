"""Distances to the nearest of a bank of normals, and the axes along which features are compared.

Letters: B batch, N normals, F features, P places, d axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

_CHUNK = 2**24  # values computed at once, of the distance matrix or of the nearest samples' features: 64 MiB
_SCARCE = 0.1  # of the mean variance, which each axis has besides its own
_RAREST = 0.01  # of the largest deviation: a feature that varies less counts as if it varied that much


def nearest_distance(queries: Tensor, bank: Tensor, neighbours: int = 1, *, centred: bool = False) -> Tensor:
    """Mean Euclidean distance of queries (B, F) to their k nearest rows of bank (N, F): (B,), memory bounded.

    centred: the bank lies about the origin, where `ComparisonAxes.describe` puts it. For a single query to find the
    mean of a large bank and take it away takes many times as long as all the rest.
    """
    count = min(neighbours, len(bank))
    # The nearest are found through |a|^2 - 2 ab + |b|^2, which is fast but loses digits where a is close to b; their
    # distances are then measured directly, so that a copy of a bank sample is at distance 0 exactly.
    # Features may lie far from the origin (a year, a pressure), where the squares would drown all differences: the mean
    # is taken away first. Which samples are nearest does not change by that.
    mean = bank.new_zeros(()) if centred else bank.mean(0)
    near = bank if centred else bank - mean
    squares = _squares(near)
    results = []
    for part in _pieces(queries, max(len(bank), (count + 1) * bank.shape[1])):
        products = torch.addmm(squares, part - mean, near.T, alpha=-2.0)
        nearest = products.topk(min(count + 1, len(bank)), largest=False).indices
        direct = (part[:, None] - bank[nearest]).square().sum(2).sqrt()
        results.append(direct.sort(1).values[:, :count].mean(1))
    return torch.cat(results)


def nearest_at_places(parts: Tensor, bank: Tensor) -> Tensor:
    """Distance of parts (P, B, F) to the nearest of bank (P, N, F) at the same place, averaged over places: (B,).

    Memory is bounded. The bank must lie about the origin, as above.
    """
    squares = _squares(bank)[:, None]
    results = []
    for part in _pieces(parts, len(bank) * max(bank.shape[1:]), 1):
        products = torch.baddbmm(squares, part, bank.transpose(1, 2), alpha=-2.0)
        nearest = products.argmin(2)[:, :, None].expand(-1, -1, bank.shape[2])
        results.append((part - bank.gather(1, nearest)).square().sum(2).sqrt().mean(0))
    return torch.cat(results)


def _squares(rows: Tensor) -> Tensor:
    # Many times as fast as to square and add, for nothing as large as the rows is made.
    norms: Tensor = torch.linalg.vector_norm(rows, dim=-1)
    return norms.square()


def _pieces(queries: Tensor, values: int, dimension: int = 0) -> tuple[Tensor, ...]:
    """Queries cut along a dimension, so that with `values` for each of them no piece takes too much."""
    # An exported graph knows no batch size to cut by; whoever runs it chooses one.
    whole = torch.compiler.is_exporting()
    return (queries,) if whole else torch.split(queries, max(1, _CHUNK // values), dimension)


@dataclass(frozen=True)
class ComparisonAxes:
    """Where features are compared: moved by `mean` (F,), then turned and scaled by `projection` (F, d)."""

    mean: Tensor
    projection: Tensor

    def describe(self, features: Tensor) -> Tensor:
        """Features (B, F) to coordinates (B, d)."""
        return (features - self.mean) @ self.projection


def comparison_axes(features: Tensor, components: int, weights: Tensor | None = None) -> ComparisonAxes:
    """Principal axes of standardised features, each divided by the square root of its deviation.

    Standardised, so that strong features do not drown weak ones; the leading axes alone, for the last are noise;
    halfway whitened, for unwhitened distances see only the first few axes, and whitened ones noise like the rest.

    Args:
        features: (N, F) of normals, N at least 2, on the CPU.
        components: d; clamped to N - 1 and F.
        weights: (F,) by which the standardised features are multiplied; None: all alike.
    """
    mean, deviation = features.mean(0), features.std(0)
    # What no normal has varies by nothing: without a floor any novelty that has it would be infinitely far.
    deviation = deviation.clamp_min(max(1e-6, _RAREST * deviation.max().item()))
    scale = deviation.reciprocal() if weights is None else weights / deviation
    standard = ((features - mean) * scale).numpy()
    most = min(len(features) - 1, features.shape[1])
    with np.errstate(invalid="ignore"):  # a share of variance, unused here, is 0 / 0 for constant features
        axes = PCA(max(1, min(components, most)), svd_solver="randomized", random_state=0).fit(standard)
    halfway = np.maximum(axes.explained_variance_, 1e-6) ** 0.25
    turned = torch.from_numpy(np.ascontiguousarray((axes.components_ / halfway[:, None]).T, np.float32))
    return ComparisonAxes(mean, turned * scale[:, None])


def every_axis(features: Tensor) -> ComparisonAxes:
    """All principal axes, each divided by the square root of its deviation: for features that are of one scale.

    None is left out, for what is novel may show in what hardly varies among normals. To every variance is added a tenth
    of the mean, so that axes along which few normals happen not to vary at all count neither nothing nor everything.

    Args:
        features: (N, F) of normals, N at least 2, on the CPU: it is done in float64, which not every device has.
    """
    values = features.double()
    mean = values.mean(0)
    centred = values - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / (len(values) - 1))
    variances = variances.clamp_min(0) + max(1e-12, _SCARCE * variances.mean().item())
    # Laid out as a file gives it back: of another layout the last digits of products differ.
    return ComparisonAxes(mean.float(), (axes / variances**0.25).float().contiguous())
