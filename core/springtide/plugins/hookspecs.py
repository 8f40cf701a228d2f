"""The hooks that a plugin may implement, each for one kind of part.

Every hook is called once, when its plugin is loaded. It gets ``register(name, factory)`` and calls it for each part
that it offers. Settings choose parts by that name; a name that another plugin offers is refused. The factory is a class
or a function; its parameters with a type and a default are the options that settings may give. In its place may stand
where it is, ``"package.module:attribute"``: then that module is imported when the part is wanted. Encoders and
aggregators may have a serving half, ``register(name, factory, serving)``, which computes the same without torch.
"""

from typing import Protocol, TypeVar

import pluggy

from springtide.plugins.contracts import (
    AggregatorFactory,
    BaselineFactory,
    ContextWeightFactory,
    DecoderFactory,
    EncoderFactory,
    IndexFactory,
    LossFactory,
    NegativeSamplerFactory,
    RerankerFactory,
    TaskFactory,
)
from springtide.plugins.part import Reference

hookspec = pluggy.HookspecMarker("springtide")
hookimpl = pluggy.HookimplMarker("springtide")

Factory = TypeVar("Factory", contravariant=True)


class RegisterPart(Protocol[Factory]):
    """Registers a part."""

    def __call__(self, name: str, factory: Factory | str) -> None:
        """Register a factory, or where it is, by a name."""


class RegisterHalves(Protocol[Factory]):
    """Registers a part that may have a serving half."""

    def __call__(self, name: str, factory: Factory | str, serving: Reference | None = None) -> None:
        """Register a factory, or where it is, by a name, and its serving half."""


@hookspec
def register_encoders(register: RegisterHalves[EncoderFactory]) -> None:
    """Offer encoders, so that models are trained and served with the one that ``[model] encoder`` names."""


@hookspec
def register_aggregators(register: RegisterHalves[AggregatorFactory]) -> None:
    """Offer aggregators, so that an encoder combines the messages of neighbours as ``[model] aggregator`` says."""


@hookspec
def register_losses(register: RegisterPart[LossFactory]) -> None:
    """Offer losses, so that training minimises the one that ``[model] loss`` names."""


@hookspec
def register_negative_samplers(register: RegisterPart[NegativeSamplerFactory]) -> None:
    """Offer negative samplers, so that training contrasts users' items with those that ``[model] negatives`` draws."""


@hookspec
def register_tasks(register: RegisterPart[TaskFactory]) -> None:
    """Offer tasks, so that the vectors also learn, for example, to predict what ``[model.tasks.NAME]`` names."""


@hookspec
def register_context_weights(register: RegisterPart[ContextWeightFactory]) -> None:
    """Offer context weights, so that time, place or habit, as in ``[ranking.context_weights]``, change each ranking."""


@hookspec
def register_baselines(register: RegisterPart[BaselineFactory]) -> None:
    """Offer baselines, so that the gate compares models with those in ``[gate.baselines]``, and serves a better one."""


@hookspec
def register_decoders(register: RegisterPart[DecoderFactory]) -> None:
    """Offer decoders, so that the records of other tools are read as ``[events.decoders]`` says."""


@hookspec
def register_indexes(register: RegisterPart[IndexFactory]) -> None:
    """Offer indexes, so that the one that ``[ranking] index`` names finds the items near to a user among many."""


@hookspec
def register_rerankers(register: RegisterPart[RerankerFactory]) -> None:
    """Offer rerankers, so that a request's ``reranker`` orders the best items with one of ``[ranking.rerankers]``."""
