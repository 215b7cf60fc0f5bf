"""What a sample is, and how normal samples reach a method.

A sample is a tensor (C, H, W); `SampleSpec` says its kind, shape and range. A `Source` (see `sources/`) yields
raw samples by position; `Normals` streams some of them, scaled, in batches. Letters: N samples, B batch,
C channels, H height, W width.

torch is imported by the functions that make tensors: an exported detector scores samples without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from novanda.errors import InputError
from novanda.recordings import Form, Span, form_from_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Kind = Literal["image", "spectrogram", "flow", "waveform", "features"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class SampleSpec:
    """What every sample of a detector looks like; fixed by the training data, never by the data being scored.

    Attributes:
        kind: what the numbers mean; `augment` decides by it which transformations are legal.
        channels, height, width: the shape of one sample; features have height = width = 1.
        low, high: the raw values that become -1 and +1 (0 and 255 for 8-bit images). Values beyond them are
            scaled alike and never clamped. Features have low = -1, high = 1: they are left as they are.
        recording: how recordings become such samples; None where samples do not come from recordings.
    """

    kind: Kind
    channels: int
    height: int
    width: int
    low: float = 0.0
    high: float = 255.0
    recording: Form | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"kind must be one of {', '.join(KINDS)}; got {self.kind!r}")
        if min(self.channels, self.height, self.width) < 1:
            raise InputError(f"a sample needs at least one value in each dimension; got {self.shape}")
        if not -math.inf < self.low < self.high < math.inf:
            raise InputError(f"the value range needs low < high, both finite; got low={self.low}, high={self.high}")
        form = self.recording
        if form is not None and (form.content, form.shape) != (self.kind, self.shape):
            raise InputError(
                f"the form of recordings makes a {form.content} {form.shape}; got {self.kind} {self.shape}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def size(self) -> int:
        """Number of values in one sample, C * H * W."""
        return math.prod(self.shape)

    def scale(self, raw: Tensor) -> Tensor:
        """Raw values (B, C, H, W) of any dtype to float32 with low -> -1 and high -> +1."""
        import torch

        if (self.low, self.high) == (-1.0, 1.0):
            return raw.to(torch.float32, copy=True)  # exactly; the way there and back would round small values away
        # A copy even of float32: what follows works in place, and the caller's own samples must stay as they are.
        return raw.to(torch.float32, copy=True).sub_(self.low).mul_(2.0 / (self.high - self.low)).sub_(1.0)

    def unscale(self, scaled: Tensor) -> Tensor:
        """Inverse of `scale`, as float32 in raw units."""
        import torch

        if (self.low, self.high) == (-1.0, 1.0):
            return scaled.to(torch.float32)
        return (scaled.to(torch.float32) + 1.0) * ((self.high - self.low) / 2.0) + self.low

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` gives it back."""
        content = {name: value for name, value in asdict(self).items() if name != "recording"}
        # Left out where there is none: files and checkpoints of images stay as they were.
        return content if self.recording is None else {**content, "recording": self.recording.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SampleSpec:
        """Read what `to_json` wrote; InputError or TypeError for anything else."""
        form = content.get("recording")
        return cls(**{**content, "recording": None if form is None else form_from_json(form)})


@runtime_checkable
class Source(Protocol):
    """Raw samples by position. Implementations stream: memory must not grow with their length."""

    @property
    def spec(self) -> SampleSpec:
        """What each sample looks like."""
        ...

    def __len__(self) -> int: ...

    def read(self, positions: Sequence[int]) -> np.ndarray:
        """The raw samples at these positions, (n, C, H, W); raises DataError naming the first that fails."""
        ...

    def identifier(self, position: int) -> str:
        """What a person calls this sample: its path, or its row."""
        ...


@runtime_checkable
class RecordedSource(Source, Protocol):
    """A source whose samples are segments of recordings, in order: all of the first recording, then of the next."""

    @property
    def recordings(self) -> np.ndarray:
        """Of each segment the number of its recording, counted from 0: (N,) int64, never falling."""
        ...

    def span(self, position: int) -> Span:
        """Which stretch of which recording a segment is."""
        ...


class Normals:
    """Chosen samples of a source, streamed as scaled float32 batches (B, C, H, W) on a device."""

    def __init__(
        self,
        source: Source,
        positions: np.ndarray | None = None,
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 256,
    ) -> None:
        import torch

        self.source = source
        self.positions = np.arange(len(source)) if positions is None else np.asarray(positions, dtype=np.int64)
        self.device = torch.device(device)
        self.batch_size = batch_size

    @property
    def spec(self) -> SampleSpec:
        """What each sample looks like."""
        return self.source.spec

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, index: Tensor) -> Tensor:
        """The samples at these places of this stream (0 .. len - 1), (B, C, H, W) float32."""
        import torch

        raw = self.source.read(self.positions[index.numpy()].tolist())
        return self.spec.scale(torch.from_numpy(raw).to(self.device))

    def walk(self, order: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (index, samples) for each index tensor in `order`, reading one batch ahead in a thread."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="novanda-read") as reader:
            ahead: Future[Tensor] | None = reader.submit(self.take, order[0]) if order else None
            for place, index in enumerate(order):
                assert ahead is not None
                samples = ahead.result()
                ahead = reader.submit(self.take, order[place + 1]) if place + 1 < len(order) else None
                yield index, samples

    def batches(self, batch_size: int | None = None) -> Iterator[Tensor]:
        """All samples once, in order, in batches of nearly equal size (at most `batch_size`)."""
        import torch

        for _, samples in self.walk(even_split(torch.arange(len(self)), batch_size or self.batch_size)):
            yield samples


def even_split(index: Tensor, batch_size: int) -> list[Tensor]:
    """Cut an index tensor into the fewest parts of at most `batch_size`, their lengths differing by one at most.

    A remainder of one or two samples would give batch normalisation statistics of nothing; this never does.
    """
    import torch

    if len(index) == 0:
        return []
    return list(torch.tensor_split(index, math.ceil(len(index) / batch_size)))
