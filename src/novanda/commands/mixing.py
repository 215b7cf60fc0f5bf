"""`novanda mix`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from novanda.commands.terminal import argument, progress_over, say
from novanda.errors import InputError

Folder = Annotated[Path, argument(metavar="FOLDER")]


def mix(
    backgrounds: Folder,
    events: Folder,
    out: Folder,
    ebr: Annotated[str, argument(metavar="DB,DB")] = "-6,0,6",
    count: int = 500,
    presence: float = 0.5,
    seconds: float = 30.0,
    rate: int = 44_100,
    split: Literal["devtrain", "devtest", "evaltest"] = "evaltest",
    gain: float = 0.2,
    seed: int = 0,
) -> int:
    """Make a test set of rare sounds: your events mixed into your backgrounds by the recipe of DCASE 2017 task 2.

    Subfolders name classes of events and scenes of backgrounds. FOLDER gets sound, recipes and event lists in the
    official layout. The same sounds and seed give the same files.

    Args:
        backgrounds: folder of sounds to mix into, each at least as long as a mixture.
        events: folder of sounds to mix in.
        out: new folder for the test set.
        ebr: event-to-background ratios in dB, drawn from evenly.
        count: mixtures for each class of event.
        presence: share of the mixtures that hold an event.
        seconds: length of a mixture.
        rate: samples a second of the mixtures.
        split: what part of the official layout they make.
        gain: that mixtures are multiplied by, DCASE's 0.2 unless given. Give 1 for a detector that was fitted on the
            backgrounds as they are.
        seed: of everything random.
    """
    from novanda import mixing

    try:
        ratios = tuple(float(word) for word in ebr.split(","))
    except ValueError:
        raise InputError(f"--ebr are numbers with commas between them, such as -6,0,6; got {ebr!r}") from None
    chosen = mixing.Mixing(ratios, count, presence, seconds, rate, split, gain, seed)

    def each(plans: Sequence[Any]) -> Iterator[Any]:
        return progress_over(plans, len(plans), "mixing")

    made = mixing.mix(backgrounds, events, out, chosen, each=each)
    for path, reason in made.left_out.items():
        say(f"left out {path}: {reason}")
    if made.clipped:
        say(f"{made.clipped} mixtures are cut off at full scale; a lower --gain avoids that")
    say(f"{made.count} mixtures, {made.with_event} with an event, written to {made.folder}")
    return 0
