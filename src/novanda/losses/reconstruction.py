"""How far a reconstruction is from its image: the Laplacian pyramid of Eq. 1, squared errors."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from novanda.errors import InputError
from novanda.losses.arithmetic import check_same_shape, in_float32

PyramidWeighting = Literal["sum", "mean", "weighted_mean"]


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


@in_float32
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


@in_float32
def laplacian_pyramid_distance(
    reconstruction: Tensor, images: Tensor, levels: int = 3, weighting: PyramidWeighting = "sum"
) -> Tensor:
    """Eq. 1 for each sample: sum_j 2^(2j) |Lap^j(x') - Lap^j(x)|_1, for (B, C, H, W) -> (B,).

    weighting:
        "sum"            the L1 is a sum over pixels, so 2^(2j) cancels the pixel count: levels weigh alike (default);
        "mean"           the plain mean over the pixels of each level, no factor;
        "weighted_mean"  4^j times that mean, which weighs coarse levels 4^j times.
    """
    check_same_shape("reconstruction and images", reconstruction, images)
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


@in_float32
def squared_error(reconstruction: Tensor, images: Tensor) -> Tensor:
    """Sum of squared pixel differences of each sample, averaged over the batch (Table 2's MSE row): -> scalar.

    A sum over pixels, as Eq. 1's L1 is, so that exchanging one for the other does not also change Eq. 8's balance.
    """
    check_same_shape("reconstruction and images", reconstruction, images)
    return (reconstruction - images).square().flatten(1).sum(1).mean()
