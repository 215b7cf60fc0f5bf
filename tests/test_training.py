"""The loop against plain torch loops, bit for bit; stages, players, interruption and resumption; what is refused."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rich.console
import rich.progress
import torch
from scipy import stats
from torch import Tensor, nn

import novanda.training as loop
from novanda.checkpoint import read_archive, write_archive
from novanda.errors import InputError, Interrupted, ModelFileError, TrainingError
from novanda.method import Batch, Player, Stage
from novanda.samples import Normals, SampleSpec, even_split
from novanda.training import Epoch, Training, has_fast_bf16, resolve_device, schedule_factor, seeded, train

COUNT, SIZE = 23, 4
DATA = np.random.default_rng(0).standard_normal((COUNT, SIZE, 1, 1)).astype(np.float32)
SGD = Training(
    epochs=3,
    batch_size=6,
    optimizer="sgd",
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=0.01,
    schedule="cosine",
    device="cpu",
    precision="32",
)


class Rows:
    spec = SampleSpec("features", SIZE, 1, 1, -1.0, 1.0)

    def __len__(self) -> int:
        return COUNT

    def read(self, positions: Sequence[int]) -> np.ndarray:
        return DATA[list(positions)]

    def identifier(self, position: int) -> str:
        return str(position)


class Tiny(nn.Module):
    """Two linear maps, batch norm (so that train and eval mode differ), and one vector per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(SIZE, 3)
        self.norm = nn.BatchNorm1d(3)
        self.second = nn.Linear(3, SIZE)
        self.latents = nn.Parameter(torch.randn(COUNT, 3))
        self.register_buffer("begun", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.second(torch.tanh(self.norm(self.first(images.flatten(1)))))
        return result


def _tiny(seed: int = 7) -> Tiny:
    torch.manual_seed(seed)
    return Tiny()


def _fit(net: Tiny) -> Callable[[Batch], dict[str, Tensor]]:
    def loss(batch: Batch) -> dict[str, Tensor]:
        noise = 0.1 * torch.randn(batch.images.shape, generator=batch.generator)
        near = (net(batch.images + noise) - batch.images.flatten(1)).square().mean()
        return {"near": near, "latent": (net.second(net.latents[batch.index]) - 1).square().mean()}

    return loss


def _spread(net: Tiny) -> Callable[[Batch], dict[str, Tensor]]:
    """Against `_fit`: pulls the first map's output apart, through the second, which it must leave alone."""

    def loss(batch: Batch) -> dict[str, Tensor]:
        return {"apart": -net(batch.images).var() + net.first.weight.square().sum() + net.second.bias.square().sum()}

    return loss


def _one(net: Tiny, epochs: int = 3, **options: Any) -> tuple[Stage, ...]:
    return (Stage("train", epochs, (Player("model", list(net.parameters()), _fit(net), **options),)),)


def _two(net: Tiny, epochs: int = 3) -> tuple[Stage, ...]:
    one = Player("fit", [*net.norm.parameters(), *net.second.parameters(), net.latents], _fit(net))
    other = Player("spread", list(net.first.parameters()), _spread(net), learning_rate=0.05)
    return (Stage("duel", epochs, (one, other)),)


def _run(
    net: Tiny, stages: Sequence[Stage], training: Training = SGD, seed: int = 3, **options: Any
) -> tuple[dict[str, Tensor], list[Epoch]]:
    """The weights at the end, and what each epoch came to."""
    history = list(train(net, stages, Normals(Rows()), training, seed, **options))
    return {name: value.clone() for name, value in net.state_dict().items()}, history


def _assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def _differ(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> set[str]:
    return {name for name in one if not torch.equal(one[name], other[name])}


# ---------------------------------------------------------------------------------------------------------------
# Training


def test_what_is_left_open_is_filled_from_the_method_then_from_novanda() -> None:
    method = Training(epochs=8, optimizer="sgd", learning_rate=0.5, schedule="one_cycle")
    filled = Training(epochs=2, device="cpu").filled(method)
    assert (filled.epochs, filled.optimizer, filled.learning_rate, filled.schedule) == (2, "sgd", 0.5, "one_cycle")
    assert (filled.batch_size, filled.momentum, filled.weight_decay) == (128, 0.9, 0.0)
    assert (filled.device, filled.precision) == ("cpu", "auto")
    assert None not in filled.to_json().values()
    assert Training(weight_decay=0.0, momentum=0.0).filled(Training(weight_decay=1.0, momentum=0.5)).momentum == 0
    assert Training(**filled.to_json()) == filled
    assert json.loads(json.dumps(filled.to_json())) == filled.to_json()
    assert list(filled.to_json()) == [f.name for f in fields(Training)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.0),
        ("epochs", True),
        ("batch_size", 1),
        ("batch_size", "many"),
        ("learning_rate", 0.0),
        ("learning_rate", math.inf),
        ("learning_rate", math.nan),
        ("learning_rate", "0.1"),
        ("learning_rate", True),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("weight_decay", -1e-9),
        ("weight_decay", math.inf),
        ("weight_decay", [0.1]),
        ("optimizer", "lbfgs"),
        ("schedule", "linear"),
        ("precision", "16"),
        ("device", None),
        ("device", 0),
    ],
)
def test_wrong_training_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"Training\.{field} must be"):
        replace(SGD, **{field: value})


