"""A look at folders of sound before training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from novanda.errors import DataError
from novanda.inspection.surveys import Inspected, common, survey
from novanda.inspection.words import Spread, counts_in_words, cut, few_in_words, summed
from novanda.recordings import AudioForm
from novanda.sources.finding import PathLike, find_sounds
from novanda.sources.tapes import Tape

QUIET = 1e-4
"""The peak, -80 dB below full scale, under which a tenth of a second counts as silence."""
FULL = 0.99
"""From this share of full scale on, three samples in a row count as clipped."""
_MUCH_SILENCE, _MUCH_CLIPPING = 0.5, 1e-4  # shares from which a file is named


@dataclass(frozen=True, kw_only=True)
class SoundInspection(Inspected):
    """What `inspect_sounds` found: beside what every inspection does (`Inspected`), of sounds, decoded whole.

    Attributes:
        formats, rates, channels: how many readable files have each; by what they hold, whatever their names.
        seconds: the spread of their lengths; None if there is none.
        hours: of all together.
        silent: files that are silent (below -80 dB) at least half of the time: the share.
        clipped: files of which at least one sample in 10,000 is clipped: the share.
    """

    same: ClassVar[str] = "same samples"
    called: ClassVar[str] = "files"

    formats: dict[str, int]
    rates: dict[str, int]
    channels: dict[str, int]
    seconds: Spread | None
    hours: float
    silent: dict[str, float]
    clipped: dict[str, float]

    def facts(self) -> list[str]:
        """Their number and hours, formats, lengths, silence, clipping."""
        lines = [f"{self.files:,} sound files, {self.readable:,} readable, {self.hours:.3g} hours"]
        if self.seconds:
            lines += [
                f"formats: {counts_in_words(self.formats)}; rates: {counts_in_words(self.rates)}; "
                f"channels: {counts_in_words(self.channels)}",
                f"length {self.seconds} s (least, median, greatest)",
            ]
        lines += cut("silent", [f"{path}: {share:.0%} of the time" for path, share in self.silent.items()])
        return lines + cut("clipped", [f"{path}: {share:.3%} of the samples" for path, share in self.clipped.items()])


@dataclass(frozen=True)
class _Heard:
    """What is kept of a sound."""

    format: str
    rate: int
    channels: int
    seconds: float
    silent: float
    clipped: float
    digest: bytes


def inspect_sounds(
    paths: PathLike | Sequence[PathLike],
    against: PathLike | Sequence[PathLike] | None = None,
    *,
    workers: int | None = None,
    progress: bool = False,
) -> SoundInspection:
    """Decode every sound that training on `paths` would read, and compare with `against`, sounds meant for testing.

    Memory holds a block of sound a thread, and a few hundred bytes a file.

    Raises:
        DataError: a path is missing or holds no sounds. Broken ones are told, not raised.
    """
    found = find_sounds(paths, purpose="fit")
    others = () if against is None else find_sounds(against, purpose="score").files
    seen = survey(_listen_to_one, found.files, others, workers, progress)
    heard = seen.looks
    silent = {path: one.silent for path, one in heard.items() if one.silent >= _MUCH_SILENCE}
    clipped = {path: one.clipped for path, one in heard.items() if one.clipped >= _MUCH_CLIPPING}
    return SoundInspection(
        **common(found, seen, "sounds", _warnings(heard, seen.broken, silent, clipped)),
        formats=summed((one.format, 1) for one in heard.values()),
        rates=summed((f"{one.rate} Hz", 1) for one in heard.values()),
        channels=summed((str(one.channels), 1) for one in heard.values()),
        seconds=Spread.of(round(one.seconds, 3) for one in heard.values()),
        hours=sum(one.seconds for one in heard.values()) / 3600,
        silent=silent,
        clipped=clipped,
    )


def _listen_to_one(path: Path) -> _Heard | DataError:
    try:
        with Tape(path) as tape:
            if tape.truncated:
                return DataError(f"{path}: {tape.truncated}")
            return _heard(tape)
    except DataError as error:
        return error


def _heard(tape: Tape) -> _Heard:
    digest = hashlib.sha256()
    window = max(1, tape.rate // 10)
    windows = silent = clipped = at = 0
    rest = np.empty(0, dtype=np.float32)  # peaks of samples that do not fill a window yet
    before = np.zeros((2, tape.channels), dtype=bool)
    for block in tape.blocks():
        if not np.isfinite(block).all():
            where = (at + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])) / tape.rate
            raise DataError(f"{tape.path}: expected finite samples; got NaN or infinity at {where:.3f} s")
        at += len(block)
        digest.update(block.tobytes())
        full = np.concatenate([before, np.abs(block) >= FULL])
        clipped += int((full[2:] & full[1:-1] & full[:-2]).any(axis=1).sum())
        before = full[-2:]
        peaks = np.concatenate([rest, np.abs(block).max(axis=1)])
        whole = len(peaks) // window
        windows += whole
        silent += int((peaks[: whole * window].reshape(whole, window).max(axis=1) < QUIET).sum())
        rest = peaks[whole * window :]
    share = silent / windows if windows else 0.0
    return _Heard(tape.format, tape.rate, tape.channels, tape.seconds, share, clipped / tape.length, digest.digest())


def _warnings(
    heard: dict[str, _Heard], broken: dict[str, str], silent: dict[str, float], clipped: dict[str, float]
) -> list[str]:
    form = AudioForm()
    slow = sum(one.rate < form.rate for one in heard.values())
    short = sum(one.seconds < form.segment_seconds for one in heard.values())
    lengths = [one.seconds for one in heard.values()]
    warnings = few_in_words("recordings", len(heard))
    if broken:
        warnings.append(f"{len(broken):,} broken files would be skipped")
    if silent:
        warnings.append(f"{len(silent):,} files are mostly silent: a microphone that is off would be learned as normal")
    if clipped:
        warnings.append(
            f"{len(clipped):,} files are clipped: the recording level was too high, which sounds like noise"
        )
    if slow > 0:
        warnings.append(
            f"{slow:,} files have fewer than {form.rate:,} samples a second: the upper bands of a spectrogram stay "
            "empty; give --audio.rate the lowest rate"
        )
    if short:
        warnings.append(
            f"{short:,} files are shorter than a segment of {form.segment_seconds:g} s and would be skipped"
        )
    if lengths and max(lengths) > 2 * min(lengths):
        warnings.append("lengths differ: p-values of whole files hold for files as long as those fitted on")
    return warnings
