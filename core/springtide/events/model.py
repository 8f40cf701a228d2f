"""What an event is, once it has been decoded: columns for interactions, small values for the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Interactions:
    """Many interactions as columns; ids are dictionary-coded so that each string is held once.

    Attributes:
        user_ids: The distinct user ids.
        user_codes: int32 ``[n]``, positions in ``user_ids``.
        item_ids: The distinct item ids.
        item_codes: int32 ``[n]``, positions in ``item_ids``.
        relations: The distinct relations, by the name of the rule that took the event (``purchase``, ``rating>=4``).
        relation_codes: int16 ``[n]``, positions in ``relations``.
        timestamps_ms: int64 ``[n]``, event time in milliseconds since the Unix epoch, UTC.
        values: float32 ``[n]``, the value the event carried (a rating, a quantity); NaN where it carried none.
        contexts: The context map of each event, or None when no event of the batch has one.
    """

    user_ids: Sequence[str]
    user_codes: npt.NDArray[np.int32]
    item_ids: Sequence[str]
    item_codes: npt.NDArray[np.int32]
    relations: Sequence[str]
    relation_codes: npt.NDArray[np.int16]
    timestamps_ms: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    contexts: Sequence[Mapping[str, str]] | None = None

    def __len__(self) -> int:
        return len(self.timestamps_ms)


@dataclass(frozen=True, slots=True)
class NodeUpsert:
    """A node and what is known of it; an attribute that is named replaces its former value, the others stay.

    Attributes:
        node_type: Such as ``user``, ``item``, ``store``.
        node_id: The external id.
        categories: Name to values, such as ``{"department": ("GROCERY",)}``; an empty tuple clears it.
        numbers: Name to a finite number.
        texts: Name to text.
        timestamp_ms: Event time, milliseconds since the Unix epoch.
    """

    node_type: str
    node_id: str
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    timestamp_ms: int = 0


@dataclass(frozen=True, slots=True)
class Relation:
    """An edge between any two nodes, such as (item, sold_in, store) or (user, follows, user)."""

    source_type: str
    source_id: str
    relation: str
    target_type: str
    target_id: str
    timestamp_ms: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class NodeDelete:
    """A node to be forgotten, with its edges and attributes."""

    node_type: str
    node_id: str
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class EventBatch:
    """A run of events whose order inside does not matter: decoding starts a new batch at each deletion.

    Attributes:
        interactions: The interactions, as columns.
        upserts: Node upserts; where two touch one attribute of one node, the later in the list wins.
        relations: Edges between any two nodes.
        deletes: Deletions, applied before everything else of the batch.
    """

    interactions: Interactions
    upserts: Sequence[NodeUpsert] = ()
    relations: Sequence[Relation] = ()
    deletes: Sequence[NodeDelete] = ()
