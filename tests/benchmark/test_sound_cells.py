"""Cells of sound: what trains and tests by hand, figures against scikit-learn, what is said where data is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

from novanda import Detector
from novanda.benchmark import sound_protocols
from novanda.benchmark.cells import Cell
from novanda.benchmark.runs import read_runs
from novanda.benchmark.sound_protocols import SoundSplit, sound_split
from novanda.benchmark.sound_studies import SPECTROGRAM, WAVEFORM, esc10, esc10_choosing, table5
from novanda.cli import main
from novanda.datasets.dcase2017 import SCENES, read_mixtures
from novanda.datasets.esc10 import EVENTS, FOLDS
from novanda.datasets.esc10 import SCENES as BACKGROUNDS
from novanda.errors import InputError
from novanda.methods import METHODS, PCA, FrameGaussian
from novanda.mixing import Mixing, mix
from novanda.sources import SoundFiles

RATE = 8_000


def hiss(seed: int, seconds: float) -> np.ndarray:
    made: np.ndarray = np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE))
    return made


def beep(seed: int, seconds: float = 0.5) -> np.ndarray:
    tone: np.ndarray = 0.3 * np.sin(2 * np.pi * (700 + 50 * seed) * np.arange(round(seconds * RATE)) / RATE)
    return tone


def learned_from(split: SoundSplit) -> list[str]:
    """The names of the files that a split trains on."""
    source = split.normals(SPECTROGRAM)
    assert isinstance(source, SoundFiles)
    return [Path(file.path).name for file in source.files]


@pytest.fixture(scope="module")
def dcase(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official layout with one scene: eight mixtures of 5 s in devtrain, twelve in evaltest."""
    root = tmp_path_factory.mktemp("dcase")
    sounds = tmp_path_factory.mktemp("sounds")
    for folder in ("normal/beach", "event/babycry"):
        (sounds / folder).mkdir(parents=True)
    for number in range(3):
        soundfile.write(sounds / "normal/beach" / f"{number}.wav", hiss(number, 6), RATE)
        soundfile.write(sounds / "event/babycry" / f"{number}.wav", beep(number), RATE)
    for mixing in (
        Mixing((0.0, 6.0), 8, 0.6, 5.0, RATE, "devtrain", seed=0),
        Mixing((0.0, 6.0), 12, 0.6, 5.0, RATE, "evaltest", seed=1),
    ):
        mix(sounds / "normal", sounds / "event", root / mixing.split, mixing)
    return root


def lines(out: Path) -> dict[str, dict[str, Any]]:
    """Result lines by method."""
    found = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return {line["cell"]["method"]["name"]: line for line in found}


def test_table_5_on_the_official_layout(dcase: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "table5", "--data-root", dcase, "--out", tmp_path, "--classes", "beach"]
    assert main([*map(str, words), "--methods", "frame_gaussian,pca"]) == 0
    assert "dcase2017:beach frame_gaussian: AUROC by segment" in capsys.readouterr().err
    line = lines(tmp_path)["frame_gaussian"]
    train, test = read_mixtures(dcase, "devtrain"), read_mixtures(dcase, "evaltest")
    # Segments of 3 s, one every 0.5 s: five of each mixture of 5 s.
    starts = np.arange(5) * 0.5

    def sounding(mixture: Any, start: float) -> bool:
        return any(event.onset < start + 3 and start < event.offset for event in mixture.events)

    free = sum(not sounding(mixture, start) for mixture in train for start in starts)
    assert line["sizes"]["train"] == free
    detector = Detector(FrameGaussian(), recording=SPECTROGRAM, calibration_fraction=0)
    detector.fit(sound_split("dcase2017", "beach", "rare_sounds", dcase).normals(SPECTROGRAM))
    segments, truth, files, novel = [], [], [], []
    for mixture, timeline in zip(test, detector.timelines([m.path for m in test]), strict=True):
        segments.append(timeline.novelty)
        truth.append([sounding(mixture, start) for start in starts])
        files.append(timeline.novelty.max())
        novel.append(mixture.ebr)
    assert line["auroc"]["segment"] == pytest.approx(roc_auc_score(np.concatenate(truth), np.concatenate(segments)))
    present = np.array([ratio is not None for ratio in novel])
    assert line["auroc"]["file"] == pytest.approx(roc_auc_score(present, files))
    kept = np.array([ratio in (None, 6.0) for ratio in novel])
    assert line["auroc"]["file at 6 dB"] == pytest.approx(roc_auc_score(present[kept], np.array(files)[kept]))
    at_six = [place for place in range(12) if kept[place]]
    assert line["auroc"]["segment at 6 dB"] == pytest.approx(
        roc_auc_score(np.concatenate([truth[p] for p in at_six]), np.concatenate([segments[p] for p in at_six]))
    )
    assert line["auroc"]["segment"] > 0.9
    # The kept scores give the figure again, as a report asks of them.
    (run,) = [run for run in read_runs([tmp_path]) if run.method["name"] == "frame_gaussian"]
    normal, other = run.scores()
    assert (len(normal), len(other)) == (line["sizes"]["test_normal"], line["sizes"]["test_novel"])


def test_where_dcase_is_missing_the_line_says_what_to_put_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    words = ["bench", "table5", "--data-root", tmp_path / "data", "--out", tmp_path / "r", "--methods", "pca"]
    assert main([*map(str, words), "--classes", "beach"]) == 2
    assert "1 of 1 cells failed" in capsys.readouterr().err.splitlines()[-1]
    said = lines(tmp_path / "r")["pca"]["error"]
    assert "expected mixture_data/devtrain somewhere below it; found none; get the set from https" in said
    assert "TUT-rare-sound-events-2017-development/data/mixture_data/devtrain/" in said
    assert "TUT-rare-sound-events-2017-evaluation/data/mixture_data/evaltest/" in said


