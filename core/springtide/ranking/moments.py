"""Item weights by moment: made once for all requests of a moment, and kept fresh in the background."""

import math
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from springtide.interactions import Moment
from springtide.model.exponents import Exponents
from springtide.plugins.contracts import ContextWeight
from springtide.ranking.weights import ItemWeights, bucket_of, item_weights

MAX_BYTES = 512 * 2**20  # With four weights, 134 hours, places and weathers at 100,000 items; 13 at a million.
_MOMENT_BYTES = 4096  # Of a moment beside its arrays, about: where items are few, these are what takes room.
_MIN_KEPT = 4  # Moments, however large: the hour, the next one, and two that somebody asks about.
_IDLE_S = 60.0  # A moment that nobody asked for this long is not kept.
_STALE_S = 15.0  # Older weights are made anew when they are asked for: the stream changes them slowly.
_REFRESH_S = 0.5  # Of a refresh, which comes every second: the stream goes on beside it, on the same few cores.


@dataclass(slots=True)
class _Kept:
    moment: Moment
    weights: ItemWeights
    made_s: float
    asked_s: float

    @property
    def num_bytes(self) -> int:
        of = self.weights
        return _MOMENT_BYTES + of.unseen.nbytes + of.seen.nbytes + of.unseen_total.nbytes + of.seen_total.nbytes


class MomentCache:
    """The item weights of the moments that are asked for.

    Those asked for last are kept, as many as fit. Each refresh makes anew what it has the time for, first what was
    asked for last; the others get older, and are made when they are asked for again if they are older than
    ``stale_s``. So requests of a few moments, which is most of them, never wait, and neither do those of many for long.

    Args:
        context_weights: What they are made of; the stream changes them all the while.
        exponents: How much each counts.
        max_bytes: How much is kept, in bytes.
        stale_s: How old weights may be that are given out, in seconds, unless they were refreshed.
        refresh_s: How many seconds a refresh takes, at most, and then what it has begun.
        clock_s: Seconds that never run backwards.
    """

    def __init__(
        self,
        context_weights: Mapping[str, ContextWeight],
        exponents: Exponents,
        *,
        max_bytes: int = MAX_BYTES,
        stale_s: float = _STALE_S,
        refresh_s: float = _REFRESH_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context_weights = context_weights
        self._exponents = exponents
        self._max_bytes = max_bytes
        self._stale_s = stale_s
        self._refresh_s = refresh_s
        self._clock_s = clock_s
        self._kept: dict[Hashable, _Kept] = {}  # The one asked for last comes last.
        self._num_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many moments are kept."""
        return len(self._kept)

    def at(self, moment: Moment, num_items: int, *, keep_in_cache: bool = True) -> ItemWeights:
        """Return the item weights of a moment.

        Args:
            moment: The moment.
            num_items: Of as many items, or more.
            keep_in_cache: Whether others will ask for the moment too; the next refresh drops all other moments.
        """
        key = bucket_of(self._context_weights, moment)
        now_s = self._clock_s()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                if keep_in_cache:
                    self._kept[key] = self._kept.pop(key)
                    kept.asked_s = now_s
                if now_s - kept.made_s <= self._stale_s and len(kept.weights.unseen_total) >= num_items:
                    return kept.weights
        weights = item_weights(self._context_weights, self._exponents, moment, num_items)
        asked_s = now_s if keep_in_cache else -math.inf if kept is None else kept.asked_s
        self._keep(key, _Kept(moment, weights, now_s, asked_s))
        return weights

    def refresh(self, num_items: int) -> None:
        """Make the weights of moments anew that were asked for lately, the latest first; forget the idle ones."""
        start_s = self._clock_s()
        with self._lock:
            for key in [key for key, kept in self._kept.items() if start_s - kept.asked_s > _IDLE_S]:
                self._forget(key)
            latest_first = list(reversed(self._kept.items()))
        for key, kept in latest_first:
            now_s = self._clock_s()
            if now_s - start_s >= self._refresh_s:
                break
            weights = item_weights(self._context_weights, self._exponents, kept.moment, num_items)
            with self._lock:
                if self._kept.get(key) is kept:  # Else it was forgotten meanwhile, or made anew.
                    self._num_bytes -= kept.num_bytes
                    kept.weights, kept.made_s = weights, now_s
                    self._num_bytes += kept.num_bytes
        with self._lock:
            self._make_room()  # Items may have come.

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        with self._lock:
            if key in self._kept:
                self._forget(key)
            self._kept[key] = kept
            self._num_bytes += kept.num_bytes
            self._make_room()

    def _forget(self, key: Hashable) -> None:
        self._num_bytes -= self._kept.pop(key).num_bytes

    def _make_room(self) -> None:
        """Forget what was asked for longest ago until the rest fits."""
        while self._num_bytes > self._max_bytes and len(self._kept) > _MIN_KEPT:
            self._forget(next(iter(self._kept)))
