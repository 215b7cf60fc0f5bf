"""OCGAN: an auto-encoder whose every latent is made to draw a normal image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.method import Batch, Method, Player, Reference, Stage, parameters_of, require
from novanda.networks import (
    DCGAN_SIDES,
    DCGANDecoder,
    DCGANDiscriminator,
    DCGANEncoder,
    dense,
    still_statistics,
)
from novanda.samples import Kind, SampleSpec
from novanda.training_options import Training


class OCGANNetworks(nn.Module):
    """The auto-encoder with latents in (-1, 1)^d, two discriminators and the classifier that mining climbs."""

    def __init__(self, spec: SampleSpec, latent_dim: int, width: int) -> None:
        super().__init__()
        self.encoder = DCGANEncoder(spec.channels, spec.height, latent_dim, width)
        self.decoder = DCGANDecoder(spec.channels, spec.height, latent_dim, width)
        self.latent_discriminator = dense(latent_dim, (128, 64, 32, 16), 1)
        self.visual_discriminator = DCGANDiscriminator(spec.channels, spec.height, width)
        self.classifier = DCGANDiscriminator(spec.channels, spec.height, width)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, H) to latents (B, d) in (-1, 1)."""
        return torch.tanh(self.encoder(images)[1].float())

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, H) to their reconstructions."""
        result: Tensor = self.decoder(self.encode(images))
        return result


@dataclass(frozen=True, kw_only=True)
class OCGAN(Method):
    """An auto-encoder whose latents fill a box, every point of which must draw a normal image.

    An auto-encoder that has never been told what to draw elsewhere also draws novel images well. Here latents are held
    to (-1, 1)^d and made uniform in it by one discriminator, and whatever is decoded from the box must pass for real
    before another; latents that still draw something else are sought by gradient and used first.

    With l = tanh E(x + n) and u uniform in the box, step by step: the classifier C minimises
    -log C(G(l)) - log(1 - C(G(u))); the discriminators -log D_l(u) - log(1 - D_l(l)) and
    -log D_v(x) - log(1 - D_v(G(u))); then `mining_steps` times u moves along the gradient of -log C(G(u)), to where C
    is surer that the image is none of the class; E and G minimise
    -log D_l(l) - log D_v(G(u)) + 10 |x - G(l)|^2 / F, F values in an image. Novelty is |x - G(tanh E(x))|^2 / F.

    Perera, Nallapati & Xiang, CVPR 2019 (rows "OCGAN" of Tables 3 and 4). The authors train 200 epochs by Adam 2e-4,
    batch 512, latent 16 and noise 0.2 in their code, and score by the same error among others. Departures: networks are
    the DCGAN pair, as in the other methods here; noise 0.2 is a standard deviation on images in [-1, 1]; the size of a
    mining step is ours, and steps end at the box's walls; the last epoch is kept; batch 128, for one epoch of 5,000
    images has 10 steps by 512, and a CPU affords few epochs. Their code differs from their paper, which is followed
    here: it weighs D_l(l) tenfold, halves the squared error, begins to mine after 150 epochs with one step, and steps
    the discriminators before the classifier. An independent rerun of theirs got 0.578 on CIFAR-10, where 0.657 is
    published.

    When to use it: where an auto-encoder draws novel things too well, on classes of one kind of picture such as digits
    of one sort. Three players are the most here, and their balance is the least sure.

    Cost: each image of an epoch goes 3 times through the encoder, 5 + `mining_steps` times through the decoder and as
    often through a convolutional discriminator; backwards once through the encoder, 2 + `mining_steps` times through
    the decoder and 5 + `mining_steps` times through a discriminator. Scoring is one pass through encoder and decoder.

    Attributes:
        latent_dim: d.
        width: channels of the first convolutions.
        noise: standard deviation of n, images lying in [-1, 1].
        reconstruction_weight: of the squared error in E's and G's objective, 10 in the paper.
        mining_steps: how often u moves before G learns from it; 0: it stays as drawn, and there is no classifier.
        mining_rate: by how much of its gradient u moves in each step.
    """

    name: ClassVar[str] = "ocgan"
    title: ClassVar[str] = "OCGAN"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = DCGAN_SIDES[1:4]
    training: ClassVar[Training] = Training(
        epochs=200, batch_size=128, optimizer="adam", learning_rate=2e-4, momentum=0.5
    )
    training_only: ClassVar[tuple[str, ...]] = ("latent_discriminator.", "visual_discriminator.", "classifier.")

    latent_dim: int = 16
    width: int = 32
    noise: float = 0.2
    reconstruction_weight: float = 10.0
    mining_steps: int = 5
    mining_rate: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latent_dim >= 1, self, "latent_dim", "at least 1")
        require(self.width >= 1, self, "width", "at least 1")
        require(self.mining_steps >= 0, self, "mining_steps", "at least 0")
        for name in ("noise", "reconstruction_weight", "mining_rate"):
            require(getattr(self, name) >= 0, self, name, "at least 0")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """Auto-encoder, discriminators and classifier for square samples of 32, 64 or 128 pixels."""
        return OCGANNetworks(spec, self.latent_dim, self.width)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage; the classifier steps, then both discriminators, then the auto-encoder."""
        net = cast(OCGANNetworks, model)
        discriminators = parameters_of(net.latent_discriminator, net.visual_discriminator)
        players = (
            Player("classifier", parameters_of(net.classifier), lambda batch: self._classify(net, batch)),
            Player("discriminators", discriminators, lambda batch: self._discriminate(net, batch)),
            Player("auto-encoder", parameters_of(net.encoder, net.decoder), lambda batch: self._draw(net, batch)),
        )
        return (Stage("train", epochs, players if self.mining_steps else players[1:]),)

    def _drawn(self, net: OCGANNetworks, batch: Batch) -> tuple[Tensor, Tensor]:
        """Latents of the noisy images and images of uniform latents, for the players that judge them."""
        with torch.no_grad(), still_statistics(net.encoder, net.decoder):
            uniform = batch.uniform(len(batch.images), self.latent_dim)
            return net.encode(batch.noisy(self.noise)), net.decoder(uniform)

    def _classify(self, net: OCGANNetworks, batch: Batch) -> dict[str, Tensor]:
        latents, others = self._drawn(net, batch)
        with torch.no_grad(), still_statistics(net.decoder):
            reconstructions = net.decoder(latents)
        loss = losses.discriminator_loss(net.classifier(reconstructions), net.classifier(others))
        return {"encoded or uniform": loss}

    def _discriminate(self, net: OCGANNetworks, batch: Batch) -> dict[str, Tensor]:
        latents, others = self._drawn(net, batch)
        uniform = batch.uniform(*latents.shape)
        latent = losses.discriminator_loss(net.latent_discriminator(uniform), net.latent_discriminator(latents))
        visual = losses.discriminator_loss(net.visual_discriminator(batch.images), net.visual_discriminator(others))
        return {"latent": latent, "visual": visual}

    def _draw(self, net: OCGANNetworks, batch: Batch) -> dict[str, Tensor]:
        latents = net.encode(batch.noisy(self.noise))
        mined = self.mined(net, batch.uniform(*latents.shape))
        error = losses.squared_error(net.decoder(latents), batch.images) / batch.images[0].numel()
        # Scores are taken from what is decoded of encoded images: theirs are the statistics to keep.
        with still_statistics(net.decoder, net.visual_discriminator):
            judged = net.visual_discriminator(net.decoder(mined))
        return {
            "latent": losses.fooling_loss(net.latent_discriminator(latents)),
            "visual": losses.fooling_loss(judged),
            "squared error": self.reconstruction_weight * error,
        }

    def mined(self, net: OCGANNetworks, latents: Tensor) -> Tensor:
        """Latents (B, d) moved to where the classifier is surer that their images are none of the class."""
        with still_statistics(net.decoder, net.classifier):
            for _ in range(self.mining_steps):
                latents = latents.detach().requires_grad_()
                # A sum over the batch, so that a latent's step does not shrink with how many there are.
                surprise = losses.fooling_loss(net.classifier(net.decoder(latents))) * len(latents)
                (gradient,) = torch.autograd.grad(surprise, latents)
                latents = (latents + self.mining_rate * gradient).clamp(-1.0, 1.0)
        return latents.detach()

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Mean squared reconstruction error; higher = more novel."""
        return {"mse": (model(images).float() - images).square().flatten(1).mean(1)}

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The decoder's image of the encoder's latent."""
        return cast(Tensor, model(images))

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The latent, in (-1, 1)."""
        return cast(OCGANNetworks, model).encode(images)
