"""Telling classes apart."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from novanda.losses.arithmetic import in_float32


@in_float32
def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (B, K) against labels (B,), averaged: -> scalar."""
    return F.cross_entropy(logits, labels)
