"""The variational auto-encoder against the definition of its bound."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from novanda.detector import Detector
from novanda.method import Batch
from novanda.methods import VAE
from novanda.methods.vae import VAENetworks
from novanda.samples import SampleSpec
from novanda.training import Training

TRAINING = Training(epochs=1, batch_size=16, device="cpu", precision="32")


def images(seed: int, count: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_scores_are_the_bound_and_its_parts() -> None:
    detector = Detector(VAE(width=4, latent_dim=4), TRAINING, calibration_fraction=0).fit(images(0))
    fresh = images(1, 5)
    scores = detector.novelty_scores(fresh)
    net = detector.model_
    assert isinstance(net, VAENetworks)
    scaled = torch.from_numpy(fresh.transpose(0, 3, 1, 2) / 127.5 - 1).float()
    with torch.inference_mode():
        mean, log_variance = net.encode(scaled)
        posterior = Normal(mean.double(), (0.5 * log_variance.double()).exp())
        divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1).numpy()
        drawn = net.decoder(mean).double()
        pixels = Normal(drawn, net.log_deviation.double().exp())
        density = pixels.log_prob(scaled.double())  # type: ignore[no-untyped-call]  # torch's
        density = density.flatten(1).sum(1).numpy()
    values = 3 * 32 * 32
    bound = (-density + divergence) / values - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(scores["negative_elbo"], bound, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores["divergence"], divergence / values, rtol=1e-4, atol=1e-7)
    squares = np.square(drawn.numpy() - scaled.numpy()).reshape(5, -1).mean(1)
    np.testing.assert_allclose(scores["mse"], squares, rtol=1e-4)
    assert next(iter(scores)) == "negative_elbo"


def test_training_samples_codes_from_the_posterior() -> None:
    torch.manual_seed(0)
    method = VAE(width=4, latent_dim=4)
    net = method.build(SampleSpec("image", 3, 32, 32), 8)
    assert isinstance(net, VAENetworks)
    (stage,) = method.stages(net, 1)
    (player,) = stage.players
    batch = torch.rand(8, 3, 32, 32) * 2 - 1

    def terms(seed: int) -> dict[str, float]:
        net.eval()  # the same statistics each time
        made = player.loss(Batch(batch, torch.arange(8), torch.Generator().manual_seed(seed), "image", 0.0))
        return {name: term.item() for name, term in made.items()}

    assert terms(0) == terms(0)
    assert terms(0)["surprise"] != terms(1)["surprise"]
    assert terms(0)["divergence"] == terms(1)["divergence"], "the divergence is in closed form"


def test_it_learns() -> None:
    """Ramps of random brightness: the bound falls, and noise is far outside."""
    ramp = np.linspace(0, 255, 32)[None, :, None, None].repeat(32, 2)
    ramps = (np.random.default_rng(0).uniform(0.2, 1, (72, 1, 1, 1)) * ramp).astype(np.uint8)
    training = dataclasses.replace(TRAINING, epochs=12, learning_rate=5e-3)
    detector = Detector(VAE(width=8, latent_dim=4), training, calibration_fraction=0).fit(ramps[:64])
    surprise = [epoch.terms["surprise"] for epoch in detector.history_]
    assert surprise[-1] < surprise[0] - 0.2
    noise = images(2, 8)[..., :1]
    assert detector.novelty_score(ramps[64:]).max() < detector.novelty_score(noise).min()


def test_the_deviation_is_learned_and_not_decayed() -> None:
    method = VAE(width=4, latent_dim=4)
    net = method.build(SampleSpec("image", 1, 32, 32), 8)
    assert isinstance(net, VAENetworks)
    (stage,) = method.stages(net, 1)
    assert stage.players[0].undecayed == [net.log_deviation]
    detector = Detector(method, TRAINING, calibration_fraction=0).fit(images(0)[..., :1])
    fitted = detector.model_
    assert isinstance(fitted, VAENetworks)
    assert fitted.log_deviation.item() != pytest.approx(0.0, abs=1e-6)
