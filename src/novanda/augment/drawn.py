"""One random transformation a sample: its parameters, and what they make of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from novanda.augment.legality import Transformation
from novanda.samples import Kind


@dataclass(frozen=True)
class Draw:
    """The random parameters of one transformation per sample, each a tensor (B,)."""

    scale_x: Tensor
    """Share of the width that the crop keeps, in (0, 1]."""
    scale_y: Tensor
    """Share of the height that the crop keeps, in (0, 1]."""
    center_x: Tensor
    """Middle of the crop, -1 the left edge, 1 the right one."""
    center_y: Tensor
    flipped: Tensor
    """Mirrored left to right (bool)."""
    angle: Tensor
    """Counter-clockwise rotation in radians."""
    brightness: Tensor
    """Factor on the values in [0, 1]."""
    contrast: Tensor
    """Factor on the distance from the sample's mean gray."""
    saturation: Tensor
    """Factor on the distance from each pixel's gray."""
    hue: Tensor
    """Turn of the hue circle, in turns."""
    gray: Tensor
    """Colour removed (bool)."""

    def where(self, chosen: Tensor, other: Draw) -> Draw:
        """This draw where `chosen` (B,) holds, the other elsewhere."""
        return Draw(
            **{f.name: torch.where(chosen, getattr(self, f.name), getattr(other, f.name)) for f in fields(Draw)}
        )


def applied(images: Tensor, draw: Draw, kind: Kind, chosen: tuple[Transformation, ...]) -> Tensor:
    """What a draw of the chosen transformations makes of samples (B, C, H, W), outside any autocast."""
    moved = Draw(**{f.name: getattr(draw, f.name).to(images.device) for f in fields(Draw)})
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 would misplace the grid by parts of a pixel
        if {"crop", "flip", "rotation"} & set(chosen):
            images = resample(images, moved, kind)
        if {"color_jitter", "grayscale"} & set(chosen):
            images = recolor(images, moved)
    return images


def resample(images: Tensor, draw: Draw, kind: Kind = "image") -> Tensor:
    """Crop, flip and rotation in one bilinear resampling, beyond the border by reflection: (B, C, H, W) -> the same.

    An output place p (from -1 to 1) reads the input at center + R(angle) diag(scale) diag(flip) p, angles measured in
    pixels. A flow's first channel is its x component, which a mirroring negates.
    """
    if len(images) == 0:
        return images  # torch makes no empty grid
    height, width = images.shape[2:]
    sign = torch.where(draw.flipped, -1.0, 1.0).to(images.dtype)
    cosine, sine = torch.cos(draw.angle), torch.sin(draw.angle)
    # Columns are the images of the output's x and y axis; height / width turns normalised units into pixels and back.
    row_x = torch.stack([cosine * draw.scale_x * sign, -sine * draw.scale_y * (height / width), draw.center_x], 1)
    row_y = torch.stack([sine * draw.scale_x * sign * (width / height), cosine * draw.scale_y, draw.center_y], 1)
    theta = torch.stack([row_x, row_y], 1).to(images.dtype)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    result = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if kind == "flow":
        result = torch.cat([result[:, :1] * sign[:, None, None, None], result[:, 1:]], 1)
    return result


def recolor(images: Tensor, draw: Draw) -> Tensor:
    """Brightness, contrast, saturation, hue, grayscale, in this order: (B, C, H, W) in [-1, 1] -> the same.

    Each of the first three is clamped to the range, as in torchvision and kornia (which shuffle the order; we do not).
    With other than three channels only brightness and contrast apply.
    """
    x = (images + 1) * 0.5
    x = (x * _spread(draw.brightness)).clamp(0, 1)
    mean = _gray(x).mean((2, 3), keepdim=True)
    x = (mean + (x - mean) * _spread(draw.contrast)).clamp(0, 1)
    if x.shape[1] == 3:
        gray = _gray(x)
        x = (gray + (x - gray) * _spread(draw.saturation)).clamp(0, 1)
        if bool((draw.hue != 0).any()):
            x = _turn_hue(x, draw.hue)
        x = torch.where(_spread(draw.gray), _gray(x), x)
    return x * 2 - 1


def false_colors(images: Tensor) -> Tensor:
    """Images as they are, in colours that they are not, and inverted: (B, C, H, W) in [-1, 1] -> (K, B, C, H, W).

    Of three channels K is 5: as it is, the channels moved on by one and by two, inverted, gray. Else it is 2: as it is
    and inverted. No edge moves.
    """
    if images.shape[1] != 3:
        return torch.stack([images, -images])
    moved = [images.roll(-by, 1) for by in (1, 2)]
    return torch.stack([images, *moved, -images, _gray(images).expand_as(images)])


def _spread(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _gray(x: Tensor) -> Tensor:
    """ITU-R 601 luma of three channels, the mean of any other number: (B, C, H, W) -> (B, 1, H, W)."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def _turn_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of RGB (B, 3, H, W) in [0, 1] by `turns` (B,), value and saturation kept (HSV)."""
    red, green, blue = x.unbind(1)
    value, smallest = x.amax(1), x.amin(1)
    chroma = value - smallest
    safe = chroma.clamp_min(1e-8)
    sextant = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sextant = sextant + 6 * turns[:, None, None]
    # HSV to RGB without cases: channel n is value - chroma * clamp(min(k, 4 - k), 0, 1) with k = (n + hue) mod 6.
    shift = torch.tensor([5.0, 3.0, 1.0], device=x.device)[:, None, None]
    k = torch.remainder(shift + sextant[:, None], 6.0)
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)
