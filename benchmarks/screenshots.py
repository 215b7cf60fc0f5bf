"""Draw docs/pictures/page*.png, explanation*.png and report.png in a real browser: `make screenshots`.

The images ship with scikit-learn (UCI's optical recognition of handwritten digits). A detector learns the digit 8, and
the running service is given eights that it has not seen and some of every other digit. The report is that of the
committed result lines.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sklearn.datasets import load_digits

from novanda import Detector, Training, methods
from novanda.benchmark.report import PAGE, make_report, write_report

RESULTS = Path(__file__).resolve().parent
PICTURES = RESULTS.parent / "docs/pictures"
PROGRAM = "import sys; from novanda.cli import main; sys.exit(main())"
NORMAL = 8
LOOKS = (
    ("page", "light", {"width": 1200, "height": 860}),
    ("page-dark", "dark", {"width": 1200, "height": 860}),
    ("page-narrow", "light", {"width": 390, "height": 800}),
)


def write_photos(folder: Path) -> tuple[Path, Path]:
    """Folders of eights to learn from, and of new digits: the other eights and four of every other digit."""
    digits = load_digits()
    counts = dict.fromkeys(range(10), 0)
    for pixels, label in zip(digits.images, digits.target.tolist(), strict=True):
        counts[label] += 1
        learned = label == NORMAL and counts[label] <= 140
        if not learned and label != NORMAL and counts[label] > 4:
            continue
        path = folder / ("normal" if learned else "new") / f"{label}-{counts[label]:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((pixels * (255 / 16)).round().astype(np.uint8)).save(path)
    (folder / "new" / "torn.png").write_bytes((folder / "new" / "8-141.png").read_bytes()[:70])
    return folder / "normal", folder / "new"


@contextmanager
def served(model: Path) -> Iterator[str]:
    """The address of a running service."""
    command = [sys.executable, "-c", PROGRAM, "serve", str(model), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        try:
            yield next(word for word in words if word.startswith("http"))
        finally:
            process.terminate()


def open_page(browser: Browser, address: str, photos: Path, scheme: str, size: dict[str, int]) -> Page:
    """The page in light or dark, with the photos scored."""
    page = browser.new_page(color_scheme=scheme, viewport=size, device_scale_factor=1)  # type: ignore[arg-type]  # words
    page.goto(address)
    files = sorted(photos.iterdir())
    page.set_input_files("#files", files)
    expect(page.locator("#spoken")).to_contain_text(f"{len(files)} of {len(files)} done")
    page.wait_for_timeout(300)  # thumbnails that were decoded late
    return page


def look_at_report(browser: Browser, out: Path, work: Path) -> None:
    """The report of all committed lines, from its table of CIFAR-10 on."""
    folders = sorted(path.parent for path in RESULTS.glob("*/results.jsonl"))
    write_report(make_report(folders), work)
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto((work / PAGE).as_uri())
    page.evaluate("document.querySelector('#table3').scrollIntoView()")
    page.screenshot(path=out / "report.png")
    page.close()


def main() -> int:
    """Fit, serve, look."""
    parser = argparse.ArgumentParser(description="Draw the page's pictures for the docs.")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder to write to")
    parser.add_argument("--browser", default="/usr/bin/chromium")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        normal, new = write_photos(Path(work))
        # Adam learns this small a set in a few hundred steps.
        training = Training(epochs=60, batch_size=16, optimizer="adam", learning_rate=1e-3, weight_decay=0.0)
        model = Path(work) / "eights.novanda"
        Detector(methods.AutoEncoder(latent_dim=16), training, calibration_fraction=0.4).fit(normal).save(model)
        browser = playwright.chromium.launch(executable_path=given.browser, args=["--no-sandbox"])
        with served(model) as address:
            for name, scheme, size in LOOKS:
                page = open_page(browser, address, new, scheme, size)
                page.screenshot(path=given.out / f"{name}.png")
                page.locator("#grid button").first.click()
                page.wait_for_selector("#why-pictures figure")
                if name != "page-narrow":
                    page.screenshot(path=given.out / f"{name.replace('page', 'explanation')}.png")
                page.close()
        look_at_report(browser, given.out, Path(work) / "report")
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
