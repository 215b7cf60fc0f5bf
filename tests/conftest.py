"""What tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COIL-20's layout, made up: stripes whose width is the object's and whose phase is the view's."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "coil-20-proc"
    folder.mkdir()
    rows = np.arange(128)[:, None] + np.zeros(128)
    for number in range(1, 21):
        for view in range(72):
            plane = 127 + 100 * np.sin(rows * (0.02 + 0.02 * number) + view * np.pi / 36)
            Image.fromarray(plane.astype(np.uint8)).save(folder / f"obj{number}__{view}.png", compress_level=0)
    return root
