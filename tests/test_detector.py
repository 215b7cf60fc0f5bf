"""The detector itself: scikit-learn's own checks, calibration, resuming, hostile files, one broken file among many."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import io
import json
import os
import pickle
import re
import resource
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator
from torch import Tensor, nn

from novanda import losses
from novanda.calibration import Calibration, required
from novanda.checkpoint import read_archive
from novanda.detector import Detector
from novanda.errors import CalibrationError, DataError, InputError, Interrupted, ModelFileError, NovandaError
from novanda.method import Batch, Method, Player, Reference, Stage
from novanda.methods import NDA, OCSVM, PCA, AutoEncoder, NearestNeighbour, RotNet
from novanda.samples import KINDS, Kind, Normals, SampleSpec
from novanda.sources import ArraySource, ImageFiles
from novanda.training import Training

QUICK = Training(epochs=3, batch_size=16, device="cpu", precision="32")
MEMBER = "detector.json"


def made(seed: int, count: int = 60, side: int = 32) -> np.ndarray:
    """Two-colour ramps of random direction, (N, H, W, 3) uint8."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side - 0.5
    turn = generator.uniform(0, 2 * np.pi, (count, 1, 1))
    ramp = 0.5 + 0.7 * (np.cos(turn) * rows + np.sin(turn) * columns)
    images: np.ndarray = np.stack([255 * ramp, 128 + 0 * ramp, 255 * (1 - ramp)], 3).clip(0, 255).astype(np.uint8)
    return images


def table(seed: int, count: int = 100) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------------
# scikit-learn


@pytest.mark.parametrize("method", [PCA(), NearestNeighbour(), OCSVM()], ids=lambda method: method.name)
def test_check_estimator(method: Method) -> None:
    # Its data sets are as small as 10 samples: half held out can support a rate of a half, not of a twentieth.
    detector = Detector(method, false_alarm_rate=0.5, calibration_fraction=0.5)
    results = check_estimator(detector, on_skip=None, on_fail=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert not failed
    assert not [result for result in results if result["expected_to_fail"]]
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    allowed = set()
    if not os.environ.get("SCIPY_ARRAY_API"):
        allowed.add("check_array_api_input")  # only runs where that variable is set before SciPy is imported
    if importlib.util.find_spec("pandas") is None:
        allowed.add("check_classifier_data_not_an_array")  # its input is a pandas frame
    assert skipped == allowed
    assert sum(result["status"] == "passed" for result in results) >= 40


def test_small_features_are_left_as_they_are() -> None:
    rows = table(0) * np.float32(1e-6)
    novelty = Detector(NearestNeighbour(), calibration_fraction=0).fit(rows).novelty_score(table(1) * np.float32(1e-6))
    expected = Detector(NearestNeighbour(), calibration_fraction=0).fit(table(0)).novelty_score(table(1))
    np.testing.assert_allclose(novelty * 1e6, expected, rtol=1e-4)


# ---------------------------------------------------------------------------------------------------------------
# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ({"seed": None}, "seed must be"),
        ({"seed": np.int64(3)}, "seed must be"),  # would fail at the end, when the file is written
        ({"image_size": 0}, "image_size must be"),
        ({"image_size": 32.0}, "image_size must be"),
        ({"keep_examples": -1}, "keep_examples must be a whole number of at least 0; got -1"),
        ({"keep_examples": True}, "keep_examples must be"),
        ({"calibration_fraction": 1.0}, r"calibration_fraction must lie in \[0, 1\); got 1.0"),
        ({"calibration_fraction": -0.1}, "calibration_fraction must"),
        ({"calibration_fraction": float("nan")}, "calibration_fraction must"),
        ({"calibration_fraction": "0.2"}, "calibration_fraction must"),
        ({"calibration_fraction": None}, "calibration_fraction must"),
        ({"false_alarm_rate": 0}, "strictly between 0 and 1; got 0"),
        ({"false_alarm_rate": 1.0}, "strictly between 0 and 1; got 1.0"),
        ({"false_alarm_rate": "5%", "calibration_fraction": 0}, "strictly between 0 and 1; got '5%'"),
        ({"method": "nda"}, "method must be one of novanda.methods"),
        ({"method": PCA}, "method must be one of novanda.methods"),
        ({"training": {"epochs": 3}}, "training must be a Training"),
    ],
)
def test_wrong_settings_are_refused_by_fit(settings: dict[str, Any], message: str) -> None:
    detector = Detector(**{"method": PCA(components=2), **settings})
    with pytest.raises(InputError, match=message):
        detector.fit(table(0))
    with pytest.raises(NotFittedError):
        detector.score_samples(table(0))


