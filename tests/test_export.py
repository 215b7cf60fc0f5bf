"""Exported files score as their detectors do, at any size and range; what differs is refused. See the contract too."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from novanda import export as exporting
from novanda.calibration import Calibration
from novanda.detector import Detector
from novanda.errors import ExportError, InputError
from novanda.export import TOLERANCE, Parity, export, golden_batch
from novanda.exported import ExportedDetector
from novanda.method import Method, Reference
from novanda.methods import METHODS, PCA
from novanda.samples import Kind, SampleSpec
from novanda.sources import ArraySource, resize
from novanda.training import Training

THREADS = 1
Exported = tuple[Path, Parity]


def made_images(count: int, seed: int = 0) -> np.ndarray:
    """Ramps of random slopes with some grain, (N, 32, 32, 3) uint8."""
    generator = np.random.default_rng(seed)
    slopes = generator.uniform(0, 1, (count, 1, 1, 3))
    ramps = slopes * np.linspace(0, 1, 32)[:, None, None] + (1 - slopes) * np.linspace(1, 0, 32)[None, :, None]
    made: np.ndarray = ((0.9 * ramps + 0.1 * generator.random(ramps.shape)) * 255).astype(np.uint8)
    return made


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Shared by the tests, which must leave it as it is."""
    return Detector(PCA(components=8), false_alarm_rate=0.1).fit(made_images(100))


@pytest.fixture(scope="module")
def exported(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("exported") / "d.onnx"
    return path, export(detector, path)


def raw_of(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) to what a file takes."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)


def plain(path: Path) -> Any:
    """The file as anyone runs it, without novanda."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def assert_same(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Differences of at most TOLERANCE of each score's greatest magnitude."""
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=TOLERANCE * np.abs(values).max(), err_msg=name)


# ---------------------------------------------------------------------------------------------------------------
# Parity


def test_scores_are_those_of_the_formula(detector: Detector, exported: Exported) -> None:
    """PCA by NumPy: neither torch nor our scaling has a part in it."""
    images = made_images(40, seed=1)
    mean, components = (detector.reference_[name].double().numpy() for name in ("mean", "components"))
    scaled = images.transpose(0, 3, 1, 2).reshape(40, -1) / 127.5 - 1
    centred = scaled - mean
    expected = ((centred - centred @ components.T @ components) ** 2).mean(1)
    (found,) = plain(exported[0]).run(["mse"], {"samples": raw_of(images)})
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------
# Sizes, ranges, kinds


@pytest.mark.parametrize("shape", [(40, 50), (17, 32), (32, 33), (128, 128), (28, 28)])
def test_images_of_other_sizes_score_as_the_detector_resizes_them(
    detector: Detector, shape: tuple[int, int], exported: Exported
) -> None:
    images = np.random.default_rng(3).integers(0, 256, (20, *shape, 3), dtype=np.uint8)
    read = ExportedDetector.load(exported[0], threads=THREADS)
    assert_same(read.novelty_scores(images), detector.novelty_scores(images))


def test_the_graph_itself_resizes_nearly_as_pillow_does(detector: Detector, exported: Exported) -> None:
    images = resize(made_images(64, seed=1), 51, 40)
    path, parity = exported
    (found,) = plain(path).run(["mse"], {"samples": raw_of(images)})
    expected = detector.novelty_score(images)
    assert np.abs(found - expected).max() <= 1e-3 * expected.max()
    assert parity.resized_difference is not None
    assert 0 < parity.resized_difference < 1e-3


