"""Table 6 as cells: one system learned on one data set of faces and judged on the other; run, one line each."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from novanda import methods
from novanda.benchmark.cells import Budget
from novanda.benchmark.face_attacks import FaceErrors, Learn, cross_data_set_errors, one_class
from novanda.benchmark.results import append_result, read_results
from novanda.benchmark.running import commit, now
from novanda.checkpoint import written_atomically
from novanda.datasets.face_clips import FACE_SETS, FaceClip
from novanda.detector import Detector
from novanda.errors import DataError, Interrupted, NovandaError
from novanda.method import Method
from novanda.methods import DSVDD, NDA, PCA, VAE, AutoEncoder, DualGAN, FrozenFeatures, NearestNeighbour
from novanda.recordings import VideoForm
from novanda.supervised import DESCRIPTOR_SYSTEMS, Classifier, CnnSvm, System
from novanda.training_options import Training

LINES = "table6.jsonl"
"""Result lines of Table 6: HTER in place of AUROC, so no lines of results.jsonl."""
THRESHOLDS = ("development", "one_class", "oracle")

# At the quick budget: epochs as a class of CIFAR-10 has them, for the flows of 60 live clips are about as many.
_QUICK: tuple[tuple[Method, Training], ...] = (
    (AutoEncoder(), Training(epochs=10)),
    (VAE(), Training(epochs=20)),
    (DSVDD(), Training(epochs=25, learning_rate=1e-3)),
    (DualGAN(), Training(epochs=20)),
    (NDA(width=32), Training(epochs=20)),
)


@dataclass(frozen=True, kw_only=True)
class FaceCell:
    """The specification of one row's figure; equal specifications are the same cell.

    Attributes:
        source, target: names as in `FACE_SETS`.
        system: a method, which sees live faces alone, or one of `supervised`, which sees attacks too.
        training: of a method.
        form: how clips become flows, for a method.
        folds: by subject, where the source has no devel split.
        seed: of the detector or system, and of the folds.
    """

    source: str
    target: str
    system: Method | System
    training: Training = Training()
    form: VideoForm = VideoForm()
    folds: int = 5
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """The specification alone; device and precision belong to the machine that runs it."""
        here: dict[str, Any] = {"source": self.source, "target": self.target, "folds": self.folds, "seed": self.seed}
        if not isinstance(self.system, Method):
            return {**here, "system": self.system.settings()}
        training = self.training.filled(self.system.training).to_json() if self.learns else {}
        return {
            **here,
            "system": methods.to_json(self.system),
            "training": {name: value for name, value in training.items() if name not in ("device", "precision")},
            "form": self.form.to_json(),
        }

    @property
    def key(self) -> str:
        """Hash of the specification, 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def learns(self) -> bool:
        """Whether it is a method that is trained by gradient, so that epochs mean something."""
        return isinstance(self.system, Method) and type(self.system).stages is not Method.stages

    def __str__(self) -> str:
        return f"{self.source} to {self.target} {self.system.name} seed {self.seed} [{self.key}]"


def table6(
    seeds: Sequence[int] = (0,), budget: Budget = "quick", network: FrozenFeatures | None = None
) -> list[FaceCell]:
    """Table 6: Replay-Attack and CASIA-MFSD, learned on one and judged on the other; HTER.

    Args:
        seeds: each cell with each of these.
        budget: of the methods that are trained: "quick", or "authors".
        network: what the row CNN takes its features from; None: a small net trained from scratch.
    """
    trained = _QUICK if budget == "quick" else tuple((type(method)(), Training()) for method, _ in _QUICK)
    untrained: tuple[Method | System, ...] = (*DESCRIPTOR_SYSTEMS, CnnSvm(network), PCA(), NearestNeighbour())
    systems: list[tuple[Method | System, Training]] = [(system, Training()) for system in untrained]
    return [
        FaceCell(source=source.name, target=target.name, system=system, training=training, seed=seed)
        for system, training in (*systems, *trained)
        for source in reversed(FACE_SETS)
        for target in FACE_SETS
        if source != target
        for seed in seeds
    ]


def load_face_sets(data_root: Path) -> dict[str, list[FaceClip]]:
    """The clips of both data sets by name; DataError that says, of each that is not there, what to put where."""
    found: dict[str, list[FaceClip]] = {}
    missing = []
    for each in FACE_SETS:
        try:
            found[each.name] = each.load(data_root)
        except DataError as error:
            missing.append(str(error))
    if missing:
        raise DataError("; ".join(missing))
    return found


