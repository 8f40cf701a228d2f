"""Interactions and nodes of data sets as protobuf events."""

from collections.abc import Iterable, Iterator

from springtide.clock import MS_PER_SECOND
from springtide.events.model import Interactions, NodeUpsert
from springtide.v1 import events_pb2 as pb

_NS_PER_MS = 1_000_000
_CHUNK_ROWS = 10_000  # Rows that are converted to Python numbers at a time.


def interaction_events(interactions: Interactions) -> Iterator[pb.Event]:
    """Yield the interactions as events, in their order."""
    for start in range(0, len(interactions), _CHUNK_ROWS):
        chunk = slice(start, start + _CHUNK_ROWS)
        for row in zip(
            interactions.user_codes[chunk].tolist(),
            interactions.item_codes[chunk].tolist(),
            interactions.relation_codes[chunk].tolist(),
            interactions.timestamps_ms[chunk].tolist(),
            interactions.values[chunk].tolist(),
            strict=True,
        ):
            yield _interaction_event(interactions, *row)


def upsert_events(upserts: Iterable[NodeUpsert]) -> Iterator[pb.Event]:
    """Yield nodes with their attributes as events, in their order."""
    return map(_upsert_event, upserts)


def _interaction_event(
    interactions: Interactions, user: int, item: int, relation: int, timestamp_ms: int, value: float
) -> pb.Event:
    event = pb.Event(
        interaction=pb.Interaction(
            user=interactions.user_ids[user],
            item=interactions.item_ids[item],
            type=interactions.relations[relation],
            value=None if value != value else value,  # NaN means that there is no value.
        )
    )
    _set_time(event, timestamp_ms)
    return event


def _upsert_event(upsert: NodeUpsert) -> pb.Event:
    event = pb.Event(
        node_upsert=pb.NodeUpsert(
            type=upsert.node_type,
            id=upsert.node_id,
            categories={name: pb.StringList(values=values) for name, values in upsert.categories.items()},
            numbers=upsert.numbers,
            texts=upsert.texts,
            vectors={name: pb.FloatList(values=values) for name, values in upsert.vectors.items()},
        )
    )
    _set_time(event, upsert.timestamp_ms)
    return event


def _set_time(event: pb.Event, timestamp_ms: int) -> None:
    seconds, ms = divmod(timestamp_ms, MS_PER_SECOND)
    event.event_time.seconds = seconds
    event.event_time.nanos = ms * _NS_PER_MS
