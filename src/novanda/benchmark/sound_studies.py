"""The studies of sound: the paper's Table 5, and its counterpart on ESC-10, which is small and free.

Every method hears the same segments: as pictures of decibels relative to each band's mean, for the scenes were
recorded by many microphones, or as waveforms. Lengths, bands and the methods' settings were chosen on ESC-10's folds 1
to 4 (`esc10_choosing` is such a choice), and are the same for every scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from novanda.benchmark.cells import Budget, Cell
from novanda.datasets.dcase2017 import DCASE2017
from novanda.datasets.esc10 import ESC10
from novanda.method import Method
from novanda.methods import (
    NDA,
    PCA,
    AutoEncoder,
    Dictionary,
    FrameGaussian,
    Geometric,
    NearestNeighbour,
    WaveformAutoEncoder,
    WaveNet,
)
from novanda.recordings import AudioForm
from novanda.training_options import Training

SPECTROGRAM = AudioForm(segment_seconds=3.0, hop_seconds=0.5, levels="relative")
# Half the rate: a waveform's cost grows with its samples, and up to 4 kHz there is most of what one hears.
WAVEFORM = AudioForm(rate=8_000, segment_seconds=3.0, hop_seconds=0.5, content="waveform")
AUTHORS_WAVEFORM = AudioForm(segment_seconds=0.256, hop_seconds=0.256, content="waveform")
"""Rushe & Mac Namee's segments of 4,096 samples."""

# What is quick: a scene of ESC-10 has 160 segments, so that batches are small and epochs many; one of DCASE has
# thousands, and the last number is its epochs. Where the authors' learning rate would hardly have begun after so few
# steps there is a higher one: Adam at 2e-4 is READING.md's alternative for NDA.
# RotNet's turns are no sounds. Its counterpart is Geometric, which leaves them out where they make no sense.
_UNTRAINED: tuple[Method, ...] = (FrameGaussian(), PCA(), NearestNeighbour(), Dictionary())
_TRAINED: tuple[tuple[Method, Training, int], ...] = (
    (AutoEncoder(), Training(epochs=40, batch_size=32), 8),
    (NDA(width=32), Training(epochs=40, batch_size=32, optimizer="adam", learning_rate=2e-4, weight_decay=0.0), 4),
    (Geometric(widening=1, dirichlet_samples=160), Training(epochs=8), 1),
    (WaveformAutoEncoder(width=16), Training(epochs=40, batch_size=16, learning_rate=1e-3), 5),
    (WaveNet(width=8, skip_width=16, blocks=1), Training(epochs=3, batch_size=4, learning_rate=2e-3), 1),
)


def table5(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """Table 5: DCASE 2017 task 2, events before each of 15 scenes, by segment and by file."""
    return _cells("dcase2017", DCASE2017.classes, "rare_sounds", seeds, budget)


def esc10(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """Table 5's counterpart on ESC-10: four kinds of events before six backgrounds, at -6, 0 and 6 dB."""
    return _cells("esc10", ESC10.classes, "rare_sounds", seeds, budget)


def esc10_choosing(seeds: Sequence[int] = (0,), budget: Budget = "quick") -> list[Cell]:
    """The same within ESC-10's folds 1 to 4, for choosing settings by."""
    return _cells("esc10", ESC10.classes, "rare_sounds_within_training", seeds, budget)


def _cells(data_set: str, scenes: Sequence[str], protocol: str, seeds: Sequence[int], budget: Budget) -> list[Cell]:
    """Scene by scene, so that its test set is made once; the cheapest methods first."""
    pairs: list[tuple[Method, Training]] = [(method, Training()) for method in _UNTRAINED]
    for method, training, fewer in _TRAINED:
        if budget == "authors":
            pairs.append((type(method)(), Training()))
        else:
            pairs.append((method, training if data_set == "esc10" else replace(training, epochs=fewer)))
    return [
        Cell(
            data_set=data_set,
            normal_class=scene,
            protocol=protocol,
            method=method,
            training=training,
            seed=seed,
            recording=_form(method, budget),
        )
        for scene in scenes
        for method, training in pairs
        for seed in seeds
    ]


def _form(method: Method, budget: Budget) -> AudioForm:
    if "waveform" not in method.kinds or "spectrogram" in method.kinds:
        return SPECTROGRAM
    return WAVEFORM if budget == "quick" else AUTHORS_WAVEFORM
