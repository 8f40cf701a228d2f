"""Item weights by moment: computed once for all requests of a moment, and refreshed in the background."""

import math
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace

from springtide.clock import MS_PER_SECOND
from springtide.interactions import Moment
from springtide.model.exponents import Exponents
from springtide.plugins.contracts import ContextWeight
from springtide.ranking.weights import ItemWeights, bucket_of, item_weights

MAX_BYTES = 512 * 2**20  # With four weights, 134 moments at 100,000 items, and 13 at a million.
_MOMENT_BYTES = 4096  # Objects of one moment without their array data, about; most of its size if items are few.
_MIN_CACHED = 4  # Moments that stay, however large: this hour, the next one, and two that somebody asks about.
_IDLE_S = 60.0  # A moment that nobody asked for this long leaves the cache.
_STALE_S = 15.0  # Older weights are computed again when they are asked for: the stream changes them slowly.
_REFRESH_S = 0.5  # Time limit of a refresh, which runs every second beside the ingest, on the same few cores.
_REFRESHED_SHARE = 0.02  # Of the time, for each moment: the weights of a million items take a tenth of a second.
_AHEAD_MS = 30 * MS_PER_SECOND  # The next hour's weights are made so long before it begins.
_NOW_MS = 300 * MS_PER_SECOND  # Whoever asks for a moment this close to now will ask for the next hour, too.
_MIN_EXTENDED = 16_384  # Items; the weights of fewer are computed in a millisecond, and are newer then.
_WARMED_S = 2.0  # Time limit of making the moments of what was served before: a new model waits for them.


@dataclass(slots=True)
class _Cached:
    moment: Moment
    weights: ItemWeights
    made_s: float
    used_s: float
    latest_ms: int  # The latest moment that was asked for.
    took_s: float = 0.0

    @property
    def num_bytes(self) -> int:
        weights = self.weights
        arrays = (weights.unseen, weights.seen, weights.unseen_total, weights.seen_total)
        return _MOMENT_BYTES + sum(array.nbytes for array in arrays)


