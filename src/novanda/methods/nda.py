"""The paper's method: a decoder and an encoder taught together, with negative data augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.augment import NegativeAugmentation
from novanda.latents import LatentScale, principal_latents
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, parameters_of, require
from novanda.networks import (
    DCGAN_SIDES,
    DCGANDecoder,
    DCGANEncoder,
    GlobalEstimator,
    LocalEstimator,
    PriorEstimator,
    dense,
)
from novanda.samples import Kind, Normals, SampleSpec
from novanda.training_options import Training

ReconstructionLoss = Literal["laplacian", "mse", "none"]
LatentStart = Literal["pca", "normal", "contrastive"]
Negatives = Literal["augmented", "shuffled", "both", "none"]
Prior = Literal["sampled", "adversarial", "batch_moments"]
Removed = Literal["none", "z", "z_A"]
Score = Literal["mse", "l1", "laplacian", "global_critic", "local_critic"]


class NDANetworks(nn.Module):
    """G, C, the three estimators, and one latent z' per training sample."""

    latents: Tensor

    def __init__(self, method: NDA, spec: SampleSpec, count: int) -> None:
        super().__init__()
        # PCA of N samples has N - 1 components, and of F values F.
        dimensions = max(1, min(method.latent_dim, count - 1, spec.size))
        self.dimensions = dimensions
        self.decoder = DCGANDecoder(spec.channels, spec.height, dimensions, method.width)
        self.encoder = DCGANEncoder(spec.channels, spec.height, dimensions, method.width, method.local_side)
        self.global_estimator = GlobalEstimator(self.encoder.local_channels, dimensions, method.removed != "z")
        self.local_estimator = LocalEstimator(self.encoder.local_channels, dimensions, method.removed != "z_A")
        self.prior_estimator = PriorEstimator(dimensions)
        self.prior_discriminator = dense(dimensions, (1000, 200), 1)
        start = torch.randn(count, dimensions)
        if method.learn_latents:
            self.latents = nn.Parameter(start)
        else:
            self.register_buffer("latents", start)


