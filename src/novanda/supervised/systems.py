"""The systems of Table 6 that are shown attacks: what each sees in a window of frames, and an SVM that tells two sides.

They are no methods of novanda: a `Method` learns from normals alone, these from live faces and attacks alike. Sizes:
F numbers a window; n windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from novanda.errors import InputError
from novanda.sources.clips import opencv_package
from novanda.supervised.textures import (
    CIRCLE,
    coalbp_histogram,
    lbp_top_histogram,
    pattern_codes,
    uniform_histogram,
)
from novanda.supervised.windows import Window

Judge = Callable[[np.ndarray], np.ndarray]
"""Descriptions of windows (n, F) to scores (n,), HIGHER = MORE OF AN ATTACK."""


class System(Protocol):
    """What a supervised row is."""

    @property
    def name(self) -> str:
        """On the command line and in result lines."""
        ...

    @property
    def title(self) -> str:
        """How tables call it, in the paper's words."""
        ...

    def settings(self) -> dict[str, Any]:
        """What result lines keep of it, as JSON."""
        ...

    def describe(self, window: Window) -> np.ndarray:
        """(F,) numbers; what is learned is not asked here."""
        ...

    def learn(self, descriptions: np.ndarray, attack: np.ndarray, seed: int) -> Judge:
        """Learn from descriptions (n, F) and whether each is an attack's (n,)."""
        ...


@dataclass(frozen=True)
class DescriptorSvm:
    """A fixed description and an SVM.

    Attributes:
        name, title: see `System`.
        about: what is described, and what differs from the source.
        describe: a window to (F,) numbers.
    """

    name: str
    title: str
    about: str
    describe: Callable[[Window], np.ndarray]

    def settings(self) -> dict[str, Any]:
        """Its name alone: nothing can be set."""
        return {"name": self.name}

    def learn(self, descriptions: np.ndarray, attack: np.ndarray, seed: int) -> Judge:
        """An SVM, see `svm`."""
        return svm(descriptions, attack)


def svm(descriptions: np.ndarray, attack: np.ndarray) -> Judge:
    """A support vector machine with a Gaussian kernel: its signed distance, attacks positive.

    Each number is standardised over the training windows; C is 1, gamma 1 / F, and both sides weigh the same, for there
    are several times as many attacks. Nothing is searched: the sources search C and gamma on development sets, which
    CASIA-MFSD has not.

    Raises:
        InputError: only one side is there.
    """
    if attack.all() or not attack.any():
        raise InputError("expected live clips and attacks to learn from; got only one side")
    # gamma "scale" is 1 / (F * variance), which is 1 / F of standardised numbers but for columns that never change.
    machine = make_pipeline(StandardScaler(), SVC(C=1.0, kernel="rbf", gamma="scale", class_weight="balanced"))
    machine.fit(descriptions, attack)

    def judge(others: np.ndarray) -> np.ndarray:
        scores: np.ndarray = machine.decision_function(others)
        return scores

    return judge


def lbp(window: Window) -> np.ndarray:
    """LBP of the 3 x 3 square over the first face in gray: (59,)."""
    return uniform_histogram(pattern_codes(_gray(window)[0]))


def lbp_top(window: Window) -> np.ndarray:
    """LBP-TOP of all faces in gray: (177,)."""
    return lbp_top_histogram(_gray(window))


def motion(window: Window) -> np.ndarray:
    """Of the face's and of the surroundings' motion least, greatest, mean, deviation, and how it varies: (10,).

    The last of the five is the sum of the Fourier magnitudes at all frequencies but 0 over that at 0; of what never
    moves it is 0.
    """
    found = []
    for changes in window.motion:
        spectrum = np.abs(np.fft.fft(changes))
        varies = spectrum[1:].sum() / spectrum[0] if spectrum[0] > 0 else 0.0
        found += [changes.min(), changes.max(), changes.mean(), changes.std(), varies]
    return np.array(found, np.float32)


def color_lbp(window: Window) -> np.ndarray:
    """LBP on the circle over each of hue, saturation, value, Y, Cr and Cb of the first face: (354,)."""
    return np.concatenate([uniform_histogram(pattern_codes(each, diagonal=CIRCLE)) for each in _channels(window)])


def color_texture(window: Window) -> np.ndarray:
    """Co-occurrence of adjacent LBP over the same six channels: (6144,)."""
    return np.concatenate([coalbp_histogram(each) for each in _channels(window)])


DESCRIPTOR_SYSTEMS: tuple[DescriptorSvm, ...] = (
    DescriptorSvm(
        "lbp",
        "LBP",
        "Uniform LBP of the 3 x 3 square over the face in gray (Chingovska, Anjos and Marcel 2012).",
        lbp,
    ),
    DescriptorSvm(
        "lbp_top",
        "LBP-TOP",
        "Uniform LBP with eight neighbours on the xy, xt and yt planes of 20 faces in gray (de Freitas Pereira, Anjos, "
        "De Martino and Marcel 2013).",
        lbp_top,
    ),
    DescriptorSvm(
        "motion",
        "Motion",
        "How face and surroundings move, by frame differences over 20 frames (Anjos and Marcel 2011), who train a "
        "small perceptron in place of an SVM.",
        motion,
    ),
    DescriptorSvm(
        "color_lbp",
        "Color LBP",
        "Uniform LBP over hue, saturation, value, Y, Cb and Cr (Boulkenafet, Komulainen and Hadid 2015).",
        color_lbp,
    ),
    DescriptorSvm(
        "color_texture",
        "Color Tex",
        "Co-occurrence of adjacent LBP over the same channels (Boulkenafet, Komulainen and Hadid 2016), at distances 1 "
        "and 2 alone and without a second descriptor beside it.",
        color_texture,
    ),
)


def _gray(window: Window) -> np.ndarray:
    library = opencv_package()
    return np.stack([library.cvtColor(face, library.COLOR_RGB2GRAY) for face in window.faces])


def _channels(window: Window) -> list[np.ndarray]:
    library = opencv_package()
    spaces = (library.COLOR_RGB2HSV, library.COLOR_RGB2YCrCb)
    return [channel for space in spaces for channel in np.moveaxis(library.cvtColor(window.faces[0], space), 2, 0)]
