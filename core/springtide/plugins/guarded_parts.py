"""Parts behind a guard: each has the hooks of what it stands for, and does without it where it fails."""

from collections.abc import Callable, Mapping, Sequence, Sized
from functools import partial
from typing import Any

import numpy as np

from springtide.clock import MS_PER_HOUR
from springtide.errors import BypassedError, PluginError
from springtide.interactions import History, Moment
from springtide.plugins.contracts import (
    Baseline,
    ContextWeight,
    EventDecoder,
    Index,
    RelatedItems,
    Reranker,
    Shortlist,
)
from springtide.plugins.contracts.serving import ServingEncoder
from springtide.plugins.guarding import Guard

STREAM_HOOKS = ("recognises", "decode")
"""Hooks without which the stream does not go on: a record that was not read is not to be passed over."""

# The longest time of a call that learns, stores or restores: in seconds, beside that for what it is given.
_LEARNING_S = 10.0
_EVENT_S = 20e-6
_BYTE_S = 1e-7
_COPY_S = 60.0


def guarded(made: Any, guard: Guard) -> Any:
    """Return a part behind its guard; a part of a kind that no request waits for as it is."""
    for contract, methods in _METHODS.items():
        if isinstance(made, contract):
            return _behind(made, contract, guard, methods)
    return made


def _behind(made: Any, contract: type, guard: Guard, methods: Mapping[str, "MakeMethod"]) -> Any:
    """Return an object of the contract that hands the hooks on that the part overrides, and all that it has.

    What a part overrides is looked at by its class: so the class is made for the part.
    """
    overridden = {
        name: make for name, make in methods.items() if getattr(type(made), name) is not getattr(contract, name, None)
    }
    members: dict[str, Any] = {name: make(made, guard) for name, make in overridden.items()}

    def of_the_part(self: Any, name: str) -> Any:
        return getattr(made, name)

    for name in dir(contract):
        if not name.startswith("_") and not callable(getattr(contract, name)):
            members[name] = property(partial(_value_of, made, name))
    if contract is ContextWeight:
        members["bucket_ms"] = _bucket_ms(type(made))
    members |= {"__getattr__": of_the_part, "guard": guard, "is_broken": False}
    kind = type(type(made).__name__, (contract,), members)
    return object.__new__(kind)


def _value_of(made: Any, name: str, stand_in: Any) -> Any:
    return getattr(made, name)


def _bucket_ms(kind: type) -> int | None:
    """Return the time that a class gives for its own ``bucket``; one for an inherited other one does not count."""
    owner = next(each for each in kind.__mro__ if "bucket" in vars(each) or "bucket_ms" in vars(each))
    span_ms: int | None = vars(owner).get("bucket_ms")
    return span_ms


MakeMethod = Callable[[Any, Guard], Any]
"""Makes a method that stands before a part's, given the part and its guard."""


def _watched(name: str) -> MakeMethod:
    """Make a method that nobody can go without: it is called as it is, and told if it does not return."""

    def make(made: Any, guard: Guard) -> Any:
        call = getattr(made, name)

        def method(self: Any, *arguments: Any) -> Any:
            with guard.watching(name):
                return call(*arguments)

        return method

    return make


def _without(name: str, neutral: Callable[..., Any], refusal: Callable[..., Callable[[Any], str | None]]) -> MakeMethod:
    """Make a method that answers something neutral where the part fails."""

    def make(made: Any, guard: Guard) -> Any:
        call = getattr(made, name)

        def method(self: Any, *arguments: Any, **others: Any) -> Any:
            if self.is_broken:
                guard.bypass_broken()
                return neutral(*arguments, **others)
            try:
                return guard.call(name, partial(call, *arguments, **others), refusal(made, *arguments, **others))
            except BypassedError:
                return neutral(*arguments, **others)

        return method

    return make


def _learning(name: str, neutral: Any, longest_s: Callable[..., float], refusal: Any = None) -> MakeMethod:
    """Make a method without which a weight lacks something that it should know: where it fails, the weight is broken.

    It is neutral from then on, and stands in no checkpoint; the next start lets it learn from the graph anew.
    """

    def make(made: Any, guard: Guard) -> Any:
        call = getattr(made, name)

        def method(self: Any, *arguments: Any) -> Any:
            if self.is_broken:
                guard.bypass_broken()
                return neutral
            try:
                return guard.call(name, partial(call, *arguments), refusal or _no_refusal, longest_s(*arguments))
            except BypassedError:
                self.is_broken = True
                return neutral

        return method

    return make


