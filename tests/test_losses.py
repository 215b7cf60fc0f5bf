"""Every objective against slow NumPy loops written from the paper's equations."""

from __future__ import annotations

import importlib
import itertools
import math
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from novanda import losses
from novanda.errors import InputError
from novanda.losses import InformationEstimator, PyramidWeighting
from novanda.losses.reconstruction import _extend

Array = NDArray[np.float64]
WEIGHTINGS: tuple[PyramidWeighting, ...] = ("sum", "mean", "weighted_mean")
ESTIMATORS: tuple[InformationEstimator, ...] = ("jsd", "infonce", "dv")
# Odd, even, tiny and one-sided: halving 9 x 6 three times ends at 2 x 1.
SHAPES = [(2, 3, 8, 8), (3, 1, 9, 6), (2, 2, 5, 3), (1, 1, 1, 12), (2, 1, 2, 7), (1, 2, 1, 1)]


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------------------------------------------
# The paper, slowly


def _place(position: int, size: int) -> int:
    """Where a pixel beyond the edge is taken from: mirrored without repeating the edge, or the edge if too short."""
    if size <= 2:
        return min(max(position, 0), size - 1)
    if position < 0:
        return -position
    return 2 * (size - 1) - position if position >= size else position


def _blur_by_loops(plane: Array) -> Array:
    height, width = plane.shape
    weights = {(i, j): math.exp(-(i * i + j * j) / 2) for i in range(-2, 3) for j in range(-2, 3)}
    norm = sum(weights.values())
    out = np.zeros_like(plane)
    for row, column in itertools.product(range(height), range(width)):
        for (i, j), weight in weights.items():
            out[row, column] += weight / norm * plane[_place(row + i, height), _place(column + j, width)]
    return out


def _pyramid_by_loops(plane: Array, levels: int) -> list[Array]:
    bands = []
    for _ in range(levels):
        low = _blur_by_loops(plane)
        bands.append(plane - low)
        plane = low[::2, ::2]
    return [*bands, plane]


def _equation_1(reconstruction: Array, images: Array, levels: int, weighting: PyramidWeighting) -> list[float]:
    """sum_j 2^(2j) |Lap^j(x') - Lap^j(x)|_1 for each sample, from two separate pyramids."""
    out = []
    for ours, theirs in zip(reconstruction, images, strict=True):
        pyramids = [[_pyramid_by_loops(plane, levels) for plane in sample] for sample in (ours, theirs)]
        total = 0.0
        for level in range(levels + 1):
            gaps = [
                abs(a - b)
                for first, second in zip(*pyramids, strict=True)
                for a, b in zip(first[level].flat, second[level].flat, strict=True)
            ]
            factor = 1 if weighting == "mean" else 2 ** (2 * level)
            total += factor * sum(gaps) / (1 if weighting == "sum" else len(gaps))
        out.append(total)
    return out


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _equation_3(positive: Array, negatives: Sequence[Array], estimator: InformationEstimator) -> float:
    count = positive.size
    if estimator == "jsd":
        loss = -sum(math.log(_sigmoid(t)) for t in positive.flat) / count
        for negative in negatives:
            loss -= sum(math.log(1 - _sigmoid(t)) for t in negative.flat) / count / len(negatives)
        return loss
    if estimator == "infonce":
        loss = 0.0
        for place, t in enumerate(positive.flat):
            others = sum(math.exp(negative.flat[place]) for negative in negatives)
            loss -= math.log(math.exp(t) / (math.exp(t) + others)) / count
        return loss
    loss = -sum(positive.flat) / count
    if negatives:
        loss += math.log(sum(math.exp(t) for negative in negatives for t in negative.flat) / (count * len(negatives)))
    return loss


# ---------------------------------------------------------------------------------------------------------------
# Eq. 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_laplacian_pyramid(shape: tuple[int, int, int, int], levels: int) -> None:
    images = _random(*shape)
    pyramid = losses.laplacian_pyramid(images, levels)
    assert len(pyramid) == levels + 1
    for level, band in enumerate(pyramid):
        height, width = (math.ceil(side / 2**level) for side in shape[2:])
        assert band.shape == (*shape[:2], height, width)
    for sample, channel in itertools.product(range(shape[0]), range(shape[1])):
        slow = _pyramid_by_loops(images[sample, channel].numpy(), levels)
        for band, expected in zip(pyramid, slow, strict=True):
            np.testing.assert_allclose(band[sample, channel].numpy(), expected, atol=1e-12)


