"""The node types, relations and attributes that events have named. Each makes a table or a column: they are bounded.

Which names are in is decided within each partition, by the order of its records. Every reader finds these in the same
order, however partitions interleave, and so has the same names; what deletions take from the graph changes none of it.
"""

import hashlib
import itertools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import EventRefusedError
from springtide.events.limits import Limits, shorten
from springtide.events.model import NodeUpsert, Relation
from springtide.settings.model import AttributeKind

_EVERY_PARTITION = -1  # Names that came in before they were counted, in checkpoints up to format 5.
_NODE_TYPES, _RELATIONS, _ATTRIBUTES = "node types", "relations", "attributes"
_NO_SCHEMA: Mapping[str, Mapping[str, AttributeKind]] = {}

_Key = tuple[int, str, str]  # Of a group: see ``KnownNamesSnapshot.groups``.


@dataclass(frozen=True, slots=True)
class KnownNamesSnapshot:
    """A copy of all names that are known, for the checkpoint. A name is kept as a digest, as ids of deleted nodes are.

    Attributes:
        groups: Partition, what the names are, and the node type whose attributes they are.
        counts: int64 ``[num_groups]``, number of names of each group.
        digests: uint64 ``[num_names]``, of all groups, one after another.
    """

    groups: list[_Key]
    counts: npt.NDArray[np.int64]
    digests: npt.NDArray[np.uint64]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the snapshot as named arrays."""
        groups = np.frombuffer(json.dumps(self.groups).encode(), np.uint8)
        return {"groups": groups, "counts": self.counts, "digests": self.digests}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "KnownNamesSnapshot":
        """Return the snapshot that ``arrays`` gave."""
        groups = [(partition, what, of) for partition, what, of in json.loads(arrays["groups"].tobytes())]
        return cls(groups, arrays["counts"], arrays["digests"])


@dataclass(slots=True)
class _Group:
    """The names of one group: digests of all, and those that this process has met, which are found faster."""

    digests: set[int] = field(default_factory=set)
    met: set[str] = field(default_factory=set)


class KnownNames:
    """The names that came in so far, by partition; the thread that decodes uses it.

    Names only ever come in: reading a record twice changes nothing, and neither does the deletion of every node that
    has an attribute. ``user``, the items' type, and what the settings name do not count.

    Args:
        item_type: Type of the items.
        schema: Kinds of attributes by node type, as the settings give them.
    """

    def __init__(self, item_type: str, schema: Mapping[str, Mapping[str, AttributeKind]] = _NO_SCHEMA) -> None:
        self._schema = schema
        self._given_types = frozenset({"user", item_type, *schema})
        self._groups: dict[_Key, _Group] = {}
        self._snapshot: KnownNamesSnapshot | None = None

    def check_type(self, partition: int, field: str, node_type: str, limits: Limits) -> None:
        """Let a node type in, or refuse it.

        Args:
            partition: Partition of the record.
            field: Path of the type in the event, for the message.
            node_type: The type.
            limits: How many types may come in.

        Raises:
            EventRefusedError: If it is new, and as many others have come in as may (``too_many_types``).
        """
        if node_type in self._given_types:
            return
        if self._beyond((partition, _NODE_TYPES, ""), (node_type,), limits.max_types):
            raise EventRefusedError(
                "too_many_types",
                f"{field}: wanted one of the {limits.max_types} node types that this partition has named "
                f"(events.max_types), or one of [attributes], got {shorten(node_type)}",
            )

    def check_relation(self, partition: int, relation: Relation, limits: Limits) -> None:
        """Let a relation in with the types of its ends, or refuse it.

        Raises:
            EventRefusedError: If one of them is new, and as many others have come in as may (``too_many_types``).
        """
        source_type, name, target_type = relation.source_type, relation.relation, relation.target_type
        self.check_type(partition, "relation.source_type", source_type, limits)
        self.check_type(partition, "relation.target_type", target_type, limits)
        edge_type = "\0".join((source_type, name, target_type))
        if self._beyond((partition, _RELATIONS, ""), (edge_type,), limits.max_types):
            raise EventRefusedError(
                "too_many_types",
                f"relation.relation: wanted one of the {limits.max_types} relations that this partition has named "
                f"(events.max_types), got {shorten(name)} from {shorten(source_type)} to {shorten(target_type)}",
            )

    def check_attributes(
        self, partition: int, upsert: NodeUpsert, limits: Limits
    ) -> tuple[NodeUpsert, EventRefusedError | None]:
        """Return an upsert without new attributes beyond the limit, and why these are refused, if there are any.

        Of several new ones those come in first whose names do in the order of texts.
        """
        key = (partition, _ATTRIBUTES, upsert.node_type)
        groups = (upsert.categories, upsert.numbers, upsert.texts, upsert.vectors)
        group = self._groups.get(key)
        if group is not None and all(map(group.met.issuperset, groups)):
            return upsert, None
        names = set().union(*groups)
        if upsert.node_type in self._schema:
            names -= self._schema[upsert.node_type].keys()
        most = limits.max_attribute_names
        beyond = self._beyond(key, names, most)
        if not beyond:
            return upsert, None
        others = f" and {len(beyond) - 1} more" if len(beyond) > 1 else ""
        error = EventRefusedError(
            "too_many_attributes",
            f"attribute {shorten(beyond[0])}{others}: wanted one of the {most} names that this partition has given to "
            f"nodes of this type (events.max_attribute_names), or one of [attributes]",
        )
        return upsert.without_names(beyond), error

    def know(self, node_type: str, attributes: Collection[str]) -> None:
        """Let the names in, without a limit, that a graph has from before they were counted."""
        self._add((_EVERY_PARTITION, _NODE_TYPES, ""), (node_type,))
        self._add((_EVERY_PARTITION, _ATTRIBUTES, node_type), attributes)

    def know_relation(self, source_type: str, relation: str, target_type: str) -> None:
        """Let a relation in, without a limit, that a graph has from before they were counted."""
        self._add((_EVERY_PARTITION, _RELATIONS, ""), ("\0".join((source_type, relation, target_type)),))

    def snapshot(self) -> KnownNamesSnapshot:
        """Return a copy of all names; the same one while none comes in."""
        if self._snapshot is None:
            groups = sorted(self._groups)
            digests = [sorted(self._groups[group].digests) for group in groups]
            counts = np.array([len(each) for each in digests], np.int64)
            every = np.array(list(itertools.chain.from_iterable(digests)), np.uint64)
            self._snapshot = KnownNamesSnapshot(groups, counts, every)
        return self._snapshot

    def restore(self, saved: KnownNamesSnapshot) -> None:
        """Restore the names of a checkpoint, which may be more than the limits of now."""
        stops = np.cumsum(saved.counts).tolist()
        starts = [0, *stops[:-1]]
        self._groups = {
            group: _Group(set(saved.digests[start:stop].tolist()))
            for group, start, stop in zip(saved.groups, starts, stops, strict=True)
        }
        self._snapshot = None

    def _beyond(self, key: _Key, names: Collection[str], most: int) -> list[str]:
        """Let names in while there are fewer than ``most``; return the others, sorted."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
        if group.met.issuperset(names):
            return []
        from_before = self._groups.get((_EVERY_PARTITION, *key[1:]), _Group()).digests
        beyond = []
        for name in sorted(names):
            if name in group.met:
                continue
            digest = _digest(name)
            if digest not in group.digests and digest not in from_before:
                if len(group.digests) >= most:
                    beyond.append(name)
                    continue
                group.digests.add(digest)
                self._snapshot = None
            group.met.add(name)
        return beyond

    def _add(self, key: _Key, names: Collection[str]) -> None:
        self._groups.setdefault(key, _Group()).digests.update(map(_digest, names))
        self._snapshot = None


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
