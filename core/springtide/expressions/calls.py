"""The functions of expressions: what each takes, and what it gives."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from springtide.expressions import operations
from springtide.expressions.columns import Frame
from springtide.expressions.faults import PartError
from springtide.expressions.operations import Value
from springtide.expressions.tree import Tree
from springtide.expressions.typed import Typed, combined, number

_SECONDS_PER_DAY = 86_400.0
_A_DATE = 'a date such as "2026-12-24" or "2026-12-24T18:00:00+01:00"'


class Checker(Protocol):
    """What gives types to arguments."""

    def typed(self, tree: Tree) -> Typed:
        """Return a part of any type."""

    def number(self, tree: Tree) -> Typed:
        """Return a part that must be a number."""

    def has_value(self, tree: Tree) -> Typed:
        """Return where items have a value of an attribute."""


def _arguments(tree: Tree, wanted: str, least: int, most: int) -> tuple[Tree, ...]:
    if not least <= len(tree.parts) <= most:
        got = len(tree.parts)
        raise PartError(f"wanted {tree.value}({wanted}), got {got} argument{'s' * (got != 1)}", tree.start, tree.end)
    return tree.parts


def _has(checker: Checker, tree: Tree) -> Typed:
    (argument,) = _arguments(tree, "attribute", 1, 1)
    if argument.shape not in ("item", "user", "context", "user_id"):
        raise PartError("wanted an attribute of items, the user or the context in has(…)", argument.start, argument.end)
    if argument.shape == "item":
        return checker.has_value(argument)
    part = checker.typed(argument)
    if part.type == "number":
        return combined("bool", "has", [part], lambda value: ~np.isnan(value))
    return combined("bool", "has", [part], lambda texts: np.bool_(bool(texts)))


def _extreme(checker: Checker, tree: Tree) -> Typed:
    arguments = _arguments(tree, "number, number", 2, 64)
    join = np.minimum if tree.value == "min" else np.maximum

    def compute(first: Value, *others: Value) -> Value:
        for other in others:
            first = join(first, other)
        return first

    return combined("number", tree.value, [checker.number(each) for each in arguments], compute)


def _of_one_number(checker: Checker, tree: Tree) -> Typed:
    (argument,) = _arguments(tree, "number", 1, 1)
    compute: Mapping[str, Callable[[Value], Value]] = {
        "exp": np.exp,
        "log": operations.logarithm,
        "days": lambda value: value * _SECONDS_PER_DAY,
    }
    return combined("number", tree.value, [checker.number(argument)], compute[tree.value])


def _startswith(checker: Checker, tree: Tree) -> Typed:
    column_tree, prefix_tree = _arguments(tree, 'attribute, "text"', 2, 2)
    if prefix_tree.shape != "text":
        raise PartError("wanted a text at the end of startswith(…)", prefix_tree.start, prefix_tree.end)
    prefix = prefix_tree.value
    column = checker.typed(column_tree)
    word = f"startswith {prefix!r} {column.key}"
    if column.type == "category":
        name = column.name
        return Typed("bool", f"({word})", lambda frame: frame.has_prefix(name, prefix), is_per_item=True)
    if column.type == "texts" and not column.is_list:
        return combined("bool", word, [column], lambda texts: np.bool_(any(each.startswith(prefix) for each in texts)))
    if column.type == "missing":
        return column
    words = "wanted a category, or texts of the user or the context, in startswith(…)"
    raise PartError(words, column_tree.start, column_tree.end)


def _number(checker: Checker, tree: Tree) -> Typed:
    (argument,) = _arguments(tree, "user.NAME or context.NAME", 1, 1)
    if argument.shape not in ("user", "context"):
        raise PartError("wanted user.NAME or context.NAME in number(…)", argument.start, argument.end)
    part = checker.typed(argument)
    return combined("number", "number of", [part], operations.number_of) if part.type == "texts" else part


def _date(checker: Checker, tree: Tree) -> Typed:
    (argument,) = _arguments(tree, '"2026-12-24"', 1, 1)
    if argument.shape != "text":
        raise PartError(f"wanted {_A_DATE}", argument.start, argument.end)
    try:
        date = dt.datetime.fromisoformat(argument.value)
        time_s = (date if date.tzinfo is not None else date.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError):
        raise PartError(f"wanted {_A_DATE}", argument.start, argument.end) from None
    return number(time_s)


_PARTS_OF_TIME: Mapping[str, Callable[[dt.datetime], int]] = {
    "hour": lambda time: time.hour,
    "weekday": lambda time: time.isoweekday(),
    "month": lambda time: time.month,
}


def _part_of_time(checker: Checker, tree: Tree) -> Typed:
    (argument,) = _arguments(tree, "now", 1, 1)
    if argument.shape != "now":
        raise PartError(f"wanted {tree.value}(now)", argument.start, argument.end)
    part_of = _PARTS_OF_TIME[tree.value]

    def run(frame: Frame) -> Value:
        return np.float64(part_of(frame.local_time()))

    return Typed("number", f"({tree.value} now)", run, is_steady=False)


RULES: Mapping[str, Callable[[Checker, Tree], Typed]] = {
    "date": _date,
    "days": _of_one_number,
    "exp": _of_one_number,
    "has": _has,
    "hour": _part_of_time,
    "log": _of_one_number,
    "max": _extreme,
    "min": _extreme,
    "month": _part_of_time,
    "number": _number,
    "startswith": _startswith,
    "weekday": _part_of_time,
}
"""Checks a call and gives it its type, by the function's name.

Each raises:
    PartError: If the arguments are not those that the function takes.
"""