def test_a_flat_image_has_only_a_residual() -> None:
    *bands, residual = losses.laplacian_pyramid(torch.full((1, 1, 16, 16), 0.7, dtype=torch.float64))
    assert all(band.abs().max() < 1e-12 for band in bands)
    torch.testing.assert_close(residual, torch.full_like(residual, 0.7))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_equation_1(shape: tuple[int, int, int, int], weighting: PyramidWeighting) -> None:
    reconstruction, images = _random(*shape, seed=1), _random(*shape, seed=2)
    for levels in (2, 3):
        expected = _equation_1(reconstruction.numpy(), images.numpy(), levels, weighting)
        distance = losses.laplacian_pyramid_distance(reconstruction, images, levels, weighting)
        assert distance.tolist() == pytest.approx(expected, rel=1e-10)
        loss = losses.laplacian_pyramid_loss(reconstruction, images, levels, weighting)
        assert loss.item() == pytest.approx(sum(expected) / len(expected), rel=1e-10)


def test_the_defaults_are_three_levels_and_the_sum() -> None:
    first, second = _random(2, 1, 8, 8), _random(2, 1, 8, 8, seed=1)
    expected = losses.laplacian_pyramid_distance(first, second, 3, "sum")
    torch.testing.assert_close(losses.laplacian_pyramid_distance(first, second), expected)
    torch.testing.assert_close(losses.laplacian_pyramid_loss(first, second), expected.mean())


def test_the_blur_extends_as_reflect_padding_does() -> None:
    images = _random(2, 3, 5, 9)
    ours = _extend(_extend(images, 3), 2)
    assert torch.equal(ours, torch.nn.functional.pad(images, (2, 2, 2, 2), mode="reflect"))


def test_squared_error() -> None:
    first, second = _random(3, 2, 4, 5).numpy(), _random(3, 2, 4, 5, seed=1).numpy()
    expected = sum((a - b) ** 2 for a, b in zip(first.flat, second.flat, strict=True)) / 3
    assert losses.squared_error(torch.from_numpy(first), torch.from_numpy(second)).item() == pytest.approx(expected)


