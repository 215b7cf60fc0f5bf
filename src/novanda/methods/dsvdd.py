"""Deep support vector data description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.method import Batch, Method, Player, Reference, Stage, require
from novanda.networks import LENET_HALVINGS, LeNet, lenet_block
from novanda.samples import Kind, Normals, SampleSpec
from novanda.training_options import Training

_LEAST_ENTRY = 0.1  # a centre's entry near 0 could be met by weights of 0 for every input


class DSVDDNetworks(nn.Module):
    """The bias-free LeNet, a decoder for its pretraining, and the centre of the hypersphere."""

    centre: Tensor

    def __init__(self, spec: SampleSpec, latent_dim: int, width: int, normalise_contrast: bool) -> None:
        super().__init__()
        self.normalise_contrast = normalise_contrast
        side = spec.height // 2**LENET_HALVINGS
        widths = [width * 2**level for level in range(LENET_HALVINGS)]
        self.encoder = LeNet(spec.channels, spec.height, latent_dim, width)
        up: list[nn.Module] = [
            nn.Linear(latent_dim, widths[-1] * side**2, bias=False),
            nn.Unflatten(1, (widths[-1], side, side)),
        ]
        for before, after in zip(reversed(widths), [*reversed(widths[:-1]), width], strict=True):
            up += [*lenet_block(before, after), nn.Upsample(scale_factor=2)]
        self.decoder = nn.Sequential(*up, nn.Conv2d(width, spec.channels, 5, padding=2, bias=False))
        self.register_buffer("centre", torch.zeros(latent_dim))

    def prepare(self, images: Tensor) -> Tensor:
        """Each image with mean 0 and mean absolute value 1 ("global contrast normalisation" with the L1 norm)."""
        if not self.normalise_contrast:
            return images
        centred = images - images.mean((1, 2, 3), keepdim=True)
        return centred / centred.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-3)  # a blank image stays finite

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, H) to features (B, d)."""
        result: Tensor = self.encoder(self.prepare(images))
        return result


@dataclass(frozen=True, kw_only=True)
class DSVDD(Method):
    """Deep SVDD, one-class objective (Ruff et al. 2018; row "DSVDD" of Table 3).

    First an auto-encoder is trained; its encoder's mean output becomes a centre c, entries within 0.1 of zero
    moved to +-0.1. Then the encoder alone learns to map normals near c: mean ||f(x) - c||^2. Novelty is that squared
    distance. The authors train 350 + 150 epochs by Adam 1e-4, batch 200, weight decay 5e-7; here
    `Training.epochs` are all epochs, of which `pretraining` go to the auto-encoder. Departures: a constant
    learning rate (theirs is divided by 10 late in either stage), no AMSGrad, and no min-max scaling after the
    contrast normalisation, which would need statistics of the whole class.

    When to use it: for a small fast scorer (one pass of a LeNet, one distance) on centred objects, where nobody asks
    for a picture of what was expected. Watch that the distance does not collapse to 0 for every image.

    Attributes:
        latent_dim: outputs of the encoder.
        width: channels of its first convolution; the next have twice and four times as many.
        pretraining: share of the epochs that train the auto-encoder, in [0, 1); 0: the centre is that of
            random weights.
        normalise_contrast: give each image mean 0 and mean absolute value 1 first.
    """

    name: ClassVar[str] = "dsvdd"
    title: ClassVar[str] = "DSVDD"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = (32, 64, 128)
    training: ClassVar[Training] = Training(
        epochs=500, batch_size=200, optimizer="adam", learning_rate=1e-4, weight_decay=5e-7
    )
    training_only: ClassVar[tuple[str, ...]] = ("decoder.",)

    latent_dim: int = 128
    width: int = 32
    pretraining: float = 0.7
    normalise_contrast: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latent_dim >= 1, self, "latent_dim", "at least 1")
        require(self.width >= 1, self, "width", "at least 1")
        require(0 <= self.pretraining < 1, self, "pretraining", "a share in [0, 1)")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """Encoder, decoder and centre for square samples of 32, 64 or 128 pixels."""
        return DSVDDNetworks(spec, self.latent_dim, self.width, self.normalise_contrast)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """The auto-encoder, unless its share comes to no epoch, then the hypersphere."""
        net = cast(DSVDDNetworks, model)
        encoder, decoder = list(net.encoder.parameters()), list(net.decoder.parameters())

        def reconstruction(batch: Batch) -> dict[str, Tensor]:
            images = net.prepare(batch.images)
            return {"squared error": losses.squared_error(net.decoder(net.encoder(images)), images)}

        def distance(batch: Batch) -> dict[str, Tensor]:
            return {"distance": losses.centre_distance(net(batch.images), net.centre).mean()}

        def find_centre(normals: Normals) -> None:
            net.centre.copy_(centre_of(torch.cat([net(images).float() for images in normals.batches()])))

        first = min(round(self.pretraining * epochs), epochs - 1)
        pretraining = Stage("pretrain", first, (Player("autoencoder", [*encoder, *decoder], reconstruction),))
        hypersphere = Stage("train", epochs - first, (Player("encoder", encoder, distance),), begin=find_centre)
        return (pretraining, hypersphere) if first else (hypersphere,)

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Squared distance from the centre; higher = more novel."""
        net = cast(DSVDDNetworks, model)
        return {"distance": losses.centre_distance(net(images), net.centre)}

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The encoder's features."""
        return cast(DSVDDNetworks, model)(images).float()  # type: ignore[no-any-return]  # modules are untyped when called


def centre_of(features: Tensor) -> Tensor:
    """The mean of features (N, d), entries within 0.1 of zero moved to 0.1 with their sign (0 to +0.1): (d,)."""
    mean = features.mean(0)
    least = torch.where(mean < 0, -_LEAST_ENTRY, _LEAST_ENTRY).to(mean)
    return torch.where(mean.abs() < _LEAST_ENTRY, least, mean)
