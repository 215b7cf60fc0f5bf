"""Classification of transformations against NumPy's own moves and turns and SciPy's Dirichlet distribution."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from novanda.detector import Detector
from novanda.errors import InputError
from novanda.methods import Geometric
from novanda.methods.geometric import TRANSFORMATIONS, fitted_dirichlet, legal_places
from novanda.training import Training

TRAINING = Training(epochs=1, batch_size=16, device="cpu", precision="32")
SMALL = Geometric(width=4, widening=1, views=6, dirichlet_samples=12)


def images(seed: int, count: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def by_numpy(image: np.ndarray, place: int, step: int) -> np.ndarray:
    """One sample (C, H, H), mirrored, moved with reflection, turned."""
    mirrored, down, right, turns = TRANSFORMATIONS[place]
    if mirrored:
        image = image[:, :, ::-1]
    side = image.shape[1]
    wide = np.pad(image, ((0, 0), (step, step), (step, step)), mode="reflect")
    top, left = step - down * step, step - right * step
    moved: np.ndarray = np.rot90(wide[:, top : top + side, left : left + side], turns, (1, 2))
    return moved


def test_there_are_72_and_the_first_changes_nothing() -> None:
    assert len(set(TRANSFORMATIONS)) == 72
    samples = torch.rand(2, 3, 32, 32)
    assert torch.equal(Geometric().transformed(samples, 0), samples)


def test_transformations_are_numpys() -> None:
    samples = torch.rand(2, 3, 32, 32)
    for place in range(72):
        found = Geometric().transformed(samples, place).numpy()
        for one, expected in zip(found, samples.numpy(), strict=True):
            np.testing.assert_array_equal(one, by_numpy(expected, place, 8))


def test_scores_by_loop() -> None:
    detector = Detector(SMALL, TRAINING, calibration_fraction=0).fit(images(0))
    fresh = images(1, 3)
    parameters = detector.reference_["dirichlet"].double().numpy()
    found = detector.novelty_scores(fresh)
    assert list(found) == ["dirichlet", "softmax"]
    for number, image in enumerate(fresh.transpose(0, 3, 1, 2) / 127.5 - 1):
        softmax, dirichlet = 0.0, 0.0
        for place in range(72):
            view = torch.from_numpy(by_numpy(image, place, 8).copy()).float()[None]
            with torch.inference_mode():
                responses = special.softmax(detector.model_(view)[0].double().numpy())
            softmax -= responses[place] / 72
            dirichlet -= sum((parameters[place] - 1) * np.log(responses))
        assert found["softmax"][number] == pytest.approx(softmax, rel=1e-4)
        assert found["dirichlet"][number] == pytest.approx(dirichlet, rel=1e-4)


def test_a_spectrogram_is_never_turned() -> None:
    kept = legal_places("spectrogram")
    assert [TRANSFORMATIONS[place] for place in kept] == [each for each in TRANSFORMATIONS if each[3] == 0]
    assert len(kept) == 18
    assert legal_places("image") == tuple(range(72))
    normals = images(0)[..., :1]
    detector = Detector(SMALL, TRAINING, calibration_fraction=0).fit(normals, kind="spectrogram")
    parameters = detector.reference_["dirichlet"].double().numpy()
    assert parameters.shape == (18, 18)
    fresh = images(1, 2)[..., :1]
    found = detector.novelty_scores(fresh)
    for number, image in enumerate(fresh.transpose(0, 3, 1, 2) / 127.5 - 1):
        softmax, dirichlet = 0.0, 0.0
        for row, place in enumerate(kept):
            view = torch.from_numpy(by_numpy(image, place, 8).copy()).float()[None]
            with torch.inference_mode():
                responses = special.softmax(detector.model_(view)[0].double().numpy())
            softmax -= responses[row] / 18
            dirichlet -= sum((parameters[row] - 1) * np.log(responses))
        assert found["softmax"][number] == pytest.approx(softmax, rel=1e-4)
        assert found["dirichlet"][number] == pytest.approx(dirichlet, rel=1e-4)
    scaled = torch.from_numpy((fresh.transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float32))
    with torch.inference_mode():
        said = detector.method_.remarks(detector.model_, detector.reference_, scaled)
    assert all("of 18 ways in which it was mirrored and moved" in sentence for each in said for sentence in each)


def test_dirichlet_parameters_are_recovered() -> None:
    truth = np.array([[0.4, 2.0, 7.0], [1.0, 1.0, 1.0], [30.0, 0.2, 5.0]])
    generator = np.random.default_rng(0)
    logs = np.stack([np.log(generator.dirichlet(row, 40_000)).mean(0) for row in truth])
    found = fitted_dirichlet(torch.from_numpy(logs)).numpy()
    np.testing.assert_allclose(found, truth, rtol=0.05)
    # At the maximum of the likelihood its gradient is zero.
    gradient = special.digamma(found.sum(1, keepdims=True)) - special.digamma(found) + logs
    np.testing.assert_allclose(gradient, 0, atol=1e-4)


def test_no_neighbouring_parameters_are_likelier() -> None:
    responses = np.random.default_rng(1).dirichlet([2.0, 0.5, 4.0, 1.0], 500)
    found = fitted_dirichlet(torch.from_numpy(np.log(responses).mean(0))).numpy()

    def likelihood(parameters: np.ndarray) -> float:
        return float(sum(stats.dirichlet.logpdf(row / row.sum(), parameters) for row in responses))

    best = likelihood(found)
    for place in range(4):
        for factor in (0.97, 1.03):
            other = found.copy()
            other[place] *= factor
            assert likelihood(other) < best


def test_responses_without_spread_stay_finite() -> None:
    same = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()
    found = fitted_dirichlet(same)
    assert torch.isfinite(found).all()
    assert torch.allclose(found / found.sum(), same.exp(), atol=0.01)


def test_the_dirichlet_is_fitted_on_evenly_spaced_normals(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    real = Geometric._log_responses

    def watched(self: Geometric, model: torch.nn.Module, batch: Tensor, places: Sequence[int]) -> Any:
        seen.append(batch)
        return real(self, model, batch, places)

    monkeypatch.setattr(Geometric, "_log_responses", watched)
    normals = images(0)
    Detector(SMALL, TRAINING, calibration_fraction=0).fit(normals)
    batch = seen[0]  # what follows it measures explanations
    expected = torch.from_numpy(normals[np.linspace(0, 23, 12).astype(int)].transpose(0, 3, 1, 2) / 127.5 - 1).float()
    assert torch.allclose(batch, expected, atol=1e-6)


def test_it_learns_transformations() -> None:
    """Skies that darken downwards and to the right: which way they lie is easy to tell; gray is novel."""
    slope = np.linspace(255, 30, 32)
    sky = np.minimum(slope[:, None], slope[None, :] * 0.7 + 60)[..., None]

    def skies(seed: int, count: int) -> np.ndarray:
        made = sky * np.random.default_rng(seed).uniform(0.5, 1, (count, 1, 1, 3))
        result: np.ndarray = made.astype(np.uint8)
        return result

    training = dataclasses.replace(TRAINING, epochs=8, learning_rate=1e-2)
    method = dataclasses.replace(SMALL, width=8, views=24)
    detector = Detector(method, training, calibration_fraction=0).fit(skies(0, 64))
    assert detector.history_[-1].terms["transformation"] < 0.9 * np.log(72)
    normal = detector.novelty_scores(skies(1, 6))
    novel = detector.novelty_scores(np.full((6, 32, 32, 3), 128, np.uint8))
    for name, scores in normal.items():
        assert scores.max() < novel[name].min()


@pytest.mark.parametrize(("field", "value"), [("views", 1), ("views", 73), ("translation", 1.0), ("widening", 0)])
def test_bad_settings_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"Geometric.{field} must be"):
        Geometric(**{field: value})  # type: ignore[arg-type]  # what the test is about


def test_remarks_count_what_was_not_recognised() -> None:
    class SaysUnchanged(torch.nn.Module):
        def forward(self, views: Tensor) -> Tensor:
            return torch.eye(len(TRANSFORMATIONS))[0].expand(len(views), -1)

    found = Geometric().remarks(SaysUnchanged(), {"dirichlet": torch.ones(72, 72)}, torch.zeros(2, 3, 32, 32))
    assert found == [("The net did not recognise 71 of 72 ways in which it was mirrored, moved and turned.",)] * 2
