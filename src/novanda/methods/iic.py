"""Invariant information clustering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.augment import crop_and_recolor, mirror
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, require
from novanda.networks import ResidualNet
from novanda.samples import Kind, Normals, SampleSpec
from novanda.training_options import Training


class IICNetworks(nn.Module):
    """A residual net whose outputs are the logits of several clusterings: `sub_heads` of each number of clusters."""

    def __init__(self, spec: SampleSpec, width: int, clusters: dict[str, int], sub_heads: int) -> None:
        super().__init__()
        self.clusters, self.sub_heads = clusters, sub_heads
        self.body = ResidualNet(spec.channels, sub_heads * sum(clusters.values()), width)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (B, C, H, H) to posteriors (B, sub-heads, K) of each head, float32."""
        sizes = [self.sub_heads * count for count in self.clusters.values()]
        parts = torch.split(self.body(images).float(), sizes, 1)
        return {
            name: part.view(images.shape[0], self.sub_heads, -1).softmax(2)
            for name, part in zip(self.clusters, parts, strict=True)
        }


@dataclass(frozen=True, kw_only=True)
class IIC(Method):
    """Cluster normals so that two views of an image fall into the same cluster (Ji et al. 2019; row "IIC" of Table 3).

    A net gives posteriors over clusters; the mutual information of those of an image and of its random view is
    maximised, which asks for sure answers and for clusters of equal size at once. A novel image gets an unsure
    answer, or one that does not agree with that of its mirror image.

    With p(x) the posteriors, v(x) a view and P_cc' the mean over a batch of p_c(x) p_c'(v(x)), made symmetric, the
    objective of a sub-head is -sum_cc' P_cc' ln(P_cc' / (P_c P_c')), averaged over sub-heads, summed over both heads.

    The paper has no score for novelty and the published row does not tell how it came about; THE SCORE IS OURS. It is
    minus the sample's own part in the objective: with x' the mirror image of x, and P now taken over all training
    samples and their mirror images, novelty(x) = -sum_cc' p_c(x) p_c'(x') ln(P_cc' / (P_c P_c')), averaged over
    sub-heads and over both heads, shares below 1e-8 counting as that, seen and by chance alike: of clusters that no
    sample is in nothing is concluded. Over the training samples its mean is minus the mutual information. A sure answer
    that agrees says the more the rarer its cluster is.

    Source: Ji, Henriques & Vedaldi, "Invariant Information Clustering for Unsupervised Image Classification and
    Segmentation", ICCV 2019: a ResNet-34 on edge maps (Sobel), Adam 1e-4, batches of 660, heads of 70 and 10
    clusters with 5 sub-heads each, 2,000 epochs. Departures: RotNet's residual net of 0.76 M weights at 1e-3 and a
    one-cycle schedule, a CPU's budget; colour images with colour jitter and grayscale in place of edge maps; both
    heads in every step, where theirs alternate.

    When to use it: normals that fall into groups (makes, poses, suppliers), of which the remarks and `embed` tell
    something as well. Of the image methods here it is seldom the strongest, for nothing asks a cluster to be tight.

    Cost: two forward and backward passes for each image and epoch; two forward passes to score.

    Attributes:
        width: channels of the first convolution.
        clusters: of the main head.
        overclusters: of the other head, more than the groups one expects.
        sub_heads: of either head, alike but for their start.
        crop_scale: range of the area that a training view keeps, within (0, 1].
        score: the headline: "information" (both heads), or one head alone, "clusters" or "overclusters".
    """

    name: ClassVar[str] = "iic"
    title: ClassVar[str] = "IIC"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image"})
    sides: ClassVar[tuple[int, ...] | None] = (32, 64, 128)
    training: ClassVar[Training] = Training(
        epochs=50, batch_size=660, optimizer="adam", learning_rate=1e-3, schedule="one_cycle"
    )

    width: int = 32
    clusters: int = 10
    overclusters: int = 70
    sub_heads: int = 5
    crop_scale: tuple[float, float] = (0.3, 1.0)
    score: Literal["information", "clusters", "overclusters"] = "information"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "sub_heads"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        for name in ("clusters", "overclusters"):
            require(getattr(self, name) >= 2, self, name, "at least 2")
        low, high = self.crop_scale
        require(0 < low <= high <= 1, self, "crop_scale", "two numbers with 0 < low <= high <= 1")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """A residual net with all sub-heads of both heads."""
        heads = {"clusters": self.clusters, "overclusters": self.overclusters}
        return IICNetworks(spec, self.width, heads, self.sub_heads)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, one player."""

        def loss(batch: Batch) -> dict[str, Tensor]:
            mirrored = torch.rand(len(batch.images), generator=batch.generator) < 0.5
            views = mirror(batch.images, mirrored, batch.kind)
            views = crop_and_recolor(views, batch.generator, self.crop_scale, batch.kind)
            posteriors = model(torch.cat([batch.images, views]).contiguous(memory_format=torch.channels_last))
            return {name: losses.cluster_information_loss(*p.chunk(2)) for name, p in posteriors.items()}

        return (Stage("train", epochs, (Player("model", list(model.parameters()), loss),)),)

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        """ln(P_cc' / (P_c P_c')) of training samples and their mirror images, (sub-heads, K, K) twice."""
        joint: dict[str, Tensor] = {}
        for images in normals.batches():
            for name, (first, second) in _of_mirrored(model, images).items():
                share = losses.cluster_joint(first, second) * (len(images) / len(normals))
                joint[name] = joint[name] + share if name in joint else share
        return {name: losses.pointwise_information(p) for name, p in joint.items()}

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Minus a sample's part in the mutual information, in nats; higher = more novel."""
        scores = {
            name: -torch.einsum("bsk,skl,bsl->bs", first, reference[name], second).mean(1)
            for name, (first, second) in _of_mirrored(model, images).items()
        }
        both = torch.stack(list(scores.values())).mean(0)
        return headline_first({"information": both, **scores}, self.score)

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """What the heads see."""
        return cast(IICNetworks, model).body.features(images).float()

    def remarks(self, model: nn.Module, reference: Reference, images: Tensor) -> list[tuple[str, ...]]:
        """How many sub-heads of the main head put the sample and its mirror image into different clusters."""
        first, second = _of_mirrored(model, images)["clusters"]
        counts = (first.argmax(2) != second.argmax(2)).sum(1).tolist()
        of = f"of {self.sub_heads} put it and its mirror image into different clusters"
        return [(f"Of the net's clusterings, {count} {of}.",) if count else () for count in counts]


def _of_mirrored(model: nn.Module, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Posteriors (B, sub-heads, K) of the samples and of their mirror images, head by head."""
    posteriors = zip(model(images).items(), model(images.flip(3)).values(), strict=True)
    return {name: (first, second) for (name, first), second in posteriors}
