"""What the tests of methods with several players share: a small batch, and a discriminator's surprise by NumPy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from novanda.method import Batch
from novanda.samples import SampleSpec

SPEC = SampleSpec("image", 1, 32, 32)


def batch(count: int = 6) -> Batch:
    images = torch.rand(count, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(images, torch.arange(count), torch.Generator().manual_seed(2), "image", 0.0)


def surprise(logits: Tensor, real: bool) -> float:
    """Mean of -log p where real, of -log(1 - p) where not."""
    p = 1 / (1 + np.exp(-logits.detach().double().numpy()))
    return float(np.mean([-np.log(value if real else 1 - value) for value in p.flat]))
