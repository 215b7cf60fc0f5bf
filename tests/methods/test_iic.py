"""IIC: the mutual information of clusters, and our score of it, against scikit-learn and plain loops."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import Tensor, nn

from novanda import losses
from novanda.augment import crop_and_recolor, mirror
from novanda.detector import Detector
from novanda.errors import InputError
from novanda.method import Batch
from novanda.methods import IIC
from novanda.methods.iic import IICNetworks
from novanda.samples import Normals, SampleSpec
from novanda.sources import ArraySource
from novanda.training import Training

TRAINING = Training(epochs=1, batch_size=16, device="cpu", precision="32")
SMALL = IIC(width=4, clusters=3, overclusters=5, sub_heads=2)


def images(seed: int, count: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def scaled(raw: np.ndarray) -> Tensor:
    return torch.from_numpy(raw.transpose(0, 3, 1, 2)).float() / 127.5 - 1


class Pixels(nn.Module):
    """As sure, and as much at odds about views, as a net that has learned: some pixels are the logits."""

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        logits = {"clusters": batch[:, :2, 4, ::12], "overclusters": batch[:, :2, 9, ::7]}
        return {name: (2 * values).softmax(2) for name, values in logits.items()}


def posteriors(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1])


def joint_by_loop(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """P of posteriors (B, K) of two views, made symmetric."""
    clusters = first.shape[1]
    joint = np.zeros((clusters, clusters))
    for one, other in zip(first, second, strict=True):
        for c in range(clusters):
            for d in range(clusters):
                joint[c, d] += (one[c] * other[d] + one[d] * other[c]) / 2 / len(first)
    return joint


def logarithms(joint: np.ndarray) -> np.ndarray:
    shares = joint.sum(0)
    return np.array([[math.log(p / (shares[c] * shares[d])) for d, p in enumerate(row)] for c, row in enumerate(joint)])


def information_by_loop(first: np.ndarray, second: np.ndarray) -> float:
    joint = joint_by_loop(first, second)
    return float((joint * logarithms(joint)).sum())


def test_information_by_loop() -> None:
    first, second = posteriors(0, 7, 4), posteriors(1, 7, 4)
    given = torch.from_numpy(first), torch.from_numpy(second)
    np.testing.assert_allclose(losses.cluster_joint(*given), joint_by_loop(first, second), atol=1e-12)
    loss = losses.cluster_information_loss(*given).item()
    assert loss == pytest.approx(-information_by_loop(first, second))


def test_sub_heads_are_averaged() -> None:
    first, second = posteriors(0, 7, 3, 4), posteriors(1, 7, 3, 4)
    loss = losses.cluster_information_loss(torch.from_numpy(first), torch.from_numpy(second)).item()
    assert loss == pytest.approx(-sum(information_by_loop(first[:, s], second[:, s]) for s in range(3)) / 3)


def test_of_sure_answers_it_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 60)
    others = np.where(generator.random(60) < 0.7, labels, generator.integers(0, 4, 60))
    # Made symmetric, the joint is that of the pairs in both orders.
    expected = mutual_info_score(np.r_[labels, others], np.r_[others, labels])
    one_hot = [torch.eye(4, dtype=torch.float64)[torch.from_numpy(given)] for given in (labels, others)]
    assert losses.cluster_information_loss(*one_hot).item() == pytest.approx(-expected, abs=1e-6)


def test_empty_clusters_stay_finite() -> None:
    sure = torch.eye(3)[[0, 0, 1]].requires_grad_()
    loss = losses.cluster_information_loss(sure, sure.detach())
    (gradient,) = torch.autograd.grad(loss, sure)
    assert math.isfinite(loss.item())
    assert torch.isfinite(gradient).all()


def test_empty_clusters_make_nothing_look_normal() -> None:
    """Two clusters in use, two that no training sample is in, at two sizes of what leaks into those."""

    class Answers(nn.Module):
        def __init__(self, leak: float) -> None:
            super().__init__()
            self.leak = leak

        def forward(self, batch: Tensor) -> dict[str, Tensor]:
            first = (batch[:, 0, 0, 0] > 0).float()
            used = torch.stack([first, 1 - first], 1) * (1 - 2 * self.leak)
            answers = torch.cat([used, torch.full_like(used, self.leak)], 1)
            odd = {0.5: torch.full((4,), 0.25), 0.25: torch.eye(4)[2], 0.75: torch.tensor([0.5, 0.0, 0.0, 0.5])}
            for value, answer in odd.items():
                answers[batch[:, 1, 0, 0] == value] = answer
            return {name: answers[:, None] for name in ("clusters", "overclusters")}

    normals = np.zeros((8, 32, 32, 3), np.uint8)
    normals[::2, ..., 0] = 255
    for leak in (0.0, 1e-6):
        model = Answers(leak)
        reference = SMALL.reference(model, Normals(ArraySource(normals)))
        odd = torch.full((3, 3, 32, 32), -1.0)
        odd[:, 1] = torch.tensor([0.5, 0.25, 0.75])[:, None, None]
        most = SMALL.novelty(model, reference, scaled(normals))["information"].max()
        assert (SMALL.novelty(model, reference, odd)["information"] > most).all()


def test_scores_by_loop() -> None:
    model, normals, fresh = Pixels(), images(0), scaled(images(1, 4))
    reference = SMALL.reference(model, Normals(ArraySource(normals), batch_size=10))
    found = SMALL.novelty(model, reference, fresh)
    assert list(found) == ["information", "clusters", "overclusters"]
    both = np.zeros(4)
    for name in ("clusters", "overclusters"):
        known = [model(view)[name].double().numpy() for view in (scaled(normals), scaled(normals[:, :, ::-1].copy()))]
        seen = [model(view)[name].double().numpy() for view in (fresh, fresh.flip(3))]
        expected = np.zeros(4)
        for head in range(2):
            weights = logarithms(joint_by_loop(known[0][:, head], known[1][:, head]))
            for number in range(4):
                expected[number] -= float(seen[0][number, head] @ weights @ seen[1][number, head]) / 2
        np.testing.assert_allclose(found[name].numpy(), expected, rtol=1e-4, atol=1e-6)
        both += expected / 2
    np.testing.assert_allclose(found["information"].numpy(), both, rtol=1e-4, atol=1e-6)


def test_the_mean_score_of_training_samples_is_minus_their_information() -> None:
    model, normals = Pixels(), images(0)
    reference = SMALL.reference(model, Normals(ArraySource(normals)))
    found = SMALL.novelty(model, reference, scaled(normals))
    for name in ("clusters", "overclusters"):
        pair = [model(view)[name].double().numpy() for view in (scaled(normals), scaled(normals).flip(3))]
        expected = sum(information_by_loop(pair[0][:, head], pair[1][:, head]) for head in range(2)) / 2
        assert expected > 0.001, "far above rounding"
        assert found[name].mean().item() == pytest.approx(-expected, rel=1e-3)


def test_posteriors_are_of_each_sub_head() -> None:
    torch.manual_seed(0)
    model = SMALL.build(SampleSpec("image", 3, 32, 32), 6).eval()
    assert isinstance(model, IICNetworks)
    with torch.no_grad():
        logits, answers = model.body(scaled(images(0, 4))), model(scaled(images(0, 4)))
    assert logits.shape == (4, 2 * 3 + 2 * 5)
    assert {name: tuple(each.shape) for name, each in answers.items()} == {
        "clusters": (4, 2, 3),
        "overclusters": (4, 2, 5),
    }
    torch.testing.assert_close(answers["clusters"][:, 1], logits[:, 3:6].softmax(1))
    torch.testing.assert_close(answers["overclusters"][:, 0], logits[:, 6:11].softmax(1))


def test_objective_by_loop() -> None:
    model, batch = Pixels(), scaled(images(0, 6))
    (stage,) = SMALL.stages(model, 1)
    step = Batch(batch, torch.arange(6), torch.Generator().manual_seed(3), "image", 0.0)
    with torch.no_grad():
        terms = stage.players[0].loss(step)
        generator = torch.Generator().manual_seed(3)
        views = mirror(batch, torch.rand(6, generator=generator) < 0.5)
        views = crop_and_recolor(views, generator, SMALL.crop_scale)
        first, second = model(batch), model(views)
    for name in ("clusters", "overclusters"):
        pairs = [(first[name][:, head].double().numpy(), second[name][:, head].double().numpy()) for head in range(2)]
        expected = -sum(information_by_loop(*pair) for pair in pairs) / 2
        assert terms[name].item() == pytest.approx(expected, rel=1e-3)


def test_it_learns() -> None:
    """Three makes of scenes: clusters tell them, views agree; noise gets unsure answers."""

    def scenes(seed: int, count: int) -> np.ndarray:
        generator = np.random.default_rng(seed)
        rows, columns = np.mgrid[0:32, 0:32]
        patterns = np.stack([np.sin(rows / 2), np.sin(columns / 2), np.sin(rows / 2) * np.sin(columns / 2)])
        made = 127 + patterns[generator.integers(0, 3, count)][..., None] * generator.uniform(60, 120, (count, 1, 1, 3))
        result: np.ndarray = made.astype(np.uint8)
        return result

    training = dataclasses.replace(TRAINING, epochs=10, batch_size=32, learning_rate=1e-2)
    method = IIC(width=4, clusters=3, overclusters=6, sub_heads=2, crop_scale=(0.6, 1.0))
    detector = Detector(method, training, calibration_fraction=0).fit(scenes(0, 96))
    assert detector.history_[-1].terms["clusters"] < -0.5 * math.log(3)
    normal, novel = detector.novelty_score(scenes(1, 20)), detector.novelty_score(images(2, 20))
    assert np.median(normal) < np.median(novel)


@pytest.mark.parametrize(
    ("field", "value"), [("clusters", 1), ("overclusters", 1), ("sub_heads", 0), ("crop_scale", (0.5, 1.5))]
)
def test_bad_settings_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"IIC.{field} must be .*; got "):
        IIC(**{field: value})  # type: ignore[arg-type]  # what the test is about


def test_clusterings_that_a_mirroring_changes_are_remarked_on() -> None:
    class Sides(nn.Module):
        """Three clusterings: one by brightness, two by whether the left half is the brighter one."""

        def forward(self, batch: Tensor) -> dict[str, Tensor]:
            whole = batch.mean((1, 2, 3))
            side = batch[..., :16].mean((1, 2, 3)) - batch[..., 16:].mean((1, 2, 3))
            return {"clusters": torch.stack([torch.stack([v, -v], 1) for v in (whole, side, side)], 1)}

    even = torch.ones(3, 32, 32)
    lopsided = torch.linspace(0, 1, 32).expand(3, 32, 32)
    found = IIC(sub_heads=3).remarks(Sides(), {}, torch.stack([even, lopsided]))
    assert found[0] == ()
    assert found[1] == ("Of the net's clusterings, 2 of 3 put it and its mirror image into different clusters.",)
