"""Checking events about nodes: upserts, relations, deletions."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from springtide.errors import EventRefusedError
from springtide.events.limits import MIN_WEIGHT, Limits, shorten
from springtide.events.model import NodeDelete, NodeUpsert, Relation
from springtide.v1 import events_pb2

T = TypeVar("T")


def read_upsert(
    message: events_pb2.NodeUpsert, timestamp_ms: int, limits: Limits
) -> tuple[NodeUpsert, list[EventRefusedError]]:
    """Check an upsert; return it with its good attributes, and why the others are refused.

    Raises:
        EventRefusedError: If the type or the id is empty or too long, or there are too many attributes.
    """
    limits.check_id("node_upsert.type", message.type)
    limits.check_id("node_upsert.id", message.id)
    groups = (message.categories, message.numbers, message.texts, message.vectors)
    if sum(len(group) for group in groups) > limits.max_attributes:
        limits.check_num_attributes(set().union(*groups))
    errors: list[EventRefusedError] = []
    categories = {name: tuple(values.values) for name, values in message.categories.items()}
    vectors = {name: tuple(values.values) for name, values in message.vectors.items()} if message.vectors else {}
    upsert = NodeUpsert(
        message.type,
        message.id,
        _good(categories, "categories", partial(_check_values, limits), limits, errors),
        _good(message.numbers, "numbers", limits.check_number, limits, errors),
        _good(message.texts, "texts", limits.check_text, limits, errors),
        timestamp_ms,
        _good(vectors, "vectors", limits.check_vector, limits, errors),
    )
    return upsert, errors


def _good(
    attributes: Mapping[str, T],
    kinds: str,
    check: Callable[[str, T], None],
    limits: Limits,
    errors: list[EventRefusedError],
) -> dict[str, T]:
    """Return the attributes whose name and value are good; add to ``errors`` what is wrong with the others."""
    good: dict[str, T] = {}
    for name, value in attributes.items():
        try:
            limits.check_id(f"node_upsert.{kinds}", name)
            check(f"node_upsert.{kinds}[{shorten(name)}]", value)
        except EventRefusedError as error:
            errors.append(error)
        else:
            good[name] = value
    return good


def _check_values(limits: Limits, field: str, values: Sequence[str]) -> None:
    limits.check_num_values(field, values)
    for value in values:
        limits.check_id(field, value)


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
