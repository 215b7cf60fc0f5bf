"""Latent space autoregression: its density, objective and score against plain loops."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from novanda import losses
from novanda.detector import Detector
from novanda.errors import InputError
from novanda.method import Batch
from novanda.methods import LatentAutoregression
from novanda.methods.latent_autoregression import LatentAutoregressionNetworks
from novanda.samples import SampleSpec
from novanda.training import Training

TRAINING = Training(epochs=1, batch_size=16, device="cpu", precision="32")
SMALL = LatentAutoregression(latent_dim=5, width=4, bins=10, density_width=3)


def images(seed: int, count: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def networks(detector: Detector) -> LatentAutoregressionNetworks:
    assert isinstance(detector.model_, LatentAutoregressionNetworks)
    return detector.model_


def surprise_by_loop(logits: np.ndarray, values: np.ndarray) -> float:
    """Of one sample: logits (d, K), values (d,)."""
    total = 0.0
    for row, value in zip(logits, values, strict=True):
        logs = row - math.log(sum(np.exp(row)))
        centres = [(k + 0.5) / len(row) for k in range(len(row))]
        total -= float(np.interp(value, centres, logs))
    return total


def test_surprise_is_numpys_interpolation_of_the_log_probabilities() -> None:
    generator = np.random.default_rng(0)
    logits, values = generator.normal(size=(40, 6, 10)), generator.uniform(0, 1, (40, 6))
    values[0] = 0, 1, 0.05, 0.95, 0.01, 0.999
    found = losses.binned_surprise(torch.from_numpy(logits), torch.from_numpy(values)).numpy()
    expected = [surprise_by_loop(*pair) for pair in zip(logits, values, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_at_the_centre_of_a_bin_it_is_the_cross_entropy() -> None:
    logits = torch.randn(7, 4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bins = torch.randint(0, 10, (7, 4), generator=torch.Generator().manual_seed(1))
    found = losses.binned_surprise(logits, (bins + 0.5).double() / 10)
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), bins.flatten(), reduction="none").view(7, 4).sum(1)
    torch.testing.assert_close(found, expected)


def test_objective_by_loop() -> None:
    torch.manual_seed(0)
    model = SMALL.build(SampleSpec("image", 3, 32, 32), 6).eval()
    assert isinstance(model, LatentAutoregressionNetworks)
    method = dataclasses.replace(SMALL, density_weight=0.3)
    batch = torch.rand(6, 3, 32, 32) * 2 - 1
    (stage,) = method.stages(model, 1)
    step = Batch(batch, torch.arange(6), torch.Generator(), "image", 0.0)
    with torch.no_grad():
        terms = stage.players[0].loss(step)
        codes = 1 / (1 + (-model.encoder(batch)[1]).exp())
        drawn, logits = model.decoder(codes), model.density(codes)
    error = sum(
        (a / 2 - b / 2) ** 2 for a, b in zip(drawn.double().numpy().flat, batch.double().numpy().flat, strict=True)
    )
    assert terms["squared error"].item() == pytest.approx(error / 6, rel=1e-4)
    surprise = [surprise_by_loop(*pair) for pair in zip(logits.double().numpy(), codes.double().numpy(), strict=True)]
    assert terms["surprise"].item() == pytest.approx(0.3 * sum(surprise) / 6, rel=1e-4)


def test_the_encoder_is_taught_by_what_is_predicted_from_and_not_by_what_is_predicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    model = SMALL.build(SampleSpec("image", 3, 32, 32), 3)
    assert isinstance(model, LatentAutoregressionNetworks)
    codes = torch.rand(3, 5, requires_grad=True)
    monkeypatch.setattr(LatentAutoregressionNetworks, "encode", lambda net, batch: codes)
    (stage,) = SMALL.stages(model, 1)
    terms = stage.players[0].loss(Batch(torch.zeros(3, 3, 32, 32), torch.arange(3), torch.Generator(), "image", 0.0))
    (taught,) = torch.autograd.grad(terms["surprise"], codes)
    assert taught[:, :4].abs().sum() > 0
    assert not taught[:, 4].any(), "nothing is predicted from the last dimension"


def test_scores_by_loop() -> None:
    detector = Detector(SMALL, TRAINING, calibration_fraction=0).fit(images(0))
    net = networks(detector)

    def parts(image: np.ndarray) -> tuple[float, float]:
        scaled = torch.from_numpy(image).float()[None] / 127.5 - 1
        with torch.inference_mode():
            codes = net.encoder(scaled)[1].sigmoid()
            drawn, logits = net.decoder(codes)[0], net.density(codes)[0]
        error = float(((drawn - scaled[0]).double().numpy() ** 2).mean())
        return error, surprise_by_loop(logits.double().numpy(), codes[0].double().numpy())

    known = [parts(image) for image in images(0).transpose(0, 3, 1, 2)]
    found = detector.novelty_scores(images(1, 5))
    assert list(found) == ["normalised_sum", "mse", "surprise"]
    for number, image in enumerate(images(1, 5).transpose(0, 3, 1, 2)):
        total = 0.0
        for place, (name, value) in enumerate(zip(("mse", "surprise"), parts(image), strict=True)):
            assert found[name][number] == pytest.approx(value, rel=1e-4)
            reached = [each[place] for each in known]
            total += (value - min(reached)) / (max(reached) - min(reached))
        assert found["normalised_sum"][number] == pytest.approx(total, rel=1e-3, abs=1e-3)


def test_a_density_that_was_not_learned_has_no_say() -> None:
    """Nobody trained it: the sum is the error's part alone, in the error's order and on its scale."""
    method = dataclasses.replace(SMALL, density_weight=0.0)
    detector = Detector(method, TRAINING, calibration_fraction=0).fit(images(0))
    known, found = detector.novelty_scores(images(0))["mse"], detector.novelty_scores(images(1, 5))
    expected = (found["mse"] - known.min()) / (known.max() - known.min())
    np.testing.assert_allclose(found["normalised_sum"], expected, rtol=1e-3, atol=1e-3)


def test_samples_that_are_all_alike_are_scored() -> None:
    same = np.full((6, 32, 32, 3), 90, np.uint8)
    detector = Detector(SMALL, TRAINING, calibration_fraction=0).fit(same)
    assert np.isfinite(detector.novelty_score(images(1, 3))).all()


def test_it_learns() -> None:
    rows = np.mgrid[0:32, 0:32][0]
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, 80)
    waves = np.stack([127 + 100 * np.sin(rows / 5 + phase) for phase in phases])[..., None].astype(np.uint8)
    training = dataclasses.replace(TRAINING, epochs=15, learning_rate=1e-2)
    detector = Detector(dataclasses.replace(SMALL, width=8), training, calibration_fraction=0).fit(waves[:64])
    first, last = detector.history_[0].terms, detector.history_[-1].terms
    assert last["squared error"] < 0.5 * first["squared error"]
    # Uniform over 10 bins in each of 5 dimensions is what a density that has learned nothing gives.
    assert last["surprise"] < 0.9 * SMALL.density_weight * 5 * math.log(10)
    normal, novel = detector.novelty_score(waves[64:]), detector.novelty_score(images(1, 16)[..., :1])
    assert np.median(normal) < np.median(novel)


@pytest.mark.parametrize(("field", "value"), [("bins", 1), ("density_width", 0), ("latent_dim", 0)])
def test_bad_settings_are_refused_by_name(field: str, value: int) -> None:
    with pytest.raises(InputError, match=f"LatentAutoregression.{field} must be .*; got {value}"):
        LatentAutoregression(**{field: value})  # type: ignore[arg-type]  # what the test is about


def test_what_goes_beyond_the_training_samples_is_remarked_on() -> None:
    detector = Detector(SMALL, TRAINING, calibration_fraction=0).fit(images(0))
    scaled = torch.from_numpy(images(0).transpose(0, 3, 1, 2)).float() / 127.5 - 1
    zero, huge = torch.zeros(2), torch.full((2,), 1e6)
    said = [
        detector.method_.remarks(detector.model_, {"least": zero, "spread": spread}, scaled[:1])
        for spread in (huge, torch.tensor([0.0, 1e6]), zero)
    ]
    assert said[0] == [()]
    assert said[1] == [("It is drawn worse than any of the training images.",)]
    assert len(said[2][0]) == 2
    assert "less probable" in said[2][0][1]
