"""A fitted detector to one ONNX file, its scores compared before the file is kept.

The graph holds everything from raw values to scores: resizing (of images), scaling by the SampleSpec, the networks
or the reference, every score of the method, and the error map. It is made from the method's own `novelty` and
`reconstruct`, so no method needs code for it. `exported` tells what the file looks like and reads it.

Resizing. Images that already have the detector's size pass untouched, so their scores are the Detector's. Of other sizes
ONNX Runtime's antialiased Resize is close to Pillow's but not equal to it (measured on uint8 noise: up to 4 values in
1,000 differ, by one gray level). `novanda score` and `ExportedDetector` therefore resize with Pillow before
they run the graph, and give the Detector's numbers at any size; the graph's own resizing is for those who run it without
novanda, and its metadata say by how much scores differed on a sample.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from novanda import methods
from novanda.checkpoint import written_atomically
from novanda.detector import Detector
from novanda.errors import ExportError
from novanda.exported import (
    ABOUT,
    BATCH_SIZE,
    CALIBRATION,
    ERROR_MAP,
    INPUT,
    SCHEMA,
    ExportedDetector,
    calibration_entry,
    needed_package,
)
from novanda.samples import SampleSpec
from novanda.sources import resize

TOLERANCE = 1e-5
"""Of a score's difference, as a share of the greatest magnitude that score has in the batch compared."""
_OPSET = 20
_MOST_BYTES = 2**31 - 2**24  # of weights: protobuf can not hold 2 GiB in one file, and the graph needs a little
_SINGLE = 16  # samples of the golden batch that are also compared one by one
_SIZED = "sized"  # the samples once they have the detector's size


@dataclass(frozen=True)
class Parity:
    """What was compared before a file was kept. Differences are shares of the score's greatest magnitude.

    Attributes:
        samples: how many samples, scored together and some of them alone.
        difference: the greatest of any score between the Detector and ONNX Runtime.
        tolerance: what would have been refused.
        resized_difference: the same where the graph, not Pillow, resizes; None where nothing is resized.
    """

    samples: int
    difference: float
    tolerance: float
    resized_difference: float | None


def export(detector: Detector, path: str | Path, samples: Any = None) -> Parity:
    """Write a fitted detector as one ONNX file, which `ExportedDetector.load` reads; returns what was compared.

    Before the file is kept, 256 made samples and those given are scored by the detector and by ONNX Runtime, in one batch
    and singly. It appears at `path` in one step, whole, or not at all.

    Args:
        detector: fitted; it is left as it is. What is exported scores on a CPU.
        samples: more samples to compare on, as for `Detector.novelty_score`.

    Raises:
        ExportError: the method can not be exported, or a score differs by more than TOLERANCE.
        InputError: a package of the extra `export` is not installed.
    """
    check_is_fitted(detector, "spec_")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        needed_package(package)
    here = _on_cpu(detector)
    golden = golden_batch(here.spec_)
    if samples is not None:
        source = here._open_new(samples)
        golden = np.concatenate([golden, source.read(list(range(len(source))))])
    scored = _Scored(here)
    model = _graph(scored)
    parity = _compared(here, _with_metadata(model, scored, None), golden)
    raw = _with_metadata(model, scored, parity)
    with written_atomically(Path(path)) as file:
        file.write(raw)
    return parity


def golden_batch(spec: SampleSpec, count: int = BATCH_SIZE) -> np.ndarray:
    """Made samples (count, C, H, W) float32 in raw units: smooth waves, noise, and both ends of the range.

    Whole numbers where raw values are gray levels.
    """
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0 : spec.height, 0 : spec.width]
    waves = generator.uniform(-0.5, 0.5, (count, spec.channels, 2, 1, 1))
    phases = generator.uniform(0, 2 * np.pi, (count, spec.channels, 1, 1))
    smooth = 0.5 + 0.5 * np.sin(waves[:, :, 0] * rows + waves[:, :, 1] * columns + phases)
    grain = generator.uniform(0, 1, (count, 1, 1, 1))  # from no noise to nothing but noise
    unit = (1 - grain) * smooth + grain * generator.uniform(0, 1, smooth.shape)
    unit[0], unit[-1] = 0, 1
    values = spec.low + unit * (spec.high - spec.low)
    return (np.rint(values) if _in_gray_levels(spec) else values).astype(np.float32)


def _in_gray_levels(spec: SampleSpec) -> bool:
    return spec.kind == "image" and (spec.low, spec.high) == (0.0, 255.0)


