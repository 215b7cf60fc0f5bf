"""DROCC: the shell, the ascent inside the loss, the rule for the radius, the score, against plain loops."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from novanda.detector import Detector
from novanda.errors import InputError
from novanda.method import Batch
from novanda.methods import DROCC
from novanda.methods.drocc import DROCCNetworks, into_shell
from novanda.samples import Normals, SampleSpec
from novanda.sources import ArraySource
from novanda.training import Training

TRAINING = Training(epochs=2, batch_size=16, device="cpu", precision="32", learning_rate=1e-3)
SMALL = DROCC(width=4, latent_dim=6)
SPEC = SampleSpec("image", 3, 32, 32)


def images(seed: int, count: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def networks(radius: float = 3.0) -> DROCCNetworks:
    torch.manual_seed(0)
    net = DROCCNetworks(SPEC, 6, 4)
    net.radius.fill_(radius)
    with torch.no_grad():
        net(torch.rand(8, 3, 32, 32))  # running statistics that are not the identity
    return net


def scaled(count: int = 5) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1


def logit(net: nn.Module, image: Tensor) -> float:
    with torch.no_grad():
        return float(net.eval()(image[None])[0])


@pytest.mark.parametrize(
    ("length", "shell", "expected"), [(0.5, 2.0, 3.0), (4.0, 2.0, 4.0), (9.0, 2.0, 6.0), (9, 1, 3)]
)
def test_offsets_are_put_into_the_shell(length: float, shell: float, expected: float) -> None:
    direction = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    unit = direction / direction.flatten(1).norm(dim=1)[:, None, None, None]
    found = into_shell(length * unit, torch.tensor(3.0), shell)
    torch.testing.assert_close(found, expected * unit)


def test_an_offset_of_nothing_stays_finite() -> None:
    assert torch.isfinite(into_shell(torch.zeros(1, 1, 2, 2), torch.tensor(1.0), 1.0)).all()


def test_ascent_by_loop() -> None:
    """Sample by sample: noise into the shell, then steps of a set length along the gradient of log(1 + exp f)."""
    net, batch = networks(), scaled()
    method = dataclasses.replace(SMALL, shell=1.5, ascent_steps=3, ascent_step=0.2)
    found = method.hardest(net, batch, torch.Generator().manual_seed(7))
    noise = torch.randn(batch.shape, generator=torch.Generator().manual_seed(7))
    net.eval()
    for image, start, point in zip(batch, noise, found, strict=True):
        offset = start * min(max(float(start.norm()), 3.0), 4.5) / float(start.norm())
        for _ in range(3):
            here = (image + offset).requires_grad_()
            (gradient,) = torch.autograd.grad(torch.log(1 + net(here[None])[0].exp()), here)
            offset = offset + 0.2 * 3.0 * gradient / gradient.norm()
            offset = offset * min(max(float(offset.norm()), 3.0), 4.5) / float(offset.norm())
        torch.testing.assert_close(point, image + offset, rtol=0, atol=1e-4)


def test_ascent_finds_points_that_look_more_normal_than_drawn_ones() -> None:
    net, batch = networks(), scaled(12)
    drawn, found = (
        dataclasses.replace(SMALL, ascent_steps=steps).hardest(net, batch, torch.Generator().manual_seed(1))
        for steps in (0, 10)
    )
    with torch.no_grad():
        assert (net.eval()(found) > net(drawn)).all()


def test_ascent_moves_points_that_the_net_is_sure_to_reject() -> None:
    """A lower logit everywhere changes no direction; the loss's own gradient there is 0 in float32."""

    class Surer(DROCCNetworks):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) - 200

    net = networks()
    surer = Surer(SPEC, SMALL.latent_dim, SMALL.width)
    surer.load_state_dict(net.state_dict())
    found = [SMALL.hardest(each, scaled(), torch.Generator().manual_seed(1)) for each in (net, surer)]
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-3)


def test_ascent_leaves_the_net_as_it_was() -> None:
    net = networks().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    SMALL.hardest(net, scaled(), torch.Generator().manual_seed(0))
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


