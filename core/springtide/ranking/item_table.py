"""The items as they are ranked: every live item's vector, the model's own or one folded in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from springtide.graph.applying import ITEM, USER
from springtide.graph.view import GraphView
from springtide.ranking.serving_model import ServingModel
from springtide.training.graph import Attributes, pair_weight

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
        has_id: bool ``[num_items]``, false for items that were forgotten.
        num_edges: Edges in the graph when the folded ones were made.
        ids_lineage: Of the ids at that time; another one when an item was forgotten since.
    """

    model: ServingModel
    model_rows: npt.NDArray[np.int64]
    levels: Tensor
    vectors: Tensor
    degree: Tensor
    has_id: npt.NDArray[np.bool_]
    num_edges: int
    ids_lineage: str

    @classmethod
    def build(cls, model: ServingModel, view: GraphView, relations: Sequence[str]) -> "ItemTable":
        """Line the model's items up with the live ones, and fold in those that it does not know.

        Args:
            model: The model.
            view: The graph.
            relations: Of the positive interactions.
        """
        ids_lineage = view.nodes(ITEM).ids_lineage  # Before the ids: what is forgotten between is looked at again.
        ids = view.nodes(ITEM).ids.all_ids()[: view.num_nodes(ITEM)]
        row_of = model.items.row_of
        model_rows = np.fromiter((row_of.get(item_id, -1) for item_id in ids), np.int64, len(ids))
        # Row -1 of the model's tables stands in for unknown items until they are folded in below.
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
        table = cls(
            model,
            model_rows,
            levels,
            vectors,
            degree,
            np.fromiter((bool(item_id) for item_id in ids), bool, len(ids)),
            view.num_edges,
            ids_lineage,
        )
        table._fold_in_unknown(view, relations)
        return table

    def _fold_in_unknown(self, view: GraphView, relations: Sequence[str]) -> None:
        unknown = np.flatnonzero(self.model_rows < 0)
        if len(unknown) == 0:
            return
        attributes = Attributes.of(view.nodes(ITEM), len(self.model_rows), self.model.items.attribute_values)
        level_0 = self.model.items.of_attributes(attributes)[torch.from_numpy(unknown)]
        positions, users, totals = _neighbours(view, relations, unknown.astype(np.int32))
        user_ids = view.nodes(USER).ids.ids(users)
        user_rows = np.fromiter(
            (self.model.users.row_of.get(user_id, -1) for user_id in user_ids), np.int64, len(users)
        )
        is_known = user_rows >= 0
        known_rows = torch.from_numpy(user_rows[is_known])
        folded = self.model.fold_in(
            level_0,
            torch.from_numpy(positions[is_known]),
            torch.from_numpy(pair_weight(totals[is_known]).astype(np.float32)),
            self.model.users.levels[:, known_rows],
            self.model.users.degree[known_rows],
        )
        places = torch.from_numpy(unknown)
        self.levels[:, places] = folded.levels
        self.vectors[places] = folded.vectors
        self.degree[places] = folded.degree


def _neighbours(
    view: GraphView, relations: Sequence[str], item_rows: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Return, for each pair of an item and one of its latest users: position of the item, user row, total weight."""
    positions = [np.zeros(0, np.int64)]
    users = [np.zeros(0, np.int32)]
    weights = [np.zeros(0, np.float32)]
    for relation in relations:
        found = view.edges((USER, relation, ITEM)).recent_sources(item_rows, _MAX_NEIGHBOURS)
        position, column = np.nonzero(found.rows >= 0)
        positions.append(position)
        users.append(found.rows[position, column])
        weights.append(found.weights[position, column])
    keys = np.concatenate(positions) * 2**32 + np.concatenate(users)
    pairs, inverse = np.unique(keys, return_inverse=True)
    totals = np.bincount(inverse, np.concatenate(weights), minlength=len(pairs)).astype(np.float64)
    return pairs // 2**32, (pairs % 2**32).astype(np.int32), totals
