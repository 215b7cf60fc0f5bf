"""How every objective computes: in float32 at least, on tensors of like shapes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from novanda.errors import InputError

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def in_float32(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Run a loss outside autocast, its half-precision arguments (and those in lists) widened to float32."""

    def widen(value: object) -> object:
        if isinstance(value, list | tuple):
            return type(value)(map(widen, value))
        half = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
        return value.float() if half else value  # type: ignore[attr-defined]

    @functools.wraps(function)
    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        device = next((a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*[widen(a) for a in args], **{k: widen(v) for k, v in kwargs.items()})  # type: ignore[arg-type]

    return run


def check_same_shape(what: str, first: Tensor, *others: Tensor) -> None:
    """Raise InputError unless all have the shape of the first, for unlike shapes broadcast into wrong numbers."""
    for other in others:
        if other.shape != first.shape:
            raise InputError(f"{what} must have the same shape; got {tuple(first.shape)} and {tuple(other.shape)}")
