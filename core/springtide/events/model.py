"""Decoded events: columns for interactions, small values for the others."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from springtide.events.marks import BatchMarks
from springtide.events.packed_ids import PackedIds
from springtide.interactions import refuse_unequal_lengths
from springtide.settings.model import AttributeKind


@dataclass(frozen=True, slots=True)
class Interactions:
    """Many interactions as columns; ids are dictionary-coded, so that each string is stored once.

    Attributes:
        user_ids: Distinct user ids; those that were decoded are ``PackedIds``.
        user_codes: int32 ``[n]``, index in ``user_ids``.
        item_ids: Distinct item ids.
        item_codes: int32 ``[n]``, index in ``item_ids``.
        relations: Distinct relations: names of the rules that matched (``purchase``, ``rating>=4``).
        relation_codes: int16 ``[n]``, index in ``relations``.
        timestamps_ms: int64 ``[n]``, event times in milliseconds since the Unix epoch.
        values: float32 ``[n]``, values of the events (a rating, a quantity); NaN where an event has none.
        contexts: Context map of each event; None if no event has one.
        recommendation_ids: The answer that each event came of, by its id, ``[n]``, empty for none; None if no event has
            one.

    Raises:
        ValueError: If the columns differ in length.
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
    recommendation_ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        refuse_unequal_lengths(
            user_codes=self.user_codes,
            item_codes=self.item_codes,
            relation_codes=self.relation_codes,
            timestamps_ms=self.timestamps_ms,
            values=self.values,
            contexts=self.timestamps_ms if self.contexts is None else self.contexts,
            recommendation_ids=self.timestamps_ms if self.recommendation_ids is None else self.recommendation_ids,
        )

    def __len__(self) -> int:
        return len(self.timestamps_ms)

    def take(self, rows: npt.NDArray[np.int64]) -> "Interactions":
        """Return the interactions at some indices, int64 ``[m]``; ids that none of them has are left out."""
        user_ids, user_codes = _taken(self.user_ids, self.user_codes[rows])
        item_ids, item_codes = _taken(self.item_ids, self.item_codes[rows])
        contexts = None if self.contexts is None else [self.contexts[row] for row in rows.tolist()]
        answers = self.recommendation_ids
        if answers is not None:
            answers = [answers[row] for row in rows.tolist()]
        return replace(
            self,
            user_ids=user_ids,
            user_codes=user_codes,
            item_ids=item_ids,
            item_codes=item_codes,
            relation_codes=self.relation_codes[rows],
            timestamps_ms=self.timestamps_ms[rows],
            values=self.values[rows],
            contexts=contexts,
            recommendation_ids=answers if answers is not None and any(answers) else None,
        )


@dataclass(frozen=True, slots=True)
class NodeUpsert:
    """A node and some of its attributes, which replace their former values; other attributes stay.

    Attributes:
        node_type: Node type, such as ``user``, ``item``, ``store``.
        node_id: External id.
        categories: Values by name, such as ``{"department": ("GROCERY",)}``; an empty tuple clears the attribute.
        numbers: Finite numbers by name.
        texts: Texts by name.
        timestamp_ms: Event time, milliseconds since the Unix epoch.
        vectors: Finite numbers in 32 bits by name; an empty tuple clears the attribute.

    Raises:
        ValueError: If the type or the id is empty, or a number is not finite.
    """

    node_type: str
    node_id: str
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    timestamp_ms: int = 0
    vectors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse_empty(node_type=self.node_type, node_id=self.node_id)
        for name, number in self.numbers.items():
            if not math.isfinite(number):
                raise ValueError(f"numbers[{name!r}]: wanted a finite number, got {number}")
        for name, vector in self.vectors.items():
            if not all(map(math.isfinite, vector)):
                raise ValueError(f"vectors[{name!r}]: wanted finite numbers, got {vector}")

    def kinds(self) -> Iterator[tuple[str, AttributeKind]]:
        """Yield (attribute, kind) of each value; an attribute that is only cleared has none."""
        for name, values in self.categories.items():
            if any(values):
                yield name, "category"
        for name in self.numbers:
            yield name, "number"
        for name in self.texts:
            yield name, "text"
        for name, vector in self.vectors.items():
            if vector:
                yield name, "vector"

    def without(self, kinds: Collection[tuple[str, AttributeKind]]) -> "NodeUpsert":
        """Return the upsert without some of its values, given as (attribute, kind)."""
        return replace(
            self,
            categories={name: values for name, values in self.categories.items() if (name, "category") not in kinds},
            numbers={name: number for name, number in self.numbers.items() if (name, "number") not in kinds},
            texts={name: text for name, text in self.texts.items() if (name, "text") not in kinds},
            vectors={name: vector for name, vector in self.vectors.items() if (name, "vector") not in kinds},
        )

    def without_names(self, names: Collection[str]) -> "NodeUpsert":
        """Return the upsert without some attributes, cleared ones included."""
        return replace(
            self,
            categories={name: values for name, values in self.categories.items() if name not in names},
            numbers={name: number for name, number in self.numbers.items() if name not in names},
            texts={name: text for name, text in self.texts.items() if name not in names},
            vectors={name: vector for name, vector in self.vectors.items() if name not in names},
        )


