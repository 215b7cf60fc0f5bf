"""Densities of codes, one dimension after another. Letters: B batch, d latent dimensions, K bins."""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn


class MaskedLinear(nn.Linear):
    """A linear map of d groups of channels, in which a group sees the groups before it, and itself unless `strict`.

    Vectors are d groups side by side: (B, d * before) to (B, d * after).
    """

    def __init__(self, groups: int, before: int, after: int, strict: bool) -> None:
        super().__init__(groups * before, groups * after)
        self.groups, self.strict = groups, strict

    def forward(self, values: Tensor) -> Tensor:
        """(B, d * before) to (B, d * after)."""
        blocks = self.weight.view(self.groups, -1, self.groups, self.in_features // self.groups)
        # Whether a weight counts is told by its block alone, from group to group.
        seen = blocks.permute(1, 3, 0, 2).tril(-1 if self.strict else 0).permute(2, 0, 3, 1)
        return F.linear(values, seen.reshape(self.weight.shape), self.bias)


class AutoregressiveEstimator(nn.Module):
    """The density of each of d values given those before it, as logits of K bins: masked layers with LeakyReLU.

    The first layer keeps each value from itself; the later ones keep what is known in its order. Source: the "masked
    fully connection" of Abati et al., "Latent Space Autoregression for Novelty Detection", 2019.
    """

    def __init__(self, latent_dim: int, bins: int, width: int, hidden_layers: int = 4) -> None:
        super().__init__()
        sizes = [1, *[width] * hidden_layers, bins]
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(itertools.pairwise(sizes)):
            if place:
                layers.append(nn.LeakyReLU(0.2))
            layers.append(MaskedLinear(latent_dim, before, after, strict=place == 0))
        self.layers = nn.Sequential(*layers)
        self.bins = bins

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (B, d) to logits (B, d, K)."""
        result: Tensor = self.layers(codes).view(codes.shape[0], codes.shape[1], self.bins)
        return result
