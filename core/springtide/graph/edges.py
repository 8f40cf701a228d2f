"""The edges of one type as readers see them: columns, and a time-ordered chain for each source and each target."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from springtide.graph import kernels
from springtide.graph.columns import bytes_in_use, grown, roomy

EdgeType = tuple[str, str, str]  # (source type, relation, target type)

T = TypeVar("T", bound=np.generic)

END_OF_TIME_MS = np.iinfo(np.int64).max

EdgeArrays = tuple[
    npt.NDArray[np.int32],
    npt.NDArray[np.int32],
    npt.NDArray[np.int64],
    npt.NDArray[np.float32],
    npt.NDArray[np.float32] | None,
]
"""Sources, targets, times, weights and features of edges: the arguments of ``EdgeStore.append``."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Neighbours of some rows, newest first.

    Attributes:
        rows: int32 ``[n, count]``, padded with -1; ``[count]`` for a single row.
        timestamps_ms: int64, the same shape, padded with 0.
        weights: float32, the same shape, padded with 0.
    """

    rows: npt.NDArray[np.int32]
    timestamps_ms: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)


_NO_NEIGHBOURS = Neighbours(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Chain:
    """The chains of one side of an edge type; see ``springtide.graph.kernels``.

    Attributes:
        head: int32 ``[num_rows]``.
        prev: int32 ``[capacity]``.
        degree: int32 ``[num_rows]``, number of edges, including those that are dead or arrived after a view.
        last_death: int32 ``[num_rows]``, generation of the last death among the row's edges, 0 for none; without
            entries until the first death.
    """

    head: npt.NDArray[np.int32]
    prev: npt.NDArray[np.int32]
    degree: npt.NDArray[np.int32]
    last_death: npt.NDArray[np.int32]

    def grown(self, num_rows: int, length: int, capacity: int) -> "Chain":
        """Return a copy with more room; the old heads do not change, since views hold them."""
        return Chain(
            grown(self.head, len(self.head), num_rows, fill=-1),
            roomy(self.prev, length, capacity) if capacity > len(self.prev) else self.prev,
            grown(self.degree, len(self.degree), num_rows, fill=0),
            grown(self.last_death, len(self.last_death), num_rows, fill=0) if len(self.last_death) else self.last_death,
        )

    def mortal(self) -> "Chain":
        """Return the chains with room for deaths."""
        return self if len(self.last_death) else replace(self, last_death=np.zeros(len(self.head), np.int32))

    def last_death_of(self, row: int) -> int:
        """Return the generation of the last death among a row's edges; 0 for none."""
        return int(self.last_death[row]) if len(self.last_death) else 0

    def compacted(
        self, rows: npt.NDArray[np.int32], moved: npt.NDArray[np.int32], num_kept: int, capacity: int
    ) -> "Chain":
        """Return a copy without some edges, given this side's rows and each edge's new index, -1 if it is removed."""
        prev = roomy(np.full(num_kept, -1, np.int32), num_kept, capacity)
        new = Chain(np.full_like(self.head, -1), prev, np.zeros_like(self.degree), self.last_death.copy())
        kernels.relink(rows, self.head, self.prev, moved, new.head, new.prev, new.degree)
        return new


@dataclass(frozen=True, slots=True)
class EdgeColumns:
    """The arrays of one edge type, with spare capacity.

    Attributes:
        source: int32 ``[capacity]``.
        target: int32 ``[capacity]``.
        timestamps_ms: int64 ``[capacity]``.
        weights: float32 ``[capacity]``; or ``[1]``, while all edges have one weight.
        features: float32 ``[capacity, width]``, NaN where an edge has none; None if no edge has features.
        by_source: Chains of the sources.
        by_target: Chains of the targets.
        num_compactions: How many times the arrays have been compacted.
        dead_since: int32 ``[capacity]``, generation of each edge's death, 0 for a live one; without entries while there
            are no dead edges.
    """

    source: npt.NDArray[np.int32]
    target: npt.NDArray[np.int32]
    timestamps_ms: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None
    by_source: Chain
    by_target: Chain
    num_compactions: int = 0
    dead_since: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    @property
    def has_one_weight(self) -> bool:
        """Whether ``weights`` is ``[1]``."""
        return len(self.weights) == 1

    def num_bytes(self, length: int) -> int:
        """Return the bytes of the arrays of which ``length`` edges were written to; other room takes none."""
        sides = (self.by_source, self.by_target)
        of_rows = sum(side.head.nbytes + side.degree.nbytes + side.last_death.nbytes for side in sides)
        num_bytes = of_rows + sum(bytes_in_use(side.prev, length) for side in sides)
        for column in (self.source, self.target, self.timestamps_ms, self.weights, self.dead_since, self.features):
            num_bytes += 0 if column is None else bytes_in_use(column, length)
        return num_bytes