def test_numpy_settings_can_be_saved(tmp_path: Path) -> None:
    rate: Any = np.float32(0.1)
    detector = Detector(PCA(components=2), false_alarm_rate=rate, calibration_fraction=np.float64(0.3))
    detector.fit(table(0)).save(tmp_path / "file")
    assert Detector.load(tmp_path / "file").calibration() == detector.calibration()


# ---------------------------------------------------------------------------------------------------------------
# What is learned from, what is held out


class Spied(nn.Module):
    """One weight, so that there is something to train."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spy(Method):
    """Keeps every row's first value that it is shown, and judges by the second."""

    name: ClassVar[str] = "spy"
    title: ClassVar[str] = "Spy"
    kinds: ClassVar[frozenset[Kind]] = frozenset(KINDS)
    trained: ClassVar[list[float]] = []
    begun: ClassVar[list[float]] = []
    referred: ClassVar[list[float]] = []
    judged: ClassVar[list[float]] = []

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        for seen in (self.trained, self.begun, self.referred, self.judged):
            seen.clear()
        self.begun.append(count)
        return Spied()

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        weight = next(model.parameters())

        def loss(batch: Batch) -> dict[str, Tensor]:
            self.trained.extend(batch.images[:, 0, 0, 0].tolist())
            return {"square": (weight - 1).square()}

        def begin(normals: Normals) -> None:
            self.begun.extend(torch.cat(list(normals.batches()))[:, 0, 0, 0].tolist())

        return (Stage("watch", epochs, (Player("weight", [weight], loss),), begin),)

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        self.referred.extend(torch.cat(list(normals.batches()))[:, 0, 0, 0].tolist())
        return {}

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        self.judged.extend(images[:, 0, 0, 0].tolist())
        return {"second": images[:, 1, 0, 0]}


def numbered(count: int) -> np.ndarray:
    return np.stack([np.arange(count), np.random.default_rng(0).normal(size=count)], 1).astype(np.float32)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_held_out_samples_never_reach_training(fraction: float) -> None:
    count = 200
    rows = numbered(count)
    detector = Detector(Spy(), QUICK, calibration_fraction=fraction, false_alarm_rate=0.1).fit(rows)
    held_out = set(Spy.judged)
    assert len(Spy.judged) == len(held_out) == round(fraction * count)
    assert len(Spy.trained) == 3 * (count - len(held_out))
    assert Spy.begun[0] == detector.training_count_ == count - len(held_out)
    for seen in (Spy.trained, Spy.begun[1:], Spy.referred):
        assert not set(seen) & held_out
        assert set(seen) | held_out == set(range(count))
    # The threshold is made of the held-out rows' scores and of nothing else (scaling may cost the last digit).
    expected = np.sort(rows[sorted(map(int, held_out)), 1])
    np.testing.assert_allclose(detector.calibration().scores, expected, rtol=0, atol=1e-6)


def test_the_held_out_part_is_drawn_by_the_seed() -> None:
    def held_out(seed: int) -> set[float]:
        Detector(Spy(), QUICK, seed=seed).fit(numbered(100))
        return set(Spy.judged)

    assert held_out(0) == held_out(0)
    assert held_out(0) != held_out(1)
    assert held_out(0) != set(range(20))
    assert held_out(0) != set(range(80, 100))


def test_only_methods_of_novanda_can_be_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Spy is not one of novanda\.methods"):
        Detector(Spy(), QUICK).fit(numbered(100)).save(tmp_path / "file")


@pytest.mark.parametrize(("count", "rate", "fraction"), [(50, 0.05, 0.2), (500, 0.01, 0.1), (9, 0.3, 0.2)])
def test_too_few_normals_are_refused_before_training(count: int, rate: float, fraction: float) -> None:
    Spy.trained.clear()
    detector = Detector(Spy(), QUICK, false_alarm_rate=rate, calibration_fraction=fraction)
    with pytest.raises(CalibrationError) as caught:
        detector.fit(numbered(count))
    assert not Spy.trained
    message = str(caught.value)
    needed = required(rate)
    assert f"needs at least {needed} held-out normals" in message
    assert f"gives {round(fraction * count)}." in message
    enough = int(re.findall(r"Give at least (\d+) samples", message)[0])
    assert enough > count
    detector.fit(numbered(enough))  # what the message asks for does
    assert len(detector.calibration()) >= needed