@dataclass(frozen=True, kw_only=True)
class NDA(Method):
    """Decoder-encoder with contrastive learning on negative data augmentation (Chen et al., IJCAI 2021).

    A generator G learns to draw each training image from a latent z' that starts at the image's PCA coefficients; an
    encoder C learns to find that latent (Eq. 2) and, through estimators of mutual information, to tell an image from
    its negative augmentation M(x) (Eqs. 4-6). A new image goes through C, then G: novelty is the reconstruction error.
    Where the paper is silent the defaults follow the table in `docs/paper.md`, and every other reading stays
    selectable. Objective: Eq. 8, L_lap + L_lat + L_mie; score: mean (G(C(x)) - x)^2. A step costs a pass of G and two
    of C an image.

    When to use it: to reproduce or to study the paper, and where a picture of what was expected matters more than the
    best score; what it reconstructs must be simple (digits, objects on a plain ground). On natural photos its errors
    follow how busy an image is rather than how novel.

    Attributes:
        latent_dim: d; clamped to N - 1.
        latent_start: "pca" (paper), "normal" N(0, I), or "contrastive": the encoder's own z after it
            has been trained alone on Eq. 7 for as many epochs (Table 2).
        latent_scale: of the PCA start: "whitened", "unit_ball" or "raw".
        learn_latents: whether z' moves from its start by gradient (as in GLO) or stays fixed.
        reconstruction_loss: Eq. 1 "laplacian", "mse", or "none" (Table 2).
        pyramid_levels, pyramid_weighting: of Eq. 1, see `losses.laplacian_pyramid_distance`. "mean" is "sum" over the
            number of values in an image: the same objective at a scale that SGD with the paper's learning rate
            survives: with "sum" the generator saturates (docs/paper.md). It sets the scale of "mse" too.
        latent_reduction: of Eq. 2: "mean" over the d dimensions, or the literal "sum", with which the same SGD
            diverges on some data.
        information_estimator: of Eq. 3: "jsd", "infonce" or "dv".
        negatives: whose local maps are paired with z as negatives: "augmented" M(x) of the same image, "shuffled"
            other images', "both", or "none" (the positive term alone).
        global_weight, local_weight: beta of Eqs. 4 and 5; 0 removes the term (Table 1).
        prior_weight: gamma of Eq. 6; 0 removes it, and z then enters Eqs. 4-5 as it is.
        prior: "sampled" KL of the prior estimator's Gaussian, whose sample enters Eqs. 4-5; "adversarial" a
            discriminator between z and N(0, I), a second player (Deep InfoMax); "batch_moments" KL of z's moments in
            the batch.
        removed: the input taken from an estimator: "none", "z" from the global, "z_A" from the local one (Table 2).
        local_side: side of the local map A in pixels.
        augmentation: M(x).
        lambdas: weights of Eq. 8's three terms.
        reconstruct_images: add Eq. 1 on (G(C(x)), x), the test path, which Eq. 8 does not train; default off.
        width: channels of the first convolution.
        score: the headline: "mse", "l1" or "laplacian" reconstruction error (means over pixels; Eq. 1 over the number
            of values), or "global_critic" / "local_critic": minus the estimator's T(A, z) of the image itself.
    """

    name: ClassVar[str] = "nda"
    title: ClassVar[str] = "NDA (paper)"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = DCGAN_SIDES[1:4]
    training: ClassVar[Training] = Training(
        epochs=100, batch_size=128, optimizer="sgd", learning_rate=0.002, momentum=0.9, weight_decay=0.005
    )
    training_only: ClassVar[tuple[str, ...]] = ("latents", "prior_estimator.", "prior_discriminator.")

    latent_dim: int = 128
    latent_start: LatentStart = "pca"
    latent_scale: LatentScale = "whitened"
    learn_latents: bool = True
    reconstruction_loss: ReconstructionLoss = "laplacian"
    pyramid_levels: int = 3
    pyramid_weighting: losses.PyramidWeighting = "mean"
    latent_reduction: Literal["mean", "sum"] = "mean"
    information_estimator: losses.InformationEstimator = "jsd"
    negatives: Negatives = "augmented"
    global_weight: float = 0.5
    local_weight: float = 0.5
    prior_weight: float = 0.1
    prior: Prior = "sampled"
    removed: Removed = "none"
    local_side: int = 8
    augmentation: NegativeAugmentation = field(default_factory=NegativeAugmentation)
    lambdas: tuple[float, float, float] = (1.0, 1.0, 1.0)
    reconstruct_images: bool = False
    width: int = 64
    score: Score = "mse"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latent_dim >= 1, self, "latent_dim", "at least 1")
        require(self.width >= 1, self, "width", "at least 1")
        require(self.local_side >= 1, self, "local_side", "at least 1")
        require(self.pyramid_levels >= 1, self, "pyramid_levels", "at least 1")
        for name in ("global_weight", "local_weight", "prior_weight"):
            require(getattr(self, name) >= 0, self, name, "at least 0")
        require(min(self.lambdas) >= 0, self, "lambdas", "three numbers of at least 0")

    # -----------------------------------------------------------------------------------------------------------
    # Building and training

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """G, C, estimators and latents for square samples of 32, 64 or 128 pixels."""
        if self._needs_negatives:
            self.augmentation.selected(spec.kind, spec.channels)  # refuses here, not in the first step
        return NDANetworks(self, spec, count)

    @property
    def _informs(self) -> bool:
        return self.lambdas[2] > 0 and (self.global_weight > 0 or self.local_weight > 0)

    @property
    def _needs_negatives(self) -> bool:
        return self._informs and self.negatives in ("augmented", "both")

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage; before it, for the contrastive start, one that trains the encoder alone."""
        net = cast(NDANetworks, model)
        players = [Player("model", self._learned(net), lambda batch: self.terms(net, batch), _latents_of(net))]
        encoding = parameters_of(net.encoder, *_estimators(net))
        contrast = [Player("model", encoding, lambda batch: self.information(net, batch)[1])]
        if self._adversarial:
            critic = Player(
                "prior", parameters_of(net.prior_discriminator), lambda batch: self._prior_terms(net, batch)
            )
            players.append(critic)
            contrast.append(critic)

        def start(normals: Normals) -> None:
            net.latents.copy_(self._initial_latents(net, normals).to(net.latents.device))

        main = Stage("train", epochs, tuple(players), start)
        return (Stage("contrast", epochs, tuple(contrast)), main) if self.latent_start == "contrastive" else (main,)

    @property
    def _adversarial(self) -> bool:
        return self.prior == "adversarial" and self.prior_weight > 0 and self.lambdas[2] > 0

    def _learned(self, net: NDANetworks) -> list[nn.Parameter]:
        return [*parameters_of(net.decoder, net.encoder, *_estimators(net)), *_latents_of(net)]

    def _initial_latents(self, net: NDANetworks, normals: Normals) -> Tensor:
        if self.latent_start == "pca":
            return principal_latents(normals, net.dimensions, self.latent_scale)
        if self.latent_start == "normal":
            return net.latents  # drawn in `build`
        return torch.cat([net.encoder(images)[1] for images in normals.batches()])

    def terms(self, net: NDANetworks, batch: Batch) -> dict[str, Tensor]:
        """The terms of Eq. 8, each weighted, for one batch."""
        initial = net.latents[batch.index.to(net.latents.device)]
        encoded, information = self.information(net, batch)
        terms = {}
        if self.reconstruction_loss != "none":
            terms["laplacian"] = self.lambdas[0] * self._reconstruction(net.decoder(initial), batch.images)
        latent = losses.latent_loss(initial, encoded)
        terms["latent"] = self.lambdas[1] * (latent / net.dimensions if self.latent_reduction == "mean" else latent)
        if self.reconstruct_images:
            terms["image"] = self.lambdas[0] * self._reconstruction(net.decoder(encoded), batch.images)
        return {**terms, **information}

    def information(self, net: NDANetworks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """z (B, d) of the batch and the terms of Eq. 7, each weighted."""
        local, encoded = net.encoder(batch.images)
        terms: dict[str, Tensor] = {}
        compared = encoded
        weight = self.lambdas[2]
        if self.prior_weight > 0 and weight > 0:
            if self.prior == "sampled":
                mean, log_variance = net.prior_estimator(encoded)
                noise = torch.randn(mean.shape, generator=batch.generator).to(mean)
                compared = mean + (0.5 * log_variance).exp() * noise
                terms["prior"] = weight * losses.prior_loss(mean, log_variance, self.prior_weight)
            elif self.prior == "batch_moments":
                terms["prior"] = weight * losses.batch_moments_prior_loss(encoded, self.prior_weight)
            else:
                terms["prior"] = weight * self.prior_weight * losses.fooling_loss(net.prior_discriminator(encoded))
        if self._informs:
            others = self._negative_maps(net, local, batch)
            for name, beta, estimator in (
                ("global", self.global_weight, net.global_estimator),
                ("local", self.local_weight, net.local_estimator),
            ):
                if beta > 0:
                    positive, negatives = estimator(local, compared), [estimator(other, compared) for other in others]
                    function = losses.global_information_loss if name == "global" else losses.local_information_loss
                    terms[name] = weight * function(positive, negatives, beta, self.information_estimator)
        return encoded, terms

    def _negative_maps(self, net: NDANetworks, local: Tensor, batch: Batch) -> list[Tensor]:
        maps = []
        if self.negatives in ("augmented", "both"):
            maps.append(net.encoder.local(self.augmentation(batch.images, batch.generator, batch.kind)))
        if self.negatives in ("shuffled", "both"):
            maps.append(local.roll(1, 0))  # batches are in random order, so the neighbour is any other image
        return maps

    def _reconstruction(self, reconstruction: Tensor, images: Tensor) -> Tensor:
        if self.reconstruction_loss == "mse":
            error = losses.squared_error(reconstruction, images)
            return error if self.pyramid_weighting == "sum" else error / images[0].numel()
        return losses.laplacian_pyramid_loss(reconstruction, images, self.pyramid_levels, self.pyramid_weighting)

    def _prior_terms(self, net: NDANetworks, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            encoded = net.encoder(batch.images)[1]
        drawn = torch.randn(encoded.shape, generator=batch.generator).to(encoded)
        return {"prior": losses.discriminator_loss(net.prior_discriminator(drawn), net.prior_discriminator(encoded))}

    # -----------------------------------------------------------------------------------------------------------
    # Scoring

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Reconstruction errors of G(C(x)) by three measures, and minus the critics' values; higher = more novel."""
        net = cast(NDANetworks, model)
        local, encoded = net.encoder(images)
        scores = reconstruction_errors(net.decoder(encoded), images, self.pyramid_levels, self.pyramid_weighting)
        scores["global_critic"] = -net.global_estimator(local, encoded).flatten(1).mean(1)
        scores["local_critic"] = -net.local_estimator(local, encoded).flatten(1).mean(1)
        return headline_first(scores, self.score)

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """G(C(x))."""
        net = cast(NDANetworks, model)
        result: Tensor = net.decoder(net.encoder(images)[1])
        return result

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """z, the global vector of C."""
        result: Tensor = cast(NDANetworks, model).encoder(images)[1]
        return result


def reconstruction_errors(
    reconstruction: Tensor, images: Tensor, levels: int = 3, weighting: losses.PyramidWeighting = "sum"
) -> dict[str, Tensor]:
    """Mean squared, mean absolute and Laplacian-pyramid error of each sample, (B, C, H, W) twice -> three of (B,)."""
    difference = (reconstruction - images).flatten(1)
    laplacian = losses.laplacian_pyramid_distance(reconstruction, images, levels, weighting)
    if weighting == "sum":
        laplacian = laplacian / images[0].numel()
    return {"mse": difference.square().mean(1), "l1": difference.abs().mean(1), "laplacian": laplacian}


def _estimators(net: NDANetworks) -> Sequence[nn.Module]:
    return net.global_estimator, net.local_estimator, net.prior_estimator


def _latents_of(net: NDANetworks) -> list[nn.Parameter]:
    return [net.latents] if isinstance(net.latents, nn.Parameter) else []
