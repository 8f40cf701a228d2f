"""The hooks that a plugin may implement."""

from collections.abc import Callable

import pluggy

from springtide.plugins.contracts import (
    AggregatorFactory,
    BaselineFactory,
    ContextWeightFactory,
    EncoderFactory,
    LossFactory,
    NegativeSamplerFactory,
    TaskFactory,
)

hookspec = pluggy.HookspecMarker("springtide")
hookimpl = pluggy.HookimplMarker("springtide")


@hookspec
def register_encoders(register: Callable[[str, EncoderFactory], None]) -> None:
    """Register encoders by name."""


@hookspec
def register_aggregators(register: Callable[[str, AggregatorFactory], None]) -> None:
    """Register aggregators by name."""


@hookspec
def register_losses(register: Callable[[str, LossFactory], None]) -> None:
    """Register losses by name."""


@hookspec
def register_negative_samplers(register: Callable[[str, NegativeSamplerFactory], None]) -> None:
    """Register negative samplers by name."""


@hookspec
def register_tasks(register: Callable[[str, TaskFactory], None]) -> None:
    """Register tasks beside link prediction by name."""


@hookspec
def register_context_weights(register: Callable[[str, ContextWeightFactory], None]) -> None:
    """Register context weights by name."""


@hookspec
def register_baselines(register: Callable[[str, BaselineFactory], None]) -> None:
    """Register baselines by name."""
