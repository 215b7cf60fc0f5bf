"""The small bias-free network of one-class objectives. Letters: B batch, C channels, d latent dimensions."""

from __future__ import annotations

from torch import nn

LENET_HALVINGS = 3


def lenet_block(before: int, after: int) -> list[nn.Module]:
    """A 5 x 5 convolution, batch norm, LeakyReLU 0.01, none with an offset of its own."""
    # No biases and no affine batch norm: either could map every input to the centre (Ruff et al., Proposition 2).
    return [
        nn.Conv2d(before, after, 5, padding=2, bias=False),
        nn.BatchNorm2d(after, affine=False),
        nn.LeakyReLU(0.01, inplace=True),
    ]


class LeNet(nn.Sequential):
    """Images (B, C, H, H) to features (B, d): three blocks with max pooling, then a linear map without bias.

    Channels double from `width`; the side must be divisible by 8. Source: Ruff et al., "Deep One-Class
    Classification", 2018, who train it on CIFAR-10 with 32, 64 and 128 channels.
    """

    def __init__(self, channels: int, side: int, latent_dim: int, width: int = 32) -> None:
        layers: list[nn.Module] = []
        before = channels
        for level in range(LENET_HALVINGS):
            after = width * 2**level
            layers += [*lenet_block(before, after), nn.MaxPool2d(2)]
            before = after
        places = (side // 2**LENET_HALVINGS) ** 2
        super().__init__(*layers, nn.Flatten(), nn.Linear(before * places, latent_dim, bias=False))
