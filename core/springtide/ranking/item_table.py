"""The vectors of all live items: learned by the model, or folded in for newer items."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.ranking.folded_items import FoldedItems, ItemFolder
from springtide.ranking.serving_model import ServingModel
from springtide.settings.interaction_rules import InteractionRules

Array = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
_LOOKED_UP_AT_ONCE = 8_192  # Ids: to look so many up takes a millisecond, in which no other thread runs.
_TAKEN_AT_ONCE = 65_536  # Items; temporary copies of their vectors take 16 MB.


@dataclass(frozen=True, slots=True)
class ItemTable:
    """Vectors of all live items, in the order of their rows. A table is replaced, never changed.

    Attributes:
        model: The model that gives the vectors.
        model_rows: int32 ``[num_items]``, the model's row of each item, -1 for an item that the model does not know.
        folded: The items that the model does not know.
        vectors: float32 ``[num_items, d]``, unit vectors; 0 for items of which nothing is known.
        has_vector: bool ``[num_items]``, whether something is known of each item.
        degree: float32 ``[num_items]``, sum of each item's edge weights.
        num_edges: Number of edges in the graph when the table was built.
        attributes_version: Version of the items' attributes at that time.
        ids_lineage: Lineage of the item ids at that time; it changes when an item is forgotten.
        num_reuses: How many rows of forgotten items had been given to other items by then.
        longest: A length that no vector exceeds.
    """

    model: ServingModel
    model_rows: npt.NDArray[np.int32]
    folded: FoldedItems
    vectors: Array
    has_vector: npt.NDArray[np.bool_]
    degree: Array
    num_edges: int
    attributes_version: object
    ids_lineage: str
    num_reuses: int
    longest: float

    @property
    def num_items(self) -> int:
        """Number of rows, those of forgotten items included."""
        return len(self.model_rows)

    @property
    def has_folded(self) -> bool:
        """Whether there are items that the model does not know. Their vectors change with the graph."""
        return len(self.folded.unknown) > 0

    @classmethod
    def build(
        cls, model: ServingModel, view: GraphView, rules: InteractionRules, former: "ItemTable | None" = None
    ) -> "ItemTable":
        """Find the model's vector of each live item, and fold in the items that the model does not know.

        Args:
            model: The model.
            view: The graph.
            rules: Which edges are interactions.
            former: An earlier table of the same model and graph: what has not changed since is taken from it.
        """
        nodes, num_items = view.nodes(model.item_type), view.num_nodes(model.item_type)
        # Before the ids and the attributes are read: a change in between makes the table outdated.
        num_reuses = nodes.ids.num_reuses
        ids_lineage, attributes_version = nodes.ids_lineage, nodes.attributes_version
        known = None
        if former is not None and former.ids_lineage == ids_lineage:  # No item was forgotten: the rows of before hold.
            known = former.model_rows
        model_rows = _model_rows(model, nodes, num_items, known)
        is_unknown = model_rows < 0
        is_unknown[nodes.ids.forgotten_rows(num_items)] = False
        is_new = _differ(model_rows, None if former is None else former.model_rows)
        if former is not None:
            is_new[nodes.ids.reused_since(former.num_reuses, num_items)] = True
            gone = former.folded.unknown
            is_new[gone[~is_unknown[gone]]] = True
        unknown = np.flatnonzero(is_unknown)
        folder = ItemFolder(model, view, rules)
        stale = folder.stale(unknown, is_new, former.folded if former is not None else None)
        fresh = folder.fold_in(stale)
        folded = folder.joined(unknown, fresh, stale, former.folded if former is not None else None)
        made = (attributes_version, ids_lineage, num_reuses)
        if former is not None and not is_new.any() and not len(stale):
            of_former = (former.vectors, former.has_vector, former.degree)
            return cls(model, model_rows, folded, *of_former, view.num_edges, *made, former.longest)
        vectors, degree = _learned(model, model_rows, np.flatnonzero(is_new), former)
        for array in (vectors, degree):
            array[stale] = 0.0
        vectors[fresh.rows], degree[fresh.rows] = fresh.vectors, fresh.degree
        has_vector, longest = np.zeros(num_items, np.bool_), 0.0
        if former is not None:  # The rest is as it was: to look at all of a hundred thousand takes ten milliseconds.
            has_vector[: former.num_items], longest = former.has_vector, former.longest
        is_new[stale] = True
        changed = np.flatnonzero(is_new)
        for start in range(0, len(changed), _TAKEN_AT_ONCE):
            rows = changed[start : start + _TAKEN_AT_ONCE]
            of_rows = vectors[rows]
            has_vector[rows] = of_rows.any(axis=1)
            longest = max(longest, 1.0001 * float(np.sqrt(np.einsum("nd,nd->n", of_rows, of_rows).max())))
        return cls(model, model_rows, folded, vectors, has_vector, degree, view.num_edges, *made, longest)

    def is_outdated(self, view: GraphView) -> bool:
        """Return whether items were added or forgotten, or vectors of folded items may have changed."""
        nodes = view.nodes(self.model.item_type)
        if view.num_nodes(self.model.item_type) > self.num_items or nodes.ids_lineage != self.ids_lineage:
            return True
        is_changed = view.num_edges != self.num_edges or nodes.attributes_version != self.attributes_version
        return self.has_folded and is_changed

    def has_rows(self, view: GraphView, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
        """Return whether the table has each item, bool ``[n]``; the newest are not in it yet.

        Args:
            view: The graph.
            rows: Integers ``[n]``.
        """
        has_rows: npt.NDArray[np.bool_] = rows < self.num_items
        reused = view.nodes(self.model.item_type).ids.reused_since(self.num_reuses, self.num_items)
        return has_rows & ~np.isin(rows, reused) if len(reused) else has_rows

    def levels_of(self, view: GraphView, node_type: str, rows: Int64s) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
        """Return levels and degrees of live nodes, those of folded items too; see ``neighbourhood.LevelsOf``.

        An item of which nothing is known says nothing of its neighbours either.
        """
        if node_type != self.model.item_type:
            return self.model.levels_of(view, node_type, rows)
        is_known = self.has_rows(view, rows)
        is_known[is_known] = self.has_vector[rows[is_known]]
        known = rows[is_known]
        model_rows = self.model_rows[known]
        is_folded = model_rows < 0
        if not is_folded.any():
            return self.model.items.levels_at(model_rows), self.degree[known], is_known
        levels = np.empty((len(self.folded.levels), len(known), self.folded.levels.shape[2]), np.float32)
        levels[:, ~is_folded] = self.model.items.levels_at(model_rows[~is_folded])
        levels[:, is_folded] = self.folded.levels_at(known[is_folded])
        return levels, self.degree[known], is_known


def _model_rows(
    model: ServingModel, nodes: NodeTable, num_items: int, known: npt.NDArray[np.int32] | None
) -> npt.NDArray[np.int32]:
    """Return the model's row of each item, int32 ``[num_items]``, given those of the first items, or None."""
    start = 0 if known is None else len(known)
    model_rows = np.empty(num_items, np.int32)
    if known is not None:
        model_rows[:start] = known
    for at in range(start, num_items, _LOOKED_UP_AT_ONCE):  # Between two parts, other threads run.
        rows = np.arange(at, min(at + _LOOKED_UP_AT_ONCE, num_items))
        model_rows[rows] = model.items.rows.of(nodes, rows)
    return model_rows


