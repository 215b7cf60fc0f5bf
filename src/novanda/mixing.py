"""Test sets of rare sounds from a person's own: events mixed into backgrounds by the recipe of DCASE 2017 task 2.

Half of the mixtures hold an event; both are drawn with replacement, the event's beginning uniformly from where it fits,
its ratio to the background from a few. The event is scaled so that its root mean square is that ratio times the
background's under it, and the sum is multiplied by 0.2, which keeps nearly all of them below full scale.

Departures: the set's makers listened for where in its file an event sounds; here it is all from the first to the last
hundredth of a second within 40 dB of the loudest. They had backgrounds of 30 s; here a stretch of a longer one begins
at a moment drawn uniformly, and the recipe tells it as `bg_start_seconds`. Where the background is silent, so that
there is no ratio, another place is drawn.

What is written is what `datasets.dcase2017.read_mixtures` reads. Letters: n samples of a background, m of an event.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from novanda.checkpoint import written_atomically
from novanda.datasets.dcase2017 import Split, yaml_package
from novanda.errors import DataError, InputError
from novanda.recordings import AudioForm
from novanda.sources.finding import find_sounds
from novanda.sources.segmenting import Cutter
from novanda.sources.tapes import Tape, soundfile_package

GAIN = 0.2
_DRAWS = 100  # of a place, before a background is given up as silent


@dataclass(frozen=True)
class Mixing:
    """How to mix.

    Attributes:
        ebr: event-to-background ratios in dB, drawn from evenly.
        count: mixtures for each class of event.
        presence: share of them that hold an event.
        seconds: length of a mixture; shorter backgrounds are left out, longer events cut.
        rate: samples a second of the mixtures, which are mono of 24 bits.
        split: what part of the official layout to write.
        gain: that the sum is multiplied by. A detector that was fitted on the backgrounds themselves wants 1, for at
            0.2 all mixtures are quieter than what it knows; more of them are then cut off at full scale.
        seed: of everything random.

    Raises:
        InputError: a field is out of range.
    """

    ebr: tuple[float, ...] = (-6.0, 0.0, 6.0)
    count: int = 500
    presence: float = 0.5
    seconds: float = 30.0
    rate: int = 44_100
    split: Split = "evaltest"
    gain: float = GAIN
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.ebr or not all(-100 <= ratio <= 100 for ratio in self.ebr):
            raise InputError(f"ebr must be one or more ratios from -100 to 100 dB; got {self.ebr!r}")
        if self.count < 1 or self.seed < 0:
            raise InputError(f"count must be at least 1 and seed at least 0; got {self.count} and {self.seed}")
        if not 0 < self.gain <= 1:
            raise InputError(f"gain is a factor above 0, at most 1; got {self.gain!r}")
        if not 0 <= self.presence <= 1:
            raise InputError(f"presence is a share from 0 to 1; got {self.presence!r}")
        AudioForm(rate=self.rate, segment_seconds=self.seconds, content="waveform")  # refuses what is no length


@dataclass(frozen=True)
class Mixed:
    """What `mix` wrote.

    Attributes:
        folder: of the split.
        count, with_event, clipped: mixtures in all, those that hold an event, those cut off at full scale.
        left_out: sounds that could not serve, and why.
    """

    folder: Path
    count: int
    with_event: int
    clipped: int
    left_out: dict[str, str]


def mixture(
    background: np.ndarray, event: np.ndarray, at: int, ebr: float, gain: float = GAIN
) -> tuple[np.ndarray, float]:
    """A background (n,) with an event (m,) from sample `at` on, times `gain`, and the factor that scaled the event.

    factor = 10^(ebr / 20) RMS(background[at : at + m]) / RMS(event), before the gain.

    Raises:
        InputError: the event does not fit, or either is silent there, so that there is no ratio of them.
    """
    under = background[at : at + len(event)]
    if at < 0 or len(under) != len(event) or not len(event):
        raise InputError(f"an event of {len(event)} samples at {at} does not fit in {len(background)}")
    loud, louder = (float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))) for part in (event, under))
    if loud == 0 or louder == 0:
        raise InputError("an event or the background under it is silent; there is no ratio of them")
    factor = 10 ** (ebr / 20) * louder / loud
    mixed = background.astype(np.float64)
    mixed[at : at + len(event)] += factor * event
    return mixed * gain, factor


def mix(
    backgrounds: str | Path,
    events: str | Path,
    out: str | Path,
    mixing: Mixing | None = None,
    *,
    each: Callable[[Sequence[Any]], Iterator[Any]] = iter,
) -> Mixed:
    """Write mixtures of the sounds of two folders below `out`, in the official layout.

    A class of event, or a background's scene, is the name of the subfolder that a sound lies in, or of the folder.

    Args:
        backgrounds, events: folders of sound files.
        out: a folder that does not exist, or an empty one.
        mixing: how; None: as DCASE did, 500 of 30 s for each class.
        each: wraps the list of mixtures to make, for a bar to be drawn.

    Raises:
        InputError: `out` holds something already; a package of the extra `audio` is not installed.
        DataError: a folder holds no sound that can serve.
    """
    chosen = mixing or Mixing()
    yaml_package()
    root = Path(out)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is there and not empty; --out is a new folder, so that no two test sets are mixed")
    left_out: dict[str, str] = {}
    beds = _long_enough(_by_class(Path(backgrounds), left_out), chosen, left_out)
    classes = _by_class(Path(events), left_out)
    form = "development" if chosen.split.startswith("dev") else "evaluation"
    digest = _digest({**asdict(chosen), "backgrounds": beds.files, "events": classes.files})
    folder = root / f"TUT-rare-sound-events-2017-{form}" / "data" / "mixture_data" / chosen.split / digest
    plans = [(target, number) for target in sorted(classes.files) for number in range(chosen.count)]
    recipes: dict[str, list[dict[str, Any]]] = {target: [] for target in sorted(classes.files)}
    clipped = 0
    for target, number in each(plans):
        # A generator for each: a mixture does not depend on those made before it.
        generator = np.random.default_rng([chosen.seed, sorted(classes.files).index(target), number])
        recipe, sound = _made(beds, classes, target, number, chosen, generator)
        clipped += bool(np.abs(sound).max() > 1)
        _write_sound(folder / "audio" / recipe["mixture_audio_filename"], sound, chosen.rate)
        recipes[target].append(recipe)
    for target, made in recipes.items():
        _write_meta(folder / "meta", f"{chosen.split}_{target}", made)
    with_event = sum(recipe["event_present"] for made in recipes.values() for recipe in made)
    return Mixed(folder, len(plans), with_event, clipped, left_out)


@dataclass(frozen=True)
class _Folder:
    """The sounds of a folder that can be read: names below it, by the subfolder that they lie in."""

    root: Path
    files: dict[str, list[str]]


def _by_class(folder: Path, left_out: dict[str, str]) -> _Folder:
    found: dict[str, list[str]] = {}
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of sounds; it is none")
    for path in find_sounds(folder).files:
        inside = path.relative_to(folder)
        try:
            with Tape(path) as tape:
                if tape.truncated:
                    raise DataError(f"{path}: {tape.truncated}")
        except DataError as error:
            left_out[str(path)] = str(error).removeprefix(f"{path}: ")
            continue
        name = inside.parts[0] if len(inside.parts) > 1 else folder.resolve().name
        found.setdefault(name, []).append(inside.as_posix())
    if not found:
        raise DataError(f"{folder}: expected sounds that can be read; the first that can not: {next(iter(left_out))}")
    return _Folder(folder, found)


def _long_enough(beds: _Folder, mixing: Mixing, left_out: dict[str, str]) -> _Folder:
    kept: dict[str, list[str]] = {}
    longest = 0.0
    for scene, name in [(scene, name) for scene, names in beds.files.items() for name in names]:
        with Tape(beds.root / name) as tape:
            longest = max(longest, tape.seconds)
            if tape.seconds < mixing.seconds:
                left_out[str(tape.path)] = f"{tape.seconds:.3g} s; a mixture lasts {mixing.seconds:g} s"
                continue
        kept.setdefault(scene, []).append(name)
    if not kept:
        raise DataError(
            f"expected backgrounds of at least {mixing.seconds:g} s; the longest has {longest:.3g} s; give --seconds"
        )
    return _Folder(beds.root, kept)


def _made(
    beds: _Folder,
    events: _Folder,
    target: str,
    number: int,
    mixing: Mixing,
    generator: np.random.Generator,
) -> tuple[dict[str, Any], np.ndarray]:
    """One mixture and its recipe."""
    pairs = [(scene, name) for scene in sorted(beds.files) for name in beds.files[scene]]
    present = bool(generator.random() < mixing.presence)
    names = events.files[target]
    event_name = names[int(generator.integers(len(names)))]
    event, first = _event(events.root / event_name, mixing) if present else (None, 0.0)
    ebr = float(mixing.ebr[int(generator.integers(len(mixing.ebr)))])
    for _ in range(_DRAWS):
        scene, name = pairs[int(generator.integers(len(pairs)))]
        background, begin = _background(beds.root / name, mixing, generator)
        recipe: dict[str, Any] = {
            "bg_path": name, "bg_classname": scene, "bg_start_seconds": begin, "event_present": present,
        }  # fmt: skip
        if event is None:
            return _named(recipe, target, number, mixing), background.astype(np.float64) * mixing.gain
        at = int(generator.integers(len(background) - len(event) + 1))
        try:
            mixed, factor = mixture(background, event, at, ebr, mixing.gain)
        except InputError:  # silent under the event: another place
            continue
        recipe |= {
            "ebr": ebr, "event_path": event_name, "event_class": target,
            "event_start_in_mixture_seconds": at / mixing.rate, "event_length_seconds": len(event) / mixing.rate,
            "scaling_factor": factor, "segment_start_seconds": first,
            "segment_end_seconds": first + len(event) / mixing.rate,
        }  # fmt: skip
        return _named(recipe, target, number, mixing), mixed
    raise DataError(
        f"{events.root / event_name}: it, or {_DRAWS} places drawn from the backgrounds, are silent: nothing to mix"
    )


def _named(recipe: dict[str, Any], target: str, number: int, mixing: Mixing) -> dict[str, Any]:
    name = f"mixture_{mixing.split}_{target}_{number:03d}_{_digest(recipe)}.wav"
    line = name
    if recipe["event_present"]:
        onset = recipe["event_start_in_mixture_seconds"]
        line = f"{name}\t{onset!r}\t{onset + recipe['event_length_seconds']!r}\t{target}"
    return {**recipe, "mixture_audio_filename": name, "annotation_string": line}


def _event(path: Path, mixing: Mixing) -> tuple[np.ndarray, float]:
    """An event at the rate of the mixtures, or as much of it as fits, and where in its file it begins, in seconds."""
    with Tape(path) as tape:
        whole = tape.read(0, tape.length)
        first, last = sounding(whole, tape.rate)
        sound = whole[first : min(last, first + int(mixing.seconds * tape.rate))]
        if tape.rate != mixing.rate:
            import soxr

            sound = soxr.resample(sound, tape.rate, mixing.rate, quality="HQ")
        return sound[: round(mixing.seconds * mixing.rate)], first / tape.rate


def sounding(sound: np.ndarray, rate: int) -> tuple[int, int]:
    """The first sample and one past the last of what is left of a sound (n,) without the silence around it.

    Frames of 10 ms count whose root mean square is at least a hundredth (-40 dB) of the loudest frame's; all where the
    sound is silent throughout.
    """
    size = max(1, rate // 100)
    padded = np.pad(sound.astype(np.float64), (0, -len(sound) % size)).reshape(-1, size)
    loud = np.sqrt(np.mean(padded**2, axis=1))
    places = np.flatnonzero(loud >= 0.01 * loud.max())
    return int(places[0]) * size, min(len(sound), (int(places[-1]) + 1) * size)


def _background(path: Path, mixing: Mixing, generator: np.random.Generator) -> tuple[np.ndarray, float]:
    """A stretch of a background, from a moment drawn uniformly, and that moment in seconds."""
    form = AudioForm(rate=mixing.rate, segment_seconds=mixing.seconds, content="waveform")
    with Tape(path) as tape:
        cutter = Cutter(form, tape.rate)
        room = max(0, cutter.resampled(tape.length) - form.length)
        start = int(generator.integers(room + 1))
        return cutter.cut(tape.read(*cutter.reach(start)), start), start / mixing.rate


def _write_sound(path: Path, sound: np.ndarray, rate: int) -> None:
    with written_atomically(path) as file:
        soundfile_package().write(file, sound.clip(-1, 1), rate, format="WAV", subtype="PCM_24")


def _write_meta(folder: Path, part: str, recipes: list[dict[str, Any]]) -> None:
    lines = "".join(f"{recipe['annotation_string']}\n" for recipe in recipes)
    text = yaml_package().safe_dump(recipes, sort_keys=False, allow_unicode=True)
    for name, content in ((f"event_list_{part}.csv", lines), (f"mixture_recipes_{part}.yaml", text)):
        with written_atomically(folder / name) as file:
            file.write(content.encode())


def _digest(content: Any) -> str:
    """32 letters of hex, as the official names have them."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
