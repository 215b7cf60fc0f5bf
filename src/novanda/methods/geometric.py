"""Classification of geometric transformations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.augment import legal_turns, translate
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, require
from novanda.networks import WideResNet
from novanda.samples import Kind, Normals, SampleSpec, even_split
from novanda.training_options import Training

# (mirrored, rows down, columns right, quarter turns), moves in units of `translation`; the first changes nothing.
TRANSFORMATIONS = tuple(itertools.product((False, True), (0, -1, 1), (0, -1, 1), (0, 1, 2, 3)))

_AT_ONCE = 4
_KINDS: tuple[Kind, ...] = ("image", "spectrogram")


@dataclass(frozen=True, kw_only=True)
class Geometric(Method):
    """Classify which of 72 flips x moves x quarter turns was applied (Golan & El-Yaniv 2018; row "Geometric").

    With y(x') the net's 72 softmax responses and T_i the i-th transformation, normality is the mean over i of
    y_i(T_i(x)) ("softmax"), or sum_i sum_k (a_ik - 1) log y_k(T_i(x)) ("dirichlet"), where a_i are the parameters of a
    Dirichlet distribution fitted by maximum likelihood to y(T_i(x)) on training normals. Novelty is its negative.

    The published row has no Dirichlet score; the authors' own tables do. Their WRN-10-4 sees 3 epochs of all 72 copies
    in batches of 128, by Adam. Here each step shows `views` transformations, drawn anew, of all its images: the
    default of 8 views of 16 images in 27 epochs is as many. Departures: the Dirichlet is fitted on at most
    `dirichlet_samples` evenly spaced training images rather than all; moves reflect at the border, as theirs do.
    Scoring takes 72 passes an image.

    A spectrogram can not be turned (see `augment`): there 18 mirrorings x moves are left, in time and in frequency.

    When to use it: where RotNet would be used and scoring time matters less than a few points of AUROC; it also looks
    at where things lie in the frame, so normals should be framed alike.

    Attributes:
        widening: of the WRN-10: its groups have 16, 32 and 64 channels times this.
        width: channels of the first convolution.
        views: transformations shown in a step, of 72; of those that there are, at most.
        translation: how far a move goes, as a share of the side: 8 of 32 pixels.
        dirichlet_samples: training images on which the Dirichlet distributions are fitted, at most.
        score: the headline: "dirichlet" or "softmax".
    """

    name: ClassVar[str] = "geometric"
    title: ClassVar[str] = "Geometric"
    kinds: ClassVar[frozenset[Kind]] = frozenset(_KINDS)
    sides: ClassVar[tuple[int, ...] | None] = (32, 64, 128)
    training: ClassVar[Training] = Training(epochs=27, batch_size=16, optimizer="adam", learning_rate=1e-3)

    widening: int = 4
    width: int = 16
    views: int = 8
    translation: float = 0.25
    dirichlet_samples: int = 1000
    score: Literal["dirichlet", "softmax"] = "dirichlet"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("widening", "width", "dirichlet_samples"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        require(2 <= self.views <= len(TRANSFORMATIONS), self, "views", f"from 2 to {len(TRANSFORMATIONS)}")
        require(0 < self.translation < 1, self, "translation", "a share of the side in (0, 1)")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """A wide residual net with an output for each transformation."""
        return WideResNet(spec.channels, len(legal_places(spec.kind)), 10, self.widening, self.width)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, one player."""

        def loss(batch: Batch) -> dict[str, Tensor]:
            places = legal_places(batch.kind)
            chosen = torch.randperm(len(places), generator=batch.generator)[: self.views]
            views = torch.cat([self.transformed(batch.images, places[number]) for number in chosen.tolist()])
            labels = chosen.repeat_interleave(len(batch.images)).to(views.device)
            return {"transformation": losses.classification_loss(model(views), labels)}

        return (Stage("train", epochs, (Player("model", list(model.parameters()), loss),)),)

    def transformed(self, images: Tensor, place: int) -> Tensor:
        """Samples (B, C, H, H) under the transformation of that place in `TRANSFORMATIONS`."""
        mirrored, rows, columns, turns = TRANSFORMATIONS[place]
        step = max(1, round(self.translation * images.shape[2]))
        moved = translate(images.flip(3) if mirrored else images, rows * step, columns * step)
        # Channels last again, which turning and cutting undo: the convolutions are several times faster on it.
        return torch.rot90(moved, turns, (2, 3)).contiguous(memory_format=torch.channels_last)

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        """The Dirichlet parameters of each of the T transformations that are legal, (T, T): of images (72, 72)."""
        places = legal_places(normals.spec.kind)
        index = torch.linspace(0, len(normals) - 1, min(len(normals), self.dirichlet_samples)).long()
        means = torch.zeros(len(places), len(places), dtype=torch.float64, device=normals.device)
        for _, images in normals.walk(even_split(index, normals.batch_size)):
            for number, log_responses in self._log_responses(model, images, places):
                means[number] += log_responses.sum(0) / len(index)
        return {"dirichlet": fitted_dirichlet(means).float()}

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Minus either normality, over all transformations; higher = more novel."""
        parameters = reference["dirichlet"].double()
        places = _places_of(parameters)
        softmax, dirichlet = (images.new_zeros(images.shape[0], dtype=torch.float64) for _ in range(2))
        for number, log_responses in self._log_responses(model, images, places):
            softmax -= log_responses[:, number].exp() / len(places)
            dirichlet -= (log_responses * (parameters[number] - 1)).sum(1)
        return headline_first({"dirichlet": dirichlet.float(), "softmax": softmax.float()}, self.score)

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """What the last layer sees of the untransformed image."""
        return cast(WideResNet, model).features(images)

    def remarks(self, model: nn.Module, reference: Reference, images: Tensor) -> list[tuple[str, ...]]:
        """Of how many transformations the net took for others."""
        places = _places_of(reference["dirichlet"])
        responses = self._log_responses(model, images, places)
        missed = sum((log_responses.argmax(1) != number).long() for number, log_responses in responses)
        what = "mirrored, moved and turned" if len(places) == len(TRANSFORMATIONS) else "mirrored and moved"
        of = f"of {len(places)} ways in which it was {what}"
        counts = torch.as_tensor(missed).tolist()
        return [(f"The net did not recognise {count} {of}.",) if count else () for count in counts]

    def _log_responses(self, model: nn.Module, images: Tensor, places: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """The number of each of the T transformations at these places, and the log responses (B, T) to it, float64."""
        # All at once would take too much memory; one by one would write the net 72 times into an exported graph.
        for first in range(0, len(places), _AT_ONCE):
            taken = places[first : first + _AT_ONCE]
            logits: Tensor = model(torch.cat([self.transformed(images, place) for place in taken]))
            responses = logits.double().log_softmax(1).view(len(taken), images.shape[0], len(places))
            yield from zip(range(first, first + len(taken)), responses, strict=True)


def legal_places(kind: Kind) -> tuple[int, ...]:
    """Places in `TRANSFORMATIONS` of those that are legal for this kind."""
    turns = legal_turns(kind)
    return tuple(place for place, transformation in enumerate(TRANSFORMATIONS) if transformation[3] in turns)


def _places_of(dirichlet: Tensor) -> tuple[int, ...]:
    """The places whose parameters (T, T) these are: a graph to export knows their number, and no kind."""
    known = {len(places): places for places in map(legal_places, _KINDS)}
    return known[dirichlet.shape[0]]


def fitted_dirichlet(mean_logs: Tensor, most_steps: int = 1000, tolerance: float = 1e-6) -> Tensor:
    """Maximum-likelihood Dirichlet parameters from the mean log responses: (..., K) float64 -> (..., K).

    Minka's fixed point (2000): digamma(a_k) = digamma(sum a) + mean log y_k, begun at a = 1, until no entry moves by
    more than `tolerance` of itself. Responses that hardly vary have parameters without bound; they stop at 1e6. Where a
    net is nearly certain (mean response beyond 0.99) the steps end short of the maximum, with smaller parameters.
    """
    parameters = torch.ones_like(mean_logs)
    for _ in range(most_steps):
        moved = _inverse_digamma(torch.digamma(parameters.sum(-1, keepdim=True)) + mean_logs).clamp(1e-6, 1e6)
        done = bool(((moved - parameters).abs() <= tolerance * moved).all())
        parameters = moved
        if done:
            break
    return parameters


def _inverse_digamma(values: Tensor) -> Tensor:
    """Newton's method from Minka's start; five steps give 14 digits."""
    found = torch.where(values >= -2.22, values.exp() + 0.5, -1 / (values - torch.digamma(torch.ones_like(values))))
    for _ in range(5):
        found = found - (torch.digamma(found) - values) / torch.polygamma(1, found)
    return found
