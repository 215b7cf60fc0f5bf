"""Sound files as a source of segments: scanned once for training, decoded as they are read for scoring."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from novanda.errors import DataError
from novanda.recordings import AudioForm, Span
from novanda.samples import SampleSpec
from novanda.sources.finding import PathLike, Purpose, find_sounds, named_or_found
from novanda.sources.segmenting import Cutter
from novanda.sources.spectrograms import band_hertz, log_mel, samples_of, spec_of
from novanda.sources.tapes import Tape

_BATCH = 32  # segments made at a time
_PICTURED = AudioForm(bands=128, fft=2048)  # twice as fine as what is learned from


@dataclass(frozen=True)
class Recording:
    """A sound file whose header was read.

    Attributes:
        path, seconds: which, and how long.
        rate: its own samples a second.
        starts: where its segments begin, in samples at the form's rate.
        error: why it, or what follows its last segment, can not be read; None where nothing is known to be wrong.
    """

    path: Path
    seconds: float
    rate: int
    starts: tuple[int, ...]
    error: DataError | None = None

    def __len__(self) -> int:
        """Positions it takes: its segments, and one for its error."""
        return len(self.starts) + (self.error is not None)


class SoundFiles:
    """Segments of sound files as samples; made by `open` (for training) or `listed` (for scoring).

    Attributes:
        files: the recordings, in order.
        broken: why each file that was skipped can not be read (empty if `listed`: files are read when asked for).
        note: sentences for a person: which files were taken, and how sound became samples.
    """

    def __init__(
        self,
        files: Sequence[Recording],
        form: AudioForm,
        *,
        note: str = "",
        broken: dict[Path, str] | None = None,
        cache: np.ndarray | None = None,
    ) -> None:
        self.files = tuple(files)
        self.broken = broken or {}
        self.note = note
        self._form = form
        self._spec = spec_of(form)
        self._cache = _empty(0, form) if cache is None else cache
        counts = [len(file) for file in self.files]
        self._recordings = np.repeat(np.arange(len(counts)), counts)
        self._begin = np.cumsum([0, *counts])  # position of each recording's first segment
        self._tape: tuple[int, Tape] | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        paths: PathLike | Sequence[PathLike],
        form: AudioForm,
        *,
        purpose: Purpose,
        strict: bool = False,
        cache_bytes: int = 1 << 30,
        progress: bool = False,
    ) -> SoundFiles:
        """Decode every file once, set the broken ones aside whole and keep samples in memory up to `cache_bytes`.

        What does not fit (eighteen hours at the defaults do) is decoded again when it is asked for: exactly, but for
        Ogg and MP3 slowly, as those can only be read from their beginning.

        Raises:
            DataError: no readable sound; `strict` and a broken file; to fit, fewer than two segments or only
                identical ones.
        """
        found = find_sounds(paths, purpose=purpose)
        listed = [_listed(path, form) for path in found.files]
        room = cache_bytes // max(1, _empty(1, form).nbytes)
        cache = _empty(min(room, sum(len(file.starts) for file in listed)), form)
        broken: dict[Path, str] = {}
        whole: list[Recording] = []
        filled, first, differ = 0, None, False
        files: Iterable[Recording] = listed
        if progress:
            files = track(listed, "Reading sounds", console=Console(stderr=True), transient=True)
        for file in files:
            try:
                here = filled
                for samples in _segments(file, form):
                    first = samples[:1] if first is None else first
                    differ = differ or bool((samples != first).any())
                    kept = cache[here : here + len(samples)]
                    kept[:] = samples[: len(kept)]
                    here += len(samples)
            except DataError as error:
                if strict:
                    raise DataError(
                        f"{error} (strict: stopped at the first broken file, after {len(whole):,} readable of "
                        f"{len(listed):,}; mend or remove it, or leave strict off to skip such files)"
                    ) from error
                broken[file.path] = str(error).removeprefix(f"{file.path}: ")
                continue
            whole.append(file)
            filled = here
        _check_enough(found.files, whole, broken, filled, differ, purpose)
        hours = sum(file.seconds for file in whole) / 3600
        note = f"{found.note} {len(whole):,} recordings, {hours:.3g} hours: {form.described()}."
        return cls(whole, form, note=note, broken=broken, cache=cache[:filled])

    @classmethod
    def listed(cls, paths: PathLike | Sequence[PathLike], form: AudioForm) -> SoundFiles:
        """Files for scoring: only headers are read; segments are decoded when asked for, forwards at little cost.

        A single file is taken as it is: one that is missing, broken or too short takes one position, whose error
        `read_each` tells, and costs no other.

        Raises:
            DataError: a folder holds no sound.
        """
        files, note = named_or_found(paths, find_sounds)
        return cls([_listed(path, form) for path in files], form, note=note)

    @property
    def spec(self) -> SampleSpec:
        """What each sample looks like."""
        return self._spec

    @property
    def recordings(self) -> np.ndarray:
        """Of each segment the number of its file, counted from 0: (N,) int64."""
        return self._recordings

    def __len__(self) -> int:
        return len(self._recordings)

    def span(self, position: int) -> Span:
        """Which stretch of which file a segment is; for an error from where on it holds, or 0 to 0 for a whole file."""
        file, place = self._place(position)
        if place == len(file.starts):
            return Span(str(file.path), file.seconds, file.seconds)
        start = file.starts[place] / self._form.rate
        return Span(str(file.path), start, start + self._form.length / self._form.rate)

    def identifier(self, position: int) -> str:
        """The file's path as it was given, and the segment's start and end in seconds."""
        file, place = self._place(position)
        return str(file.path) if place == len(file.starts) else str(self.span(position))

    def read(self, positions: Sequence[int]) -> np.ndarray:
        """Samples (n, C, H, W) as `spec_of` says; a copy. Raises DataError naming the first that can not be read."""
        places = np.asarray(positions, dtype=np.int64)
        if (places < len(self._cache)).all():
            return self._cache[places]
        whole = []
        for sample in self.read_each(positions):
            if isinstance(sample, DataError):
                raise sample
            whole.append(sample)
        return np.stack(whole)

    def read_each(self, positions: Sequence[int]) -> list[np.ndarray | DataError]:
        """As `read`, but a sample (C, H, W) or the error for each position: one broken file costs no other."""
        found: list[np.ndarray | DataError] = []
        for start in range(0, len(positions), _BATCH):
            chosen = positions[start : start + _BATCH]
            with self._lock:  # one file is open at a time
                windows = [None if each < len(self._cache) else self._window(each) for each in chosen]
            whole = [window for window in windows if isinstance(window, np.ndarray)]
            made = iter(samples_of(np.stack(whole), self._form) if whole else ())
            for position, window in zip(chosen, windows, strict=True):
                if window is None:
                    found.append(np.array(self._cache[position]))
                else:
                    found.append(window if isinstance(window, DataError) else next(made))
        return found

    def _place(self, position: int) -> tuple[Recording, int]:
        """The file of a segment, and the segment's place in it."""
        number = int(self._recordings[position])
        return self.files[number], int(position - self._begin[number])

    def _window(self, position: int) -> np.ndarray | DataError:
        """The sound of a segment, (L,), or why it can not be read."""
        file, place = self._place(position)
        if place == len(file.starts):
            assert file.error is not None  # it is what this position stands for
            return file.error
        try:
            tape = self._opened(int(self._recordings[position]))
            return _window(tape, Cutter(self._form, file.rate), file.starts[place])
        except DataError as error:
            return error

    def _opened(self, number: int) -> Tape:
        """The file of that number; the one that was open before is closed."""
        if self._tape is None or self._tape[0] != number:
            if self._tape is not None:
                self._tape[1].close()
                self._tape = None
            self._tape = number, Tape(self.files[number].path)
        return self._tape[1]

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # where the constructor failed
            if self._tape is not None:
                self._tape[1].close()


