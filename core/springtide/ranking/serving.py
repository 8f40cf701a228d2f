"""All that is served at one time: a model or a baseline over the live items, and the caches that belong to it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.interactions import Moment
from springtide.model.exponents import NO_EXPONENTS, Exponents, fallback_exponents
from springtide.model.fitted_weights import is_fitted, live_rows, with_fitted
from springtide.plugins.contracts import ContextWeight
from springtide.ranking.indexed_items import IndexedItems
from springtide.ranking.item_table import ItemTable
from springtide.ranking.kernels import quantise
from springtide.ranking.moment_cache import MAX_BYTES, MomentCache
from springtide.ranking.related import RelatedTerms, related_terms
from springtide.ranking.serving_baseline import BaselineTable, Served, ServingBaseline
from springtide.ranking.users import Users
from springtide.ranking.weights import HistoryTerms, history_terms
from springtide.settings.interaction_rules import InteractionRules

Coarse = tuple[npt.NDArray[np.int8], npt.NDArray[np.float32], npt.NDArray[np.float32]]
_MIN_COARSE = 10_000  # Vectors: to look at fewer takes less than a tenth of a millisecond.
_WEIGHTED_SHARE = 16  # Of the bytes of item weights, what those of one set of a variant's weights may take.
_COARSE_SHARE = 8  # A coarse look at all takes as long as a close look at an eighth of them, in the order they come to.


class UnrankedRows:
    """Remembers the rows of items that are not what is served: looking for them takes time in proportion to all."""

    def __init__(self) -> None:
        self._found: tuple[tuple[str, int, int], npt.NDArray[np.int32]] | None = None

    def rows(self, items: NodeTable, num_reuses: int, num_items: int) -> npt.NDArray[np.int32]:
        """Return rows of forgotten items, and those that were given to others since, int32 ``[n]``, ascending.

        Args:
            items: The items.
            num_reuses: How many rows had been given away when what is served was made.
            num_items: Only rows below it.
        """
        key = (items.ids_lineage, num_reuses, num_items)  # Before the rows: a change in between is looked at again.
        found = self._found
        if found is not None and found[0][:2] == key[:2] and found[0][2] < num_items:
            self._found = found = key, found[1]  # Items were added, none of them forgotten.
        if found is None or found[0] != key:
            ids = items.ids
            rows = np.union1d(ids.reused_since(num_reuses, num_items), ids.forgotten_rows(num_items))
            self._found = found = key, rows.astype(np.int32)
        return found[1]


class CoarseVectors:
    """A table's vectors in whole numbers, a quarter of their size, once requests have had to look at many of them.

    A look at these is enough to leave most items out, where the values of the moment leave out few. They are made in
    the background.

    Args:
        vectors: float32 ``[num_items, d]``.
        is_wanted: Whether requests had to look at many vectors of the table before.
    """

    def __init__(self, vectors: npt.NDArray[np.float32], *, is_wanted: bool = False) -> None:
        self.made: Coarse | None = None
        self._vectors = vectors
        self.is_wanted = is_wanted

    def note(self, num_scanned: int) -> None:
        """Take note of how many vectors a request has looked at."""
        if num_scanned > _MIN_COARSE and _COARSE_SHARE * num_scanned > len(self._vectors):
            self.is_wanted = True

    def refresh(self) -> None:
        """Make them if they are wanted. To be called by a background thread."""
        if self.is_wanted and self.made is None:
            self.made = quantise(np.ascontiguousarray(self._vectors))


@dataclass(frozen=True, slots=True)
class FittedWeights:
    """The context weights that speak by what the training of a model has learned.

    Attributes:
        item_rows: int32 ``[num_model_items]``, the live row of each of the model's items; -1 for none.
        all_weights: All context weights by name: these, and the stream's others.
    """

    item_rows: npt.NDArray[np.int32]
    all_weights: Mapping[str, ContextWeight]


@dataclass(frozen=True, slots=True)
class Serving:
    """All that is served at one time. It is replaced as a whole, so a request sees one version of everything.

    Attributes:
        table: The live items' vectors; None without a model.
        baseline: The live items as a baseline knows them; None without a baseline. Without both, the fallback serves.
        exponents: How much each term of a score counts.
        moments: The cache of item weights.
        users: The cache of users.
        history_terms: The context weights that look at a user's history, with their exponents.
        related_terms: Those that say something of items that are not in it, with their exponents.
        fitted: The context weights that speak by what the model's training learned; None if there are none.
        longest: Length of the longest of the table's vectors; 0 without a table.
        unranked: The rows of items that are not in it.
        coarse: The table's vectors, coarsely; None without a table.
        index: An index of the table; None if answers are found without one.
    """

    table: ItemTable | None
    baseline: BaselineTable | None
    exponents: Exponents
    moments: MomentCache
    users: Users
    history_terms: HistoryTerms
    related_terms: RelatedTerms = ()
    fitted: FittedWeights | None = None
    longest: float = 0.0
    unranked: UnrankedRows = field(default_factory=UnrankedRows)
    coarse: CoarseVectors | None = None
    index: IndexedItems | None = None

    @property
    def version(self) -> str:
        """Registry version of the model or the baseline; empty for the fallback."""
        if self.baseline is not None:
            return self.baseline.baseline.version
        return "" if self.table is None else self.table.model.version

    def num_items(self, view: GraphView, item_type: str) -> int:
        """Return how many items are ranked, forgotten ones included: those of the table, or of the view without one."""
        table = self.baseline or self.table
        return view.num_nodes(item_type) if table is None else table.num_items

    def num_reuses(self, items: NodeTable) -> int:
        """Return how many rows of forgotten items had been given to others when this was made; without a table, now."""
        table = self.baseline or self.table
        return items.ids.num_reuses if table is None else table.num_reuses


class ServingMaker:
    """Makes what is served, over one stream's context weights.

    Args:
        context_weights: By name.
        rules: The interaction rules.
        max_history: Latest interactions of a user that are looked at, for each relation.
        clock_s: A monotonic clock, in seconds, for the caches of item weights.
    """

    def __init__(
        self,
        context_weights: Mapping[str, ContextWeight],
        rules: InteractionRules,
        max_history: int,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context_weights = context_weights
        self._rules = rules
        self._max_history = max_history
        self._clock_s = clock_s

    def make(self, served: Served | None, view: GraphView, moments: Sequence[Moment] = ()) -> Serving:
        """Return what serves a model or a baseline; None for the fallback.

        Args:
            served: The model, the baseline or None.
            view: The graph.
            moments: Whose item weights are made at once, so that no request waits for them; no users are cached yet.
        """
        if isinstance(served, ServingBaseline):
            users = Users(self._rules, self._max_history, None)
            none = MomentCache(self._context_weights, NO_EXPONENTS, clock_s=self._clock_s)
            return Serving(None, BaselineTable.build(served, view), NO_EXPONENTS, none, users, ())
        exponents = fallback_exponents(self._context_weights) if served is None else served.exponents
        table = None if served is None else ItemTable.build(served, view, self._rules)
        users = Users(self._rules, self._max_history, served)
        fitted = None if table is None else self._fitted(table, None)
        weights = self._context_weights if fitted is None else fitted.all_weights
        terms = history_terms(weights, exponents)
        cache = MomentCache(self._context_weights, exponents, clock_s=self._clock_s, grows=served is None)
        cache.warm(moments, view.num_nodes(self._rules.item_type))
        made = Serving(table, None, exponents, cache, users, terms, related_terms(weights, exponents), fitted)
        return made if table is None else replace(made, longest=table.longest, coarse=CoarseVectors(table.vectors))

    def weighted(self, serving: Serving, exponents: Exponents, former: Serving | None = None) -> Serving:
        """Return what serves the same model or fallback with other exponents; it shares all but the item weights.

        Args:
            serving: The model or the fallback.
            exponents: How much each term counts.
            former: What was made of an earlier state of the same with these exponents; its item weights stay.
        """
        if former is not None:
            cache = former.moments
        else:
            max_bytes, grows = MAX_BYTES // _WEIGHTED_SHARE, serving.table is None
            cache = MomentCache(
                self._context_weights, exponents, max_bytes=max_bytes, clock_s=self._clock_s, grows=grows
            )
        if former is not None and former.fitted is serving.fitted:
            terms, related = former.history_terms, former.related_terms
        else:
            weights = self._context_weights if serving.fitted is None else serving.fitted.all_weights
            terms, related = history_terms(weights, exponents), related_terms(weights, exponents)
        return replace(serving, exponents=exponents, moments=cache, history_terms=terms, related_terms=related)

    def refreshed(self, serving: Serving, view: GraphView) -> Serving:
        """Return what is served with the items as they are now; the same object if nothing has changed."""
        table, baseline = serving.table, serving.baseline
        if baseline is not None and baseline.is_outdated(view):
            return replace(serving, baseline=BaselineTable.build(baseline.baseline, view))
        if table is not None and table.is_outdated(view):
            fresh = ItemTable.build(table.model, view, self._rules, table)
            serving = self._refitted(serving, fresh)
            if fresh.vectors is table.vectors:
                return replace(serving, table=fresh)
            # Cached users have vectors that came from the items of the old table.
            users = Users(self._rules, self._max_history, table.model)
            is_wanted = serving.coarse is not None and serving.coarse.is_wanted
            coarse = CoarseVectors(fresh.vectors, is_wanted=is_wanted)
            coarse.refresh()  # Here, so that no request does without.
            return replace(serving, table=fresh, users=users, longest=fresh.longest, coarse=coarse)
        if serving.coarse is not None:
            serving.coarse.refresh()
        return serving

    def _fitted(self, table: ItemTable, former: FittedWeights | None) -> FittedWeights | None:
        """Return the weights that speak by what the model has learned; the former ones if its items have the same rows.

        None if no weight has learned anything.
        """
        model = table.model
        if not any(name in model.fitted and is_fitted(weight) for name, weight in self._context_weights.items()):
            return None
        rows = live_rows(table.model_rows, len(model.items.vectors))
        if former is not None and np.array_equal(former.item_rows, rows):
            return former
        return FittedWeights(rows, with_fitted(self._context_weights, model.fitted, rows))

    def _refitted(self, serving: Serving, table: ItemTable) -> Serving:
        """Return what is served, with the fitted weights as the items of a new table need them."""
        fitted = self._fitted(table, serving.fitted)
        if fitted is None or fitted is serving.fitted:
            return serving
        weights, exponents = fitted.all_weights, serving.exponents
        terms, related = history_terms(weights, exponents), related_terms(weights, exponents)
        return replace(serving, history_terms=terms, related_terms=related, fitted=fitted)
