"""Telling two views of one sample apart from all other samples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from novanda.losses.arithmetic import check_same_shape, in_float32


@in_float32
def contrastive_loss(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent: cross-entropy of finding a view's partner among all other views, by cosine: (N, d) twice -> scalar.

    Row i of `first` and row i of `second` are partners; each of the 2 N views has 2 N - 2 negatives, and
    -log(exp(s_partner / T) / sum over all others of exp(s / T)) is averaged over the 2 N views.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020.
    """
    check_same_shape("the two views", first, second)
    views = F.normalize(torch.cat([first, second]), dim=1)
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    similarity = (views @ views.T / temperature).masked_fill(itself, float("-inf"))
    partners = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(similarity, partners)
