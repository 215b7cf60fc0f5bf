"""CSI: the contrast and both parts of the score against plain loops; its views against kornia's and NumPy's pieces."""

from __future__ import annotations

import dataclasses
import math
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from novanda import losses
from novanda.detector import Detector
from novanda.errors import InputError
from novanda.method import Batch
from novanda.methods import CSI
from novanda.methods.csi import CSINetworks
from novanda.samples import Normals
from novanda.sources import ArraySource
from novanda.training import Training

TRAINING = Training(epochs=1, batch_size=16, device="cpu", precision="32")
SMALL = CSI(width=4, projection_dim=6)


def images(seed: int, count: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(sum(one * other) / math.sqrt(sum(one**2)) / math.sqrt(sum(other**2)))


def contrast_by_loop(first: np.ndarray, second: np.ndarray, temperature: float) -> float:
    views = [*first, *second]
    total = 0.0
    for own, view in enumerate(views):
        partner = (own + len(first)) % len(views)
        others = sum(math.exp(cosine(view, v) / temperature) for place, v in enumerate(views) if place != own)
        total -= math.log(math.exp(cosine(view, views[partner]) / temperature) / others)
    return total / len(views)


@pytest.mark.parametrize("temperature", [0.5, 0.1])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_contrast_by_loop(count: int, temperature: float) -> None:
    first, second = np.random.default_rng(count).normal(size=(2, count, 4))
    found = losses.contrastive_loss(torch.from_numpy(first), torch.from_numpy(second), temperature)
    assert found.item() == pytest.approx(contrast_by_loop(first, second, temperature), abs=1e-9)


def seen(detector: Detector, image: np.ndarray, turns: int) -> tuple[np.ndarray, np.ndarray]:
    """z and the turns' logits of one scaled image (C, H, H), turned by NumPy."""
    turned = torch.from_numpy(np.rot90(image, turns, (1, 2)).copy()).float()[None]
    with torch.inference_mode():
        z, logits = detector.model_(turned)
    return z[0].double().numpy(), logits[0].double().numpy()


def test_scores_by_loop() -> None:
    detector = Detector(SMALL, TRAINING, calibration_fraction=0).fit(images(0))
    with torch.no_grad():  # a trained net is sure of training samples; this one must have means above zero as well
        cast(CSINetworks, detector.model_).body.head.bias.add_(1)
    scaled = images(0).transpose(0, 3, 1, 2) / 127.5 - 1
    reference = detector.method_.reference(detector.model_, Normals(ArraySource(images(0)), batch_size=10))
    detector.reference_.update(reference)
    known = [[seen(detector, image, turns) for image in scaled] for turns in range(4)]
    fresh = images(1, 3)
    found = detector.novelty_scores(fresh)
    assert list(found) == ["csi", "contrast", "shift"]
    for number, image in enumerate(fresh.transpose(0, 3, 1, 2) / 127.5 - 1):
        contrast: float = 0.0
        shift: float = 0.0
        for turns in range(4):
            z, logits = seen(detector, image, turns)
            own = [max(cosine(k, other) for other, _ in known[turns]) * np.linalg.norm(k) for k, _ in known[turns]]
            closest = max(cosine(z, other) for other, _ in known[turns])
            contrast -= float(len(own) / sum(own) * closest * np.linalg.norm(z))
            shift -= len(own) / sum(values[turns] for _, values in known[turns]) * logits[turns]
        assert found["contrast"][number] == pytest.approx(contrast, rel=1e-4)
        assert found["shift"][number] == pytest.approx(shift, rel=1e-4)
        assert found["csi"][number] == pytest.approx(contrast + shift, rel=1e-4)


def test_training_samples_have_the_mean_contrast_of_minus_four() -> None:
    """Each turn's part is divided by its mean over training samples, which are their own nearest."""
    normals = images(0)
    detector = Detector(SMALL, TRAINING, calibration_fraction=0).fit(normals)
    assert detector.novelty_scores(normals)["contrast"].mean() == pytest.approx(-4, rel=1e-4)


def test_the_bank_is_of_evenly_spaced_normals() -> None:
    method = dataclasses.replace(SMALL, bank_samples=5)
    detector = Detector(method, TRAINING, calibration_fraction=0).fit(images(0))
    assert detector.reference_["bank"].shape == (4, 5, 6)
    z = detector.embed(images(0)[np.linspace(0, 23, 5).astype(int)])
    assert z is not None
    directions = z / np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(detector.reference_["bank"][0].numpy(), directions, rtol=0, atol=1e-5)


def test_a_turn_that_is_not_known_on_normals_counts_nothing() -> None:
    class Unsure(nn.Module):
        def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
            return batch.flatten(1)[:, :5] + 1, -torch.ones(len(batch), 4)

    reference = SMALL.reference(Unsure(), Normals(ArraySource(images(0))))
    assert reference["shift_weights"].tolist() == [0.0] * 4


def test_without_the_turns_in_the_objective_the_contrast_is_the_score() -> None:
    method, model = dataclasses.replace(SMALL, shift_weight=0.0), _Pixels()
    reference = method.reference(model, Normals(ArraySource(images(0))))
    found = method.novelty(model, reference, torch.rand(4, 3, 32, 32) * 2 - 1)
    torch.testing.assert_close(found["csi"], found["contrast"])


class _Pixels(nn.Module):
    """Projections and logits that differ much from view to view, as those of a net that has learned do."""

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        return batch[:, :, ::16, ::16].flatten(1), 3 * batch[:, 0, 5, ::8]


def test_objective_by_loop() -> None:
    model = _Pixels()
    method = dataclasses.replace(SMALL, shift_weight=0.3, temperature=0.2)
    batch = torch.rand(6, 3, 32, 32) * 2 - 1
    (stage,) = method.stages(model, 1)
    step = Batch(batch, torch.arange(6), torch.Generator().manual_seed(3), "image", 0.0)
    with torch.no_grad():
        terms = stage.players[0].loss(step)
        again = dataclasses.replace(step, generator=torch.Generator().manual_seed(3))
        views = [method.turned_views(again) for _ in range(2)]
        (first, logits), (second, others) = (model(lot) for lot in views)
    assert not torch.equal(*views)
    expected = contrast_by_loop(first.double().numpy(), second.double().numpy(), 0.2)
    assert terms["contrast"].item() == pytest.approx(expected, rel=1e-4)
    surprise = 0.0
    for lot in (logits, others):
        for place, row in enumerate(lot.double().numpy()):
            surprise -= (row[place // 6] - math.log(sum(np.exp(row)))) / 48
    assert terms["shift"].item() == pytest.approx(0.3 * surprise, rel=1e-4)


def test_views_are_mirrored_before_they_are_turned_and_recoloured_one_by_one() -> None:
    """With whole crops a gray image is only mirrored, turned and made brighter or darker."""
    method = dataclasses.replace(SMALL, crop_scale=(1.0, 1.0))
    slope = torch.linspace(-0.2, 0.2, 32)
    image = (slope[:, None] + 0.5 * slope[None, :]).expand(1, 1, 32, 32)
    batch = Batch(image.repeat(40, 1, 1, 1), torch.arange(40), torch.Generator().manual_seed(0), "image", 0.0)
    views = method.turned_views(batch).view(4, 40, 32, 32).numpy()
    mirrored = [0, 0]
    for place in range(40):
        # Crops of ratios other than 1 enlarge a little; the direction of the slope tells mirroring and turn.
        falls = []
        for turn in range(4):
            upright = np.rot90(views[turn, place], -turn, (0, 1))
            assert upright[-4:].mean() > upright[:4].mean(), "turned back it darkens upwards again"
            falls.append(bool(upright[:, :4].mean() > upright[:, -4:].mean()))
        assert len(set(falls)) == 1, "all turns of one image are mirrored alike"
        mirrored[falls[0]] += 1
    assert min(mirrored) > 8
    spreads = np.ptp(views, axis=(2, 3))
    assert len(np.unique(spreads.round(4))) > 80, "each copy has colours of its own"


def test_it_learns() -> None:
    """Scenes with an upright and a place of their own; images of noise resemble none."""

    def scenes(seed: int, count: int) -> np.ndarray:
        generator = np.random.default_rng(seed)
        slope = np.linspace(200, 40, 32)[:, None, None]
        made = np.tile(slope, (count, 1, 32, 3)) * generator.uniform(0.6, 1, (count, 1, 1, 3))
        for scene, left in zip(made, generator.integers(2, 22, count), strict=True):
            scene[20:28, left : left + 8] = generator.uniform(150, 250, 3)
        result: np.ndarray = made.astype(np.uint8)
        return result

    training = dataclasses.replace(TRAINING, epochs=8, learning_rate=5e-3)
    detector = Detector(CSI(width=4, projection_dim=16), training, calibration_fraction=0).fit(scenes(0, 64))
    first, last = detector.history_[0].terms, detector.history_[-1].terms
    assert last["contrast"] < first["contrast"] - 0.3
    assert last["shift"] < 0.7 * math.log(4)
    normal, novel = detector.novelty_scores(scenes(1, 16)), detector.novelty_scores(images(2, 16))
    for name, scores in normal.items():
        assert np.median(scores) < np.median(novel[name]), name


@pytest.mark.parametrize(
    ("field", "value"),
    [("temperature", 0.0), ("projection_dim", 0), ("crop_scale", (0.0, 1.0)), ("crop_scale", (0.5, 0.4))],
)
def test_bad_settings_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"CSI.{field} must be .*; got "):
        CSI(**{field: value})  # type: ignore[arg-type]  # what the test is about
