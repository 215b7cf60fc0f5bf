"""Classification of turns and moves by three heads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.augment import quarter_turns, shift_and_mirror, translate
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, require
from novanda.networks import ResidualNet
from novanda.samples import Kind, SampleSpec
from novanda.training_options import Training

# (rows down, columns right) in units of `translation`; a place's classes are its entries' places in (0, -1, 1).
MOVES = tuple(itertools.product((0, -1, 1), (0, -1, 1)))
HEADS = {"rotation": 4, "vertical": 3, "horizontal": 3}


@dataclass(frozen=True, kw_only=True)
class RotationTranslation(Method):
    """Classify how an image was turned, moved down and moved across, by three heads (Hendrycks et al. 2019).

    Four quarter turns, three vertical and three horizontal moves make 36 views of an image. A net with one head for
    each of the three questions learns to answer them on normals. Of a novel image it is less sure.

    With v one of the 36 views and p_h(v) the probability that head h gives the right answer, the objective is the
    mean of -sum_h log p_h(v), and novelty is -sum_v sum_h log p_h(v), or the same of logits.

    Source: Hendrycks, Mazeika, Kadavath & Song, "Using Self-Supervised Learning Can Improve Model Robustness and
    Uncertainty", NeurIPS 2019 ("RotNet + Translation"). The authors train a WRN-16-4 by SGD at 0.1 with a cosine
    schedule; moves are 8 of 32 pixels. Their own mean over CIFAR-10's classes is 0.900 (RotNet's 0.833 in Table 3);
    the paper's tables have no row of it. Departures, for a CPU's budget: RotNet's residual net of 0.76 M weights,
    AdamW and a one-cycle schedule; training images are mirrored half of the time, and shifted by a few pixels; in each
    step every image is shown in its four turns after one move, the nine moves shared out evenly among a batch, so that
    an epoch costs what one of RotNet does.

    When to use it: things with an upright and a place in the picture, as with RotNet, when scoring may cost over
    four times as much. Where normals lie anywhere in the picture, a move can not be told and its heads only add noise.

    Cost: four forward and backward passes for each image and epoch; 36 forward passes to score.

    Attributes:
        width: channels of the first convolution.
        translation: how far a move goes, as a share of the side: 8 of 32 pixels.
        padding: pixels by which training images are shifted at most before they are moved, reflected at the border.
        score: "log_probability": minus the sum of the right answers' log-probabilities (the authors' score); "logit":
            minus the sum of their logits.
    """

    name: ClassVar[str] = "rot_trans"
    title: ClassVar[str] = "RotNet + Translation"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image"})
    sides: ClassVar[tuple[int, ...] | None] = (32, 64, 128)
    training: ClassVar[Training] = Training(
        epochs=8, batch_size=128, optimizer="adamw", learning_rate=2e-3, weight_decay=0.05, schedule="one_cycle"
    )

    width: int = 32
    translation: float = 0.25
    padding: int = 2
    score: Literal["log_probability", "logit"] = "log_probability"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width >= 1, self, "width", "at least 1")
        require(0 < self.translation < 1, self, "translation", "a share of the side in (0, 1)")
        require(self.padding >= 0, self, "padding", "at least 0")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """A residual net whose outputs are those of the three heads, side by side."""
        return ResidualNet(spec.channels, sum(HEADS.values()), self.width)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, one player."""

        def loss(batch: Batch) -> dict[str, Tensor]:
            mild = shift_and_mirror(batch.images, batch.generator, self.padding, batch.kind)
            moves = torch.randperm(len(MOVES), generator=batch.generator).tolist()
            views, labels = [], []
            for move, part in zip(moves, mild.tensor_split(len(MOVES)), strict=True):
                views.append(self.moved_and_turned(part, move))
                labels.append(right_answers(move, len(part)))
            answers = heads(model(torch.cat(views)))
            right = torch.cat(labels).to(mild.device)
            return {
                name: losses.classification_loss(logits, right[:, place])
                for place, (name, logits) in enumerate(answers.items())
            }

        return (Stage("train", epochs, (Player("model", list(model.parameters()), loss),)),)

    def moved_and_turned(self, images: Tensor, move: int) -> Tensor:
        """Images (B, C, H, H) after the move of that place in `MOVES`, in all four turns: (4 B, C, H, H)."""
        rows, columns = MOVES[move]
        step = min(max(1, round(self.translation * images.shape[2])), images.shape[2] - 1)
        # Channels last again, which turning and cutting undo: the convolutions are several times faster on it.
        views = quarter_turns(translate(images, rows * step, columns * step))
        return views.contiguous(memory_format=torch.channels_last)

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Minus the evidence for the right answers, summed over 36 views and three heads; higher = more novel."""
        count = images.shape[0]
        totals = {"log_probability": images.new_zeros(count), "logit": images.new_zeros(count)}
        for move, answers in self._answers(model, images):
            # Ones where the right answers stand; the views in turn t come t-th.
            right = torch.stack([right_outputs(move, turn) for turn in range(4)])[:, None].to(images)
            for name in totals:
                values = [a.log_softmax(1) if name == "log_probability" else a for a in answers.values()]
                totals[name] = totals[name] - (torch.cat(values, 1).view(4, count, -1) * right).sum((0, 2))
        return headline_first(totals, self.score)

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """What the heads see of the untransformed image."""
        return cast(ResidualNet, model).features(images)

    def remarks(self, model: nn.Module, reference: Reference, images: Tensor) -> list[tuple[str, ...]]:
        """Of how many views the net answered a question wrongly."""
        missed = torch.zeros(len(images), dtype=torch.long, device=images.device)
        for move, answers in self._answers(model, images):
            given = torch.stack([logits.argmax(1) for logits in answers.values()], 1)
            wrong = (given != right_answers(move, len(images)).to(given.device)).any(1)
            missed += wrong.view(4, -1).sum(0)
        of = f"of {4 * len(MOVES)} ways in which it was moved and turned"
        return [(f"The net did not recognise {count} {of}.",) if count else () for count in missed.tolist()]

    def _answers(self, model: nn.Module, images: Tensor) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Each move's place and the heads' logits (4 B, classes), float32."""
        for move in range(len(MOVES)):
            yield move, heads(model(self.moved_and_turned(images, move)).float())


def heads(outputs: Tensor) -> dict[str, Tensor]:
    """The net's outputs (B, 10) head by head, in the order of `HEADS`."""
    return dict(zip(HEADS, torch.split(outputs, list(HEADS.values()), 1), strict=True))


def right_answers(move: int, count: int) -> Tensor:
    """The labels of the views that `moved_and_turned` makes of `count` images: (4 count, 3) int64, a column a head."""
    vertical, horizontal = divmod(move, 3)
    return torch.tensor([(turn, vertical, horizontal) for turn in range(4)]).repeat_interleave(count, 0)


def right_outputs(move: int, turn: int) -> Tensor:
    """1 where an output of the net is a head's right answer, 0 elsewhere: (10,)."""
    answers = zip((turn, *divmod(move, 3)), HEADS.values(), strict=True)
    return torch.cat([torch.arange(classes) == answer for answer, classes in answers])
