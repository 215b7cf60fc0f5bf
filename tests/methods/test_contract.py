"""What every method promises, checked over all of `novanda.methods.METHODS`: a new one is picked up by itself."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from scipy.stats import betabinom
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from novanda import explain, methods
from novanda.calibration import Calibration
from novanda.checkpoint import read_archive
from novanda.detector import Detector
from novanda.errors import CalibrationError, InputError, ModelFileError
from novanda.export import Parity, export
from novanda.exported import ExportedDetector
from novanda.method import Method
from novanda.methods import (
    ALOCC,
    CSI,
    IIC,
    METHODS,
    Dictionary,
    Geometric,
    Novanda,
    RotationTranslation,
    RotNet,
    WaveNet,
)
from novanda.samples import KINDS, Kind
from novanda.sources import ArraySource
from novanda.training import Training

TRAINING = Training(epochs=2, batch_size=32, device="cpu", precision="32")
STEPS = dataclasses.replace(TRAINING, epochs=5, batch_size=8, optimizer="adam", learning_rate=2e-3)
SMALL: dict[str, Any] = {"width": 8, "latent_dim": 8, "components": 8}
"""What a method is made small by, where it has such a field."""
TINY: dict[type[Method], tuple[dict[str, Any], Training]] = {
    # Four views of each image in each step: half the width and one epoch take as long as the others' two.
    # 72 views of each scored image.
    Dictionary: ({"words": 12}, TRAINING),
    Geometric: ({"width": 4, "widening": 1, "views": 4, "dirichlet_samples": 16}, TRAINING),
    WaveNet: ({"width": 4, "skip_width": 4, "layers": 3, "blocks": 1}, dataclasses.replace(TRAINING, epochs=1)),
    RotNet: ({"width": 4}, dataclasses.replace(TRAINING, epochs=1)),
    Novanda: ({"width": 4}, dataclasses.replace(TRAINING, epochs=1)),
    # Eight views of each image in each step.
    CSI: ({"width": 4, "projection_dim": 8}, dataclasses.replace(TRAINING, epochs=1)),
    IIC: ({"width": 4, "clusters": 3, "overclusters": 6, "sub_heads": 2}, TRAINING),
    RotationTranslation: ({"width": 4}, dataclasses.replace(TRAINING, epochs=1)),
    # What is scored went through batch norms, whose running statistics need some steps before images tell them apart.
    ALOCC: ({}, STEPS),
}
COUNT = 120
RATE = 0.1

# Kernels sum in another order for another batch size: some units in the seventh digit of the largest score, for scores
# near zero are differences of larger numbers. Batch statistics of other company would show in the second digit.
RELATIVE = 1e-5

SCORING = (
    "novelty_score",
    "novelty_scores",
    "score_samples",
    "decision_function",
    "predict",
    "p_value",
    "reconstruct",
    "embed",
)

every_method = pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.name)
FIELDS = [(kind, field.name) for kind in METHODS for field in dataclasses.fields(kind)]
every_field = pytest.mark.parametrize(("kind", "field"), FIELDS, ids=[f"{k.name}-{f}" for k, f in FIELDS])


def made_normals(seed: int, count: int = COUNT, side: int = 32, channels: int = 3) -> np.ndarray:
    """A bright disc somewhere before a sky that darkens downwards: (N, H, W, C) uint8."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side
    images = np.empty((count, side, side, channels))
    for image in images:
        y, x, radius = generator.uniform((0.2, 0.2, 0.1), (0.8, 0.8, 0.3))
        disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        image[:] = (0.8 - 0.5 * rows)[..., None] * np.linspace(1, 0.5, channels)
        image[disc] = generator.uniform(0.7, 1, channels)
        image += generator.normal(0, 0.02, image.shape)
    scaled: np.ndarray = (images.clip(0, 1) * 255).astype(np.uint8)
    return scaled