# ---------------------------------------------------------------------------------------------------------------
# Devices, precision, seeds


def test_auto_is_a_cuda_gpu_or_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device(Training()).type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device(Training(device="cpu")) == torch.device("cpu")


@pytest.mark.parametrize(
    "device", ["", "gpu", "cuda:x", "cpu:", "CPU", "cuda:-1", "meta", "xpu", "hpu", "privateuseone"]
)
def test_nonsense_devices_are_refused(device: str) -> None:
    with pytest.raises(InputError, match=r"Training\.device must be 'auto', 'cpu'"):
        resolve_device(Training(device=device))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:99"])
def test_a_gpu_that_is_absent_is_refused(device: str) -> None:
    with pytest.raises(InputError, match=f"present here; got '{device}'"):
        resolve_device(Training(device=device))
    with pytest.raises(InputError, match="present here"):
        _run(_tiny(), _one(_tiny()), replace(SGD, device=device))


def test_seeded_gives_the_same_numbers_and_puts_the_old_ones_back() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    with seeded(1, 2) as generator:
        first = torch.rand(3), torch.rand(3, generator=generator)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(1, 2) as generator:
        again = torch.rand(3), torch.rand(3, generator=generator)
    with seeded(1, 3) as generator:
        other = torch.rand(3), torch.rand(3, generator=generator)
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    with pytest.raises(RuntimeError), seeded(1):
        raise RuntimeError
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------------------------------------------------
# Schedules


def test_schedules_have_their_stated_values() -> None:
    assert [schedule_factor("constant", p) for p in (0, 0.4, 1)] == [1, 1, 1]
    assert [schedule_factor("cosine", p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert [schedule_factor("one_cycle", p) for p in (0, 0.15, 0.3, 0.65, 1)] == pytest.approx([0.04, 0.52, 1, 0.5, 0])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_schedules_are_continuous_and_never_leave_0_to_1(schedule: Any) -> None:
    values = np.array([schedule_factor(schedule, p) for p in np.linspace(0, 1, 10_001)])
    assert values.min() >= 0
    assert values.max() <= 1
    assert np.abs(np.diff(values)).max() < 1e-3  # the steepest is pi / 2 / 0.3 a unit of progress


def test_one_cycle_is_torchs() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=101, pct_start=0.3, cycle_momentum=False, final_div_factor=1e9
    )
    for step in range(101):
        # torch's rise ends a step early (0.3 * 101 - 1 of 100), so its places are a little elsewhere.
        place = step / 29.3 * 0.3 if step <= 29.3 else 0.3 + 0.7 * (step - 29.3) / 70.7
        assert theirs.get_last_lr()[0] == pytest.approx(0.1 * schedule_factor("one_cycle", place), abs=1e-9)
        optimizer.step()
        if step < 100:
            theirs.step()


# ---------------------------------------------------------------------------------------------------------------
# The loop against plain torch

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.1, momentum=0.9),
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.1, betas=(0.9, 0.999)),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.999)),
}


