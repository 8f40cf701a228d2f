"""Item weights by moment: made once for all requests of a moment, and kept fresh in the background."""

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from springtide.plugins.contracts import ContextWeight, Moment
from springtide.ranking.weights import Exponents, ItemWeights, bucket_of, item_weights

_MAX_KEPT = 64  # Buckets; at 100,000 items and five weights, 4 MB each.
_IDLE_S = 60.0  # A bucket that nobody asked for this long is not kept fresh.


@dataclass(slots=True)
class _Kept:
    moment: Moment
    weights: ItemWeights
    asked_s: float


class MomentCache:
    """The item weights of the moments that are asked for.

    Args:
        context_weights: What they are made of; the stream changes them all the while.
        exponents: How much each counts.
    """

    def __init__(self, context_weights: Mapping[str, ContextWeight], exponents: Exponents) -> None:
        self._context_weights = context_weights
        self._exponents = exponents
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, moment: Moment, num_items: int) -> ItemWeights:
        """Return the item weights of a moment, of ``num_items`` items or more."""
        key = bucket_of(self._context_weights, moment)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                kept.asked_s = time.monotonic()
                if len(kept.weights.new_total) >= num_items:
                    return kept.weights
        weights = item_weights(self._context_weights, self._exponents, moment, num_items)
        with self._lock:
            self._kept[key] = _Kept(moment, weights, time.monotonic())
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return weights

    def refresh(self, num_items: int) -> None:
        """Make the weights of all moments anew that were asked for lately; forget the others."""
        with self._lock:
            kept = list(self._kept.items())
        now_s = time.monotonic()
        for key, entry in kept:
            if now_s - entry.asked_s > _IDLE_S:
                with self._lock:
                    self._kept.pop(key, None)
            else:
                entry.weights = item_weights(self._context_weights, self._exponents, entry.moment, num_items)
