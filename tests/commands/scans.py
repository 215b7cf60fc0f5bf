"""Scans of digits, a detector of zeros, and a way to run commands as a person gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from novanda.cli import main

Run = Callable[..., SimpleNamespace]


def write_zeros(root: Path) -> Path:
    """zeros.novanda, learned from 100 zeros; more of them in normal/, ones in novel/; 8 x 8 PNGs."""
    found = load_digits()
    images = (found.images * 255 / 16).astype(np.uint8)
    zeros, ones = images[found.target == 0], images[found.target == 1]
    for folder, part in (("train", zeros[:100]), ("normal", zeros[100:170]), ("novel", ones[:10])):
        (root / folder).mkdir()
        for number, image in enumerate(part):
            Image.fromarray(image).save(root / folder / f"{number:03d}.png")
    words = ["fit", root / "train", "--out", root / "zeros.novanda", "--method", "pca", "--pca.components", 8]
    assert main(list(map(str, words))) == 0
    return root


def runner(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: exit code, standard output, standard error."""

    def command(*words: str | Path | float) -> SimpleNamespace:
        capfd.readouterr()
        code = main([str(word) for word in words])
        said = capfd.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return command
