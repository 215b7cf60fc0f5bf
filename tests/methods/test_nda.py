"""NDA: Eq. 8 assembled slowly from the model's own parts, every switch, every ablation of Tables 1 and 2.

Letters: B batch, C channels, H, W sides, d latent dimensions, S local channels.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from novanda import losses, metrics
from novanda.augment import NegativeAugmentation
from novanda.detector import Detector
from novanda.errors import InputError
from novanda.latents import principal_latents
from novanda.method import Batch
from novanda.methods import NDA
from novanda.methods.nda import NDANetworks
from novanda.networks import channels_last
from novanda.samples import Normals, SampleSpec
from novanda.sources import ArraySource
from novanda.training import Training, train

QUICK = Training(epochs=1, batch_size=8, device="cpu", precision="32").filled(NDA.training)
COUNT = 24


def tiny(**fields: Any) -> NDA:
    return NDA(**{"width": 4, "latent_dim": 6, **fields})


def made(seed: int, count: int = COUNT, side: int = 32, channels: int = 3) -> np.ndarray:
    """Soft blobs of one colour at random places before black, (N, H, W, C) uint8."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side
    images = np.zeros((count, side, side, channels))
    for image in images:
        for _ in range(2):
            y, x = generator.uniform(0.2, 0.8, 2)
            blob = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 0.02)
            image += blob[..., None] * np.linspace(1, 0.4, channels)
    result: np.ndarray = (images.clip(0, 1) * 255).astype(np.uint8)
    return result


