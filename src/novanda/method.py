"""The contract of a novelty-detection method.

A method is a frozen dataclass whose fields are its hyper-parameters and whose functions say how to build, train and
score; it holds no state. What it learns lives in two places that the `Detector` keeps: the weights of the module that
`build` makes, and the named tensors that `reference` returns.

Adding a method is one file in `methods/` and its name in the tuple there. An auto-encoder has one player a step, a
GAN has two; pretraining is a stage before the main one. No method owns a loop: `training.train` is the only one.

Letters: B batch, C channels, H height, W width, N training samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from novanda.errors import InputError
from novanda.samples import Kind, Normals, SampleSpec
from novanda.training_options import Training

Reference = Mapping[str, Tensor]
Loss = Callable[["Batch"], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Batch:
    """What a loss gets to see of one step.

    Attributes:
        images: float32 (B, C, H, W), -1 to 1.
        index: int64 (B,), each sample's place among the N training samples (on the CPU).
        generator: the only source of random numbers a loss may draw from; lives on the CPU.
        kind: what the samples are, for `augment`.
        progress: how far this stage has come, from 0 at its first step towards 1.
    """

    images: Tensor
    index: Tensor
    generator: torch.Generator
    kind: Kind
    progress: float

    def normal(self, *shape: int) -> Tensor:
        """Draws from N(0, 1) out of the generator, of this shape, float32 beside the images."""
        return torch.randn(shape, generator=self.generator).to(self.images.device)

    def uniform(self, *shape: int) -> Tensor:
        """Draws from U(-1, 1) out of the generator, of this shape, float32 beside the images."""
        return (2.0 * torch.rand(shape, generator=self.generator) - 1.0).to(self.images.device)

    def noisy(self, deviation: float) -> Tensor:
        """The images with normal noise of this standard deviation on every value."""
        return self.images + deviation * self.normal(*self.images.shape)


@dataclass(frozen=True)
class Player:
    """One set of parameters and the loss it minimises; the players of a stage step in turn on every batch.

    Attributes:
        name: shown beside its losses.
        parameters: what this player's optimizer changes; while it steps, no other parameter gets gradients.
        loss: a batch to named scalar terms, already weighted, whose sum is minimised.
        undecayed: those of `parameters` that weight decay spares.
        learning_rate: in place of the training's own.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Loss
    undecayed: Sequence[nn.Parameter] = ()
    learning_rate: float | None = None


def parameters_of(*modules: nn.Module) -> list[nn.Parameter]:
    """All parameters of these modules, for a player that owns them."""
    return [parameter for module in modules for parameter in module.parameters()]


@dataclass(frozen=True)
class Stage:
    """A stretch of training with its own players.

    Attributes:
        name: shown in progress and history.
        epochs: its length in passes over the normals.
        players: who steps, in this order.
        walked: the places of the normals that an epoch goes through, of the number it is given; a place may come up
            more than once. None: each once.
        begin: called once before its first epoch with the model in eval mode; what it computes from the normals it must
            write into parameters or buffers of the model, for a resumed run starts from these alone.
    """

    name: str
    epochs: int
    players: tuple[Player, ...]
    begin: Callable[[Normals], None] | None = None
    walked: Callable[[int], Tensor] | None = None


