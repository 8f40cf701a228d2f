"""Training curves: figures over the steps of a training, as the registry keeps them beside a model."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from springtide.errors import ModelError


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure over the steps of a training.

    Attributes:
        name: What it is, such as ``loss of learn``.
        step: What a step is, such as ``step``.
        steps: The steps, ascending.
        values: The figure at each step.

    Raises:
        ValueError: If there are not as many steps as values, or a number is not finite.
    """

    name: str
    step: str
    steps: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.values):
            raise ValueError(f"wanted as many steps as values, got {len(self.steps)} and {len(self.values)}")
        if not all(map(math.isfinite, (*self.steps, *self.values))):
            raise ValueError(f"curve {self.name!r}: wanted finite numbers")


def curves_to_json(curves: Sequence[Curve]) -> bytes:
    """Return curves as JSON."""
    written = [
        {"name": curve.name, "step": curve.step, "steps": curve.steps, "values": curve.values} for curve in curves
    ]
    return json.dumps(written, allow_nan=False).encode()


def curves_from_json(content: bytes) -> tuple[Curve, ...]:
    """Return the curves that JSON holds.

    Raises:
        ModelError: If it holds something else.
    """
    try:
        return tuple(
            Curve(
                str(fields["name"]),
                str(fields["step"]),
                tuple(map(float, fields["steps"])),
                tuple(map(float, fields["values"])),
            )
            for fields in json.loads(content)
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"no training curves: {error!r}") from error
