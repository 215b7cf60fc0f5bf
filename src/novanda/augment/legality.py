"""Which transformation makes sense for which kind of sample."""

from __future__ import annotations

from typing import Literal, get_args

from novanda.samples import Kind

Transformation = Literal["crop", "flip", "color_jitter", "grayscale", "rotation"]

SECTION_2_1: tuple[Transformation, ...] = ("crop", "color_jitter", "grayscale", "flip")
SECTION_2_3: tuple[Transformation, ...] = ("crop", "flip", "color_jitter", "rotation", "grayscale")

# Why a kind may not be transformed in some way:
# - spectrogram: its axes are time and frequency, so a rotation or a vertical flip mixes units and gives no sound at
#   all; a crop is another moment and band, a horizontal flip is time reversed, brightness and contrast are gain and
#   dynamics.
# - flow: a rotation would have to turn the vectors too; mirroring does, by negating x. Colour means nothing.
# - waveform and features: no transformation of this room has a meaning there.
_LEGAL: dict[Kind, tuple[Transformation, ...]] = {
    "image": get_args(Transformation),
    "spectrogram": ("crop", "flip", "color_jitter"),
    "flow": ("crop", "flip"),
    "waveform": (),
    "features": (),
}


def legal_turns(kind: Kind) -> tuple[int, ...]:
    """Quarter turns after which a sample of this kind is still one: all four of an image, of others none but 0."""
    return (0, 1, 2, 3) if "rotation" in _LEGAL[kind] else (0,)


def legal_transformations(kind: Kind, channels: int) -> tuple[Transformation, ...]:
    """The transformations that make sense for samples of this kind; `grayscale` needs three channels."""
    return tuple(t for t in _LEGAL[kind] if t != "grayscale" or channels == 3)
