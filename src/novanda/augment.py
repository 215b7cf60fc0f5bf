"""Augmentation on batches, on the device: the paper's negative augmentation M(x), shifts, and mild positive views.

This module alone knows which transformation is legal for which kind of sample. All random numbers are drawn on the CPU,
one row per sample, from a generator that the caller gives: the same seed gives the same output on any device and on
any split of the batch. Letters: B batch, C channels, H height, W width. Samples are float32 in [-1, 1].
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from novanda.errors import InputError
from novanda.samples import Kind

Transformation = Literal["crop", "flip", "color_jitter", "grayscale", "rotation"]

SECTION_2_1: tuple[Transformation, ...] = ("crop", "color_jitter", "grayscale", "flip")
SECTION_2_3: tuple[Transformation, ...] = ("crop", "flip", "color_jitter", "rotation", "grayscale")

# Why a kind may not be transformed in some way:
# - spectrogram: its axes are time and frequency, so a rotation or a vertical flip mixes units and gives no sound at
#   all; a crop is another moment and band, a horizontal flip is time reversed, brightness and contrast are gain and
#   dynamics.
# - flow: a rotation would have to turn the vectors too; mirroring does, by negating x. Colour means nothing.
# - waveform and features: no transformation of this module has a meaning there.
_LEGAL: dict[Kind, tuple[Transformation, ...]] = {
    "image": get_args(Transformation),
    "spectrogram": ("crop", "flip", "color_jitter"),
    "flow": ("crop", "flip"),
    "waveform": (),
    "features": (),
}
_ATTEMPTS = 8  # draws per sample from which the first that is no near-identity is taken
_COLUMNS = 12  # random numbers per draw
_LEAST_CHANGE = 1e-3  # of an area, a factor, a turn or radians: what changes a sample by less is taken for nothing


def legal_turns(kind: Kind) -> tuple[int, ...]:
    """Quarter turns after which a sample of this kind is still one: all four of an image, of others none but 0."""
    return (0, 1, 2, 3) if "rotation" in _LEGAL[kind] else (0,)


def legal_transformations(kind: Kind, channels: int) -> tuple[Transformation, ...]:
    """The transformations that make sense for samples of this kind; `grayscale` needs three channels."""
    return tuple(t for t in _LEGAL[kind] if t != "grayscale" or channels == 3)


@dataclass(frozen=True)
class Draw:
    """The random parameters of one transformation per sample, each a tensor (B,)."""

    scale_x: Tensor
    """Share of the width that the crop keeps, in (0, 1]."""
    scale_y: Tensor
    """Share of the height that the crop keeps, in (0, 1]."""
    center_x: Tensor
    """Middle of the crop, -1 the left edge, 1 the right one."""
    center_y: Tensor
    flipped: Tensor
    """Mirrored left to right (bool)."""
    angle: Tensor
    """Counter-clockwise rotation in radians."""
    brightness: Tensor
    """Factor on the values in [0, 1]."""
    contrast: Tensor
    """Factor on the distance from the sample's mean gray."""
    saturation: Tensor
    """Factor on the distance from each pixel's gray."""
    hue: Tensor
    """Turn of the hue circle, in turns."""
    gray: Tensor
    """Colour removed (bool)."""

    def where(self, chosen: Tensor, other: Draw) -> Draw:
        """This draw where `chosen` (B,) holds, the other elsewhere."""
        return Draw(
            **{f.name: torch.where(chosen, getattr(self, f.name), getattr(other, f.name)) for f in fields(Draw)}
        )


