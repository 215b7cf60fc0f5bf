"""Exported files: read without torch, refused when wrong or hostile, their threshold moved."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from novanda.calibration import Calibration
from novanda.detector import Detector
from novanda.errors import CalibrationError, DataError, InputError, ModelFileError
from novanda.export import export
from novanda.exported import ExportedDetector, is_exported
from novanda.methods import PCA
from novanda.sources import open_source

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "sklearn", "scipy", "matplotlib", "lightning", "pooch", "safetensors", "jinja2", "joblib", "onnx")
"""What scoring an exported file must do without."""


def made_images(count: int, seed: int = 0, side: int = 16) -> np.ndarray:
    """Ramps of random slopes with some grain, (N, side, side, 3) uint8."""
    generator = np.random.default_rng(seed)
    slopes = generator.uniform(0, 1, (count, 1, 1, 3))
    ramps = slopes * np.linspace(0, 1, side)[:, None, None] + (1 - slopes) * np.linspace(1, 0, side)[None, :, None]
    made: np.ndarray = ((0.9 * ramps + 0.1 * generator.random(ramps.shape)) * 255).astype(np.uint8)
    return made


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Shared by the tests, which must leave it as it is."""
    return Detector(PCA(components=4), false_alarm_rate=0.1).fit(made_images(120))


