"""A fitted detector to one ONNX file, its scores compared before the file is kept.

The graph holds everything from raw values to scores: resizing (of images), scaling by the SampleSpec, the networks
or the reference, every score of the method, and the error map. It is made from the method's own `novelty` and
`reconstruct`, so no method needs code for it. `exported` tells what the file looks like and reads it.

Resizing. Images that already have the detector's size pass untouched, so their scores are the Detector's. At other
sizes ONNX Runtime's antialiased Resize is close to Pillow's but not equal to it: measured on uint8 noise, up to 4
values in 1,000 differ, by one gray level. `novanda score` and `ExportedDetector` therefore resize with Pillow before
they run the graph, and give the Detector's numbers at any size; the graph's own resizing is for those who run it
without novanda, and the metadata say by how much the headline score differed on made images.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
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
    ERROR_MAP,
    INPUT,
    SCHEMA,
    ExportedDetector,
    calibration_entries,
    needed_package,
)
from novanda.samples import SampleSpec, Source
from novanda.sources import resize

TOLERANCE = 1e-5
"""Of a score's difference, as a share of the greatest magnitude that score has in the batch compared."""
_OPSET = 20
_MOST_BYTES = 2**31 - 2**24  # of weights: protobuf can not hold 2 GiB in one file, and the graph needs a little
_FEW = 16  # samples of the golden batch that are also compared one by one; also those that the graph resizes
_SIZED = "sized"  # the samples once they have the detector's size


@dataclass(frozen=True)
class Parity:
    """What was compared before a file was kept. A difference is a share of the output's greatest magnitude.

    Attributes:
        samples: how many samples, scored together and some of them alone.
        difference: the greatest of the headline score between the Detector and ONNX Runtime.
        tolerance: the greatest allowed, of every output.
        resized_difference: of the headline where the graph and not Pillow resizes; None: nothing is resized.
        left_out: other scores, or the error map, that differ by more and that the file does without. Such a score is
            near zero on every sample, where rounding is all there is to compare.
    """

    samples: int
    difference: float
    tolerance: float
    resized_difference: float | None
    left_out: dict[str, float]


def export(detector: Detector, path: str | Path, check: Source | None = None) -> Parity:
    """Write a fitted detector as one ONNX file, which `ExportedDetector.load` reads; returns what was compared.

    Before the file is kept, 256 made samples and those given are scored by the detector and by ONNX Runtime, in batches
    and some of them singly. It appears at `path` in one step, whole, or not at all.

    Args:
        detector: fitted; it is left as it is. What is exported scores on a CPU.
        check: more samples to compare on, of the detector's spec.

    Raises:
        ExportError: the method can not be exported, as it says itself or as it turns out, or its headline score differs
            by more than TOLERANCE.
        InputError: a package of the extra `export` is not installed.
    """
    check_is_fitted(detector, "spec_")
    obstacle = detector.method_.export_obstacle()
    if obstacle is not None:
        raise ExportError(f"{detector.method_name} can not be exported to ONNX: {obstacle}")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        needed_package(package)
    here = _on_cpu(detector)
    scored = _Scored(here)
    model = _graph(scored)
    parity = _compared(scored, _with_metadata(model, scored, None), check)
    for place in reversed(range(len(model.graph.output))):
        if model.graph.output[place].name in parity.left_out:
            del model.graph.output[place]
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
    samples: np.ndarray = (np.rint(values) if _in_gray_levels(spec) else values).astype(np.float32)
    return samples


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
            scores, errors = self.all(torch.zeros(2, *detector.spec_.shape))
        self.outputs = [*scores, *([] if errors is None else [ERROR_MAP])]

    def all(self, raw: Tensor) -> tuple[Mapping[str, Tensor], Tensor | None]:
        """Scores by name, and the error map in raw units where there is one."""
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
        scores, errors = self.all(raw)
        return (*scores.values(), *(() if errors is None else (errors,)))


def _graph(scored: _Scored) -> Any:
    """The ONNX model without metadata; ExportError where the method's functions can not become one."""
    detector = scored.detector
    tensors = [*detector.model_.state_dict().values(), *detector.reference_.values()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > _MOST_BYTES:
        raise ExportError(
            f"{detector.method_name} keeps {size / 2**30:.1f} GiB; an ONNX file holds at most 2. Fit fewer samples"
        )
    example = torch.zeros(2, *detector.spec_.shape)
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                scored, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), strict=False
            )
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=_OPSET,
                input_names=[_SIZED],
                output_names=scored.outputs,
                verbose=False,
            )
    except Exception as error:  # whatever a tracer meets in a method's functions
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"{detector.method_name} can not be exported to ONNX: {reason}") from error
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

    options: dict[str, Any] = {"mode": "linear", "antialias": 1, "exclude_outside": 1, "axes": [2, 3]}
    if not _in_gray_levels(spec):
        return [helper.make_node("Resize", [INPUT, "", "", wanted], ["resized"], **options)]
    return [
        helper.make_node("Resize", [INPUT, "", "", wanted], ["exact"], **options),
        helper.make_node("Round", ["exact"], ["resized"]),
    ]