def scaled(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float() / 127.5 - 1


def built(method: NDA, side: int = 32, channels: int = 3, count: int = COUNT) -> NDANetworks:
    torch.manual_seed(0)
    return cast(NDANetworks, method.build(SampleSpec("image", channels, side, side), count))


def one_batch(method: NDA, seed: int = 3, size: int = 8) -> Batch:
    return Batch(scaled(made(0))[:size], torch.arange(size) * 2 + 1, torch.Generator().manual_seed(seed), "image", 0.0)


# ---------------------------------------------------------------------------------------------------------------
# The paper's equations, slowly and in float64


def blurred(plane: np.ndarray) -> np.ndarray:
    """5 x 5 Gaussian, reflected at the border."""
    row = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    kernel = np.outer(row, row) / row.sum() ** 2
    padded = np.pad(plane, 2, mode="reflect") if min(plane.shape) > 2 else np.pad(plane, 2, mode="edge")
    height, width = plane.shape
    return sum(kernel[a, b] * padded[a : a + height, b : b + width] for a in range(5) for b in range(5))  # type: ignore[no-any-return]


def pyramid(plane: np.ndarray, levels: int) -> list[np.ndarray]:
    bands = []
    for _ in range(levels):
        low = blurred(plane)
        bands.append(plane - low)
        plane = low[::2, ::2]
    return [*bands, plane]


def eq_1(drawn: np.ndarray, image: np.ndarray, levels: int, weighting: str) -> float:
    """Of one sample (C, H, W)."""
    total = 0.0
    for level in range(levels + 1):
        gap = [abs(pyramid(a, levels)[level] - pyramid(b, levels)[level]) for a, b in zip(drawn, image, strict=True)]
        if weighting == "sum":
            total += 2 ** (2 * level) * float(np.sum(gap))
        else:
            total += (2 ** (2 * level) if weighting == "weighted_mean" else 1) * float(np.mean(gap))
    return total


def eq_3(positive: np.ndarray, negatives: list[np.ndarray], estimator: str) -> float:
    if estimator == "jsd":
        joint = np.mean([math.log(1 / (1 + math.exp(-t))) for t in positive.ravel()])
        margins = [np.mean([math.log(1 - 1 / (1 + math.exp(-t))) for t in n.ravel()]) for n in negatives]
        return -float(joint + (np.mean(margins) if margins else 0))
    if estimator == "infonce":
        ratio = np.exp(positive) / (np.exp(positive) + sum(np.exp(n) for n in negatives))
        return -float(np.log(ratio).mean())
    margin = math.log(np.mean([np.exp(n) for n in negatives])) if negatives else 0
    return -float(positive.mean()) + margin


def dense_by_hand(layers: nn.Sequential, values: np.ndarray) -> np.ndarray:
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    for place, layer in enumerate(linear):
        values = values @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        if place + 1 < len(linear):
            values = np.maximum(values, 0)
    return values


def global_critic(net: NDANetworks, local: np.ndarray, z: np.ndarray, removed: str) -> np.ndarray:
    """T on [A_z, z]: (B, S, h, w) and (B, d) to (B,)."""
    estimator = net.global_estimator
    downscaled = dense_by_hand(nn.Sequential(estimator.downscale), local.mean((2, 3)))
    pair = downscaled if removed == "z" else np.concatenate([downscaled, z], 1)
    return dense_by_hand(estimator.critic, pair)[:, 0]


def local_critic(net: NDANetworks, local: np.ndarray, z: np.ndarray, removed: str) -> np.ndarray:
    """T on [A_ij, z_A], z repeated at every place: to (B, h, w)."""
    estimator = net.local_estimator
    weight = estimator.of_local.weight
    if removed == "z_A":
        assert estimator.of_latent is None
    else:
        assert estimator.of_latent is not None
        weight = torch.cat([weight, estimator.of_latent.weight], 1)
    first = nn.Linear(weight.shape[1], 512, dtype=torch.float64)
    first.weight, first.bias = nn.Parameter(weight), estimator.of_local.bias
    layers = nn.Sequential(first, *estimator.critic)
    values = np.empty((len(local), *local.shape[2:]))
    for i in range(local.shape[2]):
        for j in range(local.shape[3]):
            place = local[:, :, i, j]
            pair = place if removed == "z_A" else np.concatenate([place, z], 1)
            values[:, i, j] = dense_by_hand(layers, pair)[:, 0]
    return values


def eq_8(method: NDA, net: NDANetworks, batch: Batch) -> dict[str, float]:
    """Every term of Eq. 8 by its published formula, from a float64 copy of the networks in train mode."""
    net = copy.deepcopy(net).double().train()
    generator = torch.Generator().manual_seed(batch.generator.initial_seed())
    images = batch.images.double()
    numbers = images.numpy()
    lambda_1, lambda_2, lambda_3 = method.lambdas
    with torch.no_grad():
        start = net.latents[batch.index]
        local, z = (part.numpy() for part in net.encoder(images))
        terms: dict[str, float] = {}

        def reconstruction(latents: Tensor) -> float:
            drawn = net.decoder(latents).numpy()
            if method.reconstruction_loss == "mse":
                reduce = np.sum if method.pyramid_weighting == "sum" else np.mean
                return float(np.mean([reduce((a - b) ** 2) for a, b in zip(drawn, numbers, strict=True)]))
            levels, weighting = method.pyramid_levels, method.pyramid_weighting
            return float(np.mean([eq_1(a, b, levels, weighting) for a, b in zip(drawn, numbers, strict=True)]))

        if method.reconstruction_loss != "none":
            terms["laplacian"] = lambda_1 * reconstruction(start)
        if method.reconstruct_images:
            terms["image"] = lambda_1 * reconstruction(torch.from_numpy(z))
        distances = [((a - b) ** 2).sum() for a, b in zip(start.numpy(), z, strict=True)]
        reduction = z.shape[1] if method.latent_reduction == "mean" else 1
        terms["latent"] = lambda_2 * float(np.mean(distances)) / reduction

        compared = z
        gamma = method.prior_weight
        if gamma > 0 and lambda_3 > 0:
            if method.prior == "sampled":
                outputs = dense_by_hand(net.prior_estimator.layers, z)
                mean, log_variance = outputs[:, : z.shape[1]], outputs[:, z.shape[1] :]
                noise = torch.randn(z.shape, generator=generator).numpy()
                compared = mean + np.sqrt(np.exp(log_variance)) * noise
                divergence = -0.5 * (1 + log_variance - mean**2 - np.exp(log_variance)).sum(1)
                terms["prior"] = lambda_3 * gamma * float(divergence.mean())
            elif method.prior == "batch_moments":
                mean, variance = z.mean(0), z.var(0)
                terms["prior"] = lambda_3 * gamma * float(0.5 * (mean**2 + variance - np.log(variance) - 1).sum())
            else:
                judged = dense_by_hand(net.prior_discriminator, z)
                terms["prior"] = lambda_3 * gamma * float(np.mean(np.log(1 + np.exp(-judged))))

        beta = {"global": method.global_weight, "local": method.local_weight}
        others = []
        if lambda_3 > 0 and max(beta.values()) > 0:
            if method.negatives in ("augmented", "both"):
                negative = method.augmentation(batch.images, generator, batch.kind)
                others.append(net.encoder.local(negative.double()).numpy())
            if method.negatives in ("shuffled", "both"):
                others.append(np.concatenate([local[-1:], local[:-1]]))
        for name, critic in (("global", global_critic), ("local", local_critic)):
            if beta[name] > 0 and lambda_3 > 0:
                positive = critic(net, local, compared, method.removed)
                negatives = [critic(net, other, compared, method.removed) for other in others]
                information = eq_3(positive, negatives, method.information_estimator)
                terms[name] = lambda_3 * beta[name] * information
    return terms


SWITCHES: list[dict[str, Any]] = [
    {},
    {"learn_latents": False},
    {"negatives": "shuffled"},
    {"negatives": "both"},
    {"negatives": "none"},
    {"prior": "adversarial"},
    {"prior": "batch_moments"},
    {"prior_weight": 0.0},
    {"removed": "z"},
    {"removed": "z_A"},
    {"reconstruction_loss": "none"},
    {"reconstruction_loss": "mse"},
    {"reconstruction_loss": "mse", "pyramid_weighting": "sum"},
    {"reconstruction_loss": "mse", "reconstruct_images": True},
    {"reconstruct_images": True},
    {"reconstruction_loss": "none", "reconstruct_images": True},
    {"pyramid_levels": 2},
    {"pyramid_levels": 4},
    {"pyramid_weighting": "sum", "latent_reduction": "sum"},
    {"pyramid_weighting": "mean"},
    {"pyramid_weighting": "weighted_mean"},
    {"global_weight": 0.0},
    {"local_weight": 0.0},
    {"local_weight": 1.0},
    {"global_weight": 0.0, "local_weight": 0.0},
    {"information_estimator": "infonce"},
    {"information_estimator": "infonce", "negatives": "both"},
    {"information_estimator": "dv"},
    {"information_estimator": "dv", "negatives": "both"},
    {"local_side": 4},
    {"local_side": 16},
    {"lambdas": (0.5, 2.0, 3.0)},
    {"lambdas": (1.0, 1.0, 0.0)},
    {"augmentation": NegativeAugmentation(transformations=("crop", "color_jitter", "grayscale", "flip"))},
    {"augmentation": NegativeAugmentation(rotation_degrees=20.0)},
    {"augmentation": NegativeAugmentation(transformations=("rotation",)), "negatives": "both", "removed": "z"},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: ", ".join(f"{k} {v}" for k, v in switch.items())[:60])
def test_terms_are_equation_8(switch: dict[str, Any]) -> None:
    method = tiny(**switch)
    net = built(method)
    with torch.no_grad():  # DCGAN's start of 0.02 makes critics almost constant: let every input count
        for parameter in [*net.global_estimator.parameters(), *net.local_estimator.parameters()]:
            parameter.mul_(3)
    expected = eq_8(method, net, one_batch(method))
    found = {name: term.item() for name, term in method.terms(net.train(), one_batch(method)).items()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert value != 0
        assert found[name] == pytest.approx(value, rel=2e-4, abs=1e-6), name
    assert sum(found.values()) == pytest.approx(sum(expected.values()), rel=2e-4)


def test_default_terms_are_the_papers_loss_functions() -> None:
    """Eqs. 7 and 8 with the paper's weights, as `losses` has them."""
    method = tiny()
    net = built(method)
    terms = method.terms(net.train(), one_batch(method))
    information = losses.mutual_information_loss(terms["global"], terms["local"], terms["prior"])
    total = losses.total_loss(terms["laplacian"], terms["latent"], information)
    assert sum(term.item() for term in terms.values()) == pytest.approx(total.item())
    assert (method.global_weight, method.local_weight, method.prior_weight) == (0.5, 0.5, 0.1)
    assert list(method.lambdas) == [1, 1, 1]
    assert NDA.training == Training(
        epochs=100, batch_size=128, optimizer="sgd", learning_rate=0.002, momentum=0.9, weight_decay=0.005
    )


# ---------------------------------------------------------------------------------------------------------------
# Ablations

NONE = {"global_weight": 0.0, "local_weight": 0.0, "prior_weight": 0.0}
TABLE_1: dict[str, tuple[dict[str, Any], set[str]]] = {
    "no information": (NONE, set()),
    "local": ({**NONE, "local_weight": 0.5}, {"local"}),
    "global": ({**NONE, "global_weight": 0.5}, {"global"}),
    "prior": ({**NONE, "prior_weight": 0.1}, {"prior"}),
    "local, prior": ({"global_weight": 0.0}, {"local", "prior"}),
    "local, global": ({"prior_weight": 0.0}, {"local", "global"}),
    "global, prior": ({"local_weight": 0.0}, {"global", "prior"}),
    "all": ({}, {"local", "global", "prior"}),
}
TABLE_2: dict[str, dict[str, Any]] = {
    "without z_A": {"removed": "z_A"},
    "without z": {"removed": "z"},
    "no reconstruction": {"reconstruction_loss": "none"},
    "squared error": {"reconstruction_loss": "mse"},
    "normal latents": {"latent_start": "normal"},
    "contrastive latents": {"latent_start": "contrastive"},
}


def fitted(method: NDA, images: np.ndarray, training: Training = QUICK, seed: int = 0) -> Detector:
    return Detector(method, training, seed=seed, calibration_fraction=0).fit(images)


@pytest.mark.parametrize("column", TABLE_1)
def test_table_1_trains(column: str) -> None:
    fields, terms = TABLE_1[column]
    (epoch,) = fitted(tiny(**fields), made(0)).history_
    assert set(epoch.terms) == terms | {"laplacian", "latent"}


@pytest.mark.parametrize("row", TABLE_2)
def test_table_2_trains(row: str) -> None:
    detector = fitted(tiny(**TABLE_2[row]), made(0))
    stages = [epoch.stage for epoch in detector.history_]
    assert stages == (["contrast", "train"] if row == "contrastive latents" else ["train"])
    assert ("laplacian" in detector.history_[-1].terms) == (row != "no reconstruction")
    assert np.isfinite(detector.novelty_score(made(1))).all()


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: ", ".join(f"{k} {v}" for k, v in switch.items())[:60])
def test_every_switch_trains(switch: dict[str, Any]) -> None:
    detector = fitted(tiny(**switch), made(0))
    assert np.isfinite(detector.novelty_score(made(1))).all()
    assert all(math.isfinite(value) for value in detector.history_[0].terms.values())


# ---------------------------------------------------------------------------------------------------------------
# z'


def normals(images: np.ndarray) -> Normals:
    return Normals(ArraySource(images))


@pytest.mark.parametrize("scale", ["whitened", "unit_ball", "raw"])
def test_learned_latents_move_from_their_pca_start_and_fixed_ones_do_not(scale: Any) -> None:
    images = made(0)
    start = principal_latents(normals(images), 6, scale)
    fixed = fitted(tiny(learn_latents=False, latent_scale=scale), images).model_.latents
    assert not isinstance(fixed, nn.Parameter)
    torch.testing.assert_close(fixed, start, rtol=0, atol=0)
    learned = fitted(tiny(latent_scale=scale), images).model_.latents
    assert isinstance(learned, nn.Parameter)
    moved = (learned.detach() - start).norm(dim=1)
    assert (moved > 0).all(), "every image's latent"
    assert moved.max() < 0.5 * start.norm(dim=1).max(), "from that start, not from another"


def test_whitened_latents_have_unit_variance() -> None:
    latents = fitted(tiny(learn_latents=False), made(0, 60)).model_.latents
    assert isinstance(latents, Tensor)
    torch.testing.assert_close(latents.mean(0), torch.zeros(6), rtol=0, atol=1e-3)
    torch.testing.assert_close(latents.var(0), torch.ones(6), rtol=0.02, atol=0)


def test_normal_latents_are_drawn_by_the_seed() -> None:
    def latents(seed: int) -> Tensor:
        method = tiny(latent_start="normal", learn_latents=False)
        return cast(Tensor, fitted(method, made(0, 120), seed=seed).model_.latents)

    first = latents(0)
    assert abs(first.mean().item()) < 0.15  # 720 draws: four standard errors
    assert first.std().item() == pytest.approx(1, abs=0.1)
    assert torch.equal(first, latents(0))
    assert not torch.equal(first, latents(1))


def test_contrastive_start_is_the_encoders_own_z_after_the_first_stage() -> None:
    images = made(0)
    detector = Detector(
        tiny(latent_start="contrastive", learn_latents=False),
        dataclasses.replace(QUICK, epochs=2),
        calibration_fraction=0,
    )
    expected = None
    stages = []
    for epoch in detector.fitting(images):
        stages.append(epoch.stage)
        if epoch.stage == "contrast":
            assert set(epoch.terms) == {"global", "local", "prior"}, "Eq. 7 alone"
            before = copy.deepcopy(detector.model_)
            with torch.no_grad():
                expected = before.encoder(scaled(images))[1]  # type: ignore[operator]
    assert stages == ["contrast", "contrast", "train", "train"]
    assert expected is not None
    torch.testing.assert_close(detector.model_.latents, expected, rtol=1e-4, atol=1e-6)


def test_the_contrastive_stage_leaves_decoder_and_latents_alone() -> None:
    method = tiny(latent_start="contrastive")
    net = built(method)
    before = copy.deepcopy(net.state_dict())
    contrast, main = method.stages(net, 1)
    parts = {"decoder.", "latents", "prior_discriminator."}
    for stage, alone in ((contrast, parts), (main, {"prior_discriminator."})):
        list(train(net, (stage,), normals(made(0)), QUICK, seed=0))
        same = {name for name, tensor in net.state_dict().items() if torch.equal(tensor, before[name])}
        assert {name for name in before if name.startswith(tuple(alone))} == same


@pytest.mark.parametrize(("count", "wanted", "found"), [(5, 128, 4), (2, 128, 1), (24, 6, 6), (24, 128, 23)])
def test_latent_dim_is_clamped(count: int, wanted: int, found: int) -> None:
    detector = fitted(tiny(latent_dim=wanted), made(0, count))
    assert detector.model_.dimensions == found
    assert detector.model_.latents.shape == (count, found)
    assert np.isfinite(detector.novelty_score(made(1, 3))).all()


def test_weight_decay_spares_the_latents() -> None:
    images = made(0)
    net = built(tiny())
    net.latents.data.copy_(torch.randn(COUNT, 6))
    method = tiny(lambdas=(0.0, 0.0, 0.0), latent_start="normal")
    before = copy.deepcopy(net.state_dict())
    training = dataclasses.replace(QUICK, weight_decay=0.1, learning_rate=0.5)
    list(train(net, method.stages(net, 1), normals(images), training, seed=0))
    assert torch.equal(net.latents, before["latents"])
    # Gradients are all zero: what moved the weights is decay alone, three steps of it.
    weight = "encoder.to_global.0.0.weight"
    assert net.state_dict()[weight].norm() < 0.95 * before[weight].norm()


def gradients(net: NDANetworks, term: Tensor) -> dict[str, float]:
    """The greatest gradient of a term in each part of the model."""
    net.zero_grad(set_to_none=True)
    torch.autograd.backward(term, retain_graph=True)
    found = {}
    for part in ("encoder", "decoder", "prior_estimator", "global_estimator", "local_estimator", "prior_discriminator"):
        grads = [p.grad.abs().max().item() for p in net.get_submodule(part).parameters() if p.grad is not None]
        found[part] = max(grads, default=0.0)
    latents = net.latents.grad
    found["latents"] = 0.0 if latents is None else latents.abs().max().item()
    return {part: value for part, value in found.items() if value > 0}


@pytest.mark.parametrize("learned", [True, False])
def test_where_gradients_go(learned: bool) -> None:
    """Row 1 of READING.md: with z' fixed, Eq. 1 can not teach C nor Eq. 2 G; learned, both meet in z'."""
    method = tiny(learn_latents=learned)
    net = built(method).train()
    terms = method.terms(net, one_batch(method))
    meeting = {"latents"} if learned else set()
    assert gradients(net, terms["laplacian"]).keys() == {"decoder"} | meeting
    assert gradients(net, terms["latent"]).keys() == {"encoder"} | meeting
    assert gradients(net, terms["prior"]).keys() == {"encoder", "prior_estimator"}
    assert gradients(net, terms["global"]).keys() == {"encoder", "prior_estimator", "global_estimator"}
    assert gradients(net, terms["local"]).keys() == {"encoder", "prior_estimator", "local_estimator"}


def test_the_test_path_is_trained_only_if_asked() -> None:
    method = tiny(reconstruct_images=True)
    net = built(method).train()
    terms = method.terms(net, one_batch(method))
    assert gradients(net, terms["image"]).keys() == {"encoder", "decoder"}
    assert "image" not in tiny().terms(net, one_batch(method))


def test_only_this_batchs_latents_get_gradients() -> None:
    method = tiny()
    net = built(method).train()
    batch = one_batch(method)
    sum(method.terms(net, batch).values()).backward()  # type: ignore[union-attr]
    assert net.latents.grad is not None
    touched = net.latents.grad.abs().sum(1).nonzero().flatten()
    assert touched.tolist() == batch.index.tolist()


# ---------------------------------------------------------------------------------------------------------------
# The prior


def test_the_priors_sample_enters_equations_4_and_5() -> None:
    def terms(seed: int, **fields: Any) -> dict[str, float]:
        method = tiny(negatives="shuffled", **fields)  # so that nothing else is random
        net = built(method)
        found = method.terms(net.train(), one_batch(method, seed))
        return {name: term.item() for name, term in found.items()}

    first, second = terms(1), terms(2)
    assert first["prior"] == second["prior"]
    assert first["global"] != second["global"]
    assert first["local"] != second["local"]
    for fields in ({"prior_weight": 0.0}, {"prior": "batch_moments"}, {"prior": "adversarial"}):
        assert terms(1, **fields) == terms(2, **fields)


def test_adversarial_prior_has_two_players() -> None:
    method = tiny(prior="adversarial")
    net = built(method)
    (stage,) = method.stages(net, 1)
    model, prior = stage.players
    assert (model.name, prior.name) == ("model", "prior")
    mine, theirs = ({id(p) for p in player.parameters} for player in (model, prior))
    assert not mine & theirs
    assert theirs == {id(p) for p in net.prior_discriminator.parameters()}
    before = copy.deepcopy(net.state_dict())
    (epoch,) = train(net, (stage,), normals(made(0)), QUICK, seed=0)
    assert set(epoch.terms) == {f"model.{n}" for n in ("laplacian", "latent", "prior", "global", "local")} | {
        "prior.prior"
    }
    for part in ("prior_discriminator.0.weight", "encoder.to_local.0.0.weight", "decoder.layers.1.weight"):
        assert not torch.equal(before[part], net.state_dict()[part])
    assert all(parameter.requires_grad for parameter in net.parameters())
    # Its own loss: real are draws of N(0, I), fake are z; nothing of it may reach the encoder.
    terms = prior.loss(one_batch(method))
    assert gradients(net, terms["prior"]).keys() == {"prior_discriminator"}


@pytest.mark.parametrize("fields", [{"prior": "sampled"}, {"prior": "adversarial", "prior_weight": 0.0}])
def test_otherwise_one_player(fields: dict[str, Any]) -> None:
    method = tiny(**fields)
    (stage,) = method.stages(built(method), 3)
    assert [player.name for player in stage.players] == ["model"]
    assert stage.epochs == 3
    both = tiny(latent_start="contrastive", **fields)
    assert [(s.name, s.epochs, len(s.players)) for s in both.stages(built(both), 3)] == [
        ("contrast", 3, 1),
        ("train", 3, 1),
    ]


# ---------------------------------------------------------------------------------------------------------------
# Learning and scoring


def test_training_lowers_the_loss_and_learns() -> None:
    """Blobs are normal, checks are not; the networks have never seen a check."""
    training = dataclasses.replace(QUICK, epochs=10, batch_size=16, optimizer="adam", learning_rate=2e-3)
    detector = Detector(tiny(width=8, latent_dim=8), training, calibration_fraction=0)
    normal, novel = made(9, 40), checks(5, 40)
    errors = [np.median(detector.novelty_score(normal)) for _ in detector.fitting(made(0, 80))]
    assert errors[-1] < 0.5 * errors[0]
    first, last = detector.history_[0].terms, detector.history_[-1].terms
    assert last["laplacian"] < 0.7 * first["laplacian"]
    assert last["latent"] < 0.8 * first["latent"]
    assert sum(last.values()) < sum(first.values())
    assert metrics.auroc(detector.novelty_score(normal), detector.novelty_score(novel)) > 0.9


def checks(seed: int, count: int) -> np.ndarray:
    """Chessboards of fields of 2 to 8 pixels, no brighter than the blobs."""
    sizes = np.random.default_rng(seed).integers(2, 9, count)
    rows, columns = np.mgrid[0:32, 0:32]
    boards = np.stack([((rows // size + columns // size) % 2 * 150).astype(np.uint8) for size in sizes])
    return boards[..., None].repeat(3, 3)


@pytest.mark.parametrize("weighting", ["sum", "mean", "weighted_mean"])
def test_scores_by_numpy(weighting: Any) -> None:
    method = tiny(pyramid_weighting=weighting, pyramid_levels=2)
    detector = fitted(method, made(0))
    fresh = made(1, 5)
    drawn = detector.reconstruct(fresh)
    assert drawn is not None
    drawn = drawn.astype(np.float64) / 127.5 - 1
    images = scaled(fresh).double().numpy()
    scores = detector.novelty_scores(fresh)
    assert list(scores) == ["mse", "l1", "laplacian", "global_critic", "local_critic"]
    net = copy.deepcopy(detector.model_).double().eval()
    assert isinstance(net, NDANetworks)
    with torch.no_grad():
        local, z = (part.numpy() for part in net.encoder(torch.from_numpy(images)))
        np.testing.assert_allclose(drawn, net.decoder(torch.from_numpy(z)).numpy(), atol=1e-4)
    assert drawn.min() >= -1.001
    assert drawn.max() <= 1.001
    laplacian = np.array([eq_1(a, b, 2, weighting) for a, b in zip(drawn, images, strict=True)])
    expected = {
        "mse": ((drawn - images) ** 2).mean((1, 2, 3)),
        "l1": abs(drawn - images).mean((1, 2, 3)),
        "laplacian": laplacian / 3072 if weighting == "sum" else laplacian,
        "global_critic": -global_critic(net, local, z, "none"),
        "local_critic": -local_critic(net, local, z, "none").mean((1, 2)),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(scores[name], values, rtol=1e-3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("side", "channels", "local_side"), [(64, 1, 8), (128, 1, 8), (128, 3, 64), (64, 3, 4)])
def test_other_sizes(side: int, channels: int, local_side: int) -> None:
    images = made(0, 6, side, channels)
    detector = fitted(tiny(local_side=local_side), images)
    drawn = detector.reconstruct(images)
    assert drawn is not None
    assert drawn.shape == (6, channels, side, side)
    local, z = channels_last(detector.model_.encoder)(scaled(images))  # type: ignore[arg-type]
    assert local.shape[2:] == (local_side, local_side)
    assert z.shape == (6, 5)


def test_what_can_not_be_built_says_why() -> None:
    with pytest.raises(InputError, match=r"local_side must be one of \[16, 8, 4\] for images of 32 pixels; got 5"):
        fitted(tiny(local_side=5), made(0))
    colourless = tiny(augmentation=NegativeAugmentation(transformations=("grayscale",)))
    with pytest.raises(InputError, match="negative augmentation"):  # gray has no colour to take away
        fitted(colourless, made(0, channels=1))
    with pytest.raises(InputError, match=r"a side of .* pixels; got 40"):
        Detector(tiny(), QUICK, image_size=40, calibration_fraction=0).fit(made(0))
    assert fitted(tiny(), made(0, 6, side=40)).spec_.shape == (3, 64, 64), "without that choice, a side it can take"