@pytest.fixture(scope="module")
def file(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "d.onnx"
    export(detector, path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of odd sizes, one gray, and one that is none."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(5)
    for number, image in enumerate(made_images(12, seed=6, side=40)):
        height, width = generator.integers(9, 90, 2)
        mode = "L" if number == 3 else "RGB"
        Image.fromarray(image).convert(mode).resize((int(width), int(height))).save(folder / f"{number:02d}.png")
    (folder / "broken.png").write_text("text")
    return folder


# ---------------------------------------------------------------------------------------------------------------
# Scoring


def test_files_score_one_by_one_as_the_detector_scores_them(file: Path, detector: Detector, photos: Path) -> None:
    read = ExportedDetector.load(file, threads=1)
    rows = list(read.score_each(open_source(photos, purpose="score", spec=read.spec_), batch_size=5))
    expected = list(detector.score_each(open_source(photos, purpose="score", spec=detector.spec_)))
    assert [position for position, _ in rows] == list(range(13))
    for (_, found), (_, wanted) in zip(rows, expected, strict=True):
        if isinstance(wanted, DataError):
            assert str(found) == str(wanted)
        else:
            assert isinstance(found, dict)
            assert found["mse"] == pytest.approx(wanted["mse"], rel=1e-5)
    assert sum(isinstance(found, DataError) for _, found in rows) == 1


def test_values_that_are_not_finite_are_refused_as_by_the_detector(file: Path, detector: Detector) -> None:
    huge = np.full((2, 16, 16, 3), 1e30, dtype=np.float32)
    for scoring in (ExportedDetector.load(file), detector):
        with pytest.raises(InputError, match="mse is not finite for 2 of 2 samples"):
            scoring.novelty_score(huge)


def test_samples_of_another_shape_are_refused(file: Path) -> None:
    read = ExportedDetector.load(file)
    wrongs: tuple[Any, ...] = (np.zeros((2, 16, 16, 1), np.uint8), np.zeros((4, 5)), [])
    for wrong in wrongs:
        with pytest.raises(InputError):
            read.novelty_score(wrong)


def test_threads(file: Path) -> None:
    images = made_images(20, seed=2)
    one, two = (ExportedDetector.load(file, threads=threads).novelty_score(images) for threads in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-6)
    for wrong in (0, True, 1.5):
        with pytest.raises(InputError, match="threads must be"):
            ExportedDetector.load(file, threads=wrong)  # type: ignore[arg-type]  # what a person may give


# ---------------------------------------------------------------------------------------------------------------
# The threshold


def test_the_threshold_moves_without_another_export(file: Path, tmp_path: Path) -> None:
    images = made_images(60, seed=3)
    read = ExportedDetector.load(file)
    before, moved = read.novelty_score(images), tmp_path / "moved.onnx"
    calibration = Calibration(np.sort(before)[:40], 0.05)
    assert read.calibrate(calibration) is read
    read.save(moved)
    again = ExportedDetector.load(moved)
    assert again.calibration() == calibration
    assert again.offset_ == -calibration.threshold
    np.testing.assert_array_equal(again.novelty_score(images), before)
    np.testing.assert_array_equal(again.predict(images) == -1, before > calibration.threshold)
    old, new = onnx.load(file), onnx.load(moved)
    assert old.graph == new.graph
    assert [path.name for path in tmp_path.iterdir()] == ["moved.onnx"]


def test_sources_have_thresholds_of_their_own(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "d.onnx"
    own = copy.copy(detector)
    own.sources_ = {"camera 1": Calibration(np.arange(30.0), 0.1)}
    export(own, path)
    read = ExportedDetector.load(path)
    assert read.calibration("camera 1") == own.calibration("camera 1")
    with pytest.raises(InputError, match=r"\('camera 1'\); got 'camera 2'"):
        read.calibration("camera 2")
    other = Calibration(np.arange(40.0), 0.05)
    before = read.calibration()
    read.calibrate(other, "camera 2").save(path)
    again = ExportedDetector.load(path)
    assert {name: again.calibration(name) for name in again.sources_} == {
        "camera 1": own.sources_["camera 1"],
        "camera 2": other,
    }
    assert again.calibration() == before
    with pytest.raises(InputError, match="a source is a name"):
        read.calibrate(other, " ")


def test_files_from_before_sources_are_read_and_gain_them(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.onnx"
    model = onnx.load(file)
    kept = [entry for entry in model.metadata_props if entry.key != "novanda.sources"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, path)
    read = ExportedDetector.load(path)
    assert read.sources_ == {}
    calibration = Calibration(np.arange(30.0), 0.1)
    read.calibrate(calibration, "camera 1").save_calibration(path)
    assert ExportedDetector.load(path).sources_ == {"camera 1": calibration}


def test_no_threshold_no_decision(file: Path) -> None:
    read = ExportedDetector.load(file)
    read.calibration_ = None
    with pytest.raises(CalibrationError, match="no threshold"):
        read.predict(made_images(3))
    with pytest.raises(InputError, match=r"expected a calibration\.Calibration"):
        read.calibrate(0.5)  # type: ignore[arg-type]  # what a person may give


# ---------------------------------------------------------------------------------------------------------------
# Wrong, damaged and hostile files


def entry(model: Any, key: str) -> Any:
    return next(entry for entry in model.metadata_props if entry.key == key)


def about(**changes: Any) -> Callable[[Any], None]:
    """A change of the metadata `novanda`; None removes a key."""

    def change(model: Any) -> None:
        found = entry(model, "novanda")
        content = {**json.loads(found.value), **changes}
        found.value = json.dumps({key: value for key, value in content.items() if value is not None})

    return change


def told(key: str, value: str) -> Callable[[Any], None]:
    """Metadata replaced."""

    def change(model: Any) -> None:
        entry(model, key).value = value

    return change


def untold(key: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.metadata_props.remove(entry(model, key))

    return change


def renamed_input(model: Any) -> None:
    for node in model.graph.node:
        node.input[:] = ["pixels" if name == "samples" else name for name in node.input]
        for attribute in node.attribute:
            for inner in attribute.g.node:
                inner.input[:] = ["pixels" if name == "samples" else name for name in inner.input]
    model.graph.input[0].name = "pixels"


def another_output(model: Any) -> None:
    model.graph.output.append(helper.make_tensor_value_info("sized", TensorProto.FLOAT, None))


def scores_of_another_shape(model: Any) -> None:
    """The headline becomes one number for the whole batch."""
    for node in model.graph.node:
        node.output[:] = ["each" if name == "mse" else name for name in node.output]
    model.graph.node.append(helper.make_node("ReduceMax", ["each"], ["mse"], keepdims=0))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("mse", TensorProto.FLOAT, None))


def failing_graph(model: Any) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "whole_shape")
    tensor.CopyFrom(helper.make_tensor("whole_shape", TensorProto.INT64, [4], [0, 5, 7, 11]))


SPEC = {"kind": "image", "channels": 3, "height": 16, "width": 16, "low": 0.0, "high": 255.0}
WRONG: dict[str, tuple[Callable[[Any], None], str]] = {
    "no metadata": (untold("novanda"), "not exported by novanda"),
    "no calibration": (untold("novanda.calibration"), "not exported by novanda"),
    "no JSON": (told("novanda", "{"), "damaged"),
    "a list": (told("novanda", "[]"), "damaged"),
    "deep JSON": (told("novanda", "[" * 100_000), "damaged"),
    "a later schema": (about(schema=2), r"schema 2; this version of novanda reads 1\. Update"),
    "no spec": (about(spec=None), "damaged"),
    "a spec of text": (about(spec={**SPEC, "height": "16"}), "damaged"),
    "a spec with more": (about(spec={**SPEC, "depth": 1}), "damaged"),
    "an empty range": (about(spec={**SPEC, "high": 0.0}), "damaged"),
    "another kind": (about(spec={**SPEC, "kind": "smell"}), "damaged"),
    "other channels": (about(spec={**SPEC, "channels": 1}), "its inputs are"),
    "another side": (about(spec={**SPEC, "height": 32}), r"error_map is \(2, 16, 16\).*expected \(2, 32, 16\)|fails"),
    "no scores": (about(scores=[]), "damaged"),
    "other scores": (about(scores=["l1"]), "its outputs are"),
    "no error map": (about(error_map=False), "its outputs are"),
    "a calibration of text": (told("novanda.calibration", '"high"'), "calibration"),
    "too few scores": (told("novanda.calibration", '{"false_alarm_rate": 0.1, "scores": [1.0]}'), "calibration"),
    "NaN": (told("novanda.calibration", '{"false_alarm_rate": 0.1, "scores": [NaN]}'), "damaged"),
    "another input": (renamed_input, "its inputs are"),
    "another output": (another_output, "its outputs are"),
    "one score for all": (scores_of_another_shape, r"its output mse is \(\) for two samples; expected \(2,\)"),
    "a graph that fails": (failing_graph, "fails on two samples"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_not_what_it_says_is_refused(name: str, file: Path, tmp_path: Path) -> None:
    change, reason = WRONG[name]
    model = onnx.load(file)
    change(model)
    path = tmp_path / "wrong.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=reason) as refused:
        ExportedDetector.load(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\x08", b"text", b"PK\x03\x04", b"\x08\x0a" * 99, b"\0\0\0\0ORTM" * 9])
def test_what_is_no_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "d.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"d\.onnx"):
        ExportedDetector.load(path)


def test_a_cut_or_changed_file_is_refused_or_scores(file: Path, tmp_path: Path) -> None:
    """Whatever is done to the bytes: ModelFileError, or a file that scores; nothing else is ever raised."""
    whole, generator = file.read_bytes(), np.random.default_rng(0)
    path = tmp_path / "d.onnx"
    refused = 0
    for _ in range(60):
        raw = bytearray(whole[: generator.integers(1, len(whole))] if generator.random() < 0.3 else whole)
        for place in generator.integers(0, len(raw), 3):
            raw[place] = generator.integers(0, 256)
        path.write_bytes(bytes(raw))
        try:
            ExportedDetector.load(path, threads=1)
        except ModelFileError:
            refused += 1
    assert refused > 10


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="can not be read: No such file"):
        ExportedDetector.load(tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match="is a folder"):
        ExportedDetector.load(tmp_path)


def external(model: Any, name: str) -> None:
    """Let the bank of weights lie in another file."""
    tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    count = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", name), ("offset", "0"), ("length", str(count))):
        tensor.external_data.add(key=key, value=value)


def test_no_other_file_is_ever_read(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = onnx.load(file)
    largest = max(len(tensor.raw_data) for tensor in model.graph.initializer)
    Path("weights").write_bytes(bytes(largest))
    external(model, "weights")
    raw = model.SerializeToString()
    # ONNX Runtime itself would read it, so the refusal is ours.
    import onnxruntime

    onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    padded = raw.replace(b"\x0a\x08location", b"\x0a\x88\x00location")
    for number, content in enumerate((raw, padded)):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match="other files, which are never read"):
            ExportedDetector.load(path)


def test_which_files_are_exported_ones(file: Path, detector: Detector, tmp_path: Path) -> None:
    other = tmp_path / "named.novanda"
    other.write_bytes(file.read_bytes())
    detector.save(tmp_path / "named.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "empty.novanda").write_bytes(b"")
    expected = {"named.novanda": True, "named.onnx": False, "empty.onnx": True, "empty.novanda": False, "no.onnx": True}
    assert {name: is_exported(tmp_path / name) for name in expected} == expected


# ---------------------------------------------------------------------------------------------------------------
# Without torch


# As if they were not installed; None in sys.modules would be taken for an import by who looks there.
BLOCKED = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def run_python(code: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Python in which nothing of HEAVY can be imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-W", "error", "-c", BLOCKED + code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


COMMAND = "from novanda.cli import main\nsys.exit(main())"


def test_scoring_needs_no_torch(file: Path, detector: Detector, photos: Path, tmp_path: Path) -> None:
    detector.save(tmp_path / "d.novanda")
    found = run_python(COMMAND, "score", file, photos, "--out", tmp_path / "s.csv")
    assert found.returncode == 2, found.stderr  # for one file is broken
    assert "12 scored" in found.stderr
    refused = run_python(COMMAND, "score", tmp_path / "d.novanda", photos)
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "novanda: error: this needs the package torch, which is not installed; pip install it"
    ]
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert len(lines) == 14


def test_reading_in_python_needs_no_torch(file: Path) -> None:
    code = (
        "import numpy as np\nfrom novanda import ExportedDetector\n"
        "read = ExportedDetector.load(sys.argv[1])\n"
        "print(read.predict(np.zeros((2, 16, 16, 3), np.uint8)).tolist())\n"
        "try:\n    read.save('x.onnx')\nexcept Exception as error:\n    print(type(error).__name__, error)"
    )
    found = run_python(code, file)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0] == "[-1, -1]"
    assert lines[1].startswith("InputError this needs the package onnx, which is not installed")


def test_importing_brings_nothing_heavy() -> None:
    heavy = {"torch", "sklearn", "scipy", "matplotlib", "pooch", "onnx", "onnxruntime"}
    code = f"import sys, novanda.cli, novanda.exported; print(sorted({heavy!r} & sys.modules.keys()))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.slow  # makes an environment and asks a package registry
def test_scoring_in_a_bare_environment(file: Path, photos: Path, tmp_path: Path) -> None:
    """What docs/deployment.md tells a person to do."""
    page = (ROOT / "docs/deployment.md").read_text()
    asked = next(line for line in page.splitlines() if line.startswith("pip install numpy")).split()[2:]
    assert "onnxruntime" in asked
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare/bin/python"
    quiet = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([python, *quiet, *asked], check=True)
    subprocess.run([python, *quiet, "--no-deps", ROOT], check=True)
    command = (tmp_path / "bare/bin/novanda", "score", file, photos, "--out", tmp_path / "s.csv")
    found = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert found.returncode == 2, found.stderr
    assert "12 scored" in found.stderr
    lost = subprocess.run([python, "-c", "import torch"], capture_output=True)
    assert lost.returncode != 0, "the environment is not bare"