@dataclass(frozen=True)
class NegativeAugmentation:
    """M(x) of Secs. 2.1 and 2.3: several random transformations combined, never close to the identity.

    The paper names the transformations and no strengths; the defaults are those that PyTorch and SimCLR give them. Each
    sample gets its own parameters. A draw that would leave the sample almost as it was is drawn again, since
    a negative that equals its positive teaches the opposite of what it should; a flip alone counts as almost equal (a
    mirrored car is a car) unless the flip is the only transformation.

    Attributes:
        transformations: which to combine; None takes every one of Sec. 2.3 that is legal for the samples' kind.
        crop_scale: range of the area that a crop keeps, within (0, 1].
        crop_ratio: range of a crop's width : height, drawn uniformly in the logarithm.
        flip_probability, jitter_probability, grayscale_probability: of each being applied.
        brightness, contrast, saturation: factors are drawn from [1 - value, 1 + value].
        hue: turns of the hue circle are drawn from [-value, value], at most 0.5.
        rotation_degrees: angles are drawn from [-value, value]; 180 is any angle.
    """

    transformations: tuple[Transformation, ...] | None = None
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_probability: float = 0.5
    jitter_probability: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    grayscale_probability: float = 0.2
    rotation_degrees: float = 180.0

    def __post_init__(self) -> None:
        known = get_args(Transformation)
        if self.transformations is not None and not (
            isinstance(self.transformations, tuple | list)
            and self.transformations
            and all(t in known for t in self.transformations)
        ):
            raise InputError(f"transformations must be one or more of {', '.join(known)}; got {self.transformations!r}")
        for name, most, limit in (("crop_scale", 1.0, "<= 1"), ("crop_ratio", sys.float_info.max, "< infinity")):
            pair = getattr(self, name)
            two = isinstance(pair, tuple | list) and len(pair) == 2 and all(map(_is_number, pair))
            if not (two and 0 < pair[0] <= pair[1] <= most):
                raise InputError(f"{name} must be two numbers with 0 < low <= high {limit}; got {pair!r}")
        shares = ("flip_probability", "jitter_probability", "grayscale_probability")
        for name in (*shares, "brightness", "contrast", "saturation"):
            if not (_is_number(getattr(self, name)) and 0 <= getattr(self, name) <= 1):
                raise InputError(f"{name} must lie in [0, 1]; got {getattr(self, name)!r}")
        if not (_is_number(self.hue) and 0 <= self.hue <= 0.5):
            raise InputError(f"hue is in turns of the hue circle and must lie in [0, 0.5]; got {self.hue!r}")
        if not (_is_number(self.rotation_degrees) and 0 <= self.rotation_degrees <= 180):
            raise InputError(f"rotation_degrees must lie in [0, 180]; got {self.rotation_degrees!r}")

    def selected(self, kind: Kind, channels: int) -> tuple[Transformation, ...]:
        """The transformations that will be combined for this kind.

        Raises InputError where one asked for is not legal, and where even the strongest draw would be the identity.
        """
        legal = legal_transformations(kind, channels)
        chosen = tuple(t for t in SECTION_2_3 if t in legal) if self.transformations is None else self.transformations
        illegal = [t for t in chosen if t not in legal]
        if illegal or not chosen:
            raise InputError(
                f"negative augmentation of a {kind} with {channels} channel(s) can use "
                f"{', '.join(legal) or 'nothing'}; asked for {', '.join(illegal) or 'the default'}. "
                "Choose other transformations or a method without them"
            )
        if self._strongest_change(chosen, channels) < _LEAST_CHANGE:
            raise InputError(
                f"negative augmentation by {', '.join(chosen)} at these strengths and probabilities leaves a {kind} "
                f"with {channels} channel(s) as it is, so negatives would equal their positives. Raise one, or choose "
                "other transformations"
            )
        return chosen

    def _strongest_change(self, chosen: tuple[Transformation, ...], channels: int) -> float:
        """The largest change that any chosen transformation can make, each in its own unit."""
        changes = {
            "crop": 1 - self._smallest_crop,
            "flip": float(self.flip_probability > 0),
            "color_jitter": max(self.brightness, self.contrast, *((self.saturation, self.hue) if channels == 3 else ()))
            * (self.jitter_probability > 0),
            "grayscale": float(self.grayscale_probability > 0),
            "rotation": math.radians(self.rotation_degrees),
        }
        return max(changes[t] for t in chosen)

    @property
    def _smallest_crop(self) -> float:
        """The smallest share of the area that a crop can keep; a ratio that does not fit the image cuts more off."""
        longest = max(self.crop_ratio[1], 1 / self.crop_ratio[0])
        return min(self.crop_scale[0], math.sqrt(self.crop_scale[0] / longest))

    def draw(self, count: int, generator: torch.Generator, kind: Kind = "image", channels: int = 3) -> Draw:
        """Parameters for `count` samples, none of them near the identity; tensors on the CPU."""
        chosen = self.selected(kind, channels)
        numbers = torch.rand(count, _ATTEMPTS, _COLUMNS, generator=generator)
        result = self._forced(count, chosen, channels)
        # From the last attempt to the first, so that the earliest that is far from the identity stands in the end.
        for attempt in reversed(range(_ATTEMPTS)):
            candidate = self._from_numbers(numbers[:, attempt], chosen, channels)
            result = candidate.where(~self.near_identity(candidate, chosen), result)
        return result

    def near_identity(self, draw: Draw, chosen: tuple[Transformation, ...]) -> Tensor:
        """Whether each draw (B,) would leave its sample almost as it was; bool."""
        if set(chosen) == {"flip"}:
            return ~draw.flipped
        # Near is less than half of the strongest that is possible, so that weak settings are not rejected for ever;
        # what can not change a sample at all says nothing.
        near = ~draw.gray
        if "crop" in chosen and self._smallest_crop < 1:
            near &= draw.scale_x * draw.scale_y > 0.5 * (1 + self._smallest_crop)
        if "rotation" in chosen and self.rotation_degrees > 0:
            near &= draw.angle.abs() < math.radians(min(15.0, 0.5 * self.rotation_degrees))
        near &= (draw.brightness - 1).abs() <= 0.5 * self.brightness
        near &= (draw.contrast - 1).abs() <= 0.5 * self.contrast
        near &= (draw.saturation - 1).abs() <= 0.5 * self.saturation
        near &= draw.hue.abs() <= 0.5 * self.hue
        return near

    def __call__(self, images: Tensor, generator: torch.Generator, kind: Kind = "image") -> Tensor:
        """M(x): (B, C, H, W) in [-1, 1] to the same shape and range, outside any autocast; gradients flow."""
        chosen = self.selected(kind, images.shape[1])
        draw = self.draw(len(images), generator, kind, images.shape[1])
        return _applied(images, draw, kind, chosen)

    def _from_numbers(self, numbers: Tensor, chosen: tuple[Transformation, ...], channels: int) -> Draw:
        """Uniform numbers (B, 12) in [0, 1) to parameters; what was not chosen stays at the identity."""
        u = numbers.unbind(1)
        one, zero = torch.ones_like(u[0]), torch.zeros_like(u[0])
        no = torch.zeros_like(u[0], dtype=torch.bool)
        if "crop" in chosen:
            area = self.crop_scale[0] + u[0] * (self.crop_scale[1] - self.crop_scale[0])
            low, high = math.log(self.crop_ratio[0]), math.log(self.crop_ratio[1])
            ratio = torch.exp(low + u[1] * (high - low))
            scale_x, scale_y = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
        else:
            scale_x, scale_y = one, one
        jittered = u[5] < self.jitter_probability if "color_jitter" in chosen else no

        def factor(number: Tensor, strength: float) -> Tensor:
            return torch.where(jittered, 1 + strength * (2 * number - 1), one)

        colored = channels == 3
        return Draw(
            scale_x=scale_x,
            scale_y=scale_y,
            center_x=(2 * u[2] - 1) * (1 - scale_x),
            center_y=(2 * u[3] - 1) * (1 - scale_y),
            flipped=u[4] < self.flip_probability if "flip" in chosen else no,
            angle=(2 * u[11] - 1) * math.radians(self.rotation_degrees) if "rotation" in chosen else zero,
            brightness=factor(u[6], self.brightness),
            contrast=factor(u[7], self.contrast),
            saturation=factor(u[8], self.saturation) if colored else one,
            hue=torch.where(jittered, self.hue * (2 * u[9] - 1), zero) if colored else zero,
            gray=u[10] < self.grayscale_probability if "grayscale" in chosen else no,
        )

    def _forced(self, count: int, chosen: tuple[Transformation, ...], channels: int) -> Draw:
        """What is used where all attempts came out near the identity: everything possible, at full strength."""
        strong = torch.zeros(count, _COLUMNS)  # below every probability above 0, and at one end of every range
        strong[:, 2:4] = 0.5
        strong[:, 8] = 1.0
        if self.crop_ratio[0] * self.crop_ratio[1] > 1:
            strong[:, 1] = 1.0  # the ratio that cuts most off
        return self._from_numbers(strong, chosen, channels)


