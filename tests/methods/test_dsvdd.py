"""Deep SVDD: two stages in the one loop, the centre between them, and no way to collapse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from novanda.detector import Detector
from novanda.errors import InputError
from novanda.methods import DSVDD
from novanda.methods.dsvdd import DSVDDNetworks, centre_of
from novanda.training import Training

TRAINING = Training(epochs=4, batch_size=16, device="cpu", precision="32", learning_rate=1e-3)


def images(seed: int, count: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def networks(detector: Detector) -> DSVDDNetworks:
    assert isinstance(detector.model_, DSVDDNetworks)
    return detector.model_


def test_the_centre_keeps_away_from_zero() -> None:
    features = torch.tensor([[0.3, 0.05, -0.02, 0.0, -0.4], [0.1, 0.05, -0.04, 0.0, -0.6]])
    assert torch.allclose(centre_of(features), torch.tensor([0.2, 0.1, -0.1, 0.1, -0.5]))


def test_the_centre_is_the_mean_output_of_the_pretrained_encoder() -> None:
    detector = Detector(DSVDD(width=4, latent_dim=6), TRAINING, calibration_fraction=0)
    normals = images(0)
    seen = []
    for epoch in detector.fitting(normals):
        if epoch.stage == "pretrain":
            assert not networks(detector).centre.any(), "there is no centre before the pretraining ends"
            outputs = detector.embed(normals)
        else:
            seen.append(networks(detector).centre.clone())
    assert outputs is not None
    mean = outputs.mean(0)
    expected = np.where(np.abs(mean) < 0.1, np.where(mean < 0, -0.1, 0.1), mean)
    np.testing.assert_allclose(seen[0].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(seen[0], seen[-1]), "fixed from then on"


@pytest.mark.parametrize(("share", "epochs", "expected"), [(0.7, 10, (7, 3)), (0.0, 3, (0, 3)), (0.9, 2, (1, 1))])
def test_epochs_are_shared_by_the_stages(share: float, epochs: int, expected: tuple[int, int]) -> None:
    method = DSVDD(width=4, latent_dim=4, pretraining=share)
    training = dataclasses.replace(TRAINING, epochs=epochs)
    detector = Detector(method, training, calibration_fraction=0).fit(images(0))
    stages = [epoch.stage for epoch in detector.history_]
    assert (stages.count("pretrain"), stages.count("train")) == expected
    assert networks(detector).centre.abs().min() >= 0.1


def test_pretraining_teaches_the_decoder_and_the_hypersphere_only_the_encoder() -> None:
    detector = Detector(DSVDD(width=4, latent_dim=4), TRAINING, calibration_fraction=0)
    decoders: list[torch.Tensor] = []
    encoders: list[torch.Tensor] = []
    for _ in detector.fitting(images(0)):
        net = networks(detector)
        for kept, part in ((decoders, net.decoder), (encoders, net.encoder)):
            kept.append(torch.cat([p.detach().flatten().clone() for p in part.parameters()]))
    assert not torch.equal(decoders[0], decoders[1])
    assert torch.equal(decoders[2], decoders[3]), "epochs 1 to 3 are pretraining, 4 is the hypersphere"
    assert not torch.equal(encoders[2], encoders[3])


def test_nothing_in_the_encoder_can_map_all_inputs_to_one_point() -> None:
    detector = Detector(DSVDD(width=4, latent_dim=4), TRAINING, calibration_fraction=0).fit(images(0))
    for part in networks(detector).encoder.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            assert part.bias is None
        if isinstance(part, nn.BatchNorm2d):
            assert not part.affine


def test_scores_by_loop() -> None:
    detector = Detector(DSVDD(width=4, latent_dim=5), TRAINING, calibration_fraction=0).fit(images(0))
    fresh = images(1, 6)
    net = networks(detector)
    expected = []
    for image in fresh.transpose(0, 3, 1, 2).astype(np.float64) / 127.5 - 1:
        centred = image - image.mean()
        contrast = torch.from_numpy(centred / np.abs(centred).mean()).float()
        with torch.inference_mode():
            features = net.encoder(contrast[None])[0].double().numpy()
        expected.append(sum((f - c) ** 2 for f, c in zip(features, net.centre.numpy(), strict=True)))
    np.testing.assert_allclose(detector.novelty_score(fresh), expected, rtol=1e-4)


def test_blank_images_are_scored() -> None:
    detector = Detector(DSVDD(width=4, latent_dim=5), TRAINING, calibration_fraction=0).fit(images(0))
    assert np.isfinite(detector.novelty_score(np.full((2, 32, 32, 3), 90, np.uint8))).all()


def test_it_learns() -> None:
    rows, columns = np.mgrid[0:32, 0:32]
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, 72)
    waves = np.stack([127 + 100 * np.sin(rows / 3 + phase) for phase in phases])[..., None].astype(np.uint8)
    across = np.stack([127 + 100 * np.sin(columns + phase) for phase in phases[:8]])[..., None].astype(np.uint8)
    training = dataclasses.replace(TRAINING, epochs=20)
    detector = Detector(DSVDD(width=4, latent_dim=8), training, calibration_fraction=0).fit(waves[:64])
    distances = [epoch.terms["distance"] for epoch in detector.history_ if epoch.stage == "train"]
    assert distances[-1] < 0.8 * distances[0]
    assert np.median(detector.novelty_score(waves[64:])) < np.median(detector.novelty_score(across))


def test_a_share_of_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"DSVDD.pretraining must be a share in \[0, 1\); got 1.0"):
        DSVDD(pretraining=1.0)