def made_novel(seed: int, count: int = 20) -> np.ndarray:
    """Stripes of random direction and width."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:32, 0:32]
    images = np.empty((count, 32, 32, 3), dtype=np.uint8)
    for image in images:
        a, b = generator.uniform(-2, 2, 2)
        image[:] = (127 + 120 * np.sin(a * rows + b * columns))[..., None].astype(np.uint8)
    return images


def tiny(kind: type[Method]) -> tuple[Method, Training]:
    own, training = TINY.get(kind, ({}, TRAINING))
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{**{name: value for name, value in SMALL.items() if name in names}, **own}), training


def unfitted(kind: type[Method], seed: int = 0) -> Detector:
    method, training = tiny(kind)
    return Detector(method, training, seed=seed, false_alarm_rate=RATE, calibration_fraction=0.5)


def as_kind(kind: type[Method]) -> Kind | None:
    """What the made images are given as: left open, or, to a method that takes no images, as what it takes."""
    return None if "image" in kind.kinds else min(kind.kinds)


_FITTED: dict[str, Detector] = {}


def fitted(kind: type[Method]) -> Detector:
    """Shared by the tests, which must leave it as it is."""
    if kind.name not in _FITTED:
        _FITTED[kind.name] = unfitted(kind).fit(made_normals(0), kind=as_kind(kind))
    return _FITTED[kind.name]


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=RELATIVE * np.abs(values).max(), err_msg=name)


# ---------------------------------------------------------------------------------------------------------------
# What it says of itself


@every_method
def test_declarations(kind: type[Method]) -> None:
    assert kind.name.isidentifier()
    assert kind.name == kind.name.lower()
    assert kind.title
    assert kind.kinds
    assert kind.kinds <= set(KINDS)
    assert kind.sides is None or (kind.sides and all(side >= 1 for side in kind.sides))
    assert kind.minimum_samples >= 1
    assert methods.get(kind.name) is kind
    assert dataclasses.fields(kind) == dataclasses.fields(kind())
    assert kind.__mro__[1] is Method, "one level of inheritance"


def test_names_are_unique_and_unknown_ones_refused() -> None:
    assert len({kind.name for kind in METHODS}) == len(METHODS)
    with pytest.raises(InputError, match=r"unknown method 'nba'.*nda"):
        methods.get("nba")


@every_method
def test_docstring_tells_every_field(kind: type[Method]) -> None:
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}("), "the generated signature is no docstring"
    missing = [field.name for field in dataclasses.fields(kind) if field.name not in kind.__doc__]
    assert not missing
    assert "\n    When to use it: " in kind.__doc__, "the page of a method says whom it serves"
    for name in ("reference", "novelty"):
        assert getattr(kind, name).__doc__


def wrong_values(hint: Any) -> list[Any]:
    """Values that no field of this type can take; a hyper-parameter of ours is never negative."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is int:
        return [-1, 2.5, "8", None, True, float("nan"), np.int64(8)]
    if hint is float:
        return [-1.0, "0.5", None, True, float("nan"), float("inf")]
    if hint is bool:
        return [1, "no", None]
    if origin is Literal:
        return ["nonsense", None, 3, ["a"]]
    if origin is tuple:
        bad = wrong_values(parts[0])
        good = 1.0 if parts[0] is float else 1
        if parts[-1] is ...:  # of any length but none
            return [(), [good], None, *((good, value) for value in bad)]
        return [(), [good] * len(parts), (good,) * (len(parts) + 1), None, *((good, value, good) for value in bad)]
    if parts:  # a union: what no part can take
        refused = [wrong_values(part) for part in parts]
        return [value for value in refused[0] if all(any(value is other for other in more) for more in refused[1:])] + [
            -1.0,
            "nonsense",
        ]
    if hint is NoneType:
        return [1, "nonsense", {}]
    return [None, "nonsense", {}]


@every_field
def test_a_wrong_value_is_refused_by_the_fields_name(kind: type[Method], field: str) -> None:
    for value in wrong_values(get_type_hints(kind)[field]):
        with pytest.raises(InputError, match=rf"^{kind.__name__}\.{field} must be .*; got ") as caught:
            kind(**{field: value})
        assert repr(value) in str(caught.value)


@every_method
def test_json_there_and_back(kind: type[Method]) -> None:
    for method in (kind(), tiny(kind)[0]):
        content = json.loads(json.dumps(methods.to_json(method), allow_nan=False))
        assert content["name"] == kind.name
        back = methods.from_json(content)
        assert back == method
        assert type(back) is kind
        assert hash(back) == hash(method)  # lists have become tuples again


