"""The hooks that a plugin may implement, each for one kind of part.

Every hook is called once, when plugins are loaded. It gets ``register(name, factory)`` and calls it for each part that
it offers. Settings choose parts by that name; a name that another plugin offers is refused. The factory is a class or a
function; its parameters with a type and a default are the options that settings may give.
"""

from collections.abc import Callable

import pluggy

from springtide.plugins.contracts import (
    AggregatorFactory,
    BaselineFactory,
    ContextWeightFactory,
    DecoderFactory,
    EncoderFactory,
    LossFactory,
    NegativeSamplerFactory,
    TaskFactory,
)

hookspec = pluggy.HookspecMarker("springtide")
hookimpl = pluggy.HookimplMarker("springtide")


@hookspec
def register_encoders(register: Callable[[str, EncoderFactory], None]) -> None:
    """Offer encoders, so that models are trained and served with the one that ``[model] encoder`` names."""


@hookspec
def register_aggregators(register: Callable[[str, AggregatorFactory], None]) -> None:
    """Offer aggregators, so that an encoder combines the messages of neighbours as ``[model] aggregator`` says."""


@hookspec
def register_losses(register: Callable[[str, LossFactory], None]) -> None:
    """Offer losses, so that training minimises the one that ``[model] loss`` names."""


@hookspec
def register_negative_samplers(register: Callable[[str, NegativeSamplerFactory], None]) -> None:
    """Offer negative samplers, so that training contrasts users' items with those that ``[model] negatives`` draws."""


@hookspec
def register_tasks(register: Callable[[str, TaskFactory], None]) -> None:
    """Offer tasks, so that the vectors also learn, for example, to predict what ``[model.tasks.NAME]`` names."""


@hookspec
def register_context_weights(register: Callable[[str, ContextWeightFactory], None]) -> None:
    """Offer context weights, so that time, place or habit, as in ``[ranking.context_weights]``, change each ranking."""


@hookspec
def register_baselines(register: Callable[[str, BaselineFactory], None]) -> None:
    """Offer baselines, so that the gate compares models with those in ``[gate.baselines]``, and serves a better one."""


@hookspec
def register_decoders(register: Callable[[str, DecoderFactory], None]) -> None:
    """Offer decoders, so that the records of other tools are read as ``[events.decoders]`` says."""
