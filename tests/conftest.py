"""What tests in many rooms share: a tiny data set on disk, and a browser, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")

# No test asserts speed: on a busy machine an example that takes a millisecond may take a second.
settings.register_profile("novanda", deadline=None)
settings.load_profile("novanda")


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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A real browser; tests that ask for it are skipped where Debian's chromium is not installed."""
    found = str(CHROMIUM) if CHROMIUM.exists() else shutil.which("chromium")
    if found is None:
        # Playwright's own download is no part of the set-up: `make browser` takes the distribution's package.
        pytest.skip("no chromium on this machine; `make browser` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
