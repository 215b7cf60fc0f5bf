"""Network architectures as plain modules. Letters: B batch, C channels, d latent dimensions, S local channels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from novanda.errors import InputError

DCGAN_SIDES = (16, 32, 64, 128, 256)


def _depth(side: int) -> int:
    """How many halvings lead from `side` pixels to the 4 x 4 map at a DCGAN's waist."""
    if side not in DCGAN_SIDES:
        raise InputError(f"a DCGAN needs square images with a side of {DCGAN_SIDES} pixels; got {side}. Resize them")
    return int(math.log2(side)) - 2


def channels_last(model: nn.Module) -> nn.Module:
    """Lay out a network's convolution weights for channels-last arithmetic, which CPUs and GPUs run faster."""
    if any(p.dim() == 4 for p in model.parameters()):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stub
    return model


def initialise_dcgan(module: nn.Module) -> None:
    """The start of Radford et al. 2016: weights from N(0, 0.02^2), batch-norm gains from N(1, 0.02^2)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, 0.0, 0.02)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)
            nn.init.zeros_(part.bias)


class DCGANEncoder(nn.Module):
    """The contrastive network C: images to a local map A, then to a global vector z.

    Stride-2 4 x 4 convolutions halve the side to 4, channels doubling from `width`; batch norm but in the first,
    LeakyReLU 0.2; a last 4 x 4 convolution gives z. A is the map with side `local_side`: at 32 x 32 the default of 8
    is what the second convolution gives.
    """

    def __init__(self, channels: int, side: int, latent_dim: int, width: int = 64, local_side: int = 8) -> None:
        super().__init__()
        depth = _depth(side)
        places = [side // 2 ** (i + 1) for i in range(depth)]
        if local_side not in places:
            raise InputError(f"local_side must be one of {places} for images of {side} pixels; got {local_side}")
        blocks: list[nn.Module] = []
        for level in range(depth):
            wide = width * 2**level
            layers: list[nn.Module] = [nn.Conv2d(channels, wide, 4, 2, 1, bias=level == 0)]
            if level > 0:
                layers.append(nn.BatchNorm2d(wide))
            blocks.append(nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True)))
            channels = wide
        cut = places.index(local_side) + 1
        self.local_channels = width * 2 ** (cut - 1)
        self.to_local = nn.Sequential(*blocks[:cut])
        self.to_global = nn.Sequential(*blocks[cut:], nn.Conv2d(channels, latent_dim, 4), nn.Flatten())
        initialise_dcgan(self)

    def local(self, images: Tensor) -> Tensor:
        """Images (B, C, H, H) to the local map A (B, S, local_side, local_side)."""
        result: Tensor = self.to_local(images)
        return result

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, H) to A and z (B, d)."""
        local = self.local(images)
        return local, self.to_global(local)