@pytest.mark.parametrize("kind", ["gray", "unit floats", "wide"])
def test_other_ranges_and_gray(kind: str, tmp_path: Path) -> None:
    images: Any = made_images(60)
    changed = {
        "gray": images[..., 0],
        "unit floats": (images / 255).astype(np.float32),
        "wide": images.astype(np.uint16) * 257,
    }[kind]
    detector = Detector(PCA(components=4), false_alarm_rate=0.1).fit(changed)
    parity = export(detector, tmp_path / "d.onnx", ArraySource(changed, spec=detector.spec_))
    assert parity.samples == 256 + 60
    read = ExportedDetector.load(tmp_path / "d.onnx", threads=THREADS)
    assert read.spec_ == detector.spec_
    assert_same(read.novelty_scores(changed), detector.novelty_scores(changed))


@pytest.mark.parametrize("kind", [kind for kind in METHODS if "features" in kind.kinds], ids=lambda kind: kind.name)
def test_tables_of_features(kind: type[Method], tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(3, 2, (80, 5)).astype(np.float32)
    few = {"components": 2} if kind is PCA else {}  # all of them would leave rounding errors to compare
    detector = Detector(kind(**few), false_alarm_rate=0.1).fit(table)
    parity = export(detector, tmp_path / "d.onnx")
    read = ExportedDetector.load(tmp_path / "d.onnx", threads=THREADS)
    assert parity.resized_difference is None
    assert read.error_map(table) is None, "a row of a table has no map"
    assert_same(read.novelty_scores(table), detector.novelty_scores(table))
    # Of one row the score is the threshold itself, and there the last digit decides.
    apart = detector.novelty_score(table) != detector.calibration().threshold
    assert apart.sum() >= 79
    others = np.random.default_rng(1).normal(3, 2, (80, 5)).astype(np.float32)
    assert len(set(detector.predict(others))) == 2
    for rows in (table[apart], others):
        np.testing.assert_array_equal(read.predict(rows), detector.predict(rows))


def test_the_golden_batch_covers_the_range() -> None:
    batch = golden_batch(SampleSpec("image", 3, 8, 10))
    assert batch.shape == (256, 3, 8, 10)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, np.rint(batch))
    assert (batch[0] == 0).all()
    assert (batch[-1] == 255).all()
    assert 100 < batch.mean() < 155
    floats = golden_batch(SampleSpec("spectrogram", 1, 8, 8, -80.0, 0.0))
    assert (floats.min(), floats.max()) == (-80.0, 0.0)
    assert (floats != np.rint(floats)).any()


# ---------------------------------------------------------------------------------------------------------------
# The file


def test_the_metadata_are_json_for_anyone(detector: Detector, exported: Exported) -> None:
    entries = plain(exported[0]).get_modelmeta().custom_metadata_map
    assert entries.keys() == {"novanda", "novanda.calibration", "novanda.sources"}
    about = json.loads(entries["novanda"])
    assert about["schema"] == 1
    assert about["scores"] == ["mse"]
    assert about["spec"] == detector.spec_.to_json()
    assert about["method"] == {"name": "pca", "components": 8}
    assert json.loads(entries["novanda.calibration"]) == detector.calibration().to_json()


def test_the_same_detector_gives_the_same_file(detector: Detector, exported: Exported, tmp_path: Path) -> None:
    export(detector, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported[0].read_bytes()


def test_exporting_leaves_the_detector_as_it_was(tmp_path: Path) -> None:
    detector = Detector(PCA(components=4), false_alarm_rate=0.1).fit(made_images(60))
    before = {name: tensor.clone() for name, tensor in detector.reference_.items()}
    export(detector, tmp_path / "d.onnx")
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.reference_.items())
    assert not dict(detector.model_.named_buffers())


# ---------------------------------------------------------------------------------------------------------------
# Refusals


