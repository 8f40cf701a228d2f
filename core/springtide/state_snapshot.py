"""What a state is at one time, as values: for a checkpoint, which another thread may write while the stream goes on."""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from springtide.events.known_names import KnownNamesSnapshot
from springtide.events.seen_events import LateSeenEvents
from springtide.events.skips import Skips
from springtide.graph.edges import EdgeType, EdgeView
from springtide.graph.late_attributes import LateAttributes
from springtide.graph.late_ids import LateIds
from springtide.graph.lifetimes import LateLifetimes
from springtide.graph.tombstones import LateTombstones
from springtide.interactions import Observed
from springtide.plugins.guarding import is_broken, is_guarded

if TYPE_CHECKING:
    from springtide.plugins.contracts import ContextWeight  # It imports torch, which readers of a state need not load.

WeightArrays = dict[str, dict[str, npt.NDArray[Any]]]
"""What each context weight learned, as named arrays, by its name."""

_EVENTS_AT_ONCE = 2_000  # A few milliseconds of observing, where there are a million items.
_MOST_GATHERED = 65_536  # Events that wait for others: they are given in 5 to 10 ms, as long as a part of a poll takes.
_MAX_WAITING = 2_000_000  # Events, at 30 bytes each; then the copy is waited for. No stream brings as many meanwhile.


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """How far the stream has been read.

    Attributes:
        topic: Name of the topic.
        topic_id: The broker's id of the topic; a recreated topic has another one. Empty if unknown.
        next_offsets: For each partition, the offset of the next event to read.
    """

    topic: str
    topic_id: str
    next_offsets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class StreamGap:
    """Events of one partition that were skipped, because the broker no longer had them or they could not be read.

    Attributes:
        topic: Name of the topic that they were in.
        partition: Number of the partition.
        from_offset: Offset of the first event that was skipped.
        to_offset: Offset of the next event that was read; of a recreated topic, it is an offset of the new one.
        reason: ``retention``, ``truncated``, ``recreated``, ``other_topic`` or ``damaged``.
        found_ms: When the gap was found and skipped, in milliseconds since the Unix epoch.
        read_until_ms: When the events before the gap had been read, at the latest, in milliseconds since the Unix
            epoch; None if unknown.
    """

    topic: str
    partition: int
    from_offset: int
    to_offset: int
    reason: str
    found_ms: int
    read_until_ms: int | None

    def follows(self, other: "StreamGap") -> bool:
        """Return whether it begins where another one of the same partition and for the same reason ends."""
        here, there = (self.topic, self.partition, self.reason), (other.topic, other.partition, other.reason)
        return here == there and self.from_offset == other.to_offset


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Events that a rebuild left out.

    Attributes:
        skips: Which they are.
        since_ms: When they were left out first, in milliseconds since the Unix epoch.
        num_events: How many the latest rebuild found, by what names them, in words.
        topic_id: The broker's id of the topic that offsets are of; empty if unknown.
        until_offsets: For each partition, the offset that was next when they were left out first: what was published
            later is read. Empty for no bound.
    """

    skips: Skips
    since_ms: int
    num_events: Mapping[str, int]
    topic_id: str = ""
    until_offsets: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EdgesSnapshot:
    """Edges of one type, with their lineage: of two snapshots with the same lineage, one is a prefix of the other."""

    edge_type: EdgeType
    lineage: str
    edges: EdgeView


@dataclass(frozen=True, slots=True)
class NodesSnapshot:
    """Nodes of one type: ids in row order with their lineage, attributes, and lifetimes; all are copied later."""

    node_type: str
    ids_lineage: str
    ids: LateIds
    attributes: LateAttributes
    lifetimes: LateLifetimes


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """A state between two batches; another thread may write it to disk while the stream goes on.

    Attributes:
        version: The graph's version.
        position: Position in the stream, or None if the state was not read from a stream.
        num_events: Interactions applied since the beginning.
        newest_ms: The newest event time of an edge, or None without edges.
        num_forgotten: Nodes forgotten since the beginning.
        edges: By edge type, in order.
        nodes: By node type, in order.
        context_weights: What each context weight learned, as arrays by name; empty if ``copying`` has it.
        copying: The same, from another thread that is copying it; None if it was copied already.
        circumstances: Keys and values of the circumstances that are kept with interactions.
        gaps: The latest gaps in the stream, oldest first.
        tombstones: The deletions that are remembered, which are copied later; None if there are none.
        seen_events: The latest events with an id, which are copied later; None if none came.
        known_names: The names that events may have.
        tallies: What users did after answers by variants of experiments, see ``ExperimentTallies``; None for nothing.
        num_untallied: Events that were not counted for experiments for want of room.
        num_duplicates: Events that were ignored since the beginning, because they had come before.
        num_changed_duplicates: How many of them differed from the one that counts.
        used_settings: The settings that the events were applied under, those of now last.
        left_out: What rebuilds left out, see ``LiveState``.
        behind_ms: How far the stream's time is behind the wall clock, milliseconds; None without events.
    """

    version: int
    position: StreamPosition | None
    num_events: int
    newest_ms: int | None
    num_forgotten: int
    edges: tuple[EdgesSnapshot, ...]
    nodes: tuple[NodesSnapshot, ...]
    context_weights: WeightArrays
    circumstances: dict[str, Any] = field(default_factory=dict)
    gaps: tuple[StreamGap, ...] = ()
    tombstones: LateTombstones | None = None
    seen_events: LateSeenEvents | None = None
    known_names: KnownNamesSnapshot | None = None
    tallies: Mapping[str, npt.NDArray[Any]] | None = None
    num_untallied: int = 0
    num_duplicates: int = 0
    num_changed_duplicates: int = 0
    used_settings: tuple[dict[str, Any], ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    behind_ms: int | None = None
    copying: Future[WeightArrays] | None = None

    def learned(self) -> WeightArrays:
        """Return what each context weight learned, once it is copied."""
        return self.context_weights if self.copying is None else self.copying.result()


def _nothing() -> None:
    pass


class LearnedWeights(dict[str, "ContextWeight"]):
    """Context weights by name. Who reads what they have learned calls ``settle`` before, which gives them what waits.

    Where others wrote one of them, ``settle`` does nothing, since to learn may block: they do so after each poll.

    Args:
        weights: The context weights by name.
        settle: See ``Learning.settle``.
    """

    def __init__(self, weights: Mapping[str, "ContextWeight"], settle: Callable[[], None]) -> None:
        super().__init__(weights)
        self.settle = _nothing if any(map(is_guarded, weights.values())) else settle


class Learning:
    """Gives what was observed to the context weights, or lets it wait.

    - Where more follows at once, interactions wait until there are many: tables that are larger than the caches take
      many together in half of the time. Whoever reads the weights gives them what waits first (``settle``).
    - While another thread copies the weights, everything waits, and is given later. So the thread that applies events
      never waits for a copy, which takes a second where there are a million items, and a checkpoint has exactly what
      was observed before it.

    One thread calls this, but for ``settle``.

    Args:
        give: Lets the weights observe interactions.
    """

    def __init__(self, give: Callable[[Observed], None]) -> None:
        self._give = give
        self._lock = Lock()  # Of who changes the weights, or begins to copy them.
        self._gathered: deque[Observed] = deque()
        self._num_gathered = 0
        self._error: BaseException | None = None  # Why the weights lack events: the stream must not go on.
        self._copying: Future[WeightArrays] | None = None
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._num_waiting = 0

    def observe(self, observed: Observed, *, more_follow: bool) -> None:
        """Give interactions to the weights, after all that came before.

        Args:
            observed: The interactions.
            more_follow: Whether others follow at once, so that these may wait for them.
        """
        if not (more_follow or self._gathered):
            self.do(partial(self._give, observed), len(observed))
            return
        self._gathered.append(observed)
        self._num_gathered += len(observed)
        is_behind = self._copying is not None or bool(self._waiting)  # Then what waits must be in small pieces.
        if not more_follow or is_behind or self._num_gathered >= _MOST_GATHERED:
            self.settle()

    def settle(self) -> None:
        """Give the weights the interactions that wait for others; by any thread, and done when it returns.

        While a copy is going on, and until what waited for it was given, the weights go on without the latest ones.
        """
        with self._lock:
            self._settle()

    def do(self, work: Callable[[], None], num_events: int) -> None:
        """Do a piece of work on the context weights, now or later, in the order of the calls.

        Args:
            work: Lets weights observe, take back or forget something.
            num_events: About how many events it is about.
        """
        with self._lock:
            self._settle()
            self._do(work, num_events)

    @property
    def is_late(self) -> bool:
        """Whether something waits for a copy, or a copy is going on."""
        return bool(self._waiting) or (self._copying is not None and not self._copying.done())

    def catch_up(self) -> None:
        """Do what waits for a copy, unless that is going on: a few thousand events, so that no call takes long."""
        with self._lock:
            self._catch_up(_EVENTS_AT_ONCE)

    def copy(self, weights: Mapping[str, "ContextWeight"], copier: Executor | None) -> Future[WeightArrays]:
        """Copy what the weights have learned from all that was given, at once or in another thread.

        Args:
            weights: The context weights by name.
            copier: Where to copy; None for here and now.
        """
        with self._lock:
            self._settle()
            if self._copying is not None:
                wait([self._copying])
            self._catch_up(self._num_waiting + len(self._waiting))
            if copier is not None:
                self._copying = copier.submit(_state_of, dict(weights))
                return self._copying
            copied: Future[WeightArrays] = Future()
            copied.set_result(_state_of(weights))
            return copied

    def _settle(self) -> None:
        gathered = []
        while self._gathered:  # The thread that writes may add to it meanwhile.
            gathered.append(self._gathered.popleft())
        self._num_gathered = 0
        if self._error is not None:
            raise self._error
        if gathered:
            observed = Observed.joined(gathered)
            try:
                self._do(partial(self._give, observed), len(observed))
            except BaseException as error:  # Perhaps for a reader, and some weights lack these events now.
                self._error = error
                raise

    def _do(self, work: Callable[[], None], num_events: int) -> None:
        if self._copying is None and not self._waiting:
            work()
            return
        self._waiting.append((num_events, work))
        self._num_waiting += num_events
        # Faster than events come; and of a large batch, not much longer than without what waits.
        self._catch_up(max(_EVENTS_AT_ONCE, num_events + min(num_events, _EVENTS_AT_ONCE)))

    def _catch_up(self, most: int) -> None:
        if self._copying is not None:
            if not self._copying.done() and self._num_waiting <= _MAX_WAITING:
                return
            wait([self._copying])
            self._copying = None
        while self._waiting and most > 0:
            num_events, work = self._waiting.popleft()
            self._num_waiting -= num_events
            most -= max(1, num_events)
            work()


def _state_of(weights: Mapping[str, "ContextWeight"]) -> WeightArrays:
    states = {name: weight.state() for name, weight in weights.items()}
    return {name: state for name, state in states.items() if not is_broken(weights[name])}  # It learns anew then.
