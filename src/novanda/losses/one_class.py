"""Drawing a boundary around one class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from novanda.losses.arithmetic import check_same_shape, in_float32


@in_float32
def centre_distance(features: Tensor, centre: Tensor) -> Tensor:
    """Squared distance of each sample's features (B, d) from a centre (d,) -> (B,); Deep SVDD's loss is its mean."""
    check_same_shape("features of a sample and the centre", centre, features[0])
    return (features - centre).square().sum(1)


@in_float32
def membership_loss(logits: Tensor, member: bool) -> Tensor:
    """Binary cross-entropy of logits of belonging to the normals, all of them members or none, averaged: -> scalar."""
    return F.softplus(-logits if member else logits).mean()
