"""Nets that name shifts of the normals, one that names false colours, and what they see of a sample on three levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from novanda.augment import false_colors, mirror, negative_shifts, shifted
from novanda.networks import PlaceNet, ResidualNet
from novanda.samples import Kind, SampleSpec

TEXTURE_GRIDS = (1, 2, 3)
"""Cells along a side over which the texture is averaged."""
PARTS = 8
"""Places along a side at which parts are compared."""
_MOST_HELD_OUT = 2_000
_RUNS = 5
_EPOCH = 1_000  # samples at least: fewer normals are walked several times, or an epoch would be a step or two


@dataclass(frozen=True)
class Sight:
    """What N nets make of samples.

    Letters: B batch, S shifts, M sides, F, T features, P places, C channels.
    """

    logits: Tensor
    """(B, S, M S): of each sample under each shift, for each shift of each side."""
    shape: Tensor
    """(B, N S F), of unit length for each net and shift."""
    parts: Tensor
    """(P, B, C)"""
    texture: Tensor
    """(B, T)"""


class ShiftEnsemble(nn.Module):
    """The nets, which of the normals they do not learn from, and whether mirroring is a shift to them."""

    held_out: Tensor
    sided: Tensor

    def __init__(self, spec: SampleSpec, count: int, width: int, members: int) -> None:
        super().__init__()
        self.kind: Kind = spec.kind
        self.shifts = len(negative_shifts(spec.kind))
        # A spectrogram's shifts mirror it already.
        self.sides = 1 if spec.kind == "spectrogram" else 2
        outputs = self.shifts * self.sides
        self.members = nn.ModuleList(ResidualNet(spec.channels, outputs, width) for _ in range(members))
        # Who names turns may be blind to colours, and who names the colours of places is not: below the last level what
        # both see is compared, side by side.
        self.colors: PlaceNet | None = None
        if spec.kind == "image":
            self.colors = PlaceNet(spec.channels, len(false_colors(torch.zeros(1, spec.channels, 1, 1))), width)
        # A tenth, but of few samples enough to tell a mean by, if that leaves three quarters to learn from.
        size = min(max(count // 10, 8), count // 4, _MOST_HELD_OUT)
        places = torch.linspace(0, count - 1, size).round().long() if spec.recording is None else _in_runs(size, count)
        self.register_buffer("held_out", places)
        # 1 where a mirrored normal looks like none; found out before training begins.
        self.register_buffer("sided", torch.zeros(()))

    def nets(self) -> list[ResidualNet]:
        """The members, by their type."""
        return [cast(ResidualNet, member) for member in self.members]

    def answer(self, found: Tensor) -> Tensor:
        """A net's outputs (B, M S) to logits of shifts, those of mirrored samples last.

        The outputs are what speaks for each of the S shifts, and how much more for it unmirrored than mirrored. Where
        mirroring is none the two are the same: eight classes are four then.
        """
        if self.sides == 1:
            return found
        either, upright = found.chunk(2, 1)
        return torch.cat([either + self.sided * upright, either - self.sided * upright], 1)

    def learned(self, count: int) -> Tensor:
        """The places of the normals that the nets learn from."""
        kept = torch.ones(count, dtype=torch.bool)
        kept[self.held_out.cpu()] = False
        return kept.nonzero().flatten()

    def walked(self, count: int) -> Tensor:
        """The same, each as often as it comes up in an epoch."""
        places = self.learned(count)
        return places.repeat(-(-_EPOCH // len(places)))

    def normal_sights(self, images: Tensor) -> list[Sight]:
        """Normals (B, C, H, W) as they are and, where their mirror images are as normal, mirrored."""
        return [self.sight(images)] if self.sided > 0 else self.sights(images)

    def sights(self, images: Tensor) -> list[Sight]:
        """Samples (B, C, H, W) as they are and, but for spectrograms, mirrored."""
        views = [images]
        if self.sides == 2:
            views.append(mirror(images, torch.ones_like(images[:, 0, 0, 0], dtype=torch.bool), self.kind))
        return [self.sight(view) for view in views]

    def sight(self, images: Tensor) -> Sight:
        """What the nets see of samples (B, C, H, W): logits averaged, features side by side."""
        logits, shapes, lower, parts, textures = [], [], [], [], []
        # A shift at a time, for all at once would need as many times the memory.
        views = shifted(images, self.kind).view(self.shifts, *images.shape).unbind()
        for net in self.nets():
            levels = [net.levels(view) for view in views]
            features = [level[2] for level in levels]
            logits.append(torch.stack([self.answer(net.head(each).float()) for each in features], 1))
            shapes += [F.normalize(each.float(), dim=1) for each in features]
            # The levels below are compared for the sample as it is, which comes first.
            lower.append(levels[0][:2])
        if self.colors is not None:
            lower.append(self.colors.lower_levels(images))
        for texture, part in lower:
            part = F.adaptive_avg_pool2d(F.avg_pool2d(part.float(), 3, 1, 1), PARTS)
            parts.append(part.flatten(2).permute(2, 0, 1))
            textures.append([F.adaptive_avg_pool2d(texture.float(), grid).flatten(1) for grid in TEXTURE_GRIDS])
        return Sight(
            torch.stack(logits).mean(0),
            torch.cat(shapes, 1),
            torch.cat(parts, 2),
            torch.cat([torch.cat(same, 1) for same in zip(*textures, strict=True)], 1),
        )


def reliability(logits: Tensor) -> Tensor:
    """How well each pair of shifts is told apart: (B, S, S) of held-out normals to (S, S), 0 to 1, diagonal 0.

    S counts the mirrored ones too.
    """
    right = logits.diagonal(dim1=1, dim2=2)[:, :, None]
    share = (right > logits).float().mean(0)
    # Both ways at once: a net that always says "upright" is right on every upright sample and knows nothing.
    return (share + share.T - 1).clamp_min(0).fill_diagonal_(0)


def logits_of(sides: list[Sight]) -> Tensor:
    """(B, M S, M S): of each sample under each shift of each side, for each of them."""
    return torch.cat([side.logits for side in sides], 1)


def _in_runs(size: int, count: int) -> Tensor:
    """`size` of `count` places in a few runs, evenly spread: segments of a recording overlap those beside them."""
    runs = torch.arange(size).tensor_split(min(size, _RUNS))
    middles = [(2 * number + 1) * count // (2 * len(runs)) for number in range(len(runs))]
    return torch.cat([run - run[len(run) // 2] + middle for run, middle in zip(runs, middles, strict=True)])
