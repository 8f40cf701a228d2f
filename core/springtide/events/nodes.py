"""Checking events about nodes: upserts, relations, deletions."""

from springtide.errors import EventRefusedError
from springtide.events.limits import MIN_WEIGHT, Limits
from springtide.events.model import NodeDelete, NodeUpsert, Relation
from springtide.v1 import events_pb2


def read_upsert(message: events_pb2.NodeUpsert, timestamp_ms: int, limits: Limits) -> NodeUpsert:
    """Check an upsert and return it.

    Raises:
        EventRefusedError: If an id or a name is empty or too long, a number not finite, or a text too long.
    """
    limits.check_id("node_upsert.type", message.type)
    limits.check_id("node_upsert.id", message.id)
    categories = {name: tuple(values.values) for name, values in message.categories.items()}
    numbers = dict(message.numbers)
    texts = dict(message.texts)
    for name, values in categories.items():
        limits.check_id("node_upsert.categories", name)
        for value in values:
            limits.check_id(f"node_upsert.categories[{name!r}]", value)
    for name, number in numbers.items():
        limits.check_id("node_upsert.numbers", name)
        limits.check_number(f"node_upsert.numbers[{name!r}]", number)
    for name, text in texts.items():
        limits.check_id("node_upsert.texts", name)
        limits.check_text(f"node_upsert.texts[{name!r}]", text)
    return NodeUpsert(message.type, message.id, categories, numbers, texts, timestamp_ms)


def read_relation(message: events_pb2.Relation, timestamp_ms: int, limits: Limits) -> Relation:
    """Check a relation and return it.

    Raises:
        EventRefusedError: If an id or a name is empty or too long, or the weight is not finite and above 0.
    """
    limits.check_id("relation.source_type", message.source_type)
    limits.check_id("relation.source_id", message.source_id)
    limits.check_id("relation.relation", message.relation)
    limits.check_id("relation.target_type", message.target_type)
    limits.check_id("relation.target_id", message.target_id)
    weight = message.weight if message.HasField("weight") else 1.0
    limits.check_number("relation.weight", weight)
    if weight < MIN_WEIGHT:
        raise EventRefusedError("bad_weight", f"relation.weight: wanted a number above 0 in 32 bits, got {weight}")
    return Relation(
        message.source_type,
        message.source_id,
        message.relation,
        message.target_type,
        message.target_id,
        timestamp_ms,
        weight,
    )


def read_delete(message: events_pb2.NodeDelete, timestamp_ms: int, limits: Limits) -> NodeDelete:
    """Check a deletion and return it.

    Raises:
        EventRefusedError: If the type or the id is empty or too long.
    """
    limits.check_id("node_delete.type", message.type)
    limits.check_id("node_delete.id", message.id)
    return NodeDelete(message.type, message.id, timestamp_ms)