@dataclass(frozen=True, kw_only=True)
class Made(Method):
    """Methods that can not be exported, each for its own reason."""

    name: ClassVar[str] = "made"
    title: ClassVar[str] = "Made"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image"})

    way: str = "sound"

    def reference(self, model: nn.Module, normals: Any) -> dict[str, Tensor]:
        return {"centre": torch.zeros(1)}

    def export_obstacle(self) -> str | None:
        return "it asks an oracle. Ask no oracle" if self.way == "by its own word" else None

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        means = images.flatten(1).mean(1)
        if self.way == "company":
            return {"score": means - means.mean()}
        if self.way == "fixed batch":
            return {"score": means + torch.zeros(len(images))}
        if self.way == "branches" and means.max() > 0.1:
            return {"score": means * 2}
        if self.way == "NumPy":
            return {"score": torch.from_numpy(np.array(means.tolist(), dtype=np.float32))}
        if self.way == "tracer" and torch.compiler.is_exporting():
            return {"score": means * 1.001}
        if self.way == "side score":
            return {"score": means, "other": means * (1.001 if torch.compiler.is_exporting() else 1.0)}
        return {"score": means - reference["centre"]}


def made(way: str) -> Detector:
    return Detector(Made(way=way), Training(device="cpu"), false_alarm_rate=0.1).fit(made_images(60))


def test_a_method_of_ones_own_is_exported(tmp_path: Path) -> None:
    export(made("sound"), tmp_path / "d.onnx")
    read = ExportedDetector.load(tmp_path / "d.onnx", threads=THREADS)
    assert_same(read.novelty_scores(made_images(20, seed=1)), made("sound").novelty_scores(made_images(20, seed=1)))


@pytest.mark.parametrize("way", ["fixed batch", "branches", "NumPy"])
def test_what_no_graph_can_hold_is_refused(way: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="made can not be exported to ONNX: "):
        export(made(way), tmp_path / "d.onnx")
    assert not list(tmp_path.iterdir())


def test_a_method_that_says_it_can_not_be_exported_is_taken_at_its_word(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"^made can not be exported to ONNX: it asks an oracle\. Ask no oracle$"):
        export(made("by its own word"), tmp_path / "d.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("way", ["company", "tracer"])
def test_a_difference_beyond_the_tolerance_is_refused_with_the_figure(way: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"made was not kept: on 256 samples .* by [0-9.e-]+ of the .* 1e-05 is"):
        export(made(way), tmp_path / "d.onnx")
    assert not list(tmp_path.iterdir())


def test_another_score_that_differs_is_left_out(tmp_path: Path) -> None:
    parity = export(made("side score"), tmp_path / "d.onnx")
    assert parity.left_out.keys() == {"other"}
    assert parity.left_out["other"] == pytest.approx(0.001, rel=1e-3)
    read = ExportedDetector.load(tmp_path / "d.onnx", threads=THREADS)
    assert read.score_names == ("score",)
    assert read.novelty_scores(made_images(9)).keys() == {"score"}


def test_a_refusal_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "d.onnx").write_text("old")
    with pytest.raises(ExportError):
        export(made("tracer"), tmp_path / "d.onnx")
    assert (tmp_path / "d.onnx").read_text() == "old"


def test_more_than_a_file_holds_is_refused(detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_MOST_BYTES", 1000)
    with pytest.raises(ExportError, match="at most 2"):
        export(detector, tmp_path / "d.onnx")


def test_missing_packages_are_named(detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"onnxscript, which is not installed.*novanda\[export\]"):
        export(detector, tmp_path / "d.onnx")


def test_without_a_threshold(tmp_path: Path) -> None:
    detector = Detector(PCA(components=4), calibration_fraction=0.0).fit(made_images(60))
    export(detector, tmp_path / "d.onnx")
    read = ExportedDetector.load(tmp_path / "d.onnx", threads=THREADS)
    assert read.calibration_ is None
    assert read.offset_ is None
    assert_same(read.novelty_scores(made_images(9, seed=1)), detector.novelty_scores(made_images(9, seed=1)))
    read.calibrate(Calibration(np.arange(30.0), 0.1)).save(tmp_path / "d.onnx")
    assert ExportedDetector.load(tmp_path / "d.onnx").calibration() == Calibration(np.arange(30.0), 0.1)