def run_face_cells(
    cells: Sequence[FaceCell], out: Path, data_root: Path, *, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Run the cells that `out`/table6.jsonl does not hold yet, one after another; the lines of all, in order.

    Flows are kept in `out`/flows, so that each clip is decoded once for all methods. A cell that fails gets a line with
    its "error"; the others go on, and it is tried again next time.

    Raises:
        DataError: a data set is not there.
    """
    clips = load_face_sets(data_root)
    path = out / LINES
    done = {key: line for key, line in read_results(path).items() if "error" not in line}
    waiting = [cell for cell in cells if cell.key not in done]
    say(f"{len(cells)} cells, {len(cells) - len(waiting)} done before, {len(waiting)} to run")
    for cell in waiting:
        try:
            line = run_face_cell(cell, clips, out, data_root)
        except Interrupted:
            raise  # Ctrl-C is no fault of the cell's
        except Exception as error:  # whatever it is, it must not cost the other cells
            reason = str(error) if isinstance(error, NovandaError) else repr(error)
            line = {"key": cell.key, "cell": cell.to_json(), "error": reason, "commit": commit(), "finished": now()}
        append_result(path, line)
        say(_described(cell, line))
    lines = read_results(path)
    return [lines[cell.key] for cell in cells]


def run_face_cell(
    cell: FaceCell, clips: Mapping[str, Sequence[FaceClip]], out: Path, data_root: Path
) -> dict[str, Any]:
    """Learn and judge; writes raw scores and returns the result line."""
    source, target = clips[cell.source], clips[cell.target]
    # Faces of one set cut out and of the other not would be told apart by that alone.
    boxes = all(clip.boxes is not None for clip in (*source, *target))
    began = time.perf_counter()
    learn = _learner(cell, boxes, out / "flows")
    found = cross_data_set_errors(learn, source, target, folds=cell.folds, seed=cell.seed)
    with written_atomically(out / "scores" / f"{cell.key}.npz") as file:
        arrays: dict[str, Any] = dict(found.scores)
        np.savez_compressed(file, **arrays)
    return {
        "key": cell.key,
        "cell": cell.to_json(),
        "hter": _by_threshold(found),
        "thresholds": dict(zip(THRESHOLDS, found.thresholds, strict=True)),
        "clips": {name: len(values) for name, values in found.scores.items()},
        "left_out": [str(Path(path).relative_to(data_root)) for path in found.left_out],
        **({} if isinstance(cell.system, Method) else {"faces": "boxes" if boxes else "middle of the frame"}),
        "seconds": round(time.perf_counter() - began, 2),
        "versions": {p: version(p) for p in ("novanda", "torch", "numpy", "scikit-learn", "opencv-python-headless")},
        "commit": commit(),
        "finished": now(),
    }


def _learner(cell: FaceCell, boxes: bool, flows: Path) -> Learn:
    system = cell.system
    if not isinstance(system, Method):
        return Classifier(system, boxes=boxes, seed=cell.seed).learn

    def fit(paths: Sequence[Path]) -> Detector:
        detector = Detector(
            system, cell.training, seed=cell.seed, calibration_fraction=0.0, keep_examples=0, recording=cell.form
        )
        return detector.fit([str(path) for path in paths], flow_cache=flows)

    return one_class(fit, flows)


def _by_threshold(found: FaceErrors) -> dict[str, float]:
    return {name: getattr(found, name) for name in THRESHOLDS}


def _described(cell: FaceCell, line: Mapping[str, Any]) -> str:
    if "error" in line:
        return f"{cell}: failed: {line['error']}"
    figures = ", ".join(f"{name.replace('_', '-')} {value:.3f}" for name, value in line["hter"].items())
    return f"{cell}: HTER {figures} ({line['seconds']:.0f} s)"


def with_epochs(cells: Sequence[FaceCell], epochs: int) -> list[FaceCell]:
    """The same cells, those that learn by epochs with so many of them."""

    def changed(cell: FaceCell) -> FaceCell:
        if isinstance(cell.system, CnnSvm):
            return replace(cell, system=replace(cell.system, training=replace(cell.system.training, epochs=epochs)))
        return replace(cell, training=replace(cell.training, epochs=epochs)) if cell.learns else cell

    return [changed(cell) for cell in cells]
