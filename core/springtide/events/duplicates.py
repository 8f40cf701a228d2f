"""Leaving out the events of a batch that came before."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from springtide.events.marks import EventMarks
from springtide.events.model import EventBatch
from springtide.events.seen_events import SeenEvents

T = TypeVar("T")


def without_duplicates(batch: EventBatch, seen: SeenEvents) -> EventBatch:
    """Return a batch without the events that came before, and without its marks; those that it keeps are now seen."""
    marks = batch.marks
    if marks is None:
        return batch
    interactions = batch.interactions
    if (kept := _first_rows(seen, marks.interactions, len(interactions))) is not None:
        interactions = interactions.take(kept)
    return EventBatch(
        interactions,
        _first_seen(seen, batch.upserts, marks.upserts),
        _first_seen(seen, batch.relations, marks.relations),
        _first_seen(seen, batch.deletes, marks.deletes),
    )


def _first_rows(seen: SeenEvents, marks: EventMarks | None, num_rows: int) -> npt.NDArray[np.int64] | None:
    """Return the sorted rows of events that come for the first time, int64 ``[m]``; None if all do."""
    if marks is None:
        return None
    num_before = seen.num_duplicates
    is_first = seen.add(marks)
    if seen.num_duplicates == num_before:
        return None
    is_kept = np.ones(num_rows, np.bool_)
    is_kept[marks.rows] = is_first
    return np.flatnonzero(is_kept)


def _first_seen(seen: SeenEvents, events: Sequence[T], marks: EventMarks | None) -> Sequence[T]:
    kept = _first_rows(seen, marks, len(events))
    return events if kept is None else [events[row] for row in kept.tolist()]
