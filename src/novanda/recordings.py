"""How recordings become samples, what a stretch of one is called, and how its scores become one for the whole.

A recording (a sound file or a video) is longer than a sample. It is cut into segments of one length, and each
segment becomes a sample. The form of that travels with a detector, so that scoring needs no settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from novanda.errors import InputError

Content = Literal["spectrogram", "waveform"]
Encoding = Literal["mu-law", "float"]
Levels = Literal["absolute", "relative"]
Aggregate = Literal["max", "mean", "p95"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

_MOST_VALUES = 2**24  # in a segment: 64 MiB as float32
_MOST_PENDING = 16  # frames that wait for the second one of their pair


@dataclass(frozen=True)
class AudioForm:
    """How sound becomes samples.

    The defaults: 16 kHz keeps all up to 8 kHz, where machines, voices and weather have nearly all their energy; 2 s
    hold most single events whole, and a hop of half of that makes no event fall between two segments; 64 bands by 64
    frames are a square that every network here takes; an FFT of 64 ms tells 16 Hz apart, and frames of a 2 s segment
    then lie 31 ms apart, so that each moment is seen in two.

    Attributes:
        rate: samples a second that every file is resampled to, 1,000 to 384,000; channels are mixed to their mean.
        segment_seconds: length of a segment. Recordings that are shorter are refused by name.
        hop_seconds: from the start of one segment to the next.
        content: what a segment is given as: a "spectrogram" (1, bands, frames) of decibels, the highest band in row 0,
            or a "waveform" (1, 1, samples).
        bands: of the spectrogram, equally wide on Slaney's mel scale from 0 Hz to half of `rate`.
        frames: of the spectrogram; their distance follows, so that they fill the segment from end to end.
        fft: samples in the (Hann) window of a frame.
        levels: of the spectrogram: "absolute" decibels, so that what is louder than it was is novel; or "relative" to
            each band's mean over the segment, so that only what changes within a segment is seen. Then neither the
            gain nor the colour of a microphone matters, and a steady tone that was not there before is not heard.
        encoding: of a waveform: "mu-law" is 256 levels (ITU-T G.711's curve, mu 255, what WaveNet reads), louder than
            full scale cut off; "float" the samples as they are, full scale from -1 to 1.

    Raises:
        InputError: a field is out of range, or they do not fit together.
    """

    rate: int = 16_000
    segment_seconds: float = 2.0
    hop_seconds: float = 1.0
    content: Content = "spectrogram"
    bands: int = 64
    frames: int = 64
    fft: int = 1024
    encoding: Encoding = "mu-law"
    levels: Levels = "absolute"

    def __post_init__(self) -> None:
        for name, least, most in (("rate", 1_000, 384_000), ("bands", 8, 512), ("frames", 8, 4096), ("fft", 16, 65536)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise InputError(f"AudioForm.{name} must be a whole number from {least} to {most}; got {value!r}")
        for name in ("segment_seconds", "hop_seconds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
                raise InputError(f"AudioForm.{name} must be a number of seconds above 0; got {value!r}")
            object.__setattr__(self, name, float(value))
        for name, kind in (("content", Content), ("encoding", Encoding), ("levels", Levels)):
            choices = get_args(kind)
            if getattr(self, name) not in choices:
                raise InputError(f"AudioForm.{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")
        if self.hop < 1 or self.length < 1 or self.length > _MOST_VALUES:
            raise InputError(
                f"a segment and its hop need from 1 to {_MOST_VALUES:,} samples; {self.segment_seconds:g} s and "
                f"{self.hop_seconds:g} s at {self.rate} Hz are {self.length} and {self.hop}"
            )
        if self.content == "spectrogram" and self.frame_hop < 1:
            raise InputError(
                f"{self.frames} frames of {self.fft} samples do not fit in {self.length} samples; give a longer "
                "segment, fewer frames or a shorter fft"
            )

    @property
    def length(self) -> int:
        """Samples in a segment."""
        return round(self.segment_seconds * self.rate)

    @property
    def hop(self) -> int:
        """Samples from one segment's start to the next one's."""
        return round(self.hop_seconds * self.rate)

    @property
    def frame_hop(self) -> int:
        """Samples from one frame's start to the next one's."""
        return (self.length - self.fft) // (self.frames - 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a sample, (C, H, W)."""
        return (1, self.bands, self.frames) if self.content == "spectrogram" else (1, 1, self.length)

    def described(self) -> str:
        """In words, for a person."""
        segment = f"segments of {self.segment_seconds:g} s, one every {self.hop_seconds:g} s, at {self.rate} Hz"
        if self.content == "waveform":
            return f"{segment}, as {'256 mu-law levels' if self.encoding == 'mu-law' else 'floats'}"
        relative = "" if self.levels == "absolute" else ", relative to each band's mean"
        return f"{segment}, as {self.bands} mel bands by {self.frames} frames (fft {self.fft}){relative}"

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `form_from_json` gives it back."""
        content = {"medium": "audio", **asdict(self)}
        if self.levels == "absolute":  # detectors from before there were others stay as they were
            del content["levels"]
        return content


@dataclass(frozen=True)
class VideoForm:
    """How video becomes samples: each is the optical flow between two frames, `interval` apart.

    Two frames and no longer stretch: the mean flow of a stretch forgets what goes to and fro, such as a picture that a
    hand holds up and shakes. What lasts is seen in the scores of the whole, for which flows are aggregated.

    The defaults: flow is smooth, so that 32 x 32 hold it and every network here takes them; in 0.1 s people and
    vehicles move by more than the noise of a camera and by less than what is searched; five samples a second see what
    lasts as long as a step.

    Attributes:
        side: of the square samples (2, side, side), 8 to 256: x to the right, y downwards. Frames of any shape are
            squeezed into the square.
        interval: seconds from the first frame of a pair to the second, which is the first frame that is not earlier;
            the flow is scaled to exactly this interval. Pairs more than three intervals apart are left out.
        hop_seconds: from the first frame of one pair to that of the next.
        frame_rate: frames a second of folders of frames, which do not tell; video files tell the time of each frame.

    Raises:
        InputError: a field is out of range.
    """

    side: int = 32
    interval: float = 0.1
    hop_seconds: float = 0.2
    frame_rate: float = 25.0

    def __post_init__(self) -> None:
        if isinstance(self.side, bool) or not isinstance(self.side, int) or not 8 <= self.side <= 256:
            raise InputError(f"VideoForm.side must be a whole number from 8 to 256; got {self.side!r}")
        for name, least, most in (("interval", 1e-3, 1e4), ("hop_seconds", 1e-3, 1e5), ("frame_rate", 1e-3, 1e4)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise InputError(f"VideoForm.{name} must be a number from {least:g} to {most:g}; got {value!r}")
            object.__setattr__(self, name, float(value))
        if self.interval > _MOST_PENDING * self.hop_seconds:
            raise InputError(
                f"an interval is at most {_MOST_PENDING} hops, as frames are kept for so long; got {self.interval:g} s "
                f"and a hop of {self.hop_seconds:g} s"
            )

    @property
    def content(self) -> Literal["flow"]:
        """The kind of the samples."""
        return "flow"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a sample, (C, H, W)."""
        return (2, self.side, self.side)

    def described(self) -> str:
        """In words, for a person."""
        return (
            f"flow between frames {self.interval:g} s apart, one every {self.hop_seconds:g} s, as x and y on "
            f"{self.side} x {self.side} places"
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `form_from_json` gives it back."""
        return {"medium": "video", **asdict(self)}


Form = AudioForm | VideoForm


def form_from_json(content: object) -> Form:
    """Read what `to_json` of a form wrote; InputError for anything else."""
    given = dict(content) if isinstance(content, Mapping) else {}
    medium = given.pop("medium", None)
    if medium not in ("audio", "video"):
        raise InputError(f"expected how recordings become samples, with the medium 'audio' or 'video'; got {content!r}")
    form: type[Form] = AudioForm if medium == "audio" else VideoForm
    names = {field.name for field in fields(form)}
    if set(given) | {"levels"} & names != names:
        raise InputError(f"{form.__name__} has the fields {sorted(names)}; got {sorted(map(str, given))}")
    return form(**given)


@dataclass(frozen=True)
class Span:
    """A stretch of a recording, from `start` to `end` in seconds from its beginning."""

    path: str
    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.path} {self.start:.2f}-{self.end:.2f} s"


def check_aggregate(how: object) -> Aggregate:
    """The way to aggregate, or InputError listing them all."""
    if how not in AGGREGATES:
        raise InputError(f"the score of a recording is the max, mean or p95 of its segments'; got {how!r}")
    return how


def aggregated(novelty: np.ndarray, how: Aggregate) -> float:
    """One novelty for a recording from those of its segments (S,), S >= 1.

    "max" finds a single odd moment, and grows with the recording's length; "mean" finds what is odd all along; "p95",
    the 95th percentile (linear between neighbours, as NumPy's), forgives one segment in twenty.
    """
    check_aggregate(how)
    if how == "max":
        return float(novelty.max())
    return float(novelty.mean() if how == "mean" else np.percentile(novelty, 95))
