"""The least cosine of an answer's items."""

import numpy as np
import numpy.typing as npt

from springtide.ranking import kernels
from springtide.ranking.binding import BoundQuery
from springtide.ranking.item_table import ItemTable
from springtide.ranking.users import LiveUser

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


def wants_near(table: ItemTable | None, user: LiveUser, query: BoundQuery) -> bool:
    """Return whether a query leaves out items for their cosine: not if nothing is known of the user, or no model is."""
    steering = query.steering
    has_cosines = table is not None and user.vector is not None and user.is_person
    return steering is not None and steering.min_relevance is not None and has_cosines


def are_near(table: ItemTable | None, user: LiveUser, query: BoundQuery, rows: Rows) -> Mask:
    """Return which items are near enough to the user, or were theirs already, bool ``[n]``.

    Args:
        table: The items' vectors.
        user: The user.
        query: Says how near, if it ``wants_near``; else all are.
        rows: int32 ``[n]``, below the number of vectors.
    """
    if not wants_near(table, user, query):
        return np.ones(len(rows), np.bool_)
    assert table is not None, "it wants near items"
    assert user.vector is not None, "it wants near items"
    assert query.steering is not None, "it wants near items"
    near: Mask = kernels.cosines_of(user.vector, table.vectors, rows) >= np.float32(query.steering.min_relevance)
    had, _ = user.history.distinct()
    if len(had):
        near |= had.take(had.searchsorted(rows), mode="clip") == rows
    return near
