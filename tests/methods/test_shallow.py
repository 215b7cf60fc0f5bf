"""The methods that are nearly a formula, each against scikit-learn or against plain loops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import sklearn.decomposition
import torch
from sklearn.svm import OneClassSVM

from novanda.detector import Detector
from novanda.errors import InputError
from novanda.methods import OCSVM, PCA, AutoEncoder, NearestNeighbour, RotNet
from novanda.training import Training

ONE_EPOCH = Training(epochs=1, batch_size=16, device="cpu", precision="32")


def table(seed: int, count: int = 80, width: int = 12) -> np.ndarray:
    """Correlated columns."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(width, width))
    return (generator.normal(size=(count, width)) @ mixing).astype(np.float32)


def images(seed: int, count: int = 24, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, channels), dtype=np.uint8)


def scaled(pixels: np.ndarray) -> np.ndarray:
    """(N, H, W, C) uint8 to (N, C, H, W) from -1 to 1."""
    result: np.ndarray = pixels.transpose(0, 3, 1, 2).astype(np.float64) / 127.5 - 1
    return result


# ---------------------------------------------------------------------------------------------------------------
# OCSVM


@pytest.mark.parametrize("gamma", ["scale", "auto", 0.03])
@pytest.mark.parametrize("nu", [0.1, 0.5, 0.99])
def test_ocsvm_is_scikit_learns(nu: float, gamma: float | str) -> None:
    fit, fresh = table(0), np.concatenate([table(1), 10 + table(2)])
    machine = OneClassSVM(nu=nu, gamma=gamma).fit(fit.astype(np.float64))
    method = OCSVM(nu=nu, gamma=gamma)  # type: ignore[arg-type]
    found = Detector(method, calibration_fraction=0).fit(fit).novelty_score(fresh)
    # Float64 throughout, over samples that float32 carried (one rounding of 6e-8): sums of 80 kernels below 1.
    np.testing.assert_allclose(found, -machine.decision_function(fresh.astype(np.float64)), rtol=0, atol=1e-5)


def test_ocsvm_refuses_what_has_no_solution() -> None:
    with pytest.raises(InputError, match=r"OCSVM.nu must be in \(0, 1\); got 1.0"):
        OCSVM(nu=1.0)  # every coefficient is at its bound, and nothing fixes the offset


def test_ocsvm_on_images_and_of_equal_ones() -> None:
    fit, fresh = images(0), images(1)
    machine = OneClassSVM(nu=0.5).fit(scaled(fit).reshape(24, -1).astype(np.float32).astype(np.float64))
    found = Detector(OCSVM(), calibration_fraction=0).fit(fit).novelty_score(fresh)
    np.testing.assert_allclose(found, -machine.decision_function(scaled(fresh).reshape(24, -1)), rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="identical"):
        Detector(OCSVM(), calibration_fraction=0).fit(np.repeat(fit[:1], 10, 0))


# ---------------------------------------------------------------------------------------------------------------
# PCA


@pytest.mark.parametrize("components", [1, 5, 12, 64])
def test_pca_is_scikit_learns(components: int) -> None:
    fit, fresh = table(0), table(1)
    reference = sklearn.decomposition.PCA(min(components, 12)).fit(fit.astype(np.float64))
    restored = reference.inverse_transform(reference.transform(fresh.astype(np.float64)))
    detector = Detector(PCA(components=components), calibration_fraction=0).fit(fit)
    expected = ((restored - fresh) ** 2).mean(1)
    np.testing.assert_allclose(detector.novelty_score(fresh), expected, rtol=1e-3, atol=1e-8 * (fresh**2).mean())
    drawn = detector.reconstruct(fresh)
    assert drawn is not None
    np.testing.assert_allclose(drawn.reshape(80, 12), restored, atol=1e-4)


def test_pca_clamps_to_what_the_samples_allow() -> None:
    detector = Detector(PCA(components=64), calibration_fraction=0).fit(images(0, 10))
    assert detector.reference_["components"].shape == (9, 3072)
    # Ten samples lie in their own nine-dimensional span.
    assert detector.novelty_score(images(0, 10)).max() < 1e-9
    assert detector.novelty_score(images(1, 10)).min() > 0.1


# ---------------------------------------------------------------------------------------------------------------
# Nearest neighbour


