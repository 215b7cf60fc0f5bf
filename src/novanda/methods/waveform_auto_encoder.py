"""A convolutional auto-encoder of raw sound."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from novanda import losses
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, require
from novanda.samples import Kind, SampleSpec
from novanda.training_options import Training

_STEPS = 5  # convolutions down, and as many up
_STRIDE = 4


class WaveformAutoEncoderNetwork(nn.Module):
    """Five strided convolutions down and five up: sequences (B, T) to (B, T)."""

    def __init__(self, width: int, latent_dim: int) -> None:
        super().__init__()
        widths = [1, *(min(width * 2**level, 8 * width) for level in range(_STEPS - 1)), latent_dim]
        down: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            down += [nn.Conv1d(before, after, 8, _STRIDE, 2), nn.LeakyReLU(0.2)]
        up: list[nn.Module] = []
        for before, after in itertools.pairwise(reversed(widths)):
            up += [nn.ConvTranspose1d(before, after, 8, _STRIDE, 2), nn.LeakyReLU(0.2)]
        self.encoder = nn.Sequential(*down[:-1])
        self.decoder = nn.Sequential(*up[:-1])

    def forward(self, sequences: Tensor) -> Tensor:
        """Sequences (B, T) to their reconstructions (B, T)."""
        length = sequences.shape[1]
        # Silence to the next multiple of the waist's step; cut off again.
        padded = F.pad(sequences, (0, -length % _STRIDE**_STEPS))
        drawn: Tensor = self.decoder(self.encoder(padded[:, None]))
        return drawn[:, 0, :length]


@dataclass(frozen=True, kw_only=True)
class WaveformAutoEncoder(Method):
    """One-dimensional convolutional auto-encoder on the waveform ("CAE" beside Table 5: mean AUROC 0.728 in the text).

    Sound is squeezed through ten convolutions with a narrow waist and comes out as what the normals have in common;
    what is novel comes out wrong. Objective: ||D(E(x)) - x||^2; score: its mean over the samples of the segment.

    Source: Rushe & Mac Namee 2019's baseline, of which ten convolutions, squared error, Adam 1e-4 and batches of 32 are
    known. Kernel 8, stride 4, LeakyReLU 0.2, doubling channels and the waist are ours. One pass an image.

    When to use it: as the cheap baseline of every other method on waveforms. It draws slow, loud swings well and hiss
    not at all, so it mostly hears loudness; spectrograms with an image method hear more.

    Give it `content="waveform"` in `AudioForm`. Segments are filled up with silence to a multiple of 1,024 samples.

    Attributes:
        width: channels of the first convolution; the next have two, four and eight times as many.
        latent_dim: channels of the waist, which has one place for 1,024 samples.
        score: the headline: "mse" or "l1" reconstruction error.
    """

    name: ClassVar[str] = "waveform_auto_encoder"
    title: ClassVar[str] = "CAE (waveform)"
    aliases: ClassVar[tuple[str, ...]] = ("cae",)
    kinds: ClassVar[frozenset[Kind]] = frozenset({"waveform"})
    training: ClassVar[Training] = Training(epochs=50, batch_size=32, optimizer="adam", learning_rate=1e-4)

    width: int = 32
    latent_dim: int = 32
    score: Literal["mse", "l1"] = "mse"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width >= 1, self, "width", "at least 1")
        require(self.latent_dim >= 1, self, "latent_dim", "at least 1")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """The network; it takes segments of any length."""
        return WaveformAutoEncoderNetwork(self.width, self.latent_dim)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, one player."""

        def loss(batch: Batch) -> dict[str, Tensor]:
            sequences = batch.images.flatten(1)
            return {"squared error": losses.squared_error(model(sequences), sequences)}

        return (Stage("train", epochs, (Player("model", list(model.parameters()), loss),)),)

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Mean errors of the reconstruction; higher = more novel."""
        difference = (self.reconstruct(model, reference, images) - images).flatten(1)
        return headline_first({"mse": difference.square().mean(1), "l1": difference.abs().mean(1)}, self.score)

    def reconstruct(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """What comes out of the network."""
        result: Tensor = model(images.flatten(1)).float()
        return result.view_as(images)

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The waist, averaged over the segment."""
        sequences = images.flatten(1)
        padded = F.pad(sequences, (0, -sequences.shape[1] % _STRIDE**_STEPS))
        encoder = model.get_submodule("encoder")
        result: Tensor = encoder(padded[:, None]).float().mean(2)
        return result
