"""COIL-20 and COIL-100: objects on a turntable, a view each 5 degrees, 128 x 128 (Nene, Nayar and Murase, 1996).

Neither has an official split: the train part of what `load` gives holds everything and the test part is empty.
Neither has published checksums.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from novanda.datasets.dataset import DataSet, Labelled
from novanda.errors import DataError

VIEWS = 72
DEGREES_PER_VIEW = 5
SIDE = 128


def load(root: Path, *, folder: str, objects: int, channels: int, number_step: int, source: str) -> Labelled:
    """Read `root/folder/obj{k}__{number}.png`; images (N, 128, 128, C), by object, then by angle.

    Everything is in the train part; the test part is empty. `extra["train_angles"]` and `extra["test_angles"]` are
    the views' angles in degrees, int64. Numbers in file names grow by `number_step` from a view to the next.

    Raises:
        DataError: a file is missing, broken, or not 128 x 128 of the right mode.
    """
    paths = [
        root / folder / f"obj{number}__{view * number_step}.png"
        for number in range(1, objects + 1)
        for view in range(VIEWS)
    ]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{root / folder}: expected {len(paths):,} images; {len(missing):,} are missing, the first is "
            f"{missing[0].name}; get the set from {source}"
        )
    images = np.empty((len(paths), SIDE, SIDE, channels), dtype=np.uint8)
    for row, path in enumerate(paths):
        images[row] = _view(path, channels)
    nothing = np.empty(0, dtype=np.int64)
    return Labelled(
        train_images=images,
        train_labels=np.repeat(np.arange(objects), VIEWS),
        test_images=images[:0],
        test_labels=nothing,
        provenance=f"All {len(paths):,} images are there; no official checksums exist to compare them with.",
        extra={"train_angles": np.tile(np.arange(VIEWS) * DEGREES_PER_VIEW, objects), "test_angles": nothing},
    )


def _view(path: Path, channels: int) -> np.ndarray:
    mode = "L" if channels == 1 else "RGB"
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode != mode or image.size != (SIDE, SIDE):
                raise ValueError(f"{image.size[0]} x {image.size[1]} of mode {image.mode}")
            return np.asarray(image).reshape(SIDE, SIDE, channels)
    except Exception as error:  # Pillow raises many kinds for broken files
        raise DataError(f"{path}: expected a {SIDE} x {SIDE} PNG of mode {mode}; got: {error}; get it again") from error


def _coil(objects: int, folder: str, channels: int, number_step: int) -> DataSet:
    source = f"https://www.cs.columbia.edu/CAVE/software/softlib/coil-{objects}.php"
    return DataSet(
        name=f"coil{objects}",
        title=f"COIL-{objects}",
        kind="image",
        classes=tuple(f"obj{number}" for number in range(1, objects + 1)),
        source=source,
        load=partial(load, folder=folder, objects=objects, channels=channels, number_step=number_step, source=source),
    )


# COIL-20's files are numbered by view (0 to 71), COIL-100's by angle (0 to 355).
COIL20 = _coil(20, "coil-20-proc", channels=1, number_step=1)
COIL100 = _coil(100, "coil-100", channels=3, number_step=DEGREES_PER_VIEW)