@every_method
def test_json_is_strict(kind: type[Method]) -> None:
    content = json.loads(json.dumps(methods.to_json(kind())))
    wrong: list[Any] = [{**content, "more": 1}, {**content, "name": "nba"}, {**content, "name": ["nda"]}, [], None]
    wrong.append({key: value for key, value in content.items() if key != "name"})
    for name in content.keys() - {"name"}:
        wrong.append({key: value for key, value in content.items() if key != name})
        others: list[Any] = [{"a": 1}, [[]], 1 if content[name] is None else None]
        wrong += [{**content, name: other} for other in others]
    for nested, value in content.items():
        if isinstance(value, dict):
            wrong += [{**content, nested: {**value, "more": 1}}, {**content, nested: {}}]
    for hostile in wrong:
        with pytest.raises(ModelFileError, match="no method of this version"):
            methods.from_json(hostile)


# ---------------------------------------------------------------------------------------------------------------
# As scikit-learn has it


@every_method
def test_unfitted(kind: type[Method], tmp_path: Path) -> None:
    detector = unfitted(kind)
    images = made_normals(1, 2)
    for name in SCORING:
        with pytest.raises(NotFittedError):
            getattr(detector, name)(images)
    with pytest.raises(NotFittedError):
        detector.save(tmp_path / "file")
    with pytest.raises(NotFittedError):
        detector.calibration()
    with pytest.raises(NotFittedError):
        detector.calibrate(Calibration(np.arange(20.0), RATE))
    with pytest.raises(NotFittedError):
        next(detector.score_each(ArraySource(images)))
    assert not list(tmp_path.iterdir())


@every_method
def test_parameters_and_clone(kind: type[Method]) -> None:
    detector = fitted(kind)
    copied = clone(detector)
    assert copied.get_params() == detector.get_params()
    assert not hasattr(copied, "spec_")
    assert copied.set_params(seed=3, false_alarm_rate=0.2) is copied
    assert (copied.seed, copied.false_alarm_rate, detector.seed) == (3, 0.2, 0)
    assert kind.__name__ in repr(detector)
    assert repr(Detector()) == "Detector()"


# ---------------------------------------------------------------------------------------------------------------
# Scores