class EdgeView:
    """The edges of one type when the view was taken, in order of arrival; deleted edges are left out.

    It is safe to read while the writer continues.

    Args:
        columns: The arrays.
        length: Number of edges in them when the view was taken, dead ones included.
        num_dead: Number of dead edges at that time.
        generation: Generation of the deaths so far.
    """

    __slots__ = ("_alive", "_columns", "_generation", "_length", "_num_dead")

    def __init__(self, columns: EdgeColumns, length: int, num_dead: int = 0, generation: int = 0) -> None:
        self._columns = columns
        self._length = length
        self._num_dead = num_dead
        self._generation = generation
        self._alive: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self._length - self._num_dead

    @property
    def source(self) -> npt.NDArray[np.int32]:
        """Source rows, int32 ``[num_edges]``; do not write to this or any other column.

        A column is a copy while there are dead edges: keep it rather than ask again.
        """
        return self._live(self._columns.source)

    @property
    def target(self) -> npt.NDArray[np.int32]:
        """Target rows, int32 ``[num_edges]``."""
        return self._live(self._columns.target)

    @property
    def timestamps_ms(self) -> npt.NDArray[np.int64]:
        """Event times, int64 ``[num_edges]``."""
        return self._live(self._columns.timestamps_ms)

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """Weights, float32 ``[num_edges]``; of strides 0 where all are one, as in ``part``."""
        columns = self._columns
        return _repeated(columns.weights, len(self)) if columns.has_one_weight else self._live(columns.weights)

    @property
    def features(self) -> npt.NDArray[np.float32] | None:
        """Features, float32 ``[num_edges, width]``, NaN where an edge has none; None if no edge has features."""
        return None if self._columns.features is None else self._live(self._columns.features)

    def feature_parts(self, count: int) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the features of all edges, those that came last first, of at most ``count`` at a time.

        Less work than ``part``, which must know how many edges before it are dead.
        """
        features, dead_since = self._columns.features, self._columns.dead_since
        if features is None:
            return
        for stop in range(self._length, 0, -count):
            part = slice(max(0, stop - count), stop)
            died = dead_since[part] if self._num_dead else dead_since[:0]
            if died.any():
                yield features[part][(died == 0) | (died > self._generation)]
            else:
                yield features[part]

    def part(self, start: int, stop: int) -> EdgeArrays:
        """Return the columns of the edges [start, stop); a copy of them alone while there are dead edges."""
        columns = self._columns
        part = slice(start, stop) if self._num_dead == 0 else self._live_rows()[start:stop]
        source = columns.source[part]
        weights = _repeated(columns.weights, len(source)) if columns.has_one_weight else columns.weights[part]
        features = None if columns.features is None else columns.features[part]
        return source, columns.target[part], columns.timestamps_ms[part], weights, features

    def recent_targets(
        self,
        source_rows: npt.ArrayLike,
        count: int,
        before_ms: int | npt.NDArray[np.int64] | None = None,
    ) -> Neighbours:
        """Return the latest targets of each source.

        Args:
            source_rows: int32 ``[n]``; unknown rows have no neighbours.
            count: Most targets to return for each source.
            before_ms: Only edges strictly before this time count: one time for all, int64 ``[n]``, or None.
        """
        return self._recent(self._columns.by_source, self._columns.target, source_rows, count, before_ms)

    def recent_sources(
        self,
        target_rows: npt.ArrayLike,
        count: int,
        before_ms: int | npt.NDArray[np.int64] | None = None,
    ) -> Neighbours:
        """Return the latest sources of each target; see ``recent_targets``."""
        return self._recent(self._columns.by_target, self._columns.source, target_rows, count, before_ms)

    def all_targets(self, source_row: int, limit: int | None = None) -> Neighbours:
        """Return the targets of one source as arrays ``[count]``, at most the latest ``limit``."""
        return self._all(self._columns.by_source, self._columns.target, source_row, limit)

    def all_sources(self, target_row: int, limit: int | None = None) -> Neighbours:
        """Return the sources of one target as arrays ``[count]``, at most the latest ``limit``."""
        return self._all(self._columns.by_target, self._columns.source, target_row, limit)

    def version_of(self, source_row: int) -> tuple[int, int, int, int]:
        """Return a version of one source's edges, which changes whenever they do, even after the view was taken."""
        chain, num_compactions = self._columns.by_source, self._columns.num_compactions
        if not 0 <= source_row < len(chain.head):
            return (num_compactions, -1, 0, 0)
        return (
            *(num_compactions, int(chain.head[source_row])),
            *(int(chain.degree[source_row]), chain.last_death_of(source_row)),
        )

    @property
    def raw(self) -> tuple[EdgeColumns, int, int]:
        """For compiled loops: the columns, how many of their edges the view has, its generation (0 without deaths)."""
        return self._columns, self._length, self._generation if self._num_dead else 0

    @property
    def mark(self) -> tuple[int, int, int]:
        """How far the view goes, for ``changed_since`` of a later view."""
        return (self._columns.num_compactions, self._length, self._generation)

    def changed_since(self, mark: tuple[int, int, int], *, is_source: bool) -> npt.NDArray[np.int32] | None:
        """Return the rows whose edges are others than at an earlier view, int32, ascending; None for any row.

        Args:
            mark: The ``mark`` of the earlier view.
            is_source: Whether they are sources, or targets.
        """
        num_compactions, length, generation = mark
        columns = self._columns
        if columns.num_compactions != num_compactions or self._length < length:
            return None
        rows = (columns.source if is_source else columns.target)[length : self._length]
        if self._generation != generation:
            chain = columns.by_source if is_source else columns.by_target
            rows = np.concatenate([rows, np.flatnonzero(chain.last_death > generation).astype(np.int32)])
        return np.unique(rows)

    def has_all_targets(self, source_row: int) -> bool:
        """Return whether the view has all edges of one source, so that ``version_of`` is the version of these edges."""
        chain = self._columns.by_source
        if not 0 <= source_row < len(chain.head):
            return True
        num_linked = kernels.count_linked(source_row, self._length, chain.head, chain.prev)
        return bool(chain.degree[source_row] == num_linked and chain.last_death_of(source_row) <= self._generation)

    def degrees(self, rows: npt.NDArray[np.int64], *, is_source: bool) -> npt.NDArray[np.int64]:
        """Return a number for each row that grows with each edge, int64 ``[n]``: of its edges, dead and later ones too.

        Args:
            rows: int64 ``[n]``.
            is_source: Whether they are sources, or targets.
        """
        degree = (self._columns.by_source if is_source else self._columns.by_target).degree
        known = rows < len(degree)
        found = np.zeros(len(rows), np.int64)
        found[known] = degree[rows[known]]
        return found

    def have_edges(self, num_rows: int, *, is_source: bool) -> npt.NDArray[np.bool_]:
        """Return which of the first rows have an edge, perhaps one that came after the view, bool ``[num_rows]``.

        Args:
            num_rows: Number of rows.
            is_source: Whether they are sources, or targets.
        """
        columns = self._columns
        chain, of_edges = (columns.by_source, columns.source) if is_source else (columns.by_target, columns.target)
        have = np.zeros(num_rows, np.bool_)
        degree = chain.degree[:num_rows]
        have[: len(degree)] = degree > 0
        if self._num_dead:
            dead_since = columns.dead_since[: self._length]
            dead = of_edges[: self._length][(dead_since > 0) & (dead_since <= self._generation)]
            num_dead = np.bincount(dead, minlength=num_rows)[: len(degree)]
            have[: len(degree)] &= degree > num_dead
        return have

    def has(self, source_rows: npt.ArrayLike, target_rows: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return whether an edge joins each pair of rows, given as ``[n]`` each; bool ``[n]``."""
        sources, targets = np.broadcast_arrays(_as_rows(source_rows), _as_rows(target_rows))
        found = np.zeros(len(sources), np.bool_)
        columns, by_source, by_target = self._columns, self._columns.by_source, self._columns.by_target
        kernels.contains(
            *(np.array(sources), np.array(targets), self._length),  # Copies: broadcast arrays are read-only.
            *(columns.source, by_source.head, by_source.prev, by_source.degree),
            *(columns.target, by_target.head, by_target.prev, by_target.degree),
            *(columns.dead_since, self._generation if self._num_dead else 0),
            found,
        )
        return found

    def _recent(
        self,
        chain: Chain,
        neighbours: npt.NDArray[np.int32],
        rows: npt.ArrayLike,
        count: int,
        before_ms: int | npt.NDArray[np.int64] | None,
    ) -> Neighbours:
        rows = _as_rows(rows)
        before = np.atleast_1d(np.array(END_OF_TIME_MS if before_ms is None else before_ms, np.int64))
        if len(before) not in (1, len(rows)):
            raise ValueError(f"before_ms: wanted one time, or {len(rows)}, got {len(before)}")
        shape = (len(rows), count)
        found = Neighbours(np.full(shape, -1, np.int32), np.zeros(shape, np.int64), np.zeros(shape, np.float32))
        kernels.collect_recent(
            rows,
            before,
            self._length,
            chain.head,
            chain.prev,
            neighbours,
            self._columns.timestamps_ms,
            self._columns.weights,
            self._columns.dead_since,
            self._generation if self._num_dead else 0,
            found.rows,
            found.timestamps_ms,
            found.weights,
        )
        return found

    def _all(self, chain: Chain, neighbours: npt.NDArray[np.int32], row: int, limit: int | None) -> Neighbours:
        degree = int(chain.degree[row]) if 0 <= row < len(chain.degree) else 0
        if not degree:
            return _NO_NEIGHBOURS  # Most users have edges of few types.
        padded = self._recent(chain, neighbours, [row], degree if limit is None else min(limit, degree), None)
        count = int(np.count_nonzero(padded.rows[0] >= 0))  # The degree also counts dead edges, and later ones.
        return Neighbours(padded.rows[0, :count], padded.timestamps_ms[0, :count], padded.weights[0, :count])

    def _live(self, column: npt.NDArray[T]) -> npt.NDArray[T]:
        return column[self._live_rows()] if self._num_dead else column[: self._length]

    def _live_rows(self) -> npt.NDArray[np.int64]:
        """Return the places of the edges that were not dead when the view was taken."""
        if self._alive is None:
            dead_since = self._columns.dead_since[: self._length]
            self._alive = np.flatnonzero((dead_since == 0) | (dead_since > self._generation))
        return self._alive


def empty_columns() -> EdgeColumns:
    """Return columns without edges and without capacity."""
    no_rows = np.empty(0, np.int32)
    no_chain = Chain(no_rows, no_rows, no_rows, no_rows)
    return EdgeColumns(no_rows, no_rows, np.empty(0, np.int64), np.empty(0, np.float32), None, no_chain, no_chain)


def _repeated(weight: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """Return one weight, ``[1]``, for each of some edges, ``[count]``, without a copy for each."""
    return np.broadcast_to(weight, (count,))


def _as_rows(rows: npt.ArrayLike) -> npt.NDArray[np.int32]:
    return np.atleast_1d(np.ascontiguousarray(rows, np.int32))
