"""Where in a sample the novelty sits: error maps and occlusion maps, and the scale that normals set for them.

Where a method reconstructs, a pixel's heat is its error. Elsewhere it is how much less novel the sample becomes when
the region around that pixel is blurred away ("occlusion", after Zeiler & Fergus 2014): it asks nothing of a method
but scores. Letters: B batch, C channels, H height, W width, M hidden regions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from novanda.errors import ModelFileError
from novanda.method import Method, Reference
from novanda.samples import Normals

HeatKind = Literal["error", "occlusion"]

QUANTILE = 0.99
_GRID = 8  # hidden regions in each direction: an occlusion map costs as much as scoring 65 samples
_CHUNK = 2**22  # values of hidden samples held at once: 16 MiB
_MOST_ERRORS, _MOST_PIXELS = 256, 2**24  # normals whose errors are measured; fewer where samples are large
_MOST_OCCLUDED, _PLACES_EACH = 32, 8  # normals and regions in each: 288 scores, whatever the folder's size


def heat_kind(method: Method) -> HeatKind:
    """How the heat of this method's maps is measured."""
    return "occlusion" if type(method).reconstruct is Method.reconstruct else "error"


def heat_maps(method: Method, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
    """Heat of scaled samples (B, C, H, W): (B, H, W) float32, at least 0, not yet on the normals' scale.

    Called in eval mode without gradients. Errors are mean absolute differences over channels, on the scale of
    `images`; occlusion is in units of the headline novelty.
    """
    expected = method.reconstruct(model, reference, images)
    if expected is not None:
        return (expected - images).abs().mean(1).float()
    count, (height, width) = len(images), images.shape[2:]
    rows, columns = min(_GRID, height), min(_GRID, width)
    which = torch.arange(count).repeat_interleave(rows * columns)
    place = torch.arange(rows * columns).repeat(count)
    drops = _drops(method, model, reference, images, which, place).view(count, 1, rows, columns)
    return functional.interpolate(drops, (height, width), mode="bilinear", align_corners=False)[:, 0]


def _drops(
    method: Method, model: nn.Module, reference: Reference, images: Tensor, which: Tensor, place: Tensor
) -> Tensor:
    """How much less novel images[which] is with the region `place` blurred away: (M,), at least 0."""
    whole = next(iter(method.novelty(model, reference, images).values())).float()
    hidden, blurred = _regions(images), _blurred(images)
    step = max(1, min(256, _CHUNK // images[0].numel()))
    parts = []
    for some, there in zip(torch.split(which, step), torch.split(place, step), strict=True):
        some = some.to(images.device)
        shown = torch.where(hidden[there.to(images.device)][:, None], blurred[some], images[some])
        shown = shown.contiguous(memory_format=torch.channels_last)
        novelty = next(iter(method.novelty(model, reference, shown).values())).float()
        parts.append((whole[some] - novelty).clamp(min=0))
    return torch.cat(parts)


def _regions(images: Tensor) -> Tensor:
    """Which pixels each hidden region covers, (regions, H, W) bool: about twice as wide as their distance."""

    def spans(side: int) -> Tensor:
        count = min(_GRID, side)
        centres = (torch.arange(count) + 0.5) * side / count
        pixels = torch.arange(side) + 0.5
        return (pixels - centres[:, None]).abs() <= max(0.5, side / count)

    down, across = spans(images.shape[2]), spans(images.shape[3])
    return (down[:, None, :, None] & across[None, :, None, :]).flatten(0, 1).to(images.device)


def _blurred(images: Tensor) -> Tensor:
    """The samples with a quarter of their side as the smallest detail: what a hidden region shows in its place.

    A region painted gray would be a novelty of its own.
    """
    height, width = images.shape[2:]
    parts = math.ceil(min(_GRID, height) / 2), math.ceil(min(_GRID, width) / 2)
    coarse = functional.adaptive_avg_pool2d(images, parts)
    return functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class HeatScale:
    """The heat that gets the value 1 in an explanation, measured on normals when a detector is fitted.

    Attributes:
        kind: how the heat is measured.
        value: above 0: the 99 % quantile over all pixels of normals' maps (for occlusion, over a draw of regions).
        normals: how many normals were looked at.
        held_out: whether the detector was not trained on them. Trained on, they are drawn better than new normals
            will be, and new normals will show more heat.
    """

    kind: HeatKind
    value: float
    normals: int
    held_out: bool

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` gives it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: object, method: Method) -> HeatScale:
        """Read what `to_json` wrote for this method; ModelFileError for anything else."""
        if not isinstance(content, Mapping) or set(content) != {"kind", "value", "normals", "held_out"}:
            raise ModelFileError("a heat scale must be an object with kind, value, normals and held_out")
        value, normals = content["value"], content["normals"]
        sound = (
            content["kind"] in get_args(HeatKind)
            and content["kind"] == heat_kind(method)
            and type(value) is float
            and 0 < value < math.inf
            and type(normals) is int
            and normals > 0
            and isinstance(content["held_out"], bool)
        )
        if not sound:
            raise ModelFileError(f"the stored heat scale can not serve {method.name}: {dict(content)}")
        return cls(**content)


def measured(
    method: Method,
    model: nn.Module,
    reference: Reference,
    normals: Normals,
    *,
    held_out: bool,
    generator: np.random.Generator,
) -> HeatScale:
    """The scale that these normals set; a bounded number of them, drawn by the generator, is looked at."""
    kind = heat_kind(method)
    _, height, width = normals.spec.shape
    most = max(8, min(_MOST_ERRORS, _MOST_PIXELS // (height * width))) if kind == "error" else _MOST_OCCLUDED
    chosen = np.sort(generator.choice(len(normals), min(most, len(normals)), replace=False))
    some = Normals(normals.source, normals.positions[chosen], device=normals.device, batch_size=32)
    heats = []
    with torch.inference_mode():
        for images in some.batches():
            if kind == "error":
                heats.append(heat_maps(method, model, reference, images).flatten().cpu())
                continue
            regions = min(_GRID, height) * min(_GRID, width)
            place = torch.from_numpy(generator.integers(0, regions, len(images) * _PLACES_EACH))
            which = torch.arange(len(images)).repeat_interleave(_PLACES_EACH)
            heats.append(_drops(method, model, reference, images, which, place).cpu())
    found = torch.cat(heats).double().numpy()
    # A net that has gone astray gives values that are no numbers; scoring says so, and hours of training are kept.
    found = found[np.isfinite(found)] if np.isfinite(found).any() else np.ones(1)
    # Normals that are drawn without any error leave a scale of 0, by which nothing can be divided.
    least = 1e-6 * max(1.0, float(found.max()))
    return HeatScale(kind, max(float(np.quantile(found, QUANTILE)), least), len(chosen), held_out)
