"""The paper's three estimators of mutual information. Letters: B batch, d latent dimensions, S local channels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def dense(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Fully connected layers with ReLU between them."""
    sides = [inputs, *hidden]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sides):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(sides[-1], outputs))


class GlobalEstimator(nn.Module):
    """T of Eq. 4 on [A_z, z]: two fully connected layers of 512 units.

    A_z is A averaged over its places and mapped linearly to d dimensions ("downscaled ... the same dimension to z").
    """

    def __init__(self, local_channels: int, latent_dim: int, use_latent: bool = True) -> None:
        super().__init__()
        self.use_latent = use_latent
        self.downscale = nn.Linear(local_channels, latent_dim)
        self.critic = dense(latent_dim * (2 if use_latent else 1), (512, 512), 1)

    def forward(self, local: Tensor, latent: Tensor) -> Tensor:
        """A (B, S, h, w) and z (B, d) to T (B, 1)."""
        downscaled = self.downscale(local.mean((2, 3)))
        pair = torch.cat([downscaled, latent.to(downscaled.dtype)], 1) if self.use_latent else downscaled
        result: Tensor = self.critic(pair)
        return result


class LocalEstimator(nn.Module):
    """T of Eq. 5 on [A_ij, z_A]: a 1 x 1 convolutional network with two layers of 512 units.

    A 1 x 1 convolution is a linear map at every place; written as one, on channels-last maps, it runs faster
    on a CPU. Its first layer acts on the concatenation as the sum of a map of A_ij and one of z, so that z is
    mapped once and not at each of its replicas.
    """

    def __init__(self, local_channels: int, latent_dim: int, use_latent: bool = True) -> None:
        super().__init__()
        self.of_local = nn.Linear(local_channels, 512)
        self.of_latent = nn.Linear(latent_dim, 512, bias=False) if use_latent else None
        self.critic = nn.Sequential(
            nn.ReLU(inplace=True), nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Linear(512, 1)
        )

    def forward(self, local: Tensor, latent: Tensor) -> Tensor:
        """A (B, S, h, w) and z (B, d), replicated at every place, to T (B, 1, h, w)."""
        first = self.of_local(local.permute(0, 2, 3, 1))
        if self.of_latent is not None:
            first = first + self.of_latent(latent)[:, None, None, :]
        result: Tensor = self.critic(first)
        return result.permute(0, 3, 1, 2)


class PriorEstimator(nn.Module):
    """p(z | A) of Eq. 6: fully connected layers of 1000 and 200 units from z to a Gaussian's mean and log variance."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.layers = dense(latent_dim, (1000, 200), 2 * latent_dim)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, d) to mean (B, d) and log variance (B, d)."""
        mean, log_variance = self.layers(latent).chunk(2, 1)
        return mean, log_variance
