"""Residual classifiers. Letters: B batch, C channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from novanda.errors import InputError


def _convolution(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


class ResidualTrunk(nn.Module):
    """3 x 3 convolutions 32-64-128 with max pooling and two residual blocks: two levels of features with a place."""

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolution(channels, width), *_convolution(width, 2 * width), nn.MaxPool2d(2))
        self.block_1 = nn.Sequential(*_convolution(2 * width, 2 * width), *_convolution(2 * width, 2 * width))
        self.middle = nn.Sequential(*_convolution(2 * width, 4 * width), nn.MaxPool2d(2))
        self.block_2 = nn.Sequential(*_convolution(4 * width, 4 * width), *_convolution(4 * width, 4 * width))

    def lower_levels(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) to (B, 2 width, H / 2, W / 2) and (B, 4 width, H / 4, W / 4)."""
        x = self.stem(images)
        half = x + self.block_1(x)
        x = self.middle(half)
        return half, x + self.block_2(x)


class PlaceNet(ResidualTrunk):
    """The trunk, and an answer at each place from what it sees in the 3 x 3 places around."""

    def __init__(self, channels: int, classes: int, width: int = 32) -> None:
        super().__init__(channels, width)
        self.head = nn.Conv2d(4 * width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, classes, H / 4, W / 4)."""
        result: Tensor = self.head(F.avg_pool2d(self.lower_levels(images)[1], 3, 1, 1))
        return result


class ResidualNet(ResidualTrunk):
    """A small residual classifier: 3 x 3 convolutions 32-64-128-256 with max pooling, two residual blocks.

    About 0.76 million weights at width 32; global max pooling makes it fit any side from 16 pixels on.
    """

    def __init__(self, channels: int, classes: int, width: int = 32) -> None:
        super().__init__(channels, width)
        self.top = nn.Sequential(*_convolution(4 * width, 8 * width), nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.feature_dim = 8 * width
        self.head = nn.Linear(self.feature_dim, classes)

    def levels(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, C, H, W) to what it sees at a half and a quarter of the side, and to its features.

        Returns (B, 2 width, H / 2, W / 2), (B, 4 width, H / 4, W / 4) and (B, 8 width).
        """
        half, quarter = self.lower_levels(images)
        return half, quarter, self.top(quarter)

    def features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to features (B, 8 width)."""
        return self.levels(images)[2]

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
