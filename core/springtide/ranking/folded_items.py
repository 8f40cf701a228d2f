"""Folding in the items that a model does not know, and again only those that have changed since."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_HOUR
from springtide.errors import BypassedError
from springtide.graph.edges import EdgeType
from springtide.graph.view import GraphView
from springtide.ranking.neighbourhood import Neighbourhood, NeighbourhoodGatherer, Values, links_to
from springtide.ranking.serving_model import ServingModel
from springtide.settings.interaction_rules import InteractionRules

Array = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Mark = tuple[int, int, int]

_MAX_NEIGHBOURS = 200  # A new item is folded in from its latest users; more of them change its vector little.
_FOLDED_AT_ONCE = 1_024  # Items. With 200 neighbours each, two layers and 64 numbers, their levels take 100 MB.
_AGES_HOLD_MS = MS_PER_HOUR // 6  # Edges fade: after ten minutes, items without a change are folded in again, too.


@dataclass(frozen=True, slots=True)
class FoldedItems:
    """The items that a model does not know.

    Attributes:
        unknown: int64 ``[num_unknown]``, their rows, ascending, also of those of which nothing is known.
        rows: int64 ``[num_folded]``, rows of those of which something is known, ascending.
        levels: float32 ``[num_layers, num_folded, d]``, inputs of each layer.
        marks: How far the edges of each type went.
        ages_ms: To which time the ages of edges were counted when all of them were folded in.
    """

    unknown: Int64s
    rows: Int64s
    levels: Array
    marks: Mapping[EdgeType, Mark]
    ages_ms: int

    def levels_at(self, rows: Int64s) -> Array:
        """Return the levels of some items of which something is known, float32 ``[num_layers, n, d]``."""
        return np.take(self.levels, np.searchsorted(self.rows, rows), axis=1)


@dataclass(frozen=True, slots=True)
class FreshItems:
    """Items just folded in of which something is known: rows ascending, int64 ``[n]``, with what came of it."""

    rows: Int64s
    levels: Array
    vectors: Array
    degree: Array


class ItemFolder:
    """Folds in items of one model over one view of the graph.

    Args:
        model: The model.
        view: The graph.
        rules: Which edges are interactions.
    """

    def __init__(self, model: ServingModel, view: GraphView, rules: InteractionRules) -> None:
        self._model = model
        self._view = view
        self._rules = rules
        self._nodes = view.nodes(model.item_type)
        self._links = links_to(model.item_type, model.schema, rules)
        self._newest_ms = view.newest_ms if view.newest_ms is not None else 0
        self._ages_ms = self._newest_ms

    def stale(self, unknown: Int64s, is_new: npt.NDArray[np.bool_], former: FoldedItems | None) -> Int64s:
        """Return the items that must be folded in, int64 ``[n]``, ascending: those that are not as they were.

        Args:
            unknown: int64 ``[num_unknown]``, ascending.
            is_new: bool ``[num_items]``, whether each item is another than before.
            former: The items as they were; None for all anew.
        """
        if former is None or abs(self._newest_ms - former.ages_ms) > _AGES_HOLD_MS:
            return unknown
        self._ages_ms = former.ages_ms
        is_stale = is_new.copy()
        for link in self._links:
            mark = former.marks.get(link.edge_type, (0, 0, 0))
            rows = self._view.edges(link.edge_type).changed_since(mark, is_source=link.is_outgoing)
            if rows is None:
                self._ages_ms = self._newest_ms
                return unknown
            is_stale[rows[rows < len(is_stale)]] = True
        kept = unknown[~is_stale[unknown]]
        is_stale[kept[self._have_other_inputs(kept, former)]] = True
        return unknown[is_stale[unknown]]

    def fold_in(self, rows: Int64s) -> FreshItems:
        """Fold in items, some at a time: their neighbours' levels may be many times as large as the table."""
        parts = [self._folded(rows[start : start + _FOLDED_AT_ONCE]) for start in range(0, len(rows), _FOLDED_AT_ONCE)]
        num_layers, _, width = self._model.items.levels.shape
        parts.append(_none(num_layers, width))
        return FreshItems(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.levels for part in parts], axis=1),
            np.concatenate([part.vectors for part in parts]),
            np.concatenate([part.degree for part in parts]),
        )

    def gather(self, rows: Int64s) -> tuple[Array, Neighbourhood]:
        """Return what items, int64 ``[n]``, are folded in from: level 0, float32 ``[n, d]``, and their neighbours."""
        model, item_type = self._model, self._model.item_type
        level_0, attributes = model.inputs[item_type].of_rows(self._nodes, rows)
        # To name thousands of values takes as long as folding in hundreds of items; most models need no names.
        names = attributes.names() if item_type in model.schema.value_types else ()
        gatherer = NeighbourhoodGatherer(
            item_type, model.schema, self._rules, names, _MAX_NEIGHBOURS, model.edge_half_life_days
        )
        order = np.argsort(attributes.node_rows, kind="stable")
        values = Values(attributes.node_rows[order], attributes.codes[order])
        levels_of = functools.partial(model.levels_of, self._view)
        neighbourhood = gatherer.gather(self._view, rows.astype(np.int32), levels_of, values)
        return level_0, neighbourhood

    def joined(self, unknown: Int64s, fresh: FreshItems, stale: Int64s, former: FoldedItems | None) -> FoldedItems:
        """Return all folded items: the fresh ones, and those of before that are neither stale nor gone."""
        marks = {link.edge_type: self._view.edges(link.edge_type).mark for link in self._links}
        rows, levels = fresh.rows, fresh.levels
        if former is not None:
            is_kept = np.isin(former.rows, unknown) & ~np.isin(former.rows, stale)
            if not len(fresh.rows) and is_kept.all():
                return FoldedItems(unknown, former.rows, former.levels, marks, self._ages_ms)
            rows = np.concatenate([former.rows[is_kept], rows])
            order = np.argsort(rows)
            rows = rows[order]
            levels = np.take(np.concatenate([former.levels[:, is_kept], levels], axis=1), order, axis=1)
        return FoldedItems(unknown, rows, levels, marks, self._ages_ms)

    def _have_other_inputs(self, rows: Int64s, former: FoldedItems) -> npt.NDArray[np.bool_]:
        """Return which items have other attributes than before, bool ``[n]``, by the levels 0 that come of them."""
        level_0, _ = self._model.inputs[self._model.item_type].of_rows(self._nodes, rows)
        before = np.zeros_like(level_0)
        is_known = np.isin(rows, former.rows)
        before[is_known] = former.levels[0, np.searchsorted(former.rows, rows[is_known])]
        differ: npt.NDArray[np.bool_] = (level_0.view(np.int32) != before.view(np.int32)).any(axis=1)
        return differ

    def _folded(self, rows: Int64s) -> FreshItems:
        model, item_type = self._model, self._model.item_type
        level_0, neighbourhood = self.gather(rows)
        try:
            folded = model.fold_in(item_type, level_0, neighbourhood)
        except BypassedError:  # An encoder that others wrote: these have no vector until it answers again.
            return _none(len(model.items.levels), model.items.levels.shape[2])
        # An encoder may give a node without inputs and neighbours a vector too, from its biases: it says nothing.
        is_informed = level_0.any(axis=1) | (folded.degree > 0)
        is_informed &= np.isfinite(folded.vectors).all(axis=1)
        return FreshItems(
            rows[is_informed], folded.levels[:, is_informed], folded.vectors[is_informed], folded.degree[is_informed]
        )


def _none(num_layers: int, width: int) -> FreshItems:
    nothing = np.empty((0, width), np.float32)
    return FreshItems(
        np.empty(0, np.int64), np.empty((num_layers, 0, width), np.float32), nothing, np.empty(0, np.float32)
    )