def _adopting(made: Any, guard: Guard) -> Any:
    """Make ``ContextWeight.adopted``: another weight behind the same guard; where it fails, the weight as it was."""

    def method(self: Any, fitted: Mapping[str, Any], item_rows: Any) -> Any:
        try:
            adopted = guard.call(
                "adopted", partial(made.adopted, fitted, item_rows), _no_weight, _time_of_state(fitted)
            )
        except BypassedError:
            return self
        return _behind(adopted, ContextWeight, guard, _METHODS[ContextWeight])

    return method


def _no_weight(answer: Any) -> str | None:
    return None if isinstance(answer, ContextWeight) else f"wanted a context weight, got {type(answer).__name__}"


def _needed(name: str, longest_s: Callable[..., float]) -> MakeMethod:
    """Make a method that nobody can go without: where it fails, PluginError says so."""

    def make(made: Any, guard: Guard) -> Any:
        call = getattr(made, name)

        def method(self: Any, *arguments: Any) -> Any:
            try:
                return guard.call(name, partial(call, *arguments), _no_refusal, longest_s(*arguments))
            except BypassedError as error:
                raise PluginError(f"{guard.part} of {guard.part.origin} fails in {name}: {error}") from error

        return method

    return make


def _or_bypassed(name: str, refusal: Callable[..., Callable[[Any], str | None]]) -> MakeMethod:
    """Make a method that raises BypassedError where the part fails; the caller has something in its place."""

    def make(made: Any, guard: Guard) -> Any:
        call = getattr(made, name)

        def method(self: Any, *arguments: Any, **others: Any) -> Any:
            return guard.call(name, partial(call, *arguments, **others), refusal(made, *arguments, **others))

        return method

    return make


def _nothing(*arguments: Any, **others: Any) -> None:
    return None


def _no_refusal(answer: Any) -> None:
    return None


def _anything(*arguments: Any, **others: Any) -> Callable[[Any], str | None]:
    return _no_refusal


def _time_of_events(observed: Sized) -> float:
    return _LEARNING_S + len(observed) * _EVENT_S


def _time_of_rows(user_rows: Sized, item_rows: Sized) -> float:
    return _LEARNING_S + (len(user_rows) + len(item_rows)) * _EVENT_S


def _time_of_names(kept: Mapping[str, Sized]) -> float:
    return _LEARNING_S + sum(map(len, kept.values())) * _EVENT_S


def _time_of_state(state: Mapping[str, Any]) -> float:
    return _LEARNING_S + sum(getattr(array, "nbytes", 0) for array in state.values()) * _BYTE_S


def _time_of_copy() -> float:
    return _COPY_S


def _no_state(state: Any) -> str | None:
    """Return what is wrong with what a weight has learned; None if it can be stored."""
    if not isinstance(state, Mapping):
        return f"wanted named arrays, got {type(state).__name__}"
    for name, array in state.items():
        if not isinstance(name, str) or not isinstance(array, np.ndarray) or array.dtype.hasobject:
            return f"wanted arrays of numbers or texts by name, got {type(array).__name__} under {name!r}"
    return None


def _array(answer: Any, shape: tuple[int, ...], *, may_be_infinite: bool = False) -> str | None:
    """Return what is wrong with an array of numbers; None if nothing is."""
    if not isinstance(answer, np.ndarray) or answer.dtype.kind not in "fiu":
        return f"wanted float32 {list(shape)}, got {type(answer).__name__}"
    if answer.shape != shape:
        return f"wanted the shape {list(shape)}, got {list(answer.shape)}"
    if np.isnan(answer).any() if may_be_infinite else not np.isfinite(answer).all():
        return "wanted finite numbers, got some that are not"
    return None


def _lifts(count: Callable[..., int]) -> Callable[..., Callable[[Any], str | None]]:
    def refusal(weight: ContextWeight, *arguments: Any, **others: Any) -> Callable[[Any], str | None]:
        shape = len(weight.factors), count(*arguments, **others)
        return lambda lifts: None if lifts is None else _array(lifts, shape, may_be_infinite=True)

    return refusal


def _related(weight: ContextWeight, *arguments: Any) -> Callable[[Any], str | None]:
    def refusal(related: Any) -> str | None:
        if related is None or not isinstance(related, RelatedItems):
            return None if related is None else f"wanted RelatedItems, got {type(related).__name__}"
        return _array(related.log_lifts, (len(weight.factors), len(related.rows)))

    return refusal


