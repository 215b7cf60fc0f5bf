"""DualGAN in our own reading of its abstract: two auto-encoders, one against the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, parameters_of, require
from novanda.methods.auto_encoder import AutoEncoderNetworks
from novanda.networks import DCGAN_SIDES, GlobalEstimator, LocalEstimator, still_statistics
from novanda.samples import Kind, SampleSpec
from novanda.training_options import Training


class DualGANNetworks(nn.Module):
    """The drawing and the judging auto-encoder, and what estimates the information in the first one's codes."""

    def __init__(self, spec: SampleSpec, latent_dim: int, width: int) -> None:
        super().__init__()
        self.drawing = AutoEncoderNetworks(spec, latent_dim, width)
        self.judging = AutoEncoderNetworks(spec, latent_dim, width)
        self.global_estimator = GlobalEstimator(self.drawing.encoder.local_channels, latent_dim)
        self.local_estimator = LocalEstimator(self.drawing.encoder.local_channels, latent_dim)


@dataclass(frozen=True, kw_only=True)
class DualGAN(Method):
    """OUR READING of DualGAN: two auto-encoders, one against the other, with a mutual-information regulariser.

    The first auto-encoder A draws each normal image; the second, B, is the discriminator: it learns to reconstruct real
    images and to fail on those that A draws, while A learns to draw what B can reconstruct. A's code is made
    informative of its own image by estimators of mutual information. A novel image A draws badly.

    With e(y; N) = |y - N(y)|^2 / F for an auto-encoder N and F values in an image, B minimises
    e(x; B) + max(0, margin - e(A(x); B)), and A minimises e(x; A) + `adversarial_weight` e(A(x); B) +
    `information_weight` (L_global + L_local), the last two the Jensen-Shannon bounds of Eqs. 4 and 5
    (`losses.information_loss`) between the encoder's local map and its code, with other images' maps as negatives.
    Novelty is e(x; A).

    Chen et al., "Latent regularized generative dual adversarial network for abnormal detection", IJCAI 2020 (rows
    "DualGAN" of Tables 3 to 6). There is no code, and we have its abstract alone: "a dual auxiliary autoencoder to make
    a tradeoff between the capability of generator and discriminator", a "mutual information estimator regarded as
    latent regularizer", and abnormal is what "exhibits a higher image reconstruction error". All else is ours: that the
    second auto-encoder is an energy-based discriminator (Zhao et al. 2017), the estimators (those of NDA), the networks
    (the DCGAN pair), weights, margin, and the training by Adam 2e-4. Figures of this method say nothing against theirs.

    When to use it: as a rival of NDA's that differs most in having a second auto-encoder in place of negative
    augmentation.

    Cost: each image of an epoch goes 2 times through A and 3 times through B, backwards once through A and 3 times
    through B, and 4 times through the small estimators. Scoring is one pass through A and one through B.

    Attributes:
        latent_dim: outputs of either encoder.
        width: channels of the first convolutions.
        adversarial_weight: of B's error on A's images in A's objective; with 0, and no
            information term, A is an auto-encoder by itself.
        margin: the mean squared error on A's images with which B is content, images lying in [-1, 1].
        information_weight: of either bound; 0 removes them.
        score: the headline: "mse" of A, or "judging_mse" of B on the same image.
    """

    name: ClassVar[str] = "dual_gan"
    title: ClassVar[str] = "DualGAN (our reading)"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = DCGAN_SIDES[1:4]
    training: ClassVar[Training] = Training(
        epochs=50, batch_size=128, optimizer="adam", learning_rate=2e-4, momentum=0.5
    )
    training_only: ClassVar[tuple[str, ...]] = ("global_estimator.", "local_estimator.")

    latent_dim: int = 128
    width: int = 32
    adversarial_weight: float = 0.5
    margin: float = 0.1
    information_weight: float = 0.1
    score: Literal["mse", "judging_mse"] = "mse"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latent_dim >= 1, self, "latent_dim", "at least 1")
        require(self.width >= 1, self, "width", "at least 1")
        for name in ("adversarial_weight", "margin", "information_weight"):
            require(getattr(self, name) >= 0, self, name, "at least 0")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """Both auto-encoders and the estimators for square samples of 32, 64 or 128 pixels."""
        return DualGANNetworks(spec, self.latent_dim, self.width)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage; B steps, then A with the estimators."""
        net = cast(DualGANNetworks, model)
        drawing = parameters_of(net.drawing, net.global_estimator, net.local_estimator)
        players = (
            Player("judging", parameters_of(net.judging), lambda batch: self._judge(net, batch)),
            Player("drawing", drawing, lambda batch: self._draw(net, batch)),
        )
        return (Stage("train", epochs, players),)

    def _judge(self, net: DualGANNetworks, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad(), still_statistics(net.drawing):
            drawn = net.drawing(batch.images)
        real = _errors(net.judging, batch.images)
        with still_statistics(net.judging):  # which is asked about real images when scoring
            fake = _errors(net.judging, drawn)
        return {"real or drawn": losses.energy_discriminator_loss(real, fake, self.margin)}

    def _draw(self, net: DualGANNetworks, batch: Batch) -> dict[str, Tensor]:
        local, code = net.drawing.encoder(batch.images)
        drawn = net.drawing.decoder(code)
        terms = {"squared error": losses.squared_error(drawn, batch.images) / batch.images[0].numel()}
        if self.adversarial_weight > 0:
            with still_statistics(net.judging):
                terms["judged"] = self.adversarial_weight * _errors(net.judging, drawn).mean()
        if self.information_weight > 0:
            others = local.roll(1, 0)  # batches are in random order, so the neighbour is any other image
            for name, estimator in (("global", net.global_estimator), ("local", net.local_estimator)):
                bound = losses.information_loss(estimator(local, code), [estimator(others, code)])
                terms[name] = self.information_weight * bound
        return terms

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Mean squared reconstruction errors of both auto-encoders; higher = more novel."""
        net = cast(DualGANNetworks, model)
        scores = {"mse": _errors(net.drawing, images), "judging_mse": _errors(net.judging, images)}
        return headline_first(scores, self.score)

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """What the first auto-encoder draws."""
        result: Tensor = cast(DualGANNetworks, model).drawing(images)
        return result

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The first auto-encoder's code."""
        result: Tensor = cast(DualGANNetworks, model).drawing.encoder(images)[1]
        return result


def _errors(auto_encoder: AutoEncoderNetworks, images: Tensor) -> Tensor:
    """Mean squared reconstruction error of each image (B, C, H, W), in float32: (B,)."""
    difference = auto_encoder(images).float() - images.float()
    result: Tensor = difference.square().flatten(1).mean(1)
    return result