def _differ(model_rows: npt.NDArray[np.int32], former: npt.NDArray[np.int32] | None) -> npt.NDArray[np.bool_]:
    """Return for which items the model has another row than before, bool ``[num_items]``; new items have one."""
    differ = np.ones(len(model_rows), np.bool_)
    if former is not None:
        differ[: len(former)] = model_rows[: len(former)] != former
    return differ


def _learned(
    model: ServingModel, model_rows: npt.NDArray[np.int32], new: Int64s, former: ItemTable | None
) -> tuple[Array, Array]:
    """Return the vectors and degrees of all items as the model has them, 0 where it has none.

    Args:
        model: The model.
        model_rows: int32 ``[num_items]``.
        new: int64 ``[n]``, the items that are not as the former table has them.
        former: The former table; vectors of folded items are taken from it, too.
    """
    vectors = np.zeros((len(model_rows), model.items.vectors.shape[1]), np.float32)
    degree = np.zeros(len(model_rows), np.float32)
    if former is not None:
        vectors[: former.num_items], degree[: former.num_items] = former.vectors, former.degree
        vectors[new], degree[new] = 0.0, 0.0
    learned = new[model_rows[new] >= 0]
    for start in range(0, len(learned), _TAKEN_AT_ONCE):
        rows = learned[start : start + _TAKEN_AT_ONCE]
        taken = model.items.vectors[model_rows[rows]]
        taken[~np.isfinite(taken).all(axis=1)] = 0.0
        vectors[rows] = taken
    degree[learned] = model.items.degree[model_rows[learned]]
    return vectors, degree
