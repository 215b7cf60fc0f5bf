"""`novanda explain`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from novanda.commands.terminal import (
    DataRoot,
    ModelFile,
    Photos,
    SourceName,
    check_writable,
    load_detector,
    open_new,
    progress_over,
    say,
)
from novanda.errors import DataError, InputError

if TYPE_CHECKING:
    from novanda.explanations import Explanation

_MOST_ON_A_SHEET = 50


def explain(
    model: ModelFile,
    photos: Photos,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.png|FOLDER")],
    neighbours: int = 3,
    source: SourceName = None,
    strict: bool = False,
    data_root: DataRoot = None,
) -> int:
    """Draw why images are novel or normal: what was expected, where they differ, the most similar training images.

    A name that ends in .png gets one sheet with a band for each image, 50 at most; any other name is a folder, which
    gets one PNG for each. Unreadable images are told and left out, and the exit code is then 2.

    Args:
        model: a file that `novanda fit` wrote.
        photos: folders and image files, one .npy or .npz file, or a named set such as cifar10:car:test.
        out: the sheet, or the folder, to write.
        neighbours: how many of the most similar training images to show.
        source: decide by this source's own threshold, see `novanda calibrate`.
        strict: stop at the first unreadable image.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    from novanda.explanations import explain_each

    on_sheet = out.suffix.lower() == ".png"
    if on_sheet:
        check_writable(out)
    elif out.exists() and not out.is_dir():
        raise InputError(f"{out} is no folder; --out is a file that ends in .png, or a folder for one PNG an image")
    if neighbours > 8:
        raise InputError(f"--neighbours must be at most 8, for them to be seen; got {neighbours}")
    detector = load_detector(model)
    samples = open_new(detector, photos, data_root)
    if on_sheet and len(samples) > _MOST_ON_A_SHEET:
        raise InputError(
            f"one sheet holds at most {_MOST_ON_A_SHEET} images; got {len(samples)}; give --out a folder's name, "
            "which does not end in .png, for one PNG an image"
        )
    sheet: list[Explanation] = []
    drawn = broken = 0
    outcomes = explain_each(detector, samples, neighbours=neighbours, source=source)
    for position, outcome in progress_over(outcomes, len(samples), "explaining"):
        if isinstance(outcome, DataError):
            if strict:
                raise outcome
            broken += 1
            say(f"unreadable: {outcome}")
        elif on_sheet:
            sheet.append(outcome)
        else:
            _save([outcome], out / f"{position + 1:0{len(str(len(samples)))}d}_{_stem(outcome.name)}.png")
            drawn += 1
    if sheet:
        _save(sheet, out)
        drawn = len(sheet)
    say(f"{drawn} explained" + (f", {broken} unreadable" if broken else ""))
    if drawn:
        say(f"written to {out}")
    return 2 if broken else 0


def _save(explanations: list[Explanation], path: Path) -> None:
    from novanda import pictures

    pictures.save(pictures.explanation_sheet(explanations), path)


def _stem(name: str) -> str:
    """A sample's name as part of a file's: the number before it makes it unique, so that it may be cut."""
    # Not Path.stem, which would leave of "parts.npy row 3" no row.
    return re.sub(r"\.\w+$", "", Path(name).name).replace(" ", "_")[-60:]