def test_without_held_out_normals_there_is_no_decision(tmp_path: Path) -> None:
    detector = Detector(PCA(components=2), calibration_fraction=0).fit(table(0))
    assert detector.training_count_ == 100
    assert np.isfinite(detector.score_samples(table(1))).all()
    detector.save(tmp_path / "file")
    for same in (detector, Detector.load(tmp_path / "file")):
        assert same.calibration_ is None
        assert same.offset_ is None
        for decide in (same.predict, same.decision_function, same.p_value):
            with pytest.raises(CalibrationError, match=r"no threshold.*calibration_fraction=0.*calibrate\(\)"):
                decide(table(1))


def test_calibrate_moves_the_threshold_and_nothing_else(tmp_path: Path) -> None:
    detector = Detector(AutoEncoder(width=4, latent_dim=4), QUICK, calibration_fraction=0.5).fit(made(0))
    fresh = made(1)
    scores = detector.novelty_score(fresh)
    weights = copy.deepcopy(detector.model_.state_dict())
    before = detector.offset_
    calibration = Calibration(scores, 0.25)
    assert detector.calibrate(calibration) is detector
    assert detector.offset_ != before
    assert detector.offset_ == -calibration.threshold
    np.testing.assert_array_equal(detector.novelty_score(fresh), scores)
    assert (detector.predict(fresh) < 0).sum() == int(0.25 * 61) - 1  # the 15th largest is the threshold, not above it
    assert all(torch.equal(weights[name], tensor) for name, tensor in detector.model_.state_dict().items())
    detector.save(tmp_path / "file")
    assert Detector.load(tmp_path / "file").calibration() == calibration
    with pytest.raises(InputError, match=r"expected a calibration\.Calibration"):
        detector.calibrate(scores)  # type: ignore[arg-type]


def snapshot(detector: Detector) -> dict[str, Any]:
    """Everything a detector holds, in comparable form."""
    held = dict(vars(detector))
    held["model_"] = {name: tensor.tolist() for name, tensor in detector.model_.state_dict().items()}
    held["reference_"] = {name: tensor.tolist() for name, tensor in detector.reference_.items()}
    return copy.deepcopy(held)


@pytest.mark.parametrize("method", [RotNet(width=4), NearestNeighbour()], ids=lambda method: method.name)
def test_scoring_never_changes_state(method: Method) -> None:
    detector = Detector(method, dataclasses.replace(QUICK, epochs=1), calibration_fraction=0.4).fit(made(0))
    before = snapshot(detector)
    novel = 255 - made(2, 20)
    for name in ("novelty_scores", "score_samples", "decision_function", "predict", "p_value", "reconstruct"):
        getattr(detector, name)(novel)
    list(detector.score_each(ArraySource(novel, spec=detector.spec_)))
    assert snapshot(detector) == before


# ---------------------------------------------------------------------------------------------------------------
# Fitting again, half-way, and after a failure


def test_a_failed_fit_leaves_an_unfitted_detector() -> None:
    detector = Detector(OCSVM(), calibration_fraction=0).fit(table(0))
    with pytest.raises(InputError, match="identical"):
        detector.fit(np.ones((30, 5), np.float32))
    with pytest.raises(NotFittedError):  # rather than a half-built one that fails in the middle
        detector.score_samples(table(1))
    assert detector.fit(table(0)).n_features_in_ == 5


def test_a_fit_on_images_forgets_the_table_before() -> None:
    detector = Detector(PCA(components=2)).fit(table(0))
    assert detector.n_features_in_ == 5
    detector.fit(made(0, 100))
    assert not hasattr(detector, "n_features_in_")
    with pytest.raises(InputError, match="expected image samples"):
        detector.score_samples(table(0))


def test_fitting_yields_epochs_and_scores_in_between() -> None:
    detector = Detector(AutoEncoder(width=4, latent_dim=4), QUICK, calibration_fraction=0.5, false_alarm_rate=0.1)
    fresh = made(1, 8)
    seen, scores = [], []
    for epoch in detector.fitting(made(0)):
        seen.append((epoch.number, epoch.total, epoch.stage))
        scores.append(detector.novelty_score(fresh))
        assert detector.history_[-1] is epoch
        with pytest.raises(CalibrationError):  # the threshold comes at the end
            detector.predict(fresh)
    assert seen == [(1, 3, "train"), (2, 3, "train"), (3, 3, "train")]
    assert not np.array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(detector.novelty_score(fresh), scores[-1])
    assert set(detector.predict(fresh).tolist()) <= {-1, 1}
    # Scoring on the way changed nothing of what was learned.
    whole = Detector(AutoEncoder(width=4, latent_dim=4), QUICK, calibration_fraction=0.5, false_alarm_rate=0.1)
    np.testing.assert_array_equal(whole.fit(made(0)).novelty_score(fresh), scores[-1])