def test_nearest_neighbour_on_images() -> None:
    fit, fresh = images(0), images(1)
    detector = Detector(NearestNeighbour(neighbours=3), calibration_fraction=0).fit(fit)
    a, b = scaled(fresh).reshape(24, -1), scaled(fit).reshape(24, -1)
    expected = np.sort(np.sqrt(((a[:, None] - b[None]) ** 2).sum(2)), 1)[:, :3].mean(1)
    np.testing.assert_allclose(detector.novelty_score(fresh), expected, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------
# Auto-encoder


def test_auto_encoder_scores_by_loop() -> None:
    detector = Detector(AutoEncoder(width=4, latent_dim=4), ONE_EPOCH, calibration_fraction=0).fit(images(0))
    fresh = images(1, 5)
    drawn = detector.reconstruct(fresh)
    assert drawn is not None
    scores = detector.novelty_scores(fresh)
    for number in range(5):
        squares, absolutes = [], []
        for channel in range(3):
            for row in range(32):
                for column in range(32):
                    error = (
                        float(drawn[number, channel, row, column]) - int(fresh[number, row, column, channel])
                    ) / 127.5
                    squares.append(error**2)
                    absolutes.append(abs(error))
        assert scores["mse"][number] == pytest.approx(sum(squares) / len(squares), rel=1e-5)
        assert scores["l1"][number] == pytest.approx(sum(absolutes) / len(absolutes), rel=1e-5)


def test_auto_encoder_learns_what_its_loss_says() -> None:
    detector = Detector(
        AutoEncoder(width=8, latent_dim=8),
        dataclasses.replace(ONE_EPOCH, epochs=12, learning_rate=5e-3),
        calibration_fraction=0,
    )
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    fit = np.random.default_rng(0).uniform(0.2, 1, (64, 1, 1, 1)) * ramp[None, :, None, None].repeat(32, 2)
    detector.fit(fit.astype(np.uint8))
    errors = [epoch.terms["squared error"] for epoch in detector.history_]
    assert errors[-1] < 0.3 * errors[0]


# ---------------------------------------------------------------------------------------------------------------
# RotNet


@pytest.mark.parametrize("score", ["logit", "log_probability"])
def test_rotnet_score_by_loop(score: str) -> None:
    method = RotNet(width=4, score=score)  # type: ignore[arg-type]
    detector = Detector(method, ONE_EPOCH, calibration_fraction=0).fit(images(0))
    fresh = images(1, 4)
    expected = []
    for image in scaled(fresh):
        total = 0.0
        for view in (image, image[:, :, ::-1]):
            for turn in range(4):
                turned = np.rot90(view, turn, (1, 2)).copy()
                with torch.inference_mode():
                    logits = detector.model_(torch.from_numpy(turned).float()[None])[0].double().numpy()
                if score == "log_probability":
                    logits = logits - np.log(np.exp(logits).sum())
                total -= logits[turn] / 2  # the mean over the two mirrorings
        expected.append(total)
    np.testing.assert_allclose(detector.novelty_score(fresh), expected, rtol=1e-4, atol=1e-5)


def test_rotnet_learns_turns() -> None:
    """Darkness below makes a turn easy to tell: the loss falls well below that of guessing, and stripes are novel."""
    generator = np.random.default_rng(0)
    sky = np.linspace(255, 30, 32)[:, None, None]

    def skies(count: int) -> np.ndarray:
        made: np.ndarray = (sky * generator.uniform(0.5, 1, (count, 1, 1, 3))).repeat(32, 2).astype(np.uint8)
        return made

    detector = Detector(RotNet(width=4), dataclasses.replace(ONE_EPOCH, epochs=4), calibration_fraction=0)
    detector.fit(skies(64))
    assert detector.history_[-1].terms["rotation"] < 0.5 * np.log(4)
    flat = np.full((8, 32, 32, 3), 128, np.uint8)  # looks the same from every side
    assert detector.novelty_score(skies(8)).max() < detector.novelty_score(flat).min()


def test_remarks_name_the_turns_that_were_not_recognised() -> None:
    class SaysTurnedOnce(torch.nn.Module):
        def forward(self, views: torch.Tensor) -> torch.Tensor:
            return torch.tensor([0.0, 3.0, 1.0, 2.0]).expand(len(views), 4)

    (remarks,) = RotNet(width=4).remarks(SaysTurnedOnce(), {}, torch.zeros(1, 3, 32, 32))
    assert remarks == tuple(
        f"The net did not recognise it {turn}: it took that for turned by 90 degrees."
        for turn in ("upright", "turned by 180 degrees", "turned by 270 degrees")
    )
