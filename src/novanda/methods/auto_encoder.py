"""The deep convolutional auto-encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

from torch import Tensor, nn

from novanda import losses
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, require
from novanda.methods.nda import reconstruction_errors
from novanda.networks import DCGAN_SIDES, DCGANDecoder, DCGANEncoder
from novanda.samples import Kind, SampleSpec
from novanda.training_options import Training


class AutoEncoderNetworks(nn.Module):
    """The DCGAN encoder followed by the DCGAN decoder."""

    def __init__(self, spec: SampleSpec, latent_dim: int, width: int) -> None:
        super().__init__()
        self.encoder = DCGANEncoder(spec.channels, spec.height, latent_dim, width)
        self.decoder = DCGANDecoder(spec.channels, spec.height, latent_dim, width)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, H) to their reconstructions."""
        result: Tensor = self.decoder(self.encoder(images)[1])
        return result


@dataclass(frozen=True, kw_only=True)
class AutoEncoder(Method):
    """Convolutional auto-encoder with squared error (row "DCAE" of Table 4; Masci et al. 2011).

    The networks are NDA's own, so that a comparison with NDA is one of objectives. An image is squeezed through
    a code too narrow to hold anything but what normals have in common; what is novel comes out wrong. Objective:
    ||D(E(x)) - x||^2 summed over pixels; score: its mean over pixels. One pass of each network an image.

    When to use it: for aligned, simple pictures whose error map a person should see, and as the baseline of every
    other reconstruction. It draws bright and smooth novelties well too: those it misses.

    Attributes:
        latent_dim: d, the width of the waist.
        width: channels of the first convolution.
        score: the headline: "mse", "l1" or "laplacian" reconstruction error.
    """

    name: ClassVar[str] = "auto_encoder"
    title: ClassVar[str] = "DCAE"
    aliases: ClassVar[tuple[str, ...]] = ("dcae",)
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = DCGAN_SIDES[1:4]
    training: ClassVar[Training] = Training(
        epochs=50, batch_size=128, optimizer="adam", learning_rate=1e-3, schedule="one_cycle"
    )

    latent_dim: int = 128
    width: int = 64
    score: Literal["mse", "l1", "laplacian"] = "mse"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latent_dim >= 1, self, "latent_dim", "at least 1")
        require(self.width >= 1, self, "width", "at least 1")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """Encoder and decoder for square samples of 32, 64 or 128 pixels."""
        return AutoEncoderNetworks(spec, self.latent_dim, self.width)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, one player."""

        def loss(batch: Batch) -> dict[str, Tensor]:
            return {"squared error": losses.squared_error(model(batch.images), batch.images)}

        return (Stage("train", epochs, (Player("model", list(model.parameters()), loss),)),)

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Reconstruction error by three measures; higher = more novel."""
        return headline_first(reconstruction_errors(model(images), images), self.score)

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The decoder's image of the encoder's code."""
        return cast(Tensor, model(images))

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The code at the waist."""
        result: Tensor = cast(AutoEncoderNetworks, model).encoder(images)[1]
        return result