def _applied(images: Tensor, draw: Draw, kind: Kind, chosen: tuple[Transformation, ...]) -> Tensor:
    """What a draw of the chosen transformations makes of samples (B, C, H, W), outside any autocast."""
    moved = Draw(**{f.name: getattr(draw, f.name).to(images.device) for f in fields(Draw)})
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 would misplace the grid by parts of a pixel
        if {"crop", "flip", "rotation"} & set(chosen):
            images = resample(images, moved, kind)
        if {"color_jitter", "grayscale"} & set(chosen):
            images = recolor(images, moved)
    return images


def crop_and_recolor(
    images: Tensor, generator: torch.Generator, crop_scale: tuple[float, float] = (0.08, 1.0), kind: Kind = "image"
) -> Tensor:
    """Positive views for contrasts: random resized crops, colour jitter, grayscale: (B, C, H, W) -> the same.

    Strengths and probabilities are those of `NegativeAugmentation`, which are SimCLR's, but no draw is rejected for
    being close to the identity; of the three, what is not legal for the kind is left out. A mirroring, which SimCLR
    has too, is the caller's (`mirror`), for it must come before an image is turned.

    Args:
        crop_scale: range of the area that a crop keeps, within (0, 1].
    """
    channels = images.shape[1]
    strengths = NegativeAugmentation(crop_scale=crop_scale)
    chosen = tuple(t for t in SECTION_2_1 if t != "flip" and t in legal_transformations(kind, channels))
    numbers = torch.rand(len(images), _COLUMNS, generator=generator)
    return _applied(images, strengths._from_numbers(numbers, chosen, channels), kind, chosen)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def resample(images: Tensor, draw: Draw, kind: Kind = "image") -> Tensor:
    """Crop, flip and rotation in one bilinear resampling, beyond the border by reflection: (B, C, H, W) -> the same.

    An output place p (from -1 to 1) reads the input at center + R(angle) diag(scale) diag(flip) p, angles measured in
    pixels. A flow's first channel is its x component, which a mirroring negates.
    """
    if len(images) == 0:
        return images  # torch makes no empty grid
    height, width = images.shape[2:]
    sign = torch.where(draw.flipped, -1.0, 1.0).to(images.dtype)
    cosine, sine = torch.cos(draw.angle), torch.sin(draw.angle)
    # Columns are the images of the output's x and y axis; height / width turns normalised units into pixels and back.
    row_x = torch.stack([cosine * draw.scale_x * sign, -sine * draw.scale_y * (height / width), draw.center_x], 1)
    row_y = torch.stack([sine * draw.scale_x * sign * (width / height), cosine * draw.scale_y, draw.center_y], 1)
    theta = torch.stack([row_x, row_y], 1).to(images.dtype)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    result = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if kind == "flow":
        result = torch.cat([result[:, :1] * sign[:, None, None, None], result[:, 1:]], 1)
    return result


