"""Latent space autoregression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, require
from novanda.networks import DCGAN_SIDES, AutoregressiveEstimator, DCGANDecoder, DCGANEncoder
from novanda.samples import Kind, Normals, SampleSpec
from novanda.training_options import Training

_LEAST_SPREAD = 1e-6  # between the scores of training samples, where all are alike


class LatentAutoregressionNetworks(nn.Module):
    """An encoder to codes between 0 and 1, a decoder, and the density of the codes."""

    def __init__(self, spec: SampleSpec, latent_dim: int, width: int, bins: int, density_width: int) -> None:
        super().__init__()
        self.encoder = DCGANEncoder(spec.channels, spec.height, latent_dim, width)
        self.decoder = DCGANDecoder(spec.channels, spec.height, latent_dim, width)
        self.density = AutoregressiveEstimator(latent_dim, bins, density_width)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, H) to codes (B, d) in (0, 1); float64 in eval mode."""
        # Near 0.5, where codes begin, float32 would round scores' codes to 6e-8, and of a hundred bins that is 6e-6.
        outputs: Tensor = self.encoder(images)[1]
        return (outputs.float() if self.training else outputs.double()).sigmoid()

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, d) to images (B, C, H, H)."""
        result: Tensor = self.decoder(codes.float())
        return result

    def surprise(self, codes: Tensor) -> Tensor:
        """-log q(z) of codes (B, d), each dimension given those before it: (B,), as precise as the codes."""
        # What is to be predicted gets no gradient, only what it is predicted from.
        return losses.binned_surprise(self.density(codes.float()).to(codes), codes.detach())


@dataclass(frozen=True, kw_only=True)
class LatentAutoregression(Method):
    """Reconstruct, and learn how probable the code is (Abati et al. 2019; row "AND" of Table 3).

    An auto-encoder remembers what normals look like. A density of its codes, one dimension after another, learns how
    often such codes come, and the encoder is taught to give codes that can be predicted. A novel image is drawn
    badly, or has a code that surprises.

    With z = f(x) in (0, 1)^d and q(z) = prod_i q(z_i | z_1 ... z_(i-1)), each factor 100 bins, the objective is the
    mean of ||x - G(z)||^2 - lambda log q(z), pixels on a scale from 0 to 1; the gradient of log q(z) reaches the
    encoder through what z_i is predicted from, not through z_i itself. Novelty is
    n(||x - G(z)||^2) + n(-log q(z)), where n(v) = (v - min) / (max - min) over the training samples.

    Source: Abati, Porrello, Calderara & Cucchiara, "Latent Space Autoregression for Novelty Detection", CVPR 2019:
    residual blocks, a code of 64 in (0, 1), 100 bins, density layers of 32 channels a dimension, lambda 0.1 on
    CIFAR-10 and 1 on MNIST, Adam 1e-4. Own mean over CIFAR-10's classes 0.641. Departures: the networks are NDA's and
    DCAE's own, so that a comparison is one of objectives, at 1e-3 with a one-cycle schedule, a CPU's budget; density
    layers of 8 channels, for their weights grow with the square; log-probabilities are interpolated between the centres
    of bins, so that rounding can not move a code over an edge and its score with it; n takes training samples, where
    the authors take a held-out set of normals, which here is the calibration's.

    When to use it: where an auto-encoder would do, but draws novel images as well as normals: its code is judged too.
    Also where both parts are wanted apart, for each is a score of its own.

    Cost: one forward and backward pass of encoder, decoder and density for each image and epoch; one forward pass of
    all to score.

    Attributes:
        latent_dim: d, the dimensions of a code.
        width: channels of the first convolution.
        bins: of each factor of the density, over [0, 1].
        density_width: channels a dimension of the density's layers.
        density_weight: lambda; with 0 nothing is learned of codes, and "normalised_sum" is the error's part alone.
        score: the headline: "normalised_sum", or one of its parts: "mse", the reconstruction error, or "surprise",
            -log q(z) in nats.
    """

    name: ClassVar[str] = "latent_autoregression"
    title: ClassVar[str] = "AND"
    aliases: ClassVar[tuple[str, ...]] = ("lsa",)
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = DCGAN_SIDES[1:4]
    training: ClassVar[Training] = Training(
        epochs=50, batch_size=128, optimizer="adam", learning_rate=1e-3, schedule="one_cycle"
    )

    latent_dim: int = 64
    width: int = 64
    bins: int = 100
    density_width: int = 8
    density_weight: float = 0.1
    score: Literal["normalised_sum", "mse", "surprise"] = "normalised_sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent_dim", "width", "density_width"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        require(self.bins >= 2, self, "bins", "at least 2")
        require(self.density_weight >= 0, self, "density_weight", "at least 0")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """Encoder, decoder and density for square samples of 32, 64 or 128 pixels."""
        return LatentAutoregressionNetworks(spec, self.latent_dim, self.width, self.bins, self.density_width)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, one player."""
        net = cast(LatentAutoregressionNetworks, model)

        def loss(batch: Batch) -> dict[str, Tensor]:
            codes = net.encode(batch.images)
            # A quarter: our pixels go from -1 to 1, and the authors' lambda belongs to errors on a scale of 1.
            return {
                "squared error": 0.25 * losses.squared_error(net.decode(codes), batch.images),
                "surprise": self.density_weight * net.surprise(codes).mean(),
            }

        return (Stage("train", epochs, (Player("model", list(net.parameters()), loss),)),)

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        """The least of both parts on training samples and their spread, (2,) float64 each: "mse", then "surprise"."""
        parts = [torch.stack(self._parts(model, images), 1) for images in normals.batches()]
        every = torch.cat(parts)
        least = every.amin(0)
        return {"least": least, "spread": (every.amax(0) - least).clamp_min(_LEAST_SPREAD)}

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Both parts, each on the scale of the training samples, added; and each alone. Higher = more novel."""
        parts = self._parts(model, images)
        normalised = (torch.stack(parts, 1) - reference["least"]) / reference["spread"]
        total = normalised.sum(1) if self.density_weight > 0 else normalised[:, 0]
        scores = {"normalised_sum": total, "mse": parts[0], "surprise": parts[1]}
        return headline_first({name: values.float() for name, values in scores.items()}, self.score)

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The decoder's image of the code."""
        net = cast(LatentAutoregressionNetworks, model)
        return net.decode(net.encode(images))

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The code."""
        return cast(LatentAutoregressionNetworks, model).encode(images).float()

    def remarks(self, model: nn.Module, reference: Reference, images: Tensor) -> list[tuple[str, ...]]:
        """Which part goes beyond anything that the training samples had."""
        most = reference["least"] + reference["spread"]
        said = (
            "It is drawn worse than any of the training images.",
            "Its code is less probable than that of any training image.",
        )
        beyond = (torch.stack(self._parts(model, images), 1) > most).tolist()
        return [tuple(each for each, holds in zip(said, row, strict=True) if holds) for row in beyond]

    def _parts(self, model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error and -log q(z) of each sample, (B,) float64 each."""
        # In float64, for training samples may differ little in a large surprise, and then little is divided by little.
        net = cast(LatentAutoregressionNetworks, model)
        codes = net.encode(images)
        return (net.decode(codes).double() - images).square().flatten(1).mean(1), net.surprise(codes)