def test_objective_by_loop() -> None:
    net, batch = networks().train(), scaled()
    method = dataclasses.replace(SMALL, negative_weight=0.7)
    (stage,) = method.stages(net, 1)
    (player,) = stage.players
    step = Batch(batch, torch.arange(5), torch.Generator().manual_seed(2), "image", 0.0)
    twin = networks().train()
    found = method.hardest(twin, batch, torch.Generator().manual_seed(2))
    terms = player.loss(step)
    with torch.no_grad():
        logits = twin(torch.cat([batch, found])).tolist()
    assert terms["normal"].item() == pytest.approx(sum(math.log(1 + math.exp(-f)) for f in logits[:5]) / 5, rel=1e-5)
    expected = 0.7 * sum(-math.log(1 - 1 / (1 + math.exp(-f))) for f in logits[5:]) / 5
    assert terms["found"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("quantile", "samples"), [(0.5, 100), (0.1, 100), (0.9, 7)])
def test_the_radius_by_loop(quantile: float, samples: int) -> None:
    raw = images(0, 30)
    method = dataclasses.replace(SMALL, radius_quantile=quantile, radius_samples=samples)
    found = method.measured_radius(Normals(ArraySource(raw), batch_size=8))
    chosen = raw[np.linspace(0, 29, min(30, samples)).astype(int)] / 127.5 - 1
    nearest = [
        min(math.sqrt(((one - other) ** 2).sum()) for place, other in enumerate(chosen) if place != own)
        for own, one in enumerate(chosen)
    ]
    assert found.item() == pytest.approx(np.quantile(nearest, quantile) / 2, rel=1e-5)


def test_copies_that_leave_no_radius_are_an_error() -> None:
    copies = np.tile(images(0, 2), (10, 1, 1, 1))
    with pytest.raises(InputError, match=r"DROCC.radius_quantile 0.5 .* is 0, .*Remove them"):
        Detector(SMALL, TRAINING, calibration_fraction=0).fit(copies)


def test_scores_by_loop() -> None:
    detector = Detector(SMALL, TRAINING, calibration_fraction=0).fit(images(0))
    fresh = images(1, 6)
    expected = [-logit(detector.model_, torch.from_numpy(i).float() / 127.5 - 1) for i in fresh.transpose(0, 3, 1, 2)]
    np.testing.assert_allclose(detector.novelty_score(fresh), expected, rtol=1e-4, atol=1e-6)


def smooth(seed: int, count: int, speed: float) -> np.ndarray:
    """Sums of four waves of one speed, of random directions and phases: (N, 32, 32, 1) uint8."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:32, 0:32]
    made = []
    for _ in range(count):
        angles, phases = generator.uniform(0, 2 * np.pi, (2, 4))
        waves = np.sin(speed * (np.cos(angles) * rows[..., None] + np.sin(angles) * columns[..., None]) + phases)
        made.append(127 + 60 * waves.sum(-1, keepdims=True) / 2)
    return np.stack(made).astype(np.uint8)


def test_it_learns() -> None:
    training = dataclasses.replace(TRAINING, epochs=8, learning_rate=3e-3)
    method = DROCC(width=8, latent_dim=16, ascent_steps=3)
    detector = Detector(method, training, calibration_fraction=0).fit(smooth(0, 96, 0.2))
    first, last = (sum(detector.history_[place].terms.values()) for place in (0, -1))
    assert last < 0.5 * first
    normal, novel = detector.novelty_score(smooth(1, 20, 0.2)), detector.novelty_score(smooth(2, 20, 1.5))
    assert np.median(normal) < np.min(novel)


@pytest.mark.parametrize(
    ("field", "value"),
    [("radius_quantile", 1.1), ("radius_samples", 1), ("shell", 0.9), ("ascent_step", 0.0), ("negative_weight", 0.0)],
)
def test_bad_settings_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"DROCC.{field} must be .*; got {value}"):
        DROCC(**{field: value})  # type: ignore[arg-type]  # what the test is about


def test_a_rejected_sample_is_remarked_on() -> None:
    class Signs(nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            return batch.mean((1, 2, 3))

    found = DROCC().remarks(Signs(), {}, torch.stack([torch.ones(3, 32, 32), -torch.ones(3, 32, 32)]))
    assert found[0] == ()
    assert found[1] == ("The net takes it for one of the made points near normals that it learned to reject.",)
