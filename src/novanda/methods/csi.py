"""Contrasting shifted instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from novanda import losses
from novanda.augment import crop_and_recolor, mirror, quarter_turns
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, require
from novanda.methods.rotnet import right_turns, turn_labels
from novanda.networks import ResidualNet, dense
from novanda.samples import Kind, Normals, SampleSpec, even_split
from novanda.training_options import Training

_TURNS = 4
_LEAST_MEAN = 1e-3  # of what a weight of the score divides by: a hardly trained net's mean logit may be below zero


class CSINetworks(nn.Module):
    """A residual net whose head tells turns apart, and a projection of its features for the contrast."""

    def __init__(self, spec: SampleSpec, width: int, projection_dim: int) -> None:
        super().__init__()
        self.body = ResidualNet(spec.channels, _TURNS, width)
        features = self.body.feature_dim
        self.projection = dense(features, (features,), projection_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, H) to projections z (B, d) and logits of the turns (B, 4)."""
        features = self.body.features(images)
        return self.projection(features), self.body.head(features)


@dataclass(frozen=True, kw_only=True)
class CSI(Method):
    """Tell two views of an image from all others, its own turned copies among them, and the turns apart (CSI, 2020).

    Two random views of a normal image should lie close in the space of features, far from other images and from the
    same image turned by a quarter, which stands for what is novel. A second head learns which turn it was. Novel
    images resemble no training image much, in any turn, and their features are short.

    With z the projection, S one of the four turns, sim the cosine: the objective is NT-Xent at temperature 0.5 over
    all turned images, 2 views each, plus the cross-entropy of the turn. The score of normality has both parts whole:
    sum_S a_S max_m sim(z(S(x)), z(S(x_m))) ||z(S(x))|| over training samples x_m, plus sum_S b_S w_S(S(x)), where w_S
    is the logit of turn S, and 1 / a_S, 1 / b_S are the means of what they multiply over the x_m; a turn that the net
    does not know even on those, its mean not above zero, has b_S = 0. Novelty is its negative.

    Source: Tack, Mo, Jeong & Shin, "CSI: Novelty Detection via Contrastive Learning on Distributionally Shifted
    Instances", NeurIPS 2020; mean over CIFAR-10's classes 0.943. The authors train a ResNet-18 for 1,000 epochs in
    batches of 512 (LARS, 0.1, cosine), views by SimCLR: a mirroring before the turn, then a resized crop, colour
    jitter and grayscale of each copy of its own, as here. Departures, for a CPU's budget: RotNet's residual net of
    0.76 M weights, AdamW and a one-cycle schedule, fewer epochs; one unaugmented view is scored, where theirs average
    over ten random ones; at most `bank_samples` training samples are compared with.

    When to use it: natural images with an upright, when there is a GPU or an hour. Of the methods that the paper's
    tables name none is as strong by its authors' own figure, and few are as costly; with few epochs RotNet is ahead.

    Cost: eight forward and backward passes for each image and epoch; four forward passes to score, and a product
    with the bank.

    Attributes:
        width: channels of the first convolution.
        projection_dim: dimensions of z.
        temperature: of NT-Xent.
        shift_weight: of the turns' cross-entropy in the objective; 0 leaves the contrast alone, in the score too.
        crop_scale: range of the area that a training view keeps, within (0, 1].
        bank_samples: evenly spaced training samples that are compared with, at most; a saved detector grows with them.
        score: the headline: "csi" (both parts), "contrast" or "shift".
    """

    name: ClassVar[str] = "csi"
    title: ClassVar[str] = "CSI"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image"})
    sides: ClassVar[tuple[int, ...] | None] = (32, 64, 128)
    training: ClassVar[Training] = Training(
        epochs=50, batch_size=128, optimizer="adamw", learning_rate=2e-3, weight_decay=0.05, schedule="one_cycle"
    )

    width: int = 32
    projection_dim: int = 128
    temperature: float = 0.5
    shift_weight: float = 1.0
    crop_scale: tuple[float, float] = (0.08, 1.0)
    bank_samples: int = 5000
    score: Literal["csi", "contrast", "shift"] = "csi"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "projection_dim", "bank_samples"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        require(self.temperature > 0, self, "temperature", "above 0")
        require(self.shift_weight >= 0, self, "shift_weight", "at least 0")
        low, high = self.crop_scale
        require(0 < low <= high <= 1, self, "crop_scale", "two numbers with 0 < low <= high <= 1")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """Residual net and projection."""
        return CSINetworks(spec, self.width, self.projection_dim)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, one player."""

        def loss(batch: Batch) -> dict[str, Tensor]:
            views = [self.turned_views(batch) for _ in range(2)]
            projections, logits = model(torch.cat(views))
            first, second = projections.chunk(2)
            return {
                "contrast": losses.contrastive_loss(first, second, self.temperature),
                "shift": self.shift_weight
                * losses.classification_loss(logits, torch.cat(list(map(turn_labels, views)))),
            }

        return (Stage("train", epochs, (Player("model", list(model.parameters()), loss),)),)

    def turned_views(self, batch: Batch) -> Tensor:
        """One view of every image in each turn, all of turn 0 first: (4 B, C, H, H)."""
        mirrored = torch.rand(len(batch.images), generator=batch.generator) < 0.5
        turned = quarter_turns(mirror(batch.images, mirrored, batch.kind))
        views = crop_and_recolor(turned, batch.generator, self.crop_scale, batch.kind)
        return views.contiguous(memory_format=torch.channels_last)

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        """Directions of z of training samples in each turn (4, M, d), and what balances the turns, (4,) twice."""
        index = torch.linspace(0, len(normals) - 1, min(len(normals), self.bank_samples)).long()
        projections, right = [], []
        for _, images in normals.walk(even_split(index, normals.batch_size)):
            z, logits = _of_turns(model, images)
            projections.append(z)
            right.append(logits)
        bank, means = torch.cat(projections, 1), torch.cat(right, 1).mean(1)
        # A training sample is most similar to itself, so that what the first weight divides by is a mean length.
        return {
            "bank": F.normalize(bank, dim=2),
            "contrast_weights": 1 / bank.norm(dim=2).mean(1).clamp_min(_LEAST_MEAN),
            "shift_weights": torch.where(means > _LEAST_MEAN, 1 / means, 0.0) * (self.shift_weight > 0),
        }

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Minus the weighted similarities and logits, summed over turns; higher = more novel."""
        z, right = _of_turns(model, images)
        # The largest cosine times z's length is the largest product with a direction.
        similarity = (z @ reference["bank"].mT).amax(2)
        contrast = -(reference["contrast_weights"][:, None] * similarity).sum(0)
        shift = -(reference["shift_weights"][:, None] * right).sum(0)
        return headline_first({"csi": contrast + shift, "contrast": contrast, "shift": shift}, self.score)

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The projection z of the upright image, as the contrast sees it."""
        return cast(Tensor, model(images)[0]).float()


def _of_turns(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """z in each turn (4, B, d) and the logit of the right turn (4, B), float32."""
    projections, logits = model(quarter_turns(images))
    return projections.float().view(_TURNS, images.shape[0], -1), right_turns(logits.float()).T
