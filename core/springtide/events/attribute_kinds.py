"""Checking the kinds of attributes and the lengths of vectors: what an upsert may set, what is refused or doubted."""

from collections.abc import Callable, Mapping

from springtide.errors import EventRefusedError
from springtide.events.model import NodeUpsert
from springtide.settings.model import AttributeKind

REASON = "wrong_attribute_kind"

SettledKind = Callable[[str, str], AttributeKind | None]
"""Returns the kind that most nodes have, given a node type and an attribute; None if no node has a value."""

SettledLength = Callable[[str, str], int | None]
"""Returns the length of a vector attribute, given a node type and its name; None if no node has one."""

_Schema = Mapping[str, Mapping[str, AttributeKind]]


def wrong_kind(name: str, wanted: str, got: str) -> EventRefusedError:
    """Return the error of an attribute that has a wrong kind."""
    return EventRefusedError(REASON, f"attribute {name!r}: wanted {wanted}, got {got}")


def wrong_length(name: str, wanted: int, got: int) -> EventRefusedError:
    """Return the error of a vector of another length than the others of its name."""
    return EventRefusedError(
        "wrong_vector_length",
        f"attribute {name!r}: wanted {wanted} numbers, as the first vector of this name has, got {got}; vectors of "
        "another length need another name",
    )


class AttributeKindCheck:
    """Finds attributes of a wrong kind in upserts, one after the other; the upserts' other attributes are good.

    A kind that the schema does not allow is refused, and so are two kinds for one attribute in one upsert. Without a
    schema, a value of another kind than most nodes have is reported, and kept: if it was the others that were wrong,
    it will be the right one. A vector of another length than those that nodes have by its name is refused.

    Args:
        schema: Kinds by attribute, by node type.
        settled_kind: Returns the kind that most nodes have.
        settled_length: Returns the length of the vectors that nodes have.
    """

    def __init__(
        self,
        schema: _Schema,
        settled_kind: SettledKind | None = None,
        settled_length: SettledLength | None = None,
    ) -> None:
        self._schema = schema
        self._settled_kind = settled_kind
        self._settled_length = settled_length
        self._claimed: dict[tuple[str, str], AttributeKind] = {}
        self._claimed_lengths: dict[tuple[str, str], int] = {}

    def begin(self) -> None:
        """Forget the kinds of upserts that were checked so far; they are in the graph by now, or never will be."""
        self._claimed.clear()
        self._claimed_lengths.clear()

    def check(self, upsert: NodeUpsert) -> tuple[NodeUpsert, list[EventRefusedError]]:
        """Return the upsert without the values that are refused, and an error for each wrong attribute."""
        errors: list[EventRefusedError] = []
        refused: set[tuple[str, AttributeKind]] = set()
        schema = self._schema.get(upsert.node_type, {})
        by_name: dict[str, list[AttributeKind]] = {}
        for name, kind in upsert.kinds():
            by_name.setdefault(name, []).append(kind)
        for name, kinds in by_name.items():
            wanted = schema.get(name)
            bad = [kind for kind in kinds if kind != wanted] if wanted or len(kinds) > 1 else []
            if bad:
                refused.update((name, kind) for kind in bad)
                errors.append(wrong_kind(name, f"a {wanted}" if wanted else "one kind", f"a {' and a '.join(bad)}"))
            elif wanted is None and (usual := self._usual_kind(upsert.node_type, name, kinds[0])) != kinds[0]:
                errors.append(wrong_kind(name, f"a {usual}, as most nodes have", f"a {kinds[0]}, which is hidden"))
        for name, vector in upsert.vectors.items():
            if not vector or (name, "vector") in refused:
                continue
            wanted_length = self._usual_length(upsert.node_type, name, len(vector))
            if wanted_length != len(vector):
                refused.add((name, "vector"))
                errors.append(wrong_length(name, wanted_length, len(vector)))
        return (upsert.without(refused) if refused else upsert), errors

    def _usual_kind(self, node_type: str, name: str, kind: AttributeKind) -> AttributeKind:
        settled = None if self._settled_kind is None else self._settled_kind(node_type, name)
        return settled or self._claimed.setdefault((node_type, name), kind)

    def _usual_length(self, node_type: str, name: str, length: int) -> int:
        settled = None if self._settled_length is None else self._settled_length(node_type, name)
        return settled or self._claimed_lengths.setdefault((node_type, name), length)
