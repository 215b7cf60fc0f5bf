"""Rotation classification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.augment import quarter_turns, shift_and_mirror
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, require
from novanda.networks import ResidualNet
from novanda.samples import Kind, SampleSpec
from novanda.training_options import Training


@dataclass(frozen=True, kw_only=True)
class RotNet(Method):
    """Classify which of four quarter turns was applied; a novel image's turns are not recognised.

    Gidaris & Komodakis 2018; as a novelty detector Golan & El-Yaniv 2018 and Hendrycks et al. 2019. Every training
    image is seen in all four turns in each step. Departures from the published row (a WRN-16-4 trained by SGD 0.1): a
    residual net of 0.76 M weights, AdamW and a one-cycle schedule, a CPU's budget; scores averaged over a mirroring.
    Four passes an image in training, eight in scoring.

    When to use it: for things with an upright: vehicles, animals, people, products lying one way. Useless where a
    turned normal is a normal (cells, tablets, views from above): its classes can not be told apart then.

    Attributes:
        width: channels of the first convolution.
        padding: pixels by which training images are shifted at most, reflected at the border.
        score: "logit": minus the sum over turns of the right turn's logit; "log_probability": minus the sum of its
            log-probability (the published score).
    """

    name: ClassVar[str] = "rotnet"
    title: ClassVar[str] = "RotNet"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image"})
    sides: ClassVar[tuple[int, ...] | None] = (32, 64, 128)
    training: ClassVar[Training] = Training(
        epochs=8, batch_size=128, optimizer="adamw", learning_rate=2e-3, weight_decay=0.05, schedule="one_cycle"
    )

    width: int = 32
    padding: int = 4
    score: Literal["logit", "log_probability"] = "logit"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width >= 1, self, "width", "at least 1")
        require(self.padding >= 0, self, "padding", "at least 0")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """A residual net with four outputs."""
        return ResidualNet(spec.channels, classes=4, width=self.width)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, one player."""

        def loss(batch: Batch) -> dict[str, Tensor]:
            views = quarter_turns(shift_and_mirror(batch.images, batch.generator, self.padding, batch.kind))
            return {"rotation": losses.classification_loss(model(views), turn_labels(views))}

        return (Stage("train", epochs, (Player("model", list(model.parameters()), loss),)),)

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Minus the evidence for the right turn, summed over turns, averaged over a mirroring; higher = more novel."""
        count = images.shape[0]
        totals = {"logit": images.new_zeros(count), "log_probability": images.new_zeros(count)}
        for view in (images, images.flip(3)):
            logits: Tensor = model(quarter_turns(view)).float()
            for name, values in (("logit", logits), ("log_probability", logits.log_softmax(1))):
                totals[name] = totals[name] - 0.5 * right_turns(values).sum(1)
        return headline_first(totals, self.score)

    def remarks(self, model: nn.Module, reference: Reference, images: Tensor) -> list[tuple[str, ...]]:
        """The turns that the net, asked of the image and of its mirror image, took for others."""
        answers = torch.stack([model(quarter_turns(view)).float().log_softmax(1) for view in (images, images.flip(3))])
        taken = answers.sum(0).argmax(1).view(4, -1).T.tolist()
        return [
            tuple(
                f"The net did not recognise it {_in_words(turn)}: it took that for {_in_words(answer)}."
                for turn, answer in enumerate(row)
                if answer != turn
            )
            for row in taken
        ]

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """What the last layer sees of the upright image."""
        return cast(ResidualNet, model).features(images)


def turn_labels(views: Tensor) -> Tensor:
    """The label of each view that `quarter_turns` gives: (4 B,)."""
    return torch.arange(4, device=views.device).repeat_interleave(len(views) // 4)


def right_turns(values: Tensor) -> Tensor:
    """Of values (4 B, 4) for the views that `quarter_turns` gives, those of each view's right turn: (B, 4)."""
    # The samples of turn t come t-th, and their right class is t.
    return values.view(4, values.shape[0] // 4, 4).diagonal(dim1=0, dim2=2)


def _in_words(turn: int) -> str:
    return f"turned by {90 * turn} degrees" if turn else "upright"
