"""GPND against its objectives and its density, written out with NumPy, SciPy's distributions and torch's Jacobian."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from adversaries import SPEC, batch, surprise
from scipy import stats

from novanda.detector import Detector
from novanda.errors import InputError
from novanda.methods import GPND
from novanda.methods.gpnd import GPNDNetworks, _log_density, generalised_gaussians, histogram
from novanda.training import Training

TRAINING = Training(epochs=4, batch_size=8, device="cpu", precision="32", learning_rate=2e-3)


def networks(method: GPND) -> GPNDNetworks:
    torch.manual_seed(0)
    net = method.build(SPEC, 8)
    assert isinstance(net, GPNDNetworks)
    return net


def test_the_objectives_by_their_formulas() -> None:
    method = GPND(width=4, latent_dim=4, reconstruction_weight=3.0, latent_weight=0.6)
    net = networks(method).eval()  # the same statistics each time
    (stage,) = method.stages(net, 1)
    discriminators, auto_encoder = stage.players
    images, latents = batch().images, batch().normal(6, 4)
    codes, drawn = net.auto_encoder.encoder(images)[1], net.auto_encoder.decoder(latents)

    terms = {name: term.item() for name, term in discriminators.loss(batch()).items()}
    judge, see = net.latent_discriminator, net.image_discriminator
    np.testing.assert_allclose(
        terms["latent"], surprise(judge(latents), True) + surprise(judge(codes), False), rtol=1e-5
    )
    np.testing.assert_allclose(terms["image"], surprise(see(images), True) + surprise(see(drawn), False), rtol=1e-5)

    terms = {name: term.item() for name, term in auto_encoder.loss(batch()).items()}
    np.testing.assert_allclose(terms["latent"], 0.6 * surprise(judge(codes), True), rtol=1e-5)
    np.testing.assert_allclose(terms["image"], surprise(see(drawn), True), rtol=1e-5)
    pairs = zip(net.auto_encoder(images).detach().numpy(), images.numpy(), strict=True)
    np.testing.assert_allclose(
        terms["squared error"], 3 * np.mean([np.mean((a - b) ** 2) for a, b in pairs]), rtol=1e-5
    )


def test_statistics_are_those_of_normal_images() -> None:
    method = GPND(width=4, latent_dim=4)
    net = networks(method).train()
    (stage,) = method.stages(net, 1)
    for player in stage.players:
        player.loss(batch())
    counted = {b.item() for name, b in net.auto_encoder.named_buffers() if name.endswith("num_batches_tracked")}
    assert counted == {1}


def patterns(count: int) -> np.ndarray:
    """Random mixtures of three patterns, for an auto-encoder whose three codes all have something to say."""
    rows, columns = np.mgrid[0:32, 0:32] / 32
    basis = np.stack([rows, columns, (rows - 0.5) ** 2 + (columns - 0.5) ** 2])
    weights = np.random.default_rng(0).uniform(0, 1, (count, 3))
    images: np.ndarray = (255 * (weights @ basis.reshape(3, -1)).clip(0, 1)).reshape(count, 32, 32, 1).astype(np.uint8)
    return images


def test_scores_are_the_densitys_parts() -> None:
    images = patterns(40)
    training = dataclasses.replace(TRAINING, epochs=20)
    detector = Detector(GPND(width=4, latent_dim=3, residual_share=0.4), training, calibration_fraction=0).fit(images)
    net = detector.model_
    assert isinstance(net, GPNDNetworks)
    fresh = np.concatenate([images[:3], np.full((1, 32, 32, 1), 255, np.uint8)])
    scores = detector.novelty_scores(fresh)

    auto_encoder = net.auto_encoder.double()
    scaled = torch.from_numpy(images.transpose(0, 3, 1, 2) / 127.5 - 1)
    with torch.inference_mode():
        codes = auto_encoder.encoder.to_global(auto_encoder.encoder.to_local(scaled))
        drawn = auto_encoder.decoder(codes)
    codes, residuals = codes.numpy(), np.linalg.norm((drawn - scaled).flatten(1).numpy(), axis=1)
    density, edges = np.histogram(residuals, 30, density=True)
    width = edges[1] - edges[0]
    points = np.linspace(edges[0] - width / 2, edges[-1] + width / 2, 32)
    heights = np.maximum([0, *density, 0], 0.5 / (40 * width))

    for place, image in enumerate(torch.from_numpy(fresh.transpose(0, 3, 1, 2) / 127.5 - 1)):
        with torch.no_grad():
            code = auto_encoder.encoder(image[None])[1].double()
            distance = float(torch.linalg.vector_norm(auto_encoder.decoder(code)[0] - image))
        jacobian = torch.func.jacrev(auto_encoder.decoder)(code).reshape(32 * 32, 3).detach().numpy()
        stretch = np.log(np.linalg.svd(jacobian, compute_uv=False)).sum()
        latent = 0.0
        for axis in range(3):
            centre = codes[:, axis].mean()
            shape, _, scale = stats.gennorm.fit(codes[:, axis], floc=centre)
            if not 0.3 < shape < 8:  # as far as shapes go here
                shape = min(max(shape, 0.3), 8)
                scale = (shape * np.mean(np.abs(codes[:, axis] - centre) ** shape)) ** (1 / shape)
            latent -= stats.gennorm.logpdf(code[0, axis].item(), shape, centre, scale)
        at = np.interp(distance, points, heights)
        residual = 0.4 * ((32 * 32 - 3 - 1) * math.log(distance) - math.log(at))
        np.testing.assert_allclose(scores["latent"][place], latent, rtol=5e-3, atol=5e-3)
        np.testing.assert_allclose(scores["residual"][place], residual, rtol=1e-4)
        found = scores["negative_log_density"][place] - scores["latent"][place] - scores["residual"][place]
        np.testing.assert_allclose(found, stretch, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("shape", [0.8, 1.0, 2.0, 5.0])
def test_generalised_gaussians_are_scipys(shape: float) -> None:
    values = stats.gennorm.rvs(shape, 3.0, 0.02, size=(4000, 2), random_state=np.random.default_rng(0))
    found = generalised_gaussians(values)
    assert found["shape"] == pytest.approx([shape, shape], rel=0.15)
    for column in range(2):
        expected = stats.gennorm.fit(values[:, column], floc=values[:, column].mean())
        np.testing.assert_allclose([found[n][column] for n in ("shape", "location", "scale")], expected, rtol=2e-3)
        mine = found["log_peak"][column] - (abs(0.01) / found["scale"][column]) ** found["shape"][column]
        theirs = stats.gennorm.logpdf(found["location"][column] + 0.01, *expected)
        assert mine == pytest.approx(theirs, rel=1e-2)


@pytest.mark.parametrize("values", [np.zeros((5, 1)), np.array([[1.0], [2.0]]), np.array([[0.0]] * 20 + [[1e4]])])
def test_odd_codes_have_finite_distributions(values: np.ndarray) -> None:
    for part in generalised_gaussians(values).values():
        assert np.isfinite(part.astype(np.float32)).all()
    for part in histogram(values[:, 0]).values():
        assert np.isfinite(part).all()


@pytest.mark.parametrize("steps", [0, 1, 7, 40])
def test_residuals_a_few_float32_steps_apart_have_finite_densities(steps: int) -> None:
    values = np.full(12, 10.0, np.float32)
    for _ in range(steps):
        values[5] = np.nextafter(values[5], np.float32(11))
    reference = {name: torch.from_numpy(part).float() for name, part in histogram(values.astype(float)).items()}
    found = _log_density(reference, torch.from_numpy(values))
    assert torch.isfinite(found).all()
    assert found[0] > _log_density(reference, torch.tensor([10.1]))[0]


def test_far_and_perfect_images_have_finite_scores() -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 1), dtype=np.uint8)
    detector = Detector(GPND(width=4, latent_dim=3), TRAINING, calibration_fraction=0).fit(images)
    far = np.full((2, 32, 32, 1), 1e6, np.float32) * np.array([1, -1]).reshape(2, 1, 1, 1)
    for values in detector.novelty_scores(far).values():
        assert np.isfinite(values).all()
    net = detector.model_
    assert isinstance(net, GPNDNetworks)
    last = net.auto_encoder.decoder.layers[-2]
    assert isinstance(last, torch.nn.ConvTranspose2d)
    for parameter in last.parameters():
        parameter.data.zero_()  # now it draws gray, whatever its code, and its image does not move
    assert np.isfinite(detector.novelty_score(np.full((1, 32, 32, 1), 127.5, np.float32))).all()


def test_it_learns() -> None:
    """Ramps of random brightness: the error falls, and stripes across have a lower density."""
    ramp = np.linspace(0, 255, 32)[None, :, None, None].repeat(32, 2)
    ramps = (np.random.default_rng(0).uniform(0.3, 1, (72, 1, 1, 1)) * ramp).astype(np.uint8)
    training = dataclasses.replace(TRAINING, epochs=12)
    detector = Detector(GPND(width=8, latent_dim=3), training, calibration_fraction=0).fit(ramps[:64])
    errors = [epoch.terms["auto-encoder.squared error"] for epoch in detector.history_]
    assert errors[-1] < 0.5 * errors[0]
    across = ramps[64:].transpose(0, 2, 1, 3)
    assert np.median(detector.novelty_score(ramps[64:])) < np.median(detector.novelty_score(across))


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"GPND.residual_share must be a share in \(0, 1\]; got"):
        GPND(residual_share=share)
