"""The encoder and the decoder of a DCGAN. Letters: B batch, C channels, d latent dimensions, S local channels."""

from __future__ import annotations

import math

from torch import Tensor, nn

from novanda.errors import InputError

DCGAN_SIDES = (16, 32, 64, 128, 256)


def _depth(side: int) -> int:
    """How many halvings lead from `side` pixels to the 4 x 4 map at a DCGAN's waist."""
    if side not in DCGAN_SIDES:
        raise InputError(f"a DCGAN needs square images with a side of {DCGAN_SIDES} pixels; got {side}. Resize them")
    return int(math.log2(side)) - 2


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


class DCGANDiscriminator(nn.Module):
    """The discriminator of a DCGAN: the encoder's layers with one output, and the 4 x 4 map that it is taken from."""

    def __init__(self, channels: int, side: int, width: int = 64) -> None:
        super().__init__()
        self.layers = DCGANEncoder(channels, side, 1, width, local_side=4)

    def features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, H) to the last map before the logit, (B, S, 4, 4)."""
        return self.layers.local(images)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, H) to logits (B, 1), higher = more like the real ones."""
        result: Tensor = self.layers(images)[1]
        return result
