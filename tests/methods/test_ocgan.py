"""OCGAN against its objectives, written out with NumPy, and its mining against finite differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from adversaries import SPEC, batch, surprise
from torch import Tensor

from novanda.detector import Detector
from novanda.methods import OCGAN
from novanda.methods.ocgan import OCGANNetworks
from novanda.training import Training

TRAINING = Training(epochs=1, batch_size=16, device="cpu", precision="32")


def networks(method: OCGAN) -> OCGANNetworks:
    torch.manual_seed(0)
    net = method.build(SPEC, 8)
    assert isinstance(net, OCGANNetworks)
    return net


def test_the_objectives_by_their_formulas() -> None:
    method = OCGAN(width=4, latent_dim=4, noise=0.3, reconstruction_weight=7.0, mining_steps=2, mining_rate=0.5)
    net = networks(method).eval()  # the same statistics each time
    (stage,) = method.stages(net, 1)
    classifier, discriminators, auto_encoder = stage.players
    images = batch().images

    drawn = batch()
    uniform, latents = drawn.uniform(6, 4), net.encode(images + 0.3 * drawn.normal(6, 1, 32, 32))
    assert latents.abs().max() < 1
    expected = surprise(net.classifier(net.decoder(latents)), True) + surprise(
        net.classifier(net.decoder(uniform)), False
    )
    np.testing.assert_allclose(classifier.loss(batch())["encoded or uniform"].item(), expected, rtol=1e-5)

    other = drawn.uniform(6, 4)
    terms = discriminators.loss(batch())
    latent = surprise(net.latent_discriminator(other), True) + surprise(net.latent_discriminator(latents), False)
    visual = surprise(net.visual_discriminator(images), True)
    visual += surprise(net.visual_discriminator(net.decoder(uniform)), False)
    np.testing.assert_allclose(terms["latent"].item(), latent, rtol=1e-5)
    np.testing.assert_allclose(terms["visual"].item(), visual, rtol=1e-5)

    drawn = batch()
    latents = net.encode(images + 0.3 * drawn.normal(6, 1, 32, 32))
    mined = method.mined(net, drawn.uniform(6, 4))
    terms = auto_encoder.loss(batch())
    np.testing.assert_allclose(terms["latent"].item(), surprise(net.latent_discriminator(latents), True), rtol=1e-5)
    np.testing.assert_allclose(
        terms["visual"].item(), surprise(net.visual_discriminator(net.decoder(mined)), True), rtol=1e-5
    )
    errors = [np.mean((a - b) ** 2) for a, b in zip(net.decoder(latents).detach().numpy(), images.numpy(), strict=True)]
    np.testing.assert_allclose(terms["squared error"].item(), 7.0 * np.mean(errors), rtol=1e-5)


def test_mining_climbs_each_latents_own_loss() -> None:
    """One step by finite differences of -log C(G(u)), in float64; and the walls of the box."""
    method = OCGAN(width=4, latent_dim=3, mining_steps=1, mining_rate=0.7)
    net = networks(method).double().eval()
    for parameter in net.decoder.parameters():
        parameter.data *= 6  # away from the flat start, where nothing moves
    start = torch.tensor([[0.1, -0.4, 0.3], [0.9, 0.2, -0.7]], dtype=torch.float64)

    def loss(latent: np.ndarray) -> float:
        return surprise(net.classifier(net.decoder(torch.from_numpy(latent)[None])), True)

    expected = start.numpy().copy()
    for latent in expected:
        slope = np.zeros(3)
        for place in range(3):
            step = 1e-6 * np.eye(3)[place]
            slope[place] = (loss(latent + step) - loss(latent - step)) / 2e-6
        latent += 0.7 * slope
    found = method.mined(net, start)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert not torch.equal(found, start)
    assert not found.requires_grad
    for place in range(2):
        assert loss(found[place].numpy()) > loss(start[place].numpy())
    np.testing.assert_allclose(method.mined(net, start[1:]).numpy(), expected[1:], rtol=1e-5)  # whatever its company
    far = dataclasses.replace(method, mining_rate=1e9).mined(net, start)
    assert set(far.abs().flatten().tolist()) == {1.0}
    assert torch.equal(dataclasses.replace(method, mining_steps=0).mined(net, start), start)


def test_what_is_judged_leaves_the_statistics_of_scoring_alone() -> None:
    method = OCGAN(width=4, latent_dim=4)
    net = networks(method).train()
    (stage,) = method.stages(net, 1)
    classifier, discriminators, auto_encoder = stage.players

    def statistics() -> dict[str, Tensor]:
        parts = {"encoder": net.encoder, "decoder": net.decoder}
        return {f"{name}.{each}": b.clone() for name, part in parts.items() for each, b in part.named_buffers()}

    before = statistics()
    classifier.loss(batch())
    discriminators.loss(batch())
    assert all(torch.equal(value, before[name]) for name, value in statistics().items())
    auto_encoder.loss(batch())
    counted = {value.item() for name, value in statistics().items() if name.endswith("num_batches_tracked")}
    assert counted == {1}, "one pass on the images, none of the mining's"


def test_without_mining_there_is_no_classifier_to_train() -> None:
    method = OCGAN(width=4, latent_dim=4, mining_steps=0)
    (stage,) = method.stages(networks(method), 1)
    assert [player.name for player in stage.players] == ["discriminators", "auto-encoder"]


def test_scores_are_mean_squared_errors() -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 1), dtype=np.uint8)
    detector = Detector(OCGAN(width=4, latent_dim=4), TRAINING, calibration_fraction=0).fit(images)
    net = detector.model_
    assert isinstance(net, OCGANNetworks)
    scores = detector.novelty_score(images[:4])
    for place in range(4):
        sample = torch.from_numpy(images[place : place + 1].transpose(0, 3, 1, 2) / 127.5 - 1).float()
        with torch.inference_mode():
            drawn = net.decoder(torch.tanh(net.encoder(sample)[1]))[0, 0].double().numpy()
        error = sum((a - b) ** 2 for a, b in zip(drawn.flat, sample.double().numpy().flat, strict=True)) / 1024
        np.testing.assert_allclose(scores[place], error, rtol=1e-4)


def test_it_learns() -> None:
    """Ramps of random brightness: the error falls, and stripes across are drawn as ramps."""
    ramp = np.linspace(0, 255, 32)[None, :, None, None].repeat(32, 2)
    ramps = (np.random.default_rng(0).uniform(0.3, 1, (72, 1, 1, 1)) * ramp).astype(np.uint8)
    training = dataclasses.replace(TRAINING, epochs=15, learning_rate=1e-3)
    method = OCGAN(width=8, latent_dim=4, mining_steps=2)
    detector = Detector(method, training, calibration_fraction=0).fit(ramps[:64])
    errors = [epoch.terms["auto-encoder.squared error"] for epoch in detector.history_]
    assert errors[-1] < 0.5 * errors[0]
    across = ramps[64:].transpose(0, 2, 1, 3)
    assert np.median(detector.novelty_score(ramps[64:])) < np.median(detector.novelty_score(across))
