"""Generative probabilistic novelty detection: the density of an image about the manifold of an auto-encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from torch import Tensor, nn

from novanda import losses
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, parameters_of, require
from novanda.methods.auto_encoder import AutoEncoderNetworks
from novanda.networks import (
    DCGAN_SIDES,
    DCGANDiscriminator,
    dense,
    image_and_jacobian,
    log_volume,
    still_statistics,
)
from novanda.samples import Kind, Normals, SampleSpec
from novanda.training_options import Training

_SHAPES = (0.3, 8.0)  # of generalised Gaussians: from sharper than a Laplacian (1) to nearly a uniform
_MOST_APART = 1e30  # of one number of a code, so that its score stays a number in float32
_BINS = 30
_LEAST_RESIDUAL = 1e-6  # an image that is drawn exactly has a finite score still


class GPNDNetworks(nn.Module):
    """The adversarial auto-encoder: it, and discriminators of its codes and of its images."""

    def __init__(self, spec: SampleSpec, latent_dim: int, width: int) -> None:
        super().__init__()
        self.auto_encoder = AutoEncoderNetworks(spec, latent_dim, width)
        self.latent_discriminator = dense(latent_dim, (128, 128), 1)
        self.image_discriminator = DCGANDiscriminator(spec.channels, spec.height, width)


@dataclass(frozen=True, kw_only=True)
class GPND(Method):
    """The density of an image, from the manifold that an adversarial auto-encoder draws, and its distance from there.

    Normal images lie near what a decoder G draws of d numbers. The density of an image is that of its code, thinned out
    by how much G stretches space there, times that of its distance from G's image, spread over all directions off the
    manifold.

    Discriminators minimise -log D_z(z) - log(1 - D_z(E(x))) - log D_x(x) - log(1 - D_x(G(z))) with z from N(0, I); E
    and G minimise `latent_weight` (-log D_z(E(x))) - log D_x(G(z)) + `reconstruction_weight` |x - G(E(x))|^2 / F, F
    values in an image. Novelty is -log p(x) without its constants: with J the Jacobian of G at E(x), s_i its singular
    values, r = |x - G(E(x))| and N = F - d,
    sum_i log s_i - sum_i log p_i(E(x)_i) + `residual_share` ((N - 1) log r - log p_r(r)),
    p_i generalised Gaussians and p_r a histogram of 30 bins, both of the training normals.

    Pidhorskyi, Almohsen, Adjeroh & Doretto, NeurIPS 2018 (row "GPND" of Table 4). The authors train 80 epochs by Adam
    0.002, divided by 4 every 30, batch 128, 16 codes, weights 2 on D_z's and 0.3 on the error by cross-entropy.
    Departures: the networks are the DCGAN pair; the error is squared, its weight ours; the learning rate is 2e-4
    throughout, by which few epochs need no decay; two players step where theirs step in four turns, with the same
    terms; a Gaussian's location is the mean, its shape 0.3 to 8; the histogram's densities are joined by lines, and a
    bin without a normal counts as half a normal, so that a score has no steps and no infinities. Their code leaves
    log s_i out and multiplies N by a factor chosen by the error on outliers; here they are in, and `residual_share`,
    which weighs log p_r too, stays 1 unless it is set.

    When to use it: where a score should have a meaning, as a log density; it has three parts that can be looked at by
    themselves. The residual's outweighs the others by F to d, which makes the order nearly that of the error.

    Cost: each image of an epoch goes 2 times through the encoder, 3 times through the decoder and 3 times through the
    image discriminator; backwards once, 2 and 3 times. Scoring is one pass through the encoder and 1 + `latent_dim`
    through the decoder.

    Attributes:
        latent_dim: d.
        width: channels of the first convolutions.
        reconstruction_weight: of the squared error.
        latent_weight: of the code's term in E's objective, 2 in the authors' code.
        residual_share: of the residual's term in the score, in (0, 1]; 1 is the paper's formula.
        score: the headline: "negative_log_density", or one of its parts, "latent" or "residual".
    """

    name: ClassVar[str] = "gpnd"
    title: ClassVar[str] = "GPND"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = DCGAN_SIDES[1:4]
    training: ClassVar[Training] = Training(
        epochs=80, batch_size=128, optimizer="adam", learning_rate=2e-4, momentum=0.5
    )
    training_only: ClassVar[tuple[str, ...]] = ("latent_discriminator.", "image_discriminator.")

    latent_dim: int = 16
    width: int = 32
    reconstruction_weight: float = 10.0
    latent_weight: float = 2.0
    residual_share: float = 1.0
    score: Literal["negative_log_density", "latent", "residual"] = "negative_log_density"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latent_dim >= 1, self, "latent_dim", "at least 1")
        require(self.width >= 1, self, "width", "at least 1")
        require(self.reconstruction_weight >= 0, self, "reconstruction_weight", "at least 0")
        require(self.latent_weight >= 0, self, "latent_weight", "at least 0")
        require(0 < self.residual_share <= 1, self, "residual_share", "a share in (0, 1]")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """Auto-encoder and discriminators for square samples of 32, 64 or 128 pixels."""
        return GPNDNetworks(spec, self.latent_dim, self.width)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage; both discriminators step, then the auto-encoder."""
        net = cast(GPNDNetworks, model)
        discriminators = parameters_of(net.latent_discriminator, net.image_discriminator)
        players = (
            Player("discriminators", discriminators, lambda batch: self._discriminate(net, batch)),
            Player("auto-encoder", parameters_of(net.auto_encoder), lambda batch: self._draw(net, batch)),
        )
        return (Stage("train", epochs, players),)

    def _discriminate(self, net: GPNDNetworks, batch: Batch) -> dict[str, Tensor]:
        latents = batch.normal(len(batch.images), self.latent_dim)
        with torch.no_grad(), still_statistics(net.auto_encoder):
            codes, drawn = net.auto_encoder.encoder(batch.images)[1], net.auto_encoder.decoder(latents)
        judge, see = net.latent_discriminator, net.image_discriminator
        return {
            "latent": losses.discriminator_loss(judge(latents), judge(codes)),
            "image": losses.discriminator_loss(see(batch.images), see(drawn)),
        }

    def _draw(self, net: GPNDNetworks, batch: Batch) -> dict[str, Tensor]:
        codes = net.auto_encoder.encoder(batch.images)[1]
        error = losses.squared_error(net.auto_encoder.decoder(codes), batch.images) / batch.images[0].numel()
        # Scores are taken from what is decoded of codes: theirs are the statistics to keep.
        with still_statistics(net.auto_encoder.decoder, net.image_discriminator):
            drawn = net.auto_encoder.decoder(batch.normal(*codes.shape))
            image = losses.fooling_loss(net.image_discriminator(drawn))
        return {
            "latent": self.latent_weight * losses.fooling_loss(net.latent_discriminator(codes)),
            "image": image,
            "squared error": self.reconstruction_weight * error,
        }

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        """Generalised Gaussians of the normals' codes, (d,) each, and a histogram of their residuals, (32,) each."""
        net = cast(GPNDNetworks, model).auto_encoder
        codes, residuals = [], []
        for images in normals.batches():
            code = net.encoder(images)[1].float()
            codes.append(code.cpu().double().numpy())
            residuals.append(_residuals(net.decoder(code), images).cpu().double().numpy())
        parts = {**generalised_gaussians(np.concatenate(codes)), **histogram(np.concatenate(residuals))}
        return {name: torch.from_numpy(part.astype(np.float32)) for name, part in parts.items()}

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Minus the log density, and its parts of code and residual; higher = more novel."""
        net = cast(GPNDNetworks, model).auto_encoder
        code = net.encoder(images)[1].float()
        drawn, jacobian = image_and_jacobian(net.decoder.layers, code)
        apart = (
            ((code - reference["location"]).abs() / reference["scale"]).pow(reference["shape"]).clamp_max(_MOST_APART)
        )
        latent = (apart - reference["log_peak"]).sum(1)
        off = images[0].numel() - self.latent_dim - 1
        distance = _residuals(drawn, images)
        residual = self.residual_share * (off * distance.log() - _log_density(reference, distance))
        # The volume is no score by itself: a unit at the edge of a ReLU lets it jump, by too little to move the sum.
        density = log_volume(jacobian) + latent + residual
        return headline_first({"negative_log_density": density, "latent": latent, "residual": residual}, self.score)

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The image on the manifold that the code draws."""
        result: Tensor = cast(GPNDNetworks, model).auto_encoder(images)
        return result

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The code."""
        result: Tensor = cast(GPNDNetworks, model).auto_encoder.encoder(images)[1]
        return result


def _residuals(drawn: Tensor, images: Tensor) -> Tensor:
    """Euclidean distance of each image (B, C, H, W) from what was drawn: (B,)."""
    return (drawn.float() - images).square().flatten(1).sum(1).sqrt().clamp_min(_LEAST_RESIDUAL)


def generalised_gaussians(values: np.ndarray) -> dict[str, np.ndarray]:
    """The likeliest generalised Gaussian about the mean of each column of values (N, d): four arrays (d,).

    p(v) = exp(log_peak - (|v - location| / scale)^shape), with shape from 0.3 to 8: 1 is a Laplacian, 2 a Gaussian.
    Given shape and location the likeliest scale is in closed form, which leaves a search in one number.
    """
    location = values.mean(0)
    apart = np.maximum(np.abs(values - location), np.finfo(np.float32).tiny)
    unit = np.maximum(apart.mean(0), 1e-6)  # powers of numbers about 1 neither overflow nor vanish

    def scale(shape: float, ratios: np.ndarray) -> float:
        return max(float((shape * np.mean(ratios**shape)) ** (1 / shape)), 1e-6)

    def surprise(shape: float, ratios: np.ndarray) -> float:
        return float(np.log(2 * scale(shape, ratios) / shape) + gammaln(1 / shape) + 1 / shape)

    ratios = [apart[:, place] / unit[place] for place in range(values.shape[1])]
    shapes = np.array([minimize_scalar(surprise, bounds=_SHAPES, args=(each,), method="bounded").x for each in ratios])
    scales = unit * np.array([scale(shape, each) for shape, each in zip(shapes, ratios, strict=True)])
    log_peak = np.log(shapes / (2 * scales)) - gammaln(1 / shapes)
    return {"location": location, "scale": scales, "shape": shapes, "log_peak": log_peak}


def histogram(values: np.ndarray) -> dict[str, np.ndarray]:
    """Densities of values (N,) in 30 bins and at one bin's distance to either side, (32,), and where: (32,).

    A bin without a value, and what lies outside, has the density of half a value in a bin.
    """
    low, high = float(values.min()), float(values.max())
    # Of bins narrower than float32 tells apart the centres would be one, and no density could be read between them.
    short = max(1e-4 * max(abs(low), abs(high)), 1e-6) - (high - low)
    if short > 0:
        low, high = low - short / 2, high + short / 2
    density, edges = np.histogram(values, bins=_BINS, range=(low, high), density=True)
    width = edges[1] - edges[0]
    centres = edges[0] + width * (np.arange(-1, _BINS + 1) + 0.5)
    return {"centres": centres, "density": np.maximum(np.pad(density, 1), 0.5 / (len(values) * width))}


def _log_density(reference: Reference, values: Tensor) -> Tensor:
    """Log of a histogram's density at values (B,), joined by lines between centres, the same beyond them: (B,)."""
    centres, density = reference["centres"], reference["density"]
    width = centres[1] - centres[0]
    inside = values.maximum(centres[0]).minimum(centres[-1])
    near = (1.0 - (inside[:, None] - centres).abs() / width).clamp_min(0.0)
    return ((near * density).sum(1) / near.sum(1)).log()
