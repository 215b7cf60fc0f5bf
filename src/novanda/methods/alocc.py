"""The adversarially learned one-class classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, parameters_of, require
from novanda.methods.auto_encoder import AutoEncoderNetworks
from novanda.networks import DCGAN_SIDES, DCGANDiscriminator, still_statistics
from novanda.samples import Kind, SampleSpec
from novanda.training_options import Training


class ALOCCNetworks(nn.Module):
    """R, a denoising auto-encoder, and D, which tells R's images from real ones."""

    def __init__(self, spec: SampleSpec, latent_dim: int, width: int) -> None:
        super().__init__()
        self.auto_encoder = AutoEncoderNetworks(spec, latent_dim, width)
        self.discriminator = DCGANDiscriminator(spec.channels, spec.height, width)


@dataclass(frozen=True, kw_only=True)
class ALOCC(Method):
    """An adversarially learned one-class classifier: a denoising auto-encoder against a discriminator.

    R learns to clean normal images of noise so well that D takes them for real ones, D to tell the two apart. Normal
    images R can repair, so D of R's image stays high; novel ones it distorts, so that D falls. Both the plain D(x) and
    D(R(x)) are scores.

    D minimises -log D(x) - log(1 - D(R(x + n))), R minimises -log D(R(x + n)) + 0.2 |x - R(x + n)|^2 / F, with n normal
    noise and F the values in an image. Novelty is minus the logit of D(R(x)), or of D(x): in the order of the
    probability, which would round to 1 where the logit still tells samples apart.

    Sabokrou, Khalooei, Fathy & Adeli, CVPR 2018 (rows "ALOCC" of Table 3, "ALOCC DR" and "ALOCC D" of Table 4). The
    authors train 40 epochs by RMSProp 0.002, batch 128, R and D 32 and 16 channels wide at first, R with a waist of a
    whole map. Departures: R is the DCGAN pair with a vector as its waist and 32 channels, as in the other methods here,
    so that a comparison is one of objectives; R's images are compared with the clean ones, as the paper's formula has
    it (their code takes the noisy ones, and cross-entropy); R steps once for each step of D, as in the paper (their
    code: twice), and minimises -log D, as in their code, where the paper has log(1 - D); the error is a mean, so that
    0.2, their code's weight, is of another scale than beside the paper's sum; the deviation of n is ours; RMSProp runs
    at 2e-4, for PyTorch's begins with an average of 0, whose first steps at 0.002 saturate R for good, TensorFlow's
    with 1; the last epoch is kept, where theirs stop by the reconstruction error.

    When to use it: to see what a discriminator adds to an auto-encoder. Its two players need not settle, and D is
    trained to know R's fakes, not novelties: scores may swing from one epoch to the next.

    Cost: each image of an epoch goes 2 times through R and 3 times through D, backwards once through R and 3 times
    through D. Scoring is one pass through R and two through D.

    Attributes:
        latent_dim: outputs of R's encoder.
        width: channels of the first convolutions.
        noise: standard deviation of n, images lying in [-1, 1].
        reconstruction_weight: of the squared error in R's objective.
        score: the headline: "dr", minus the logit of D(R(x)); "d", of D(x).
    """

    name: ClassVar[str] = "alocc"
    title: ClassVar[str] = "ALOCC"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = DCGAN_SIDES[1:4]
    training: ClassVar[Training] = Training(
        epochs=40, batch_size=128, optimizer="rmsprop", learning_rate=2e-4, momentum=0.0
    )

    latent_dim: int = 128
    width: int = 32
    noise: float = 0.2
    reconstruction_weight: float = 0.2
    score: Literal["dr", "d"] = "dr"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latent_dim >= 1, self, "latent_dim", "at least 1")
        require(self.width >= 1, self, "width", "at least 1")
        require(self.noise >= 0, self, "noise", "at least 0")
        require(self.reconstruction_weight >= 0, self, "reconstruction_weight", "at least 0")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """R and D for square samples of 32, 64 or 128 pixels."""
        return ALOCCNetworks(spec, self.latent_dim, self.width)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage; D steps, then R."""
        net = cast(ALOCCNetworks, model)

        def discriminate(batch: Batch) -> dict[str, Tensor]:
            with torch.no_grad(), still_statistics(net.auto_encoder):
                refined = net.auto_encoder(batch.noisy(self.noise))
            real, fake = net.discriminator(batch.images), net.discriminator(refined)
            return {"real or refined": losses.discriminator_loss(real, fake)}

        def refine(batch: Batch) -> dict[str, Tensor]:
            refined = net.auto_encoder(batch.noisy(self.noise))
            with still_statistics(net.discriminator):
                judged = net.discriminator(refined)
            error = losses.squared_error(refined, batch.images) / batch.images[0].numel()
            return {"fooling": losses.fooling_loss(judged), "squared error": self.reconstruction_weight * error}

        players = (
            Player("discriminator", parameters_of(net.discriminator), discriminate),
            Player("auto-encoder", parameters_of(net.auto_encoder), refine),
        )
        return (Stage("train", epochs, players),)

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Minus the discriminator's logits of R(x) and of x; higher = more novel."""
        net = cast(ALOCCNetworks, model)
        refined = net.auto_encoder(images)
        scores = {"dr": -net.discriminator(refined).float()[:, 0], "d": -net.discriminator(images).float()[:, 0]}
        return headline_first(scores, self.score)

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """R(x)."""
        result: Tensor = cast(ALOCCNetworks, model).auto_encoder(images)
        return result

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The code at R's waist."""
        result: Tensor = cast(ALOCCNetworks, model).auto_encoder.encoder(images)[1]
        return result
