"""Telling of events that were ignored although they differ from those that came before under their ids."""

import structlog

from springtide.clock import Deadline
from springtide.events.seen_events import SeenEvents

logger = structlog.stdlib.get_logger(__name__)

_WARN_EVERY_S = 60.0


class DuplicateWarning:
    """Logs how many such events came, once a minute at most. One thread calls it."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._next = Deadline.after(0.0)

    def look_at(self, seen: SeenEvents) -> None:
        """Log the events that came since the last time; those of before the first time were logged by another."""
        if seen.lineage not in self._told:
            self._told = {seen.lineage: seen.num_changed}
        num_new = seen.num_changed - self._told[seen.lineage]
        if num_new and self._next.is_over():
            logger.warning("duplicates_differ", events=num_new)
            self._told[seen.lineage] = seen.num_changed
            self._next = Deadline.after(_WARN_EVERY_S)
