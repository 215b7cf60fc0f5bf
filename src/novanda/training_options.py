"""How long, how fast, on what device to train: a value, apart from the loop so that methods can name their own."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from novanda.errors import InputError

OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop"]
Schedule = Literal["constant", "cosine", "one_cycle"]
Precision = Literal["auto", "32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long, how fast, on what device. None leaves a choice to the method's authors (`Method.training`).

    Attributes:
        epochs: passes over the normals.
        batch_size: samples a step; an epoch is cut into steps of nearly equal size, at most this.
        optimizer: "sgd", "adam", "adamw" or "rmsprop".
        learning_rate: the highest that the schedule reaches.
        momentum: of SGD and RMSProp; the first beta of the Adams.
        weight_decay: L2 for SGD, Adam and RMSProp, decoupled for AdamW.
        schedule: "constant"; "cosine" to zero; "one_cycle" up from a twenty-fifth over the first 30 % of steps, then
            down to zero by a cosine.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: "bf16" mixes bfloat16 into the networks, never into losses, optimizers or scores; "auto" does so
            where the hardware has it.
    """

    epochs: int | None = None
    batch_size: int | None = None
    optimizer: OptimizerName | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    schedule: Schedule | None = None
    device: str = "auto"
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise InputError(f"Training.{name} must be a whole number of at least {least}; got {value!r}")
        for name, holds, expectation in (
            ("learning_rate", lambda v: 0 < v < float("inf"), "a finite number above 0"),
            ("momentum", lambda v: 0 <= v < 1, "in [0, 1)"),
            ("weight_decay", lambda v: 0 <= v < float("inf"), "a finite number of at least 0"),
            ("optimizer", lambda v: v in get_args(OptimizerName), f"one of {', '.join(get_args(OptimizerName))}"),
            ("schedule", lambda v: v in get_args(Schedule), f"one of {', '.join(get_args(Schedule))}"),
            ("precision", lambda v: v in get_args(Precision), f"one of {', '.join(get_args(Precision))}"),
        ):
            value = getattr(self, name)
            try:
                wrong = value is not None and (isinstance(value, bool) or not holds(value))
            except TypeError:  # no number at all
                wrong = True
            if wrong:
                raise InputError(f"Training.{name} must be {expectation}; got {value!r}")
        if not isinstance(self.device, str):
            raise InputError(f"Training.device must be a name such as 'auto', 'cpu' or 'cuda'; got {self.device!r}")

    def filled(self, defaults: Training) -> Training:
        """This training with everything left open taken from `defaults`, and that failing from novanda's own."""
        chosen: dict[str, Any] = {}
        for field in fields(self):
            values = (getattr(t, field.name) for t in (self, defaults, _FALLBACK))
            chosen[field.name] = next((v for v in values if v is not None), None)
        return replace(self, **chosen)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


_FALLBACK = Training(
    epochs=50,
    batch_size=128,
    optimizer="adamw",
    learning_rate=1e-3,
    momentum=0.9,
    weight_decay=0.0,
    schedule="constant",
)
