"""The contract of a novelty-detection method.

A method is a frozen dataclass whose fields are its hyper-parameters and whose functions say how to build, train and
score; it holds no state. What it learns lives in two places that the `Detector` keeps: the weights of the module that
`build` makes, and the named tensors that `reference` returns.

Adding a method is one file in `methods/` and its name in the tuple there. An auto-encoder has one player a step, a
GAN has two; pretraining is a stage before the main one. No method owns a loop: `training.train` is the only one.

Letters: B batch, C channels, H height, W width, N training samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

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


@dataclass(frozen=True)
class Stage:
    """A stretch of training with its own players.

    Attributes:
        name: shown in progress and history.
        epochs: its length in passes over the normals.
        players: who steps, in this order.
        begin: called once before its first epoch with the model in eval mode; what it computes from the normals it must
            write into parameters or buffers of the model, for a resumed run starts from these alone.
    """

    name: str
    epochs: int
    players: tuple[Player, ...]
    begin: Callable[[Normals], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Method:
    """Parent of all methods (the only level of inheritance). Fields of subclasses are hyper-parameters."""

    name: ClassVar[str]
    """What the command line and result lines call it."""
    title: ClassVar[str]
    """What tables call it."""
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

        Called in eval mode without gradients. A sample's scores must not depend on the company it is scored in.
        """
        raise NotImplementedError

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor | None:
        """What the method expected to see, (B, C, H, W) in [-1, 1]; None for methods that reconstruct nothing."""
        return None


def require(holds: bool, method: Method, field: str, expectation: str) -> None:
    """Raise InputError naming a method's field unless its value holds what is expected of it."""
    if not holds:
        raise InputError(f"{type(method).__name__}.{field} must be {expectation}; got {getattr(method, field)!r}")


def headline_first(scores: dict[str, Tensor], headline: str) -> dict[str, Tensor]:
    """The same scores, the named one in front."""
    return {headline: scores[headline], **scores}