def _batches(net: Tiny, epoch: int, stage: int = 0) -> Any:
    """What an epoch's steps see: (images, index, generator, progress)."""
    net.train()
    with seeded(3, stage, epoch) as generator:
        order = torch.tensor_split(torch.randperm(COUNT, generator=generator), 4)  # 23 samples by 6 at most
        for place, index in enumerate(order):
            yield torch.from_numpy(DATA)[index], index, generator, (4 * epoch + place) / 12


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_player_is_a_plain_loop(optimizer: Any) -> None:
    net = _tiny()
    found, history = _run(net, _one(net, undecayed=[net.latents]), replace(SGD, optimizer=optimizer))

    plain = _tiny()
    decayed = [p for p in plain.parameters() if p is not plain.latents]
    torchs = OPTIMIZERS[optimizer](
        [{"params": decayed, "weight_decay": 0.01}, {"params": [plain.latents], "weight_decay": 0.0}]
    )
    loss = _fit(plain)
    for epoch in range(3):
        sums = {"near": 0.0, "latent": 0.0}
        for images, index, generator, progress in _batches(plain, epoch):
            for group in torchs.param_groups:
                group["lr"] = 0.1 * 0.5 * (1 + math.cos(math.pi * progress))
            terms = loss(Batch(images, index, generator, "features", progress))
            torchs.zero_grad()
            torch.autograd.backward(terms["near"] + terms["latent"])
            torchs.step()
            for name in sums:
                sums[name] += terms[name].item()
        assert history[epoch].terms == pytest.approx({name: value / 4 for name, value in sums.items()}, rel=1e-12)
    _assert_same(found, plain.state_dict())
    assert _differ(found, _tiny().state_dict()) == set(found) - {"begun"}


def test_two_players_are_a_plain_alternating_loop() -> None:
    net = _tiny()
    found, history = _run(net, _two(net))
    assert [set(epoch.terms) for epoch in history] == [{"fit.near", "fit.latent", "spread.apart"}] * 3

    plain = _tiny()
    ours = [*plain.norm.parameters(), *plain.second.parameters(), plain.latents]
    theirs = list(plain.first.parameters())
    one = torch.optim.SGD(ours, lr=0.1, momentum=0.9, weight_decay=0.01)
    other = torch.optim.SGD(theirs, lr=0.05, momentum=0.9, weight_decay=0.01)
    for epoch in range(3):
        for images, index, generator, progress in _batches(plain, epoch):
            for own, step, rate, loss in ((ours, one, 0.1, _fit(plain)), (theirs, other, 0.05, _spread(plain))):
                step.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * progress))
                total = torch.stack(list(loss(Batch(images, index, generator, "features", progress)).values())).sum()
                for parameter, gradient in zip(own, torch.autograd.grad(total, own, allow_unused=True), strict=True):
                    parameter.grad = gradient
                step.step()
    _assert_same(found, plain.state_dict())
    assert _differ(found, _tiny().state_dict()) == set(found) - {"begun"}


@pytest.mark.parametrize("players", [1, 2])
def test_a_player_leaves_all_other_parameters_and_their_gradients_alone(players: int) -> None:
    net = _tiny()
    seen: list[tuple[bool, ...]] = []

    def watched(batch: Batch) -> dict[str, Tensor]:
        seen.append(tuple(p.requires_grad for p in (net.first.weight, net.second.weight, net.second.bias)))
        return _spread(net)(batch)

    spread = Player("spread", list(net.first.parameters()), watched)
    still = Player("still", [net.latents], lambda batch: {"zero": 0 * net.latents.sum()})
    net.norm.requires_grad_(False)  # frozen by whoever built the network: so it must stay
    _run(net, (Stage("train", 2, (spread, still)[:players]),), replace(SGD, weight_decay=0.0))
    assert set(seen) == {(True, False, False)}
    fresh = _tiny()
    assert torch.equal(net.second.weight, fresh.second.weight)
    assert torch.equal(net.latents, fresh.latents)
    assert not torch.equal(net.first.weight, fresh.first.weight)
    assert net.second.weight.grad is None
    assert net.second.bias.grad is None
    assert [n for n, p in net.named_parameters() if not p.requires_grad] == ["norm.weight", "norm.bias"]


def test_weight_decay_spares_the_undecayed() -> None:
    net = _tiny()
    still = Player("still", list(net.parameters()), lambda b: {"zero": 0 * net(b.images).sum() + 0 * net.latents.sum()})
    kept = {name: p.detach().clone() for name, p in net.named_parameters()}
    _run(net, (Stage("train", 1, (replace(still, undecayed=[net.latents, net.first.bias]),)),))
    for name, parameter in net.named_parameters():
        if name in ("latents", "first.bias"):
            assert torch.equal(parameter, kept[name])
        elif kept[name].any():
            assert (parameter.abs() < kept[name].abs()).any(), name