def sound_envelope(path: Path, places: int = 1000) -> tuple[float, np.ndarray]:
    """How long a file lasts in seconds, and the least and greatest sample in each of equal stretches of it, (E, 2).

    For a picture: decoded block by block, what can not be decoded left at 0. 0 s and nothing for what is no sound.
    """
    try:
        with Tape(path) as tape:
            envelope = np.zeros((min(places, tape.length), 2), dtype=np.float32)
            at = 0
            with contextlib.suppress(DataError):
                for block in tape.blocks():
                    sound = np.nan_to_num(block.mean(axis=1))
                    place = (np.arange(at, at + len(sound)) * len(envelope)) // tape.length
                    np.minimum.at(envelope[:, 0], place, sound)
                    np.maximum.at(envelope[:, 1], place, sound)
                    at += len(sound)
            return tape.seconds, envelope
    except DataError:
        return 0.0, np.zeros((0, 2), dtype=np.float32)


def sound_spectrogram(path: Path, most_seconds: float = 60.0) -> tuple[float, np.ndarray, np.ndarray]:
    """The spectrogram of a file's beginning, for a picture.

    Returns:
        How many seconds of it; decibels (128, frames), the lowest band in row 0; the middle of each band in hertz.

    Raises:
        DataError: it is no sound, too short for a spectrogram, or can not be read so far.
    """
    with Tape(path) as tape:
        seconds = min(tape.seconds, most_seconds)
        frames = int((seconds * _PICTURED.rate - _PICTURED.fft) // _PICTURED.fft * 4)
        if frames < 8:
            raise DataError(f"{path}: expected at least 0.3 s of sound; it has {seconds:.3g} s; give a longer file")
        form = replace(_PICTURED, segment_seconds=seconds, hop_seconds=seconds, frames=min(frames, 1000))
        window = _window(tape, Cutter(form, tape.rate), 0)
    return seconds, log_mel(window[None], form)[0], band_hertz(form.rate, form.bands)


def _listed(path: Path, form: AudioForm) -> Recording:
    """A file by its header alone."""
    try:
        with Tape(path) as tape:
            starts = Cutter(form, tape.rate).starts(tape.length)
            error = DataError(f"{path}: {tape.truncated}") if tape.truncated else None
            if not starts:
                return Recording(path, 0.0, tape.rate, (), error or _too_short(tape, form))
            return Recording(path, tape.seconds, tape.rate, tuple(starts), error)
    except DataError as error:
        return Recording(path, 0.0, form.rate, (), error)


def _too_short(tape: Tape, form: AudioForm) -> DataError:
    return DataError(
        f"{tape.path}: expected at least a segment of {form.segment_seconds:g} s; got {tape.seconds:.3g} s; fit with "
        "shorter segments, or leave it out"
    )


def _segments(file: Recording, form: AudioForm) -> Iterable[np.ndarray]:
    """All segments of a file as samples, some at a time; DataError where not all of it can be read."""
    if file.error is not None:
        raise file.error
    with Tape(file.path) as tape:
        cutter = Cutter(form, tape.rate)
        for start in range(0, len(file.starts), _BATCH):
            windows = [_window(tape, cutter, each) for each in file.starts[start : start + _BATCH]]
            yield samples_of(np.stack(windows), form)


def _window(tape: Tape, cutter: Cutter, start: int) -> np.ndarray:
    return cutter.cut(tape.read(*cutter.reach(start)), start)


def _empty(count: int, form: AudioForm) -> np.ndarray:
    """Room for so many samples."""
    spec = spec_of(form)
    narrow = form.content == "waveform" and form.encoding == "mu-law"
    return np.empty((count, *spec.shape), dtype=np.uint8 if narrow else np.float32)


def _check_enough(
    files: Sequence[Path], whole: Sequence[Recording], broken: dict[Path, str], segments: int, differ: bool, to: Purpose
) -> None:
    """Raise DataError where no sound is readable or, to fit, where there is nothing to learn from."""
    if not whole:
        path, reason = next(iter(broken.items()))
        raise DataError(
            f"expected readable sounds; none of the {len(files):,} files is one. The first, {path}: {reason}"
        )
    if to != "fit":
        return
    if segments < 2:
        raise DataError(f"expected at least 2 segments to fit; got {segments} (of {len(files):,} files); give more")
    if not differ:
        raise DataError(
            f"expected sounds that differ; all {segments:,} segments are the very same (digital silence, or copies), "
            "so there is nothing to learn from them; give others"
        )
