"""Exported files score as their detectors do: every method, alone and in company, at any size; what differs is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
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
from tests.methods.test_contract import fitted, made_normals, made_novel

NOT_EXPORTABLE: set[str] = set()
"""Methods that say so when asked; every other one must export."""
THREADS = 1
every_exportable = pytest.mark.parametrize(
    "kind", [kind for kind in METHODS if kind.name not in NOT_EXPORTABLE], ids=lambda kind: kind.name
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The file of a method's small detector, made once."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def of(kind: type[Method]) -> tuple[Path, Parity]:
        path = folder / f"{kind.name}.onnx"
        if kind not in made:
            made[kind] = export(fitted(kind), path)
        return path, made[kind]

    return of


def samples(count: int = 1000) -> np.ndarray:
    """Two thirds normal, one third novel, (N, 32, 32, 3) uint8."""
    return np.concatenate([made_normals(11, count - count // 3), made_novel(12, count // 3)])


def plain(path: Path) -> Any:
    """The file as anyone runs it, without novanda."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def raw_of(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) to what a file takes."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)


def assert_same(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Differences of at most TOLERANCE of each score's greatest magnitude."""
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=TOLERANCE * np.abs(values).max(), err_msg=name)


# ---------------------------------------------------------------------------------------------------------------
# Parity


@every_exportable
def test_a_thousand_samples_score_and_decide_alike_in_batches_and_alone(kind: type[Method], exported: Any) -> None:
    detector, images = fitted(kind), samples()
    expected, decisions = detector.novelty_scores(images), detector.predict(images)
    threshold = detector.calibration().threshold
    session = plain(exported(kind)[0])
    raw = raw_of(images)
    names = list(expected)
    for size in (1, 256):
        parts = [session.run(names, {"samples": raw[i : i + size]}) for i in range(0, len(raw), size)]
        found = {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(names)}
        assert_same(found, expected)
        assert (np.where(found[names[0]].astype(np.float64) > threshold, -1, 1) != decisions).sum() == 0
    assert 0 < (decisions == -1).sum() < len(images)


@every_exportable
def test_the_read_file_is_the_detector(kind: type[Method], exported: Any) -> None:
    path, parity = exported(kind)
    detector, read, images = fitted(kind), ExportedDetector.load(path, threads=THREADS), samples(90)
    assert_same(read.novelty_scores(images), detector.novelty_scores(images))
    np.testing.assert_array_equal(read.score_samples(images), -read.novelty_score(images))
    np.testing.assert_array_equal(read.predict(images), detector.predict(images))
    np.testing.assert_array_equal(read.decision_function(images) < 0, read.predict(images) == -1)
    assert np.abs(read.p_value(images) - detector.p_value(images)).max() <= 1 / (len(detector.calibration()) + 1)
    assert read.calibration() == detector.calibration()
    assert (read.spec_, read.offset_) == (detector.spec_, detector.offset_)
    assert (read.method_name, read.training_count_) == (kind.name, detector.training_count_)
    assert 0 <= parity.difference <= parity.tolerance == TOLERANCE
    assert read.about["parity"]["difference"] == parity.difference


@every_exportable
def test_the_error_map_is_the_difference_from_what_was_expected(kind: type[Method], exported: Any) -> None:
    detector, read, images = fitted(kind), ExportedDetector.load(exported(kind)[0], threads=THREADS), samples(30)
    drawn, found = detector.reconstruct(images), read.error_map(images)
    if drawn is None:
        assert found is None
        return
    assert found is not None
    expected = np.abs(drawn - images.transpose(0, 3, 1, 2)).mean(1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.max())


def test_scores_are_those_of_the_formula(exported: Any) -> None:
    """PCA by NumPy: neither torch nor our scaling has a part in it."""
    images = samples(40)
    mean, components = (fitted(PCA).reference_[name].double().numpy() for name in ("mean", "components"))
    scaled = images.transpose(0, 3, 1, 2).reshape(40, -1) / 127.5 - 1
    centred = scaled - mean
    expected = ((centred - centred @ components.T @ components) ** 2).mean(1)
    (found,) = plain(exported(PCA)[0]).run(["mse"], {"samples": raw_of(images)})
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------
# Sizes, ranges, kinds


@pytest.mark.parametrize("shape", [(40, 50), (17, 32), (32, 33), (128, 128), (28, 28)])
def test_images_of_other_sizes_score_as_the_detector_resizes_them(shape: tuple[int, int], exported: Any) -> None:
    images = np.random.default_rng(3).integers(0, 256, (20, *shape, 3), dtype=np.uint8)
    read = ExportedDetector.load(exported(PCA)[0], threads=THREADS)
    assert_same(read.novelty_scores(images), fitted(PCA).novelty_scores(images))


