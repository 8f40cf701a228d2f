"""What users' histories say of items that they may not have had, raised to the exponents of the ranking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.interactions import History, Moment
from springtide.model.exponents import Exponents
from springtide.plugins.contracts import ContextWeight

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]

RelatedTerms = Sequence[tuple[str, ContextWeight, Array, Array]]
"""Name, weight, and exponents of its factors for unseen and for seen items, float32 ``[num_factors]`` each."""


@dataclass(frozen=True, slots=True)
class RelatedScores:
    """What a user's history adds to the scores of some items, as if the user had never had them.

    Attributes:
        rows: int32 ``[m]``, ascending.
        weights: For each context weight that says something of one of them, its log, float32 ``[m]``.
        total: float32 ``[m]``, their sum.
    """

    rows: Rows
    weights: Mapping[str, Array]
    total: Array

    def of(self, rows: npt.NDArray[np.integer[Any]]) -> Array:
        """Return the total of rows, in any order, float32 ``[n]``; 0 for those that are not related."""
        return self.total if rows is self.rows else values_at(self.total, self.rows, rows)


NOTHING_RELATED = RelatedScores(np.empty(0, np.int32), {}, np.empty(0, np.float32))
"""What a history adds that says nothing of any item."""


def relates(weight: ContextWeight) -> bool:
    """Return whether a weight may relate items to a history."""
    return type(weight).related is not ContextWeight.related


def related_terms(weights: Mapping[str, ContextWeight], exponents: Exponents) -> RelatedTerms:
    """Return the weights that relate items to a history and have exponents other than 0."""
    terms = [
        (name, weight, exponents.unseen.of(name, weight), exponents.seen.of(name, weight))
        for name, weight in weights.items()
        if relates(weight)
    ]
    return [term for term in terms if term[2].any() or term[3].any()]


def related_scores(
    terms: RelatedTerms, history: History, moment: Moment, seen: Rows, num_items: int
) -> tuple[RelatedScores, dict[str, Array]]:
    """Return what a history says of items.

    Args:
        terms: The weights, with their exponents.
        history: The user's.
        moment: Moment and circumstances.
        seen: int32 ``[n]``, ascending: the items of the history.
        num_items: Items from this row on have no score.

    Returns:
        The scores of all related items as unseen ones; and for each weight its log for each of the seen items, float32
        ``[n]``, with the exponents of these.
    """
    found = []
    of_seen: dict[str, Array] = {}
    if not len(history.item_rows):
        return NOTHING_RELATED, of_seen
    for name, weight, unseen_exponents, seen_exponents in terms:
        if (related := weight.related(history, moment)) is None or not len(related.rows):
            continue
        count = int(related.rows.searchsorted(num_items))
        rows, lifts = related.rows[:count], related.log_lifts[:, :count]
        if len(seen) and seen_exponents.any():
            of_seen[name] = values_at(weighted_sum(seen_exponents, lifts), rows, seen)
        if unseen_exponents.any():
            found.append((name, rows, weighted_sum(unseen_exponents, lifts)))
    if not found:
        return NOTHING_RELATED, of_seen
    [(name, rows, total), *others] = found
    weights = {name: total}
    if others:
        rows = np.unique(np.concatenate([each[1] for each in found]))
        weights = {name: values_at(logs, own_rows, rows) for name, own_rows, logs in found}
        total = weights[name].copy()
        for logs in list(weights.values())[1:]:
            total += logs
    return RelatedScores(rows, weights, total), of_seen


def weighted_sum(exponents: Array, lifts: Array) -> Array:
    """Return the sum of the factors' lifts ``[num_factors, n]``, each times its exponent, float32 ``[n]``.

    Unlike a matrix product, it does not depend on an item's position, to the last bit.
    """
    total: Array = exponents[0] * lifts[0]
    for exponent, of_factor in zip(exponents[1:], lifts[1:], strict=True):
        total += exponent * of_factor
    return total


def find(ascending: Rows, rows: npt.NDArray[np.integer[Any]]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return which of some rows are among ascending ones, bool ``[n]``, and the positions of these there, int64."""
    if not len(ascending):
        return np.zeros(len(rows), bool), np.empty(0, np.int64)
    position = ascending.searchsorted(rows)
    is_found: npt.NDArray[np.bool_] = ascending.take(position, mode="clip") == rows
    return is_found, position[is_found]


def values_at(values: Array, ascending: Rows, rows: npt.NDArray[np.integer[Any]]) -> Array:
    """Return the values of ascending rows at other rows, float32 ``[n]``; 0 for those that are not among them."""
    is_found, position = find(ascending, rows)
    of_rows = np.zeros(len(rows), np.float32)
    of_rows[is_found] = values[position]
    return of_rows
