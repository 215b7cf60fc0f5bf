"""The one training loop, on lightning-fabric. `Training` itself lives in `training_options`."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from novanda.checkpoint import flatten, read_archive, unflatten, write_archive
from novanda.errors import InputError, Interrupted, ModelFileError, TrainingError
from novanda.method import Batch, Loss, Player, Stage
from novanda.networks import channels_last
from novanda.samples import Normals, even_split
from novanda.training_options import Schedule, Training

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Epoch", "Training", "has_fast_bf16", "resolve_device", "seeded", "train"]

_MEMBER = "checkpoint.json"
_SCHEMA = 1


@dataclass(frozen=True)
class Epoch:
    """What one pass over the normals came to.

    Attributes:
        number: counted from 1 over all stages; `total` is how many there will be.
        stage: the stage's name.
        terms: the mean of each loss term over the epoch's steps.
        seconds: wall-clock time of the epoch.
    """

    number: int
    total: int
    stage: str
    terms: Mapping[str, float]
    seconds: float


def resolve_device(training: Training) -> torch.device:
    """The device that `Training.device` means here; InputError where it is not present."""
    if training.device == "auto":
        # Not Apple's "mps" unless it is asked for by name: it has no float64, and nobody has run novanda on it.
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(training.device)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError(f"novanda does not train on {device.type}")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"Training.device must be 'auto', 'cpu', 'cuda', 'cuda:1' or the like, or 'mps', and present here; got "
            f"{training.device!r}: {reason}. 'auto' takes a CUDA GPU where there is one"
        ) from error
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is done by the hardware, not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in checks)
    return False


@contextlib.contextmanager
def seeded(*entropy: int) -> Iterator[torch.Generator]:
    """Seed torch's global generators inside the block only, and give a CPU generator of the same origin."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def schedule_factor(schedule: Schedule, progress: float) -> float:
    """The learning rate as a share of its maximum, `progress` running from 0 to 1 over a stage."""
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    rise = 0.3
    if progress < rise:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * progress / rise))
    return 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


