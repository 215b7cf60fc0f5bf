"""What this machine offers novanda."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

from novanda import datasets
from novanda.errors import DataError
from novanda.training import Training, has_fast_bf16, resolve_device

_PACKAGES = (
    "torch",
    "numpy",
    "lightning-fabric",
    "safetensors",
    "scikit-learn",
    "pillow",
    "matplotlib",
    "tyro",
    "rich",
)


def report() -> Iterator[str]:
    """Lines for the terminal: versions, device, precision, data sets."""
    yield f"novanda {version('novanda')}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    device = resolve_device(Training())
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{os.cpu_count()} cores"
    yield f"device: {device} ({name}), {torch.get_num_threads()} threads"
    fast = has_fast_bf16(device)
    yield "training precision: " + ("bf16 mixed, in hardware" if fast else "float32 (no bfloat16 in hardware)")
    yield "scoring precision: float32, always"
    try:
        root = datasets.find_root()
    except DataError as error:
        yield f"named data sets: {error}"
        return
    yield f"named data sets under {root}:"
    for data_set in datasets.DATASETS:
        try:
            loaded = data_set.load(root)
            count = len(loaded.train_labels) + len(loaded.test_labels)
            yield f"  {data_set.name}: {count} images; {loaded.provenance}"
        except DataError as error:
            yield f"  {data_set.name}: {error}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
