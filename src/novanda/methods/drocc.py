"""Deep robust one-class classification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.errors import InputError
from novanda.method import Batch, Method, Player, Reference, Stage, require
from novanda.neighbours import nearest_distance
from novanda.networks import LeNet
from novanda.samples import Kind, Normals, SampleSpec, even_split
from novanda.training_options import Training


class DROCCNetworks(nn.Module):
    """The bias-free LeNet, a head to one logit, and the radius of the shell in which negatives are looked for."""

    radius: Tensor

    def __init__(self, spec: SampleSpec, latent_dim: int, width: int) -> None:
        super().__init__()
        self.encoder = LeNet(spec.channels, spec.height, latent_dim, width)
        half = max(1, latent_dim // 2)
        hidden = [nn.LeakyReLU(0.01), nn.Linear(latent_dim, half, bias=False), nn.LeakyReLU(0.01)]
        self.head = nn.Sequential(*hidden, nn.Linear(half, 1, bias=False))
        self.register_buffer("radius", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, H) to logits of being normal (B,)."""
        result: Tensor = self.head(self.encoder(images)).squeeze(1)
        return result


@dataclass(frozen=True, kw_only=True)
class DROCC(Method):
    """Tell normals from the hardest points in a thin shell around them (Goyal et al. 2020; row "DROCC" of Table 3).

    Normals are assumed to lie on a surface, with no other normals at distance r from one of them. In every step,
    gradient ascent looks in that shell for the point that the net is surest is normal. The net learns to tell both
    apart, so that it can not call everything normal.

    With f the logit of being normal and l the binary cross-entropy, the objective is the mean over normals x of
    l(f(x), 1) + mu l(f(x + h), 0), where h maximises the last term with r <= ||h|| <= gamma r: from Gaussian noise,
    h moves along its gradient divided by the gradient's norm, and is put back into the shell, its length clamped.
    Novelty is -f(x).

    Source: Goyal et al., "DROCC: Deep Robust One-Class Classification", ICML 2020. The authors' LeNet (32, 64 and 128
    channels, 128 features, a head of 64), gamma = 1, 100 epochs in batches of 128 to 256 at 1e-3, 50 steps of
    ascent. Departures, with reasons:

    - Their r (8 to 40) and mu are tuned per class, and the epoch is the best on test data; here r is half the
      `radius_quantile` of the distances from a training normal to its nearest other one, found before the first epoch
      among `radius_samples` of them, and the last epoch counts. Half, for what the authors ask holds then, with a
      shell of 1, of those measured normals that are above the quantile: a point at distance r from one of them is no
      nearer to any other. Their penalty on the weights and their decay of the learning rate are left out.
    - Five steps, a CPU's budget, each twice r long and not 0.001, for r follows the data. Such steps pass over the
      peak: what is found departs from normals in what the net looks at, and need not be what it is surest of. With
      steps of 0.5 r h stays near the noise that it began as, which the net learns to tell within a few epochs. Chosen
      on training images, six epochs: 2 r was better than 0.5 r on automobiles and airplanes and in the mean with
      deer, on which it was worse; on automobiles also better than 1 r, and than the surest point of each path of 1 r.
      h is put back after every step.
    - Ascent sees batch norm's running statistics, so that no point's gradient depends on its company; normals and
      found points then share one batch, for in two of their own batch norm would take away just what tells them apart.

    When to use it: for what is novel by small patterns all over (noise, grain, texture), where no transformation can be
    named that normals would show. It asks that normals are well spread: near copies make r small. The points it learns
    to reject are normals with something added, so whole other objects that are smooth may well look normal to it.

    Cost: for each image and epoch, `ascent_steps` + 2 forward and as many backward passes of the LeNet; one forward
    pass to score.

    Attributes:
        latent_dim: features that the head sees; it has half as many hidden units.
        width: channels of the first convolution; the next have twice and four times as many.
        radius_quantile: of which quantile of the nearest distances r is the half, in [0, 1]; 0.5 is their median.
        radius_samples: evenly spaced training samples among which those distances are measured, at most.
        shell: gamma, the outer radius as a multiple of r, at least 1.
        ascent_steps: steps of gradient ascent for each batch; 0 takes points drawn in the shell as they come.
        ascent_step: length of a step as a share of r.
        negative_weight: mu, the weight of the found points.
    """

    name: ClassVar[str] = "drocc"
    title: ClassVar[str] = "DROCC"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = (32, 64, 128)
    training: ClassVar[Training] = Training(epochs=100, batch_size=256, optimizer="adam", learning_rate=1e-3)

    latent_dim: int = 128
    width: int = 32
    radius_quantile: float = 0.5
    radius_samples: int = 2000
    shell: float = 1.0
    ascent_steps: int = 5
    ascent_step: float = 2.0
    negative_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent_dim", "width"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        require(0 <= self.radius_quantile <= 1, self, "radius_quantile", "a share in [0, 1]")
        require(self.radius_samples >= 2, self, "radius_samples", "at least 2")
        require(self.shell >= 1, self, "shell", "at least 1")
        require(self.ascent_steps >= 0, self, "ascent_steps", "at least 0")
        require(self.ascent_step > 0, self, "ascent_step", "above 0")
        require(self.negative_weight > 0, self, "negative_weight", "above 0")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """LeNet, head and radius for square samples of 32, 64 or 128 pixels."""
        return DROCCNetworks(spec, self.latent_dim, self.width)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, one player; the radius is measured before it begins."""
        net = cast(DROCCNetworks, model)

        def loss(batch: Batch) -> dict[str, Tensor]:
            found = self.hardest(net, batch.images, batch.generator)
            normal, negative = net(torch.cat([batch.images, found])).chunk(2)
            return {
                "normal": losses.membership_loss(normal, True),
                "found": self.negative_weight * losses.membership_loss(negative, False),
            }

        def measure(normals: Normals) -> None:
            net.radius.copy_(self.measured_radius(normals))

        return (Stage("train", epochs, (Player("model", list(net.parameters()), loss),), begin=measure),)

    def measured_radius(self, normals: Normals) -> Tensor:
        """r: half the quantile of the distances from a training normal to its nearest other one, a scalar.

        Raises:
            InputError: so many samples are copies of another that r would be 0.
        """
        index = torch.linspace(0, len(normals) - 1, min(len(normals), self.radius_samples)).long()
        walk = normals.walk(even_split(index, normals.batch_size))
        bank = torch.cat([images.flatten(1) for _, images in walk])
        # Each is in the bank itself, at distance 0: the mean of the two nearest is half the distance to the other one.
        radius = nearest_distance(bank, bank, 2).quantile(self.radius_quantile)
        if not radius > 0:
            raise InputError(
                f"DROCC.radius_quantile {self.radius_quantile:g} of the distances between training samples is 0, for "
                "so many are copies of another. Remove them (`novanda inspect` names them) or give a higher quantile"
            )
        return radius

    def hardest(self, net: DROCCNetworks, images: Tensor, generator: torch.Generator) -> Tensor:
        """The points of the shells around images (B, C, H, H) that gradient ascent finds surest to be normal."""
        start = torch.randn(images.shape, generator=generator).to(images)
        offset = into_shell(start, net.radius, self.shell)
        training = net.training
        net.eval()
        for _ in range(self.ascent_steps):
            offset.requires_grad_()
            # l(f, 0) grows with f alone, so the gradient of f has the same direction for each sample; of a point that
            # the net is sure to reject, that of l is too small to be divided by.
            (gradient,) = torch.autograd.grad(net(images + offset).sum(), offset)
            step = self.ascent_step * net.radius * gradient / _length(gradient).clamp_min(1e-12)
            offset = into_shell(offset.detach() + step, net.radius, self.shell)
        net.train(training)
        return images + offset

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Minus the logit of being normal; higher = more novel."""
        return {"logit": -model(images).float()}

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The LeNet's features, which the head sees."""
        return cast(DROCCNetworks, model).encoder(images).float()  # type: ignore[no-any-return]  # modules are untyped when called

    def remarks(self, model: nn.Module, reference: Reference, images: Tensor) -> list[tuple[str, ...]]:
        """Whether the net takes the sample for one of the points it learned to reject."""
        said = ("The net takes it for one of the made points near normals that it learned to reject.",)
        return [said if rejected else () for rejected in (model(images) < 0).tolist()]


def into_shell(offset: Tensor, radius: Tensor, shell: float) -> Tensor:
    """Offsets (B, C, H, W) with their lengths clamped to [radius, shell * radius], directions kept."""
    length = _length(offset).clamp_min(1e-12)
    return offset * (length.clamp(radius, shell * radius) / length)


def _length(offset: Tensor) -> Tensor:
    """Euclidean length of each offset (B, C, H, W): (B, 1, 1, 1)."""
    return offset.square().sum((1, 2, 3), keepdim=True).sqrt()