def test_a_players_own_learning_rate_counts() -> None:
    def after(own: float | None, rate: float) -> dict[str, Tensor]:
        net = _tiny()
        return _run(net, _one(net, learning_rate=own), replace(SGD, learning_rate=rate))[0]

    _assert_same(after(0.05, 0.3), after(None, 0.05))
    assert _differ(after(0.05, 0.05), after(None, 0.3))
    frozen = after(0.0, 0.3)
    assert torch.equal(frozen["first.weight"], _tiny().state_dict()["first.weight"])


# ---------------------------------------------------------------------------------------------------------------
# Epochs, stages, modes, random numbers


def test_an_epoch_is_every_sample_once_in_a_new_order() -> None:
    net = _tiny()
    seen: list[tuple[float, list[int]]] = []

    def loss(batch: Batch) -> dict[str, Tensor]:
        assert torch.equal(batch.images, torch.from_numpy(DATA)[batch.index])
        assert (batch.kind, batch.images.dtype, batch.index.dtype) == ("features", torch.float32, torch.int64)
        assert net.training
        seen.append((batch.progress, batch.index.tolist()))
        return _fit(net)(batch)

    for epoch in train(net, (Stage("s", 2, (Player("p", [net.latents], loss),)),), Normals(Rows()), SGD, 0):
        assert not net.training
        assert epoch.total == 2
        assert epoch.stage == "s"
        assert epoch.seconds > 0
    assert [progress for progress, _ in seen] == pytest.approx([i / 8 for i in range(8)])
    assert [len(index) for _, index in seen] == [6, 6, 6, 5] * 2
    first, second = ([i for _, index in part for i in index] for part in (seen[:4], seen[4:]))
    assert sorted(first) == sorted(second) == list(range(COUNT))
    assert first != second
    assert first != sorted(first)


def _staged(net: Tiny, calls: list[str], fit: Callable[[Batch], Any] | None = None) -> tuple[Stage, ...]:
    """Three stages: two epochs of one player, none at all, two of two players."""

    def begin(name: str) -> Callable[[Normals], None]:
        def start(normals: Normals) -> None:
            calls.append(name)
            assert not net.training
            assert not torch.is_grad_enabled()
            assert len(normals) == COUNT
            net.get_buffer("begun").add_(1)
            # What begins a stage may look at the model, the data and torch's global generator.
            total = torch.cat(list(normals.batches())).sum()
            net.latents.copy_(net.latents + 0.1 * torch.rand_like(net.latents) + 0.01 * total)

        return start

    def named(name: str, loss: Callable[[Batch], Any]) -> Callable[[Batch], Any]:
        def call(batch: Batch) -> Any:
            if not calls or calls[-1] != name:
                calls.append(name)
            return loss(batch)

        return call

    first = Player("p", list(net.parameters()), named("first", fit or _fit(net)))
    duel = tuple(replace(p, loss=named(p.name, fit or p.loss)) for p in _two(net)[0].players)
    return (
        Stage("first", 2, (first,), begin("begin first")),
        Stage("never", 0, (first,), begin("begin never")),
        Stage("duel", 2, duel, begin("begin duel")),
    )


def test_stages_come_in_order_and_begin_once() -> None:
    net = _tiny()
    calls: list[str] = []
    _, history = _run(net, _staged(net, calls))
    assert calls == ["begin first", "first", "begin duel", *["fit", "spread"] * 8]
    assert [(e.number, e.total, e.stage) for e in history] == [
        (1, 4, "first"),
        (2, 4, "first"),
        (3, 4, "duel"),
        (4, 4, "duel"),
    ]
    assert net.get_buffer("begun") == 2


def test_the_same_seed_gives_the_same_weights_whatever_torchs_own_seed() -> None:
    def after(seed: int, global_seed: int) -> dict[str, Tensor]:
        net = _tiny()
        torch.manual_seed(global_seed)
        return _run(net, _staged(net, []), seed=seed)[0]

    _assert_same(after(1, 100), after(1, 200))
    assert "first.weight" in _differ(after(1, 100), after(2, 100))


