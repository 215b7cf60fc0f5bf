"""Whole samples mirrored, moved by pixels and turned by quarters; the shifts that a net can be asked to name."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from novanda.errors import InputError
from novanda.samples import Kind

_SHIFTS: dict[Kind, tuple[str, ...]] = {
    "image": ("upright", "turned by 90 degrees", "turned by 180 degrees", "turned by 270 degrees"),
    "flow": ("upright", "turned by 90 degrees", "turned by 180 degrees", "turned by 270 degrees"),
    "spectrogram": ("as it is", "reversed in time", "with frequencies upside down", "reversed and upside down"),
}


def mirror(images: Tensor, chosen: Tensor, kind: Kind = "image") -> Tensor:
    """Mirror the samples chosen by a bool (B,) left to right, a flow's x component negated with it."""
    mirrored = images.flip(3)
    if kind == "flow":
        mirrored = torch.cat([-mirrored[:, :1], mirrored[:, 1:]], 1)
    return torch.where(chosen.to(images.device)[:, None, None, None], mirrored, images)


def shift_and_mirror(
    images: Tensor,
    generator: torch.Generator,
    padding: int = 4,
    kind: Kind = "image",
    mirrored: Tensor | None = None,
) -> Tensor:
    """Mild positive views: random crops of the reflect-padded samples, half of them mirrored: (B, C, H, W) -> the same.

    A spectrogram is moved in time only and never mirrored: another band or reversed time is another sound.

    Args:
        padding: pixels by which a sample is moved at most.
        mirrored: which to mirror, bool (B,); None: each with probability one half.
    """
    count, _, height, width = images.shape
    numbers = torch.rand(count, 3, generator=generator)
    padding = min(padding, height - 1, width - 1)
    offset = (numbers[:, :2] * (2 * padding + 1)).long()
    if kind == "spectrogram":
        offset[:, 0] = padding
    padded = F.pad(images, (padding,) * 4, mode="reflect")
    rows = (offset[:, :1] + torch.arange(height)).to(images.device)
    columns = (offset[:, 1:] + torch.arange(width)).to(images.device)
    sample = torch.arange(count, device=images.device)[:, None, None]
    views = padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if kind == "spectrogram":
        return views
    return mirror(views, numbers[:, 2] < 0.5 if mirrored is None else mirrored, kind)


def translate(images: Tensor, rows: int, columns: int) -> Tensor:
    """Samples (B, C, H, W) moved by whole pixels, down and to the right where positive, reflected at the border.

    Raises:
        InputError: a move as large as the sample.
    """
    height, width = images.shape[2:]
    if abs(rows) >= height or abs(columns) >= width:
        raise InputError(f"a sample of {height} x {width} can be moved by less than that; got {rows} and {columns}")
    padded = F.pad(images, (max(columns, 0), max(-columns, 0), max(rows, 0), max(-rows, 0)), mode="reflect")
    top, left = max(-rows, 0), max(-columns, 0)
    return padded[..., top : top + height, left : left + width]


def quarter_turns(images: Tensor) -> Tensor:
    """All four rotations by quarter turns: (B, C, H, H) -> (4 B, C, H, H), all of turn 0 first, then of turn 1, ..."""
    if images.shape[2] != images.shape[3]:
        raise InputError(f"quarter turns need square samples; got {images.shape[2]} x {images.shape[3]}. Resize them")
    return torch.cat([torch.rot90(images, turn, (2, 3)) for turn in range(4)])


def negative_shifts(kind: Kind) -> tuple[str, ...]:
    """Of the shifts that `shifted` applies, each in words that follow "it looks"; the first is none.

    A shift leaves nothing but the arrangement changed, so that no seam, blur or fill gives it away: a picture or a
    motion is turned by quarters, the motion's vectors with it; a spectrogram, whose axes have different units, is
    mirrored along either, which gives no sound that was ever heard.

    Raises InputError for a kind that has none.
    """
    if kind not in _SHIFTS:
        raise InputError(f"shifts are of {', '.join(sorted(_SHIFTS))}; got {kind}")
    return _SHIFTS[kind]


def shifted(images: Tensor, kind: Kind) -> Tensor:
    """Samples under each of their kind's shifts: (B, C, H, W) -> (S B, C, H, W), all of the first shift first."""
    if kind == "spectrogram":
        return torch.cat([images, images.flip(3), images.flip(2), images.flip((2, 3))])
    if kind != "flow":
        return quarter_turns(images)
    turned = [images]
    for turned_field in quarter_turns(images).chunk(4)[1:]:
        x, y = turned_field[:, :1], turned_field[:, 1:]
        # By so many quarter turns counter-clockwise, y pointing down: (x, y) becomes (y, -x) each time.
        for _ in range(len(turned)):
            x, y = y, -x
        turned.append(torch.cat([x, y], 1))
    return torch.cat(turned)