@every_method
def test_scores_are_float64_one_a_sample_the_headline_first(kind: type[Method]) -> None:
    detector = fitted(kind)
    images = np.concatenate([made_normals(1, 5), made_novel(1, 5)])
    scores = detector.novelty_scores(images)
    for values in scores.values():
        assert values.shape == (10,)
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
        assert len(np.unique(values)) > 1
    np.testing.assert_array_equal(detector.novelty_score(images), next(iter(scores.values())))
    np.testing.assert_array_equal(detector.score_samples(images), -detector.novelty_score(images))
    # The contract of the method itself, below the detector.
    scaled = detector.spec_.scale(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    with torch.inference_mode():
        for score in detector.method_.novelty(detector.model_, detector.reference_, scaled).values():
            assert score.shape == (10,)
            assert score.is_floating_point()


@every_method
def test_score_field_chooses_the_headline(kind: type[Method]) -> None:
    hint = get_type_hints(kind).get("score")
    if hint is None:
        pytest.skip(f"{kind.name} has one score only")
    detector = copy.copy(fitted(kind))
    images = made_normals(1, 4)
    everything = detector.novelty_scores(images)
    assert set(get_args(hint)) <= set(everything)
    for choice in get_args(hint):
        detector.method_ = dataclasses.replace(fitted(kind).method_, score=choice)  # type: ignore[call-arg]
        scores = detector.novelty_scores(images)
        assert next(iter(scores)) == choice
        assert scores.keys() == everything.keys()
        np.testing.assert_array_equal(detector.novelty_score(images), everything[choice])


@every_method
def test_one_seed_one_detector(kind: type[Method]) -> None:
    images = np.concatenate([made_normals(1, 10), made_novel(1, 10)])
    expected = fitted(kind)
    again = unfitted(kind).fit(made_normals(0), kind=as_kind(kind))
    for name, values in expected.novelty_scores(images).items():
        np.testing.assert_array_equal(again.novelty_scores(images)[name], values)
    assert again.calibration() == expected.calibration()
    assert [epoch.terms for epoch in again.history_] == [epoch.terms for epoch in expected.history_]
    other = unfitted(kind, seed=1).fit(made_normals(0), kind=as_kind(kind))
    assert not np.array_equal(other.novelty_score(images), expected.novelty_score(images))


@every_method
def test_fitting_leaves_the_global_random_numbers_alone(kind: type[Method]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    unfitted(kind).fit(made_normals(0, 40), kind=as_kind(kind))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]  # noqa: NPY002


@every_method
def test_scores_do_not_depend_on_company(kind: type[Method]) -> None:
    detector = fitted(kind)
    normal, novel = made_normals(1, 12), made_novel(1, 12)
    images = np.concatenate([normal, novel])
    whole = detector.novelty_scores(images)

    def parts(*pieces: np.ndarray) -> dict[str, np.ndarray]:
        scored = [detector.novelty_scores(piece) for piece in pieces]
        return {name: np.concatenate([piece[name] for piece in scored]) for name in whole}

    assert_close(parts(*np.split(images, 24)), whole)  # each alone
    assert_close(parts(normal, novel), whole)  # class-pure: batch statistics would betray them
    assert_close({name: v[::-1] for name, v in detector.novelty_scores(images[::-1].copy()).items()}, whole)
    many = detector.novelty_scores(np.tile(images, (12, 1, 1, 1)))  # more than one batch inside
    assert_close({name: v[-24:] for name, v in many.items()}, whole)
    assert_close({name: v[:24] for name, v in many.items()}, whole)


@every_method
def test_scoring_changes_nothing(kind: type[Method]) -> None:
    detector = copy.deepcopy(fitted(kind))
    images = made_novel(2, 12)
    before = {name: tensor.clone() for name, tensor in detector.model_.state_dict().items()}
    reference = {name: tensor.clone() for name, tensor in detector.reference_.items()}
    expected = detector.novelty_scores(images)
    detector.model_.train()  # as somebody may have left it
    assert_close(detector.novelty_scores(images), expected)
    for name in SCORING:
        getattr(detector, name)(images)
    assert not any(module.training for module in detector.model_.modules())
    after = detector.model_.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert reference.keys() == detector.reference_.keys()
    assert all(torch.equal(reference[name], detector.reference_[name]) for name in reference)
    assert detector.calibration() == fitted(kind).calibration()


@every_method
def test_layouts_give_equal_scores(kind: type[Method]) -> None:
    detector = fitted(kind)
    images = made_normals(1, 6)
    expected = detector.novelty_score(images)
    first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    for same in (first, torch.from_numpy(first), torch.from_numpy(images), list(images), images.astype(np.float32)):
        np.testing.assert_array_equal(detector.novelty_score(same), expected)


@every_method
def test_wrong_shapes_and_values_are_refused(kind: type[Method]) -> None:
    detector = fitted(kind)
    images = made_normals(1, 6)
    for wrong in (images[..., :1], images[..., :2], images.reshape(6, -1), images[0], images[0, 0, 0], images[:0]):
        for score in (detector.novelty_score, detector.predict, detector.reconstruct):
            with pytest.raises(InputError):
                score(wrong)
    for value in (np.nan, np.inf, -np.inf):
        broken = images.astype(np.float32)
        broken[3, 1, 2, 0] = value
        with pytest.raises(InputError, match="row 3"):
            detector.novelty_score(broken)
        with pytest.raises(InputError, match="row 3"):
            unfitted(kind).fit(broken, kind=as_kind(kind))


# ---------------------------------------------------------------------------------------------------------------
# Decisions


@every_method
def test_decisions_agree_exactly(kind: type[Method]) -> None:
    detector = fitted(kind)
    # The held-out normals are among these, and with them the threshold itself: a tie.
    images = np.concatenate([made_normals(0), made_normals(1, 30), made_novel(1, 30)])
    calibration = detector.calibration()
    novelty, decision = detector.novelty_score(images), detector.decision_function(images)
    predicted, p_value = detector.predict(images), detector.p_value(images)
    assert predicted.dtype == np.int64
    assert set(predicted.tolist()) == {-1, 1}
    np.testing.assert_array_equal(predicted, np.where(decision < 0, -1, 1))
    np.testing.assert_array_equal(predicted == 1, p_value > RATE)
    np.testing.assert_array_equal(predicted == 1, novelty <= calibration.threshold)
    assert detector.offset_ == -calibration.threshold
    np.testing.assert_array_equal(decision, detector.score_samples(images) - detector.offset_)
    expected = [(1 + np.count_nonzero(calibration.scores >= value)) / (len(calibration) + 1) for value in novelty]
    np.testing.assert_array_equal(p_value, expected)


@every_method
def test_unseen_normals_are_flagged_as_often_as_asked(kind: type[Method]) -> None:
    detector = fitted(kind)
    held_out = len(detector.calibration())
    assert held_out == COUNT // 2
    flagged = int((detector.predict(made_normals(7, 400)) < 0).sum())
    # With k = rate * (n + 1) rounded down, the flagged among m exchangeable samples follow this law exactly. A method
    # that judged its own training samples (distance 0 to the bank) would flag nearly all of the 400.
    law = betabinom(400, int(RATE * (held_out + 1)), held_out + 1 - int(RATE * (held_out + 1)))
    assert law.ppf(1e-6) <= flagged <= law.ppf(1 - 1e-6)


# ---------------------------------------------------------------------------------------------------------------
# On disk


@every_method
def test_saved_and_loaded(kind: type[Method], tmp_path: Path) -> None:
    detector = fitted(kind)
    images = np.concatenate([made_normals(1, 10), made_novel(1, 10)])
    detector.save(tmp_path / "first.novanda")
    loaded = Detector.load(tmp_path / "first.novanda", device="cpu")
    loaded.save(tmp_path / "second.novanda")
    for same in (loaded, Detector.load(tmp_path / "second.novanda", device="cpu")):
        found = same.novelty_scores(images)
        for name, values in detector.novelty_scores(images).items():
            np.testing.assert_array_equal(found[name], values)
            assert found[name].dtype == np.float64
        np.testing.assert_array_equal(same.predict(images), detector.predict(images))
        np.testing.assert_array_equal(same.p_value(images), detector.p_value(images))
        assert same.calibration() == detector.calibration()
        for attribute in ("method_", "spec_", "offset_", "training_count_", "history_", "note_"):
            assert getattr(same, attribute) == getattr(detector, attribute)
        filled = {"training": detector.training_}  # what was left open has been chosen
        assert same.get_params() == {**detector.get_params(), **filled}
        assert not any(module.training for module in same.model_.modules())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.novanda", "second.novanda"]


@every_method
def test_what_only_training_needs_is_left_out_of_the_file(kind: type[Method], tmp_path: Path) -> None:
    detector = fitted(kind)
    detector.save(tmp_path / "file.novanda")
    _, tensors = read_archive(tmp_path / "file.novanda", "detector.json")
    state = detector.model_.state_dict()
    kept = {name.removeprefix("model/") for name in tensors if name.startswith("model/")}
    assert kept == {name for name in state if not name.startswith(kind.training_only)}
    for prefix in kind.training_only:
        assert any(name.startswith(prefix) for name in state), f"nothing is called {prefix}"


# ---------------------------------------------------------------------------------------------------------------
# What it draws, what it takes


@every_method
def test_reconstructions(kind: type[Method]) -> None:
    detector = fitted(kind)
    images = np.concatenate([made_normals(1, 5), made_novel(1, 5)])
    drawn = detector.reconstruct(images)
    if drawn is None:
        assert kind.reconstruct is Method.reconstruct
        return
    assert drawn.shape == (10, 3, 32, 32)
    assert drawn.dtype == np.float32
    assert np.isfinite(drawn).all()
    assert drawn[:5].min() >= -64, "raw units, from 0 to 255; a linear method may overshoot a little"
    assert drawn[:5].max() <= 255 + 64
    scores = detector.novelty_scores(images)
    if "mse" in scores:  # what is shown is what was judged
        error = (drawn.astype(np.float64) - images.transpose(0, 3, 1, 2)) / 127.5
        np.testing.assert_allclose((error**2).mean((1, 2, 3)), scores["mse"], rtol=1e-4)


@every_method
def test_embeddings(kind: type[Method]) -> None:
    detector, images = fitted(kind), made_normals(3, 30)
    seen = detector.embed(images)
    if seen is None:
        assert kind.embed is Method.embed
        return
    assert seen.shape[0] == 30
    assert seen.ndim == 2
    assert seen.dtype == np.float32
    assert np.ptp(seen, axis=0).max() > 0
    alone = np.concatenate([detector.embed(images[place : place + 1]) for place in (4, 17)])
    np.testing.assert_allclose(seen[[4, 17]], alone, rtol=0, atol=RELATIVE * np.abs(seen).max())


@every_method
def test_learns_from_the_fewest_samples(kind: type[Method]) -> None:
    method, training = tiny(kind)
    for count in range(method.minimum_samples, max(4, method.minimum_samples + 1)):
        detector = Detector(method, training, calibration_fraction=0).fit(made_normals(3, count), kind=as_kind(kind))
        assert detector.training_count_ == count
        assert np.isfinite(detector.novelty_score(made_novel(3, 3))).all()
        with pytest.raises(CalibrationError):
            detector.predict(made_novel(3, 3))
    if method.minimum_samples > 1:
        few = made_normals(3, method.minimum_samples - 1)
        with pytest.raises((InputError, CalibrationError)):
            Detector(method, training, calibration_fraction=0).fit(few, kind=as_kind(kind))


@pytest.mark.parametrize("sample_kind", KINDS)
@every_method
def test_kinds(kind: type[Method], sample_kind: Any) -> None:
    method, training = tiny(kind)
    channels = {"image": 3, "spectrogram": 1, "flow": 2, "waveform": 1, "features": 1}[sample_kind]
    images = made_normals(4, 12, channels=channels).astype(np.float32) / 255
    detector = Detector(method, dataclasses.replace(training, epochs=1), calibration_fraction=0)
    samples = images.reshape(12, -1)[:, ::64] if sample_kind == "features" else images
    if sample_kind not in kind.kinds:
        with pytest.raises(InputError, match=rf"^{kind.name} learns from .*; got {sample_kind}"):
            detector.fit(samples, kind=sample_kind)
        return
    detector.fit(samples, kind=sample_kind)
    assert detector.spec_.kind == sample_kind
    assert np.isfinite(detector.novelty_score(samples)).all()


# ---------------------------------------------------------------------------------------------------------------
# What it says of single samples


@every_method
def test_remarks_are_sentences_that_do_not_depend_on_company(kind: type[Method]) -> None:
    detector = fitted(kind)
    images = np.concatenate([made_normals(1, 4), made_novel(1, 4)])
    scaled = detector.spec_.scale(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    with torch.inference_mode():
        learnt = detector.method_, detector.model_, detector.reference_
        together = learnt[0].remarks(*learnt[1:], scaled)
        alone = [learnt[0].remarks(*learnt[1:], scaled[place : place + 1])[0] for place in range(8)]
    assert together == alone
    for remarks in together:
        assert isinstance(remarks, tuple)
        assert all(re.fullmatch(r"[A-Z][^\n]*\.", said) for said in remarks)


@every_method
def test_explanations_of_a_loaded_detector(kind: type[Method], tmp_path: Path) -> None:
    detector = fitted(kind)
    images = np.concatenate([made_normals(1, 1), made_novel(1, 1)])
    detector.save(tmp_path / "file")
    loaded = Detector.load(tmp_path / "file", device="cpu")
    assert loaded.heat_ == detector.heat_ is not None
    assert loaded.examples_ == detector.examples_ is not None
    drawn = detector.reconstruct(images)
    flagged = detector.predict(images) < 0
    for place, (each, same) in enumerate(zip(explain(detector, images), explain(loaded, images), strict=True)):
        assert each.heat.shape == (32, 32)
        assert each.heat.dtype == np.float32
        assert np.isfinite(each.heat).all()
        assert (each.heat >= 0).all()
        np.testing.assert_array_equal(each.heat, same.heat)
        np.testing.assert_array_equal(each.image, images[place])
        assert (each.expected is None) == (drawn is None) == (each.heat_kind == "occlusion")
        assert each.is_novel == flagged[place]
        assert [near.identifier for near in each.neighbours] == [near.identifier for near in same.neighbours]
        assert len(each.neighbours) == 3
        assert each.remarks == same.remarks


# ---------------------------------------------------------------------------------------------------------------
# Exporting

Exported = Callable[[type[Method]], tuple[Path, Parity]]
SLOW_TO_EXPORT = {"geometric", "rot_trans", "wavenet"}
"""Graphs that hold the network 18 and 9 times, once for each move, are long to make; waveforms are long to score."""

every_exportable = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] * (kind.name in SLOW_TO_EXPORT), id=kind.name)
        for kind in METHODS
        if kind().export_obstacle() is None
    ],
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The file of a method's small detector, made once."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def of(kind: type[Method]) -> tuple[Path, Parity]:
        path = folder / f"{kind.name}.onnx"
        if kind not in made:
            made[kind] = export(fitted(kind), path)
        return path, made[kind]

    return of