def test_torchs_own_random_numbers_are_left_alone() -> None:
    net = _tiny()

    def loss(batch: Batch) -> dict[str, Tensor]:
        torch.rand(5)  # a careless loss, or dropout
        return _fit(net)(batch)

    def begin(normals: Normals) -> None:
        torch.rand(3)

    stages = (Stage("s", 2, (Player("p", [net.latents], loss),), begin),)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for _ in train(net, stages, Normals(Rows()), SGD, 0):
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_follows_from_the_seed() -> None:
    def after(global_seed: int) -> dict[str, Tensor]:
        net = _tiny()
        drop = nn.Dropout(0.5)
        torch.manual_seed(global_seed)
        loss = lambda b: {"l": (net.second(drop(net.latents[b.index])) - 1).square().mean()}  # noqa: E731
        return _run(net, (Stage("s", 2, (Player("p", [net.latents], loss),)),))[0]

    _assert_same(after(1), after(2))


def test_a_loss_sees_a_batch_and_nothing_else() -> None:
    net = _tiny()
    seen: list[Batch] = []

    def loss(batch: Batch) -> dict[str, Tensor]:
        seen.append(batch)
        return _fit(net)(batch)

    _run(net, (Stage("s", 1, (Player("p", [net.latents], loss),)),))
    assert all(type(batch) is Batch for batch in seen)
    assert len({id(batch.generator) for batch in seen}) == 1
    assert {batch.generator.device.type for batch in seen} == {"cpu"}
    assert [f.name for f in fields(Batch)] == ["images", "index", "generator", "kind", "progress"]


def test_a_batch_draws_from_its_generator_alone() -> None:
    def drawn() -> list[Tensor]:
        batch = Batch(torch.ones(400, 1, 4, 4), torch.arange(400), torch.Generator().manual_seed(0), "image", 0.0)
        return [batch.normal(400, 9), batch.uniform(400, 9), batch.noisy(0.5) - 1]

    normal, uniform, noise = drawn()
    torch.manual_seed(123)
    for one, other in zip((normal, uniform, noise), drawn(), strict=True):
        assert torch.equal(one, other)
    assert normal.shape == uniform.shape == (400, 9)
    assert stats.kstest(normal.flatten(), "norm").pvalue > 1e-3
    assert stats.kstest(uniform.flatten(), "uniform", (-1, 2)).pvalue > 1e-3
    assert stats.kstest(noise.flatten(), "norm", (0, 0.5)).pvalue > 1e-3


def test_even_split_keeps_batches_from_being_lonely() -> None:
    assert [len(part) for part in even_split(torch.arange(129), 128)] == [65, 64]


# ---------------------------------------------------------------------------------------------------------------
# Losses that are not finite