def test_scoring_first_does_not_spoil_training_after() -> None:
    # A blur kernel kept from inference mode could not be saved for the gradient.
    with torch.inference_mode():
        losses.laplacian_pyramid_loss(torch.zeros(1, 7, 4, 4), torch.ones(1, 7, 4, 4))
    images = torch.zeros(1, 7, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(losses.laplacian_pyramid_loss(images, torch.ones(1, 7, 4, 4)), images)
    assert gradient.abs().sum() > 0


# ---------------------------------------------------------------------------------------------------------------
# Eqs. 2-8


def test_equation_2() -> None:
    initial, encoded = _random(4, 3).numpy(), _random(4, 3, seed=1).numpy()
    expected = sum(sum((a - b) ** 2 for a, b in zip(*rows, strict=True)) for rows in zip(initial, encoded, strict=True))
    loss = losses.latent_loss(torch.from_numpy(initial), torch.from_numpy(encoded))
    assert loss.item() == pytest.approx(expected / 4)


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shape", [(5, 1), (3, 1, 2, 4)])
def test_equations_3_4_and_5(shape: tuple[int, ...], estimator: InformationEstimator, count: int) -> None:
    positive = 2 * _random(*shape)
    negatives = [2 * _random(*shape, seed=1 + place) for place in range(count)]
    expected = _equation_3(positive.numpy(), [n.numpy() for n in negatives], estimator)
    assert losses.information_loss(positive, negatives, estimator).item() == pytest.approx(expected, abs=1e-12)
    for function in (losses.global_information_loss, losses.local_information_loss):
        assert function(positive, negatives, 0.3, estimator).item() == pytest.approx(0.3 * expected, abs=1e-12)
        assert function(positive, negatives, estimator=estimator).item() == pytest.approx(0.5 * expected, abs=1e-12)
    assert losses.information_loss(positive, tuple(negatives)).item() == pytest.approx(
        _equation_3(positive.numpy(), [n.numpy() for n in negatives], "jsd")
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equation_3_stays_finite_where_its_logarithms_would_not(estimator: InformationEstimator) -> None:
    positive = torch.tensor([[-200.0], [200.0]], requires_grad=True)
    loss = losses.information_loss(positive, [-positive.detach()], estimator)
    (gradient,) = torch.autograd.grad(loss, positive)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_equation_6_is_the_divergence_from_a_standard_normal() -> None:
    mean, log_variance = _random(6, 4), _random(6, 4, seed=1)
    divergence = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    for gamma in (0.1, 1.0):
        torch.testing.assert_close(
            losses.prior_loss(mean, log_variance, gamma), gamma * divergence.sum(1).mean(), rtol=1e-10, atol=0
        )
    torch.testing.assert_close(losses.prior_loss(mean, log_variance), 0.1 * divergence.sum(1).mean())
    assert losses.prior_loss(torch.zeros(2, 3), torch.zeros(2, 3)).item() == 0.0


def test_equation_6_on_batch_moments() -> None:
    latents = 2 * _random(7, 3) + 1
    total = 0.0
    for column in latents.numpy().T:
        centre = sum(column) / 7
        variance = sum((value - centre) ** 2 for value in column) / 7
        total += 0.5 * (centre**2 + variance - math.log(variance) - 1)
    assert losses.batch_moments_prior_loss(latents, 0.3).item() == pytest.approx(0.3 * total)
    assert losses.batch_moments_prior_loss(latents).item() == pytest.approx(0.1 * total)
    # A dimension that never changes has no logarithm; it counts as a variance of 1e-6.
    constant = losses.batch_moments_prior_loss(torch.zeros(4, 1, dtype=torch.float64), 1.0)
    assert constant.item() == pytest.approx(0.5 * (1e-6 - math.log(1e-6) - 1))


def test_equations_7_and_8() -> None:
    one, two, three = (torch.tensor(value, dtype=torch.float64) for value in (0.3, 0.7, 1.9))
    assert losses.mutual_information_loss(one, two, three).item() == pytest.approx(2.9)
    assert losses.total_loss(one, two, three).item() == pytest.approx(2.9)
    assert losses.total_loss(one, two, three, (2.0, 3.0, 5.0)).item() == pytest.approx(0.6 + 2.1 + 9.5)


# ---------------------------------------------------------------------------------------------------------------
# Other methods


def test_adversarial_losses() -> None:
    real, fake = _random(5, 1).numpy(), _random(4, 1, seed=1).numpy()
    on_real = -sum(math.log(_sigmoid(t)) for t in real.flat) / 5
    on_fake = -sum(math.log(1 - _sigmoid(t)) for t in fake.flat) / 4
    loss = losses.discriminator_loss(torch.from_numpy(real), torch.from_numpy(fake))
    assert loss.item() == pytest.approx(on_real + on_fake)
    fooled = -sum(math.log(_sigmoid(t)) for t in fake.flat) / 4
    assert losses.fooling_loss(torch.from_numpy(fake)).item() == pytest.approx(fooled)


def test_energy_discriminator_loss_by_loop() -> None:
    real, fake = np.array([0.1, 0.4, 0.2]), np.array([0.05, 0.9, 0.31, 0.29])
    expected = sum(real) / 3 + (0.25 + 0.0 + 0.0 + 0.01) / 4
    found = losses.energy_discriminator_loss(torch.from_numpy(real), torch.from_numpy(fake), 0.3)
    assert found.item() == pytest.approx(expected)


def test_gaussian_divergence_is_torchs() -> None:
    mean, log_variance = _random(5, 3), _random(5, 3, seed=1)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(losses.gaussian_divergence(mean, log_variance), expected, atol=1e-12)


def test_gaussian_surprise_is_minus_the_log_density() -> None:
    drawn, images, log_deviation = _random(4, 2, 3, 3), _random(4, 2, 3, 3, seed=1), torch.tensor(-0.7).double()
    constant = 18 / 2 * math.log(2 * math.pi)
    density = Normal(drawn, log_deviation.exp()).log_prob(images)  # type: ignore[no-untyped-call]  # torch's
    expected = -density.flatten(1).sum(1) - constant
    assert torch.allclose(losses.gaussian_surprise(drawn, images, log_deviation), expected, atol=1e-12)


def test_centre_distance_by_loop() -> None:
    features, centre = _random(4, 3), _random(3, seed=1)
    expected = [sum((f - c) ** 2 for f, c in zip(row, centre.tolist(), strict=True)) for row in features.tolist()]
    assert losses.centre_distance(features, centre).tolist() == pytest.approx(expected)
    with pytest.raises(InputError, match="features of a sample and the centre"):
        losses.centre_distance(features, centre[:2])


def test_classification_loss() -> None:
    logits, labels = _random(6, 4).numpy(), [0, 3, 1, 1, 2, 0]
    expected = 0.0
    for row, label in zip(logits, labels, strict=True):
        expected -= math.log(math.exp(row[label]) / sum(math.exp(t) for t in row)) / 6
    loss = losses.classification_loss(torch.from_numpy(logits), torch.tensor(labels))
    assert loss.item() == pytest.approx(expected)


# ---------------------------------------------------------------------------------------------------------------
# Precision and gradients, for all of them

_LABELS = torch.tensor([0, 2, 1])
# Each loss as a function of tensors alone, and the shapes of those.
CASES: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    **{
        f"laplacian_pyramid_distance-{weighting}": (
            lambda a, b, w=weighting: losses.laplacian_pyramid_distance(a, b, 2, w),
            [(2, 2, 5, 4)] * 2,
        )
        for weighting in WEIGHTINGS
    },
    "laplacian_pyramid": (lambda a: torch.cat([b.flatten() for b in losses.laplacian_pyramid(a, 2)]), [(2, 1, 6, 2)]),
    "laplacian_pyramid_loss": (losses.laplacian_pyramid_loss, [(2, 1, 6, 4)] * 2),
    "squared_error": (losses.squared_error, [(3, 1, 2, 2)] * 2),
    "latent_loss": (losses.latent_loss, [(3, 4)] * 2),
    **{
        f"{function.__name__}-{estimator}-{count}": (
            lambda p, *n, f=function, e=estimator: f(p, n, estimator=e),
            [(3, 1, 2, 1)] * (1 + count),
        )
        for function in (losses.information_loss, losses.global_information_loss, losses.local_information_loss)
        for estimator in ESTIMATORS
        for count in (0, 1, 2)
    },
    "gaussian_divergence": (losses.gaussian_divergence, [(3, 2)] * 2),
    "gaussian_surprise": (losses.gaussian_surprise, [(3, 1, 2, 2), (3, 1, 2, 2), ()]),
    "membership_loss": (lambda a: losses.membership_loss(a, True), [(5,)]),
    "membership_loss-novel": (lambda a: losses.membership_loss(a, False), [(5,)]),
    "centre_distance": (losses.centre_distance, [(3, 4), (4,)]),
    "prior_loss": (losses.prior_loss, [(3, 2)] * 2),
    "batch_moments_prior_loss": (losses.batch_moments_prior_loss, [(4, 2)]),
    "discriminator_loss": (losses.discriminator_loss, [(3, 1), (2, 1)]),
    "energy_discriminator_loss": (lambda r, f: losses.energy_discriminator_loss(r, f, 0.3), [(3, 1), (2, 1)]),
    "fooling_loss": (losses.fooling_loss, [(3, 1)]),
    "mutual_information_loss": (losses.mutual_information_loss, [()] * 3),
    "total_loss": (lambda a, b, c: losses.total_loss(a, b, c, (0.3, 0.6, 1.1)), [()] * 3),
    "cluster_joint": (losses.cluster_joint, [(4, 2, 3)] * 2),
    "cluster_information_loss": (losses.cluster_information_loss, [(4, 2, 3)] * 2),
    "pointwise_information": (losses.pointwise_information, [(2, 3, 3)]),
    "binned_surprise": (losses.binned_surprise, [(2, 3, 5), (2, 3)]),
    "contrastive_loss": (losses.contrastive_loss, [(3, 4)] * 2),
    "classification_loss": (lambda a: losses.classification_loss(a, _LABELS), [(3, 4)]),
}


def test_no_objective_is_left_out() -> None:
    public = {
        name
        for part in pkgutil.iter_modules(losses.__path__)
        for name, value in vars(importlib.import_module(f"novanda.losses.{part.name}")).items()
        if part.name != "arithmetic"
        and callable(value)
        and getattr(value, "__module__", "") == f"novanda.losses.{part.name}"
        and not name.startswith("_")
    }
    assert public <= set(losses.__all__), "what the room holds is handed out at its door"
    assert public == {name.split("-")[0] for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_gradients_in_float64(name: str) -> None:
    function, shapes = CASES[name]
    inputs = [_random(*shape, seed=place).requires_grad_() for place, shape in enumerate(shapes)]
    assert function(*inputs).dtype == torch.float64
    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("name", CASES)
def test_half_precision_and_autocast_change_nothing(name: str, dtype: torch.dtype, autocast: bool) -> None:
    function, shapes = CASES[name]
    inputs = [_random(*shape, seed=place).to(dtype) for place, shape in enumerate(shapes)]
    expected = function(*(value.float() for value in inputs))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found = function(*inputs)
    assert found.dtype == expected.dtype == torch.float32
    assert torch.equal(found, expected)


def test_gradients_come_back_in_the_precision_of_the_input() -> None:
    images = torch.zeros(1, 1, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    loss = losses.laplacian_pyramid_loss(images, torch.ones(1, 1, 4, 4, dtype=torch.bfloat16))
    (gradient,) = torch.autograd.grad(loss, images)
    assert loss.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16


# ---------------------------------------------------------------------------------------------------------------
# Bad arguments


@pytest.mark.parametrize("levels", [0, -1])
def test_a_pyramid_needs_a_level(levels: int) -> None:
    with pytest.raises(InputError, match=f"at least 1 level; got {levels}"):
        losses.laplacian_pyramid(torch.zeros(1, 1, 4, 4), levels)
    with pytest.raises(InputError, match=f"at least 1 level; got {levels}"):
        losses.laplacian_pyramid_loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), levels)


@pytest.mark.parametrize("images", [torch.zeros(4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.uint8)])
def test_a_pyramid_needs_images_of_floats(images: Tensor) -> None:
    with pytest.raises(InputError, match=r"needs images \(B, C, H, W\) of floats; got"):
        losses.laplacian_pyramid(images)


def test_unknown_choices_are_named() -> None:
    wrong: Any = "median"
    with pytest.raises(InputError, match="weighting must be 'sum', 'mean' or 'weighted_mean'; got 'median'"):
        losses.laplacian_pyramid_distance(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), weighting=wrong)
    for function in (losses.information_loss, losses.global_information_loss, losses.local_information_loss):
        with pytest.raises(InputError, match="estimator must be 'jsd', 'infonce' or 'dv'; got 'median'"):
            function(torch.zeros(2, 1), [torch.zeros(2, 1)], estimator=wrong)


