"""The variational auto-encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, require
from novanda.networks import DCGAN_SIDES, DCGANDecoder, DCGANEncoder
from novanda.samples import Kind, SampleSpec
from novanda.training_options import Training


class VAENetworks(nn.Module):
    """An encoder to a Gaussian over codes, a decoder, and the one standard deviation of what it draws."""

    def __init__(self, spec: SampleSpec, latent_dim: int, width: int) -> None:
        super().__init__()
        self.encoder = DCGANEncoder(spec.channels, spec.height, 2 * latent_dim, width)
        self.decoder = DCGANDecoder(spec.channels, spec.height, latent_dim, width)
        self.log_deviation = nn.Parameter(torch.zeros(()))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, H) to the mean and the log variance of their codes, (B, d) each."""
        mean, log_variance = self.encoder(images)[1].float().chunk(2, 1)
        return mean, log_variance


@dataclass(frozen=True, kw_only=True)
class VAE(Method):
    """Variational auto-encoder (Kingma & Welling 2014; row "VAE" of Table 3); novelty is the negative ELBO.

    -ELBO(x) = -log N(x; G(z), s^2) + KL(q(z|x) || N(0, I)). In training z is one sample of q(z|x); when scoring it is
    q's mean, so that a score is the same each time. The deviation s of the drawn image is one number, learned with the
    rest, rather than chosen. The published row does not tell its architecture; here it is the DCGAN pair at half width
    (convolutions of 32, 64, 128 channels). One pass of each network an image.

    When to use it: where the auto-encoder would, if scores should be comparable between samples as (bounds of)
    log densities, or normals are to be drawn from the prior. Density is not novelty: plain images score low.

    Attributes:
        latent_dim: d, the dimensions of a code.
        width: channels of the first convolution.
        score: the headline: "negative_elbo" (without its constant, over the number of values), or one of its parts:
            "mse" reconstruction error, "divergence" KL over the number of values.
    """

    name: ClassVar[str] = "vae"
    title: ClassVar[str] = "VAE"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = DCGAN_SIDES[1:4]
    training: ClassVar[Training] = Training(
        epochs=50, batch_size=128, optimizer="adam", learning_rate=1e-3, schedule="one_cycle"
    )

    latent_dim: int = 64
    width: int = 32
    score: Literal["negative_elbo", "mse", "divergence"] = "negative_elbo"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latent_dim >= 1, self, "latent_dim", "at least 1")
        require(self.width >= 1, self, "width", "at least 1")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """Encoder and decoder for square samples of 32, 64 or 128 pixels."""
        return VAENetworks(spec, self.latent_dim, self.width)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, one player; both terms over the number of values in a sample, as scores are."""
        net = cast(VAENetworks, model)

        def loss(batch: Batch) -> dict[str, Tensor]:
            mean, log_variance = net.encode(batch.images)
            noise = batch.normal(*mean.shape)
            drawn = net.decoder(mean + (0.5 * log_variance).exp() * noise)
            values = batch.images[0].numel()
            return {
                "surprise": losses.gaussian_surprise(drawn, batch.images, net.log_deviation).mean() / values,
                "divergence": losses.gaussian_divergence(mean, log_variance).mean() / values,
            }

        player = Player("model", list(net.parameters()), loss, undecayed=[net.log_deviation])
        return (Stage("train", epochs, (player,)),)

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """The negative ELBO at the code's mean, and its parts; higher = more novel."""
        net = cast(VAENetworks, model)
        mean, log_variance = net.encode(images)
        drawn = net.decoder(mean)
        values = images[0].numel()
        divergence = losses.gaussian_divergence(mean, log_variance) / values
        surprise = losses.gaussian_surprise(drawn, images, net.log_deviation) / values
        errors = (drawn - images).square().flatten(1).mean(1)
        return headline_first(
            {"negative_elbo": surprise + divergence, "mse": errors, "divergence": divergence}, self.score
        )

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The decoder's image of the code's mean."""
        net = cast(VAENetworks, model)
        result: Tensor = net.decoder(net.encode(images)[0])
        return result

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The code's mean."""
        return cast(VAENetworks, model).encode(images)[0]
