"""Counting calls by method and status, and their times: as totals, and over the last minute."""

import itertools
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import grpc

CallKind = Literal["unary", "server_stream", "client_stream", "bidi_stream"]
"""Which side streams, by the words of the gRPC ecosystem's metrics."""

EDGES_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper edges of the buckets of times, in seconds."""

STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
"""Names of the statuses, such as `OK`, by their numbers."""

WINDOW_S = 60
"""How long a time counts for percentiles, in seconds; the oldest go together, up to 5 seconds earlier."""

_PARTS = 5  # Of each bucket, for percentiles: within a tenth of their value.
_SLOT_S = 5
_NUM_SLOTS = WINDOW_S // _SLOT_S
_NEVER = -_NUM_SLOTS - 1  # A tick before all that count.


def _fine_edges_ns() -> tuple[int, ...]:
    edges = [EDGES_S[0] * 1e9]
    for below, above in itertools.pairwise(EDGES_S):
        ratio = (above / below) ** (1 / _PARTS)
        edges += [1e9 * below * ratio**part for part in range(1, _PARTS)] + [1e9 * above]
    return tuple(round(edge) for edge in edges)


_FINE_NS = _fine_edges_ns()


@dataclass(frozen=True, slots=True)
class RecentTimes:
    """Times of the calls that ended in the last minute.

    Attributes:
        num: How many there were.
        p50_ms: Their median, in milliseconds; 0 if there was none. Estimated from buckets, as the two others.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
    """

    num: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class MethodCounts:
    """The calls of one method: written by the thread of the event loop, read by any.

    No lock is taken: a reader may see a call in one number and not in another yet.

    Args:
        path: Path of the method, such as ``/springtide.v1.RecommenderService/Recommend``.
        kind: Which side streams.

    Attributes:
        path: As above.
        kind: As above.
        num_started: Calls that have begun, and those that were refused before.
    """

    __slots__ = ("_buckets", "_ended", "_ring", "_slot", "_tick", "_total_ns", "kind", "num_started", "path")

    def __init__(self, path: str, kind: CallKind) -> None:
        self.path = path
        self.kind = kind
        self.num_started = 0
        self._ended = [0] * len(STATUS_NAMES)
        self._total_ns = 0
        self._buckets = [0] * (len(_FINE_NS) + 1)
        self._tick = _NEVER
        self._slot: list[int] = []
        self._ring: list[tuple[int, list[int]]] = [(_NEVER, [])] * _NUM_SLOTS

    def begin(self) -> int:
        """Count a call as begun, and return when that was, for ``end``."""
        self.num_started += 1
        return time.perf_counter_ns()

    def end(self, code: int, begun_ns: int) -> None:
        """Count a call as ended.

        Args:
            code: Number of its status.
            begun_ns: What ``begin`` returned.
        """
        now_ns = time.perf_counter_ns()
        took_ns = now_ns - begun_ns
        self._ended[code] += 1
        self._total_ns += took_ns
        bucket = bisect_left(_FINE_NS, took_ns)
        self._buckets[bucket] += 1
        tick = now_ns // (_SLOT_S * 1_000_000_000)
        if tick != self._tick:
            self._tick, self._slot = tick, [0] * len(self._buckets)
            self._ring[tick % _NUM_SLOTS] = (tick, self._slot)
        self._slot[bucket] += 1

    def refuse(self, code: int) -> None:
        """Count a call that was refused before it began; it has no time."""
        self.num_started += 1
        self._ended[code] += 1

    @property
    def num_ended(self) -> dict[str, int]:
        """Calls that have ended, by the name of their status; statuses without one are left out."""
        return {STATUS_NAMES[code]: count for code, count in enumerate(tuple(self._ended)) if count}

    @property
    def num_open(self) -> int:
        """Calls that have begun and not ended."""
        num_ended = sum(self._ended)  # First: a call that begins meanwhile must not make this negative.
        return self.num_started - num_ended

    @property
    def total_s(self) -> float:
        """Time of all calls that have ended, in seconds."""
        return self._total_ns / 1e9

    def times_in_buckets(self) -> list[int]:
        """Return how many calls took up to each of ``EDGES_S``, and how many in all.

        Returns:
            Cumulative counts, one more than there are edges.
        """
        fine = tuple(self._buckets)
        upto = [sum(fine[: _PARTS * at + 1]) for at in range(len(EDGES_S))]
        return [*upto, sum(fine)]

    def recent(self, now_ns: int | None = None) -> RecentTimes:
        """Return the times of the last minute.

        Args:
            now_ns: The time on ``time.perf_counter_ns()``'s clock; now if None.
        """
        tick = (time.perf_counter_ns() if now_ns is None else now_ns) // (_SLOT_S * 1_000_000_000)
        slots = [tuple(slot) for of, slot in tuple(self._ring) if tick - _NUM_SLOTS < of <= tick]
        counts = [sum(column) for column in zip(*slots, strict=True)] if slots else []
        return RecentTimes(sum(counts), *(_percentile_ms(counts, share) for share in (0.5, 0.95, 0.99)))


class CallCounts:
    """The calls of all methods that a server has, on all its listeners."""

    def __init__(self) -> None:
        self._methods: dict[str, MethodCounts] = {}

    def of(self, path: str, kind: CallKind) -> MethodCounts:
        """Return the counts of a method, which are made at the first time; before the server is started."""
        return self._methods.setdefault(path, MethodCounts(path, kind))

    def refuse(self, path: str, code: grpc.StatusCode) -> None:
        """Count a call that was refused before it began; one of a method that no listener has counts nowhere.

        A client may send any path, and a count for each would fill the memory.
        """
        found = self._methods.get(path)
        if found is not None:
            found.refuse(code.value[0])

    def methods(self) -> Iterable[MethodCounts]:
        """Return the counts of all methods, by their paths in order."""
        return [self._methods[path] for path in sorted(self._methods)]

    @property
    def num_open(self) -> int:
        """Calls that are open now, of all methods."""
        return sum(each.num_open for each in self._methods.values())


def _percentile_ms(counts: Sequence[int], share: float) -> float:
    """Return a percentile in milliseconds, evenly placed within its bucket; 0 if there are no counts."""
    wanted = share * sum(counts)
    if not wanted:
        return 0.0
    upto = 0
    for at, count in enumerate(counts):
        if upto + count >= wanted:
            below = _FINE_NS[at - 1] if at else 0
            above = _FINE_NS[min(at, len(_FINE_NS) - 1)]  # What takes longer than the last edge is said to take that.
            return (below + (above - below) * (wanted - upto) / count) / 1e6
        upto += count
    raise AssertionError("the counts reach their sum")