RESUMED = [
    (AutoEncoder(width=4, latent_dim=4), "squared_error", 2),
    (NDA(width=4, latent_dim=4), "latent_loss", 2),
    (NDA(width=4, latent_dim=4), "latent_loss", 0),
    (NDA(width=4, latent_dim=4, latent_start="contrastive", learn_latents=False), "latent_loss", 1),
    (NDA(width=4, latent_dim=4, latent_start="contrastive"), "local_information_loss", 1),
    (NDA(width=4, latent_dim=4, prior="adversarial"), "latent_loss", 1),
]


@pytest.mark.parametrize(("method", "function", "epochs"), RESUMED)
def test_an_interrupted_fit_resumed_ends_where_an_unbroken_one_does(
    method: Method, function: str, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, fresh = made(0, 48), made(1, 8)
    training = dataclasses.replace(QUICK, optimizer="adam", learning_rate=1e-3, schedule="cosine")
    settings: dict[str, Any] = {"calibration_fraction": 0.25, "false_alarm_rate": 0.1}
    unbroken = Detector(method, training, **settings).fit(images)
    path = tmp_path / "run.checkpoint"
    original: Callable[..., Tensor] = getattr(losses, function)
    calls = 0

    def stops(*args: Any, **kwargs: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > 3 * epochs + 1:  # 36 samples are three steps of at most 16: in the middle of the next epoch
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    broken = Detector(method, training, **settings)
    with monkeypatch.context() as patch:
        patch.setattr(losses, function, stops)
        with pytest.raises(Interrupted, match="resume=True"):
            broken.fit(images, checkpoint=path)
    with pytest.raises(NotFittedError):
        broken.score_samples(fresh)
    assert path.exists() == bool(epochs or "contrastive" in repr(method))
    if path.exists():
        with pytest.raises(InputError, match="keeps an unfinished run"):
            Detector(method, training, **settings).fit(images, checkpoint=path)
        other = images.copy()
        other[-1] = 255 - other[-1]
        wider = {"method": dataclasses.replace(method, width=8)}  # type: ignore[call-arg]
        for wrong, changed in ((other, {}), (images, {"seed": 1}), (images, wider)):
            with pytest.raises(InputError, match="keeps a run of something else"):
                Detector(**{"method": method, "training": training, **settings, **changed}).fit(
                    wrong, checkpoint=path, resume=True
                )
        assert path.exists()
    resumed = Detector(method, training, **settings).fit(images, checkpoint=path, resume=True)
    for name, values in unbroken.novelty_scores(fresh).items():
        np.testing.assert_array_equal(resumed.novelty_scores(fresh)[name], values)
    assert resumed.calibration() == unbroken.calibration()
    assert [(e.number, e.stage, e.terms) for e in resumed.history_] == [
        (e.number, e.stage, e.terms) for e in unbroken.history_
    ]
    # The checkpoint stays until its owner knows the result to be safe; asked again, nothing is trained again.
    assert path.exists()
    with monkeypatch.context() as patch:
        patch.setattr(losses, function, lambda *args, **kwargs: pytest.fail("trained again"))
        again = Detector(method, training, **settings).fit(images, checkpoint=path, resume=True)
    np.testing.assert_array_equal(again.novelty_score(fresh), unbroken.novelty_score(fresh))
    assert again.history_ == resumed.history_


def test_a_method_without_epochs_leaves_another_file_at_the_checkpoints_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.novanda"
    path.write_text("a year's work")
    Detector(PCA(components=2)).fit(table(0), checkpoint=path)
    assert path.read_text() == "a year's work"


# ---------------------------------------------------------------------------------------------------------------
# One broken file among many


def test_score_each(tmp_path: Path) -> None:
    detector = Detector(AutoEncoder(width=4, latent_dim=4), QUICK, calibration_fraction=0.5, false_alarm_rate=0.1)
    detector.fit(made(0))
    images = made(1, 7)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    for number in (0, 4):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    paths = [*sorted(tmp_path.iterdir()), tmp_path / "missing.png"]
    source = ImageFiles.listed(paths, detector.spec_)
    expected = detector.novelty_scores(images)
    for batch_size in (1, 3, 64):
        found = list(detector.score_each(source, batch_size))
        assert [position for position, _ in found] == list(range(8))
        for position, scores in found:
            if position in (0, 4, 7):
                assert isinstance(scores, DataError)
                assert paths[position].name in str(scores)
            else:
                assert isinstance(scores, dict)
                assert list(scores) == list(expected)
                for name, value in scores.items():
                    assert value == pytest.approx(expected[name][position], rel=1e-5)
    # A source of arrays reads no file that could be broken; the same numbers come.
    for position, scores in detector.score_each(ArraySource(images, spec=detector.spec_), 4):
        assert isinstance(scores, dict)
        assert next(iter(scores.values())) == pytest.approx(expected["mse"][position], rel=1e-5)


# ---------------------------------------------------------------------------------------------------------------
# Files


@pytest.fixture(scope="module")
def nda_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nda") / "nda.novanda"
    method = NDA(width=4, latent_dim=4)
    settings: dict[str, Any] = {"calibration_fraction": 0.5, "false_alarm_rate": 0.1}
    Detector(method, dataclasses.replace(QUICK, epochs=1), **settings).fit(made(0)).save(path)
    return path


@pytest.fixture(scope="module")
def bank_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bank") / "bank.novanda"
    Detector(NearestNeighbour(), false_alarm_rate=0.1).fit(made(0, side=8)).save(path)
    return path


def forge(path: Path, content: Any, tensors: dict[str, Tensor]) -> Path:
    """As `write_archive`, but it writes NaN and everything else it is given."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, json.dumps(content))
        archive.writestr("tensors.safetensors", safetensors.torch.save(tensors))
    return path


def test_what_only_training_needs_is_left_out(nda_file: Path) -> None:
    detector = Detector(NDA(width=4, latent_dim=4), dataclasses.replace(QUICK, epochs=1), calibration_fraction=0.5)
    detector.false_alarm_rate = 0.1
    detector.fit(made(0))
    state = detector.model_.state_dict()
    dropped = {name for name in state if name.startswith(NDA.training_only)}
    assert {name.split(".")[0] for name in dropped} == {"latents", "prior_estimator", "prior_discriminator"}
    _, tensors = read_archive(nda_file, MEMBER)
    kept = {f"model/{name}" for name in state.keys() - dropped} | {"examples/images", "examples/features"}
    assert tensors.keys() == kept
    kept_bytes = sum(tensor.nbytes for tensor in tensors.values())
    dropped_bytes = sum(state[name].nbytes for name in dropped)
    assert dropped_bytes > 100_000
    assert kept_bytes < nda_file.stat().st_size < kept_bytes + min(50_000, dropped_bytes)


Damage = Callable[[dict[str, Any], dict[str, Tensor]], Any]


def put(*where: Any, value: Any) -> Damage:
    def damage(content: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        place: Any = content
        for key in where[:-1]:
            place = place[key]
        place[where[-1]] = value

    return damage


def drop(name: str) -> Damage:
    return lambda content, tensors: content.pop(name)


def tensor(name: str, change: Callable[[Tensor], Tensor]) -> Damage:
    def damage(content: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        tensors[name] = change(tensors[name]).contiguous()

    return damage


def spoilt(values: Tensor) -> Tensor:
    values = values.clone()
    values.view(-1)[-1] = float("nan")
    return values


WEIGHT = "model/encoder.to_local.0.0.weight"
IN_BOTH: dict[str, Damage] = {
    "schema 99": put("schema", value=99),
    "no schema": drop("schema"),
    "no method": drop("method"),
    "no spec": drop("spec"),
    "no calibration": drop("calibration"),
    "no history": drop("history"),
    "unknown method": put("method", "name", value="nba"),
    "method of another kind": put("method", value=[1, 2]),
    "unknown field": put("method", "more", value=1),
    "unknown training field": put("training", "more", value=1),
    "wrong training": put("training", "epochs", value="many"),
    "count negative": put("training_count", value=-5),
    "count a text": put("training_count", value="12"),
    "count broken": put("training_count", value=12.5),
    "count missing": put("training_count", value=None),
    "seed": put("seed", value="x"),
    "rate": put("false_alarm_rate", value=7),
    "fraction": put("calibration_fraction", value=[]),
    "image size": put("image_size", value="large"),
    "spec kind": put("spec", "kind", value="smell"),
    "spec of no channels": put("spec", "channels", value=0),
    "spec of many channels": put("spec", "channels", value=10**6),
    "spec broken": put("spec", "height", value=32.0),
    "spec of other size": put("spec", "height", value=64),
    "spec absurd": put("spec", "width", value=10**9),
    "spec absurd twice": lambda content, _: content["spec"].update(width=10**6, height=10**6),
    "spec of no range": put("spec", "low", value=300.0),
    "spec of endless range": put("spec", "high", value=float("inf")),
    "calibration NaN": put("calibration", "scores", 0, value=float("nan")),
    "calibration unsorted": put("calibration", "scores", 0, value=1e9),
    "calibration empty": put("calibration", "scores", value=[]),
    "calibration rate": put("calibration", "false_alarm_rate", value=0),
    "history": put("history", value=[{"number": 1}]),
    "heat of another kind": lambda content, _: content["heat"].update(
        kind="error" if content["heat"]["kind"] == "occlusion" else "occlusion"
    ),
    "heat nil": put("heat", "value", value=0.0),
    "heat endless": put("heat", "value", value=float("inf")),
    "heat NaN": put("heat", "value", value=float("nan")),
    "heat of no normals": put("heat", "normals", value=0),
    "heat with more": put("heat", "more", value=1),
    "heat a number": put("heat", value=1.0),
    "keep examples": put("keep_examples", value=-1),
    "examples too many names": lambda content, _: content["examples"]["identifiers"].append("one more"),
    "examples without names": put("examples", "identifiers", value=[]),
    "examples named by numbers": lambda content, _: content["examples"].update(
        identifiers=list(range(len(content["examples"]["identifiers"])))
    ),
    "examples a list": put("examples", value=[1]),
    "examples missing": lambda _, tensors: tensors.pop("examples/images"),
    "examples of other size": lambda _, tensors: tensors.update(
        {"examples/images": tensors["examples/images"][:, :, :-1].contiguous()}
    ),
    "examples of floats": lambda _, tensors: tensors.update({"examples/images": tensors["examples/images"].float()}),
    "sources a list": put("sources", value=[1]),
    "source without scores": put("sources", value={"camera": {"false_alarm_rate": 0.1, "scores": []}}),
    "source without a name": lambda content, _: content.update(sources={" ": content["calibration"]}),
}
NDA_ONLY: dict[str, Damage] = {
    "latents absurd": lambda content, _: content.update(
        training_count=10**12, method={**content["method"], "latent_dim": 10**9}
    ),
    "more latents than there were": put("method", "latent_dim", value=10**9),
    "width absurd": put("method", "width", value=10**9),
    "width beyond whole numbers": put("method", "width", value=10**30),
    "pyramid absurd": put("method", "pyramid_levels", value=-1),
    "kind it can not take": put("spec", "kind", value="waveform"),
    "weight missing": lambda _, tensors: tensors.pop(WEIGHT),
    "weight too many": lambda _, tensors: tensors.update({"model/odd": torch.zeros(1)}),
    "weight of wrong shape": tensor(WEIGHT, lambda t: t[:, :1]),
    "weight of wrong type": tensor(WEIGHT, lambda t: t.double()),
    "weight NaN": tensor(WEIGHT, spoilt),
    "features NaN": tensor("examples/features", spoilt),
    "features of other images": tensor("examples/features", lambda t: t[:-1]),
    "features of whole numbers": tensor("examples/features", lambda t: t.long()),
}
BANK_ONLY: dict[str, Damage] = {
    "bank missing": lambda _, tensors: tensors.pop("reference/bank"),
    "bank of wrong shape": tensor("reference/bank", lambda t: t[:, :-1]),
    "bank flat": tensor("reference/bank", lambda t: t.flatten()),
    "bank empty": tensor("reference/bank", lambda t: t[:0]),
    "bank of whole numbers": tensor("reference/bank", lambda t: t.long()),
    "bank NaN": tensor("reference/bank", spoilt),
    "neighbours": put("method", "neighbours", value=0),
}
CASES = [("nda_file", name, damage) for name, damage in {**IN_BOTH, **NDA_ONLY}.items()]
CASES += [("bank_file", name, damage) for name, damage in {**IN_BOTH, **BANK_ONLY}.items()]


@pytest.mark.parametrize(("file", "damage"), [(f, d) for f, _, d in CASES], ids=[f"{f}-{name}" for f, name, _ in CASES])
def test_hostile_files_are_refused_quickly(
    file: str, damage: Damage, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    content, tensors = read_archive(request.getfixturevalue(file), MEMBER)
    path = forge(tmp_path / "hostile.novanda", content, tensors)
    Detector.load(path, device="cpu")  # it is the damage that is refused
    damage(content, tensors)
    forge(path, content, tensors)
    started, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFileError) as caught:
        Detector.load(path, device="cpu")
    assert str(path) in str(caught.value)
    assert time.process_time() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 400 * 1024, "KiB"


def test_swapped_weights(nda_file: Path, bank_file: Path, tmp_path: Path) -> None:
    nda, bank = read_archive(nda_file, MEMBER), read_archive(bank_file, MEMBER)
    for content, tensors in ((nda[0], bank[1]), (bank[0], nda[1])):
        path = forge(tmp_path / "swapped.novanda", content, tensors)
        with pytest.raises(ModelFileError, match=re.escape(str(path))):
            Detector.load(path)


def test_files_that_are_none_of_ours(nda_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.novanda"
    saved = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, saved)  # a zip as well, with a pickle inside
    content, tensors = read_archive(nda_file, MEMBER)
    pickled = io.BytesIO()
    with zipfile.ZipFile(pickled, "w") as archive:
        archive.writestr(MEMBER, pickle.dumps(content))
        archive.writestr("tensors.safetensors", pickle.dumps(tensors))
    whole = nda_file.read_bytes()
    files = [pickle.dumps(content), saved.getvalue(), pickled.getvalue(), b"", b"PK", b"{}", os.urandom(1000)]
    files += [whole[:length] for length in np.linspace(0, len(whole) - 1, 60).astype(int).tolist()]
    files += [whole[:-length] for length in range(1, 60)]
    for wrong in files:
        path.write_bytes(wrong)
        with pytest.raises(ModelFileError, match=re.escape(str(path))):
            Detector.load(path)
    for missing in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ModelFileError, match=re.escape(str(missing))):
            Detector.load(missing)


def test_a_flipped_byte_is_refused_or_without_effect(nda_file: Path, tmp_path: Path) -> None:
    whole = nda_file.read_bytes()
    expected = Detector.load(nda_file, device="cpu").novelty_score(made(1, 2))
    generator = np.random.default_rng(0)
    path = tmp_path / "flipped.novanda"
    tail = range(len(whole) - 250, len(whole))  # the zip's own directory, where most parsing happens
    for place in [*generator.integers(0, len(whole), 60).tolist(), *tail]:
        damaged = bytearray(whole)
        damaged[place] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        try:
            loaded = Detector.load(path, device="cpu")
        except ModelFileError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:  # a time stamp, an attribute
            np.testing.assert_array_equal(loaded.novelty_score(made(1, 2)), expected)


def test_a_device_that_is_not_here_is_not_the_files_fault(bank_file: Path) -> None:
    with pytest.raises(NovandaError, match="elsewhere") as caught:
        Detector.load(bank_file, device="elsewhere")
    assert not isinstance(caught.value, ModelFileError)


def test_large_samples_are_loaded_without_being_tried(tmp_path: Path) -> None:
    # More values than `load` scores for a try: their shapes are checked without computing.
    images = np.random.default_rng(0).integers(0, 255, (4, 1100, 1000), dtype=np.uint8)
    detector = Detector(NearestNeighbour(), calibration_fraction=0).fit(images)
    path = tmp_path / "large.novanda"
    detector.save(path)
    np.testing.assert_array_equal(Detector.load(path).novelty_score(images), [0, 0, 0, 0])
    content, tensors = read_archive(path, MEMBER)
    content["spec"]["height"] = 1101
    with pytest.raises(ModelFileError, match=re.escape(str(path))):
        Detector.load(forge(path, content, tensors))


def test_claimed_sizes_cost_no_memory(tmp_path: Path) -> None:
    # A network of any size takes any side: nothing in such a file contradicts itself, and nothing may be computed.
    training = dataclasses.replace(QUICK, epochs=1)
    detector = Detector(RotNet(width=4), training, calibration_fraction=0, keep_examples=0).fit(made(0, 8))
    path = tmp_path / "rotnet.novanda"
    detector.save(path)
    content, tensors = read_archive(path, MEMBER)
    content["spec"].update(height=4000, width=4000)
    forge(path, content, tensors)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert Detector.load(path).spec_.size == 48_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 400 * 1024, "KiB"


# ---------------------------------------------------------------------------------------------------------------
# What explanations need, and decisions changed in the file


def test_kept_examples_are_training_images_drawn_by_the_seed() -> None:
    images = made(0, 100)

    def kept(seed: int) -> tuple[set[str], np.ndarray]:
        examples = Detector(PCA(components=4), seed=seed, keep_examples=10).fit(images).examples_
        assert examples is not None
        assert len(examples) == 10
        return set(examples.identifiers), examples.images.permute(0, 2, 3, 1).numpy()

    names, pictures = kept(0)
    rows = sorted(int(name.removeprefix("row ")) for name in names)
    np.testing.assert_array_equal(pictures, images[rows])
    held_out = np.random.default_rng([0, 1]).permutation(100)[:20]  # as `fit` draws them
    assert not set(rows) & set(held_out.tolist())
    assert kept(0)[0] == names
    assert kept(1)[0] != names
    everything = Detector(PCA(components=4), keep_examples=1000).fit(images).examples_
    assert everything is not None
    assert len(everything) == 80


def test_without_examples_no_image_is_in_the_file(tmp_path: Path) -> None:
    detector = Detector(NDA(width=4, latent_dim=4), dataclasses.replace(QUICK, epochs=1), keep_examples=0)
    detector.fit(made(0, 100)).save(tmp_path / "file")
    content, tensors = read_archive(tmp_path / "file", MEMBER)
    assert content["examples"] is None
    assert not [name for name in tensors if not name.startswith("model/")]
    assert Detector.load(tmp_path / "file").examples_ is None


def test_features_have_neither_heat_nor_examples() -> None:
    detector = Detector(PCA(components=2)).fit(table(0))
    assert detector.heat_ is None
    assert detector.examples_ is None


def test_files_without_what_explanations_need_are_still_read(bank_file: Path, tmp_path: Path) -> None:
    content, tensors = read_archive(bank_file, MEMBER)
    for later in ("heat", "examples", "keep_examples", "sources"):
        del content[later]
    for name in [name for name in tensors if name.startswith("examples/")]:
        del tensors[name]
    old = Detector.load(forge(tmp_path / "old.novanda", content, tensors))
    assert (old.heat_, old.examples_, old.sources_, old.keep_examples) == (None, None, {}, 0)
    np.testing.assert_array_equal(old.predict(made(1, 5, 8)), Detector.load(bank_file).predict(made(1, 5, 8)))
    assert old.measure_heat(Normals(ArraySource(made(1, 20, 8)))).heat_ is not None


def test_sources_have_thresholds_of_their_own(bank_file: Path, tmp_path: Path) -> None:
    detector = Detector.load(bank_file)
    ours, pooled = Calibration(np.arange(20.0), 0.1), detector.calibration()
    assert detector.calibrate(ours, "camera 1") is detector
    assert detector.calibration("camera 1") == ours
    assert detector.calibration() == pooled
    with pytest.raises(InputError, match=r"own \('camera 1'\); got 'camera 2'"):
        detector.calibration("camera 2")
    for wrong in ("", " ", 3):
        with pytest.raises(InputError, match="a source is a name"):
            detector.calibrate(ours, wrong)  # type: ignore[arg-type]
    detector.save(tmp_path / "file")
    loaded = Detector.load(tmp_path / "file")
    assert loaded.sources_ == {"camera 1": ours}
    assert loaded.calibration() == pooled


def test_a_calibration_is_written_and_all_else_stays(nda_file: Path, tmp_path: Path) -> None:
    def members(path: Path) -> tuple[dict[str, Any], bytes]:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(MEMBER)), archive.read("tensors.safetensors")

    path = tmp_path / "file"
    content, tensors = read_archive(nda_file, MEMBER)
    forge(path, {**content, "of a later version": [1]}, tensors)
    before, packed = members(path)
    detector = Detector.load(path, device="cpu")
    detector.calibrate(Calibration(np.arange(30.0), 0.2)).calibrate(Calibration(np.arange(9.0), 0.1), "camera")
    detector.save_calibration(path, tmp_path / "copy")
    assert members(path) == (before, packed)
    changed, same = members(tmp_path / "copy")
    assert same == packed
    decisions = {"calibration", "sources"}
    assert {name for name in changed if changed[name] != before[name]} == decisions
    detector.save_calibration(path)
    assert members(path) == (changed, packed)
    assert Detector.load(path).calibration("camera") == Calibration(np.arange(9.0), 0.1)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy", "file"]


def test_an_interrupted_rewrite_leaves_the_old_file(
    bank_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bank_file.read_bytes())
    detector = Detector.load(path).calibrate(Calibration(np.arange(30.0), 0.2))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        detector.save_calibration(path)
    assert path.read_bytes() == bank_file.read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
