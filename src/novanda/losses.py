"""Objectives as pure functions, one per published equation.

Equation numbers are those of Chen et al., "Novelty Detection via Contrastive Learning with Negative Data
Augmentation", IJCAI 2021; where the paper is silent the docstring says which reading is taken. Letters: B batch,
C channels, H height, W width, d latent dimensions, S channels and h, w sides of a local feature map.

Every function computes in float32 at least (float64 stays float64), whatever half precision its inputs have and
whatever autocast is active: sums over thousands of pixels do not survive bfloat16. Tensors of unlike shapes, which
would broadcast into a wrong but finite number, raise InputError.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal, ParamSpec, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from novanda.errors import InputError

PyramidWeighting = Literal["sum", "mean", "weighted_mean"]
InformationEstimator = Literal["jsd", "infonce", "dv"]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _in_float32(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Run a loss outside autocast, its half-precision arguments (and those in lists) widened to float32."""

    def widen(value: object) -> object:
        if isinstance(value, list | tuple):
            return type(value)(map(widen, value))
        half = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
        return value.float() if half else value  # type: ignore[attr-defined]

    @functools.wraps(function)
    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        device = next((a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*[widen(a) for a in args], **{k: widen(v) for k, v in kwargs.items()})  # type: ignore[arg-type]

    return run


def _check_same_shape(what: str, first: Tensor, *others: Tensor) -> None:
    for other in others:
        if other.shape != first.shape:
            raise InputError(f"{what} must have the same shape; got {tuple(first.shape)} and {tuple(other.shape)}")


# ---------------------------------------------------------------------------------------------------------------
# Eq. 1: the Laplacian pyramid


def _gaussian_5x5(channels: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Depthwise 5 x 5 Gaussian of standard deviation 1 pixel, normalised to sum 1: (C, 1, 5, 5).

    Not cached: a tensor first made under inference mode, or while exporting, could never serve training after.
    """
    offset = torch.arange(-2, 3, device=device, dtype=dtype)
    row = torch.exp(-0.5 * offset**2)
    row = row / row.sum()
    return torch.outer(row, row).expand(channels, 1, 5, 5).contiguous()


def _extend(images: Tensor, dimension: int) -> Tensor:
    """Two pixels more at each end, reflected about the edge; the edge repeated if 1 or 2 are too few to reflect.

    As F.pad does; but the gradient of its "reflect" adds in no fixed order on a GPU, and one seed then gives many runs.
    """
    size = images.shape[dimension]
    if size > 2:
        before = images.narrow(dimension, 1, 2).flip(dimension)
        after = images.narrow(dimension, size - 3, 2).flip(dimension)
    else:
        first, last = images.narrow(dimension, 0, 1), images.narrow(dimension, size - 1, 1)
        before, after = torch.cat([first, first], dimension), torch.cat([last, last], dimension)
    return torch.cat([before, images, after], dimension)


def _blur(images: Tensor, kernel: Tensor) -> Tensor:
    """Gaussian blur with reflect padding."""
    return F.conv2d(_extend(_extend(images, 3), 2), kernel, groups=images.shape[1])


@_in_float32
def laplacian_pyramid(images: Tensor, levels: int = 3) -> list[Tensor]:
    """Band-pass levels and the low-pass residual of images (B, C, H, W), finest first.

    Level j is what a 5 x 5 Gaussian takes away from the image at 1 / 2^j of its size; the last entry is what is left
    after `levels` halvings (every second pixel of the blurred image). Returns levels + 1 tensors, the j-th of size
    (B, C, ceil(H / 2^j), ceil(W / 2^j)).
    """
    if levels < 1:
        raise InputError(f"a Laplacian pyramid needs at least 1 level; got {levels}")
    if images.ndim != 4 or not images.is_floating_point():
        raise InputError(
            f"a Laplacian pyramid needs images (B, C, H, W) of floats; got {tuple(images.shape)}, {images.dtype}"
        )
    kernel = _gaussian_5x5(images.shape[1], images.device, images.dtype)
    bands = []
    for _ in range(levels):
        low = _blur(images, kernel)
        bands.append(images - low)
        images = low[..., ::2, ::2]
    return [*bands, images]


@_in_float32
def laplacian_pyramid_distance(
    reconstruction: Tensor, images: Tensor, levels: int = 3, weighting: PyramidWeighting = "sum"
) -> Tensor:
    """Eq. 1 for each sample: sum_j 2^(2j) |Lap^j(x') - Lap^j(x)|_1, for (B, C, H, W) -> (B,).

    weighting:
        "sum"            the L1 is a sum over pixels, so 2^(2j) cancels the pixel count: levels weigh alike (default);
        "mean"           the plain mean over the pixels of each level, no factor;
        "weighted_mean"  4^j times that mean, which weighs coarse levels 4^j times.
    """
    _check_same_shape("reconstruction and images", reconstruction, images)
    if weighting not in get_args(PyramidWeighting):
        raise InputError(f"weighting must be 'sum', 'mean' or 'weighted_mean'; got {weighting!r}")
    # The pyramid is linear: the difference of two pyramids is the pyramid of the difference, at half the cost.
    difference = laplacian_pyramid(reconstruction - images, levels)
    total = difference[0].new_zeros(images.shape[0])
    for level, band in enumerate(difference):
        absolute = band.abs().flatten(1)
        if weighting == "sum":
            total = total + 4.0**level * absolute.sum(1)
        elif weighting == "mean":
            total = total + absolute.mean(1)
        else:
            total = total + 4.0**level * absolute.mean(1)
    return total


def laplacian_pyramid_loss(
    reconstruction: Tensor, images: Tensor, levels: int = 3, weighting: PyramidWeighting = "sum"
) -> Tensor:
    """Eq. 1, L_lap, averaged over the batch: (B, C, H, W) twice -> scalar."""
    return laplacian_pyramid_distance(reconstruction, images, levels, weighting).mean()


@_in_float32
def squared_error(reconstruction: Tensor, images: Tensor) -> Tensor:
    """Sum of squared pixel differences of each sample, averaged over the batch (Table 2's MSE row): -> scalar.

    A sum over pixels, as Eq. 1's L1 is, so that exchanging one for the other does not also change Eq. 8's balance.
    """
    _check_same_shape("reconstruction and images", reconstruction, images)
    return (reconstruction - images).square().flatten(1).sum(1).mean()


# ---------------------------------------------------------------------------------------------------------------
# Eq. 2: the latent tie


@_in_float32
def latent_loss(initial: Tensor, encoded: Tensor) -> Tensor:
    """Eq. 2, L_lat = ||z' - C(x)||_2^2, averaged over the batch: (B, d) twice -> scalar."""
    _check_same_shape("initial and encoded latents", initial, encoded)
    return (initial - encoded).square().sum(1).mean()


# ---------------------------------------------------------------------------------------------------------------
# Eqs. 3-7: mutual information


@_in_float32
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
    _check_same_shape("positive and negative critic values", positive, *negatives)
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


@_in_float32
def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) of each sample, summed over d: (B, d) twice -> (B,)."""
    _check_same_shape("mean and log_variance", mean, log_variance)
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).sum(1)


@_in_float32
def prior_loss(mean: Tensor, log_variance: Tensor, gamma: float = 0.1) -> Tensor:
    """Eq. 6, L_prior: gamma E[KL(N(mean, exp(log_variance)) || N(0, I))], summed over d: (B, d) twice -> scalar."""
    return gamma * gaussian_divergence(mean, log_variance).mean()


@_in_float32
def batch_moments_prior_loss(latents: Tensor, gamma: float = 0.1) -> Tensor:
    """Eq. 6 with p(z) the Gaussian of the batch's own per-dimension moments: (B, d), B >= 2 -> scalar."""
    if latents.ndim != 2 or len(latents) < 2:
        raise InputError(f"the moments of a batch need latents (B, d) with B >= 2; got {tuple(latents.shape)}")
    variance = latents.var(0, unbiased=False).clamp_min(1e-6)
    return prior_loss(latents.mean(0, keepdim=True), variance.log()[None], gamma)


@_in_float32
def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross-entropy of a discriminator's logits, real against fake: any shapes -> scalar (GAN, 2014)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


@_in_float32
def fooling_loss(fake: Tensor) -> Tensor:
    """Non-saturating loss of the player whose outputs should pass for real, from their logits: -> scalar."""
    return F.softplus(-fake).mean()


@_in_float32
def mutual_information_loss(global_loss: Tensor, local_loss: Tensor, prior: Tensor) -> Tensor:
    """Eq. 7, L_mie = L_global + L_local + L_prior (the paper's text cites their numbers off by one)."""
    return global_loss + local_loss + prior


@_in_float32
def total_loss(
    laplacian: Tensor, latent: Tensor, information: Tensor, weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Tensor:
    """Eq. 8, L_all = lambda_1 L_lap + lambda_2 L_lat + lambda_3 L_mie; all lambdas are 1 in the paper."""
    return weights[0] * laplacian + weights[1] * latent + weights[2] * information


# ---------------------------------------------------------------------------------------------------------------
# Other methods


@_in_float32
def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (B, K) against labels (B,), averaged: -> scalar."""
    return F.cross_entropy(logits, labels)


@_in_float32
def gaussian_surprise(reconstruction: Tensor, images: Tensor, log_deviation: Tensor) -> Tensor:
    """-log N(images; reconstruction, exp(log_deviation)^2) of each sample, without its constant F / 2 log(2 pi).

    Images (B, C, H, W) twice, F values each, and one log standard deviation () for all of them -> (B,).
    """
    _check_same_shape("reconstruction and images", reconstruction, images)
    errors = (reconstruction - images).square().flatten(1).sum(1)
    return 0.5 * errors * torch.exp(-2.0 * log_deviation) + images[0].numel() * log_deviation


@_in_float32
def centre_distance(features: Tensor, centre: Tensor) -> Tensor:
    """Squared distance of each sample's features (B, d) from a centre (d,) -> (B,); Deep SVDD's loss is its mean."""
    _check_same_shape("features of a sample and the centre", centre, features[0])
    return (features - centre).square().sum(1)