class DCGANDecoder(nn.Module):
    """The generative network G: latents (B, d) to images (B, C, H, H) in [-1, 1]; transposed 4 x 4 convolutions."""

    def __init__(self, channels: int, side: int, latent_dim: int, width: int = 64) -> None:
        super().__init__()
        depth = _depth(side)
        wide = width * 2 ** (depth - 1)
        layers: list[nn.Module] = [
            nn.Unflatten(1, (latent_dim, 1, 1)),
            nn.ConvTranspose2d(latent_dim, wide, 4, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
        ]
        for _ in range(depth - 1):
            layers += [nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(wide // 2)]
            layers.append(nn.ReLU(inplace=True))
            wide //= 2
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(wide, channels, 4, 2, 1), nn.Tanh())
        initialise_dcgan(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (B, d) to images (B, C, H, H) in [-1, 1]."""
        result: Tensor = self.layers(latents)
        return result


def dense(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Fully connected layers with ReLU between them."""
    sides = [inputs, *hidden]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sides):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(sides[-1], outputs))


class GlobalEstimator(nn.Module):
    """T of Eq. 4 on [A_z, z]: two fully connected layers of 512 units.

    A_z is A averaged over its places and mapped linearly to d dimensions ("downscaled ... the same dimension to z").
    """

    def __init__(self, local_channels: int, latent_dim: int, use_latent: bool = True) -> None:
        super().__init__()
        self.use_latent = use_latent
        self.downscale = nn.Linear(local_channels, latent_dim)
        self.critic = dense(latent_dim * (2 if use_latent else 1), (512, 512), 1)

    def forward(self, local: Tensor, latent: Tensor) -> Tensor:
        """A (B, S, h, w) and z (B, d) to T (B, 1)."""
        downscaled = self.downscale(local.mean((2, 3)))
        pair = torch.cat([downscaled, latent.to(downscaled.dtype)], 1) if self.use_latent else downscaled
        result: Tensor = self.critic(pair)
        return result


class LocalEstimator(nn.Module):
    """T of Eq. 5 on [A_ij, z_A]: a 1 x 1 convolutional network with two layers of 512 units.

    A 1 x 1 convolution is a linear map at every place; written as one, on channels-last maps, it runs faster
    on a CPU. Its first layer acts on the concatenation as the sum of a map of A_ij and one of z, so that z is
    mapped once and not at each of its replicas.
    """

    def __init__(self, local_channels: int, latent_dim: int, use_latent: bool = True) -> None:
        super().__init__()
        self.of_local = nn.Linear(local_channels, 512)
        self.of_latent = nn.Linear(latent_dim, 512, bias=False) if use_latent else None
        self.critic = nn.Sequential(
            nn.ReLU(inplace=True), nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Linear(512, 1)
        )

    def forward(self, local: Tensor, latent: Tensor) -> Tensor:
        """A (B, S, h, w) and z (B, d), replicated at every place, to T (B, 1, h, w)."""
        first = self.of_local(local.permute(0, 2, 3, 1))
        if self.of_latent is not None:
            first = first + self.of_latent(latent)[:, None, None, :]
        result: Tensor = self.critic(first)
        return result.permute(0, 3, 1, 2)


class PriorEstimator(nn.Module):
    """p(z | A) of Eq. 6: fully connected layers of 1000 and 200 units from z to a Gaussian's mean and log variance."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.layers = dense(latent_dim, (1000, 200), 2 * latent_dim)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, d) to mean (B, d) and log variance (B, d)."""
        mean, log_variance = self.layers(latent).chunk(2, 1)
        return mean, log_variance


class ResidualNet(nn.Module):
    """A small residual classifier: 3 x 3 convolutions 32-64-128-256 with max pooling, two residual blocks.

    About 0.76 million weights at width 32; global max pooling makes it fit any side from 16 pixels on.
    """

    def __init__(self, channels: int, classes: int, width: int = 32) -> None:
        super().__init__()

        def convolution(before: int, after: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

        self.stem = nn.Sequential(*convolution(channels, width), *convolution(width, 2 * width), nn.MaxPool2d(2))
        self.block_1 = nn.Sequential(*convolution(2 * width, 2 * width), *convolution(2 * width, 2 * width))
        self.middle = nn.Sequential(*convolution(2 * width, 4 * width), nn.MaxPool2d(2))
        self.block_2 = nn.Sequential(*convolution(4 * width, 4 * width), *convolution(4 * width, 4 * width))
        self.top = nn.Sequential(*convolution(4 * width, 8 * width), nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.feature_dim = 8 * width
        self.head = nn.Linear(self.feature_dim, classes)

    def features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to features (B, 8 width)."""
        x = self.stem(images)
        x = self.middle(x + self.block_1(x))
        result: Tensor = self.top(x + self.block_2(x))
        return result

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, classes)."""
        result: Tensor = self.head(self.features(images))
        return result


class _WideBlock(nn.Module):
    """Batch norm, ReLU, 3 x 3 convolution, twice, beside a shortcut (Zagoruyko & Komodakis 2016, without dropout)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm_1 = nn.BatchNorm2d(before)
        self.convolution_1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm_2 = nn.BatchNorm2d(after)
        self.convolution_2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        changes = before != after or stride != 1
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = torch.relu(self.norm_1(x))
        beside = x if self.shortcut is None else self.shortcut(active)
        result: Tensor = beside + self.convolution_2(torch.relu(self.norm_2(self.convolution_1(active))))
        return result


class WideResNet(nn.Module):
    """WRN-depth-widening, a classifier: three groups of pre-activation blocks, the side halved before the last two.

    Args:
        depth: 6 n + 4 for n blocks a group: 10, 16, 22 ...
        widening: the groups have `widening` times `width`, 2 `width` and 4 `width` channels.
        width: channels of the first convolution, 16 in the source.

    Source: Zagoruyko & Komodakis, "Wide Residual Networks", 2016.
    """

    def __init__(self, channels: int, classes: int, depth: int = 10, widening: int = 4, width: int = 16) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise InputError(f"a wide residual net's depth must be 10, 16, 22 or another 6 n + 4; got {depth}")
        blocks: list[nn.Module] = []
        before = width
        for group in range(3):
            after = widening * width * 2**group
            for place in range((depth - 4) // 6):
                blocks.append(_WideBlock(before, after, 2 if group > 0 and place == 0 else 1))
                before = after
        self.body = nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1, bias=False), *blocks, nn.BatchNorm2d(before))
        self.head = nn.Linear(before, classes)

    def features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to features (B, 4 widening width), averaged over places."""
        return torch.relu(self.body(images)).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, classes)."""
        result: Tensor = self.head(self.features(images))
        return result
