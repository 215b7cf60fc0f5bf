"""Starts for the generator's latents z', and the streamed principal components that they and `methods.PCA` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.decomposition import IncrementalPCA
from torch import Tensor

from novanda.errors import InputError
from novanda.samples import Normals

LatentScale = Literal["whitened", "unit_ball", "raw"]


@dataclass(frozen=True)
class PrincipalComponents:
    """The leading principal components of a stream of samples.

    Attributes: mean (F,), components (d, F) with orthonormal rows, deviations (d,) the standard deviation along each; F
    is the number of values in a sample.
    """

    mean: Tensor
    components: Tensor
    deviations: Tensor

    def project(self, samples: Tensor) -> Tensor:
        """Samples (B, ...) to coefficients (B, d)."""
        return (samples.flatten(1) - self.mean) @ self.components.T

    def restore(self, coefficients: Tensor) -> Tensor:
        """Coefficients (B, d) to flat samples (B, F)."""
        return coefficients @ self.components + self.mean


def principal_components(normals: Normals, count: int) -> PrincipalComponents:
    """The `count` leading components by incremental PCA: one pass, memory of one batch (scikit-learn's).

    Raises InputError unless there are 2 samples and 1 <= count <= min(len(normals), values in a sample).
    """
    if len(normals) < 2:
        raise InputError(f"principal components need at least 2 samples; got {len(normals)} for {count} component(s)")
    most = min(len(normals), normals.spec.size)
    if not 1 <= count <= most:
        raise InputError(
            f"{len(normals)} samples of {normals.spec.size} values allow 1 to {most} components; got {count}"
        )
    pca = IncrementalPCA(n_components=count)
    for batch in normals.batches(max(512, 2 * count)):
        with np.errstate(invalid="ignore"):  # a share of variance, unused here, is 0 / 0 for constant samples
            pca.partial_fit(batch.cpu().flatten(1).numpy())
    found = (pca.mean_, pca.components_, np.sqrt(pca.explained_variance_))
    return PrincipalComponents(*(torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)) for part in found))


def principal_latents(normals: Normals, dimensions: int, scale: LatentScale = "whitened") -> Tensor:
    """The paper's PCA start: one latent per sample, (N, dimensions), on the CPU.

    scale: "whitened" to unit variance in each dimension, which matches q = N(0, I) of Eq. 6 (default); "unit_ball"
    divides each latent longer than 1 by its length, after GLO (Bojanowski et al. 2018); "raw" leaves the coefficients.
    """
    principal = principal_components(normals, dimensions)
    latents = torch.cat([principal.project(batch.cpu()) for batch in normals.batches()])
    if scale == "raw":
        return latents
    if scale == "whitened":
        # Where samples do not vary, as beyond the rank of duplicates, the coefficients are rounding of float32: to
        # whiten them would make noise of unit variance. They stay near 0.
        negligible = max(1e-6, 1e-5 * principal.deviations.max().item())
        whitened: Tensor = latents / principal.deviations.clamp_min(negligible)
        return whitened
    if scale == "unit_ball":
        inside: Tensor = latents / latents.norm(dim=1, keepdim=True).clamp_min(1.0)
        return inside
    raise InputError(f"latent_scale must be 'whitened', 'unit_ball' or 'raw'; got {scale!r}")
