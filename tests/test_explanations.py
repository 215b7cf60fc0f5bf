"""Explanations: where a planted defect is, that normals stay cold, who is nearest, and what is said about it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from novanda import explain
from novanda.calibration import Calibration
from novanda.detector import Detector
from novanda.errors import DataError, InputError
from novanda.explanations import Explanation, explain_each
from novanda.methods import PCA, NearestNeighbour
from novanda.sources import ArraySource, open_source


def made(seed: int, count: int, side: int = 32) -> np.ndarray:
    """Smooth colour ramps with a little noise, (N, H, W, 3) uint8."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side - 0.5
    turn = generator.uniform(0, 2 * np.pi, (count, 1, 1))
    ramp = 0.5 + 0.4 * (np.cos(turn) * rows + np.sin(turn) * columns)
    images = np.stack([ramp, 0.5 + 0 * ramp, 1 - ramp], 3) + generator.normal(0, 0.02, (count, side, side, 3))
    scaled: np.ndarray = (images * 255).clip(0, 255).astype(np.uint8)
    return scaled


def with_defect(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images with a green square of 6 pixels somewhere, and where: (N, H, W) bool."""
    generator = np.random.default_rng(9)
    spoilt, where = images.copy(), np.zeros(images.shape[:3], dtype=bool)
    for image, mask in zip(spoilt, where, strict=True):
        row, column = generator.integers(2, 24, 2)
        mask[row : row + 6, column : column + 6] = True
        image[mask] = (0, 255, 0)
    return spoilt, where


_FITTED: dict[str, Detector] = {}


def fitted(name: str) -> Detector:
    """Shared by the tests, which must leave it as it is."""
    if name not in _FITTED:
        method = {"pca": PCA(components=4), "nearest_neighbour": NearestNeighbour()}[name]
        _FITTED[name] = Detector(method).fit(made(0, 400))
    return _FITTED[name]


either = pytest.mark.parametrize("name", ["pca", "nearest_neighbour"])


@either
def test_a_defect_glows_and_the_rest_does_not(name: str) -> None:
    spoilt, where = with_defect(made(1, 20))
    for explanation, mask in zip(explain(fitted(name), spoilt), where, strict=True):
        assert explanation.is_novel
        hottest = np.unravel_index(explanation.heat.argmax(), mask.shape)
        near = np.argwhere(mask)
        assert np.abs(near - hottest).max(1).min() <= 4, "occlusion sees regions of 8 pixels"
        assert explanation.heat.max() > 3
        far = ~np.isin(np.arange(32), np.arange(near[:, 0].min() - 8, near[:, 0].max() + 9))
        assert np.median(explanation.heat[far]) < 1


@either
def test_normals_do_not_glow(name: str) -> None:
    maps = np.stack([each.heat for each in explain(fitted(name), made(2, 100))])
    assert maps.dtype == np.float32
    assert (maps >= 0).all()
    assert np.mean(maps > 1) < 0.03, "of normals one pixel in a hundred lies above 1"
    assert maps.max() < 3
    assert np.quantile(maps, 0.999) > 0.5, "a scale so wide that nothing ever shows would be none"


@either
def test_numbers_are_those_of_the_detector(name: str) -> None:
    detector = fitted(name)
    images = np.concatenate([made(3, 20), with_defect(made(3, 20))[0]])
    found = explain(detector, images)
    assert [each.name for each in found] == [f"row {row}" for row in range(40)]
    np.testing.assert_allclose([each.novelty for each in found], detector.novelty_score(images), rtol=1e-5)
    assert [each.p_value for each in found] == detector.p_value(images).tolist()
    assert [each.is_novel for each in found] == (detector.predict(images) < 0).tolist()
    for each, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(each.image, image)
    drawn = detector.reconstruct(images)
    if drawn is None:
        assert all(each.expected is None for each in found)
        assert {each.heat_kind for each in found} == {"occlusion"}
        return
    assert {each.heat_kind for each in found} == {"error"}
    for each, picture in zip(found, drawn, strict=True):
        assert each.expected is not None
        np.testing.assert_allclose(each.expected, picture.transpose(1, 2, 0).clip(0, 255), atol=0.51)
        error = np.abs(picture - each.image.transpose(2, 0, 1)).mean(0) / 127.5
        assert detector.heat_ is not None
        np.testing.assert_allclose(each.heat, error / detector.heat_.value, rtol=1e-3, atol=1e-5)


@either
def test_the_nearest_training_images_are_named(name: str) -> None:
    detector, images = fitted(name), made(0, 400)
    for each in explain(detector, made(4, 5), neighbours=4):
        assert len(each.neighbours) == 4
        distances = [neighbour.distance for neighbour in each.neighbours]
        assert distances == sorted(distances)
        for neighbour in each.neighbours:
            row = int(neighbour.identifier.removeprefix("row "))
            np.testing.assert_array_equal(neighbour.image, images[row])
    assert detector.examples_ is not None
    row = int(detector.examples_.identifiers[5].removeprefix("row "))
    (known,) = explain(detector, images[row : row + 1], neighbours=1)
    assert known.neighbours[0].identifier == f"row {row}"
    assert known.neighbours[0].distance == pytest.approx(0, abs=1e-4)
    assert explain(detector, images[:1], neighbours=0)[0].neighbours == ()


def same(one: Explanation, other: Explanation) -> None:
    assert (one.name, one.heat_kind, one.is_novel, one.remarks) == (
        *(other.name, other.heat_kind, other.is_novel, other.remarks),
    )
    np.testing.assert_array_equal(one.heat, other.heat)
    np.testing.assert_array_equal(one.image, other.image)
    assert [(n.identifier, n.distance) for n in one.neighbours] == [
        (n.identifier, n.distance) for n in other.neighbours
    ]


@either
def test_a_loaded_detector_explains_alike_without_the_training_images(name: str, tmp_path: Path) -> None:
    fitted(name).save(tmp_path / "file")
    images = with_defect(made(5, 3))[0]
    for one, other in zip(
        explain(fitted(name), images), explain(Detector.load(tmp_path / "file"), images), strict=True
    ):
        same(one, other)


def test_an_old_file_says_that_it_has_no_scale(tmp_path: Path) -> None:
    fitted("pca").save(tmp_path / "new")
    with zipfile.ZipFile(tmp_path / "new") as archive:
        content, tensors = json.loads(archive.read("detector.json")), archive.read("tensors.safetensors")
    for later in ("heat", "examples", "keep_examples", "sources"):
        del content[later]
    kept = {name: t for name, t in safetensors.torch.load(tensors).items() if not name.startswith("examples/")}
    with zipfile.ZipFile(tmp_path / "old", "w") as archive:
        archive.writestr("detector.json", json.dumps(content))
        archive.writestr("tensors.safetensors", safetensors.torch.save(kept))
    (found,) = explain(Detector.load(tmp_path / "old"), made(6, 1))
    assert found.neighbours == ()
    assert found.heat.max() == 1
    assert len(found.remarks) == 2
    assert "relative to its own hottest pixel" in found.remarks[0]
    assert "No training images are kept" in found.remarks[1]


def test_remarks_where_nothing_was_held_out_and_where_nothing_is_decided() -> None:
    (found,) = explain(Detector(PCA(components=4), calibration_fraction=0).fit(made(0, 50)), made(6, 1))
    assert (found.p_value, found.is_novel) == (None, None)
    assert len(found.remarks) == 1
    assert "comes from images the detector was trained on" in found.remarks[0]
    assert explain(fitted("pca"), made(6, 1))[0].remarks == ()


def test_what_is_novel_as_a_whole_is_said_to_be() -> None:
    detector = fitted("pca")
    assert detector.heat_ is not None
    (found,) = explain(detector, made(6, 1))
    noise = np.random.default_rng(0).normal(0, 0.08, (1, 32, 32, 3))  # a little everywhere, much nowhere
    (rough,) = explain(detector, (made(6, 1) + 255 * noise).clip(0, 255).astype(np.uint8))
    assert rough.is_novel
    assert rough.heat.mean() > 2 * found.heat.mean()
    (loud,) = explain(detector, with_defect(made(6, 1))[0])
    assert "No single region is unusual: it is the image as a whole." not in loud.remarks


def test_a_sources_own_threshold_decides() -> None:
    detector = Detector(PCA(components=4)).fit(made(0, 100))
    novelty = detector.novelty_score(made(7, 1))[0]
    detector.calibrate(Calibration(np.full(99, novelty / 2), 0.05), "strict")
    assert explain(detector, made(7, 1))[0].is_novel is False
    detector.calibrate(Calibration(np.full(99, novelty), 0.05), "tie")
    assert explain(detector, made(7, 1), source="tie")[0].is_novel is False, "on the threshold is not above it"
    strict = explain(detector, made(7, 1), source="strict")[0]
    assert (strict.is_novel, strict.p_value) == (True, 0.01)
    with pytest.raises(InputError, match="'strict'"):
        explain(detector, made(7, 1), source="strikt")


@pytest.mark.parametrize(("kind", "channels"), [("spectrogram", 1), ("flow", 2)])
def test_other_kinds_give_the_same_arrays(kind: Any, channels: int) -> None:
    sounds = np.random.default_rng(0).normal(size=(100, 16, 40, channels)).astype(np.float32)
    detector = Detector(PCA(components=4)).fit(sounds, kind=kind)
    (found,) = explain(detector, sounds[:1])
    assert found.image.shape == (16, 40, channels)
    assert found.image.dtype == np.uint8
    assert found.heat.shape == (16, 40)
    assert found.neighbours[0].image.shape == (16, 40, channels)
    spread = (sounds[0] - detector.spec_.low) / (detector.spec_.high - detector.spec_.low) * 255
    np.testing.assert_allclose(found.image, spread, atol=0.51)


def test_one_broken_file_costs_no_other(tmp_path: Path) -> None:
    for number, image in enumerate(made(8, 20)):
        Image.fromarray(image).save(tmp_path / f"{number:02d}.png")
    (tmp_path / "03.png").write_bytes(b"no picture")
    source = open_source(tmp_path, purpose="score", spec=fitted("pca").spec_)
    found = list(explain_each(fitted("pca"), source))
    assert [position for position, _ in found] == list(range(20))
    assert isinstance(found[3][1], DataError)
    for position, outcome in found:
        if position != 3:
            assert isinstance(outcome, Explanation)
            assert outcome.name == str(tmp_path / f"{position:02d}.png")
    with pytest.raises(DataError, match=r"03\.png"):
        explain(fitted("pca"), tmp_path)


def test_explaining_changes_nothing() -> None:
    detector = fitted("nearest_neighbour")
    random_state = torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in detector.reference_.items()}
    scores = detector.novelty_score(made(2, 3))
    explain(detector, made(1, 3))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(before[name], tensor) for name, tensor in detector.reference_.items())
    np.testing.assert_array_equal(detector.novelty_score(made(2, 3)), scores)


def test_features_and_what_is_not_fitted_are_refused() -> None:
    table = np.random.default_rng(0).normal(size=(100, 5))
    with pytest.raises(InputError, match="got one of 5 features"):
        explain(Detector(PCA(components=2)).fit(table), table)
    with pytest.raises(InputError, match="expected a fitted detector"):
        explain(Detector(PCA()), made(0, 1))
    for wrong in (-1, 2.5, True):
        with pytest.raises(InputError, match="neighbours must be"):
            explain(fitted("pca"), made(0, 1), neighbours=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="neighbours"):
        next(explain_each(fitted("pca"), ArraySource(made(0, 1)), neighbours=-1))