# ---------------------------------------------------------------------------------------------------------------
# ESC-10


@pytest.fixture(scope="module")
def esc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its layout: hiss for backgrounds, beeps for events, a clip of each in each fold."""
    root = tmp_path_factory.mktemp("esc")
    audio = root / "ESC-10" / "audio"
    audio.mkdir(parents=True)
    table = ["clip,fold,target,category"]
    for number, category in enumerate((*BACKGROUNDS.values(), *EVENTS.values())):
        for fold in FOLDS:
            name = f"{number:03d}_{fold}-A"
            sound = hiss(100 * number + fold, 5.0) if category in BACKGROUNDS.values() else beep(number + fold)
            soundfile.write(audio / f"{name}.ogg", sound, RATE)
            table.append(f"{name},{fold},{number},{category}")
    (root / "ESC-10" / "meta.csv").write_text("\n".join(table))
    return root


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Mixing:
    """A small test set."""
    mixing = Mixing((-6.0, 6.0), 4, 0.6, 4.9, RATE, gain=1.0)
    monkeypatch.setattr(sound_protocols, "MIXING", mixing)
    return mixing


def test_folds_train_and_test_and_the_test_set_is_what_novanda_mix_makes(
    esc: Path, few: Mixing, tmp_path: Path
) -> None:
    split = sound_split("esc10", "sea_waves", "rare_sounds", esc)
    assert learned_from(split) == [f"001_{fold}-A.ogg" for fold in (1, 2, 3, 4)]
    for place, folder in ((1, "backgrounds/sea_waves"), (6, "events/baby_cry"), (7, "events/dog_bark"),
                          (8, "events/sneeze"), (9, "events/rooster")):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(esc / "ESC-10/audio" / f"{place:03d}_5-A.ogg", tmp_path / folder)
    words = ["mix", "--backgrounds", tmp_path / "backgrounds", "--events", tmp_path / "events", "--out", tmp_path / "o"]
    options = ["--ebr=-6,6", "--count", 4, "--presence", 0.6, "--seconds", 4.9, "--rate", RATE, "--gain", 1]
    assert main([*map(str, words), *map(str, options)]) == 0
    by_hand = read_mixtures(tmp_path / "o", "evaltest")
    assert len(by_hand) == len(split.mixtures) == 16
    for ours, theirs in zip(split.mixtures, by_hand, strict=True):
        assert (ours.path.name, ours.events, ours.ebr) == (theirs.path.name, theirs.events, theirs.ebr)
        assert ours.path.read_bytes() == theirs.path.read_bytes()
    choosing = sound_split("esc10", "sea_waves", "rare_sounds_within_training", esc)
    assert learned_from(choosing) == [f"001_{fold}-A.ogg" for fold in (1, 2, 3)]
    assert {mixture.path.name for mixture in choosing.mixtures}.isdisjoint(m.path.name for m in split.mixtures)


def test_the_made_files_go_when_nothing_needs_them(esc: Path, few: Mixing) -> None:
    split = sound_split("esc10", "rain", "rare_sounds", esc)
    path = split.mixtures[0].path
    assert path.is_file()
    del split
    assert not path.exists()


def test_esc10_in_a_line(esc: Path, few: Mixing, tmp_path: Path) -> None:
    words = ["bench", "esc10", "--data-root", esc, "--out", tmp_path, "--classes", "rain", "--methods", "pca"]
    assert main(list(map(str, words))) == 0
    line = lines(tmp_path)["pca"]
    assert list(line["auroc"]) == [
        "segment", "file", "segment at -6 dB", "file at -6 dB", "segment at 6 dB", "file at 6 dB",
    ]  # fmt: skip
    assert line["cell"]["recording"] == SPECTROGRAM.to_json()
    assert "16 mixtures of clips of fold 5" in line["data"]["provenance"]
    assert line["sizes"]["test_files"] == 16


# ---------------------------------------------------------------------------------------------------------------
# Studies


@pytest.mark.parametrize(("study", "scenes"), [(table5, SCENES), (esc10, BACKGROUNDS), (esc10_choosing, BACKGROUNDS)])
def test_every_scene_has_every_method_on_one_form(study: Any, scenes: Any) -> None:
    cells = study()
    for scene in scenes:
        assert len([cell for cell in cells if cell.normal_class == scene]) == len(cells) / len(scenes) == 9
    for cell in cells:
        assert cell.recording == (WAVEFORM if cell.method.kinds == {"waveform"} else SPECTROGRAM)
        assert cell.recording.content in cell.method.kinds
    names = {cell.method.name for cell in cells}
    assert {"nda", "auto_encoder", "nearest_neighbour", "pca", "geometric", "dictionary", "wavenet"} < names
    assert {method.name for method in METHODS if method.kinds == {"waveform"}} < names


def test_a_cell_of_sounds_is_its_own_specification() -> None:
    images = Cell(data_set="coil20", normal_class="obj1", protocol="angle_blocks", method=PCA())
    assert "recording" not in images.to_json(), "lines from before there were sounds keep their keys"
    sounds = esc10()[0]
    assert sounds.key not in (esc10_choosing()[0].key, table5()[0].key)
    with pytest.raises(InputError, match="a cell of sounds has no image size"):
        Cell(
            data_set="esc10", normal_class="rain", protocol="rare_sounds", method=PCA(), recording=SPECTROGRAM,
            image_size=32,
        )  # fmt: skip


def test_a_protocol_that_a_set_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rare_sounds of dcase2017, .*; got one_vs_rest of esc10"):
        sound_split("esc10", "rain", "one_vs_rest", tmp_path)
