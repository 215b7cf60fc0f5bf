"""ALOCC against its two objectives and scores, written out with NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from adversaries import SPEC, batch
from torch import Tensor

from novanda.detector import Detector
from novanda.methods import ALOCC
from novanda.methods.alocc import ALOCCNetworks
from novanda.training import Training

TRAINING = Training(epochs=1, batch_size=16, device="cpu", precision="32")


def networks(method: ALOCC) -> ALOCCNetworks:
    torch.manual_seed(0)
    net = method.build(SPEC, 8)
    assert isinstance(net, ALOCCNetworks)
    return net


def sigmoid(logits: Tensor) -> np.ndarray:
    result: np.ndarray = 1 / (1 + np.exp(-logits.detach().double().numpy()))
    return result


def test_both_objectives_by_their_formulas() -> None:
    method = ALOCC(width=4, latent_dim=4, noise=0.3, reconstruction_weight=0.7)
    net = networks(method).eval()  # the same statistics each time
    (stage,) = method.stages(net, 1)
    discriminator, auto_encoder = stage.players
    noise = 0.3 * torch.randn(6, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    images = batch().images
    refined = net.auto_encoder(images + noise)
    real, fake = sigmoid(net.discriminator(images)), sigmoid(net.discriminator(refined))
    expected = np.mean([-np.log(p) for p in real]) + np.mean([-np.log(1 - p) for p in fake])
    (told,) = discriminator.loss(batch()).values()
    np.testing.assert_allclose(told.item(), expected, rtol=1e-5)
    terms = auto_encoder.loss(batch())
    np.testing.assert_allclose(terms["fooling"].item(), np.mean([-np.log(p) for p in fake]), rtol=1e-5)
    errors = [np.mean((a - b) ** 2) for a, b in zip(refined.detach().numpy(), images.numpy(), strict=True)]
    np.testing.assert_allclose(terms["squared error"].item(), 0.7 * np.mean(errors), rtol=1e-5)


def test_each_player_owns_its_network_and_leaves_the_others_statistics() -> None:
    method = ALOCC(width=4, latent_dim=4)
    net = networks(method).train()
    (stage,) = method.stages(net, 1)
    discriminator, auto_encoder = stage.players
    assert {id(p) for p in discriminator.parameters} == {id(p) for p in net.discriminator.parameters()}
    assert {id(p) for p in auto_encoder.parameters} == {id(p) for p in net.auto_encoder.parameters()}
    for player, moved, still in (
        (discriminator, net.discriminator, net.auto_encoder),
        (auto_encoder, net.auto_encoder, net.discriminator),
    ):
        before = [{name: b.clone() for name, b in part.named_buffers()} for part in (moved, still)]
        player.loss(batch())
        changed = [
            [name for name, b in part.named_buffers() if not torch.equal(b, kept[name])]
            for part, kept in zip((moved, still), before, strict=True)
        ]
        assert any("running_mean" in name for name in changed[0])
        assert not changed[1]


def test_scores_are_minus_the_logits() -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 1), dtype=np.uint8)
    detector = Detector(ALOCC(width=4, latent_dim=4), TRAINING, calibration_fraction=0).fit(images)
    net = detector.model_
    assert isinstance(net, ALOCCNetworks)
    scores = detector.novelty_scores(images[:5])
    assert list(scores) == ["dr", "d"]
    for place in range(5):
        sample = torch.from_numpy(images[place : place + 1].transpose(0, 3, 1, 2) / 127.5 - 1).float()
        with torch.inference_mode():
            plain, refined = net.discriminator(sample).item(), net.discriminator(net.auto_encoder(sample)).item()
        np.testing.assert_allclose([scores["d"][place], scores["dr"][place]], [-plain, -refined], rtol=1e-4, atol=1e-6)


def test_it_learns() -> None:
    """Ramps of random brightness: R's error falls, and D knows stripes across from what it has seen."""
    ramp = np.linspace(0, 255, 32)[None, :, None, None].repeat(32, 2)
    ramps = (np.random.default_rng(0).uniform(0.3, 1, (72, 1, 1, 1)) * ramp).astype(np.uint8)
    training = dataclasses.replace(TRAINING, epochs=15, optimizer="adam", learning_rate=1e-3, momentum=0.5)
    method = ALOCC(width=8, latent_dim=4, score="d", reconstruction_weight=10.0)
    detector = Detector(method, training, calibration_fraction=0).fit(ramps[:64])
    errors = [epoch.terms["auto-encoder.squared error"] for epoch in detector.history_]
    assert errors[-1] < 0.5 * errors[0]
    across = ramps[64:].transpose(0, 2, 1, 3)
    assert np.median(detector.novelty_score(ramps[64:])) < np.median(detector.novelty_score(across))
