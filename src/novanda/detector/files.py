"""A detector's file: written, read back without trusting it, and given new decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from novanda import methods
from novanda.calibration import Calibration
from novanda.checkpoint import read_archive, rewrite_archive, write_archive
from novanda.detector.training_data import is_whole
from novanda.errors import InputError, ModelFileError
from novanda.examples import Examples
from novanda.heat import HeatScale
from novanda.method import Method
from novanda.networks import channels_last
from novanda.samples import SampleSpec
from novanda.training import Epoch, Training, resolve_device

if TYPE_CHECKING:
    from novanda.detector.detector import Detector

    D = TypeVar("D", bound=Detector)

_MEMBER = "detector.json"
_SCHEMA = 1
_SMALL_SAMPLE = 2**20  # values; what a file may make reading compute without a second thought


def write(detector: Detector, path: Path) -> None:
    """Write a fitted detector to one file, as `Detector.save` says."""
    if type(detector.method_) not in methods.METHODS:
        raise InputError(f"{type(detector.method_).__name__} is not one of novanda.methods: only those can be saved")
    tensors = {
        f"model/{name}": tensor
        for name, tensor in detector.model_.state_dict().items()
        if not name.startswith(detector.method_.training_only)
    }
    tensors |= {f"reference/{name}": tensor for name, tensor in detector.reference_.items()}
    if detector.examples_ is not None:
        tensors |= {f"examples/{name}": tensor for name, tensor in detector.examples_.tensors().items()}
    content = {
        "schema": _SCHEMA,
        "novanda": version("novanda"),
        "method": methods.to_json(detector.method_),
        "training": detector.training_.to_json(),
        "spec": detector.spec_.to_json(),
        "training_count": detector.training_count_,
        "seed": detector.seed,
        "false_alarm_rate": float(detector.false_alarm_rate),
        "calibration_fraction": detector.calibration_fraction,
        "image_size": detector.image_size,
        "keep_examples": detector.keep_examples,
        "examples": None if detector.examples_ is None else detector.examples_.to_json(),
        **decisions(detector),
        "history": [asdict(epoch) for epoch in detector.history_],
        "note": detector.note_,
    }
    write_archive(path, _MEMBER, content, tensors)


def write_decisions(detector: Detector, path: Path, out: Path) -> None:
    """Write how a detector decides into a copy of the file it was loaded from, as `Detector.save_calibration` says."""
    content, _ = read_archive(path, _MEMBER)
    rewrite_archive(path, out, _MEMBER, {**content, **decisions(detector)})


def decisions(detector: Detector) -> dict[str, Any]:
    """What of the file can change without retraining."""
    return {
        "heat": None if detector.heat_ is None else detector.heat_.to_json(),
        "calibration": None if detector.calibration_ is None else detector.calibration_.to_json(),
        "sources": {name: calibration.to_json() for name, calibration in detector.sources_.items()},
    }


def read(cls: type[D], path: Path, device: str) -> D:
    """Read a detector that `write` wrote, as `Detector.load` says."""
    where = resolve_device(Training(device=device))  # a device that is not here is not the file's fault
    content, tensors = read_archive(path, _MEMBER)
    if content.get("schema") != _SCHEMA:
        raise ModelFileError(
            f"{path} has schema {content.get('schema')!r}; this version of novanda reads {_SCHEMA}. "
            "Update novanda, or fit the detector again"
        )
    try:
        method = methods.from_json(content["method"])
        training = replace(Training(**content["training"]), device=device)
        spec = SampleSpec.from_json(content["spec"])
        count = content["training_count"]
        if not is_whole(count, least=method.minimum_samples):
            raise ModelFileError(f"training_count must be at least {method.minimum_samples}; got {count!r}")
        detector = cls(
            method,
            training,
            seed=content["seed"],
            false_alarm_rate=content["false_alarm_rate"],
            calibration_fraction=content["calibration_fraction"],
            image_size=content["image_size"],
            keep_examples=content.get("keep_examples", 0),  # files of version 0.1 kept none
            recording=spec.recording,
        )
        detector._check_settings()
        model = _load_model(method, spec, count, _below("model/", tensors), _below("reference/", tensors))
        detector._adopt(method, training, spec, model.to(where).eval(), count, where)
        detector.reference_ = {name: t.to(where) for name, t in _below("reference/", tensors).items()}
        detector.history_ = [Epoch(**epoch) for epoch in content["history"]]
        detector.note_ = str(content["note"])
        _try_shapes(detector)
        if content.get("heat") is not None:
            detector.heat_ = HeatScale.from_json(content["heat"], method)
        if content.get("examples") is not None:
            detector.examples_ = Examples.from_file(content["examples"], _below("examples/", tensors), spec)
        if content["calibration"] is not None:
            detector.calibrate(Calibration.from_json(content["calibration"]))
        for name, calibration in content.get("sources", {}).items():
            detector.calibrate(Calibration.from_json(calibration), name)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, IndexError, ArithmeticError) as error:
        raise ModelFileError(f"{path} is damaged or was not written by this version of novanda: {error!r}") from error
    return detector


def _load_model(
    method: Method, spec: SampleSpec, count: int, state: Mapping[str, Tensor], reference: Mapping[str, Tensor]
) -> nn.Module:
    """The method's model with the saved weights, whose names, shapes and types must be exactly those it builds."""
    if spec.kind not in method.kinds or not np.isfinite([spec.low, spec.high]).all():
        raise ModelFileError(f"{method.name} does not take {spec.kind} samples from {spec.low} to {spec.high}")
    # On the meta device nothing is allocated, so absurd sizes in a hostile file cost nothing before they are refused.
    with torch.device("meta"):
        model = method.build(spec, count)
    built = model.state_dict()
    needed = {name: t for name, t in built.items() if not name.startswith(method.training_only)}
    if needed.keys() != state.keys():
        odd = sorted(needed.keys() ^ state.keys())
        raise ModelFileError(f"the weights do not belong to {method.name}: {len(odd)} names differ, such as {odd[0]}")
    for name, tensor in needed.items():
        if (tensor.shape, tensor.dtype) != (state[name].shape, state[name].dtype):
            found, wanted = (f"{tuple(t.shape)} {t.dtype}" for t in (state[name], tensor))
            raise ModelFileError(f"the weight {name} is {found}; {method.name} with these settings needs {wanted}")
    for name, tensor in [*state.items(), *reference.items()]:
        if not torch.isfinite(tensor).all():
            raise ModelFileError(f"{name} holds values that are not finite: every score would be meaningless")
    model.load_state_dict(state, strict=False, assign=True)
    for name, part in [*model.named_parameters(), *model.named_buffers()]:
        if part.is_meta:  # what only training needs: keep the name, drop the content
            parent, _, leaf = name.rpartition(".")
            empty = torch.empty(0)
            setattr(model.get_submodule(parent), leaf, nn.Parameter(empty) if isinstance(part, nn.Parameter) else empty)
    return channels_last(model)


def _try_shapes(detector: Detector) -> None:
    """Score one sample, so that what does not fit shows now rather than in the middle of somebody's scoring run."""
    method, model, reference, spec = detector.method_, detector.model_, detector.reference_, detector.spec_
    if spec.size <= _SMALL_SAMPLE:
        detector._novelty_of(torch.zeros(1, *spec.shape, device=detector.device_))
        return
    from torch._subclasses.fake_tensor import FakeTensorMode  # a second to import: only where it is needed

    # A hostile file may claim samples larger than memory; fake tensors have shapes and no content.
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        method.novelty(model, reference, torch.zeros(1, *spec.shape, device=detector.device_))


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
