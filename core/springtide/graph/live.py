"""The live graph: one thread writes, any number of threads read frozen views, and no thread waits."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.events.model import NodeDelete, NodeUpsert
from springtide.events.packed_ids import PackedIds
from springtide.graph.columns import bounds
from springtide.graph.edges import END_OF_TIME_MS, EdgeType, EdgeView
from springtide.graph.eviction import Excess, beyond, keep_since
from springtide.graph.nodes import NodeTable
from springtide.graph.store import EdgeStore
from springtide.graph.tombstones import NEVER_MS, Tombstones
from springtide.graph.view import GraphView
from springtide.interactions import refuse_unequal_lengths
from springtide.settings.model import AttributeKind

SLACK = 8  # A bound may be exceeded by 1/8 before the writer evicts, so that eviction costs O(1) per edge.


@dataclass(frozen=True, slots=True)
class _Published:
    version: int
    newest_ms: int | None
    edges: Mapping[EdgeType, EdgeView]


class LiveGraph:
    """Typed nodes and typed, timestamped edges.

    Only one thread may write. Other threads may only call ``view``.

    Args:
        max_edges: Most edges of all types to keep; the oldest are dropped first. None for no bound.
        max_age_ms: Greatest age of an edge, counted back from the newest event time. None for no bound.
        nodes: Node tables by type that another graph owns, for other edges between the same rows. They are read only:
            do not upsert or forget nodes in this graph.
        tombstones: The deletions to remember; without bounds if None.
        attribute_kinds: Kinds of attributes that are fixed, by node type.
        apart: Edge types that ``max_edges`` does not count: edges of little worth must not push out others.
        max_apart: Most edges of these types to keep.

    Attributes:
        newest_ms: Newest event time of an edge so far, whether it was kept or not; None before the first edge.
        num_forgotten: Number of nodes forgotten so far, those included that were deleted and not in the graph.
        num_evictions: Number of times that edges were evicted so far.
        evicted_until_ms: Newest event time that was evicted, about.
        num_dropped: Number of events since the start that a deletion held for: they came late, and changed nothing.
        tombstones: The deletions that are remembered.
    """

    def __init__(
        self,
        max_edges: int | None = None,
        max_age_ms: int | None = None,
        nodes: Mapping[str, NodeTable] | None = None,
        tombstones: Tombstones | None = None,
        attribute_kinds: Mapping[str, Mapping[str, AttributeKind]] | None = None,
        apart: Collection[EdgeType] = (),
        max_apart: int | None = None,
    ) -> None:
        for name, bound in (("max_edges", max_edges), ("max_age_ms", max_age_ms), ("max_apart", max_apart)):
            if bound is not None and bound < 1:
                raise ValueError(f"{name}: wanted at least 1, or None for no bound, got {bound}")
        self.max_edges = max_edges
        self._apart, self._max_apart = frozenset(apart), max_apart
        self.max_age_ms = max_age_ms
        self.newest_ms: int | None = None
        self.num_forgotten = 0
        self.num_dropped = 0
        self.num_evictions = 0
        self.evicted_until_ms = NEVER_MS
        self.tombstones = Tombstones() if tombstones is None else tombstones
        self._owns_nodes = nodes is None
        # Both are replaced, never changed, when a type is added: other threads may be reading them.
        self._nodes: Mapping[str, NodeTable] = dict(nodes or {})
        self._attribute_kinds = attribute_kinds or {}
        self._stores: Mapping[EdgeType, EdgeStore] = {}
        self._oldest_ms: int | None = None  # Oldest event time of the edges in memory.
        self._published = _Published(0, None, {})
        self._viewed: tuple[_Published, GraphView] | None = None  # The latest view, and what it is a view of.
        self._depth = 0

    @property
    def version(self) -> int:
        """Grows with each change."""
        return self._published.version

    @property
    def node_types(self) -> tuple[str, ...]:
        """The node types, in order of arrival."""
        return tuple(self._nodes)

    @property
    def edge_types(self) -> tuple[EdgeType, ...]:
        """The edge types, in order of arrival."""
        return tuple(self._stores)

    @property
    def num_edges(self) -> int:
        """Number of edges of all types."""
        return sum(map(len, self._stores.values()))

    @property
    def num_bytes(self) -> int:
        """Bytes of the edges' arrays, spare capacity included; ids and attributes are not counted."""
        return sum(store.num_bytes for store in self._stores.values())

    def nodes(self, node_type: str) -> NodeTable:
        """Return the nodes of a type; a new type is created."""
        table = self._nodes.get(node_type)
        if table is None:
            table = NodeTable(node_type, self._attribute_kinds.get(node_type, {}))
            self._nodes = {**self._nodes, node_type: table}
        return table

    def store(self, edge_type: EdgeType) -> EdgeStore:
        """Return the writer's side of an edge type; a new type is created."""
        store = self._stores.get(edge_type)
        if store is None:
            store = EdgeStore()
            self._stores = {**self._stores, edge_type: store}
        return store

    def view(self) -> GraphView:
        """Return the graph after the last complete change, the same object until there is another; from any thread."""
        published = self._published
        nodes = self._nodes  # Read after the edges, so that the counts cover all their rows.
        counts = {node_type: len(table.ids) for node_type, table in nodes.items()}
        viewed = self._viewed
        if viewed is not None and viewed[0] is published and viewed[1].shows(nodes, counts):
            return viewed[1]
        view = GraphView(published.version, published.newest_ms, published.edges, nodes, counts, self._attribute_kinds)
        self._viewed = published, view
        return view

    @contextmanager
    def one_change(self) -> Iterator[None]:
        """Publish all changes made inside at once."""
        self._depth += 1
        try:
            yield
        finally:
            if self._depth == 1:
                for store in self._stores.values():
                    if store.num_dead * SLACK > store.length:
                        store.sweep()
            self._depth -= 1
            self._publish()

    def append(
        self,
        edge_type: EdgeType,
        source_rows: npt.ArrayLike,
        target_rows: npt.ArrayLike,
        timestamps_ms: npt.ArrayLike,
        weights: npt.ArrayLike,
        features: npt.ArrayLike | None = None,
    ) -> None:
        """Append edges in any order of time; edges older than ``max_age_ms`` are skipped.

        Args:
            edge_type: (source type, relation, target type).
            source_rows: int32 ``[n]``, interned rows.
            target_rows: int32 ``[n]``, interned rows.
            timestamps_ms: int64 ``[n]``, event times.
            weights: float32 ``[n]``, or one for all.
            features: float32 ``[n, width]``, or None.

        Raises:
            ValueError: If the lengths differ, or a row was never interned.
        """
        source = np.ascontiguousarray(source_rows, np.int32)
        target = np.ascontiguousarray(target_rows, np.int32)
        times = np.ascontiguousarray(timestamps_ms, np.int64)
        weight = np.asarray(weights, np.float32)
        weight = np.broadcast_to(weight, times.shape) if weight.ndim else weight
        feature = None if features is None else np.asarray(features, np.float32)
        given = times if feature is None else feature
        refuse_unequal_lengths(sources=source, targets=target, times=times, features=given)
        if not len(times):
            return
        for node_type, rows in ((edge_type[0], source), (edge_type[2], target)):
            num_rows, (least, greatest) = len(self.nodes(node_type)), bounds(rows)
            if least < 0 or greatest >= num_rows:
                raise ValueError(f"{node_type}: wanted rows in 0 to {num_rows - 1}, got {least} to {greatest}")
        oldest, newest = bounds(times)
        newest_ms = self.note_newest(newest)
        if self._owns_nodes:
            self.note_times(edge_type, source, target, times)
        if self.max_age_ms is not None and oldest < (cutoff := newest_ms - self.max_age_ms):
            kept = np.flatnonzero(times >= cutoff)
            source, target, times = source[kept], target[kept], times[kept]
            weight = weight[kept] if weight.ndim else weight
            oldest = bounds(times)[0] if len(times) else newest_ms
            feature = None if feature is None else feature[kept]
        with self.one_change():
            if len(times):
                self.store(edge_type).append(source, target, times, weight, feature)
                self._oldest_ms = oldest if self._oldest_ms is None else min(oldest, self._oldest_ms)
            if self._is_far_past_bounds():
                self.evict()

    def upsert(self, upsert: NodeUpsert) -> None:
        """Add or update a node and its attributes, unless a deletion holds for the event.

        Raises:
            EventRefusedError: If an attribute has another kind than ``attribute_kinds`` says; then nothing changes.
        """
        with self.one_change():
            table = self.nodes(upsert.node_type)
            row, deleted_ms = (int(each[0]) for each in self.deleted_ms(upsert.node_type, [upsert.node_id]))
            if upsert.timestamp_ms <= deleted_ms:
                self.num_dropped += 1
                return
            is_new, row = row < 0, table.upsert(upsert)
            if is_new and deleted_ms != NEVER_MS:
                table.lifetimes.bear([row], [deleted_ms])
            table.lifetimes.note(np.array([row], np.int32), np.array([upsert.timestamp_ms], np.int64))

    def note_newest(self, timestamp_ms: int) -> int:
        """Note the event time of an edge, whether it is kept or not, and return the newest one so far."""
        newest_ms = timestamp_ms if self.newest_ms is None else max(timestamp_ms, self.newest_ms)
        self.newest_ms = newest_ms
        return newest_ms

    def note_times(
        self,
        edge_type: EdgeType,
        source_rows: npt.NDArray[np.int32],
        target_rows: npt.NDArray[np.int32],
        timestamps_ms: npt.NDArray[np.int64],
    ) -> None:
        """Note when the ends of edges were heard of, arrays ``[n]``, with n at least 1."""
        self.nodes(edge_type[0]).lifetimes.note(source_rows, timestamps_ms)
        self.nodes(edge_type[2]).lifetimes.note(target_rows, timestamps_ms)

    def deleted_ms(self, node_type: str, ids: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the row of each node, -1 for an unknown one, and until when it is deleted; called by the writer.

        Args:
            node_type: Node type.
            ids: Distinct ids.

        Returns:
            int32 ``[n]``; and int64 ``[n]``, ``NEVER_MS`` where no deletion is remembered.
        """
        table, packed = self.nodes(node_type), PackedIds.of(ids)
        rows = table.ids.rows_packed(*packed.arrays)
        deleted_ms = table.lifetimes.all_deleted_ms(rows)
        if self.tombstones.has_any(node_type):
            deleted_ms[rows < 0] = self.tombstones.deleted_ms(node_type, packed.take(np.flatnonzero(rows < 0)))
        return rows, deleted_ms

    def forget(self, node_type: str, node_id: str) -> bool:
        """Forget a node with its edges, attributes and id, whatever their times; return whether it was known.

        Unlike ``delete``, it does not hold for events that come later.
        """
        with self.one_change():
            table = self._nodes.get(node_type)
            row = -1 if table is None else table.ids.row(node_id)
            if table is None or row < 0:
                return False
            self._forget_rows(table, [row])
        return True

    def delete(self, deletes: Iterable[NodeDelete]) -> list[tuple[EdgeType, EdgeView]]:
        """Delete nodes with all that happened until the event time of the deletion; return their edges.

        It also holds for events that come later than the deletion with an event time that is not. What happened after
        the deletion is another node of the same id.

        Readers of earlier views see no change. Deleted edges leave the memory later: when they are more than 1/8 of
        their type, all at once.
        """
        latest: dict[str, dict[str, int]] = {}  # By node type and id.
        for delete in deletes:
            of_type = latest.setdefault(delete.node_type, {})
            of_type[delete.node_id] = max(delete.timestamp_ms, of_type.get(delete.node_id, NEVER_MS))
        deleted_edges: list[tuple[EdgeType, EdgeView]] = []
        if not latest:
            return deleted_edges
        with self.one_change():
            gone: dict[str, list[int]] = {}
            cut: dict[str, dict[int, int]] = {}
            for node_type, of_type in latest.items():
                known_ms = self.tombstones.deleted_ms(node_type, list(of_type)).tolist()
                self.tombstones.add(node_type, list(of_type), list(of_type.values()))
                table = self._nodes.get(node_type)
                for (node_id, deleted_ms), before_ms in zip(of_type.items(), known_ms, strict=True):
                    row = -1 if table is None else table.ids.row(node_id)
                    if table is None or row < 0:  # Earlier checkpoints may hold it: it may have left by `max_nodes`.
                        self.num_forgotten += before_ms < deleted_ms
                        continue
                    if table.lifetimes.deleted_ms(row) >= deleted_ms:
                        continue
                    if table.lifetimes.newest_ms(row) > deleted_ms:
                        cut.setdefault(node_type, {})[row] = deleted_ms
                    else:
                        gone.setdefault(node_type, []).append(row)
            for node_type, rows in gone.items():
                deleted_edges += self._forget_rows(self._nodes[node_type], rows)
            for node_type, until in cut.items():
                self._nodes[node_type].cut(list(until), list(until.values()))
                deleted_edges += self.drop_until(node_type, until)
                self.num_forgotten += len(until)
            self.tombstones.expire(self.newest_ms)
        return deleted_edges

    def _forget_rows(self, table: NodeTable, rows: Sequence[int]) -> list[tuple[EdgeType, EdgeView]]:
        table.forget(rows)
        self.num_forgotten += len(rows)
        return self.drop_until(table.node_type, dict.fromkeys(rows, END_OF_TIME_MS))

    def drop_until(self, node_type: str, until_ms: Mapping[int, int]) -> list[tuple[EdgeType, EdgeView]]:
        """Delete the edges of some nodes until a time each, inclusive; return them by type."""
        no_rows: Mapping[int, int] = {}
        dropped = []
        for edge_type, store in self._stores.items():
            source_type, _, target_type = edge_type
            if node_type in (source_type, target_type):
                edges = store.mark_dead(
                    until_ms if source_type == node_type else no_rows,
                    until_ms if target_type == node_type else no_rows,
                )
                if len(edges):
                    dropped.append((edge_type, edges))
        return dropped

    def evict(self) -> int:
        """Drop edges beyond the bounds: those older than ``max_age_ms``, then the oldest beyond the numbers.

        Returns:
            Number of edges dropped.
        """
        before = self.num_edges
        with self.one_change():
            for store in self._stores.values():
                store.sweep()
            if self.max_age_ms is not None and self.newest_ms is not None:
                self._keep_since(self._stores.values(), self.newest_ms - self.max_age_ms, num_at_start_to_drop=0)
            for excess in self._beyond(slack=0):
                self._keep_since(excess.stores, *excess.first_kept_ms())
            self._oldest_ms = min((store.oldest_ms for store in self._stores.values() if store.length), default=None)
        return before - self.num_edges

    def evict_if_far_past_bounds(self) -> int:
        """Drop edges as ``append`` would, if the bounds are lower than they were; return how many."""
        return self.evict() if self._is_far_past_bounds() else 0

    def restore(self, version: int, newest_ms: int | None, num_forgotten: int) -> None:
        """Restore the counters of a checkpoint, after its nodes and edges, which may exceed the bounds."""
        self.newest_ms, self.num_forgotten = newest_ms, num_forgotten
        self._oldest_ms = min((store.oldest_ms for store in self._stores.values() if store.length), default=None)
        self._publish(version)

    def _beyond(self, slack: int) -> list[Excess]:
        return beyond(self._stores, self.max_edges, self._apart, self._max_apart, slack)

    def _keep_since(self, stores: Iterable[EdgeStore], start_ms: int, num_at_start_to_drop: int) -> None:
        self.num_evictions += 1
        self.evicted_until_ms = max(self.evicted_until_ms, start_ms)
        keep_since(stores, start_ms, num_at_start_to_drop)

    def _is_far_past_bounds(self) -> bool:
        if self._beyond(SLACK):
            return True
        if self.max_age_ms is None or self.newest_ms is None or self._oldest_ms is None:
            return False
        return self._oldest_ms < self.newest_ms - self.max_age_ms - self.max_age_ms // SLACK

    def _publish(self, version: int | None = None) -> None:
        if self._depth:
            return
        edges = {edge_type: store.view() for edge_type, store in self._stores.items()}
        version = self._published.version + 1 if version is None else version
        self._published = _Published(version, self.newest_ms, edges)
        self._viewed = None  # It holds arrays that the graph may have outgrown.
