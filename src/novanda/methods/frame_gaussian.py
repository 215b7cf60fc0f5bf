"""A Gaussian of the frames of a spectrogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from novanda.method import Method, Reference, headline_first, require
from novanda.samples import Kind, Normals


@dataclass(frozen=True, kw_only=True)
class FrameGaussian(Method):
    """Mahalanobis distance of a spectrogram's most unusual frames from the frames of the normals.

    A frame is a column: all bands at one moment. All frames of all normals make one Gaussian, so that bands which
    always rise and fall together count once. A short event fills few of a segment's frames, and those decide.

    With m and C the mean and covariance of the normals' frames, the distance of a frame f of F values is
    (f - m)' (C + ridge^2 I)^-1 (f - m) / F; novelty is the mean over the `share` of the frames that lie furthest
    ("furthest_frames"), or over all of them ("all_frames"). Source: textbook; in no table of the paper. Ours are the
    share and the ridge. One pass over the normals to learn, one product of matrices to score; no epochs.

    When to use it: first, on sounds: it needs few recordings and finds what differs in its spectrum from one moment
    to the next; with `AudioForm(levels="relative")` whatever the gain and the microphone. Blind to the order of the
    frames: a rhythm that stumbles is made of the frames it always had.

    Attributes:
        share: of a segment's frames, in (0, 1]; at least one frame counts.
        ridge: added to the deviation in every direction, in the units of the samples, of which 1 is 50 decibels:
            differences far below it are taken for noise.
        score: the headline: "furthest_frames" or "all_frames".
    """

    name: ClassVar[str] = "frame_gaussian"
    title: ClassVar[str] = "Gaussian of frames"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"spectrogram"})

    share: float = 0.1
    ridge: float = 0.02
    score: Literal["furthest_frames", "all_frames"] = "furthest_frames"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.share <= 1, self, "share", "a share in (0, 1]")
        require(0 < self.ridge <= 1, self, "ridge", "in (0, 1]")

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        """Mean (F,) of the frames and what makes their covariance the identity, (F, F), by an axis a column."""
        count, total, products = 0, torch.zeros(()), torch.zeros(())
        for images in normals.batches():
            frames = as_frames(images).flatten(0, 1).double()
            count, total = count + len(frames), total + frames.sum(0)
            products = products + frames.T @ frames
        mean = total / count
        variances, axes = torch.linalg.eigh(products / count - torch.outer(mean, mean))
        whitening = axes * (variances.clamp_min(0) + self.ridge**2).rsqrt()
        return {"frame_mean": mean.float(), "whitening": whitening.float()}

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Mean distance of the furthest frames, and of all; higher = more novel."""
        whitened = (as_frames(images) - reference["frame_mean"]) @ reference["whitening"]
        distances = whitened.square().mean(2)
        count = max(1, round(self.share * images.shape[3]))
        furthest = distances.topk(count, 1).values.mean(1)
        return headline_first({"furthest_frames": furthest, "all_frames": distances.mean(1)}, self.score)

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The mean and the deviation of each band over the segment, (B, 2 F)."""
        frames = as_frames(images)
        return torch.cat([frames.mean(1), frames.std(1, correction=0)], 1)


def as_frames(images: Tensor) -> Tensor:
    """Samples (B, C, H, W) as their columns, (B, W, C H)."""
    return images.flatten(1, 2).transpose(1, 2)
