"""How batch norms behave for a while: networks of several players run on more than what they will be scored on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextlib.contextmanager
def still_statistics(*networks: nn.Module) -> Iterator[None]:
    """Inside the block batch norms in training mode use the batch's statistics, and their running ones stay.

    For passes whose company is not what scoring will see: decoded random latents, fakes for another player's step.
    """
    norms = [m for network in networks for m in network.modules() if isinstance(m, _BatchNorm)]
    before = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, tracked in zip(norms, before, strict=True):
            norm.track_running_stats = tracked


@contextlib.contextmanager
def as_when_scoring(*networks: nn.Module) -> Iterator[None]:
    """Inside the block the networks are in eval mode, as a later stage finds those that an earlier one has trained."""
    modules = [module for network in networks for module in network.modules()]
    before = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, training in zip(modules, before, strict=True):
            module.training = training
