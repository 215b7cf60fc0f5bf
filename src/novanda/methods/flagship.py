"""novanda's own method: the evidence of shifts, and distances on three levels of what learned them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from novanda import losses
from novanda.augment import false_colors, negative_shifts, shift_and_mirror, shifted
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, require
from novanda.neighbours import ComparisonAxes, comparison_axes, every_axis, nearest_at_places, nearest_distance
from novanda.networks import PlaceNet
from novanda.samples import Kind, Normals, SampleSpec, even_split
from novanda.shift_ensemble import TEXTURE_GRIDS, ShiftEnsemble, Sight, logits_of, reliability
from novanda.symmetry import mirroring_shows
from novanda.training_options import Training

Preset = Literal["quick", "standard", "thorough"]
Score = Literal["novelty", "shift", "shape", "parts", "texture"]

_SIZES: dict[Preset, tuple[int, int, int]] = {"quick": (16, 1, 18), "standard": (32, 1, 30), "thorough": (48, 2, 60)}
"""Of each preset the width, the members and the epochs."""
_PART_AXES = 64


@dataclass(frozen=True, kw_only=True)
class Novanda(Method):
    """A net learns to name shifts of the normals; it is asked how sure it is, and how near on three levels normals are.

    A shift turns a sample into what is surely no normal: a photo by quarter turns, a motion likewise with its vectors,
    a spectrogram by reversing time, frequency or both. A net that names the shift must know how normals look, and fails
    on what it has never seen. Failing is not all that shows: the same net's features are compared with those of
    normals, for the whole (shape), place by place (parts) and averaged over cells (texture), since what differs in
    texture alone still has an upright.

    Who names turns may be blind to colours. So of an image, not of a motion or a spectrogram, a second, smaller net
    names at each place which colours it was given: its own, its channels exchanged, inverted or gray (of one channel:
    its own or inverted). For parts and texture what both nets see is compared, side by side.

    A mirroring is no shift for most photos, whose mirror images are as normal as they are, and is one for digits, shoes
    and parts that always lie alike. The normals decide before training begins, by whether their mirror images lie
    farther from other normals' pixels than they do themselves: then there are eight shifts in place of four; otherwise
    half of the samples are mirrored in training, and scores are averaged over it.

    With l[t, o] the logit for shift o of the sample under shift t, r[t, o] = max(0, P(l[t, t] > l[t, o]) + P(l[o, o] >
    l[o, t]) - 1) over held-out normals says how well those two can be told apart at all (a round thing has no upright:
    r is 0 there).
    Scores: shift = -sum r[t, o] (l[t, t] - l[t, o]) / sum r; shape = mean distance to the k nearest normals on the last
    layer, of unit length under each shift and those side by side, along all principal axes; parts = distance to the
    nearest normal at the same place on the nets' third level, averaged over 8 x 8 places; texture = mean distance to
    the k nearest normals on their second level, averaged over cells of several grids; both along leading principal axes
    of standardised features. All axes are halfway whitened, and mirrored normals are normals too where mirroring is no
    shift. Each score is standardised by mean and deviation of held-out normals, and novelty is their mean, where shift
    counts three times the mean r, shape three times and the others once. No novelty is needed or used for any of this.

    Objective: cross-entropy of the shift, every sample seen under all four in each step (Gidaris & Komodakis 2018),
    mirrored or not by chance; and cross-entropy of the colours over all places, every sample seen in one of them. The
    nets are residual ones of 0.76 M and 0.46 M weights at width 32, by AdamW and a one-cycle schedule. Ours are the
    weighting by reliability, the trial of the mirroring, the comparison on three levels and its fusion. Choices were
    made on training images: a class's first 4,000 against its other 1,000 and other classes', of CIFAR-10 and, the last
    ones, of Fashion-MNIST; that of the mirroring on digits and garments, for it shows on no class of CIFAR-10. What was
    scored on test images meanwhile, docs/flagship.md says. Four passes an image in training and eight in scoring, one
    and two of the second net, and the comparison with the banks. For reliability, means and deviations a tenth of the
    normals is held out of training, of recordings in runs of segments; fewer than a thousand are walked several times
    an epoch.

    When to use it: first. For photos of things, also few or gray; for sounds and clips. The patch dictionary is quicker
    for plain textures; where a network trained on many other images is allowed, try frozen features too.

    Attributes:
        preset: "quick", "standard" or "thorough" (width 16, 32, 48; 18, 30, 60 epochs; 1, 1, 2 members):
            thorough is for who has a GPU: on one it was a little ahead of standard. What follows overrides it.
        width: channels of the first convolution; 0: the preset's.
        members: nets trained side by side whose answers are averaged; 0: the preset's.
        padding: pixels by which training samples are shifted at most, reflected at the border.
        shift_weight, shape_weight, parts_weight, texture_weight: what each standardised score counts.
        components: principal axes of the texture; clamped to what the normals allow.
        neighbours: k; clamped to the number of normals kept.
        bank: normals kept to compare shape and texture with, at most; spaced evenly. At width 32 each takes 5 KiB.
        parts_bank: how many of them parts are compared with, at most; each takes 16 KiB. Where mirroring is no shift,
            either is kept mirrored too and takes twice as much.
        score: the headline.
    """

    name: ClassVar[str] = "novanda"
    title: ClassVar[str] = "novanda"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image", "spectrogram", "flow"})
    sides: ClassVar[tuple[int, ...] | None] = (32, 64, 128)
    training: ClassVar[Training] = Training(
        epochs=30, batch_size=64, optimizer="adamw", learning_rate=2e-3, weight_decay=0.05, schedule="one_cycle"
    )
    training_only: ClassVar[tuple[str, ...]] = ("held_out", "colors.head.")
    minimum_samples: ClassVar[int] = 8

    preset: Preset = "standard"
    width: int = 0
    members: int = 0
    padding: int = 4
    shift_weight: float = 3.0
    shape_weight: float = 3.0
    parts_weight: float = 1.0
    texture_weight: float = 1.0
    components: int = 256
    neighbours: int = 1
    bank: int = 6_000
    parts_bank: int = 2_000
    score: Score = "novelty"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "members"):
            require(getattr(self, name) >= 0, self, name, "at least 1, or 0 for the preset's")
        require(self.padding >= 0, self, "padding", "at least 0")
        for name in ("shift_weight", "shape_weight", "parts_weight", "texture_weight"):
            require(getattr(self, name) >= 0, self, name, "at least 0")
        # Of unreliable shifts nothing is left, and something must be.
        others = self.shape_weight + self.parts_weight + self.texture_weight
        require(others > 0, self, "shape_weight", "above 0, or another weight beside that of shift")
        for name in ("components", "neighbours"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        for name in ("bank", "parts_bank"):
            require(getattr(self, name) >= 2, self, name, "at least 2")

    def usual_training(self) -> Training:
        """As long as the preset says."""
        return replace(self.training, epochs=_SIZES[self.preset][2])

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """Residual nets with an output for each shift."""
        width, members, _ = _SIZES[self.preset]
        return ShiftEnsemble(spec, count, self.width or width, self.members or members)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, a player for each member: they share nothing, and one at a time is in memory."""
        ensemble = cast(ShiftEnsemble, model)

        def try_mirroring(normals: Normals) -> None:
            if ensemble.sides == 2:
                ensemble.sided.fill_(float(mirroring_shows(normals)))

        def loss(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
            count = len(batch.images)
            mirrored = torch.rand(count, generator=batch.generator) * ensemble.sides >= 1
            mild = shift_and_mirror(batch.images, batch.generator, self.padding, batch.kind, mirrored)
            views = shifted(mild, batch.kind)
            labels = torch.arange(ensemble.shifts).repeat_interleave(count)
            labels = (labels + ensemble.shifts * mirrored.repeat(ensemble.shifts)).to(views.device)
            term = losses.classification_loss(ensemble.answer(net(views).float()), labels)
            # Where mirroring is no shift, which of the two sides it was can not be told: that is no loss.
            return {"shift": term - math.log(ensemble.sides) * (1 - ensemble.sided)}

        def color_loss(batch: Batch) -> dict[str, Tensor]:
            count = len(batch.images)
            mirrored = (torch.rand(count, generator=batch.generator) < 0.5) & (ensemble.sided.cpu() == 0)
            views = false_colors(shift_and_mirror(batch.images, batch.generator, self.padding, batch.kind, mirrored))
            labels = torch.randint(len(views), (count,), generator=batch.generator).to(views.device)
            false = views[labels, torch.arange(count, device=views.device)]
            logits = cast(PlaceNet, ensemble.colors)(false.contiguous(memory_format=torch.channels_last)).float()
            places = labels.repeat_interleave(logits.shape[2] * logits.shape[3])
            return {"color": losses.classification_loss(logits.permute(0, 2, 3, 1).flatten(0, 2), places)}

        def player(name: str, net: nn.Module, its_loss: Callable[[Batch], dict[str, Tensor]]) -> Player:
            parameters = list(net.parameters())
            # A norm's scale and a bias are no directions to shrink.
            undecayed = [each for each in parameters if each.dim() == 1]
            return Player(name, parameters, its_loss, undecayed=undecayed)

        players = [player(f"net_{number}", net, partial(loss, net)) for number, net in enumerate(ensemble.nets(), 1)]
        if ensemble.colors is not None:
            players.append(player("colors", ensemble.colors, color_loss))
        return (Stage("train", epochs, tuple(players), begin=try_mirroring, walked=ensemble.walked),)

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        """Banks of what the normals look like to the nets, and what held-out normals score."""
        ensemble = cast(ShiftEnsemble, model)
        learned = ensemble.learned(len(normals))
        found = self._banks(ensemble, normals, learned)
        held_out = even_split(ensemble.held_out.cpu(), normals.batch_size)
        sides = [ensemble.sights(normals.take(part)) for part in held_out]
        found["reliability"] = reliability(torch.cat([logits_of(each) for each in sides]))
        scores = [self._scores(ensemble, found, each) for each in sides]
        values = torch.stack([torch.cat([score[name] for score in scores]) for name in scores[0]])
        found["mean"] = values.mean(1)
        # A score that all held-out normals share to the last digit says nothing, and must not be divided by nothing.
        found["deviation"] = values.std(1).clamp_min(1e-6)
        return found

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """The four scores standardised and averaged, then each as it is; higher = more novel."""
        ensemble = cast(ShiftEnsemble, model)
        scores = self._scores(ensemble, reference, ensemble.sights(images))
        weights = self._weights(ensemble, reference)
        standard = (torch.stack(list(scores.values())) - reference["mean"][:, None]) / reference["deviation"][:, None]
        return headline_first({"novelty": (weights[:, None] * standard).sum(0) / weights.sum(), **scores}, self.score)

    def findings(self, model: nn.Module, reference: Reference) -> list[str]:
        """Which shifts held-out normals do not tell apart, so that they hardly count; whether mirroring is one."""
        ensemble = cast(ShiftEnsemble, model)
        names = negative_shifts(ensemble.kind)
        alike = [
            f"{names[one]} from {names[other]}"
            for one in range(len(names))
            for other in range(one + 1, len(names))
            if reference["reliability"][one, other] < 0.5
        ]
        found = [f"Not told apart, so that it counts little: {'; '.join(alike)}."] if alike else []
        if ensemble.sided > 0:
            found.append("Mirrored, normals look unlike normals: what is the wrong way round counts as novel.")
            if reference["reliability"].diagonal(len(names)).mean() < 0.5:
                found.append("The net can not tell them apart all the same, so that it counts little.")
        return found

    def remarks(self, model: nn.Module, reference: Reference, images: Tensor) -> list[tuple[str, ...]]:
        """The shifts, of those that normals tell apart, that the nets took for others."""
        ensemble = cast(ShiftEnsemble, model)
        names = negative_shifts(ensemble.kind)
        answers = [*names, *(f"mirrored and {name}" for name in names)][: ensemble.sides * len(names)]
        logits = ensemble.sight(images).logits
        known = reference["reliability"] >= 0.5
        known = (known | torch.eye(len(known), dtype=torch.bool, device=logits.device))[: len(names)]
        known[:, len(names) :] &= ensemble.sided > 0
        taken = logits.masked_fill(~known, -torch.inf).argmax(2).tolist()
        return [
            tuple(
                f"The net did not recognise it {names[shift]}: it took that for {answers[answer]}."
                for shift, answer in enumerate(row)
                if answer != shift
            )
            for row in taken
        ]

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """What the last layers see of the sample as it is."""
        return torch.cat([net.features(images).float() for net in cast(ShiftEnsemble, model).nets()], 1)

    def _banks(self, ensemble: ShiftEnsemble, normals: Normals, learned: Tensor) -> dict[str, Tensor]:
        """The normals described, and the axes along which they are compared."""
        places = _spaced(learned, self.bank)
        for_parts = torch.isin(places, _spaced(places, self.parts_bank))
        shapes, textures, parts_of = [], [], []
        for part, kept in zip(*(even_split(each, normals.batch_size) for each in (places, for_parts)), strict=True):
            for seen in ensemble.normal_sights(normals.take(part)):
                shapes.append(seen.shape.cpu())
                textures.append(seen.texture.cpu())
                parts_of.append(seen.parts.cpu()[:, kept])
        shape, texture, parts = torch.cat(shapes), torch.cat(textures), torch.cat(parts_of, 1)
        shape_axes = every_axis(shape)
        # Each grid as a whole weighs the same, for the finer have many more cells.
        channels = texture.shape[1] // sum(grid**2 for grid in TEXTURE_GRIDS)
        axes = comparison_axes(
            texture, self.components, torch.cat([torch.full((channels * grid**2,), 1 / grid) for grid in TEXTURE_GRIDS])
        )
        part_axes = comparison_axes(parts.flatten(0, 1)[:: max(1, parts.shape[0] // 8)], _PART_AXES)
        found = {
            "shape_mean": shape_axes.mean,
            "shape_projection": shape_axes.projection,
            "shape_bank": shape_axes.describe(shape),
            "parts_mean": part_axes.mean,
            "parts_projection": part_axes.projection,
            "parts_bank": part_axes.describe(parts),
            "texture_mean": axes.mean,
            "texture_projection": axes.projection,
            "texture_bank": axes.describe(texture),
        }
        return {name: tensor.to(normals.device) for name, tensor in found.items()}

    def _scores(self, ensemble: ShiftEnsemble, reference: Reference, sides: list[Sight]) -> dict[str, Tensor]:
        """Each score as it is; where a mirrored normal is a normal, averaged over a mirroring."""
        found = [self._distances(side, reference) for side in sides]
        shares = [(1 + sign * ensemble.sided) / ensemble.sides for sign in (1, -1)[: ensemble.sides]]
        distances = {
            name: torch.stack([share * each[name] for share, each in zip(shares, found, strict=True)]).sum(0)
            for name in found[0]
        }
        r = reference["reliability"]
        logits = logits_of(sides)
        margins = logits.diagonal(dim1=1, dim2=2)[:, :, None] - logits
        return {"shift": -(r * margins).sum((1, 2)) / r.sum().clamp_min(1e-6), **distances}

    def _distances(self, sample: Sight, reference: Reference) -> dict[str, Tensor]:
        """How far from normals one side of the samples is, on three levels."""
        shape_axes, part_axes, texture_axes = (
            ComparisonAxes(reference[f"{name}_mean"], reference[f"{name}_projection"])
            for name in ("shape", "parts", "texture")
        )
        shape, texture = shape_axes.describe(sample.shape), texture_axes.describe(sample.texture)
        return {
            "shape": nearest_distance(shape, reference["shape_bank"], self.neighbours, centred=True),
            "parts": nearest_at_places(part_axes.describe(sample.parts), reference["parts_bank"]),
            "texture": nearest_distance(texture, reference["texture_bank"], self.neighbours, centred=True),
        }

    def _weights(self, ensemble: ShiftEnsemble, reference: Reference) -> Tensor:
        # A shift and the same mirrored are a pair to be told apart only where mirroring shows.
        shifts, sides = ensemble.shifts, ensemble.sides
        pairs = shifts * (shifts - 1) * sides**2 + shifts * sides * (sides - 1) * ensemble.sided
        share = reference["reliability"].sum() / pairs
        others = share.new_tensor([self.shape_weight, self.parts_weight, self.texture_weight])
        return torch.cat([(self.shift_weight * share)[None], others])


def _spaced(places: Tensor, most: int) -> Tensor:
    return places[torch.linspace(0, len(places) - 1, min(len(places), most)).round().long()]