def judged(count: int) -> np.ndarray:
    """Two thirds normal, one third novel, (N, 32, 32, 3) uint8."""
    return np.concatenate([made_normals(11, count - count // 3), made_novel(12, count // 3)])


@every_exportable
def test_a_thousand_samples_score_and_decide_alike_in_batches_and_alone(kind: type[Method], exported: Exported) -> None:
    detector, images = fitted(kind), judged(1000)
    expected, decisions = detector.novelty_scores(images), detector.predict(images)
    threshold = detector.calibration().threshold
    # As anyone runs it, without novanda.
    session = onnxruntime.InferenceSession(exported(kind)[0], providers=["CPUExecutionProvider"])
    raw = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    names = [name for name in expected if name not in exported(kind)[1].left_out]
    for size in (1, 256):
        parts = [session.run(names, {"samples": raw[i : i + size]}) for i in range(0, len(raw), size)]
        found = {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(names)}
        assert_close(found, {name: expected[name] for name in names})
        assert (np.where(found[names[0]].astype(np.float64) > threshold, -1, 1) != decisions).sum() == 0
    assert 0 < (decisions == -1).sum() < len(images)


@every_exportable
def test_the_read_file_is_the_detector(kind: type[Method], exported: Exported) -> None:
    path, parity = exported(kind)
    detector, read, images = fitted(kind), ExportedDetector.load(path, threads=1), judged(90)
    expected = detector.novelty_scores(images)
    assert_close(read.novelty_scores(images), {name: expected[name] for name in read.score_names})
    assert set(expected) - set(read.score_names) == set(parity.left_out)
    np.testing.assert_array_equal(read.score_samples(images), -read.novelty_score(images))
    np.testing.assert_array_equal(read.predict(images), detector.predict(images))
    np.testing.assert_array_equal(read.decision_function(images) < 0, read.predict(images) == -1)
    assert np.abs(read.p_value(images) - detector.p_value(images)).max() <= 1 / (len(detector.calibration()) + 1)
    assert read.calibration() == detector.calibration()
    assert (read.spec_, read.offset_) == (detector.spec_, detector.offset_)
    assert (read.method_name, read.training_count_) == (kind.name, detector.training_count_)
    assert 0 <= parity.difference <= parity.tolerance == RELATIVE
    assert read.about["parity"]["difference"] == parity.difference


@every_exportable
def test_the_error_map_is_the_difference_from_what_was_expected(kind: type[Method], exported: Exported) -> None:
    detector, read, images = fitted(kind), ExportedDetector.load(exported(kind)[0], threads=1), judged(30)
    drawn, found = detector.reconstruct(images), read.error_map(images)
    if drawn is None:
        assert found is None
        return
    assert found is not None
    expected = np.abs(drawn - images.transpose(0, 3, 1, 2)).mean(1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.max())


@every_exportable
def test_the_file_is_sound_and_tells_nothing_of_this_machine(kind: type[Method], exported: Exported) -> None:
    path = exported(kind)[0]
    onnx.checker.check_model(onnx.load(path), full_check=True)
    raw = path.read_bytes()
    for place in (Path(torch.__file__).parents[1], Path(methods.__file__).parents[2], Path.cwd()):
        assert str(place).encode() not in raw


def test_latents_of_training_are_left_out(exported: Exported) -> None:
    detector = fitted(methods.NDA)
    shapes = [list(tensor.dims) for tensor in onnx.load(exported(methods.NDA)[0]).graph.initializer]
    assert [detector.training_count_, 8] not in shapes
    assert len(shapes) > 10
