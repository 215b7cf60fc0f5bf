"""Augmentation on batches, on the device: the paper's negative augmentation M(x), shifts, and mild positive views.

This room alone knows which transformation is legal for which kind of sample. All random numbers are drawn on the CPU,
one row per sample, from a generator that the caller gives: the same seed gives the same output on any device and on
any split of the batch. Letters: B batch, C channels, H height, W width. Samples are float32 in [-1, 1].
"""

from novanda.augment.drawn import Draw, false_colors, recolor, resample
from novanda.augment.legality import (
    SECTION_2_1,
    SECTION_2_3,
    Transformation,
    legal_transformations,
    legal_turns,
)
from novanda.augment.moves import mirror, negative_shifts, quarter_turns, shift_and_mirror, shifted, translate
from novanda.augment.random_views import NegativeAugmentation, crop_and_recolor

__all__ = [
    "SECTION_2_1",
    "SECTION_2_3",
    "Draw",
    "NegativeAugmentation",
    "Transformation",
    "crop_and_recolor",
    "false_colors",
    "legal_transformations",
    "legal_turns",
    "mirror",
    "negative_shifts",
    "quarter_turns",
    "recolor",
    "resample",
    "shift_and_mirror",
    "shifted",
    "translate",
]
