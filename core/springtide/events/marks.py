"""What tells events apart: for each event with an id, a hash of the id and of what the event is about."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.interactions import refuse_unequal_lengths


@dataclass(frozen=True, slots=True)
class EventMarks:
    """Marks of a batch's events of one kind, in the order in which they arrived; an event without an id has none.

    Attributes:
        rows: int64 ``[n]``, index of each event among the batch's events of its kind.
        keys: uint64 ``[n]``, hash of the event's id and of what the event is about; never 0.
        contents: uint32 ``[n]``, hash of everything else in the event.
        published_s: uint32 ``[n]``, time of the event's record, in seconds since the Unix epoch.

    Raises:
        ValueError: If the columns differ in length.
    """

    rows: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
    contents: npt.NDArray[np.uint32]
    published_s: npt.NDArray[np.uint32]

    def __post_init__(self) -> None:
        refuse_unequal_lengths(rows=self.rows, keys=self.keys, contents=self.contents, published_s=self.published_s)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class BatchMarks:
    """Marks of a batch's events; None for a kind of which no event has an id.

    Attributes:
        interactions: Of the interactions.
        upserts: Of the node upserts.
        relations: Of the edges between any two nodes.
        deletes: Of the deletions.
    """

    interactions: EventMarks | None = None
    upserts: EventMarks | None = None
    relations: EventMarks | None = None
    deletes: EventMarks | None = None
