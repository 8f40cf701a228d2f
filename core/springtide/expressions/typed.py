"""Parts of an expression whose types are known: how each is computed, and what is kept of it."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from springtide.expressions.columns import Frame
from springtide.expressions.operations import Value, chosen

Type = Literal["bool", "number", "numbers", "texts", "category", "ids", "missing"]
"""What a part is: ``numbers`` is a list, ``category`` and ``ids`` are texts of items, ``missing`` fits anywhere."""


def _no_value(frame: Frame) -> Value:
    raise AssertionError("texts of items are never computed by themselves")


class Typed(NamedTuple):  # As `Tree`.
    """A part of an expression.

    Attributes:
        type: What it is.
        key: What it computes, in words that no other computation has.
        run: Computes it.
        is_per_item: Whether it has a value for each item.
        is_steady: Whether it is the same for all users and moments.
        is_kept: Whether ``run`` keeps what it has computed.
        name: The attribute, of a category.
        is_list: Whether it is a list as the expression spells it.
    """

    type: Type
    key: str
    run: Callable[[Frame], Value] = _no_value
    is_per_item: bool = False
    is_steady: bool = True
    is_kept: bool = False
    name: str = ""
    is_list: bool = False


MISSING = Typed("missing", "missing")
"""What is not known: it is false, no number, and no text."""


def constant(of_type: Type, value: Value, key: str, is_list: bool = False) -> Typed:
    """Return what is always the same."""
    return Typed(of_type, key, lambda _: value, is_list=is_list)


def number(value: float) -> Typed:
    """Return a number."""
    return constant("number", np.float64(value), repr(float(value)))


def truth(value: bool) -> Typed:
    """Return a condition that always or never holds."""
    return constant("bool", np.bool_(value), repr(value))


def kept(part: Typed) -> Typed:
    """Return a part that keeps what it computes, if that is a column that is the same for all users and moments."""
    if part.is_kept or not part.is_per_item or not part.is_steady:
        return part
    key, run = part.key, part.run

    def run_once(frame: Frame) -> Value:
        return frame.cache.array(key, frame.version, lambda: np.asarray(run(frame)))

    return part._replace(run=run_once, is_kept=True)


def combined(of_type: Type, word: str, parts: Sequence[Typed], compute: Callable[..., Value]) -> Typed:
    """Return what is computed of some parts.

    Args:
        of_type: What it is.
        word: Name of the computation; no other one has it.
        parts: What it is computed of; those that are the same for all users and moments are kept if it is not.
        compute: Computes it of their values.
    """
    is_steady = all(part.is_steady for part in parts)
    runs = tuple((part if is_steady else kept(part)).run for part in parts)
    return Typed(
        of_type,
        f"({word} {' '.join(part.key for part in parts)})",
        lambda frame: compute(*[run(frame) for run in runs]),
        is_per_item=any(part.is_per_item for part in parts),
        is_steady=is_steady,
    )


def junction(word: Literal["and", "or"], parts: Sequence[Typed]) -> Typed:
    """Return where all conditions hold, or one of them.

    Those that are the same for all items come first and may decide alone; then those that are the same for all users
    and moments, which are kept as one.
    """
    of_user = [part for part in parts if not part.is_per_item]
    steady = [part for part in parts if part.is_per_item and part.is_steady]
    others = [part for part in parts if part.is_per_item and not part.is_steady]
    if not of_user and not others:
        return _junction(word, steady)
    return _junction(word, [*of_user, *([kept(_junction(word, steady))] if steady else []), *others])


def _junction(word: Literal["and", "or"], parts: Sequence[Typed]) -> Typed:
    if len(parts) == 1:
        return parts[0]
    decides = word == "or"
    join = np.logical_or if decides else np.logical_and
    runs = [part.run for part in parts]

    def run(frame: Frame) -> Value:
        joined: Value = np.bool_(not decides)
        for each in runs:
            joined = join(joined, each(frame))
            if np.ndim(joined) == 0 and bool(joined) is decides:
                return joined
        return joined

    return Typed(
        "bool",
        f"({word} {' '.join(part.key for part in parts)})",
        run,
        is_per_item=any(part.is_per_item for part in parts),
        is_steady=all(part.is_steady for part in parts),
    )


def choice(of_type: Type, condition: Typed, yes: Typed, no: Typed) -> Typed:
    """Return one part where a condition is true, another elsewhere; what is wanted nowhere is not computed."""
    parts = (condition, yes, no)
    is_steady = all(part.is_steady for part in parts)
    is_so, if_so, if_not = ((part if is_steady else kept(part)).run for part in parts)
    return Typed(
        of_type,
        f"(if {' '.join(part.key for part in parts)})",
        lambda frame: chosen(is_so(frame), lambda: if_so(frame), lambda: if_not(frame)),
        is_per_item=any(part.is_per_item for part in parts),
        is_steady=is_steady,
    )