def _on_cpu(detector: Detector) -> Detector:
    """The same detector with its weights on the CPU; a copy of what differs, for the given one is left as it is."""
    if detector.device_.type == "cpu":
        return detector
    moved = copy.copy(detector)
    moved.device_ = torch.device("cpu")
    moved.model_ = copy.deepcopy(detector.model_).cpu()
    moved.reference_ = {name: tensor.cpu() for name, tensor in detector.reference_.items()}
    return moved


# ---------------------------------------------------------------------------------------------------------------
# The graph


class _Scored(nn.Module):
    """Raw samples of the detector's size to all scores and the error map, through the method's own functions."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self.model = detector.model_.eval()
        # As buffers, or every value of a bank would be written into the graph as a constant of its own.
        self.places = {name: f"reference_{place}" for place, name in enumerate(detector.reference_)}
        for name, tensor in detector.reference_.items():
            self.register_buffer(self.places[name], tensor)
        with torch.no_grad():
            scores, errors = self._all(torch.zeros(2, *detector.spec_.shape))
        self.score_names = list(scores)
        self.has_error_map = errors is not None

    def _all(self, raw: Tensor) -> tuple[Mapping[str, Tensor], Tensor | None]:
        method, spec = self.detector.method_, self.detector.spec_
        reference = {name: getattr(self, place) for name, place in self.places.items()}
        samples = spec.scale(raw)
        scores = method.novelty(self.model, reference, samples)
        expected = method.reconstruct(self.model, reference, samples)
        if expected is None or spec.height * spec.width == 1:  # a table's row has no map
            return scores, None
        return scores, (expected - samples).abs().mean(1) * ((spec.high - spec.low) / 2)

    def forward(self, raw: Tensor) -> tuple[Tensor, ...]:
        """Raw samples (B, C, H, W) to scores (B,) each, then the error map (B, H, W) if there is one."""
        scores, errors = self._all(raw)
        return (*scores.values(), *(() if errors is None else (errors,)))


def _graph(scored: _Scored) -> Any:
    """The ONNX model without metadata; ExportError where the method's functions can not become one."""
    detector = scored.detector
    tensors = [*detector.model_.state_dict().values(), *detector.reference_.values()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > _MOST_BYTES:
        raise ExportError(
            f"{detector.method_.name} keeps {size / 2**30:.1f} GiB; an ONNX file holds at most 2. Fit it on fewer samples"
        )
    outputs = scored.score_names + [ERROR_MAP] * scored.has_error_map
    example = torch.zeros(2, *detector.spec_.shape)
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                scored, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), strict=False
            )
            made = torch.onnx.export(
                program, dynamo=True, opset_version=_OPSET, input_names=[_SIZED], output_names=outputs, verbose=False
            )
    except Exception as error:  # whatever a tracer meets in a method's functions
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"{detector.method_.name} can not be exported to ONNX: {reason}") from error
    assert made is not None  # only the older exporter returns nothing
    model = made.model_proto
    # Traces hold this machine's paths, and nothing needs them.
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    _begin_with_raw_samples(model, detector.spec_)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks: on torchvision not being installed, and on its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _begin_with_raw_samples(model: Any, spec: SampleSpec) -> None:
    """Put the resizing of images in front of the graph, and name its input."""
    from onnx import TensorProto, helper

    sides = ["height", "width"] if spec.kind == "image" else [spec.height, spec.width]
    shape = ["batch", spec.channels, *sides]
    graph = model.graph
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape))
    wanted, whole = "wanted_size", "whole_shape"
    constants = {wanted: [spec.height, spec.width], whole: [0, *spec.shape]}  # 0: the batch's own
    for name, values in constants.items():
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
    if spec.kind != "image":
        nodes = [helper.make_node("Reshape", [INPUT, whole], [_SIZED])]
    else:
        nodes = [
            helper.make_node("Shape", [INPUT], ["found_size"], start=2, end=4),
            helper.make_node("Equal", ["found_size", wanted], ["equal_sides"]),
            helper.make_node("Cast", ["equal_sides"], ["equal_numbers"], to=TensorProto.INT64),
            helper.make_node("ReduceMin", ["equal_numbers"], ["both_equal"], keepdims=0),
            helper.make_node("Cast", ["both_equal"], ["has_size"], to=TensorProto.BOOL),
            helper.make_node(
                "If",
                ["has_size"],
                ["any_shape"],
                then_branch=_branch([helper.make_node("Identity", [INPUT], ["untouched"])], "untouched"),
                else_branch=_branch(_resizing(spec, wanted), "resized"),
            ),
            helper.make_node("Reshape", ["any_shape", whole], [_SIZED]),
        ]
    for place, node in enumerate(nodes):
        node.name = f"prepare_{place}"
        graph.node.insert(place, node)


