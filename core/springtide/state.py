"""The live state of one stream: the graph, what the context weights learned, and the position in the stream."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, StreamClock
from springtide.events.duplicates import without_duplicates
from springtide.events.known_names import KnownNames
from springtide.events.model import EventBatch, Interactions
from springtide.events.seen_events import SeenEvents
from springtide.experiment_tallies import ExperimentTallies
from springtide.graph.applying import USER, apply_events
from springtide.graph.circumstances import CircumstanceTable
from springtide.graph.compacting import compacted
from springtide.graph.live import LiveGraph
from springtide.graph.reclaiming import Reclaimer
from springtide.graph.tombstones import Tombstones
from springtide.graph.view import GraphView
from springtide.interactions import NO_EVENTS, Observed
from springtide.settings.model import AttributeKind, Settings
from springtide.settings.used import DROPPED_NODES, used_settings
from springtide.state_snapshot import (
    EdgesSnapshot,
    LearnedWeights,
    Learning,
    LeftOut,
    NodesSnapshot,
    StateSnapshot,
    StreamGap,
    StreamPosition,
)

if TYPE_CHECKING:
    from springtide.plugins.contracts import ContextWeight  # It imports torch, which readers of a state need not load.

__all__ = ["EdgesSnapshot", "LeftOut", "LiveState", "NodesSnapshot", "StateSnapshot", "StreamGap", "StreamPosition"]

_S_PER_HOUR = 3_600
_MAX_GAPS = 1_000  # They are in every manifest and in every status.


class LiveState:
    """The state that the events of one stream build. One thread applies events; any thread may read graph views.

    Args:
        settings: The interaction rules and the limits of the graph.
        context_weights: Context weights by name; they learn from each positive interaction.

    Attributes:
        graph: The live graph.
        rules: The interaction rules.
        context_weights: The context weights by name.
        circumstances: The circumstances that the context weights use; they are kept with interactions.
        position: Position in the stream, or None before the stream is opened.
        clock: The stream's time, and the clock by which requests without a time are answered.
        gaps: The latest gaps in the stream, oldest first.
        seen_events: The latest events with an id, so that the same event counts once.
        known_names: The node types, relations and attributes that events may name; ``Decoder`` uses it.
        tallies: What users did after answers that were by a variant of an experiment.
        used_settings: The settings that the events were applied under, see ``springtide.settings.used``; the last are
            those of now.
        lacking: What events that were applied under other settings lack, a sentence each: only the events themselves,
            read anew, can give it.
        left_out: What was left out when the state was rebuilt from the stream, a value for each set of skips.
        num_events: Interactions applied since the beginning, forgotten and evicted ones included.
    """

    def __init__(self, settings: Settings, context_weights: "Mapping[str, ContextWeight]") -> None:
        max_age_days = settings.graph.max_age_days
        keep_days = settings.graph.keep_deletions_days
        self.rules = settings.interaction_rules()
        self.graph = LiveGraph(
            settings.graph.max_edges,
            None if max_age_days is None else max(1, round(max_age_days * MS_PER_DAY)),
            tombstones=Tombstones(
                None if keep_days is None else max(1, round(keep_days * MS_PER_DAY)), settings.graph.max_deletions
            ),
            attribute_kinds=settings.attributes,
            apart=[self.rules.edge_type(relation) for relation in self.rules.shown_relations],
            max_apart=settings.graph.max_shown,
        )
        self._learning = Learning(self._observe)
        self.context_weights = LearnedWeights(context_weights, self._learning.settle)
        can_forget = all(map(_forgets_rows, context_weights.values()))
        self._reclaimer = Reclaimer(self.graph, settings.graph.max_nodes, self._forget_rows if can_forget else None)
        self.circumstances = CircumstanceTable(
            key for weight in context_weights.values() for key in weight.context_keys
        )
        self.position: StreamPosition | None = None
        self.clock = StreamClock(settings.ranking.clock)
        self.gaps: tuple[StreamGap, ...] = ()
        self.seen_events = SeenEvents(
            settings.events.duplicates_max_events, settings.events.duplicates_hours * _S_PER_HOUR
        )
        self.tallies = ExperimentTallies()
        self.known_names = KnownNames(settings.graph.item_type, settings.attributes)
        self.used_settings: tuple[dict[str, Any], ...] = (used_settings(settings, self.circumstances.keys),)
        self.lacking: tuple[str, ...] = ()
        self.left_out: tuple[LeftOut, ...] = ()
        self.num_events = 0
        self._num_forgotten_before = 0  # When unused circumstances were forgotten last.

    def settled_kind(self, node_type: str, attribute: str) -> AttributeKind | None:
        """Return the kind that most nodes have, or None if no node has a value; called by the thread that writes."""
        table = self.graph.view().nodes(node_type)
        return table.settled_kind(attribute)

    def settled_length(self, node_type: str, attribute: str) -> int | None:
        """Return the length of the vectors that nodes have, or None if no node has one; as ``settled_kind``."""
        return self.graph.view().nodes(node_type).vector_length(attribute)

    def without_duplicates(self, batch: EventBatch) -> EventBatch:
        """Return the batch without the events that came before, and remember those that it keeps.

        To be applied at once, since a checkpoint must hold the events that it remembers. Marks are not kept.
        """
        return without_duplicates(batch, self.seen_events)

    def apply(self, batch: EventBatch, *, more_follow: bool = False) -> None:
        """Apply a batch: deletes, upserts, relations, then interactions; readers see all of it or nothing.

        Events that came before (``without_duplicates``) are left out.

        Args:
            batch: The batch.
            more_follow: Whether others follow at once. The context weights may learn from this one with them then, but
                before anybody reads what they have learned (``settle``).

        Raises:
            EventRefusedError: If an attribute has another kind than the settings say (``Decoder`` finds this before).
        """
        batch = self.without_duplicates(batch)
        observed, deleted = apply_events(self.graph, batch, self.rules, self.circumstances)
        unlearned = NO_EVENTS
        if deleted:
            positive_types = set(map(self.rules.edge_type, self.rules.positive_relations))
            unlearned = self.circumstances.observed(
                [edges for edge_type, edges in deleted if edge_type in positive_types], None
            )
        if len(unlearned):
            self._learning.do(partial(self._learn, observed, unlearned), len(observed) + len(unlearned))
        elif observed.clock_ms is not None:  # There are events to learn, or a newer time.
            self._learning.observe(observed, more_follow=more_follow)
        elif not more_follow:
            self._learning.settle()
        self.num_events += len(batch.interactions)
        if batch.deletes and len(self.tallies):
            for delete in batch.deletes:
                if delete.node_type == USER:
                    self.tallies.forget(delete.node_id, delete.timestamp_ms)
        if batch.interactions.recommendation_ids is not None:
            self._tally(batch.interactions)
        if self.left_out and batch.deletes:
            self._forget_left_out({delete.node_id for delete in batch.deletes if delete.node_type == USER})

    def _tally(self, interactions: Interactions) -> None:
        """Count interactions for the experiments of the answers that they came of."""
        assert interactions.recommendation_ids is not None, "looked at by the caller"
        _, deleted_ms = self.graph.deleted_ms(USER, interactions.user_ids)
        self.tallies.add(
            interactions.recommendation_ids,
            interactions.user_ids,
            interactions.user_codes,
            interactions.relations,
            interactions.relation_codes,
            interactions.timestamps_ms,
            deleted_ms,
        )

    def settle(self) -> None:
        """Let the context weights learn from all that was applied, before they are read; called by any thread.

        While they are copied for a checkpoint, and a moment longer, the latest events wait all the same.
        """
        self._learning.settle()

    def reclaim(self, now_s: float) -> None:
        """Forget nodes beyond the bounds, and let new nodes have the rows of forgotten ones (``graph.reclaiming``).

        To be called every second or so by the thread that applies events; it costs nothing if there is nothing to do.

        Args:
            now_s: Monotonic time, in seconds.
        """
        self._learning.catch_up()
        self._reclaimer.run(now_s)

    def reclaim_restored(self) -> None:
        """Let new nodes have the rows of all forgotten ones, right after a checkpoint was restored."""
        self._reclaimer.release_all()

    def advance(self, next_offsets: Mapping[int, int]) -> None:
        """Move the position to new offsets, after all events before them were applied; other partitions stay.

        Raises:
            ValueError: If the position was not set before.
        """
        if self.position is None:
            raise ValueError("wanted a position to advance from, got none: set it when the topic is opened")
        position = self.position
        self.position = StreamPosition(position.topic, position.topic_id, {**position.next_offsets, **next_offsets})

    def note_time(self, came_ms: int) -> None:
        """Let the clock know the newest event, after it was applied.

        Args:
            came_ms: When the latest events came, by the wall clock, milliseconds since the Unix epoch.
        """
        self.clock.note(self.graph.newest_ms, came_ms)

    def keep_time_of(self, newest_ms: int | None, behind_ms: int | None) -> None:
        """Go on by the clock of a former state of this stream, if the newest event is the same; see ``StreamClock``.

        Without one that the former state had and a rebuild left out, the stream's time is another.

        Args:
            newest_ms: The newest event time of the former state.
            behind_ms: How far its stream was behind the wall clock.
        """
        if newest_ms == self.graph.newest_ms:
            self.clock.note_behind(behind_ms)

    def skip_to(self, position: StreamPosition, gaps: Sequence[StreamGap]) -> None:
        """Go on at another position, and remember which events are missing before it.

        Damaged records that follow each other, whose number the broker's log does not tell, are one gap.
        """
        kept = [*self.gaps]
        for gap in gaps:
            if kept and gap.reason == "damaged" and gap.follows(kept[-1]):
                gap = replace(gap, from_offset=kept.pop().from_offset)
            kept.append(gap)
        self.position, self.gaps = position, tuple(kept[-_MAX_GAPS:])

    @property
    def next_offsets(self) -> Mapping[int, int]:
        """For each partition, the offset of the first event that has not been applied; empty before the first read."""
        position = self.position
        return {} if position is None else position.next_offsets

    def has_reached(self, next_offsets: Mapping[int, int]) -> bool:
        """Return whether all events before the given offsets, by partition, have been applied."""
        reached = self.next_offsets
        return all(reached.get(partition, 0) >= offset for partition, offset in next_offsets.items())

    def positive_interactions(self, view: GraphView) -> Observed:
        """Return all positive interactions in the view, sorted by time, with their circumstances."""
        views = [view.edges(self.rules.edge_type(relation)) for relation in self.rules.positive_relations]
        return self.circumstances.observed(views, view.nodes(USER))

    def has_interacted(
        self, view: GraphView, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.bool_]:
        """Return whether each user has a positive interaction with the item beside it, bool ``[n]``.

        Args:
            view: View of the graph.
            user_rows: int32 ``[n]``; -1 for a user that the graph does not have, who has no interactions.
            item_rows: int32 ``[n]``; -1 for an item that the graph does not have.
        """
        known = np.flatnonzero((user_rows >= 0) & (item_rows >= 0))
        has = np.zeros(len(user_rows), bool)
        for relation in self.rules.positive_relations:
            has[known] |= view.edges(self.rules.edge_type(relation)).has(user_rows[known], item_rows[known])
        return has

    def compact(self) -> None:
        """Number the rows anew without the nodes that no longer live (``graph.compacting``), for a training.

        Context weights have learned by the former rows, and are left out: nothing may be recommended from here on.
        """
        smaller = compacted(self.graph)
        if smaller is not self.graph:
            self.graph, self.context_weights = smaller, LearnedWeights({}, self._learning.settle)

    @property
    def is_learning_late(self) -> bool:
        """Whether context weights still lack what was observed while they were copied: a snapshot would wait for it."""
        return self._learning.is_late

    def snapshot(self, copier: Executor | None = None) -> StateSnapshot:
        """Return a snapshot for a checkpoint; called by the thread that applies events, between two batches.

        Args:
            copier: Another thread, which copies what the context weights have learned; until it has, they are given
                nothing new (``Learning``). None to copy it before this returns.
        """
        view = self.graph.view()
        self._forget_circumstances(view)
        if self._reclaimer.has_dropped_nodes and not self.used_settings[-1].get(DROPPED_NODES):
            self.used_settings = (*self.used_settings[:-1], {**self.used_settings[-1], DROPPED_NODES: True})
        copying = self._learning.copy(self.context_weights, copier)
        return StateSnapshot(
            version=view.version,
            position=self.position,
            num_events=self.num_events,
            newest_ms=view.newest_ms,
            behind_ms=self.clock.behind_ms,
            num_forgotten=self.graph.num_forgotten,
            edges=tuple(
                EdgesSnapshot(edge_type, self.graph.store(edge_type).lineage, view.edges(edge_type))
                for edge_type in view.edge_types
            ),
            nodes=tuple(
                NodesSnapshot(
                    *(name, table.ids_lineage, table.late_ids(), table.late_attributes()),
                    table.lifetimes.late_snapshot(len(table)),
                )
                for name, table in ((name, self.graph.nodes(name)) for name in self.graph.node_types)
            ),
            context_weights={},
            copying=copying,
            circumstances=self.circumstances.snapshot(),
            gaps=self.gaps,
            tombstones=self.graph.tombstones.late_snapshot() if len(self.graph.tombstones) else None,
            seen_events=self.seen_events.late_snapshot() if len(self.seen_events) else None,
            known_names=self.known_names.snapshot(),
            tallies=self.tallies.arrays() if len(self.tallies) else None,
            num_untallied=self.tallies.num_left_out,
            num_duplicates=self.seen_events.num_duplicates,
            num_changed_duplicates=self.seen_events.num_changed,
            used_settings=self.used_settings,
            left_out=self.left_out,
        )

    def _forget_left_out(self, users: set[str]) -> None:
        """Name deleted users no more among what rebuilds left out; their deletion holds for what they did before."""
        kept = []
        for each in self.left_out:
            skips = each.skips.without_users(users)
            if skips is not each.skips:
                counts = {words: each.num_events.get(words, 0) for words in skips.describe()}
                each = replace(each, skips=skips, num_events=counts)
            if skips:
                kept.append(each)
        self.left_out = tuple(kept)

    def _forget_circumstances(self, view: GraphView) -> None:
        """Forget the circumstances that only forgotten nodes had, if any node was forgotten since the last call."""
        if self.graph.num_forgotten == self._num_forgotten_before:
            return
        self._num_forgotten_before = self.graph.num_forgotten
        views = [view.edges(edge_type) for edge_type in view.edge_types]
        if self.circumstances.keys and self.circumstances.forget_unused(views, self.graph.nodes(USER)):
            kept = {key: list(filter(None, self.circumstances.values(key))) for key in self.circumstances.keys}
            for weight in self.context_weights.values():
                self._learning.do(partial(weight.forget_circumstances, kept), len(kept))

    def _forget_rows(self, node_type: str, rows: npt.NDArray[np.int32]) -> None:
        no_rows = np.empty(0, np.int32)
        user_rows = rows if node_type == USER else no_rows
        item_rows = rows if node_type == self.rules.item_type else no_rows
        if len(user_rows) or len(item_rows):
            self._learning.do(partial(self._forget_learned, user_rows, item_rows), len(rows))

    def _forget_learned(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        for weight in self.context_weights.values():
            weight.forget_rows(user_rows, item_rows)

    def _learn(self, observed: Observed, unlearned: Observed) -> None:
        for weight in self.context_weights.values():
            weight.unobserve(unlearned)
        if observed.clock_ms is not None:
            self._observe(observed)

    def _observe(self, observed: Observed) -> None:
        observed = observed.by_items()
        for weight in self.context_weights.values():
            weight.observe(observed)


def _forgets_rows(weight: "ContextWeight") -> bool:
    """Return whether a weight keeps nothing by row, or can forget it."""
    from springtide.plugins.contracts import ContextWeight

    kind = type(weight)
    return kind.observe is ContextWeight.observe or kind.forget_rows is not ContextWeight.forget_rows