@dataclass(frozen=True, kw_only=True)
class Method:
    """Parent of all methods (the only level of inheritance). Fields of subclasses are hyper-parameters."""

    name: ClassVar[str]
    """What the command line and result lines call it."""
    title: ClassVar[str]
    """What tables call it."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """Other names that the command line understands."""
    kinds: ClassVar[frozenset[Kind]]
    """The kinds of samples it can learn from."""
    sides: ClassVar[tuple[int, ...] | None] = None
    """The square image sides it can take, in pixels; None: any shape."""
    training: ClassVar[Training] = Training()
    """How its authors train it; what a user's `Training` leaves open is taken from here."""
    training_only: ClassVar[tuple[str, ...]] = ()
    """Prefixes of model state that scoring does not need and a saved detector leaves out."""
    minimum_samples: ClassVar[int] = 2
    """The fewest training samples it can learn from."""

    def __post_init__(self) -> None:
        """Hold every field to its declared type; a subclass calls this first, then checks its ranges with `require`.

        Without it a wrong type would pass here (latent_dim=2.5, learn_latents="no") and fail hours later, or never.
        """
        hints = get_type_hints(type(self))
        for each in fields(self):
            hint = hints[each.name]
            require(_fits(getattr(self, each.name), hint), self, each.name, _in_words(hint))

    def usual_training(self) -> Training:
        """How it is trained unless the user says otherwise: its authors' way, whatever its fields."""
        return self.training

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """The networks for `count` samples of this spec, freshly initialised from torch's global generator."""
        return nn.Module()

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """How to train the model in about `epochs` passes; () where nothing is learned by gradient."""
        return ()

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        """What scoring compares with, from the training normals and the trained model in eval mode: a bank, a centre.

        Returns named tensors of any shape; {} where the weights are all there is.
        """
        return {}

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Novelty of scaled samples (B, C, H, W), each score (B,) float32, HIGHER = MORE NOVEL, the headline first.

        Called in eval mode without gradients. A sample's scores must not depend on the company it is scored in. Made
        of tensor operations alone, for `Detector.load` may try the shapes of a file on tensors without content.

        One that has to search by gradient turns gradients on for itself, around copies of what it was given
        (`torch.inference_mode(False)`, `torch.enable_grad()`), and says so in `export_obstacle`.
        """
        raise NotImplementedError

    def export_obstacle(self) -> str | None:
        """Why no graph of tensor operations can score as `novelty` does with these settings, and what can; or None.

        What follows "... can not be exported to ONNX: " in the error that `novanda export` then ends with.
        """
        return None

    def findings(self, model: nn.Module, reference: Reference) -> list[str]:
        """What fitting found that a person should know: sentences, often none. Called once, after `reference`."""
        return []

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor | None:
        """What the method expected to see, (B, C, H, W) on the scale of `images`; None where nothing is reconstructed.

        Not clamped, for scores are taken from it: a linear method may overshoot [-1, 1].
        """
        return None

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor | None:
        """The features in which the method itself sees samples, (B, d) float32; None where it has only the samples.

        Called as `novelty` is. What lies near in them looks alike to the method; pictures and nearest normals use them.
        """
        return None

    def remarks(self, model: nn.Module, reference: Reference, images: Tensor) -> list[tuple[str, ...]]:
        """What a person should know about each sample that its score does not say: short sentences, often none.

        Called as `novelty` is; a sample's remarks must not depend on the company it is in.
        """
        return [()] * len(images)


def require(holds: bool, method: Method, field: str, expectation: str) -> None:
    """Raise InputError naming a method's field unless its value holds what is expected of it."""
    if not holds:
        raise InputError(f"{type(method).__name__}.{field} must be {expectation}; got {getattr(method, field)!r}")


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of the declared type: True is no number, 1 serves as a float, NaN and infinity do not."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint in (int, float):
        number = isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
        return number and -math.inf < value < math.inf  # type: ignore[operator]
    if origin is Literal:
        return isinstance(value, str | int) and value in parts and type(value) in map(type, parts)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        wanted = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(value) == len(wanted) and all(map(_fits, value, wanted))
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    return isinstance(value, hint)


def _in_words(hint: Any) -> str:
    """What `_fits` expects, for a message."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple:
        return f"a tuple, each of it {_in_words(parts[0])}" + (
            "" if parts[-1] is Ellipsis else f", {len(parts)} in all"
        )
    if origin in (Union, UnionType):
        return " or ".join(map(_in_words, parts))
    simple = {int: "a whole number", float: "a finite number", bool: "True or False", NoneType: "None"}
    return simple.get(hint) or f"a {hint.__name__}"


def headline_first(scores: dict[str, Tensor], headline: str) -> dict[str, Tensor]:
    """The same scores, the named one in front."""
    return {headline: scores[headline], **scores}