def _branch(nodes: list[Any], output: str) -> Any:
    from onnx import TensorProto, helper

    return helper.make_graph(nodes, output, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])


def _resizing(spec: SampleSpec, wanted: str) -> list[Any]:
    """Antialiased bilinear resizing, as `sources.resize` does it; gray levels come back whole, as they do there."""
    from onnx import helper

    options = {"mode": "linear", "antialias": 1, "exclude_outside": 1, "axes": [2, 3]}
    if not _in_gray_levels(spec):
        return [helper.make_node("Resize", [INPUT, "", "", wanted], ["resized"], **options)]
    return [
        helper.make_node("Resize", [INPUT, "", "", wanted], ["exact"], **options),
        helper.make_node("Round", ["exact"], ["resized"]),
    ]


def _with_metadata(model: Any, scored: _Scored, parity: Parity | None) -> bytes:
    """The file's bytes, with what novanda must know beside the graph."""
    detector = scored.detector
    about = {
        "schema": SCHEMA,
        "novanda": version("novanda"),
        "torch": str(torch.__version__),
        "method": methods.to_json(detector.method_),
        "spec": detector.spec_.to_json(),
        "training_count": detector.training_count_,
        "scores": scored.score_names,
        ERROR_MAP: scored.has_error_map,
        "parity": None if parity is None else asdict(parity),
    }
    del model.metadata_props[:]
    for key, value in (
        (ABOUT, json.dumps(about, allow_nan=False)),
        (CALIBRATION, calibration_entry(detector.calibration_)),
    ):
        model.metadata_props.add(key=key, value=value)
    raw: bytes = model.SerializeToString()
    return raw


# ---------------------------------------------------------------------------------------------------------------
# Parity


def _compared(detector: Detector, raw: bytes, golden: np.ndarray) -> Parity:
    """Compare; ExportError with the figure where they differ by more than TOLERANCE."""
    exported = ExportedDetector(raw, f"the exported {detector.method_.name}", threads=None)
    spec = detector.spec_
    expected = _scores_of(detector, golden)
    together = _joined([exported.score_batch(golden[i : i + BATCH_SIZE]) for i in range(0, len(golden), BATCH_SIZE)])
    alone = _joined([exported.score_batch(golden[i : i + 1]) for i in range(_SINGLE)])
    first = {name: values[:_SINGLE] for name, values in expected.items()}
    difference = max(_difference(together, expected), _difference(alone, first, expected))
    if not difference <= TOLERANCE:
        raise ExportError(
            f"the exported {detector.method_.name} was not kept: on {len(golden)} samples its scores differ from the "
            f"detector's by {difference:.3g} of their greatest; {TOLERANCE:g} is allowed"
        )
    resized = None
    if spec.kind == "image":
        other = golden_batch(SampleSpec(spec.kind, spec.channels, 2 * spec.height - 3, spec.width + 5, spec.low, spec.high))
        sized = resize(_plain(other, spec).transpose(0, 2, 3, 1), spec.height, spec.width).transpose(0, 3, 1, 2)
        resized = _difference(exported.score_batch(other), _scores_of(detector, np.ascontiguousarray(sized)))
    return Parity(len(golden), difference, TOLERANCE, resized)


def _plain(samples: np.ndarray, spec: SampleSpec) -> np.ndarray:
    return samples.astype(np.uint8) if _in_gray_levels(spec) else samples


def _scores_of(detector: Detector, raw: np.ndarray) -> dict[str, np.ndarray]:
    """The detector's own scores of raw samples, in batches."""
    starts = range(0, len(raw), BATCH_SIZE)
    scale = detector.spec_.scale
    return _joined([detector._novelty_of(scale(torch.from_numpy(raw[i : i + BATCH_SIZE]))) for i in starts])


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _difference(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], scale: Mapping[str, np.ndarray] | None = None
) -> float:
    """The greatest difference of any score, as a share of its greatest magnitude (in `scale`, else in `expected`)."""
    shares = []
    for name, values in expected.items():
        greatest = np.abs((scale or expected)[name]).max()
        shares.append(np.abs(found[name] - values).max() / max(greatest, np.finfo(np.float32).tiny))
    return float(max(shares))
