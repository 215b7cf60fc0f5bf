"""Pictures of what a detector found and of how it was trained: sheets, curves, bars, maps.

Functions here take arrays and give a `matplotlib.figure.Figure` that belongs to nobody else: pyplot, which keeps
figures and chooses windows, is never used. Colours are from the palette of Okabe and Ito, which colour-blind people
can tell apart, and nothing is said by colour alone. Letters: N samples, C channels, H height, W width.
"""

from novanda.pictures.curves import Trace, loss_curves, roc_curves, training_curves
from novanda.pictures.drawing import png, save
from novanda.pictures.explaining import explanation_sheet
from novanda.pictures.measured import Bar, Cost, auroc_bars, embedding_maps, frontier
from novanda.pictures.sheets import example_sheet, score_histogram, score_sheet
from novanda.pictures.spectrograms import SpectrogramPanel, spectrogram_sheet
from novanda.pictures.timelines import TimelineBand, timeline_sheet

__all__ = [
    "Bar",
    "Cost",
    "SpectrogramPanel",
    "TimelineBand",
    "Trace",
    "auroc_bars",
    "embedding_maps",
    "example_sheet",
    "explanation_sheet",
    "frontier",
    "loss_curves",
    "png",
    "roc_curves",
    "save",
    "score_histogram",
    "score_sheet",
    "spectrogram_sheet",
    "timeline_sheet",
    "training_curves",
]
