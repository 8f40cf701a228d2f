"""Items without edges and attributes, which are not recommended unless somebody asks for them by id."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph.compacting import living_rows
from springtide.graph.view import GraphView

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Found:
    """Items that were lifeless: rows, their numbers of edges of any age then, and the version of all attributes."""

    rows: Int64s
    degrees: Int64s
    attributes_version: object


class LifelessItems:
    """Knows the items without edges and attributes, such as those that lost their last edge by age.

    Any thread may ask for them. An item that came to life since the last refresh is none of them; one that lost its
    last edge since is found by the next refresh.

    Args:
        item_type: Node type of the items.
    """

    def __init__(self, item_type: str) -> None:
        self._item_type = item_type
        no_rows = np.empty(0, np.int64)
        self._found = _Found(no_rows, no_rows, None)  # Replaced as one, for other threads.

    def refresh(self, view: GraphView) -> None:
        """Look for lifeless items anew. To be called every second or so by a background thread."""
        version = view.nodes(self._item_type).attributes_version  # Before the attributes: a change is looked at again.
        is_lifeless = ~living_rows(view, self._item_type)
        is_lifeless[view.nodes(self._item_type).ids.forgotten_rows(len(is_lifeless))] = False
        rows = np.flatnonzero(is_lifeless)
        self._found = _Found(rows, self._degrees(view, rows), version)

    def rows(self, view: GraphView, num_items: int) -> Int64s:
        """Return the lifeless items below ``num_items``, int64 ``[n]``, ascending."""
        found = self._found
        rows = found.rows
        if not len(rows):
            return rows
        is_same = self._degrees(view, rows) == found.degrees
        items = view.nodes(self._item_type)
        version = items.attributes_version
        if version != found.attributes_version:
            is_same &= ~items.has_attributes()[rows]
        if not is_same.all():
            self._found = found = _Found(rows[is_same], found.degrees[is_same], found.attributes_version)
        elif version != found.attributes_version:
            self._found = found = _Found(rows, found.degrees, version)
        return found.rows[: np.searchsorted(found.rows, num_items)]

    def _degrees(self, view: GraphView, rows: Int64s) -> Int64s:
        degrees = np.zeros(len(rows), np.int64)
        for edge_type in view.edge_types:
            edges = view.edges(edge_type)
            if edge_type[0] == self._item_type:
                degrees += edges.degrees(rows, is_source=True)
            if edge_type[2] == self._item_type:
                degrees += edges.degrees(rows, is_source=False)
        return degrees
