"""All context weights together: made from settings, read at a moment, and raised to their exponents."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.graph.nodes import NodeTable
from springtide.interactions import History, ItemGroups, Moment
from springtide.model.exponents import Exponents
from springtide.plugins.contracts import ContextWeight
from springtide.plugins.loading import Plugins
from springtide.ranking.related import weighted_sum
from springtide.settings.model import PartSettings, RankingSettings
from springtide.state_snapshot import LearnedWeights

Array = npt.NDArray[np.float32]
_MIN_ORDERED, _MAX_ORDERED = 1_024, 16_384  # Items; most answers need a few hundred, and the rest is scanned otherwise.
_ROOM_SHARE, _MIN_ROOM = 64, 1_024  # Room for later items: an item of 64, or so many.
_ORDERED_SHARE = 16  # Of how many items one is in order: to look at it costs about as much as to pass sixteen by.


def make_context_weights(settings: RankingSettings, plugins: Plugins) -> dict[str, ContextWeight]:
    """Make the context weights that the settings name. They have learned nothing yet.

    Raises:
        UnknownPartError: If no plugin offers one of them.
        SettingsError: If one does not take its options.
    """
    return {
        name: plugins.make("context weight", PartSettings(name=name, options=options))
        for name, options in settings.context_weights.items()
    }


def make_grouped_weights(
    settings: RankingSettings, plugins: Plugins, items: NodeTable, num_items: int
) -> dict[str, ContextWeight]:
    """Make the context weights that the settings name. They know the items' groups, and have learned nothing yet."""
    weights = make_context_weights(settings, plugins)
    groups = item_groups(items, num_items, settings.item_groups)
    for weight in weights.values():
        weight.regroup(groups)
    return weights


def item_groups(items: NodeTable, num_items: int, names: Sequence[str]) -> ItemGroups:
    """Return the groups that items belong to, by category attributes.

    Args:
        items: The items.
        num_items: Number of items.
        names: Attributes, from the coarse to the fine; attributes that no item has are left out. If an item has several
            values, the first counts.
    """
    categories = items.categories
    known = [(name, categories[name]) for name in names if name in categories]
    return ItemGroups(
        tuple(name for name, _ in known),
        tuple(column.first_codes()[:num_items] for _, column in known),
        tuple(len(column.vocabulary) for _, column in known),
    )


def factor_names(weights: Mapping[str, ContextWeight]) -> list[tuple[str, str]]:
    """Return (weight, factor) for each factor of each weight, in the order that arrays of all factors have."""
    return [(name, factor.name) for name, weight in weights.items() for factor in weight.factors]


