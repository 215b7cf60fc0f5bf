"""A look at folders before training: what is there, what is broken, what is doubled, what leaks."""

from novanda.inspection.images import Inspection, inspect
from novanda.inspection.sounds import SoundInspection, inspect_sounds
from novanda.inspection.surveys import Inspected
from novanda.inspection.videos import VideoInspection, inspect_videos
from novanda.inspection.words import Spread

__all__ = [
    "Inspected",
    "Inspection",
    "SoundInspection",
    "Spread",
    "VideoInspection",
    "inspect",
    "inspect_sounds",
    "inspect_videos",
]
