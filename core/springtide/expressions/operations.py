"""What an expression computes: on numbers of all items, float64 ``[num_rows]``, or on one number; NaN is missing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Value = Any
"""A float64 or bool array ``[num_rows]``, a NumPy scalar of one of these, or a tuple of texts."""

LEAST_FACTOR, GREATEST_FACTOR = 1e-6, 1e6
"""Bounds of a booster's factor."""


def divided(left: Value, right: Value) -> Value:
    """Return a quotient, missing where the divisor is 0."""
    return np.where(right == 0.0, np.nan, np.divide(left, right))


def logarithm(number: Value) -> Value:
    """Return the natural logarithm, missing where there is none."""
    return np.where(number > 0.0, np.log(number), np.nan)


ARITHMETIC: Mapping[str, Callable[[Value, Value], Value]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": divided,
}


def factor(number: Value) -> Value:
    """Return a number as a booster's factor, float32: 1 where it is missing, and 0 where it is 0 or below."""
    factors = np.clip(np.where(np.isnan(number), 1.0, number), LEAST_FACTOR, GREATEST_FACTOR)
    return np.where(np.less_equal(number, 0.0), 0.0, factors).astype(np.float32)


def differs(left: Value, right: Value) -> Value:
    """Return where two numbers differ; not where one is missing."""
    return (left < right) | (left > right)


COMPARISONS: Mapping[str, Callable[[Value, Value], Value]] = {
    "==": np.equal,
    "!=": differs,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


COMPARISONS_OF_TRUTHS: Mapping[str, Callable[[Value, Value], Value]] = {"==": np.equal, "!=": np.not_equal}


def is_true(number: Value) -> Value:
    """Return where a number is neither 0 nor missing."""
    return differs(number, 0.0)


def is_in(number: Value, listed: Sequence[float]) -> Value:
    """Return where a number is one of a list."""
    return np.isin(number, np.array(listed, np.float64))


def number_of(texts: Sequence[str]) -> np.float64:
    """Return the number that the first of some texts spells; missing if it spells none."""
    try:
        number = float(texts[0]) if texts and len(texts[0]) <= 64 else np.nan
    except ValueError:
        number = np.nan
    return np.float64(number if np.isfinite(number) else np.nan)


def chosen(condition: Value, yes: Callable[[], Value], no: Callable[[], Value]) -> Value:
    """Return one value where a condition is true, the other one elsewhere; only what is wanted is computed."""
    if np.ndim(condition) == 0:
        return yes() if condition else no()
    return np.where(condition, yes(), no())
