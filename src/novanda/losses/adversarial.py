"""Objectives of two players, one of whom tells apart what the other makes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from novanda.losses.arithmetic import in_float32


@in_float32
def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross-entropy of a discriminator's logits, real against fake: any shapes -> scalar (GAN, 2014)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


@in_float32
def fooling_loss(fake: Tensor) -> Tensor:
    """Non-saturating loss of the player whose outputs should pass for real, from their logits: -> scalar."""
    return F.softplus(-fake).mean()


@in_float32
def energy_discriminator_loss(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    """Of a discriminator that gives energies, low for the real: mean E(x) + mean max(0, margin - E(fake)), -> scalar.

    Any shapes. Source: Zhao, Mathieu & LeCun, "Energy-based generative adversarial networks", 2017.
    """
    return real.mean() + F.relu(margin - fake).mean()
