"""The map of items: those with the most interactions, laid out so that near ones in the learned space lie near."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError
from springtide.explaining.plane import MAX_POINTS, neighbour_plane, placed_between, principal_plane
from springtide.inspecting.summaries import Inspected
from springtide.ranking.item_table import ItemTable

Array = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where items lie.

    Attributes:
        ids: The items, those with the most interactions first.
        vectors: float32 ``[n, d]``, unit vectors.
        plane: float64 ``[n, 2]``.
    """

    ids: Sequence[str]
    vectors: Array
    plane: Float64s


@dataclass(frozen=True, slots=True)
class ItemMap:
    """Items in two dimensions.

    Attributes:
        ids: Id of each item.
        plane: float64 ``[n, 2]``.
        names: Name of each item.
        groups: The value of each item's attribute; empty where it has none, or no attribute is asked for.
        marked: Positions of the item that is asked about, first, and of its neighbours, the nearest first.
        cosines: Cosine of each marked item with the first.
    """

    ids: Sequence[str]
    plane: Float64s
    names: Sequence[str]
    groups: Sequence[str]
    marked: Sequence[int]
    cosines: Sequence[float]


def lay_out(
    table: ItemTable, inspected: Inspected, max_items: int, *, is_flat: bool = False, most_apart: int = MAX_POINTS
) -> Layout:
    """Lay out the items with the most interactions of which the model knows something.

    Args:
        table: The items' vectors.
        inspected: The graph.
        max_items: How many items at most.
        is_flat: Whether by two principal components; otherwise neighbours are kept together, by t-SNE.
        most_apart: So many items are laid out by t-SNE, at most ``MAX_POINTS``, and the others placed between them.
    """
    nodes = inspected.view.nodes(inspected.item_type)
    known = np.flatnonzero(table.has_vector & (np.arange(table.num_items) < len(nodes)))
    known = known[table.has_rows(inspected.view, known)]
    degrees = inspected.degrees(inspected.item_type, known)
    rows = known[np.argsort(-degrees, kind="stable")[:max_items]]
    vectors = table.vectors[rows]
    if is_flat:
        plane = principal_plane(vectors) if len(rows) else np.zeros((0, 2))
    else:
        laid_out = neighbour_plane(vectors[:most_apart]) if len(rows) else np.zeros((0, 2))
        rest = placed_between(vectors[most_apart:], vectors[:most_apart], laid_out)
        plane = np.concatenate([laid_out, rest])
    return Layout(nodes.ids.ids(rows), vectors, plane)


def item_map(
    layout: Layout, table: ItemTable, inspected: Inspected, color_by: str = "", near: str = "", num_near: int = 10
) -> ItemMap:
    """Return the items of a layout, an item with its nearest ones, and what they are called and grouped by.

    Nearest ones that were not laid out are placed between those that were.

    Args:
        layout: Where the items lie. It may be older than the graph: items that are gone are left out.
        table: The items' vectors.
        inspected: The graph.
        color_by: A category attribute of the items; empty for none.
        near: An item; empty for none.
        num_near: How many of its nearest ones.

    Raises:
        InvalidRequestError: If there is no such attribute or item.
    """
    nodes = inspected.view.nodes(inspected.item_type)
    if color_by and color_by not in nodes.categories:
        choices = ", ".join(sorted(nodes.categories)) or "none"
        raise InvalidRequestError("color_by", f"no category attribute {color_by!r} (choices: {choices})")
    rows_now = nodes.ids.rows(list(layout.ids))
    lives = rows_now >= 0
    rows, plane = rows_now[lives].tolist(), layout.plane[lives]
    marked: list[int] = []
    cosines: list[float] = []
    if near:
        nearest, cosines = _nearest(table, inspected, near, num_near)
        drawn = set(rows)
        others = [row for row in nearest if row not in drawn]
        plane = np.concatenate([plane, placed_between(table.vectors[others], layout.vectors, layout.plane)])
        rows += others
        position_of = {row: position for position, row in enumerate(rows)}
        marked = [position_of[row] for row in nearest]
    ids = nodes.ids.ids(rows)
    names = [name or item_id for name, item_id in zip(inspected.names(inspected.item_type, rows), ids, strict=True)]
    column = nodes.categories_among((color_by,)).get(color_by) if color_by else None
    groups = ["" if column is None else next(iter(column.values(row)), "") for row in rows]
    return ItemMap(ids, plane, names, groups, marked, cosines)


def _nearest(table: ItemTable, inspected: Inspected, near: str, count: int) -> tuple[list[int], list[float]]:
    """Return the rows of an item and of those nearest to it, and their cosines with it."""
    nodes = inspected.view.nodes(inspected.item_type)
    row = nodes.ids.row(near)
    if row < 0 or row >= table.num_items or not table.has_vector[row]:
        raise InvalidRequestError("near", f"no item with the id {near!r} of which the model knows something")
    of_all = np.where(table.has_vector, table.vectors @ table.vectors[row], np.float32(-np.inf))
    of_all[nodes.ids.forgotten_rows(table.num_items)] = -np.inf
    of_all[row] = np.inf  # The item itself comes first, whatever rounding says.
    nearest = [each for each in np.argsort(-of_all, kind="stable")[: count + 1].tolist() if of_all[each] > -np.inf]
    return nearest, [1.0, *of_all[nearest[1:]].tolist()]
