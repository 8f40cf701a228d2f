"""Checking what events say of nodes: upserts, relations, deletions."""

from collections.abc import Callable

from springtide.errors import EventRefusedError
from springtide.events.limits import MIN_WEIGHT, Limits
from springtide.events.model import NodeDelete, NodeUpsert, Relation
from springtide.v1 import events_pb2

RefusalOf = Callable[[NodeUpsert], EventRefusedError | None]


def read_upsert(message: events_pb2.NodeUpsert, timestamp_ms: int, limits: Limits) -> NodeUpsert:
    """Return the upsert, checked.

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
    """Return the relation, checked.

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
    """Return the deletion, checked.

    Raises:
        EventRefusedError: If the type or the id is empty or too long.
    """
    limits.check_id("node_delete.type", message.type)
    limits.check_id("node_delete.id", message.id)
    return NodeDelete(message.type, message.id, timestamp_ms)


class AttributeKinds:
    """Which kind each attribute of each node type has; the first upsert that names an attribute settles it.

    Args:
        refusal_of: Asked about an upsert that names an attribute not met before: what the graph, which may come from a
            checkpoint, has against it.
    """

    def __init__(self, refusal_of: RefusalOf | None = None) -> None:
        self._refusal_of = refusal_of
        self._kinds: dict[tuple[str, str], str] = {}

    def settle(self, upsert: NodeUpsert) -> None:
        """Take up the kinds of the upsert's attributes.

        Raises:
            EventRefusedError: If an attribute has another kind already, or stands in the upsert twice; then nothing of
                the upsert is taken up.
        """
        named = [(name, "category") for name in upsert.categories]
        named += [(name, "number") for name in upsert.numbers]
        named += [(name, "text") for name in upsert.texts]
        fresh: dict[tuple[str, str], str] = {}
        for name, kind in named:
            key = (upsert.node_type, name)
            known = self._kinds.get(key)
            if known is None:
                known = fresh.setdefault(key, kind)
            if known != kind:
                raise EventRefusedError(
                    "wrong_attribute_kind",
                    f"attribute {name!r} of node type {upsert.node_type!r}: wanted a {known}, as before, got a {kind}",
                )
        if fresh:
            refusal = self._refusal_of(upsert) if self._refusal_of is not None else None
            if refusal is not None:
                raise refusal
            self._kinds.update(fresh)
