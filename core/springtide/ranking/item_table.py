"""The items as they are ranked: every live item's vector, the model's own or one folded in."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from springtide.graph.view import GraphView
from springtide.ranking.neighbourhood import NeighbourhoodGatherer, Values
from springtide.ranking.serving_model import ServingModel
from springtide.settings.interaction_rules import InteractionRules

_MAX_NEIGHBOURS = 200  # Latest users that a new item is folded in from: more change its vector little.


@dataclass(frozen=True, slots=True)
class ItemTable:
    """Vectors of all live items, in the order of their rows; replaced, never changed.

    Attributes:
        model: Whose vectors these are.
        model_rows: int64 ``[num_items]``, the model's row of each item, -1 for an item that it does not know.
        levels: float32 ``[num_layers, num_items, d]``, for folding users in.
        vectors: float32 ``[num_items, d]``.
        degree: float32 ``[num_items]``.
        has_folded: Whether there are items that the model does not know, so that their vectors follow the graph.
        num_edges: Number of edges in the graph when the folded ones were made.
        attributes_version: Version of the items' attributes at that time.
        ids_lineage: Of the ids at that time; another one when an item was forgotten since.
    """

    model: ServingModel
    model_rows: npt.NDArray[np.int64]
    levels: Tensor
    vectors: Tensor
    degree: Tensor
    has_folded: bool
    num_edges: int
    attributes_version: object
    ids_lineage: str

    @property
    def num_items(self) -> int:
        """Number of rows, those of forgotten items included."""
        return len(self.model_rows)

    @classmethod
    def build(cls, model: ServingModel, view: GraphView, rules: InteractionRules) -> "ItemTable":
        """Line the model's items up with the live ones, and fold in those that it does not know.

        Args:
            model: The model.
            view: The graph.
            rules: Which edges are interactions.
        """
        nodes = view.nodes(model.item_type)
        # Before the ids and the attributes: what changes in between is looked at again.
        ids_lineage, attributes_version = nodes.ids_lineage, nodes.attributes_version
        ids = nodes.ids.all_ids()[: view.num_nodes(model.item_type)]
        row_of = model.items.row_of
        model_rows = np.fromiter((row_of.get(item_id, -1) for item_id in ids), np.int64, len(ids))
        # Item 0 of the model stands in for items that the model does not know, until they are set below.
        picked = torch.from_numpy(np.maximum(model_rows, 0))
        num_layers, _, width = model.items.levels.shape
        levels = torch.zeros(num_layers, len(ids), width)
        vectors = torch.zeros(len(ids), width)
        degree = torch.zeros(len(ids))
        if len(model.items.vectors):
            levels, vectors, degree = (
                model.items.levels[:, picked],
                model.items.vectors[picked],
                model.items.degree[picked],
            )
        for of_items in (levels.unbind(), [vectors, degree]):
            for tensor in of_items:
                tensor[torch.from_numpy(model_rows < 0)] = 0.0
        unknown = np.array([row for row in np.flatnonzero(model_rows < 0).tolist() if ids[row]], np.int64)
        table = cls(
            model,
            model_rows,
            levels,
            vectors,
            degree,
            has_folded=len(unknown) > 0,
            num_edges=view.num_edges,
            attributes_version=attributes_version,
            ids_lineage=ids_lineage,
        )
        if len(unknown):
            table._fold_in(unknown, view, rules)
        return table

    def is_outdated(self, view: GraphView) -> bool:
        """Return whether items have come or were forgotten since, or the vectors of folded ones may have changed."""
        nodes = view.nodes(self.model.item_type)
        if view.num_nodes(self.model.item_type) > self.num_items or nodes.ids_lineage != self.ids_lineage:
            return True
        is_changed = view.num_edges != self.num_edges or nodes.attributes_version != self.attributes_version
        return self.has_folded and is_changed

    def levels_of(
        self, view: GraphView, node_type: str, rows: npt.NDArray[np.int64]
    ) -> tuple[Tensor, Tensor, npt.NDArray[np.bool_]]:
        """Return what is known of live nodes: of items, the folded ones too; see ``neighbourhood.LevelsOf``."""
        if node_type != self.model.item_type:
            return self.model.levels_of(view, node_type, rows)
        is_known = rows < self.num_items  # An item of this very second may not be there yet.
        known = torch.from_numpy(rows[is_known])
        return self.levels[:, known], self.degree[known], is_known

    def _fold_in(self, unknown: npt.NDArray[np.int64], view: GraphView, rules: InteractionRules) -> None:
        model, item_type = self.model, self.model.item_type
        level_0, attributes = model.inputs[item_type].of_table(view.nodes(item_type), len(self.model_rows))
        position_of = np.full(len(self.model_rows), -1, np.int64)
        position_of[unknown] = np.arange(len(unknown))
        of_unknown = position_of[attributes.node_rows] >= 0
        values = Values(position_of[attributes.node_rows[of_unknown]], attributes.codes[of_unknown])
        surroundings = NeighbourhoodGatherer(
            item_type, model.schema, rules, attributes.names(), _MAX_NEIGHBOURS, model.edge_half_life_days
        )
        around = surroundings.gather(view, unknown.astype(np.int32), functools.partial(model.levels_of, view), values)
        places = torch.from_numpy(unknown)
        folded = model.fold_in(item_type, level_0[places], around)
        self.levels[:, places] = folded.levels
        self.vectors[places] = folded.vectors
        self.degree[places] = folded.degree