def test_the_graph_itself_resizes_nearly_as_pillow_does(exported: Any) -> None:
    images = resize(samples(64), 51, 40)
    path, parity = exported(PCA)
    (found,) = plain(path).run(["mse"], {"samples": raw_of(images)})
    expected = fitted(PCA).novelty_score(images)
    assert np.abs(found - expected).max() <= 1e-3 * expected.max()
    assert 0 < parity.resized_difference < 1e-3


@pytest.mark.parametrize("kind", ["gray", "unit floats", "wide"])
def test_other_ranges_and_gray(kind: str, tmp_path: Path) -> None:
    images: Any = made_normals(0, 60)
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
    np.testing.assert_array_equal(read.predict(table), detector.predict(table))
    assert_same(read.novelty_scores(table), detector.novelty_scores(table))


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


@every_exportable
def test_the_file_is_sound_and_tells_nothing_of_this_machine(kind: type[Method], exported: Any) -> None:
    path = exported(kind)[0]
    onnx.checker.check_model(onnx.load(path), full_check=True)
    raw = path.read_bytes()
    for place in (Path(torch.__file__).parents[1], Path(exporting.__file__).parents[1], Path.cwd()):
        assert str(place).encode() not in raw


def test_the_metadata_are_json_for_anyone(exported: Any) -> None:
    detector = fitted(PCA)
    entries = plain(exported(PCA)[0]).get_modelmeta().custom_metadata_map
    assert entries.keys() == {"novanda", "novanda.calibration"}
    about = json.loads(entries["novanda"])
    assert about["schema"] == 1
    assert about["scores"] == ["mse"]
    assert about["spec"] == detector.spec_.to_json()
    assert about["method"] == {"name": "pca", "components": 8}
    assert json.loads(entries["novanda.calibration"]) == detector.calibration().to_json()


def test_the_same_detector_gives_the_same_file(exported: Any, tmp_path: Path) -> None:
    export(fitted(PCA), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported(PCA)[0].read_bytes()


def test_latents_of_training_are_left_out(exported: Any) -> None:
    detector = fitted(METHODS[0])
    assert METHODS[0].name == "nda"
    shapes = [list(tensor.dims) for tensor in onnx.load(exported(METHODS[0])[0]).graph.initializer]
    assert [detector.training_count_, 8] not in shapes
    assert len(shapes) > 10


def test_exporting_leaves_the_detector_as_it_was(tmp_path: Path) -> None:
    detector = Detector(PCA(components=4), false_alarm_rate=0.1).fit(made_normals(0, 60))
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
        return {"score": means - reference["centre"]}


def made(way: str) -> Detector:
    return Detector(Made(way=way), Training(device="cpu"), false_alarm_rate=0.1).fit(made_normals(0, 60))


def test_a_method_of_ones_own_is_exported(tmp_path: Path) -> None:
    export(made("sound"), tmp_path / "d.onnx")
    read = ExportedDetector.load(tmp_path / "d.onnx", threads=THREADS)
    assert_same(read.novelty_scores(samples(20)), made("sound").novelty_scores(samples(20)))


@pytest.mark.parametrize("way", ["fixed batch", "branches", "NumPy"])
def test_what_no_graph_can_hold_is_refused(way: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="made can not be exported to ONNX: "):
        export(made(way), tmp_path / "d.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("way", ["company", "tracer"])
def test_a_difference_beyond_the_tolerance_is_refused_with_the_figure(way: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"made was not kept: on 256 samples .* by [0-9.e-]+ of their .* 1e-05 is"):
        export(made(way), tmp_path / "d.onnx")
    assert not list(tmp_path.iterdir())


def test_a_refusal_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "d.onnx").write_text("old")
    with pytest.raises(ExportError):
        export(made("tracer"), tmp_path / "d.onnx")
    assert (tmp_path / "d.onnx").read_text() == "old"


def test_more_than_a_file_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_MOST_BYTES", 1000)
    with pytest.raises(ExportError, match="at most 2"):
        export(fitted(PCA), tmp_path / "d.onnx")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"onnxscript, which is not installed.*novanda\[export\]"):
        export(fitted(PCA), tmp_path / "d.onnx")


def test_without_a_threshold(tmp_path: Path) -> None:
    detector = Detector(PCA(components=4), calibration_fraction=0.0).fit(made_normals(0, 60))
    export(detector, tmp_path / "d.onnx")
    read = ExportedDetector.load(tmp_path / "d.onnx", threads=THREADS)
    assert read.calibration_ is None
    assert read.offset_ is None
    assert_same(read.novelty_scores(samples(9)), detector.novelty_scores(samples(9)))
    read.calibrate(Calibration(np.arange(30.0), 0.1)).save(tmp_path / "d.onnx")
    assert ExportedDetector.load(tmp_path / "d.onnx").calibration() == Calibration(np.arange(30.0), 0.1)
