"""Our reading of DualGAN against its objectives, written out with NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from adversaries import SPEC, batch
from torch import Tensor

from novanda.detector import Detector
from novanda.methods import DualGAN
from novanda.methods.auto_encoder import AutoEncoderNetworks
from novanda.methods.dual_gan import DualGANNetworks
from novanda.training import Training

TRAINING = Training(epochs=1, batch_size=16, device="cpu", precision="32")


def networks(method: DualGAN) -> DualGANNetworks:
    torch.manual_seed(0)
    net = method.build(SPEC, 8)
    assert isinstance(net, DualGANNetworks)
    return net


def errors(net: AutoEncoderNetworks, images: Tensor) -> list[float]:
    drawn = net(images).detach().double().numpy()
    return [float(np.mean((a - b) ** 2)) for a, b in zip(drawn, images.detach().double().numpy(), strict=True)]


def test_the_objectives_by_their_formulas() -> None:
    net = networks(DualGAN(width=4, latent_dim=4)).eval()  # the same statistics each time
    for part in (net.drawing.encoder, net.global_estimator, net.local_estimator):
        for parameter in part.parameters():
            parameter.data *= 5  # away from the start, where all images look alike
    images = batch().images
    energies = errors(net.judging, net.drawing(images))
    margin = float(np.median(energies))  # some fakes are beyond it, some within
    method = DualGAN(width=4, latent_dim=4, margin=margin, adversarial_weight=0.3, information_weight=0.7)
    (stage,) = method.stages(net, 1)
    judging, drawing = stage.players
    hinges = [max(0.0, margin - energy) for energy in energies]
    assert 0 < hinges.count(0.0) < 6
    (told,) = judging.loss(batch()).values()
    np.testing.assert_allclose(told.item(), np.mean(errors(net.judging, images)) + np.mean(hinges), rtol=1e-5)

    terms = {name: term.item() for name, term in drawing.loss(batch()).items()}
    np.testing.assert_allclose(terms["squared error"], np.mean(errors(net.drawing, images)), rtol=1e-5)
    np.testing.assert_allclose(terms["judged"], 0.3 * np.mean(energies), rtol=1e-5)
    local, code = net.drawing.encoder(images)
    for name, estimator in (("global", net.global_estimator), ("local", net.local_estimator)):
        positive, negative = [], []
        for place in range(6):
            own, other = local[place : place + 1], local[place - 1 : place or None]
            positive.append(estimator(own, code[place : place + 1]).detach().double().numpy())
            negative.append(estimator(other, code[place : place + 1]).detach().double().numpy())
        bound = np.mean(np.log(1 + np.exp(-np.array(positive)))) + np.mean(np.log(1 + np.exp(np.array(negative))))
        np.testing.assert_allclose(terms[name], 0.7 * bound, rtol=1e-5)


def test_a_weight_of_zero_removes_its_term() -> None:
    for changed, names in (
        ({"adversarial_weight": 0.0}, {"squared error", "global", "local"}),
        ({"information_weight": 0.0}, {"squared error", "judged"}),
    ):
        method = DualGAN(width=4, latent_dim=4, **changed)  # type: ignore[arg-type]  # fields are of several types
        (stage,) = method.stages(networks(method), 1)
        assert set(stage.players[1].loss(batch())) == names


def test_statistics_are_those_of_real_images() -> None:
    method = DualGAN(width=4, latent_dim=4)
    net = networks(method).train()
    (stage,) = method.stages(net, 1)
    for player in stage.players:
        player.loss(batch())
    counted = {name: buffer.item() for name, buffer in net.named_buffers() if name.endswith("num_batches_tracked")}
    assert len(counted) > 4
    assert set(counted.values()) == {1}


def test_scores_are_mean_squared_errors() -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 1), dtype=np.uint8)
    detector = Detector(DualGAN(width=4, latent_dim=4), TRAINING, calibration_fraction=0).fit(images)
    net = detector.model_
    assert isinstance(net, DualGANNetworks)
    scores = detector.novelty_scores(images[:4])
    scaled = torch.from_numpy(images[:4].transpose(0, 3, 1, 2) / 127.5 - 1).float()
    np.testing.assert_allclose(scores["mse"], errors(net.drawing, scaled), rtol=1e-4)
    np.testing.assert_allclose(scores["judging_mse"], errors(net.judging, scaled), rtol=1e-4)


def test_it_learns() -> None:
    """Ramps of random brightness: A's error falls, and stripes across it draws as ramps."""
    ramp = np.linspace(0, 255, 32)[None, :, None, None].repeat(32, 2)
    ramps = (np.random.default_rng(0).uniform(0.3, 1, (72, 1, 1, 1)) * ramp).astype(np.uint8)
    training = dataclasses.replace(TRAINING, epochs=15, learning_rate=2e-3)
    detector = Detector(DualGAN(width=8, latent_dim=4), training, calibration_fraction=0).fit(ramps[:64])
    first, last = (detector.history_[place].terms["drawing.squared error"] for place in (0, -1))
    assert last < 0.5 * first
    across = ramps[64:].transpose(0, 2, 1, 3)
    scores, others = detector.novelty_scores(ramps[64:]), detector.novelty_scores(across)
    assert np.median(scores["mse"]) < np.median(others["mse"])
    assert np.median(scores["judging_mse"]) < np.median(others["judging_mse"])
