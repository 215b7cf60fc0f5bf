"""Networks by name: novanda's own, those that a program registers, and timm's. Nothing is ever downloaded."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from torch import Tensor, nn

from novanda.errors import InputError
from novanda.networks.residual import ResidualNet

TIMM = "timm:"

_REGISTERED: dict[str, Callable[[], nn.Module]] = {}


class _Features(nn.Module):
    """A residual net up to the features below its last layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = ResidualNet(channels, classes=1)
        self.network.head = nn.Identity()  # type: ignore[assignment]  # nothing below reads it as a linear layer

    def forward(self, images: Tensor) -> Tensor:
        return self.network.features(images)


def register_network(name: str, factory: Callable[[], nn.Module]) -> None:
    """Make a network known by a name, so that methods and saved detectors can ask for it.

    A detector's file holds the weights, not the code: a program that loads one registers the same network first.

    Args:
        name: letters, digits, "_", "-" and "."; registering it again replaces it.
        factory: called without arguments; its module maps images (B, 3, H, W) to features (B, F), to maps
            (B, F, h, w) or to tokens (B, T, F).

    Raises:
        InputError: a name of other signs, or one that novanda uses itself.
    """
    if not name or not all(c.isalnum() or c in "_-." for c in name) or name == "residual":
        raise InputError(f"a network's name has letters, digits, '_', '-', '.', and is not 'residual'; got {name!r}")
    _REGISTERED[name] = factory


def make_network(name: str, channels: int) -> tuple[nn.Module, int]:
    """The network of that name with fresh weights, and how many channels it takes.

    Args:
        name: "residual" (novanda's own, for any number of channels), a registered name, or "timm:" and the name of one
            of timm's architectures.
        channels: of the samples.

    Raises:
        InputError: no such network; the message says how to make one known.
    """
    if name == "residual":
        return _Features(channels), channels
    if name in _REGISTERED:
        return _REGISTERED[name](), 3
    if name.startswith(TIMM):
        return _from_timm(name.removeprefix(TIMM)), 3
    raise InputError(f"no network is known by the name {name!r}; there are {known_networks()}")


def is_known_network(name: str) -> bool:
    """Whether `make_network` knows the name; of timm's, whether it could be one."""
    return name == "residual" or name in _REGISTERED or name.startswith(TIMM)


def known_networks() -> str:
    """The names that are known, and how to make another known, for a message."""
    known = ", ".join(["residual", *sorted(_REGISTERED)])
    return f"{known}, timm:NAME for timm's, and what novanda.networks.register_network is given beforehand"


def _from_timm(name: str) -> nn.Module:
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise InputError(f"network {TIMM}{name} needs timm: pip install timm") from error
    # Other names could mean a download ("hf-hub:..."): only architectures of the installed package are made.
    if not timm.is_model(name):
        raise InputError(f"the installed timm has no architecture {name!r}; timm.list_models() lists them")
    made: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return made