@dataclass(frozen=True, slots=True)
class Relation:
    """An edge between any two nodes, such as (item, sold_in, store) or (user, follows, user).

    Attributes:
        source_type: Node type of the source.
        source_id: External id of the source.
        relation: Name of the relation.
        target_type: Node type of the target.
        target_id: External id of the target.
        timestamp_ms: Event time, milliseconds since the Unix epoch.
        weight: Edge weight, finite and above 0.

    Raises:
        ValueError: If a type, an id or the name is empty, or the weight is not finite and above 0.
    """

    source_type: str
    source_id: str
    relation: str
    target_type: str
    target_id: str
    timestamp_ms: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        _refuse_empty(
            source_type=self.source_type,
            source_id=self.source_id,
            relation=self.relation,
            target_type=self.target_type,
            target_id=self.target_id,
        )
        if not 0 < self.weight < math.inf:
            raise ValueError(f"weight: wanted a finite number above 0, got {self.weight}")


@dataclass(frozen=True, slots=True)
class NodeDelete:
    """A node to forget, with the edges and attributes that it had until then.

    It holds for all events of the node with an event time up to its own, whichever arrive first. What happened later is
    another node of the same id.

    Attributes:
        node_type: Node type.
        node_id: External id.
        timestamp_ms: Event time, milliseconds since the Unix epoch.

    Raises:
        ValueError: If the type or the id is empty.
    """

    node_type: str
    node_id: str
    timestamp_ms: int

    def __post_init__(self) -> None:
        _refuse_empty(node_type=self.node_type, node_id=self.node_id)


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events that can be applied in any order: event times decide.

    Attributes:
        interactions: Interactions, as columns.
        upserts: Node upserts; if two set the same attribute of a node, the one with the later event time wins.
        relations: Edges between any two nodes.
        deletes: Deletions; each holds for the events of its node with an event time up to its own.
        marks: What tells events with an id apart; None if none has one.
    """

    interactions: Interactions
    upserts: Sequence[NodeUpsert] = ()
    relations: Sequence[Relation] = ()
    deletes: Sequence[NodeDelete] = ()
    marks: BatchMarks | None = None

    @property
    def num_events(self) -> int:
        """How many events it has."""
        return len(self.interactions) + len(self.upserts) + len(self.relations) + len(self.deletes)


def _taken(ids: Sequence[str], codes: npt.NDArray[np.int32]) -> tuple[Sequence[str], npt.NDArray[np.int32]]:
    """Return the ids that some codes stand for, and the codes in these ids."""
    used, recoded = np.unique(codes, return_inverse=True)
    taken = ids.take(used.astype(np.int64)) if isinstance(ids, PackedIds) else [ids[code] for code in used.tolist()]
    return taken, recoded.astype(np.int32)


def _refuse_empty(**names: str) -> None:
    for field_name, value in names.items():
        if not value:
            raise ValueError(f"{field_name}: wanted at least one character, got {value!r}")