@pytest.mark.parametrize(
    ("function", "shape", "other"),
    [
        (losses.laplacian_pyramid_distance, (2, 1, 4, 4), (1, 1, 4, 4)),
        (losses.laplacian_pyramid_loss, (2, 3, 4, 4), (2, 1, 4, 4)),
        (losses.squared_error, (2, 3, 4, 4), (3, 4, 4)),
        (losses.latent_loss, (4, 3), (4, 1)),
        (losses.contrastive_loss, (4, 3), (4, 1)),
        (losses.cluster_information_loss, (4, 3), (4, 1)),
        (losses.binned_surprise, (4, 3, 5), (4, 1)),
        (losses.prior_loss, (4, 3), (1, 3)),
        (lambda a, b: losses.information_loss(a, [a, b]), (4, 1), (4, 1, 2, 2)),
        (lambda a, b: losses.information_loss(a, [b], "infonce"), (4, 1), (4,)),
    ],
)
def test_unlike_shapes_do_not_broadcast(
    function: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...], other: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match="must have the same shape; got"):
        function(torch.zeros(shape), torch.zeros(other))


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (4,)])
def test_moments_need_a_batch(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"need latents \(B, d\) with B >= 2; got"):
        losses.batch_moments_prior_loss(torch.zeros(shape))