@pytest.mark.parametrize(("value", "shown"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_a_loss_that_is_not_finite_stops_training(value: float, shown: str) -> None:
    net = _tiny()
    steps = 0

    def loss(batch: Batch) -> dict[str, Tensor]:
        nonlocal steps
        steps += 1
        terms = _fit(net)(batch)
        return {**terms, "broken": terms["near"] * value} if steps == 6 else terms

    epochs = train(net, (Stage("main", 3, (Player("p", [net.latents], loss),)),), Normals(Rows()), SGD, 0)
    next(epochs)
    with pytest.raises(TrainingError, match=f"{shown}. Try a lower learning rate") as caught:
        next(epochs)
    message = str(caught.value)
    for part in ("loss of p", "epoch 2 of stage main", f"broken = {shown}"):
        assert part in message
    assert "near" not in message
    assert torch.isfinite(net.latents).all()  # the broken step was not taken


def test_terms_that_overflow_only_together_are_told_so() -> None:
    net = _tiny()
    huge = Player("p", [net.latents], lambda b: {n: 3e38 + 0 * net.latents.sum() for n in ("a", "b")})
    with pytest.raises(TrainingError, match="epoch 1 of stage main: the sum of its terms"):
        _run(net, (Stage("main", 1, (huge,)),))


# ---------------------------------------------------------------------------------------------------------------
# Checkpoints


class _Stopping:
    """`_fit` that is stopped by Ctrl-C in its n-th call."""

    def __init__(self, net: Tiny, at: int) -> None:
        self.fit, self.left = _fit(net), at

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.fit(batch)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("epochs_done", [0, 1, 2, 3])
def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path, optimizer: Any, epochs_done: int) -> None:
    """Both stages use `_fit` for all players: 4 calls an epoch in the first, 8 in the second, stopped in the midst."""
    training = replace(SGD, optimizer=optimizer)
    whole = _tiny()
    unbroken, history = _run(whole, _staged(whole, [], _fit(whole)), training)

    path = tmp_path / "run.checkpoint"
    net = _tiny()
    stop = _Stopping(net, [2, 6, 8 + 3, 8 + 8 + 5][epochs_done])
    stages = _staged(net, [], stop)
    with pytest.raises(Interrupted) as caught:
        _run(net, stages, training, checkpoint=path, identity={"seed": 3})
    message = str(caught.value)
    assert f"stopped in epoch {epochs_done + 1} of 4" in message
    assert "--resume" in message
    assert "resume=True" in message
    assert (f"Epochs 1 to {epochs_done} are kept in {path}" if epochs_done else "No epoch was whole") in message
    assert path.exists() == (epochs_done > 0)
    assert all(p.requires_grad for p in net.parameters())  # nothing stays frozen from a step cut short

    other = _tiny(seed=99)  # another start, and another global seed: all must come from the file
    if epochs_done == 0:
        other = _tiny()
    calls: list[str] = []
    resumed, again = _run(
        other, _staged(other, calls, _fit(other)), training, checkpoint=path, resume=True, identity={"seed": 3}
    )
    _assert_same(resumed, unbroken)
    assert [replace(e, seconds=0) for e in again] == [replace(e, seconds=0) for e in history]
    assert calls.count("begin first") == (epochs_done == 0)
    assert calls.count("begin duel") == (epochs_done < 3)
    assert [p.name for p in tmp_path.iterdir()] == ["run.checkpoint"]

    # Resumed when nothing is left to do: the same again, untrained.
    idle = _tiny(seed=98)
    final, third = _run(idle, _staged(idle, calls), training, checkpoint=path, resume=True, identity={"seed": 3})
    _assert_same(final, unbroken)
    assert [e.number for e in third] == [1, 2, 3, 4]
    assert not idle.training


def test_a_run_stopped_between_epochs_or_twice_goes_on(tmp_path: Path) -> None:
    whole = _tiny()
    unbroken, _ = _run(whole, _staged(whole, []))
    path = tmp_path / "c"
    for stop_after in (1, 2, 3, 4):
        net = _tiny()
        for epoch in train(net, _staged(net, []), Normals(Rows()), SGD, 3, checkpoint=path, resume=True):
            if epoch.number == stop_after:
                break
    _assert_same(net.state_dict(), unbroken)


def test_ctrl_c_before_the_first_epoch_is_an_interruption_too(tmp_path: Path) -> None:
    net = _tiny()

    def begin(normals: Normals) -> None:
        raise KeyboardInterrupt

    stages = (replace(_one(net)[0], begin=begin),)
    with pytest.raises(Interrupted, match=r"stopped in epoch 1 of 3\. No epoch was whole"):
        _run(net, stages, checkpoint=tmp_path / "c")
    with pytest.raises(KeyboardInterrupt):
        _run(net, stages)


def test_an_epoch_counts_as_kept_only_once_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = _tiny()
    path = tmp_path / "c"
    written = 0

    def write(*arguments: Any) -> None:
        nonlocal written
        written += 1
        if written == 2:
            raise KeyboardInterrupt
        write_archive(*arguments)

    monkeypatch.setattr(loop, "write_archive", write)
    with pytest.raises(Interrupted, match=r"in epoch 2 of 3\. Epochs 1 to 1 are kept"):
        _run(net, _one(net), checkpoint=path)
    assert len(read_archive(path, "checkpoint.json")[0]["history"]) == 1


def test_without_a_checkpoint_ctrl_c_passes_through() -> None:
    net = _tiny()
    stop = _Stopping(net, 2)
    with pytest.raises(KeyboardInterrupt):
        _run(net, (Stage("s", 1, (Player("p", [net.latents], stop),)),))


def test_a_checkpoint_is_not_overwritten_unasked(tmp_path: Path) -> None:
    net = _tiny()
    path = tmp_path / "c"
    _run(net, _one(net), checkpoint=path)
    kept = path.read_bytes()
    with pytest.raises(InputError, match=r"keeps an unfinished run\. Resume it .* or delete it"):
        _run(net, _one(net), checkpoint=path)
    assert path.read_bytes() == kept


def test_resuming_without_a_checkpoint_begins(tmp_path: Path) -> None:
    net, twin = _tiny(), _tiny()
    _assert_same(_run(net, _one(net), checkpoint=tmp_path / "new" / "c", resume=True)[0], _run(twin, _one(twin))[0])


@pytest.mark.parametrize(
    ("identity", "named"),
    [
        ({"seed": 4, "sizes": (1, 2), "method": "a"}, "seed was 3, now 4"),
        ({"seed": 3, "sizes": (1, 3), "method": "a"}, r"sizes was \[1, 2\], now \[1, 3\]"),
        ({"seed": 3, "sizes": (1, 2)}, "method was 'a', now None"),
        ({"seed": 3, "sizes": (1, 2), "method": "a", "more": True}, "more was None, now True"),
        (None, "method was 'a', now None"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_by_name(tmp_path: Path, identity: Any, named: str) -> None:
    net = _tiny()
    path = tmp_path / "c"
    _run(net, _one(net), checkpoint=path, identity={"seed": 3, "sizes": (1, 2), "method": "a"})
    before = {name: v.clone() for name, v in net.state_dict().items()}
    with pytest.raises(InputError, match=f"keeps a run of something else .*{named}"):
        _run(net, _one(net), checkpoint=path, resume=True, identity=identity)
    _assert_same(net.state_dict(), before)


def test_an_identity_with_tuples_is_still_itself(tmp_path: Path) -> None:
    net = _tiny()
    identity = {"lambdas": (1.0, 1.0), "deep": {"range": (0.08, 1.0)}}
    for _ in range(2):
        _run(net, _one(net), checkpoint=tmp_path / "c", resume=True, identity=identity)


def test_fewer_epochs_than_are_kept_are_refused(tmp_path: Path) -> None:
    net = _tiny()
    _run(net, _one(net), checkpoint=tmp_path / "c")
    with pytest.raises(InputError, match="keeps 3 epochs, but 2 are asked for"):
        _run(net, _one(net, 2), checkpoint=tmp_path / "c", resume=True)


def _edited(change: Callable[[dict[str, Any], dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        content, tensors = read_archive(path, "checkpoint.json")
        change(content, tensors)
        write_archive(path, "checkpoint.json", content, tensors)

    return edit


def _nest_deeply(path: Path) -> None:
    """Nesting that the JSON parser still takes."""
    with zipfile.ZipFile(path) as archive:
        content, packed = json.loads(archive.read("checkpoint.json")), archive.read("tensors.safetensors")
    text = json.dumps({**content, "optimizers": "here"}).replace('"here"', "[" * 850 + "]" * 850)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("checkpoint.json", text)
        archive.writestr("tensors.safetensors", packed)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(b"no checkpoint"),
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        _edited(lambda c, t: c.update(schema=99)),
        _edited(lambda c, t: c.pop("history")),
        _edited(lambda c, t: c.pop("identity")),
        _edited(lambda c, t: c.update(identity=[1])),
        _edited(lambda c, t: c.update(history=[{"number": 1}])),
        _edited(lambda c, t: c.update(optimizers=[{"items": [1, 2]}])),
        _edited(lambda c, t: c.update(optimizers=[{"items": [["state", "param_groups", 3]]}])),
        _edited(lambda c, t: c.update(optimizers=[{"tensor": "nowhere"}])),
        _edited(lambda c, t: c.update(optimizers=[{"items": [["state", {"items": []}]]}])),
        _edited(lambda c, t: c.update(optimizers=[])),
        _edited(lambda c, t: c.update(optimizers=[3])),
        _nest_deeply,
        _edited(lambda c, t: t.pop("model/latents")),
        _edited(lambda c, t: t.update({"model/more": torch.ones(1)})),
        _edited(lambda c, t: t.update({"model/latents": torch.ones(1)})),
    ],
)
def test_a_harmed_checkpoint_is_a_model_file_error(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    path = tmp_path / "c"
    net = _tiny()
    for epoch in train(net, _one(net), Normals(Rows()), SGD, 3, checkpoint=path):
        if epoch.number == 1:
            break
    harm(path)
    with pytest.raises(ModelFileError, match=str(path)):
        _run(net, _one(net), checkpoint=path, resume=True)


# ---------------------------------------------------------------------------------------------------------------
# Precision


def _precisions(training: Training) -> dict[str, torch.dtype]:
    """The types of what a loss sees of the images, a layer's output, and the parameters and gradients afterwards."""
    net = _tiny()
    seen: dict[str, torch.dtype] = {}

    def loss(batch: Batch) -> dict[str, Tensor]:
        out = net.second(torch.tanh(net.first(batch.images.flatten(1))))
        seen.update(images=batch.images.dtype, output=out.dtype)
        return {"l": (out.float() - batch.images.flatten(1)).square().mean()}

    weights, history = _run(net, (Stage("s", 2, (Player("p", list(net.parameters()), loss),)),), training)
    assert history[1].terms["l"] < history[0].terms["l"]
    assert net.second.weight.grad is not None
    seen.update(weights=weights["second.weight"].dtype, gradients=net.second.weight.grad.dtype)
    return seen


def test_float32_is_float32_throughout() -> None:
    assert set(_precisions(SGD).values()) == {torch.float32}


def test_bf16_mixes_bfloat16_into_the_networks_alone() -> None:
    seen = _precisions(replace(SGD, precision="bf16"))
    assert seen["output"] == torch.bfloat16
    assert seen["weights"] == seen["gradients"] == torch.float32


def test_bf16_leaves_the_images_that_losses_see_in_float32() -> None:
    assert _precisions(replace(SGD, precision="bf16"))["images"] == torch.float32


def test_auto_precision_is_bf16_where_the_hardware_has_it() -> None:
    fast = has_fast_bf16(torch.device("cpu"))
    output = _precisions(replace(SGD, precision="auto"))["output"]
    assert output == (torch.bfloat16 if fast else torch.float32)
    assert not has_fast_bf16(torch.device("meta"))


def test_a_resumed_bf16_run_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    training = replace(SGD, precision="bf16")
    whole = _tiny()
    unbroken, _ = _run(whole, _one(whole), training)
    net = _tiny()
    for _ in train(net, _one(net), Normals(Rows()), training, 3, checkpoint=tmp_path / "c"):
        break
    again = _tiny(5)
    _assert_same(_run(again, _one(again), training, checkpoint=tmp_path / "c", resume=True)[0], unbroken)


# ---------------------------------------------------------------------------------------------------------------
# Progress


def test_the_progress_bar_shows_stages_epochs_and_losses(capsys: pytest.CaptureFixture[str]) -> None:
    net = _tiny()
    _run(net, _staged(net, []), progress=True)
    shown = "".join(capsys.readouterr())
    assert "duel" in shown
    assert "epoch 4.0 of 4" in shown
    assert "fit.near" in shown


@pytest.mark.parametrize("batch_size", [6, COUNT])
def test_the_bar_counts_epochs_whatever_their_number_of_steps(
    batch_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[float] = []

    class Fake:
        def __init__(self, *columns: object, console: rich.console.Console) -> None:
            assert console.stderr, "standard output is for results"

        def __enter__(self) -> Fake:
            return self

        def __exit__(self, *_: object) -> None: ...

        def add_task(self, name: str, *, total: int, completed: int, terms: str) -> int:
            assert total == 3
            shown.append(completed)
            return 0

        def update(self, task: int, *, completed: float, description: str, terms: str) -> None:
            assert description == "train"
            shown.append(completed)

    monkeypatch.setattr(rich.progress, "Progress", Fake)
    net, path, training = _tiny(), tmp_path / "c", replace(SGD, batch_size=batch_size)
    for epoch in train(net, _one(net), Normals(Rows()), training, 0, checkpoint=path, progress=True):
        if epoch.number == 2:
            break
    steps = math.ceil(COUNT / batch_size)
    expected = [(step + 1) / steps for step in range(3 * steps)]
    assert shown == pytest.approx([0, *expected[: 2 * steps]])
    shown.clear()
    _run(net, _one(net), training, 0, checkpoint=path, resume=True, progress=True)
    assert shown == pytest.approx([2, *expected[2 * steps :]])


def test_no_bar_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    net = _tiny()
    _run(net, _one(net))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
