"""An autoregressive model of raw sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from novanda import losses
from novanda.method import Batch, Method, Player, Reference, Stage, headline_first, require
from novanda.samples import Kind, SampleSpec
from novanda.training_options import Training

LEVELS = 256
_SILENCE = LEVELS // 2  # what a recording is taken to follow
_AT_ONCE = 2**15  # levels predicted at once: their logits are 256 times as many
_TOGETHER = 8  # segments whose features are held at once


class _Layer(nn.Module):
    """A gated causal convolution with a residual and a skip connection (van den Oord et al. 2016, Fig. 4)."""

    def __init__(self, width: int, skip_width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.filter_and_gate = nn.Conv1d(width, 2 * width, kernel, dilation=dilation)
        self.residual = nn.Conv1d(width, width, 1)
        self.skip = nn.Conv1d(width, skip_width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, width, T) to the next layer's and to what is summed for the output, (B, skip_width, T)."""
        filtered, gate = self.filter_and_gate(F.pad(x, (self.reach, 0))).chunk(2, 1)
        active = torch.tanh(filtered) * torch.sigmoid(gate)
        return x + self.residual(active), self.skip(active)


class WaveNetNetwork(nn.Module):
    """Levels (B, T) to features from which each is predicted by those before it, and the head that predicts."""

    def __init__(self, width: int, skip_width: int, kernel: int, layers: int, blocks: int) -> None:
        super().__init__()
        # A 1 x 1 convolution of one-hot levels is a row of a table for each.
        self.embedding = nn.Embedding(LEVELS, width)
        dilations = [2**layer for _ in range(blocks) for layer in range(layers)]
        self.layers = nn.ModuleList(_Layer(width, skip_width, kernel, dilation) for dilation in dilations)
        self.head = nn.Sequential(
            nn.ReLU(inplace=True), nn.Conv1d(skip_width, skip_width, 1), nn.ReLU(), nn.Conv1d(skip_width, LEVELS, 1)
        )

    def features(self, levels: Tensor) -> Tensor:
        """Levels (B, T) int64 to (B, skip_width, T); those at t see the levels before t alone."""
        before = F.pad(levels[:, :-1], (1, 0), value=_SILENCE)
        x = self.embedding(before).transpose(1, 2)
        total: Tensor | None = None
        for layer in self.layers:
            x, skip = layer(x)
            total = skip if total is None else total + skip
        assert total is not None
        return total

    def forward(self, levels: Tensor) -> Tensor:
        """Levels (B, T) int64 to logits (B, 256, T) of the level at each place."""
        result: Tensor = self.head(self.features(levels))
        return result


@dataclass(frozen=True, kw_only=True)
class WaveNet(Method):
    """Predict each level of the waveform from those before it; what surprises is novel (row "WaveNet" of Table 5).

    A stack of causal dilated convolutions reads 8-bit mu-law sound and says which of 256 levels comes next. In normal
    sound it is nearly right; what it has never heard it can not foretell.

    Objective: the cross-entropy of every level given all before it. Score: the mean squared difference between the most
    likely and the true level, levels running from -1 to 1 ("squared_error"), or the mean surprise -log p of the true
    one, in nats ("surprise"). Source: van den Oord et al. 2016; as a detector Rushe & Mac Namee 2019, whose settings
    are the defaults (2 x 10 layers, 256 filters, 512 skip channels, kernel 3, Adam 1e-5, 10 epochs, segments of 4,096
    samples). Their batch size is not known to us: 16. One pass an image, of 12 million multiply-adds for each sample
    of sound at these widths: on a CPU narrow it.

    When to use it: for sounds whose course from one millisecond to the next is what matters and that a spectrogram
    blurs, where a GPU or much time is at hand. Elsewhere spectrograms with an image method are cheaper and better.

    Give it `content="waveform"` in `AudioForm`, with its mu-law encoding and segments of 4,096 samples or more.

    Attributes:
        width: filters of the convolutions.
        skip_width: channels that all layers add to.
        kernel: taps of a convolution.
        layers: of a block; the dilation doubles from each to the next.
        blocks: how often the dilations start anew.
        score: the headline: "squared_error" or "surprise".
    """

    name: ClassVar[str] = "wavenet"
    title: ClassVar[str] = "WaveNet"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"waveform"})
    training: ClassVar[Training] = Training(epochs=10, batch_size=16, optimizer="adam", learning_rate=1e-5)

    width: int = 256
    skip_width: int = 512
    kernel: int = 3
    layers: int = 10
    blocks: int = 2
    score: Literal["squared_error", "surprise"] = "squared_error"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "skip_width", "blocks"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        require(self.kernel >= 2, self, "kernel", "at least 2: a single tap sees one level only")
        require(1 <= self.layers <= 16, self, "layers", "from 1 to 16: the last would reach beyond any segment")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """The network; it takes segments of any length."""
        return WaveNetNetwork(self.width, self.skip_width, self.kernel, self.layers, self.blocks)

    def stages(self, model: nn.Module, epochs: int) -> tuple[Stage, ...]:
        """One stage, one player."""

        def loss(batch: Batch) -> dict[str, Tensor]:
            levels = as_levels(batch.images)
            logits = model(levels).transpose(1, 2).flatten(0, 1)
            return {"surprise": losses.classification_loss(logits, levels.flatten())}

        return (Stage("train", epochs, (Player("model", list(model.parameters()), loss),)),)

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Both errors of the prediction, averaged over the segment; higher = more novel."""
        # An exported graph knows no batch size to cut by; whoever runs it chooses one.
        parts = (images,) if torch.compiler.is_exporting() else torch.split(images, _TOGETHER)
        both = [self._errors(cast(WaveNetNetwork, model), as_levels(part)) for part in parts]
        scores = {name: torch.cat([each[name] for each in both]) for name in ("squared_error", "surprise")}
        return headline_first(scores, self.score)

    def _errors(self, network: WaveNetNetwork, levels: Tensor) -> dict[str, Tensor]:
        features, length = network.features(levels), levels.shape[1]
        squares, surprises = [], []
        for start in range(0, length, _AT_ONCE // _TOGETHER):
            place = slice(start, start + _AT_ONCE // _TOGETHER)
            logits = network.head(features[:, :, place]).float()
            gaps = (logits.argmax(1) - levels[:, place]).float() * (2 / (LEVELS - 1))
            squares.append(gaps.square().sum(1))
            truth = logits.log_softmax(1).gather(1, levels[:, None, place])[:, 0]
            surprises.append(-truth.sum(1))
        return {
            "squared_error": torch.stack(squares).sum(0) / length,
            "surprise": torch.stack(surprises).sum(0) / length,
        }


def as_levels(samples: Tensor) -> Tensor:
    """Segments (B, C, H, W) from -1 to 1 as sequences of levels 0 to 255, (B, C H W) int64; beyond full scale cut."""
    return ((samples.flatten(1) + 1) * ((LEVELS - 1) / 2)).round().clamp(0, LEVELS - 1).long()
