"""novanda: novelty detection from normal examples only.

    from novanda import Detector, Training, methods

    detector = Detector(methods.Novanda(preset="quick")).fit(images)
    detector.predict(new)      # +1 normal, -1 novel, at the asked false-alarm rate
    detector.p_value(new)      # conformal p-values

Names are imported when first used, so that `import novanda` and the command line's help stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from novanda import datasets as datasets
    from novanda import methods as methods
    from novanda import metrics as metrics
    from novanda import pictures as pictures
    from novanda.calibration import Calibration as Calibration
    from novanda.detector import Detector as Detector
    from novanda.errors import NovandaError as NovandaError
    from novanda.explanations import Explanation as Explanation
    from novanda.explanations import explain as explain
    from novanda.exported import ExportedDetector as ExportedDetector
    from novanda.recordings import AudioForm as AudioForm
    from novanda.recordings import VideoForm as VideoForm
    from novanda.training_options import Training as Training

_HOMES = {
    "AudioForm": "novanda.recordings",
    "VideoForm": "novanda.recordings",
    "Calibration": "novanda.calibration",
    "Detector": "novanda.detector",
    "Explanation": "novanda.explanations",
    "ExportedDetector": "novanda.exported",
    "NovandaError": "novanda.errors",
    "Training": "novanda.training_options",
    "explain": "novanda.explanations",
}
_MODULES = ("augment", "datasets", "losses", "methods", "metrics", "networks", "pictures", "sources")

__all__ = [
    "AudioForm",
    "Calibration",
    "Detector",
    "Explanation",
    "ExportedDetector",
    "NovandaError",
    "Training",
    "VideoForm",
    "datasets",
    "explain",
    "methods",
    "metrics",
    "pictures",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"novanda.{name}")
    raise AttributeError(f"module 'novanda' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
