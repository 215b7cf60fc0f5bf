"""A tour in two minutes: learn the digit 8 from scans of 8s alone, then look at digits never seen.

The images ship with scikit-learn (UCI's optical recognition of handwritten digits, 8 x 8 pixels). Everything is
written to ./demo: the folders of photos, the detector, its scores, and a picture to look at.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from novanda import Detector, Training, methods, metrics, pictures
from novanda.sources import open_source

NORMAL = 8
HERE = Path("demo")


def write_folders() -> None:
    """demo/normal: 120 eights to learn from; demo/new: the other eights, and every other digit."""
    digits = load_digits()
    shutil.rmtree(HERE, ignore_errors=True)
    learned = 0
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        learned += label == NORMAL
        folder = "normal" if label == NORMAL and learned <= 120 else f"new/{label}"
        path = HERE / folder / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * (255 / 16)).round().astype(np.uint8)).save(path)


def main() -> None:
    """Fit, score, evaluate, draw."""
    say = sys.stdout.write
    write_folders()
    say(f"Learning from {HERE / 'normal'}: photos of normal things only.\n")
    detector = Detector(
        methods.NDA(latent_dim=32),
        # The paper's SGD wants thousands of steps; Adam learns this small a set in a few hundred.
        Training(epochs=40, batch_size=16, optimizer="adam", learning_rate=1e-3, weight_decay=0.0),
        false_alarm_rate=0.05,
        seed=0,
    )
    detector.fit(HERE / "normal", progress=True)
    detector.save(HERE / "eights.novanda")
    say(f"{detector.note_} {detector.training_count_} learned from, {len(detector.calibration())} held out.\n\n")

    source = open_source(HERE / "new", purpose="score", spec=detector.spec_)
    paths = [source.identifier(position) for position in range(len(source))]
    novelty = detector.novelty_score(HERE / "new")
    p_values = detector.p_value(HERE / "new")
    flagged = detector.predict(HERE / "new") < 0
    novel = np.array([Path(path).parent.name != str(NORMAL) for path in paths])
    with (HERE / "scores.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "novelty", "p_value", "is_novel"])
        rows.writerows(zip(paths, novelty, p_values, flagged, strict=True))

    say("Some scores (higher = more novel):\n")
    for position in np.linspace(0, len(paths) - 1, 8).astype(int):
        verdict = "NOVEL " if flagged[position] else "normal"
        say(f"  {paths[position]}  novelty {novelty[position]:.4f}  p {p_values[position]:.3f}  {verdict}\n")
    say("\n")
    for line in metrics.evaluate(novelty[~novel], novelty[novel], detector.calibration().threshold).lines():
        say(line + "\n")
    # The error maps' full strength is what one pixel in a hundred of the normal photos reaches.
    normals = open_source(HERE / "normal", purpose="score", spec=detector.spec_)
    expected = detector.reconstruct(HERE / "normal")
    assert expected is not None
    scale = float(np.percentile(np.abs(normals.read(range(len(normals))) - expected), 99))
    sheet = pictures.score_sheet(
        images=source.read(range(len(source))),
        reconstructions=detector.reconstruct(HERE / "new"),
        novelty=novelty,
        p_values=p_values,
        novel=novel,
        threshold=detector.calibration().threshold,
        scale=scale,
    )
    pictures.save(sheet, HERE / "eights.png")
    say(f"\nLook at {HERE / 'eights.png'}; all scores are in {HERE / 'scores.csv'}.\n")
    say(f"The same from the command line: novanda score {HERE / 'eights.novanda'} {HERE / 'new'} --out scores.csv\n")


if __name__ == "__main__":
    main()