class MomentCache:
    """A cache of item weights by moment. The least recently used moments leave it first.

    Each refresh computes the weights again, the most recently used first, until its time is up; those that take long
    are computed less often. It also makes the weights of now and of the next hour before anybody asks. So requests for
    few moments, which most requests are, never wait. Weights that no refresh came to get older. A request that finds
    them older than ``stale_s`` computes them again; if the background has refreshed anything since, only at twice that.

    Args:
        context_weights: By name; the stream goes on changing them.
        exponents: How much each factor counts.
        max_bytes: Size of the cache, in bytes.
        stale_s: Maximum age of returned weights, in seconds.
        refresh_s: Seconds after which a refresh begins no further moment.
        clock_s: A monotonic clock, in seconds.
        grows: Whether requests may ask for more items than the last refresh was told of. Of a large catalogue, only the
            weights of the new ones are computed then, beside those that are kept.
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
        grows: bool = False,
    ) -> None:
        self._context_weights = context_weights
        self._exponents = exponents
        self._max_bytes = max_bytes
        self._stale_s = stale_s
        self._refresh_s = refresh_s
        self._clock_s = clock_s
        self._grows = grows and all(map(_adds_later, _with_items(context_weights, exponents)))
        self._cached: dict[Hashable, _Cached] = {}  # The most recently used last.
        self._num_bytes = 0
        self._span_ms = _span_ms(context_weights)
        self._refreshed_s = -math.inf
        self._latest: tuple[int, Hashable] = (-1, None)  # The latest span that was asked for, and its key.
        self._lock = threading.Lock()
        self._extending = threading.Lock()  # For the tenth of a millisecond in which a few items are added.

    def __len__(self) -> int:
        """Return how many moments are cached."""
        return len(self._cached)

    def at(self, moment: Moment, num_items: int, *, keep_in_cache: bool = True) -> ItemWeights:
        """Return the item weights of a moment.

        Args:
            moment: The moment.
            num_items: The least number of items that the weights are for.
            keep_in_cache: Whether the moment is likely to be asked for again; if not, the next refresh drops it.
        """
        key, extended = self._key_of(moment), None
        now_s = self._clock_s()
        with self._lock:
            cached = self._cached.get(key)
            if cached is not None:
                if keep_in_cache:
                    self._cached[key] = self._cached.pop(key)
                    cached.used_s, cached.latest_ms = now_s, moment.timestamp_ms
                is_refreshed = now_s - self._refreshed_s <= self._stale_s
                oldest_s = 2 * self._stale_s if is_refreshed else self._stale_s
                if now_s - cached.made_s <= oldest_s:
                    if cached.weights.num_items >= num_items:
                        return cached.weights
                    extended = cached
        if extended is not None and (weights := self._extended(extended, num_items)) is not None:
            return weights
        used_s = now_s if keep_in_cache else -math.inf if cached is None else cached.used_s
        return self._make(key, moment, num_items, used_s).weights

    def _extended(self, cached: _Cached, num_items: int) -> ItemWeights | None:
        """Add the weights of later items to those of a moment; None if all must be computed."""
        with self._extending:
            weights = cached.weights
            if weights.num_items >= num_items:  # Another thread has added them meanwhile.
                return weights
            if not weights.has_room_for(num_items):
                return None
            later = item_weights(self._context_weights, self._exponents, cached.moment, num_items, weights.num_items)
            if list(later.names) != list(weights.names):  # One has learned something for the first time.
                return None
            longer = weights.with_later(later)
            with self._lock:
                if cached.weights is weights:  # Else a refresh has replaced them, which is as good.
                    before = cached.num_bytes
                    cached.weights = longer
                    if any(each is cached for each in self._cached.values()):
                        self._num_bytes += cached.num_bytes - before
            return longer

    def _weights_of(self, moment: Moment, num_items: int) -> ItemWeights:
        weights = item_weights(self._context_weights, self._exponents, moment, num_items)
        return weights.with_room() if self._grows and num_items >= _MIN_EXTENDED else weights

    def _make(self, key: Hashable, moment: Moment, num_items: int, used_s: float) -> _Cached:
        """Compute the weights of a moment, and keep them."""
        made_s = self._clock_s()
        weights = self._weights_of(moment, num_items)
        made = _Cached(moment, weights, made_s, used_s, moment.timestamp_ms, self._clock_s() - made_s)
        self._cache(key, made)
        return made

    def warm(self, moments: Iterable[Moment], num_items: int) -> None:
        """Make the weights of moments that are likely to be asked for, in their order, for two seconds at most."""
        start_s = self._clock_s()
        for moment in moments:
            if self._clock_s() - start_s >= _WARMED_S:
                break
            key = self._key_of(moment)
            if key not in self._cached:
                self._make(key, moment, num_items, self._clock_s()).weights.order()

    def recent(self) -> list[Moment]:
        """Return the moments that were asked for of late, the last one first."""
        with self._lock:
            latest_first = list(reversed(self._cached.values()))
        return [replace(cached.moment, timestamp_ms=cached.latest_ms) for cached in latest_first]

    def _key_of(self, moment: Moment) -> Hashable:
        """Return ``bucket_of`` the moment; the weights need not be asked again within a span of plain moments."""
        if not self._span_ms or moment.place or moment.weather or moment.attributes:
            return bucket_of(self._context_weights, moment)
        span, key = moment.timestamp_ms // self._span_ms, self._latest
        if key[0] != span or key[1] is None:
            self._latest = key = span, bucket_of(self._context_weights, moment)
        return key[1]

    def refresh(self, num_items: int, now_ms: int | None = None) -> None:
        """Compute the weights of recent moments again, the most recently used first; drop idle moments.

        Args:
            num_items: Number of items.
            now_ms: The time; its moment stays in the cache, whoever asks, and the next one is made in time. None if
                requests ask for no time in particular.
        """
        self._refreshed_s = start_s = self._clock_s()
        kept = [] if now_ms is None else self._make_upcoming(num_items, now_ms)
        with self._lock:
            for key in [key for key, cached in self._cached.items() if start_s - cached.used_s > _IDLE_S]:
                if key not in kept:
                    self._drop(key)
            latest_first = list(reversed(self._cached.items()))
        for key, cached in latest_first:
            now_s = self._clock_s()
            if now_s - start_s >= self._refresh_s:
                break
            is_idle = now_s - cached.used_s > _IDLE_S
            if cached.weights.num_items >= num_items and now_s - cached.made_s < self._rest_s(cached, is_idle):
                continue
            weights = self._weights_of(cached.moment, num_items)
            if cached.weights.has_order:
                weights.order()  # Here, so that no request waits for it.
            took_s = self._clock_s() - now_s
            with self._lock:
                if self._cached.get(key) is cached:  # Else it was dropped or replaced meanwhile.
                    self._num_bytes -= cached.num_bytes
                    cached.weights, cached.made_s, cached.took_s = weights, now_s, took_s
                    self._num_bytes += cached.num_bytes
        with self._lock:
            self._make_room()  # New items make the weights larger.

    def _rest_s(self, cached: _Cached, is_idle: bool) -> float:
        """Return for how long weights are left as they are: not until they are stale."""
        longest_s = self._stale_s / 2
        return longest_s if is_idle else min(cached.took_s / _REFRESHED_SHARE, longest_s)

    def _make_upcoming(self, num_items: int, now_ms: int) -> list[Hashable]:
        """Make the weights of now, and of where those who ask for now will be soon; return the keys of both for all."""
        start_s, soon_ms = self._clock_s(), now_ms + _AHEAD_MS
        with self._lock:
            asked = [
                cached.moment
                for cached in self._cached.values()
                if start_s - cached.used_s <= _IDLE_S and abs(cached.latest_ms - now_ms) <= _NOW_MS
            ]
        kept = [Moment(now_ms), Moment(soon_ms)]
        for moment in [*kept, *(replace(moment, timestamp_ms=soon_ms) for moment in reversed(asked))]:
            key = bucket_of(self._context_weights, moment)
            if key not in self._cached and self._clock_s() - start_s < self._refresh_s:
                self._make(key, moment, num_items, -math.inf if moment in kept else start_s).weights.order()
        return [bucket_of(self._context_weights, moment) for moment in kept]

    def _cache(self, key: Hashable, cached: _Cached) -> None:
        with self._lock:
            if key in self._cached:
                self._drop(key)
            self._cached[key] = cached
            self._num_bytes += cached.num_bytes
            self._make_room()

    def _drop(self, key: Hashable) -> None:
        self._num_bytes -= self._cached.pop(key).num_bytes

    def _make_room(self) -> None:
        """Drop the least recently used moments until the rest fits."""
        while self._num_bytes > self._max_bytes and len(self._cached) > _MIN_CACHED:
            self._drop(next(iter(self._cached)))


def _with_items(weights: Mapping[str, ContextWeight], exponents: Exponents) -> list[ContextWeight]:
    """Return the weights whose item side counts."""
    return [
        weight
        for name, weight in weights.items()
        if type(weight).item_log_lifts is not ContextWeight.item_log_lifts
        and (exponents.unseen.of(name, weight).any() or exponents.seen.of(name, weight).any())
    ]


def _adds_later(weight: ContextWeight) -> bool:
    """Return whether a weight gives the lifts of later items for less than those of all."""
    return type(weight).later_item_log_lifts is not ContextWeight.later_item_log_lifts


def _span_ms(weights: Mapping[str, ContextWeight]) -> int:
    """Return a time within which moments without circumstances have one key; 0 if that is not known.

    A class that has a ``bucket`` of its own does not inherit ``bucket_ms``, which speaks of another one.
    """
    spans = []
    for weight in weights.values():
        kind = type(weight)
        owner = next(each for each in kind.__mro__ if "bucket" in vars(each) or "bucket_ms" in vars(each))
        if kind.bucket is ContextWeight.bucket:
            continue
        if (span_ms := vars(owner).get("bucket_ms")) is None:
            return 0
        spans.append(span_ms)
    return math.gcd(*spans) if spans else 0
