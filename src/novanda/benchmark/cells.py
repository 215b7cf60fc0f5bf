"""A cell: one method to be trained once on one class of one data set and tested by one protocol; a specification."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from novanda import methods
from novanda.errors import InputError
from novanda.method import Method
from novanda.training_options import Training

Keepsake = Literal["curve", "embedding", "examples"]
"""What a cell keeps beside scores: AUROC after every epoch; t-SNE of its features; its most and least novel inputs."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The specification of one run; equal specifications are the same cell, whatever machine or version runs them.

    Attributes:
        data_set, normal_class: names as in `datasets`.
        protocol: a key of `protocols.PROTOCOLS`.
        method, training: what a `Detector` takes.
        seed: of the detector.
        image_size: side to which images are resized; None keeps their own.
        calibration_fraction: 0 trains on all normals, as the paper does; otherwise the false-alarm rates on test
            normals are measured too.
        keep: what figures need beside the scores. It is part of the specification, for a line without it can not
            stand in for one with it.
    """

    data_set: str
    normal_class: str
    protocol: str
    method: Method
    training: Training = field(default_factory=Training)
    seed: int = 0
    image_size: int | None = None
    calibration_fraction: float = 0.0
    keep: tuple[Keepsake, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.keep if name not in get_args(Keepsake)]
        if unknown or len(set(self.keep)) < len(self.keep):
            raise InputError(f"Cell.keep is a tuple of some of {', '.join(get_args(Keepsake))}; got {self.keep!r}")

    def to_json(self) -> dict[str, Any]:
        """The specification alone; device and precision are left out, for they belong to the machine that runs it."""
        training = self.training.filled(self.method.usual_training()).to_json()
        specification = {
            "data_set": self.data_set,
            "normal_class": self.normal_class,
            "protocol": self.protocol,
            "method": methods.to_json(self.method),
            "training": {k: v for k, v in training.items() if k not in ("device", "precision")},
            "seed": self.seed,
            "image_size": self.image_size,
            "calibration_fraction": self.calibration_fraction,
        }
        # Left out where it is empty: lines from before it existed keep their keys.
        return {**specification, "keep": sorted(self.keep)} if self.keep else specification

    @property
    def key(self) -> str:
        """Hash of the specification, 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        share = f" calibrated {self.calibration_fraction:g}" if self.calibration_fraction else ""
        epochs = f" {self.training.filled(self.method.usual_training()).epochs} epochs" if self.learns else ""
        what = f"{self.data_set}:{self.normal_class} {method_label(self.method)}{epochs}"
        return f"{what} {self.protocol} seed {self.seed}{share} [{self.key}]"

    @property
    def learns(self) -> bool:
        """Whether the method is trained by gradient, so that epochs mean something."""
        return type(self.method).stages is not Method.stages


def method_label(method: Method) -> str:
    """A method's name and the settings in which it differs from its defaults: "nda width=32"."""
    default = type(method)()
    changed = [f.name for f in fields(method) if getattr(method, f.name) != getattr(default, f.name)]
    return " ".join([method.name, *(f"{name}={getattr(method, name)}" for name in changed)])


def describe(result: Mapping[str, Any]) -> str:
    """One line for the terminal."""
    cell = result["cell"]
    what = f"{cell['data_set']}:{cell['normal_class']} {method_label(methods.from_json(cell['method']))}"
    if "error" in result:
        return f"{what}: failed: {result['error']}"
    scores = ", ".join(f"{name} {value:.4f}" for name, value in result["auroc"].items())
    return f"{what}: AUROC by {scores} ({result['fit_seconds']:.0f} s)"
