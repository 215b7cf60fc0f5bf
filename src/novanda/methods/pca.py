"""Linear reconstruction: the floor that every learned method should stand above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from novanda.latents import PrincipalComponents, principal_components
from novanda.method import Method, Reference, require
from novanda.samples import KINDS, Kind, Normals


@dataclass(frozen=True, kw_only=True)
class PCA(Method):
    """Squared error of the reconstruction from the leading principal components of the normals (a linear auto-encoder).

    Source: textbook; not in the paper's tables, measured as their floor. Check values with 64 components, protocol 2:
    CIFAR-10 mean AUROC 0.555; with 32: MNIST 0.955, Fashion-MNIST 0.905.
    Score: ||x - m - V V'(x - m)||^2 over the number of values, m the mean and V the leading components.

    When to use it: first, always: it fits in seconds, needs no tuning, and anything slower has to beat it. Good on
    aligned pictures, spectra and tables of correlated features; blind to whatever the components can draw.

    Attributes:
        components: how many; clamped to what the samples allow.
    """

    name: ClassVar[str] = "pca"
    title: ClassVar[str] = "PCA reconstruction"
    kinds: ClassVar[frozenset[Kind]] = frozenset(KINDS)

    components: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.components >= 1, self, "components", "at least 1")

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        """Mean (F,) and components (d, F) of the normals; F values in a sample."""
        most = min(len(normals) - 1, normals.spec.size)
        principal = principal_components(normals, max(1, min(self.components, most)))
        return {"mean": principal.mean, "components": principal.components}

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Mean squared reconstruction error; higher = more novel."""
        return {"mse": (self.reconstruct(model, reference, images) - images).square().flatten(1).mean(1)}

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The projection on the components' span."""
        principal = PrincipalComponents(reference["mean"], reference["components"], reference["mean"][:0])
        return principal.restore(principal.project(images)).view_as(images)

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The coefficients of the components."""
        principal = PrincipalComponents(reference["mean"], reference["components"], reference["mean"][:0])
        return principal.project(images)
