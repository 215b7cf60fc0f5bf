"""Commands that look and learn nothing: `novanda inspect`, `list`, `download`, `doctor`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import tyro

from novanda.commands.terminal import (
    DEFAULT_METHOD,
    DataRoot,
    MorePhotos,
    OutFile,
    Photos,
    argument,
    check_writable,
    data_named,
    first_line,
    on_terminal,
    print_line,
    say,
    shown_names,
    write_json,
)
from novanda.errors import DataError


class _Found(Protocol):
    """What every inspection gives."""

    def lines(self) -> list[str]: ...

    def to_json(self) -> dict[str, Any]: ...


def inspect(
    photos: Photos, against: MorePhotos = (), kind: Literal["image", "audio", "video"] = "image", out: OutFile = None
) -> int:
    """Show what would be read: counts, sizes, modes, broken files, duplicates, leaks between train and test.

    Of sound: lengths, rates, channels, and which files are silent or clipped. Of video: lengths, sizes, frame rates,
    and which clips stand still or have gaps.

    Args:
        photos: folders and image files (or sound files, or clips).
        against: others, such as the test folder, to look for copies of these in.
        kind: what files are read.
        out: JSON file to write beside what is printed.
    """
    from novanda import inspection

    check_writable(out)
    data_named(photos)
    look: dict[str, Callable[..., _Found]] = {
        "image": inspection.inspect,
        "audio": inspection.inspect_sounds,
        "video": inspection.inspect_videos,
    }
    found = look[kind](list(photos), list(against) or None, progress=on_terminal())
    for line in found.lines():
        print_line(line)
    if out is not None:
        write_json(out, found.to_json())
    return 0


def list_names(
    what: Annotated[Literal["methods", "datasets", "studies"], tyro.conf.Positional, argument()],
) -> int:
    """List the methods, the named data sets or the studies that `bench` runs.

    Args:
        what: whose names to list.
    """
    if what == "methods":
        from novanda.methods import METHODS

        for method in METHODS:
            takes = ", ".join(sorted(method.kinds))
            default = " (default)" if method.name == DEFAULT_METHOD else ""
            print_line(f"{method.name:18} {method.title}{default}: {first_line(method)} Takes {takes}.")
    elif what == "datasets":
        from novanda.datasets import DATASETS, SOUND_SETS

        for data_set in DATASETS:
            print_line(
                f"{data_set.name:14} {data_set.title}, {data_set.kind}: {shown_names(data_set.classes)}. "
                f"{data_set.source}"
            )
        for sounds in SOUND_SETS:
            print_line(
                f"{sounds.name:14} {sounds.title}, sounds for `novanda bench`: {shown_names(sounds.classes)}. "
                f"{sounds.source}"
            )
    else:
        from novanda.benchmark.face_cells import table6
        from novanda.benchmark.studies import STUDIES

        for name, study in STUDIES.items():
            print_line(f"{name:14} {len(study())} cells: {first_line(study)}")
        print_line(f"{table6.__name__:14} {len(table6())} cells: {first_line(table6)}")
    return 0


def download(name: Annotated[str, tyro.conf.Positional, argument(metavar="NAME")], data_root: DataRoot = None) -> int:
    """Download a named data set from its publisher, checked against the published checksums.

    Args:
        name: one of `novanda list datasets`.
        data_root: folder to put it in; otherwise the environment's NOVANDA_DATA.
    """
    from novanda import datasets

    data_set = datasets.get(name)
    root = data_root or (Path(os.environ["NOVANDA_DATA"]) if os.environ.get("NOVANDA_DATA") else None)
    if root is None:
        raise DataError("say where to put the data set: --data-root FOLDER, or set NOVANDA_DATA")
    datasets.download(data_set.name, root)
    say(f"{data_set.name} is in {root}")
    return 0


def doctor() -> int:
    """Say what this machine offers: versions, device, precision, data sets."""
    from novanda.doctor import report

    for line in report():
        print_line(line)
    return 0
