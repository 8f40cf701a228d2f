"""The values of items' categories as codes: those in which items shall differ, and those that are bounded."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError
from springtide.graph.categories import CategoryColumn
from springtide.graph.nodes import NodeTable

Rows = npt.NDArray[np.int32]


class Codes(NamedTuple):
    """What some items have of an attribute.

    Attributes:
        positions: int32 ``[p]``, position of an item in the given rows.
        codes: int32 ``[p]``, code of a value that it has.
        num_codes: Number of codes.
    """

    positions: Rows
    codes: Rows
    num_codes: int


class Caps(NamedTuple):
    """What some items have of several attributes, and how often each value may come.

    Attributes:
        positions: int32 ``[p]``, position of an item in the given rows.
        codes: int32 ``[p]``, code of a value that it has; those of two attributes differ.
        limits: int32 ``[p]``, most items that may have that value.
        num_codes: Number of codes.
    """

    positions: Rows
    codes: Rows
    limits: Rows
    num_codes: int


def codes_of(items: NodeTable, rows: Rows, attribute: str, field: str, *, is_asked_for: bool) -> Codes | None:
    """Return what items have of an attribute; None if there is none of that name, and a scenario asks for it.

    Raises:
        InvalidRequestError: If there is none, and the request asks for it.
    """
    column = _column(items, attribute, field, is_asked_for=is_asked_for)
    if column is None:
        return None
    positions, codes = column.pairs_at(rows.astype(np.int64))
    return Codes(positions, codes, _num_codes(column, codes))


def caps_of(items: NodeTable, rows: Rows, max_per: Sequence[tuple[str, int]], *, is_asked_for: bool) -> Caps | None:
    """Return how often the values of items may come; None for any number. Errors as those of ``codes_of``."""
    parts, num_codes = [], 0
    for attribute, most in max_per:
        column = _column(items, attribute, f"max_per[{attribute}]", is_asked_for=is_asked_for)
        if column is not None:
            positions, codes = column.pairs_at(rows.astype(np.int64))
            parts.append((positions, codes + np.int32(num_codes), np.full(len(codes), most, np.int32)))
            num_codes += _num_codes(column, codes)
    if not parts:
        return None
    if len(parts) == 1:
        return Caps(*parts[0], num_codes)
    positions, codes, limits = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Caps(positions, codes, limits, num_codes)


def _num_codes(column: CategoryColumn, codes: Rows) -> int:
    """Return the number of codes; the writer may have added one since they were read."""
    return max(len(column.vocabulary), int(codes.max()) + 1 if len(codes) else 0)


def _column(items: NodeTable, attribute: str, field: str, *, is_asked_for: bool) -> CategoryColumn | None:
    column = items.categories_among((attribute,)).get(attribute)
    if column is None and is_asked_for:
        choices = ", ".join(sorted(items.categories)) or "none"
        raise InvalidRequestError(field, f"no category attribute of items named {attribute!r} (choices: {choices})")
    return column
