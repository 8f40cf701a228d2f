"""Telling of events that were ignored, and that somebody may want to know of."""

import structlog

from springtide.clock import Deadline
from springtide.state import LiveState

logger = structlog.stdlib.get_logger(__name__)

_TELL_EVERY_S = 60.0


class IgnoredEvents:
    """Logs how many events were ignored, each kind once a minute at most. One thread calls it.

    These are events that differ from those that came before under their ids, and events that a deletion held for.
    """

    def __init__(self) -> None:
        self._told_changed: dict[str, int] = {}
        self._next_changed = Deadline.after(0.0)
        self._told_dropped = 0
        self._next_dropped = Deadline.after(0.0)

    def look_at(self, state: LiveState) -> None:
        """Log the events that came since the last time; those of before the first time were logged by another."""
        seen = state.seen_events
        if seen.lineage not in self._told_changed:
            self._told_changed = {seen.lineage: seen.num_changed}
        num_new = seen.num_changed - self._told_changed[seen.lineage]
        if num_new and self._next_changed.is_over():
            logger.warning("duplicates_differ", events=num_new)
            self._told_changed[seen.lineage] = seen.num_changed
            self._next_changed = Deadline.after(_TELL_EVERY_S)
        num_dropped = state.graph.num_dropped  # Since the start of the process, or of a state that was rebuilt.
        if num_dropped != self._told_dropped and self._next_dropped.is_over():
            if num_dropped > self._told_dropped:
                logger.info("events_of_deleted_nodes", events=num_dropped - self._told_dropped)
            self._told_dropped = num_dropped
            self._next_dropped = Deadline.after(_TELL_EVERY_S)
