"""An explanation as the page and other programs get it: pictures as PNG, words as they are.

Where the training images lay when the detector was fitted is not told: a client has no business knowing it.
"""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
from matplotlib import colormaps
from PIL import Image

from novanda import pictures
from novanda.explanations import Explanation, explain
from novanda.exported import ExportedDetector
from novanda.pictures.explaining import HOTTEST
from novanda.serve.answers import ExplainAnswer, Neighbour
from novanda.serve.refusals import refused
from novanda.serve.service import Served

_CAPTIONS = {
    "error": "Where they differ. Normal images stay dark.",
    "occlusion": "What the score hangs on. Normal images stay dark.",
}


def explained(served: Served, sample: np.ndarray, name: str | None) -> Explanation:
    """The explanation of one sample (C, H, W), without paths; takes as long as up to 65 scores.

    Raises Refused where the detector only scores, as exported ones do.
    """
    if isinstance(served.detector, ExportedDetector):
        raise refused(
            422, "no_explanations", expected="a file that `novanda fit` wrote", got=f"{served.name}, which only scores",
            hint="serve the file it was exported from",
        )  # fmt: skip
    (explanation,) = explain(served.detector, sample[None])
    neighbours = tuple(replace(each, identifier="") for each in explanation.neighbours)
    return replace(explanation, name=name or "image", neighbours=neighbours)


def as_answer(served: Served, explanation: Explanation, name: str | None) -> ExplainAnswer:
    """For JSON."""
    heat = colormaps["magma"](explanation.heat / HOTTEST, bytes=True)[:, :, :3]
    return ExplainAnswer(
        model=served.name,
        name=name,
        **served.decided(explanation.novelty),
        image=_address(explanation.image),
        expected=None if explanation.expected is None else _address(explanation.expected),
        heat=_address(heat),
        heat_kind=explanation.heat_kind,
        heat_caption=_CAPTIONS[explanation.heat_kind],
        heat_full=HOTTEST,
        neighbours=[Neighbour(distance=each.distance, image=_address(each.image)) for each in explanation.neighbours],
        remarks=list(explanation.remarks),
    )


def as_png(explanation: Explanation) -> bytes:
    """As one sheet, the same that `novanda explain` draws."""
    return pictures.png(pictures.explanation_sheet([explanation]))


def _address(image: np.ndarray) -> str:
    """(H, W, C) uint8 as the data: address of a PNG; C other than 3 is shown as its mean."""
    shown = image if image.shape[2] == 3 else image.mean(2).round().astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(shown).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
