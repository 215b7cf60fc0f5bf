"""AnoGAN against its objectives and distances, written out with NumPy, and its search against a plain loop."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from novanda.cli import main
from novanda.detector import Detector
from novanda.errors import ExportError, InputError
from novanda.export import export
from novanda.method import Batch
from novanda.methods import AnoGAN
from novanda.methods.anogan import AnoGANNetworks
from novanda.samples import SampleSpec
from novanda.training import Training

TRAINING = Training(epochs=4, batch_size=8, device="cpu", precision="32")
SPEC = SampleSpec("image", 1, 32, 32)
SEARCHING = AnoGAN(width=4, latent_dim=4, latents="search", search_steps=12, search_rate=0.1, feature_weight=0.3)


def images(seed: int, count: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 1), dtype=np.uint8)


def scaled(raw: np.ndarray) -> Tensor:
    return torch.from_numpy(raw.transpose(0, 3, 1, 2) / 127.5 - 1).float()


def networks_of(detector: Detector) -> AnoGANNetworks:
    assert isinstance(detector.model_, AnoGANNetworks)
    return detector.model_


def batch(count: int = 6) -> Batch:
    drawn = torch.rand(count, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(drawn, torch.arange(count), torch.Generator().manual_seed(2), "image", 0.0)


def surprise(logits: Tensor, real: bool) -> float:
    """Mean of -log p where real, of -log(1 - p) where not."""
    p = 1 / (1 + np.exp(-logits.detach().double().numpy()))
    return float(np.mean([-np.log(value if real else 1 - value) for value in p.flat]))


@pytest.fixture(scope="module")
def searching() -> Detector:
    """Shared by the tests, which must leave it as it is."""
    return Detector(SEARCHING, TRAINING, calibration_fraction=0).fit(images(0))


def test_the_objectives_by_their_formulas() -> None:
    torch.manual_seed(0)
    method = AnoGAN(width=4, latent_dim=4)
    net = method.build(SPEC, 8).eval()  # the same statistics each time
    assert isinstance(net, AnoGANNetworks)
    gan, encoding = method.stages(net, 4)
    discriminator, generator = gan.players
    (encoder,) = encoding.players
    real, latents = batch().images, batch().normal(6, 4)
    drawn = net.generator(latents)
    (told,) = discriminator.loss(batch()).values()
    expected = surprise(net.discriminator(real), True) + surprise(net.discriminator(drawn), False)
    np.testing.assert_allclose(told.item(), expected, rtol=1e-5)
    (told,) = generator.loss(batch()).values()
    np.testing.assert_allclose(told.item(), surprise(net.discriminator(drawn), True), rtol=1e-5)

    assert net.encoder is not None
    found = net.generator(net.encoder(real)[1])
    terms = {name: term.item() for name, term in encoder.loss(batch()).items()}
    for name, one, other in (
        ("image", found, real),
        ("features", net.discriminator.features(found), net.discriminator.features(real)),
    ):
        pairs = zip(one.detach().double().numpy(), other.detach().double().numpy(), strict=True)
        np.testing.assert_allclose(terms[name], np.mean([np.mean((a - b) ** 2) for a, b in pairs]), rtol=1e-4)


def test_the_encoder_learns_of_a_gan_that_stays_as_it_scores() -> None:
    detector = Detector(AnoGAN(width=4, latent_dim=4, encoding=0.5), TRAINING, calibration_fraction=0)
    kept = [
        {name: value.clone() for name, value in detector.model_.state_dict().items()}
        for _ in detector.fitting(images(0))
    ]
    assert [epoch.stage for epoch in detector.history_] == ["gan", "gan", "train", "train"]

    def moved(first: int, part: str) -> bool:
        names = [name for name in kept[0] if name.startswith(part) and "num_batches" not in name]
        return any(not torch.equal(kept[first][name], kept[first + 1][name]) for name in names)

    assert moved(0, "generator")
    assert moved(0, "discriminator")
    assert not moved(0, "encoder")
    assert not moved(2, "generator"), "statistics included"
    assert not moved(2, "discriminator")
    assert moved(2, "encoder")


@pytest.mark.parametrize(("share", "epochs", "expected"), [(0.25, 8, (6, 2)), (0.01, 5, (4, 1)), (0.9, 1, (1, 1))])
def test_gan_and_encoder_have_an_epoch_at_least(share: float, epochs: int, expected: tuple[int, int]) -> None:
    method = AnoGAN(width=4, latent_dim=4, encoding=share)
    assert tuple(stage.epochs for stage in method.stages(method.build(SPEC, 8), epochs)) == expected
    (alone,) = SEARCHING.stages(SEARCHING.build(SPEC, 8), epochs)
    assert alone.epochs == epochs


def distances(net: AnoGANNetworks, image: Tensor, latent: Tensor, weight: float) -> dict[str, float]:
    with torch.no_grad():
        drawn = net.generator(latent)
        parts = {
            "l1": (drawn, image),
            "feature": (net.discriminator.features(drawn), net.discriminator.features(image)),
        }
    found = {}
    for name, (one, other) in parts.items():
        values = zip(one.double().numpy().flat, other.double().numpy().flat, strict=True)
        found[name] = sum(abs(a - b) for a, b in values) / one.numel()
    return {"anomaly": (1 - weight) * found["l1"] + weight * found["feature"], **found}


def test_scores_with_the_encoder() -> None:
    method = AnoGAN(width=4, latent_dim=4, feature_weight=0.3)
    detector = Detector(method, TRAINING, calibration_fraction=0).fit(images(0))
    net, fresh = networks_of(detector), images(1, 4)
    scores = detector.novelty_scores(fresh)
    assert net.encoder is not None
    for place in range(4):
        image = scaled(fresh[place : place + 1])
        with torch.no_grad():
            latent = net.encoder(image)[1]
        for name, value in distances(net, image, latent, 0.3).items():
            np.testing.assert_allclose(scores[name][place], value, rtol=1e-4)


def search_by_hand(net: AnoGANNetworks, image: Tensor) -> Tensor:
    """Adam written out, on one image, from z = 0."""
    latent, first, second = torch.zeros(1, 4), torch.zeros(1, 4), torch.zeros(1, 4)
    for step in range(1, 13):
        latent.requires_grad_()
        drawn = net.generator(latent)
        pixels = (drawn - image).abs().mean()
        features = (net.discriminator.features(drawn) - net.discriminator.features(image)).abs().mean()
        (gradient,) = torch.autograd.grad(0.7 * pixels + 0.3 * features, latent)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        move = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        latent = (latent - 0.1 * move).detach()
    return latent


def test_the_search_is_adam_from_zero_on_each_image_alone(searching: Detector) -> None:
    net, fresh = networks_of(searching), images(1, 4)
    assert net.encoder is None
    scores, latents = searching.novelty_scores(fresh), searching.embed(fresh)
    assert latents is not None
    for place in range(4):
        image = scaled(fresh[place : place + 1])
        latent = search_by_hand(net, image)
        np.testing.assert_allclose(latents[place], latent[0].numpy(), rtol=0, atol=1e-2)
        found, start = (distances(net, image, at, 0.3) for at in (latent, torch.zeros(1, 4)))
        assert found["anomaly"] < start["anomaly"]
        for name, value in found.items():
            np.testing.assert_allclose(scores[name][place], value, rtol=1e-3)
    again = np.concatenate([searching.novelty_score(fresh[place : place + 1]) for place in range(4)])
    np.testing.assert_allclose(again, scores["anomaly"], rtol=1e-3)


def test_searching_changes_nothing_and_survives_a_file(searching: Detector, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in searching.model_.state_dict().items()}
    for parameter in searching.model_.parameters():
        parameter.grad = None  # of the training's last step
    expected = searching.novelty_score(images(1, 3))
    assert all(torch.equal(value, before[name]) for name, value in searching.model_.state_dict().items())
    assert all(parameter.grad is None for parameter in searching.model_.parameters())
    searching.save(tmp_path / "a.novanda")
    loaded = Detector.load(tmp_path / "a.novanda", device="cpu")
    np.testing.assert_array_equal(loaded.novelty_score(images(1, 3)), expected)
    assert loaded.reconstruct(images(1, 2)).shape == (2, 1, 32, 32)  # type: ignore[union-attr]  # it draws


def test_the_search_says_that_it_can_not_be_exported(
    searching: Detector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError, match=r'anogan can not be exported to ONNX: .* Fit it with latents="encoder"'):
        export(searching, tmp_path / "a.onnx")
    searching.save(tmp_path / "a.novanda")
    assert main(["export", str(tmp_path / "a.novanda"), "--out", str(tmp_path / "a.onnx")]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert "along gradients" in told[0]
    assert not (tmp_path / "a.onnx").exists()


def test_it_learns() -> None:
    """Ramps of random brightness: what the encoder finds comes nearer, and ramps are nearer than stripes across."""
    ramp = np.linspace(0, 255, 32)[None, :, None, None].repeat(32, 2)
    ramps = (np.random.default_rng(0).uniform(0.3, 1, (72, 1, 1, 1)) * ramp).astype(np.uint8)
    training = dataclasses.replace(TRAINING, epochs=20, learning_rate=2e-3)
    method = AnoGAN(width=8, latent_dim=4, encoding=0.5)
    detector = Detector(method, training, calibration_fraction=0).fit(ramps[:64])
    errors = [epoch.terms["image"] for epoch in detector.history_ if epoch.stage == "train"]
    assert errors[-1] < 0.7 * errors[0]
    across = ramps[64:].transpose(0, 2, 1, 3)
    assert np.median(detector.novelty_score(ramps[64:])) < np.median(detector.novelty_score(across))


@pytest.mark.parametrize(
    ("field", "value"), [("encoding", 0.0), ("encoding", 1.0), ("feature_weight", 1.5), ("search_rate", 0.0)]
)
def test_shares_and_rates_have_bounds(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"AnoGAN.{field} must be .*; got {value}"):
        AnoGAN(**{field: value})


@pytest.mark.parametrize("steps", [0, 10_001])
def test_a_search_has_a_bound(steps: int) -> None:
    with pytest.raises(InputError, match=r"AnoGAN.search_steps must be 1 to 10000; got"):
        AnoGAN(search_steps=steps)