class _Step(nn.Module):
    """A player's loss as a module's forward, which is what the engine wraps with precision and synchronisation."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Callable[[], Batch]) -> dict[str, Tensor]:
        # A function, for the engine would cast any tensor that it finds among the inputs to bfloat16: to a loss,
        # images are the target as well, and stay float32. What layers make of them is autocast's business.
        return dict(self.loss(batch()))


@dataclass(frozen=True)
class _Seat:
    """A player with its optimizer, set up on the engine."""

    player: Player
    step: nn.Module
    optimizer: Any
    learning_rate: float


def train(
    model: nn.Module,
    stages: Sequence[Stage],
    normals: Normals,
    training: Training,
    seed: int,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    identity: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Generator[Epoch, None, None]:
    """Train in place, stage after stage, yielding each finished epoch.

    The order of samples and all random numbers of an epoch follow from `seed`, the stage and the epoch alone, so that
    a run resumed from a checkpoint ends where an unbroken one does.

    Args:
        model: moved to the device; in train mode during epochs, in eval mode when an epoch is yielded.
        normals: the samples to learn from; its batches must come on the device of `training`.
        training: with nothing left open (`Training.filled`).
        checkpoint: file written after every epoch.
        resume: go on from `checkpoint` where it exists; its epochs are yielded again, untrained. Without `resume` an
            existing checkpoint is an error rather than overwritten.
        identity: what must be the same in a resumed run (method, training, data); any JSON object.
        progress: show a bar with losses and the time left.

    Raises:
        TrainingError: a loss is not finite; names the epoch, the term and what to try.
        Interrupted: Ctrl-C with a checkpoint at hand; without one KeyboardInterrupt passes through.
    """
    fabric = _engine(training)
    model.to(fabric.device)
    channels_last(model)
    total = sum(stage.epochs for stage in stages)
    history: list[Epoch] = []
    saved = _read_checkpoint(checkpoint, resume, identity)
    if saved is not None:
        assert checkpoint is not None
        _restore(checkpoint, model, saved.model)
        history = list(saved.history)
        if len(history) > total:
            raise InputError(
                f"{checkpoint} keeps {len(history)} epochs, but {total} are asked for. Ask for at least as many, or "
                "delete it to start afresh"
            )
        model.eval()
        yield from history
    with _bar(total, len(history), progress) as bar:
        done = len(history)
        for number, stage in enumerate(stages):
            if done >= stage.epochs:
                done -= stage.epochs
                continue
            if done == 0 and stage.begin is not None:
                model.eval()
                # No epoch has this number, so that what begins a stage shares no random numbers with one.
                with _interruptible(checkpoint, history, total), seeded(seed, number, stage.epochs), torch.no_grad():
                    stage.begin(normals)
            seats = [_seat(fabric, model, player, training) for player in stage.players]
            if done and saved is not None:
                assert checkpoint is not None
                _restore_optimizers(checkpoint, seats, saved.optimizers)
            for epoch in range(done, stage.epochs):
                with _interruptible(checkpoint, history, total):
                    with seeded(seed, number, epoch) as generator:
                        started = time.perf_counter()
                        terms = _epoch(fabric, model, stage, seats, normals, training, epoch, generator, bar)
                    finished = Epoch(len(history) + 1, total, stage.name, terms, time.perf_counter() - started)
                    if checkpoint is not None:
                        _write_checkpoint(checkpoint, model, seats, [*history, finished], identity)
                    history.append(finished)
                bar.finished = len(history)
                model.eval()
                yield finished
            done = 0


@contextlib.contextmanager
def _interruptible(checkpoint: Path | None, history: Sequence[Epoch], total: int) -> Iterator[None]:
    """Turn Ctrl-C inside the block into Interrupted where there is a checkpoint to go on from."""
    try:
        yield
    except KeyboardInterrupt:
        if checkpoint is None:
            raise
        kept = f"Epochs 1 to {len(history)} are kept in {checkpoint}" if history else "No epoch was whole"
        raise Interrupted(
            f"stopped in epoch {len(history) + 1} of {total}. {kept}; give the same command with --resume "
            "(or fit(..., resume=True)) to go on"
        ) from None


def _engine(training: Training) -> Fabric:
    from lightning_fabric import Fabric  # 2 s to import: not for those who only score

    device = resolve_device(training)
    mixed = training.precision == "bf16" or (training.precision == "auto" and has_fast_bf16(device))
    devices: Any = [device.index] if device.index is not None and device.type != "cpu" else 1
    log = logging.getLogger("lightning_fabric")
    level = log.level
    log.setLevel(logging.WARNING)  # it announces its precision at every start
    try:
        return Fabric(accelerator=device.type, devices=devices, precision="bf16-mixed" if mixed else "32-true")
    finally:
        log.setLevel(level)


def _seat(fabric: Fabric, model: nn.Module, player: Player, training: Training) -> _Seat:
    spared = {id(p) for p in player.undecayed}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in player.parameters if id(p) not in spared], "weight_decay": training.weight_decay},
        {"params": [p for p in player.parameters if id(p) in spared], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate = training.learning_rate if player.learning_rate is None else player.learning_rate
    assert rate is not None
    assert training.momentum is not None
    optimizer: torch.optim.Optimizer
    if training.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=training.momentum)
    elif training.optimizer == "rmsprop":
        optimizer = torch.optim.RMSprop(groups, lr=rate, momentum=training.momentum)
    elif training.optimizer == "adam":
        optimizer = torch.optim.Adam(groups, lr=rate, betas=(training.momentum, 0.999))
    else:
        optimizer = torch.optim.AdamW(groups, lr=rate, betas=(training.momentum, 0.999))
    step = fabric.setup_module(_Step(model, player.loss), move_to_device=False)
    return _Seat(player, step, fabric.setup_optimizers(optimizer), rate)


def _epoch(
    fabric: Fabric,
    model: nn.Module,
    stage: Stage,
    seats: Sequence[_Seat],
    normals: Normals,
    training: Training,
    epoch: int,
    generator: torch.Generator,
    bar: _Bar,
) -> dict[str, float]:
    """One pass: every player steps on every batch, in turn. Returns the mean of each term."""
    assert training.batch_size is not None
    assert training.schedule is not None
    model.train()
    places = torch.arange(len(normals)) if stage.walked is None else stage.walked(len(normals))
    order = even_split(places[torch.randperm(len(places), generator=generator)], training.batch_size)
    sums: dict[str, float] = {}
    for place, (index, images) in enumerate(normals.walk(order)):
        done = (epoch * len(order) + place) / (stage.epochs * len(order))
        if images.dim() == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        for seat in seats:
            for group in seat.optimizer.param_groups:
                group["lr"] = seat.learning_rate * schedule_factor(training.schedule, done)
            with _only_gradients_of(seat.player, model):
                terms = seat.step(functools.partial(Batch, images, index, generator, normals.spec.kind, done))
                stacked = torch.stack(list(terms.values()))
                loss = stacked.sum()
                # Read at once: each reading makes a GPU wait for all that was asked of it.
                *values, total = torch.cat([stacked, loss[None]]).tolist()
                if not math.isfinite(total):
                    raise _not_finite(terms, seat.player, stage, epoch, seat.optimizer.param_groups[0]["lr"])
                seat.optimizer.zero_grad()
                fabric.backward(loss)
                seat.optimizer.step()
            for name, value in zip(terms, values, strict=True):
                key = name if len(seats) == 1 else f"{seat.player.name}.{name}"
                sums[key] = sums.get(key, 0.0) + value
        bar.advance(stage, (place + 1) / len(order), {name: value / (place + 1) for name, value in sums.items()})
    return {name: value / len(order) for name, value in sums.items()}


@contextlib.contextmanager
def _only_gradients_of(player: Player, model: nn.Module) -> Iterator[None]:
    """Inside the block no other parameter of the model gets gradients; after it, all are as they were."""
    own = {id(parameter) for parameter in player.parameters}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def _not_finite(terms: Mapping[str, Tensor], player: Player, stage: Stage, epoch: int, rate: float) -> TrainingError:
    wrong = [f"{name} = {term.item()}" for name, term in terms.items() if not math.isfinite(term.item())]
    return TrainingError(
        f"the loss of {player.name} is not finite in epoch {epoch + 1} of stage {stage.name}: "
        f"{', '.join(wrong) or 'the sum of its terms'}. Try a lower learning rate (it is {rate:g}), "
        "precision='32', or look for constant or broken samples with `novanda inspect`"
    )


# ---------------------------------------------------------------------------------------------------------------
# Progress


class _Bar:
    """A progress bar over epochs that can be advanced by fractions; silent where not wanted."""

    def __init__(self, rich: Any = None, task: Any = None, finished: int = 0) -> None:
        self.rich, self.task, self.finished = rich, task, finished

    def advance(self, stage: Stage, share: float, terms: Mapping[str, float]) -> None:
        if self.rich is None:
            return
        shown = "  ".join(f"{name} {value:.4g}" for name, value in terms.items())
        self.rich.update(self.task, completed=self.finished + share, description=stage.name, terms=shown)


@contextlib.contextmanager
def _bar(total: int, finished: int, wanted: bool) -> Iterator[_Bar]:
    if not wanted:
        yield _Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.completed:.1f} of {task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[terms]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as rich:
        task = rich.add_task("training", total=total, completed=finished, terms="")
        yield _Bar(rich, task, finished)


# ---------------------------------------------------------------------------------------------------------------
# Checkpoints


@dataclass(frozen=True)
class _Saved:
    model: dict[str, Tensor]
    optimizers: list[Any]
    history: list[Epoch]


def _write_checkpoint(
    path: Path, model: nn.Module, seats: Sequence[_Seat], history: Sequence[Epoch], identity: Mapping[str, Any] | None
) -> None:
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    optimizers = [flatten(seat.optimizer.state_dict(), tensors, f"optimizer/{i}") for i, seat in enumerate(seats)]
    content = {
        "schema": _SCHEMA,
        "identity": dict(identity or {}),
        "history": [asdict(epoch) for epoch in history],
        "optimizers": optimizers,
    }
    write_archive(path, _MEMBER, content, tensors)


def _read_checkpoint(path: Path | None, resume: bool, identity: Mapping[str, Any] | None) -> _Saved | None:
    if path is None or not path.exists():
        return None
    if not resume:
        raise InputError(
            f"{path} keeps an unfinished run. Resume it (--resume, or resume=True) or delete it to start afresh"
        )
    content, tensors = read_archive(path, _MEMBER)
    try:
        if content["schema"] != _SCHEMA:
            raise ModelFileError(f"{path} has checkpoint schema {content['schema']}; this version reads {_SCHEMA}")
        # Through JSON, as the kept one went: a tuple must equal the list that it became.
        kept, wanted = content["identity"], json.loads(json.dumps(dict(identity or {})))
        different = [k for k in sorted({*kept, *wanted}) if kept.get(k) != wanted.get(k)]
        if different:
            shown = "; ".join(_difference(k, kept.get(k), wanted.get(k)) for k in different)
            raise InputError(f"{path} keeps a run of something else ({shown}). Delete it or give what it began with")
        return _Saved(
            {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")},
            [unflatten(state, tensors) for state in content["optimizers"]],
            [Epoch(**epoch) for epoch in content["history"]],
        )
    except (InputError, ModelFileError):
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise _damaged(path, error) from error


def _difference(name: str, before: Any, now: Any) -> str:
    """What differs, down to the fields where both are JSON objects."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return "; ".join(_difference(f"{name}.{key}", before.get(key), now.get(key)) for key in keys)
    return f"{name} was {before!r}, now {now!r}"


def _restore(path: Path, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise _damaged(path, error) from error


def _restore_optimizers(path: Path, seats: Sequence[_Seat], states: Sequence[Any]) -> None:
    try:
        for seat, state in zip(seats, states, strict=True):
            seat.optimizer.load_state_dict(state)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(f"{path} is damaged or of another model: {error}. Delete it to start afresh")
