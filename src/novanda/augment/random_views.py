"""Several random transformations combined: the paper's negative augmentation M(x), and positive views for contrasts."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from novanda.augment.drawn import Draw, applied
from novanda.augment.legality import SECTION_2_1, SECTION_2_3, Transformation, legal_transformations
from novanda.errors import InputError
from novanda.samples import Kind

_ATTEMPTS = 8  # draws per sample from which the first that is no near-identity is taken
_COLUMNS = 12  # random numbers per draw
_LEAST_CHANGE = 1e-3  # of an area, a factor, a turn or radians: what changes a sample by less is taken for nothing


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
        return applied(images, draw, kind, chosen)

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
    return applied(images, strengths._from_numbers(numbers, chosen, channels), kind, chosen)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
