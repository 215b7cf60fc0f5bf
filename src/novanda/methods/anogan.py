"""AnoGAN: how near a generator of normal images comes to an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, parameters_of, require
from novanda.networks import (
    DCGAN_SIDES,
    DCGANDecoder,
    DCGANDiscriminator,
    DCGANEncoder,
    as_when_scoring,
    still_statistics,
)
from novanda.samples import Kind, SampleSpec
from novanda.training_options import Training

_MOST_STEPS = 10_000  # of a search: a file may ask for them whenever it is loaded


class AnoGANNetworks(nn.Module):
    """A DCGAN's generator and discriminator, and an encoder that finds an image's latent, where one is wanted."""

    def __init__(self, spec: SampleSpec, latent_dim: int, width: int, encoding: bool) -> None:
        super().__init__()
        self.generator = DCGANDecoder(spec.channels, spec.height, latent_dim, width)
        self.discriminator = DCGANDiscriminator(spec.channels, spec.height, width)
        self.encoder = DCGANEncoder(spec.channels, spec.height, latent_dim, width) if encoding else None


@dataclass(frozen=True, kw_only=True)
class AnoGAN(Method):
    """How near a generator of normal images comes to an image, in pixels and in its discriminator's features.

    A GAN learns to draw normal images from random latents. For a new image the latent is found whose image is most like
    it: by an encoder trained to do so (f-AnoGAN, the default), or by a search along the gradient for each image. Novel
    images have no such latent.

    The discriminator minimises -log D(x) - log(1 - D(G(z))), the generator -log D(G(z)), z from N(0, I); then, with
    both fixed, the encoder |x - G(E(x))|^2 / F + |f(x) - f(G(E(x)))|^2 / F', f the discriminator's last map of F'
    values and F the values in an image. Novelty is (1 - w) |x - G(z)|_1 / F + w |f(x) - f(G(z))|_1 / F' with w = 0.1
    and z = E(x), or the z that the search, which minimises the same by Adam from z = 0, ends with.

    Schlegl, Seebock, Waldstein, Schmidt-Erfurth & Langs, IPMI 2017 (row "AnoGAN" of Table 3), and their f-AnoGAN, 2019,
    for the encoder. The authors draw z from a uniform prior and search 500 steps from a random latent, with sums for
    means; f-AnoGAN's GAN is a Wasserstein one with a gradient penalty, and its score the sum of both squared errors.
    Departures: a DCGAN with a normal prior, trained by Adam 2e-4, in both cases, and AnoGAN's score; means, so that w
    weighs alike at any size; the search begins at the prior's mean, so that a score is the same
    each time; the encoder is the default, for a search of 500 steps takes a CPU hundreds of times as long.

    When to use it: to ask how much of an image a GAN can account for; with few epochs, little. The search needs no
    encoder, and is for few images at a time; it can not be exported.

    Cost: each image of an epoch of the GAN goes 2 times through the generator and 3 times through the discriminator,
    backwards once and 3 times; in an epoch of the encoder once through encoder and generator, forwards and backwards,
    and 2 times through the discriminator, backwards once. Scoring is one pass through encoder and generator and two
    through the discriminator; with the search `search_steps` times forwards and backwards through the latter two.

    Attributes:
        latent_dim: d.
        width: channels of the first convolutions.
        latents: how z is found: "encoder" or "search".
        encoding: share of the epochs that train the encoder, in (0, 1); at least one does, and one trains the GAN.
        feature_weight: w, in [0, 1].
        search_steps: of the search, 1 to 10,000.
        search_rate: Adam's learning rate in it.
        score: the headline: "anomaly", the weighted sum, or one of its parts, "l1" in pixels or "feature".
    """

    name: ClassVar[str] = "anogan"
    title: ClassVar[str] = "AnoGAN"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = DCGAN_SIDES[1:4]
    training: ClassVar[Training] = Training(
        epochs=50, batch_size=128, optimizer="adam", learning_rate=2e-4, momentum=0.5
    )

    latent_dim: int = 64
    width: int = 32
    latents: Literal["encoder", "search"] = "encoder"
    encoding: float = 0.25
    feature_weight: float = 0.1
    search_steps: int = 500
    search_rate: float = 0.02
    score: Literal["anomaly", "l1", "feature"] = "anomaly"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latent_dim >= 1, self, "latent_dim", "at least 1")
        require(self.width >= 1, self, "width", "at least 1")
        require(0 < self.encoding < 1, self, "encoding", "a share in (0, 1)")
        require(0 <= self.feature_weight <= 1, self, "feature_weight", "in [0, 1]")
        require(1 <= self.search_steps <= _MOST_STEPS, self, "search_steps", f"1 to {_MOST_STEPS}")
        require(self.search_rate > 0, self, "search_rate", "above 0")

    def export_obstacle(self) -> str | None:
        """Of the search, which goes along gradients."""
        if self.latents == "encoder":
            return None
        return 'its search goes along gradients, image by image. Fit it with latents="encoder", which can be exported'

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """Generator, discriminator and encoder for square samples of 32, 64 or 128 pixels."""
        return AnoGANNetworks(spec, self.latent_dim, self.width, self.latents == "encoder")

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """The GAN, its discriminator stepping first; then the encoder, where there is one."""
        net = cast(AnoGANNetworks, model)
        gan = (
            Player("discriminator", parameters_of(net.discriminator), lambda batch: self._discriminate(net, batch)),
            Player("generator", parameters_of(net.generator), lambda batch: self._generate(net, batch)),
        )
        if net.encoder is None:
            return (Stage("train", epochs, gan),)
        last = max(1, round(self.encoding * epochs))
        encoder = Player("encoder", parameters_of(net.encoder), lambda batch: self._encode(net, batch))
        return (Stage("gan", max(1, epochs - last), gan), Stage("train", last, (encoder,)))

    def _discriminate(self, net: AnoGANNetworks, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad(), still_statistics(net.generator):
            drawn = net.generator(batch.normal(len(batch.images), self.latent_dim))
        loss = losses.discriminator_loss(net.discriminator(batch.images), net.discriminator(drawn))
        return {"real or drawn": loss}

    def _generate(self, net: AnoGANNetworks, batch: Batch) -> dict[str, Tensor]:
        drawn = net.generator(batch.normal(len(batch.images), self.latent_dim))
        with still_statistics(net.discriminator):
            return {"fooling": losses.fooling_loss(net.discriminator(drawn))}

    def _encode(self, net: AnoGANNetworks, batch: Batch) -> dict[str, Tensor]:
        assert net.encoder is not None  # whose parameters are being learned
        with as_when_scoring(net.generator, net.discriminator):  # they have been learned, and stay as they are
            drawn = net.generator(net.encoder(batch.images)[1])
            with torch.no_grad():
                wanted = net.discriminator.features(batch.images)
            found = net.discriminator.features(drawn)
        return {
            "image": losses.squared_error(drawn, batch.images) / batch.images[0].numel(),
            "features": losses.squared_error(found, wanted) / wanted[0].numel(),
        }

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Distance from the nearest image found, in pixels and in features, and their sum; higher = more novel."""
        net = cast(AnoGANNetworks, model)
        wanted = net.discriminator.features(images)
        return headline_first(self._distances(net, images, wanted, self._found(net, images)), self.score)

    def _distances(self, net: AnoGANNetworks, images: Tensor, wanted: Tensor, latents: Tensor) -> dict[str, Tensor]:
        drawn = net.generator(latents)
        pixels = (drawn.float() - images).abs().flatten(1).mean(1)
        features = (net.discriminator.features(drawn).float() - wanted.float()).abs().flatten(1).mean(1)
        total = (1.0 - self.feature_weight) * pixels + self.feature_weight * features
        return {"anomaly": total, "l1": pixels, "feature": features}

    def _found(self, net: AnoGANNetworks, images: Tensor) -> Tensor:
        """The latents whose images are most like these: (B, d)."""
        if net.encoder is None:
            return self._searched(net, images)
        result: Tensor = net.encoder(images)[1]
        return result

    def _searched(self, net: AnoGANNetworks, images: Tensor) -> Tensor:
        # Scoring is in inference mode, through whose tensors no gradient goes: out of it, with a copy.
        with torch.inference_mode(False), torch.enable_grad():
            images = images.clone()
            wanted = net.discriminator.features(images).detach()
            latents = torch.zeros(images.shape[0], self.latent_dim, device=images.device, requires_grad=True)
            optimizer = torch.optim.Adam([latents], lr=self.search_rate)
            for _ in range(self.search_steps):
                # A sum, so that each latent moves by its own image, however many there are.
                distance = self._distances(net, images, wanted, latents)["anomaly"].sum()
                (latents.grad,) = torch.autograd.grad(distance, latents)
                optimizer.step()
        return latents.detach()

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The generator's image of the latent that was found."""
        net = cast(AnoGANNetworks, model)
        result: Tensor = net.generator(self._found(net, images))
        return result

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The latent that was found."""
        return self._found(cast(AnoGANNetworks, model), images)
