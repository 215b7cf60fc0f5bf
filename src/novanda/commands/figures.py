"""`novanda figure5`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from novanda.commands.terminal import argument, check_writable, say

Sound = Annotated[Path, tyro.conf.Positional, argument(metavar="SOUND")]


def figure5(
    normal: Sound, abnormal: Sound, out: Annotated[Path, argument(metavar="FILE.png")] = Path("figure5.png")
) -> int:
    """Draw the spectrograms of a normal and an abnormal recording beside each other, as in the paper's Figure 5.

    Both have one scale of colours. Of a recording longer than a minute its first minute is drawn.

    Args:
        normal: a sound file without an event.
        abnormal: one with an event.
        out: the picture.
    """
    from novanda import pictures
    from novanda.sources import sound_spectrogram

    check_writable(out)
    panels = []
    for word, path in (("normal", normal), ("abnormal", abnormal)):
        seconds, decibels, hertz = sound_spectrogram(path)
        panels.append(pictures.SpectrogramPanel(f"{word}: {path.name}", seconds, decibels, hertz))
    pictures.save(pictures.spectrogram_sheet(panels), out)
    say(f"written to {out}")
    return 0
