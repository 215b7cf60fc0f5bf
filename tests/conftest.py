"""What tests in many rooms share: a tiny data set and recordings on disk, and a browser, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
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


HUM_RATE = 8_000


def hum(seed: int, seconds: float = 2.0, knocking: bool = False) -> np.ndarray:
    """A machine that hums at 8 kHz, a little differently each time; or one that also knocks. float32, (n,)."""
    generator = np.random.default_rng(seed)
    moments = np.arange(round(seconds * HUM_RATE)) / HUM_RATE
    sound = 0.02 * generator.normal(size=len(moments))
    for harmonic in (1, 2, 3):
        sound += 0.1 / harmonic * np.sin(2 * np.pi * harmonic * generator.uniform(118, 122) * moments)
    if knocking:
        sound += 0.5 * generator.normal(size=len(moments)) * (moments % 1.0 < 0.05)
    made: np.ndarray = sound.astype(np.float32)
    return made


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of 2 s: 40 in ok/, 12 in today/, 6 that knock in worn/; wav, flac and ogg."""
    root = tmp_path_factory.mktemp("machine")
    for folder, count, first, knocking in (("ok", 40, 0, False), ("today", 12, 100, False), ("worn", 6, 200, True)):
        (root / folder).mkdir()
        for number in range(count):
            suffix = ("wav", "flac", "ogg")[number % 3]
            path = root / folder / f"{number:02d}.{suffix}"
            soundfile.write(path, hum(first + number, knocking=knocking), HUM_RATE)
    return root