def _hashable(*arguments: Any) -> Callable[[Any], str | None]:
    def refusal(key: Any) -> str | None:
        hash(key)  # It raises if it is not.
        return None

    return refusal


def _hour(moment: Moment) -> tuple[str, int]:
    """Return a key in place of a weight's own: its moments are told apart by the hour."""
    return "hour", moment.timestamp_ms // MS_PER_HOUR


def _num_distinct(history: History, moment: Moment) -> int:
    return len(history.distinct()[0])


def _num_later(moment: Moment, start: int, num_items: int) -> int:
    return num_items - start


def _scores(baseline: Any, user_rows: Any, histories: Sequence[History], now_ms: int) -> Callable[[Any], str | None]:
    def refusal(scores: Any) -> str | None:
        if isinstance(scores, np.ndarray) and scores.ndim == 2:
            return _array(scores, (len(user_rows), scores.shape[1]))
        return _array(scores, (len(user_rows), 0))

    return refusal


def _positions(reranker: Any, shortlist: Shortlist, count: int) -> Callable[[Any], str | None]:
    def refusal(order: Any) -> str | None:
        if not isinstance(order, np.ndarray) or order.dtype.kind not in "iu" or order.ndim != 1:
            return f"wanted an array of positions, got {type(order).__name__}"
        if len(order) and not 0 <= order.min() <= order.max() < len(shortlist):
            return f"wanted positions from 0 to {len(shortlist) - 1}, got {order.min()} to {order.max()}"
        if len(np.unique(order)) < len(order):
            return "wanted distinct positions, got some twice"
        return None

    return refusal


def _level(encoder: ServingEncoder, depth: int, sources: Any, targets: Any, edges: Any) -> Callable[[Any], str | None]:
    # Numbers that are not finite may come from the model's: the vector is left out then.
    return lambda level: None if _is_array(level) and level.shape == targets.shape else _shape_words(level, targets)


def _readout(encoder: ServingEncoder, levels: Sequence[Any]) -> Callable[[Any], str | None]:
    return lambda vectors: (
        None if _is_array(vectors) and vectors.shape == levels[0].shape else _shape_words(vectors, levels[0])
    )


def _is_array(answer: Any) -> bool:
    return isinstance(answer, np.ndarray) and answer.dtype.kind == "f"


def _shape_words(answer: Any, wanted: Any) -> str:
    return f"wanted float32 {list(wanted.shape)}, got {list(np.shape(answer))} of {type(answer).__name__}"


_METHODS: Mapping[type, Mapping[str, MakeMethod]] = {
    ContextWeight: {
        "observe": _learning("observe", None, _time_of_events),
        "unobserve": _learning("unobserve", None, _time_of_events),
        "forget_rows": _learning("forget_rows", None, _time_of_rows),
        "forget_circumstances": _learning("forget_circumstances", None, _time_of_names),
        "state": _learning("state", {}, _time_of_copy, _no_state),
        "restore": _needed("restore", _time_of_state),
        "regroup": _without("regroup", _nothing, _anything),
        "bucket": _without("bucket", _hour, _hashable),
        "item_log_lifts": _without("item_log_lifts", _nothing, _lifts(lambda moment, num_items: num_items)),
        "later_item_log_lifts": _without("later_item_log_lifts", _nothing, _lifts(_num_later)),
        "history_log_lifts": _without("history_log_lifts", _nothing, _lifts(_num_distinct)),
        "related": _without("related", _nothing, _related),
        "fit": _watched("fit"),
        "adopted": _adopting,
    },
    Baseline: {
        **{name: _watched(name) for name in ("fit", "state")},
        "forget_users": _needed("forget_users", _time_of_events),
        "restore": _needed("restore", _time_of_state),
        "scores": _or_bypassed("scores", _scores),
    },
    ServingEncoder: {"layer": _or_bypassed("layer", _level), "readout": _or_bypassed("readout", _readout)},
    Index: {"build": _watched("build"), "search": _or_bypassed("search", _anything)},
    Reranker: {"order": _or_bypassed("order", _positions)},
    EventDecoder: {name: _watched(name) for name in ("recognises", "decode", "examples")},
}
"""For each contract that a server calls, its hooks and what stands before them."""
