"""The vectors of all live items: learned by the model, or folded in for newer items."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.graph.view import GraphView
from springtide.ranking.neighbourhood import NeighbourhoodGatherer, Values
from springtide.ranking.serving_model import ServingModel
from springtide.settings.interaction_rules import InteractionRules

Array = npt.NDArray[np.float32]
_MAX_NEIGHBOURS = 200  # A new item is folded in from its latest users; more of them change its vector little.
_FOLDED_AT_ONCE = 1_024  # Items. With 200 neighbours each, two layers and 64 numbers, their levels take 100 MB.


@dataclass(frozen=True, slots=True)
class ItemTable:
    """Vectors of all live items, in the order of their rows. A table is replaced, never changed.

    Attributes:
        model: The model that gives the vectors.
        model_rows: int64 ``[num_items]``, the model's row of each item, -1 for an item that the model does not know.
        levels: float32 ``[num_layers, num_items, d]``, inputs of each layer, for folding users in.
        vectors: float32 ``[num_items, d]``, unit vectors; 0 for items of which nothing is known.
        has_vector: bool ``[num_items]``, whether something is known of each item.
        degree: float32 ``[num_items]``, sum of each item's edge weights.
        has_folded: Whether some items are folded in. Their vectors change with the graph.
        num_edges: Number of edges in the graph when the table was built.
        attributes_version: Version of the items' attributes at that time.
        ids_lineage: Lineage of the item ids at that time; it changes when an item is forgotten.
        num_reuses: How many rows of forgotten items had been given to other items by then.
    """

    model: ServingModel
    model_rows: npt.NDArray[np.int64]
    levels: Array
    vectors: Array
    has_vector: npt.NDArray[np.bool_]
    degree: Array
    has_folded: bool
    num_edges: int
    attributes_version: object
    ids_lineage: str
    num_reuses: int

    @property
    def num_items(self) -> int:
        """Number of rows, those of forgotten items included."""
        return len(self.model_rows)

    @classmethod
    def build(cls, model: ServingModel, view: GraphView, rules: InteractionRules) -> "ItemTable":
        """Find the model's vector of each live item, and fold in the items that the model does not know.

        Args:
            model: The model.
            view: The graph.
            rules: Which edges are interactions.
        """
        nodes = view.nodes(model.item_type)
        # Before the ids and the attributes are read: a change in between makes the table outdated.
        num_reuses = nodes.ids.num_reuses
        ids_lineage, attributes_version = nodes.ids_lineage, nodes.attributes_version
        ids = nodes.ids.all_ids()[: view.num_nodes(model.item_type)]
        model_rows = model.items.rows.of(nodes, np.arange(len(ids)))
        # Item 0 of the model stands in for items that the model does not know, until they are set below.
        picked = np.maximum(model_rows, 0)
        num_layers, _, width = model.items.levels.shape
        if len(model.items.vectors):
            levels = np.take(model.items.levels, picked, axis=1)
            vectors, degree = model.items.vectors[picked], model.items.degree[picked]
        else:
            levels = np.zeros((num_layers, len(ids), width), np.float32)
            vectors, degree = np.zeros((len(ids), width), np.float32), np.zeros(len(ids), np.float32)
        for array in (*levels, vectors, degree):
            array[model_rows < 0] = 0.0
        unknown = np.array([row for row in np.flatnonzero(model_rows < 0).tolist() if ids[row]], np.int64)
        vectors[~np.isfinite(vectors).all(axis=1)] = 0.0
        table = cls(
            model,
            model_rows,
            levels,
            vectors,
            (vectors != 0).any(axis=1),
            degree,
            has_folded=len(unknown) > 0,
            num_edges=view.num_edges,
            attributes_version=attributes_version,
            ids_lineage=ids_lineage,
            num_reuses=num_reuses,
        )
        if len(unknown):
            table._fold_in(unknown, view, rules)
        return table

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

    def levels_of(
        self, view: GraphView, node_type: str, rows: npt.NDArray[np.int64]
    ) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
        """Return levels and degrees of live nodes, those of folded items too; see ``neighbourhood.LevelsOf``.

        An item of which nothing is known says nothing of its neighbours either.
        """
        if node_type != self.model.item_type:
            return self.model.levels_of(view, node_type, rows)
        is_known = self.has_rows(view, rows)
        is_known[is_known] = self.has_vector[rows[is_known]]
        known = rows[is_known]
        return np.take(self.levels, known, axis=1), self.degree[known], is_known

    def _fold_in(self, unknown: npt.NDArray[np.int64], view: GraphView, rules: InteractionRules) -> None:
        """Fold in items, some at a time: their neighbours' levels may be many times as large as the table."""
        model, item_type = self.model, self.model.item_type
        level_0, attributes = model.inputs[item_type].of_table(view.nodes(item_type), len(self.model_rows))
        gatherer = NeighbourhoodGatherer(
            item_type, model.schema, rules, attributes.names(), _MAX_NEIGHBOURS, model.edge_half_life_days
        )
        levels_of = functools.partial(model.levels_of, view)
        for start in range(0, len(unknown), _FOLDED_AT_ONCE):
            rows = unknown[start : start + _FOLDED_AT_ONCE]
            position_of = np.full(len(self.model_rows), -1, np.int64)
            position_of[rows] = np.arange(len(rows))
            is_among = position_of[attributes.node_rows] >= 0
            values = Values(position_of[attributes.node_rows[is_among]], attributes.codes[is_among])
            neighbourhood = gatherer.gather(view, rows.astype(np.int32), levels_of, values)
            folded = model.fold_in(item_type, level_0[rows], neighbourhood)
            # An encoder may give a node without inputs and neighbours a vector too, from its biases: it says nothing.
            is_informed = level_0[rows].any(axis=1) | (folded.degree > 0)
            is_informed &= np.isfinite(folded.vectors).all(axis=1)
            informed = rows[is_informed]
            self.levels[:, informed] = folded.levels[:, is_informed]
            self.vectors[informed] = folded.vectors[is_informed]
            self.degree[informed] = folded.degree[is_informed]
            self.has_vector[rows] = self.vectors[rows].any(axis=1)
