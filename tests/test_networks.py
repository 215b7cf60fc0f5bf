"""Shapes, stated sizes, starts, and that no sample's output depends on its company."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from novanda.errors import InputError
from novanda.networks import (
    DCGAN_SIDES,
    AutoregressiveEstimator,
    DCGANDecoder,
    DCGANDiscriminator,
    DCGANEncoder,
    GlobalEstimator,
    LeNet,
    LocalEstimator,
    PlaceNet,
    PriorEstimator,
    ResidualNet,
    WideResNet,
    as_when_scoring,
    channels_last,
    dense,
    image_and_jacobian,
    log_volume,
    still_statistics,
)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _linear_sizes(module: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in module.modules() if isinstance(m, nn.Linear)]


def _weights(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# ---------------------------------------------------------------------------------------------------------------
# DCGAN


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("side", DCGAN_SIDES)
def test_dcgan_goes_from_images_to_latents_and_back(side: int, channels: int) -> None:
    torch.manual_seed(0)
    encoder, decoder = DCGANEncoder(channels, side, 10, width=4), DCGANDecoder(channels, side, 10, width=4)
    images = _random(3, channels, side, side)
    local, latent = encoder(images)
    assert latent.shape == (3, 10)
    assert local.shape == (3, encoder.local_channels, 8, 8)
    assert torch.equal(local, encoder.local(images))
    restored = decoder(latent)
    assert restored.shape == images.shape
    assert restored.abs().max() <= 1
    assert torch.isfinite(restored).all()


def test_the_local_map_is_taken_after_the_second_convolution() -> None:
    encoder = DCGANEncoder(3, 32, 128)
    convolutions = [m for m in encoder.to_local.modules() if isinstance(m, nn.Conv2d)]
    assert [c.stride for c in convolutions] == [(2, 2), (2, 2)]
    assert encoder.local_channels == 128 == convolutions[-1].out_channels
    assert encoder.local(_random(2, 3, 32, 32)).shape == (2, 128, 8, 8)


@pytest.mark.parametrize(("side", "local_side", "channels"), [(32, 16, 4), (32, 4, 16), (64, 8, 16), (128, 8, 32)])
def test_the_local_map_can_be_taken_elsewhere(side: int, local_side: int, channels: int) -> None:
    torch.manual_seed(0)
    encoder = DCGANEncoder(1, side, 10, width=4, local_side=local_side)
    assert encoder.local_channels == channels
    local, latent = encoder(_random(2, 1, side, side))
    assert local.shape == (2, channels, local_side, local_side)
    assert latent.shape == (2, 10)


def test_where_the_local_map_is_taken_does_not_change_the_network() -> None:
    images = _random(4, 3, 32, 32)
    latents = []
    for local_side in (16, 8, 4):
        torch.manual_seed(0)
        latents.append(DCGANEncoder(3, 32, 10, width=4, local_side=local_side)(images)[1])
    assert torch.equal(latents[0], latents[1])
    assert torch.equal(latents[0], latents[2])


@pytest.mark.parametrize("side", [0, 8, 28, 33, 512])
def test_a_side_that_does_not_halve_to_four_is_refused(side: int) -> None:
    for network in (DCGANEncoder, DCGANDecoder):
        with pytest.raises(InputError, match=f"got {side}. Resize"):
            network(3, side, 10)


def test_a_local_side_that_is_nowhere_is_refused() -> None:
    with pytest.raises(InputError, match=r"local_side must be one of \[16, 8, 4\] for images of 32 pixels; got 32"):
        DCGANEncoder(3, 32, 10, local_side=32)
    with pytest.raises(InputError, match="got 7"):
        DCGANEncoder(3, 32, 10, local_side=7)


def test_dcgan_starts_as_published() -> None:
    torch.manual_seed(0)
    for network in (DCGANEncoder(3, 32, 128), DCGANDecoder(3, 32, 128)):
        gains = []
        for part in network.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                # 5 standard errors of a mean and of a deviation, whatever the number of weights.
                error = 5 * 0.02 / part.weight.numel() ** 0.5
                assert abs(part.weight.mean().item()) < error
                assert part.weight.std().item() == pytest.approx(0.02, abs=error)
            elif isinstance(part, nn.BatchNorm2d):
                gains.append(part.weight.detach())
                assert not part.bias.any()
        together = torch.cat(gains)
        assert together.mean().item() == pytest.approx(1, abs=5 * 0.02 / len(together) ** 0.5)
        assert together.std().item() == pytest.approx(0.02, abs=5 * 0.02 / len(together) ** 0.5)


def test_batch_norm_is_left_out_where_dcgan_leaves_it_out() -> None:
    encoder, decoder = DCGANEncoder(3, 32, 128), DCGANDecoder(3, 32, 128)

    def order(network: nn.Module) -> list[str]:
        return [type(m).__name__ for m in network.modules() if not list(m.children())]

    middle = ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert order(encoder) == ["Conv2d", "LeakyReLU", *middle, *middle, "Conv2d", "Flatten"]
    up = ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    assert order(decoder) == ["Unflatten", *up, *up, *up, "ConvTranspose2d", "Tanh"]
    assert [m.negative_slope for m in encoder.modules() if isinstance(m, nn.LeakyReLU)] == [0.2] * 3


# ---------------------------------------------------------------------------------------------------------------
# Estimators


def test_estimators_have_the_stated_widths() -> None:
    assert _linear_sizes(GlobalEstimator(128, 64).critic) == [(128, 512), (512, 512), (512, 1)]
    assert _linear_sizes(GlobalEstimator(128, 64).downscale) == [(128, 64)]
    assert _linear_sizes(GlobalEstimator(128, 64, use_latent=False).critic) == [(64, 512), (512, 512), (512, 1)]
    assert _linear_sizes(LocalEstimator(128, 64)) == [(128, 512), (64, 512), (512, 512), (512, 1)]
    assert _linear_sizes(LocalEstimator(128, 64, use_latent=False)) == [(128, 512), (512, 512), (512, 1)]
    assert _linear_sizes(PriorEstimator(64)) == [(64, 1000), (1000, 200), (200, 128)]


def test_dense_has_relu_between_layers_only() -> None:
    assert [type(m) for m in dense(3, (4, 5), 2)] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [type(m) for m in dense(3, (), 2)] == [nn.Linear]


@pytest.mark.parametrize("use_latent", [True, False])
def test_the_local_estimator_is_a_1x1_convolutional_network_on_the_concatenation(use_latent: bool) -> None:
    torch.manual_seed(1)
    estimator = LocalEstimator(6, 5, use_latent)
    first = nn.Conv2d(11 if use_latent else 6, 512, 1)
    oracle = nn.Sequential(first, nn.ReLU(), nn.Conv2d(512, 512, 1), nn.ReLU(), nn.Conv2d(512, 1, 1))
    weight = estimator.of_local.weight
    if estimator.of_latent is not None:
        weight = torch.cat([weight, estimator.of_latent.weight], 1)
    with torch.no_grad():
        first.weight.copy_(weight[:, :, None, None])
        first.bias.copy_(estimator.of_local.bias)  # type: ignore[union-attr]
        for place in (2, 4):
            ours, theirs = (
                cast(nn.Linear, estimator.critic[1 if place == 2 else 3]),
                cast(nn.Conv2d, oracle[place]),
            )
            theirs.weight.copy_(ours.weight[:, :, None, None])
            theirs.bias.copy_(ours.bias)  # type: ignore[union-attr]
    local, latent = _random(3, 6, 4, 7), _random(3, 5, seed=1)
    replicated = latent[:, :, None, None].expand(3, 5, 4, 7)
    found, expected = (
        estimator(local, latent),
        oracle(torch.cat([local, replicated], 1) if use_latent else local),
    )
    assert found.shape == (3, 1, 4, 7)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)  # sums of 512 products in another order
    assert _weights(estimator) == _weights(oracle)


@pytest.mark.parametrize("make", [GlobalEstimator, LocalEstimator])
def test_an_estimator_without_z_ignores_it(make: type[GlobalEstimator | LocalEstimator]) -> None:
    torch.manual_seed(0)
    local = _random(2, 6, 4, 4)
    one, other = _random(2, 5, seed=1), _random(2, 5, seed=2)
    blind, seeing = make(6, 5, False), make(6, 5)
    assert torch.equal(blind(local, one), blind(local, other))
    assert (seeing(local, one) != seeing(local, other)).all()
    assert (blind(local, one) != blind(-local, one)).all()


def test_the_global_estimator_averages_places_then_maps() -> None:
    torch.manual_seed(0)
    estimator = GlobalEstimator(6, 5)
    local, latent = _random(3, 6, 4, 4), _random(3, 5, seed=1)
    shuffled = local.flatten(2)[:, :, torch.randperm(16)].view(3, 6, 4, 4)
    found = estimator(local, latent)
    assert found.shape == (3, 1)
    torch.testing.assert_close(estimator(shuffled, latent), found)
    expected = estimator.critic(torch.cat([estimator.downscale(local.mean((2, 3))), latent], 1))
    torch.testing.assert_close(found, expected)


def test_the_prior_estimator_gives_mean_then_log_variance() -> None:
    torch.manual_seed(0)
    estimator = PriorEstimator(5)
    latent = _random(3, 5)
    mean, log_variance = estimator(latent)
    assert torch.equal(torch.cat([mean, log_variance], 1), estimator.layers(latent))
    assert mean.shape == log_variance.shape == (3, 5)


# ---------------------------------------------------------------------------------------------------------------
# ResidualNet


def test_the_residual_net_has_the_stated_size() -> None:
    assert _weights(ResidualNet(3, 4)) == pytest.approx(0.76e6, rel=0.01)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("side", [16, 32, 64, 128])
def test_the_residual_net_takes_any_side(side: int, channels: int) -> None:
    network = ResidualNet(channels, 4, width=2).eval()
    images = _random(2, channels, side, side)
    assert network.feature_dim == 16
    assert network.features(images).shape == (2, 16)
    assert network(images).shape == (2, 4)
    assert torch.equal(network(images), network.head(network.features(images)))


def test_the_residual_blocks_are_residual() -> None:
    network = ResidualNet(3, 4, width=2).eval()
    images = _random(2, 3, 16, 16)
    with torch.no_grad():
        for block in (network.block_1, network.block_2):
            for parameter in block.parameters():
                parameter.zero_()
        expected = network.top(network.middle(network.stem(images)))
    assert torch.equal(network.features(images), expected)


def test_a_place_net_answers_from_the_places_around() -> None:
    network = PlaceNet(3, 5, width=2).eval()
    images = _random(2, 3, 32, 48)
    with torch.no_grad():
        half, quarter = network.lower_levels(images)
        assert (half.shape, quarter.shape) == ((2, 4, 16, 24), (2, 8, 8, 12))
        found = network(images)
    assert found.shape == (2, 5, 8, 12)
    padded = np.pad(quarter.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    around = padded[1, :, 3:6, 11:14].mean((1, 2))
    weights, offset = network.head.weight.detach().numpy()[:, :, 0, 0], network.head.bias
    assert offset is not None
    np.testing.assert_allclose(found[1, :, 3, 11], weights @ around + offset.detach().numpy(), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------
# LeNet, autoregression


@pytest.mark.parametrize("side", [32, 64])
def test_lenet_has_the_published_layers_and_no_offsets(side: int) -> None:
    """Ruff et al. 2018: 5 x 5 convolutions of 32, 64, 128 channels, each pooled, then 128 features; no bias at all."""
    net = LeNet(3, side, 128)
    shapes = [tuple(p.shape) for p in net.parameters()]
    assert shapes == [(32, 3, 5, 5), (64, 32, 5, 5), (128, 64, 5, 5), (128, 128 * (side // 8) ** 2)]
    assert net(_random(2, 3, side, side)).shape == (2, 128)


def test_a_density_sees_what_comes_before_and_nothing_else() -> None:
    torch.manual_seed(0)
    estimator = AutoregressiveEstimator(6, 4, 3, hidden_layers=2)
    codes = _random(1, 6)
    before = estimator(codes)
    assert before.shape == (1, 6, 4)
    for place in range(6):
        changed = codes.clone()
        changed[0, place] += 1
        moved = (estimator(changed) != before).any(2)[0].tolist()
        assert moved == [False] * (place + 1) + [True] * (5 - place)


# ---------------------------------------------------------------------------------------------------------------
# All of them

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "encoder": (lambda: DCGANEncoder(3, 32, 16, width=8), ((3, 32, 32),)),
    "decoder": (lambda: DCGANDecoder(3, 32, 16, width=8), ((16,),)),
    "global": (lambda: GlobalEstimator(8, 5), ((8, 8, 8), (5,))),
    "local": (lambda: LocalEstimator(8, 5), ((8, 8, 8), (5,))),
    "prior": (lambda: PriorEstimator(16), ((16,),)),
    "autoregressive": (lambda: AutoregressiveEstimator(5, 7, 3), ((5,),)),
    "lenet": (lambda: LeNet(3, 32, 6, width=4), ((3, 32, 32),)),
    "residual": (lambda: ResidualNet(3, 4, width=8), ((3, 32, 32),)),
}


def _outputs(network: nn.Module, *inputs: Tensor) -> Tensor:
    out = network(*inputs)
    return torch.cat([part.flatten(1) for part in (out if isinstance(out, tuple) else (out,))], 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_in_eval_mode_a_sample_does_not_depend_on_its_company(name: str) -> None:
    make, shapes = NETWORKS[name]
    torch.manual_seed(0)
    network = channels_last(make())
    inputs = [_random(33, *shape, seed=i) for i, shape in enumerate(shapes)]
    network.train()
    with torch.no_grad():
        for _ in range(3):  # running statistics that are not the identity
            network(*[3 * part + 1 for part in inputs])
        network.eval()
        together = _outputs(network, *inputs)
        alone = torch.cat([_outputs(network, *[part[i : i + 1] for part in inputs]) for i in range(33)])
        strange = _outputs(network, *[torch.cat([part[:5], 1000 * part[5:]]) for part in inputs])[:5]
    # Other batch sizes may add up in another order; an output is off by rounding of a few sums in float32, no more.
    tolerance = 1e-5 * together.abs().max().item()
    assert (together - alone).abs().max() <= tolerance
    assert (together[:5] - strange).abs().max() <= tolerance
    assert together.std() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_changes_the_layout_alone(name: str) -> None:
    make, shapes = NETWORKS[name]
    torch.manual_seed(0)
    network = make().eval()
    inputs = [_random(2, *shape, seed=i) for i, shape in enumerate(shapes)]
    before = _outputs(network, *inputs)
    assert channels_last(network) is network
    weights = [p for p in network.parameters() if p.dim() == 4]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
    assert bool(weights) == (name in ("encoder", "decoder", "lenet", "residual"))
    torch.testing.assert_close(_outputs(network, *inputs), before, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_learned_and_starts_from_the_global_seed(name: str) -> None:
    make, shapes = NETWORKS[name]
    torch.manual_seed(0)
    network = make()
    torch.manual_seed(0)
    twin = make()
    for own, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(own, other)
    found = _outputs(network, *[_random(4, *shape, seed=i) for i, shape in enumerate(shapes)])
    torch.autograd.backward(found.square().sum())
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize(("depth", "widening", "millions"), [(10, 4, 1.2), (16, 4, 2.75), (28, 10, 36.5)])
def test_wide_residual_nets_have_the_published_sizes(depth: int, widening: int, millions: float) -> None:
    """WRN-16-4 and WRN-28-10: 2.75 and 36.5 million weights in their paper; WRN-10-4: 1.2 million."""
    with torch.device("meta"):
        net = WideResNet(3, 10, depth, widening)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, rel=0.02)


def test_wide_residual_net_halves_twice_and_averages() -> None:
    net = WideResNet(3, 7, widening=1, width=4).eval()
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert net.body(images).shape == (2, 16, 4, 4)
    features = net.features(images)
    assert features.shape == (2, 16)
    assert torch.allclose(net(images), features @ net.head.weight.T + net.head.bias, atol=1e-6)
    assert (features >= 0).all()


def test_wide_residual_net_of_an_odd_depth_is_refused() -> None:
    with pytest.raises(InputError, match="6 n \\+ 4; got 12"):
        WideResNet(3, 10, 12)


@pytest.mark.parametrize("side", DCGAN_SIDES)
def test_a_discriminator_has_one_logit_and_a_last_map(side: int) -> None:
    torch.manual_seed(0)
    discriminator = DCGANDiscriminator(2, side, width=4).eval()
    images = _random(3, 2, side, side)
    features = discriminator.features(images)
    assert features.shape[2:] == (4, 4)
    assert discriminator(images).shape == (3, 1)
    (last,) = (m for m in discriminator.layers.to_global if isinstance(m, nn.Conv2d))
    torch.testing.assert_close(discriminator(images), last(features)[:, :, 0, 0])


# ---------------------------------------------------------------------------------------------------------------
# Modes for a while


def _normalising() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5)))


def _states(module: nn.Module) -> list[tuple[bool, bool | None]]:
    return [(m.training, getattr(m, "track_running_stats", None)) for m in module.modules()]


def test_still_statistics_use_the_batchs_and_keep_the_running_ones() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2)
    net, images = nn.Sequential(nn.Conv2d(1, 2, 3), norm), _random(6, 1, 8, 8)
    expected = net(images)
    before, states = {name: b.clone() for name, b in net.named_buffers()}, _states(net)
    with still_statistics(net):
        found = net(images)
    assert torch.equal(found, expected)
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
    assert _states(net) == states
    net(images)
    assert not torch.equal(cast(Tensor, norm.running_mean), before["1.running_mean"]), "and move again afterwards"


@pytest.mark.parametrize("mode", [still_statistics, as_when_scoring])
def test_modes_come_back_as_they_were_whatever_happens(mode: Callable[..., AbstractContextManager[None]]) -> None:
    net, other = _normalising(), _normalising()
    net[2].eval()
    cast(nn.BatchNorm2d, net[1]).track_running_stats = False
    states = _states(net), _states(other)
    with pytest.raises(ZeroDivisionError), mode(net, other), mode(net):
        raise ZeroDivisionError
    assert (_states(net), _states(other)) == states


def test_as_when_scoring_is_eval_mode_inside() -> None:
    net, images = _normalising(), _random(6, 1, 8, 8)
    expected = net.eval()(images)
    net.train()
    with as_when_scoring(net):
        assert torch.equal(net(images), expected)
    assert all(module.training for module in net.modules())


# ---------------------------------------------------------------------------------------------------------------
# Tangents


@pytest.mark.parametrize("affine", [True, False])
def test_the_jacobian_is_torchs(affine: bool) -> None:
    torch.manual_seed(0)
    decoder = DCGANDecoder(2, 16, 3, width=4)
    layers = nn.Sequential(*decoder.layers)
    if not affine:
        layers[2] = nn.BatchNorm2d(layers[2].num_features, affine=False)  # type: ignore[arg-type]  # a batch norm's
    layers.double().train()
    for _ in range(3):
        layers(3 * torch.randn(8, 3, dtype=torch.float64))  # statistics of their own
    layers.eval()
    latents = torch.randn(5, 3, dtype=torch.float64)
    images, found = image_and_jacobian(layers, latents)
    torch.testing.assert_close(images, layers(latents))
    for place in range(5):
        expected = torch.func.jacrev(layers)(latents[place : place + 1])  # (1, C, H, W, 1, 3)
        torch.testing.assert_close(found[place], expected.reshape(-1, 3).T)


def test_a_layer_without_a_derivative_is_refused() -> None:
    with pytest.raises(InputError, match="no derivative is written for a layer of type GELU"):
        image_and_jacobian(nn.Sequential(nn.GELU()), torch.zeros(1, 2))


def test_the_volume_is_half_the_log_determinant() -> None:
    edges = _random(6, 4, 9) * torch.logspace(-3, 3, 4)[:, None]
    expected = 0.5 * torch.linalg.slogdet(edges.double() @ edges.double().mT)[1]
    torch.testing.assert_close(log_volume(edges), expected.float(), rtol=1e-5, atol=1e-4)
    flat = torch.stack([edges[0, 0], edges[0, 0]])[None]
    assert torch.isfinite(log_volume(flat)).all(), "two edges alike span nothing, and still give a number"
    assert log_volume(flat).item() < log_volume(edges[:1, :2]).item() - 5
