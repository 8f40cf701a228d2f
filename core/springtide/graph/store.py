"""The edges of one type as the writer sees them: columns that grow by copies and shrink by compaction."""

import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.graph import kernels
from springtide.graph.bulk_link_kernels import link_bulk
from springtide.graph.columns import bounds, capacity_for, fill_with_large_pages, room_for, roomy
from springtide.graph.edges import Chain, EdgeColumns, EdgeView, empty_columns
from springtide.graph.link_kernels import ChainLinker
from springtide.graph.tombstones import NEVER_MS
from springtide.graph.touching import Toucher

MAX_EDGES = 2**31 - 1  # An edge's index is an int32.


class EdgeStore:
    """The writer's side of one edge type: appends in place, and replaces the arrays when they must grow or shrink.

    Attributes:
        columns: The current arrays.
        length: Number of edges in the arrays, dead ones included.
        num_dead: Number of dead edges: they are deleted for all later views, and stay in the arrays until ``sweep``.
        generation: Counts the deaths: 1 after the first call of ``mark_dead`` that found an edge.
        lineage: Name of the history of the live edges: within one lineage, an earlier state is a prefix of a later one.
        num_steps: Number of steps along chains so far, to find a place for edges that are not the newest of their node.
    """

    def __init__(self) -> None:
        self.columns = empty_columns()
        self.length = 0
        self.num_dead = 0
        self.generation = 0
        self.lineage = uuid.uuid4().hex
        self._taken_until_ms = NEVER_MS  # Newest time of the edges that were taken in.
        self.num_steps = 0
        self._toucher = Toucher()
        self._number_edges_anew()

    def __len__(self) -> int:
        """Number of live edges."""
        return self.length - self.num_dead

    def view(self) -> EdgeView:
        """Return a view of the current edges."""
        return EdgeView(self.columns, self.length, self.num_dead, self.generation)

    @property
    def num_bytes(self) -> int:
        """Bytes of the arrays, room that was never written to left out, and of what finds places for late edges."""
        return self.columns.num_bytes(self.length) + self._source_linker.nbytes + self._target_linker.nbytes

    @property
    def oldest_ms(self) -> int:
        """Oldest event time; the store must not be empty."""
        return int(self.columns.timestamps_ms[: self.length].min())

    def append(
        self,
        source: npt.NDArray[np.int32],
        target: npt.NDArray[np.int32],
        timestamps_ms: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32] | None,
        num_expected: int = 0,
    ) -> None:
        """Append edges, given as arrays ``[n]`` and features ``[n, width]``, with n at least 1.

        One weight, ``[]``, is for all. Features may be wider or narrower than before; missing features are NaN. Room is
        made for ``num_expected`` edges in all, and some more, so that those of a checkpoint are copied once.
        """
        start, stop = self.length, self.length + len(source)
        self._make_room(max(stop, num_expected + num_expected // 8), bounds(source)[1] + 1, bounds(target)[1] + 1)
        self._make_features(features)
        self._make_weights(weights)
        columns = self.columns
        columns.source[start:stop] = source
        columns.target[start:stop] = target
        columns.timestamps_ms[start:stop] = timestamps_ms
        if not columns.has_one_weight:
            columns.weights[start:stop] = weights
        if columns.features is not None:
            columns.features[start:stop] = np.nan
            if features is not None:
                columns.features[start:stop, : features.shape[1]] = features
        by_source, by_target, times = columns.by_source, columns.by_target, columns.timestamps_ms
        for linker, chain, rows in (
            (self._source_linker, by_source, columns.source),
            (self._target_linker, by_target, columns.target),
        ):
            self.num_steps += linker.link(start, stop, rows, times, chain.head, chain.prev, chain.degree)
        self.length = stop
        self._toucher.note(columns, stop)

    def open(self, num_edges: int, num_sources: int, num_targets: int) -> EdgeColumns:
        """Make room in an empty store that nobody reads, and some more; return the columns, to be filled in place.

        Args:
            num_edges: How many edges there will be.
            num_sources: How many rows sources may have.
            num_targets: How many rows targets may have.
        """
        assert not self.length, "only an empty store is opened"
        self._make_room(min(num_edges + num_edges // 8, MAX_EDGES), num_sources, num_targets)
        columns = self.columns
        sides = (columns.by_source.prev, columns.by_target.prev)
        for column in (columns.source, columns.target, columns.timestamps_ms, *sides):
            fill_with_large_pages(column, num_edges)
        return columns

    def take_in(
        self,
        stop: int,
        weights: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32] | None,
        sides: tuple[Executor, Executor],
    ) -> tuple[Future[int], Future[int]]:
        """Take in the edges up to ``stop``, and begin to link them; nobody reads before they are linked.

        Sources, targets and times were filled in place after ``open``.

        Args:
            stop: How many edges are filled in.
            weights: float32 ``[n]``, those of the edges that are taken in now; ``[1]`` for one of all.
            features: float32 ``[n, width]``, the same; None if they have none.
            sides: Where the chains of the sources and of the targets are linked: one thread each, in order.

        Returns:
            The steps along chains of each side, for ``num_steps``, once its edges are linked. They raise ValueError if
            a row is not among those that ``open`` was told of.

        Raises:
            ValueError: If there are fewer than before, or the weights are not as many.
        """
        start = self.length
        if stop < start:
            raise ValueError(f"wanted {start} edges or more, got {stop}")
        self._make_features(features)
        self._make_weights(weights)
        columns = self.columns
        if not columns.has_one_weight:
            columns.weights[start:stop] = weights
        if columns.features is not None:
            columns.features[start:stop] = np.nan
            if features is not None:
                columns.features[start:stop, : features.shape[1]] = features
        newest_ms, times = self._taken_until_ms, columns.timestamps_ms
        self.length = stop
        if start < stop:
            self._taken_until_ms = max(newest_ms, bounds(times[start:stop])[1])
        of_sources, of_targets = sides
        of_edges = (start, stop, newest_ms, times)
        return (
            of_sources.submit(_link_bulk, self._source_linker, *of_edges, columns.source, columns.by_source),
            of_targets.submit(_link_bulk, self._target_linker, *of_edges, columns.target, columns.by_target),
        )

    def mark_dead(self, source_until_ms: Mapping[int, int], target_until_ms: Mapping[int, int]) -> EdgeView:
        """Delete the edges of some rows until a time each, inclusive; costs as much as these rows have edges.

        Args:
            source_until_ms: Until when edges are deleted, by source row.
            target_until_ms: The same by target row.

        Returns:
            The edges that were deleted by this call.
        """
        columns = self.columns
        sides = [
            (chain, [row for row in until_ms if row < len(chain.degree) and chain.degree[row]], until_ms)
            for chain, until_ms in ((columns.by_source, source_until_ms), (columns.by_target, target_until_ms))
        ]
        found = [np.empty(0, np.int32)]
        for chain, rows, until_ms in sides:
            if not rows:
                continue
            if not len(columns.dead_since):
                self.columns = columns = replace(
                    columns,
                    dead_since=_room_like(columns, np.int32),
                    by_source=columns.by_source.mortal(),
                    by_target=columns.by_target.mortal(),
                )
            out = np.empty(int(chain.degree[rows].sum()), np.int32)
            num_found = kernels.mark_dead(
                np.array(rows, np.int32),
                np.array([until_ms[row] for row in rows], np.int64),
                chain.head,
                chain.prev,
                columns.timestamps_ms,
                columns.source,
                columns.target,
                self.generation + 1,
                columns.dead_since,
                columns.by_source.last_death,
                columns.by_target.last_death,
                out,
            )
            found.append(out[:num_found])
        edges = np.concatenate(found)
        if len(edges):
            self.generation += 1
            self.num_dead += len(edges)
            self.lineage = uuid.uuid4().hex
        return self._select(edges)

    def sweep(self) -> None:
        """Drop the dead edges from the arrays; the live edges and their lineage stay the same."""
        if self.num_dead:
            lineage = self.lineage
            self.compact(self.columns.dead_since[: self.length] == 0)
            self.lineage = lineage

    def reweight(self, weight: float) -> None:
        """Give all edges one weight; before the first view is taken."""
        self.columns = replace(self.columns, weights=np.array([weight], np.float32))
        self.lineage = uuid.uuid4().hex  # What was written before has other weights.

    def compact(self, keep: npt.NDArray[np.bool_]) -> None:
        """Drop the edges where ``keep``, bool ``[length]``, is false; the new arrays hold no trace of them.

        The dead edges must be among those that are dropped.
        """
        old, kept = self.columns, np.flatnonzero(keep)
        moved = np.where(keep, np.cumsum(keep, dtype=np.int32) - np.int32(1), np.int32(-1))
        num_kept = len(kept)

        def compacted(capacity: int) -> EdgeColumns:
            return EdgeColumns(
                roomy(old.source[kept], num_kept, capacity),
                roomy(old.target[kept], num_kept, capacity),
                roomy(old.timestamps_ms[kept], num_kept, capacity),
                old.weights if old.has_one_weight else _narrowed(old.weights[kept], num_kept, capacity),
                None if old.features is None else roomy(old.features[kept], num_kept, capacity),
                old.by_source.compacted(old.source, moved, num_kept, capacity),
                old.by_target.compacted(old.target, moved, num_kept, capacity),
                old.num_compactions + 1,
            )

        self.columns = _with_room(num_kept + num_kept // 4, 0, compacted)  # Or the next append would copy everything.
        self.length = num_kept
        self.num_dead = 0
        self._number_edges_anew()
        self.lineage = uuid.uuid4().hex

    def _number_edges_anew(self) -> None:
        self._source_linker, self._target_linker = ChainLinker(), ChainLinker()

    def _select(self, edges: npt.NDArray[np.int32]) -> EdgeView:
        """Return some edges without their chains: only the columns of the view may be read."""
        columns = self.columns
        selected = replace(
            empty_columns(),
            source=columns.source[edges],
            target=columns.target[edges],
            timestamps_ms=columns.timestamps_ms[edges],
            weights=columns.weights if columns.has_one_weight else columns.weights[edges],
            features=None if columns.features is None else columns.features[edges],
        )
        return EdgeView(selected, len(edges))

    def _make_room(self, num_edges: int, num_sources: int, num_targets: int) -> None:
        if num_edges > MAX_EDGES:
            raise ValueError(f"wanted at most {MAX_EDGES:,} edges of a type, got {num_edges:,}")
        old = self.columns
        if (
            num_edges <= len(old.source)
            and num_sources <= len(old.by_source.head)
            and num_targets <= len(old.by_target.head)
        ):
            return
        self.columns = _with_room(
            num_edges, len(old.source), lambda capacity: self._roomier(capacity, num_sources, num_targets)
        )

    def _roomier(self, capacity: int, num_sources: int, num_targets: int) -> EdgeColumns:
        old, length = self.columns, self.length
        num_sources = capacity_for(num_sources, len(old.by_source.head))
        num_targets = capacity_for(num_targets, len(old.by_target.head))
        # Heads are copied whenever `prev` is: the heads of an old view must not point past the `prev` of that view.
        by_source = old.by_source.grown(num_sources, length, capacity)
        by_target = old.by_target.grown(num_targets, length, capacity)
        if capacity == len(old.source):
            return replace(old, by_source=by_source, by_target=by_target)
        return replace(
            old,
            source=roomy(old.source, length, capacity),
            target=roomy(old.target, length, capacity),
            timestamps_ms=roomy(old.timestamps_ms, length, capacity),
            weights=old.weights if old.has_one_weight else roomy(old.weights, length, capacity),
            features=None if old.features is None else roomy(old.features, length, capacity),
            by_source=by_source,
            by_target=by_target,
            dead_since=roomy(old.dead_since, length, capacity) if len(old.dead_since) else old.dead_since,
        )

    def _make_weights(self, weights: npt.NDArray[np.float32]) -> None:
        """Hold one weight for all edges as long as these have it too, then one for each."""
        columns = self.columns
        if not self.length and not columns.has_one_weight:
            self.columns = columns = replace(columns, weights=np.array(weights.reshape(-1)[:1]))
        if columns.has_one_weight and not (weights == columns.weights[0]).all():
            each = _room_like(columns, np.float32)
            each[: self.length] = columns.weights[0]
            self.columns = replace(columns, weights=each)

    def _make_features(self, features: npt.NDArray[np.float32] | None) -> None:
        if features is None:
            return
        old, width = self.columns.features, features.shape[1]
        if old is None or old.shape[1] < width:
            wider = roomy(np.full((self.length, width), np.nan, np.float32), self.length, len(self.columns.source))
            if old is not None:
                wider[: self.length, : old.shape[1]] = old[: self.length]
            self.columns = replace(self.columns, features=wider)


def _with_room(num_edges: int, old_capacity: int, make: Callable[[int], EdgeColumns]) -> EdgeColumns:
    """Return columns with room for edges; with little more where the system counts what was never written to."""
    try:
        return make(room_for(num_edges, old_capacity))
    except MemoryError:
        return make(capacity_for(num_edges, old_capacity))


def _room_like(columns: EdgeColumns, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a column of zeros, ``[capacity]``."""
    return roomy(np.empty(0, dtype), 0, len(columns.source))


def _narrowed(weights: npt.NDArray[np.float32], length: int, capacity: int) -> npt.NDArray[np.float32]:
    """Return the one weight that all edges have, ``[1]``; else those of all, with room for ``capacity``."""
    if length and (weights[:length] == weights[0]).all():
        return weights[:1].copy()
    return weights if len(weights) == capacity else roomy(weights, length, capacity)


def _link_bulk(
    linker: ChainLinker,
    start: int,
    stop: int,
    newest_ms: int,
    times: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int32],
    chain: Chain,
) -> int:
    if start == stop:
        return 0
    least, greatest = bounds(rows[start:stop])
    if least < 0 or greatest >= len(chain.head):
        raise ValueError(f"wanted rows in 0 to {len(chain.head) - 1}, got {least} to {greatest}")
    late = np.empty(stop - start, np.int32)
    num_late = link_bulk(start, stop, rows, times, newest_ms, chain.head, chain.prev, chain.degree, late)
    return linker.link_late(late[:num_late], rows, times, chain.head, chain.prev)
