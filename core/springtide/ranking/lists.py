"""Lists that are ranked by something else than all terms of a score: what rises, is new, or goes with a basket."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.errors import SettingsError
from springtide.graph.applying import USER
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import ContextWeight
from springtide.ranking.attribute_values import attributes_of
from springtide.ranking.filters import came_since
from springtide.ranking.query import AttributeValue, Extras, Query, RankedItems, Ranking
from springtide.ranking.scoring import Scorer
from springtide.ranking.serving import Serving, ServingMaker
from springtide.ranking.similar_users import SimilarUsers
from springtide.ranking.top_k import best_of

TREND, POPULARITY = "trend", "popularity"
"""The context weights that lists are ranked by."""

# The lift of what is rare is as high as that of what is popular, and says less: by the square root of the popularity it
# is as significant as the difference from what was expected.
_POPULARITY_OF_TREND = 0.5
# What goes with a basket, beside the terms of a known user and the popularity, by hit rate of a left-out item on the
# Complete Journey (record 0019).
_TOGETHER_OF_KNOWN, _TOGETHER_OF_UNKNOWN = 0.25, 1.0
_POPULARITY_OF_BASKET = 0.75
_NO_COSINE = 1e-6  # Such a factor leaves the order of cosines where all else is equal.


class Reweighted:
    """Holds what ranks by other exponents than the model's; any thread may ask, and one refreshes.

    Args:
        maker: Makes what is served.
        exponents_of: Returns the exponents, given what is served; the fallback where a baseline is.
    """

    def __init__(self, maker: ServingMaker, exponents_of: Callable[[Serving], Exponents]) -> None:
        self._maker = maker
        self._exponents_of = exponents_of
        self._made: tuple[Serving, Serving] | None = None  # What it was made of, and itself.
        self._lock = threading.Lock()

    def scorer(self, scorer: Scorer) -> Scorer:
        """Return what scores by the exponents, over the same graph and steering.

        Args:
            scorer: What scores by all terms. Of a baseline, nothing is taken.
        """
        base, made = scorer.serving, self._made
        if made is None or made[0] is not base:
            with self._lock:
                former = self._made
                model = self._maker.make(None, scorer.view) if base.baseline is not None else base
                exponents = self._exponents_of(model)
                kept = former[1] if former is not None and former[1].exponents == exponents else None
                self._made = made = base, self._maker.weighted(model, exponents, kept)
        return replace(scorer, serving=made[1])

    def refresh(self, num_items: int, now_ms: int | None) -> None:
        """Compute the weights of recent moments again; to be called every second or so by a background thread."""
        if (made := self._made) is not None:
            made[1].moments.refresh(num_items, now_ms)


def _all_alike(
    weights: Mapping[str, ContextWeight], model: Serving, sums: Mapping[str, float], cosine: float
) -> Exponents:
    """Return exponents that are the same for seen and unseen items.

    Args:
        weights: The context weights.
        model: Gives those of dislikes.
        sums: By weight, the sum of the exponents of its factors, which are all alike; weights that are not there are
            left out.
        cosine: Factor of the cosine.
    """
    by_name = {
        name: {factor.name: total / len(weights[name].factors) for factor in weights[name].factors}
        for name, total in sums.items()
        if name in weights
    }
    return replace(model.exponents, unseen=TermExponents(cosine, by_name), seen=TermExponents(cosine, by_name))


def newest(scorer: Scorer, query: Query) -> Ranking:
    """Rank the items that came since the query's ``came_since_ms``, the newest first; no user matters.

    The score is the item's age in days, below 0.

    Args:
        scorer: Whatever is served, it says which items there are.
        query: Says what is left out, and since when items are new.

    Raises:
        InvalidRequestError: If the query names something unknown.
    """
    bound, num_items = scorer.bind(query), scorer.num_items
    first_ms = scorer.items.lifetimes.all_first_ms(num_items)
    is_new = came_since(scorer.items, query, num_items)
    ages_ms = np.maximum(bound.moment.timestamp_ms - np.where(is_new, first_ms, 0), 0)
    scores = np.where(is_new, -ages_ms / MS_PER_DAY, -np.inf).astype(np.float32)
    scorer.mask_unknown(scores)
    scorer.mask_lifeless(scores)
    bound.mask(scores)
    [(rows, ids)] = best_of(scores[np.newaxis], [bound.count], scorer.items.ids)
    zeros = np.zeros(len(rows), np.float32)
    items = RankedItems(ids, scores[rows], zeros, (), np.empty((len(rows), 0), np.float32))
    attributes = _attributes(scorer, query, rows.astype(np.int32))
    return Ranking(items, "context_only", "", Extras(attributes) if attributes else None)


def _attributes(scorer: Scorer, query: Query, rows: npt.NDArray[np.int32]) -> Sequence[Mapping[str, AttributeValue]]:
    """Return the attributes of some items that a query or its scenario wants."""
    merged = scorer.steered.merged(query).steering
    if query.steering is None or merged is None or not merged.include_attributes:
        return ()
    is_lenient = not query.steering.include_attributes
    return attributes_of(scorer.items, rows, merged.include_attributes, is_lenient=is_lenient)


class Lists:
    """All lists of one ranker. Any thread may call any method.

    Args:
        maker: Makes what is served.
        context_weights: By name.
        scorer: Returns what scores items now.
        rank: Returns the answer to a query by a scorer.
    """

    def __init__(
        self,
        maker: ServingMaker,
        context_weights: Mapping[str, ContextWeight],
        scorer: Callable[[], Scorer],
        rank: Callable[[Scorer, Query], Ranking],
    ) -> None:
        self._context_weights = context_weights
        self._trending = Reweighted(maker, self._trend_exponents)
        self._by_basket = Reweighted(maker, self._basket_exponents)
        self._similar_users = SimilarUsers()
        self._scorer = scorer
        self._rank = rank

    def refresh(self, num_items: int, now_ms: int | None) -> None:
        """Bring what is kept up to date; to be called every second or so by a background thread."""
        self._trending.refresh(num_items, now_ms)
        self._by_basket.refresh(num_items, now_ms)

    def trending(self, query: Query) -> Ranking:
        """Rank what rises, for all or for the user of a query.

        An item's score is the mean logarithm of its trend's lifts, which are shrunk where few interactions tell, plus
        half the logarithm of its popularity; for a user, plus the cosine as the served model weighs it.

        Raises:
            InvalidRequestError: If the query names something unknown.
            SettingsError: If no context weight knows trends.
        """
        return self._rank(self._trending.scorer(self._scorer()), query)

    def next_items(self, query: Query) -> Ranking:
        """Rank what goes with the recent items of a query.

        For a known user it counts beside all terms of the score; else by popularity, and by nothing else.

        Raises:
            InvalidRequestError: If the query names something unknown.
        """
        scorer = self._scorer()
        is_known = bool(query.user_id) and scorer.view.nodes(USER).ids.row(query.user_id) >= 0
        if is_known and scorer.serving.baseline is None:
            return self._rank(scorer, replace(query, goes_together=_TOGETHER_OF_KNOWN))
        return self._rank(self._by_basket.scorer(scorer), replace(query, goes_together=_TOGETHER_OF_UNKNOWN))

    def newest(self, query: Query) -> Ranking:
        """Rank what has come lately, the newest first; see ``newest``.

        Raises:
            InvalidRequestError: If the query names something unknown.
        """
        return newest(self._scorer(), query)

    def similar_users(self, query: Query) -> tuple[list[tuple[str, float]], str]:
        """Return the users nearest to the user of a query, and the model's version; see ``SimilarUsers.find``.

        Raises:
            InvalidRequestError: If the query names something unknown.
            ModelError: If no model is served.
        """
        scorer = self._scorer()
        return self._similar_users.find(scorer, query), scorer.version

    def attributes(self, ids: Sequence[str], query: Query) -> Sequence[Mapping[str, AttributeValue]]:
        """Return the attributes of some items that a query or its scenario wants; none at all if it wants none.

        Raises:
            InvalidRequestError: If no item has an attribute of a name.
        """
        if query.steering is None:
            return ()
        scorer = self._scorer()
        return _attributes(scorer, query, scorer.items.ids.rows(ids))

    def _trend_exponents(self, model: Serving) -> Exponents:
        if TREND not in self._context_weights:
            names = ", ".join(self._context_weights) or "none"
            raise SettingsError(f"ranking.context_weights: what rises is told by {TREND!r}, and there are {names}")
        sums = {TREND: 1.0, POPULARITY: _POPULARITY_OF_TREND}
        return _all_alike(self._context_weights, model, sums, model.exponents.unseen.cosine)

    def _basket_exponents(self, model: Serving) -> Exponents:
        return _all_alike(self._context_weights, model, {POPULARITY: _POPULARITY_OF_BASKET}, _NO_COSINE)