def _with_metadata(model: Any, scored: _Scored, parity: Parity | None) -> bytes:
    """The file's bytes, with what novanda must know beside the graph."""
    detector = scored.detector
    kept = [name for name in scored.outputs if parity is None or name not in parity.left_out]
    about = {
        "schema": SCHEMA,
        "novanda": version("novanda"),
        "torch": str(torch.__version__),
        "method": methods.to_json(detector.method_),
        "spec": detector.spec_.to_json(),
        "training_count": detector.training_count_,
        "scores": [name for name in kept if name != ERROR_MAP],
        ERROR_MAP: ERROR_MAP in kept,
        "parity": None if parity is None else asdict(parity),
    }
    del model.metadata_props[:]
    for key, value in (
        (ABOUT, json.dumps(about, allow_nan=False)),
        *calibration_entries(detector.calibration_, detector.sources_).items(),
    ):
        model.metadata_props.add(key=key, value=value)
    raw: bytes = model.SerializeToString()
    return raw


# ---------------------------------------------------------------------------------------------------------------
# Parity


def _compared(scored: _Scored, raw: bytes, check: Source | None) -> Parity:
    """Compare every output; ExportError with the figure where the headline differs by more than TOLERANCE."""
    detector = scored.detector
    exported = ExportedDetector(raw, f"the exported {detector.method_name}")
    expected, together, alone = _Gathered(), _Gathered(), _Gathered()
    for batch in _batches(detector.spec_, check):
        expected.add(_outputs_of(scored, batch))
        together.add(dict(zip(scored.outputs, exported.run(scored.outputs, batch), strict=True)))
    for single in golden_batch(detector.spec_)[:_FEW, None]:
        alone.add(dict(zip(scored.outputs, exported.run(scored.outputs, single), strict=True)))
    in_company, singly = expected.differences(together), expected.differences(alone)
    differences = {name: max(in_company[name], singly[name]) for name in scored.outputs}
    headline, count = scored.outputs[0], expected.count()
    if not differences[headline] <= TOLERANCE:
        raise ExportError(
            f"the exported {detector.method_name} was not kept: on {count} samples its score {headline} differs from "
            f"the detector's by {differences[headline]:.3g} of the greatest; {TOLERANCE:g} is allowed"
        )
    left_out = {name: value for name, value in differences.items() if not value <= TOLERANCE}
    return Parity(count, differences[headline], TOLERANCE, _resized_difference(detector, exported), left_out)


def _outputs_of(scored: _Scored, raw: np.ndarray) -> dict[str, np.ndarray]:
    """What the detector itself makes of one raw batch, under the names of the outputs."""
    outputs = scored.detector.score_batch(raw)
    if ERROR_MAP in scored.outputs:
        with torch.no_grad():
            errors = scored.all(torch.from_numpy(np.asarray(raw, dtype=np.float32)))[1]
        assert errors is not None  # it is among the outputs
        outputs[ERROR_MAP] = errors.numpy()
    return outputs


def _batches(spec: SampleSpec, check: Source | None) -> Iterator[np.ndarray]:
    """The golden batch, then what a person gave, raw."""
    yield golden_batch(spec)
    for start in range(0, len(check or ()), BATCH_SIZE):
        assert check is not None  # it has a length
        yield check.read(list(range(start, min(start + BATCH_SIZE, len(check)))))


def _resized_difference(detector: Detector, exported: ExportedDetector) -> float | None:
    """How far the headline score is from the detector's where the graph resizes images; None: nothing is resized."""
    spec = detector.spec_
    if spec.kind != "image":
        return None
    height, width = 2 * spec.height - 3, spec.width + 5  # one side far, one near, neither a multiple
    images = golden_batch(replace(spec, height=height, width=width), _FEW)
    pixels = images.astype(np.uint8) if _in_gray_levels(spec) else images
    sized = resize(pixels.transpose(0, 2, 3, 1), spec.height, spec.width).transpose(0, 3, 1, 2)
    headline = exported.score_names[0]
    expected, found = _Gathered(), _Gathered()
    expected.add({headline: detector.score_batch(np.ascontiguousarray(sized))[headline]})
    found.add({headline: exported.score_batch(images)[headline]})
    return expected.differences(found)[headline]


class _Gathered:
    """Outputs of batch after batch."""

    def __init__(self) -> None:
        self._parts: list[dict[str, np.ndarray]] = []

    def add(self, outputs: dict[str, np.ndarray]) -> None:
        """Those of the next batch."""
        self._parts.append(outputs)

    def count(self) -> int:
        """Of samples so far."""
        return sum(len(next(iter(part.values()))) for part in self._parts)

    def differences(self, found: _Gathered) -> dict[str, float]:
        """The greatest difference from the first so many of these, as a share of each output's greatest magnitude."""
        shares = {}
        for name in self._parts[0]:
            exact, other = (np.concatenate([part[name] for part in each._parts]) for each in (self, found))
            greatest = max(float(np.abs(exact).max()), float(np.finfo(np.float32).tiny))
            shares[name] = float(np.abs(other - exact[: len(other)]).max()) / greatest
        return shares