def recolor(images: Tensor, draw: Draw) -> Tensor:
    """Brightness, contrast, saturation, hue, grayscale, in this order: (B, C, H, W) in [-1, 1] -> the same.

    Each of the first three is clamped to the range, as in torchvision and kornia (which shuffle the order; we do not).
    With other than three channels only brightness and contrast apply.
    """
    x = (images + 1) * 0.5
    x = (x * _spread(draw.brightness)).clamp(0, 1)
    mean = _gray(x).mean((2, 3), keepdim=True)
    x = (mean + (x - mean) * _spread(draw.contrast)).clamp(0, 1)
    if x.shape[1] == 3:
        gray = _gray(x)
        x = (gray + (x - gray) * _spread(draw.saturation)).clamp(0, 1)
        if bool((draw.hue != 0).any()):
            x = _turn_hue(x, draw.hue)
        x = torch.where(_spread(draw.gray), _gray(x), x)
    return x * 2 - 1


def _spread(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _gray(x: Tensor) -> Tensor:
    """ITU-R 601 luma of three channels, the mean of any other number: (B, C, H, W) -> (B, 1, H, W)."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def _turn_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of RGB (B, 3, H, W) in [0, 1] by `turns` (B,), value and saturation kept (HSV)."""
    red, green, blue = x.unbind(1)
    value, smallest = x.amax(1), x.amin(1)
    chroma = value - smallest
    safe = chroma.clamp_min(1e-8)
    sextant = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sextant = sextant + 6 * turns[:, None, None]
    # HSV to RGB without cases: channel n is value - chroma * clamp(min(k, 4 - k), 0, 1) with k = (n + hue) mod 6.
    shift = torch.tensor([5.0, 3.0, 1.0], device=x.device)[:, None, None]
    k = torch.remainder(shift + sextant[:, None], 6.0)
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def mirror(images: Tensor, chosen: Tensor, kind: Kind = "image") -> Tensor:
    """Mirror the samples chosen by a bool (B,) left to right, a flow's x component negated with it."""
    mirrored = images.flip(3)
    if kind == "flow":
        mirrored = torch.cat([-mirrored[:, :1], mirrored[:, 1:]], 1)
    return torch.where(_spread(chosen.to(images.device)), mirrored, images)


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


def quarter_turns(images: Tensor) -> Tensor:
    """All four rotations by quarter turns: (B, C, H, H) -> (4 B, C, H, H), all of turn 0 first, then of turn 1, ..."""
    if images.shape[2] != images.shape[3]:
        raise InputError(f"quarter turns need square samples; got {images.shape[2]} x {images.shape[3]}. Resize them")
    return torch.cat([torch.rot90(images, turn, (2, 3)) for turn in range(4)])


_SHIFTS: dict[Kind, tuple[str, ...]] = {
    "image": ("upright", "turned by 90 degrees", "turned by 180 degrees", "turned by 270 degrees"),
    "flow": ("upright", "turned by 90 degrees", "turned by 180 degrees", "turned by 270 degrees"),
    "spectrogram": ("as it is", "reversed in time", "with frequencies upside down", "reversed and upside down"),
}


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