@dataclass(frozen=True, slots=True)
class ItemOrder:
    """The items that are wanted most at a moment, whoever asks.

    Attributes:
        rows: int32 ``[m]``, those with the highest finite totals, descending.
        highest: The highest finite total of all others; ``-inf`` if there are none.
    """

    rows: npt.NDArray[np.int32]
    highest: float

    @classmethod
    def of(cls, totals: Array) -> "ItemOrder":
        """Return the order of totals, float32 ``[num_items]``; items of equal totals are in it all, or not at all."""
        wanted = min(max(len(totals) // _ORDERED_SHARE, _MIN_ORDERED), _MAX_ORDERED)
        finite = totals if np.isfinite(totals).all() else np.where(np.isfinite(totals), totals, -np.inf)
        highest = -np.inf if len(totals) <= wanted else float(np.partition(finite, -wanted - 1)[-wanted - 1])
        rows = np.flatnonzero(finite > np.float32(highest))
        return cls(rows[np.argsort(-finite[rows], kind="stable")].astype(np.int32), highest)

    def with_later(self, totals: Array, start: int) -> "ItemOrder":
        """Return the order of these items and later ones.

        Args:
            totals: float32 ``[num_items]``; those below ``start`` are the ones that the order was made of.
            start: The first later item.
        """
        later = totals[start:]
        found = np.flatnonzero(np.isfinite(later) & (later > np.float32(self.highest)))
        if not len(found):
            return self
        found = found[np.argsort(-later[found], kind="stable")]
        # Where the next item of the order is lower: behind those of the same total, as they come later.
        at = len(self.rows) - np.searchsorted(totals[self.rows[::-1]], later[found], side="left")
        return ItemOrder(np.insert(self.rows, at, (start + found).astype(np.int32)), self.highest)


@dataclass(frozen=True, slots=True)
class ItemWeights:
    """The item side of all weights at one moment. It never changes: newer weights take its place.

    Attributes:
        names: The weights that have an item side, in the order of the rows below.
        unseen: float32 ``[num_names, num_items]``, log of each weight for unseen items.
        seen: float32 ``[num_names, num_items]``, the same for seen items.
        unseen_total: float32 ``[num_items]``, sum over the weights.
        seen_total: float32 ``[num_items]``, sum over the weights.
        boosted: What was made of these by boosts, and is to be asked for again; see ``boosts.boosted``.
    """

    names: Sequence[str]
    unseen: Array
    seen: Array
    unseen_total: Array
    seen_total: Array
    boosted: dict[int, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _order: list[ItemOrder] = field(default_factory=list, init=False, repr=False, compare=False)
    # Longer arrays, of which those above are the beginnings: later items are written behind them.
    _longer: "tuple[Array, ...]" = field(default=(), repr=False, compare=False)

    @property
    def has_order(self) -> bool:
        """Whether somebody has asked for the order."""
        return bool(self._order)

    def order(self) -> ItemOrder:
        """Return the unseen items that are wanted most; made when it is first asked for."""
        if not self._order:
            self._order.append(ItemOrder.of(self.unseen_total))
        return self._order[0]

    @property
    def num_items(self) -> int:
        """How many items they are for."""
        return len(self.unseen_total)

    def has_room_for(self, num_items: int) -> bool:
        """Return whether ``with_later`` takes as many items."""
        return bool(self._longer) and num_items <= len(self._longer[-1])

    def with_room(self) -> "ItemWeights":
        """Return the same weights with room for later items."""
        num_items = self.num_items
        room = num_items + max(num_items // _ROOM_SHARE, _MIN_ROOM)
        longer = []
        for array in self._arrays:
            longer.append(np.empty((*array.shape[:-1], room), np.float32))
            longer[-1][..., :num_items] = array
        return self._beginning_of(tuple(longer), num_items)

    def with_later(self, later: "ItemWeights") -> "ItemWeights":
        """Return the weights of these items and later ones, in the room behind these; not by two threads at once."""
        start, num_items = self.num_items, self.num_items + later.num_items
        assert self.has_room_for(num_items), "looked at by the caller"
        assert list(later.names) == list(self.names), "looked at by the caller"
        for array, of_later in zip(self._longer, later._arrays, strict=True):
            array[..., start:num_items] = of_later
        made = self._beginning_of(self._longer, num_items)
        if self._order:
            made._order.append(self._order[0].with_later(made.unseen_total, start))
        return made

    def _beginning_of(self, longer: tuple[Array, ...], num_items: int) -> "ItemWeights":
        unseen, seen, unseen_total, seen_total = (array[..., :num_items] for array in longer)
        return ItemWeights(self.names, unseen, seen, unseen_total, seen_total, longer)

    @property
    def _arrays(self) -> tuple[Array, Array, Array, Array]:
        return self.unseen, self.seen, self.unseen_total, self.seen_total


def bucket_of(weights: Mapping[str, ContextWeight], moment: Moment) -> Hashable:
    """Return a key: moments with the same key have the same item weights."""
    return tuple(weight.bucket(moment) for weight in weights.values())


def settle(weights: Mapping[str, ContextWeight]) -> None:
    """Let weights that learn from a stream take in what they still lack of it, before it is read."""
    if isinstance(weights, LearnedWeights):
        weights.settle()


class SharedWeights(LearnedWeights):
    """Context weights that several rankers read, one after the other at each moment: the lifts are made once.

    Lifts are what a weight says of a moment; the exponents, which differ from ranker to ranker, are not in them. Those
    of the latest moment are kept. Whoever changes the weights calls ``forget``.
    """

    def __init__(self, weights: Mapping[str, ContextWeight], settle: Callable[[], None]) -> None:
        super().__init__(weights, settle)
        self._moment: tuple[Moment, int] | None = None
        self._lifts: dict[str, Array | None] = {}

    def forget(self) -> None:
        """Forget the lifts, since the weights have learned something."""
        self._moment = None

    def item_log_lifts(self, name: str, moment: Moment, num_items: int) -> Array | None:
        """Return the lifts of a weight, as ``ContextWeight.item_log_lifts`` does, to be read only."""
        if self._moment != (moment, num_items):
            self._moment, self._lifts = (moment, num_items), {}
        if name not in self._lifts:
            self._lifts[name] = self[name].item_log_lifts(moment, num_items)
        return self._lifts[name]


def item_weights(
    weights: Mapping[str, ContextWeight], exponents: Exponents, moment: Moment, num_items: int, start: int = 0
) -> ItemWeights:
    """Return the item side of all weights at a moment; a weight whose exponents are all 0 costs nothing.

    Args:
        weights: By name.
        exponents: How much each factor counts.
        moment: The moment.
        num_items: The number of items.
        start: The first item that is wanted; if not 0, see ``ContextWeight.later_item_log_lifts``.
    """
    settle(weights)
    names, unseen, seen = [], [], []
    for name, weight in weights.items():
        both = np.stack([exponents.unseen.of(name, weight), exponents.seen.of(name, weight)])  # [2, num_factors]
        if not both.any():
            continue
        if start:
            lifts = weight.later_item_log_lifts(moment, start, num_items)
        elif isinstance(weights, SharedWeights):
            lifts = weights.item_log_lifts(name, moment, num_items)
        else:
            lifts = weight.item_log_lifts(moment, num_items)
        if lifts is not None:
            names.append(name)
            unseen.append(weighted_sum(both[0], lifts))
            seen.append(weighted_sum(both[1], lifts))
    none = np.zeros((0, num_items - start), np.float32)
    all_unseen, all_seen = (np.stack(unseen), np.stack(seen)) if names else (none, none)
    return ItemWeights(names, all_unseen, all_seen, all_unseen.sum(0), all_seen.sum(0))


HistoryTerms = Sequence[tuple[str, ContextWeight, Array]]
"""Name, weight, and exponents of its factors for seen items, float32 ``[num_factors]``."""


def history_terms(weights: Mapping[str, ContextWeight], exponents: Exponents) -> HistoryTerms:
    """Return the weights that have a history side and exponents other than 0."""
    terms = [(name, weight, exponents.seen.of(name, weight)) for name, weight in weights.items()]
    without = ContextWeight.history_log_lifts
    return [term for term in terms if term[2].any() and type(term[1]).history_log_lifts is not without]


def history_weights(terms: HistoryTerms, history: History, moment: Moment) -> dict[str, Array]:
    """Return, for each weight with a history side, its log for each of the user's distinct items, float32 ``[m]``."""
    items, _ = history.distinct()
    logs = {}
    for name, weight, exponent in terms:
        if (lifts := weight.history_log_lifts(history, moment)) is not None:
            assert lifts.shape == (len(weight.factors), len(items)), f"{name}: {lifts.shape} for {len(items)} items"
            logs[name] = weighted_sum(exponent, lifts)
    return logs
