"""What a detector is given, to learn from above all: understood, checked, learned from or held out."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from novanda.calibration import required
from novanda.errors import CalibrationError, InputError
from novanda.method import Method
from novanda.recordings import AudioForm, Form, VideoForm
from novanda.samples import Kind, RecordedSource, Source


def form_of(X: Any, kind: Kind | None, recording: Form | None) -> Form | None:
    """How recordings become samples; None where X is no recordings."""
    if recording is not None:
        return recording
    paths = [X] if isinstance(X, str | Path) else X if isinstance(X, list | tuple) else []
    if not paths or not all(isinstance(x, str | Path) for x in paths):
        return None
    if len(paths) == 1 and Path(paths[0]).suffix.lower() in (".npy", ".npz"):
        return None
    if kind == "flow":
        return VideoForm()
    return AudioForm(content=kind) if kind in ("spectrogram", "waveform") else None


def check_source(source: Source, method: Method, recording: Form | None) -> None:
    """Refuse samples that the method can not learn from, or that a form of recordings says nothing about."""
    if source.spec.kind not in method.kinds:
        raise InputError(
            f"{method.name} learns from {', '.join(sorted(method.kinds))}; got {source.spec.kind}. "
            "`novanda list methods` shows what each can take"
        )
    form = source.spec.recording
    if recording is not None and form is None:
        raise InputError(
            f"recording says how sound or video becomes samples; got {source.spec.kind} samples, in no need "
            "of it; leave it out, or give sound files or clips"
        )
    if form is not None and method.sides is not None and not form.shape[1] == form.shape[2] in method.sides:
        if isinstance(form, VideoForm):
            got = f"a side of {form.side}; change it, --video.side 32"
        else:
            got = f"{form.bands} bands by {form.frames} frames; make them alike, --audio.bands 64 --audio.frames 64"
        raise InputError(f"{method.name} takes squares of {', '.join(map(str, method.sides))}; got {got}")


def split(
    source: Source, method: Method, fraction: float, rate: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Places of the samples to learn from and of those held out, both in order.

    Recordings go to one side whole: segments of one are alike, and those held out would not be new.
    """
    groups, what = np.arange(len(source)), "samples"
    if isinstance(source, RecordedSource):
        groups, what = source.recordings, "recordings"
    count = int(groups[-1]) + 1
    held = round(fraction * count)
    if fraction > 0:
        needed = required(rate)
        if held < needed:
            raise CalibrationError(
                f"a false-alarm rate of {rate:g} needs at least {needed} held-out normals; "
                f"calibration_fraction {fraction:g} of {count} {what} gives {held}. Give "
                f"at least {math.ceil(needed / fraction)} {what}, a higher rate or a larger share"
            )
    order = generator.permutation(count)
    held_out = np.isin(groups, order[:held])
    if np.count_nonzero(~held_out) < method.minimum_samples:
        raise InputError(
            f"{method.name} learns from at least {method.minimum_samples} samples; got {count} {what}, "
            f"of which {held} are held out for calibration"
        )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def fingerprint(source: Source) -> str:
    """sha256 (hex) of a source's length and of 64 of its samples, evenly spaced."""
    digest = hashlib.sha256(str(len(source)).encode())
    for position in np.linspace(0, len(source) - 1, min(64, len(source))).astype(int).tolist():
        digest.update(source.identifier(position).encode())
        digest.update(np.ascontiguousarray(source.read([position])).tobytes())
    return digest.hexdigest()


def is_tabular(X: Any) -> bool:
    """Whether X is a table of features, which scikit-learn's own validation takes, rather than images or paths."""
    if isinstance(X, str | Path | Source):
        return False
    if isinstance(X, np.ndarray | Tensor):
        return X.ndim <= 2
    if isinstance(X, list | tuple) and len(X):
        return not isinstance(X[0], str | Path) and np.ndim(X[0]) < 2
    return True


def plain(X: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    return X.numpy(force=True) if isinstance(X, Tensor) else X


def is_whole(value: object, least: int) -> bool:
    """Whether a value is a whole number of at least so much; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
