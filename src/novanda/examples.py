"""Some of the training images, kept with a detector to show which of them a new sample is most like.

Letters: K kept, B batch, C channels, H height, W width, d features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from novanda.errors import ModelFileError
from novanda.method import Method, Reference
from novanda.samples import Normals, SampleSpec, Source

_MOST_VALUES = 2**26  # of all kept images together: 64 MiB in the file


def as_bytes(scaled: Tensor) -> Tensor:
    """Scaled samples, -1 to 1, as uint8 from 0 to 255; what lies beyond is cut off. Exact for 8-bit images."""
    return ((scaled.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, eq=False)
class Examples:
    """Training images as a detector saw them, with the features it sees in them.

    Attributes:
        images: (K, C, H, W) uint8.
        features: (K, d) float32 as `Method.embed` gives them; None where the method has only the samples.
        identifiers: what a person calls each: its path, or its row.
    """

    images: Tensor
    features: Tensor | None
    identifiers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Examples):
            return NotImplemented
        mine, theirs = self.tensors(), other.tensors()
        same = self.identifiers == other.identifiers and mine.keys() == theirs.keys()
        return same and all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())

    __hash__ = None  # type: ignore[assignment]  # its tensors are compared by content, which has no hash

    def nearest(self, samples: Tensor, features: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
        """The nearest of the kept images to each sample, nearest first.

        Args:
            samples: (B, C, H, W), scaled.
            features: (B, d) of the same samples, or None as `self.features` is.
            count: how many; fewer where fewer are kept.

        Returns:
            Places among the kept (B, count) int64, and Euclidean distances (B, count) float32: between features, or
            where there are none between scaled values.

        Raises:
            ModelFileError: the kept features are not as wide as the method's.
        """
        if self.features is None or features is None:
            there, here = self.images.flatten(1).to(samples.device).float() / 127.5 - 1.0, samples.flatten(1)
        else:
            there, here = self.features.to(samples.device), features.float()
        if there.shape[1] != here.shape[1]:
            raise ModelFileError(f"the kept examples have {there.shape[1]} features; the method sees {here.shape[1]}")
        # The fast way by products loses digits where two are close, and those are the ones looked for.
        distance = torch.cdist(here, there, compute_mode="donot_use_mm_for_euclid_dist")
        found = distance.topk(min(count, len(self)), largest=False)
        return found.indices, found.values

    def to_json(self) -> dict[str, Any]:
        """What of it is no tensor."""
        return {"identifiers": list(self.identifiers)}

    def tensors(self) -> dict[str, Tensor]:
        """What of it is tensors."""
        return {"images": self.images, **({} if self.features is None else {"features": self.features})}

    @classmethod
    def from_file(cls, content: object, tensors: Mapping[str, Tensor], spec: SampleSpec) -> Examples:
        """Read what `to_json` and `tensors` gave; ModelFileError where it does not fit together or the spec."""
        if not isinstance(content, Mapping) or set(content) != {"identifiers"}:
            raise ModelFileError("the examples must be an object with their identifiers")
        names, images, features = content["identifiers"], tensors.get("images"), tensors.get("features")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ModelFileError("the examples' identifiers must be a list of texts, at least one")
        if images is None or images.dtype != torch.uint8 or tuple(images.shape) != (len(names), *spec.shape):
            found = "none" if images is None else f"{tuple(images.shape)} {images.dtype}"
            raise ModelFileError(f"the examples must be images {(len(names), *spec.shape)} of uint8; got {found}")
        if features is not None:
            if features.dtype != torch.float32 or features.dim() != 2 or len(features) != len(names):
                raise ModelFileError(f"the examples' features must be ({len(names)}, d) of float32")
            if not torch.isfinite(features).all():
                raise ModelFileError("the examples' features are not finite")
        return cls(images, features, tuple(names))


def kept(
    method: Method,
    model: nn.Module,
    reference: Reference,
    source: Source,
    learned: np.ndarray,
    count: int,
    *,
    device: torch.device,
    generator: np.random.Generator,
) -> Examples | None:
    """At most `count` of the samples learned from, drawn by the generator, 64 MiB at most; None for none."""
    count = min(count, len(learned), _MOST_VALUES // source.spec.size)
    if count == 0:
        return None
    positions = np.sort(generator.choice(learned, count, replace=False))
    images, features = [], []
    with torch.inference_mode():
        for batch in Normals(source, positions, device=device, batch_size=32).batches():
            images.append(as_bytes(batch).cpu())
            seen = method.embed(model, reference, batch)
            if seen is not None:
                features.append(seen.float().cpu())
    names = tuple(source.identifier(position) for position in positions.tolist())
    return Examples(torch.cat(images), torch.cat(features) if features else None, names)
