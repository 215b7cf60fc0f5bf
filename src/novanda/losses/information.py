"""Eqs. 2 to 8 of the paper: the latent tie, bounds of mutual information, and their sum; that of clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from novanda.errors import InputError
from novanda.losses.arithmetic import check_same_shape, in_float32
from novanda.losses.densities import gaussian_divergence

InformationEstimator = Literal["jsd", "infonce", "dv"]

_LEAST_SHARE = 1e-8  # of samples in a pair of clusters: the logarithm of none has no value


@in_float32
def latent_loss(initial: Tensor, encoded: Tensor) -> Tensor:
    """Eq. 2, L_lat = ||z' - C(x)||_2^2, averaged over the batch: (B, d) twice -> scalar."""
    check_same_shape("initial and encoded latents", initial, encoded)
    return (initial - encoded).square().sum(1).mean()


@in_float32
def information_loss(positive: Tensor, negatives: Sequence[Tensor], estimator: InformationEstimator = "jsd") -> Tensor:
    """Eq. 3, the negated lower bound of mutual information, from the critic's values T: -> scalar.

    Args:
        positive: T on pairs drawn jointly, any shape whose first dimension is B.
        negatives: T on pairs drawn from the product of margins, each of the shape of `positive`; their
            terms are averaged. Empty: the positive term alone (an ablation; "jsd" and "dv" can then be minimised
            by a constant, and "infonce", with nothing to tell apart, is 0).
        estimator: "jsd" softplus(-T+) + softplus(T-), the Jensen-Shannon bound of Eq. 3 with T a learned network;
            "infonce" -log(exp T+ / (exp T+ + sum exp T-)) over the pair's own negatives (van den Oord et al. 2018);
            "dv" -mean T+ + log mean exp T-, Donsker-Varadhan (Belghazi et al. 2018).

    Raises:
        InputError: another estimator, or negatives of another shape than `positive`.
    """
    check_same_shape("positive and negative critic values", positive, *negatives)
    if estimator == "jsd":
        loss = F.softplus(-positive).mean()
        return loss + torch.stack([F.softplus(n).mean() for n in negatives]).mean() if negatives else loss
    if estimator == "infonce":
        return (torch.logsumexp(torch.stack([positive, *negatives]), 0) - positive).mean()
    if estimator == "dv":
        if not negatives:
            return -positive.mean()
        every = torch.cat([n.flatten() for n in negatives])
        return torch.logsumexp(every, 0) - math.log(len(every)) - positive.mean()
    raise InputError(f"estimator must be 'jsd', 'infonce' or 'dv'; got {estimator!r}")


def global_information_loss(
    positive: Tensor, negatives: Sequence[Tensor], beta: float = 0.5, estimator: InformationEstimator = "jsd"
) -> Tensor:
    """Eq. 4, L_global: beta times Eq. 3 on T([A_z, z]), (B, 1) for A of x and for A of each negative: -> scalar."""
    return beta * information_loss(positive, negatives, estimator)


def local_information_loss(
    positive: Tensor, negatives: Sequence[Tensor], beta: float = 0.5, estimator: InformationEstimator = "jsd"
) -> Tensor:
    """Eq. 5, L_local: beta times Eq. 3 averaged over the h * w places, on T([A_ij, z_A]), (B, 1, h, w): -> scalar."""
    return beta * information_loss(positive, negatives, estimator)


@in_float32
def prior_loss(mean: Tensor, log_variance: Tensor, gamma: float = 0.1) -> Tensor:
    """Eq. 6, L_prior: gamma E[KL(N(mean, exp(log_variance)) || N(0, I))], summed over d: (B, d) twice -> scalar."""
    return gamma * gaussian_divergence(mean, log_variance).mean()


@in_float32
def batch_moments_prior_loss(latents: Tensor, gamma: float = 0.1) -> Tensor:
    """Eq. 6 with p(z) the Gaussian of the batch's own per-dimension moments: (B, d), B >= 2 -> scalar."""
    if latents.ndim != 2 or len(latents) < 2:
        raise InputError(f"the moments of a batch need latents (B, d) with B >= 2; got {tuple(latents.shape)}")
    variance = latents.var(0, unbiased=False).clamp_min(1e-6)
    return prior_loss(latents.mean(0, keepdim=True), variance.log()[None], gamma)


@in_float32
def mutual_information_loss(global_loss: Tensor, local_loss: Tensor, prior: Tensor) -> Tensor:
    """Eq. 7, L_mie = L_global + L_local + L_prior (the paper's text cites their numbers off by one)."""
    return global_loss + local_loss + prior


@in_float32
def total_loss(
    laplacian: Tensor, latent: Tensor, information: Tensor, weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Tensor:
    """Eq. 8, L_all = lambda_1 L_lap + lambda_2 L_lat + lambda_3 L_mie; all lambdas are 1 in the paper."""
    return weights[0] * laplacian + weights[1] * latent + weights[2] * information


@in_float32
def cluster_joint(first: Tensor, second: Tensor) -> Tensor:
    """How often two views of a sample fall into clusters c and c', made symmetric: P of Ji et al. 2019, Eq. 2.

    Posteriors (B, ..., K) of either view, each adding up to 1 -> (..., K, K), adding up to 1.
    """
    check_same_shape("posteriors of the two views", first, second)
    joint = torch.einsum("b...k,b...l->...kl", first, second) / len(first)
    return 0.5 * (joint + joint.mT)


@in_float32
def pointwise_information(joint: Tensor) -> Tensor:
    """ln(P_cc' / (P_c P_c')) of a joint distribution: (..., K, K) -> the same; shares below 1e-8 count as that.

    Seen and by chance alike: were the joint alone held up, a pair with a cluster that no sample is in would count as
    seen more often than by chance.
    """
    by_chance = joint.sum(-1, keepdim=True) * joint.sum(-2, keepdim=True)
    return joint.clamp_min(_LEAST_SHARE).log() - by_chance.clamp_min(_LEAST_SHARE).log()


@in_float32
def cluster_information_loss(first: Tensor, second: Tensor) -> Tensor:
    """Minus the mutual information of the clusters of two views, in nats: posteriors (B, ..., K) twice -> scalar.

    sum_cc' P_cc' ln(P_cc' / (P_c P_c')) of `cluster_joint` (Ji et al. 2019, Eq. 3), averaged over what lies between B
    and K, such as sub-heads.
    """
    joint = cluster_joint(first, second)
    return -(joint * pointwise_information(joint)).sum((-2, -1)).mean()
