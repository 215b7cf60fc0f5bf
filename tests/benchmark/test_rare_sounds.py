"""Table 5's protocol on mixtures made of noise: what is learned from, what is novel, AUROC against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

from novanda import Detector, methods
from novanda.benchmark.rare_sounds import rare_sound_scores, training_segments
from novanda.datasets.dcase2017 import Mixture, read_mixtures
from novanda.errors import InputError
from novanda.mixing import Mixing, mix
from novanda.recordings import AudioForm

FORM = AudioForm(rate=8_000, segment_seconds=0.5, hop_seconds=0.25, bands=16, frames=16, fft=512)


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beeps in noise: devtrain and evaltest, 20 mixtures of 2 s each."""
    root = tmp_path_factory.mktemp("rare")
    generator = np.random.default_rng(0)
    for folder in ("normal", "beep"):
        (root / folder).mkdir()
    for number in range(4):
        soundfile.write(root / "normal" / f"{number}.wav", generator.normal(0, 0.1, 24_000), 8_000)
        beep = 0.3 * np.sin(2 * np.pi * (700 + 100 * number) * np.arange(3_200) / 8_000)
        soundfile.write(root / "beep" / f"{number}.wav", beep, 8_000)
    for split, seed in (("devtrain", 0), ("evaltest", 1)):
        mixing = Mixing(count=20, seconds=2.0, rate=8_000, ebr=(0.0, 6.0), split=split, seed=seed)  # type: ignore[arg-type]  # names of splits
        mix(root / "normal", root / "beep", root / split, mixing)
    return root


def test_events_are_found_by_who_has_heard_none(rare: Path) -> None:
    train, test = read_mixtures(rare, "devtrain"), read_mixtures(rare, "evaltest")
    source = training_segments(train, FORM)
    annotated = {str(mixture.path): mixture.events for mixture in train}
    free = 0
    for mixture in train:
        for start in np.arange(7) * 0.25:
            free += not any(e.onset < start + 0.5 and start < e.offset for e in mixture.events)
    assert len(source) == free < 140
    for position in range(len(source)):
        span = source.span(position)
        assert all(e.offset <= span.start or span.end <= e.onset for e in annotated[span.path])
    assert source.identifier(0) == str(source.span(0))
    assert (source.read([3, 1]) == np.stack(source.read_each([3, 1]))).all()  # type: ignore[arg-type]  # no error is among them
    detector = Detector(methods.PCA(components=8), false_alarm_rate=0.2, calibration_fraction=0.25).fit(source)
    assert len(detector.calibration()) == round(0.25 * (source.recordings[-1] + 1))
    timelines = list(detector.timelines([mixture.path for mixture in test]))
    found = rare_sound_scores(timelines, test)
    truth, files = [], []
    for mixture in test:
        overlaps = [any(e.onset < s + 0.5 and s < e.offset for e in mixture.events) for s in np.arange(7) * 0.25]
        truth += overlaps
        files.append(bool(mixture.events))
    scores = np.concatenate([timeline.novelty for timeline in timelines])
    assert found.segment_auroc == pytest.approx(roc_auc_score(truth, scores))
    assert found.file_auroc == pytest.approx(roc_auc_score(files, [timeline.novelty.max() for timeline in timelines]))
    assert found.segment_auroc is not None
    assert found.segment_auroc > 0.9
    assert (found.segments, found.novel_segments) == (140, sum(truth))
    assert (found.files, found.novel_files) == (20, sum(files))
    assert found.left_out == ()
    assert found.how == "max"


def test_what_can_not_be_judged(rare: Path, tmp_path: Path) -> None:
    test = read_mixtures(rare, "evaltest")
    detector = Detector(methods.PCA(components=4), calibration_fraction=0).fit(
        training_segments(read_mixtures(rare, "devtrain"), FORM)
    )
    quiet = [mixture for mixture in test if not mixture.events]
    found = rare_sound_scores(detector.timelines([mixture.path for mixture in quiet]), test)
    assert (found.segment_auroc, found.file_auroc, found.novel_files) == (None, None, 0)
    with pytest.raises(InputError, match="it has no annotation"):
        rare_sound_scores(detector.timelines([test[0].path]), test[1:])
    (tmp_path / "a.wav").write_text("broken")
    broken = Mixture(tmp_path / "a.wav", "normal", "beep", (), None)
    left = rare_sound_scores(detector.timelines([test[0].path, broken.path]), [*test, broken])
    assert left.left_out == (str(broken.path),)
    with pytest.raises(InputError, match="at least one mixture"):
        rare_sound_scores(detector.timelines([broken.path, broken.path]), [broken])
