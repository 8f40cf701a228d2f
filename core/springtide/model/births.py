"""Which life of a node a model has learned from: a node that was deleted and came again is another one.

A model keeps, for each node that followed a deletion when it was trained, the event time of that deletion
(``graph.lifetimes``), as two arrays for each node type with such nodes: ``births.rows.TYPE`` and ``births.ms.TYPE``,
int64 ``[n]``. A model without them, such as an older one, has learned from first lives.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.graph.nodes import NodeTable
from springtide.graph.tombstones import NEVER_MS
from springtide.graph.view import GraphView
from springtide.ids import IdMap
from springtide.packed_texts import Texts

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_ROWS, _TIMES = "births.rows.", "births.ms."
# To find the rows of 100,000 ids takes 14 ms, and Python's lock: a server answers meanwhile only between two calls.
_FOUND_AT_ONCE = 4_096


def births_of(view: GraphView, counts: Mapping[str, int]) -> dict[str, Int64s]:
    """Return the event time of the deletion that each node follows, int64 ``[count]`` by node type; 0 for none."""
    return {name: view.nodes(name).lifetimes.all_born_ms(count) for name, count in counts.items()}


def births_to_tensors(births: Mapping[str, Int64s]) -> dict[str, Int64s]:
    """Return births as the tensors of a model."""
    tensors: dict[str, Int64s] = {}
    for name, born_ms in births.items():
        rows = np.flatnonzero(born_ms)
        if len(rows):
            tensors[_ROWS + name] = rows.astype(np.int64)
            tensors[_TIMES + name] = born_ms[rows]
    return tensors


def without_births(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the other tensors of a model."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith((_ROWS, _TIMES))}


def born_ms_in(tensors: Mapping[str, npt.NDArray[Any]], node_type: str, num_nodes: int) -> Int64s:
    """Return the event time of the deletion that each node of a model follows, int64 ``[num_nodes]``; 0 for none.

    Raises:
        ValueError: If a birth has no row.
    """
    born_ms = np.zeros(num_nodes, np.int64)
    if _ROWS + node_type in tensors:
        rows = tensors[_ROWS + node_type]
        if len(rows) and not 0 <= rows.min() <= rows.max() < num_nodes:
            raise ValueError(f"births of {node_type}: wanted rows below {num_nodes}, got {rows.max()}")
        born_ms[rows] = tensors[_TIMES + node_type]
    return born_ms


class ModelRows:
    """The rows that a model has for the nodes of one type, by id and life.

    Args:
        ids: Id of each of the model's rows; empty for a row that stands for no node.
        node_type: The node type.
        tensors: The model's tensors, which hold the births.

    Attributes:
        ids: The ids and their rows.

    Raises:
        ValueError: If a birth has no row, or an id stands twice.
    """

    def __init__(self, ids: Sequence[str], node_type: str, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        self.ids = IdMap(ids.packed if isinstance(ids, Texts) else ids)
        self._has_born = _ROWS + node_type in tensors
        # Without entries if all are 0.
        self._born_ms = born_ms_in(tensors, node_type, len(ids) if self._has_born else 0)

    def of(self, nodes: NodeTable, rows: npt.NDArray[np.integer[Any]]) -> Int32s:
        """Return the model's row of each live node, int32 ``[n]``, -1 where it has not learned from this life of it.

        Args:
            nodes: The live nodes.
            rows: Integers ``[n]``, their rows; -1 for a node that the graph does not have.
        """
        found = np.empty(len(rows), np.int32)
        for start in range(0, len(rows), _FOUND_AT_ONCE):
            part = slice(start, start + _FOUND_AT_ONCE)
            found[part] = nodes.ids.rows_in(self.ids, rows[part])
        if self._has_born or nodes.lifetimes.has_born:
            deleted_ms = nodes.lifetimes.all_deleted_ms(rows.astype(np.int32))
            born_ms = np.where(deleted_ms == NEVER_MS, 0, deleted_ms)
            known = np.flatnonzero(found >= 0)
            learned_ms = self._born_ms[found[known]] if self._has_born else 0
            found[known[learned_ms != born_ms[known]]] = -1
        return found

    def of_id(self, nodes: NodeTable, node_id: str, row: int) -> int:
        """Return the model's row of one live node, -1 where it has not learned from this life of it.

        Args:
            nodes: The live nodes.
            node_id: The node.
            row: Its live row; -1 if the graph does not have it: it was forgotten, whatever the model still knows.
        """
        found = self.ids.row(node_id) if row >= 0 else -1
        if found < 0:
            return -1
        learned_ms = self._born_ms[found] if self._has_born else 0
        return found if learned_ms == nodes.lifetimes.born_ms(row) else -1
