"""Log densities and divergences."""

from __future__ import annotations

import torch
from torch import Tensor

from novanda.losses.arithmetic import check_same_shape, in_float32


@in_float32
def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) of each sample, summed over d: (B, d) twice -> (B,)."""
    check_same_shape("mean and log_variance", mean, log_variance)
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).sum(1)


@in_float32
def gaussian_surprise(reconstruction: Tensor, images: Tensor, log_deviation: Tensor) -> Tensor:
    """-log N(images; reconstruction, exp(log_deviation)^2) of each sample, without its constant F / 2 log(2 pi).

    Images (B, C, H, W) twice, F values each, and one log standard deviation () for all of them -> (B,).
    """
    check_same_shape("reconstruction and images", reconstruction, images)
    errors = (reconstruction - images).square().flatten(1).sum(1)
    return 0.5 * errors * torch.exp(-2.0 * log_deviation) + images[0].numel() * log_deviation


@in_float32
def binned_surprise(logits: Tensor, values: Tensor) -> Tensor:
    """-log of binned densities over [0, 1] at values, summed over d: logits (B, d, K) and values (B, d) -> (B,).

    Bin k is centred on (k + 0.5) / K. Between two centres the log-probability is interpolated, so that the surprise is
    continuous in the value; at a centre it is the bin's own, and outside the outermost centres that of the last bin.
    """
    check_same_shape("values and the densities of them", values, logits[..., 0])
    bins = logits.shape[2]
    places = (values * bins - 0.5).clamp(0, bins - 1)
    distances = (places[..., None] - torch.arange(bins, device=values.device)).abs()
    return -((1 - distances).clamp_min(0) * logits.log_softmax(2)).sum((1, 2))
