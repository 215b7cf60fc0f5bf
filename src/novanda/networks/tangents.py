"""How a decoder's image moves with its latent, written as plain tensor operations.

torch.func has Jacobians and torch.linalg determinants, but neither can be exported to ONNX, which scores must be.
Letters: B batch, d latent dimensions, F values in an image.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from novanda.errors import InputError

_LEAST_LENGTH = 1e-12  # of an edge, so that a direction in which nothing moves has a finite logarithm


def image_and_jacobian(layers: nn.Sequential, latents: Tensor) -> tuple[Tensor, Tensor]:
    """What a decoder in eval mode makes of latents (B, d), and the derivatives of its values by them, (B, d, F).

    One pass for the image and one for each of the d directions, forwards.

    Raises:
        InputError: a layer other than Unflatten, ConvTranspose2d, BatchNorm2d, ReLU and Tanh.
    """
    values, derivatives = latents, []
    for layer in layers:
        values = layer(values)
        derivatives.append(_derivative(layer, values))
    rows = []
    directions = torch.eye(latents.shape[1], device=latents.device, dtype=latents.dtype)
    for place in range(latents.shape[1]):
        tangent = directions[place : place + 1]  # the same for all, until a layer whose derivative needs its values
        for derivative in derivatives:
            tangent = derivative(tangent)
        rows.append(tangent.flatten(1))
    return values, torch.stack(rows, 1)


def _derivative(layer: nn.Module, values: Tensor) -> Callable[[Tensor], Tensor]:
    """The layer's linear map of tangents, where its outputs are these values."""
    if isinstance(layer, nn.Unflatten):
        return layer
    if isinstance(layer, nn.ConvTranspose2d):
        options = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
        return lambda tangent: F.conv_transpose2d(tangent, layer.weight, None, *options)  # type: ignore[arg-type]  # its options are typed loosely
    if isinstance(layer, nn.BatchNorm2d) and layer.running_var is not None:
        scale = (layer.running_var + layer.eps).rsqrt()
        scale = (scale if layer.weight is None else scale * layer.weight)[:, None, None]
        return lambda tangent: tangent * scale
    if isinstance(layer, nn.ReLU):
        active = (values > 0).to(values.dtype)
        return lambda tangent: tangent * active
    if isinstance(layer, nn.Tanh):
        slope = 1.0 - values.square()
        return lambda tangent: tangent * slope
    raise InputError(f"no derivative is written for a layer of type {type(layer).__name__}")


def log_volume(edges: Tensor) -> Tensor:
    """Log of the volume that the rows of (B, d, F) span, which is half the log determinant of J J^T: (B,).

    By Gram-Schmidt on the rows themselves: their products would square the ratio of the longest to the shortest, and
    float32 has too few digits for that.
    """
    total = edges.new_zeros(edges.shape[0])
    for _ in range(edges.shape[1]):
        first, edges = edges[:, :1], edges[:, 1:]
        length = first.square().sum(2, keepdim=True).sqrt().clamp_min(_LEAST_LENGTH)
        total = total + length[:, 0, 0].log()
        unit = first / length
        edges = edges - (edges * unit).sum(2, keepdim=True) * unit
    return total
