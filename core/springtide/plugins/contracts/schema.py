"""The types of nodes and edges that a relational encoder sees."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Schema:
    """The types of nodes and edges that a relational encoder sees.

    Attributes:
        node_types: Node types of events, such as ``user``, ``item``, ``store``, and then the types of attribute values:
            each value of a categorical attribute is a node too.
        relations: (source type, name, target type). Each direction is a relation, such as
            ``("user", "purchase", "item")`` and ``("item", "rev_purchase", "user")``.
        value_types: From a node type to the node type of its attribute values, such as ``item`` to ``item value``;
            node types without categorical attributes are left out. Only this tells which node types are values: a node
            type of events may have any name.

    Raises:
        ValueError: If a node type stands twice, or a relation or value type names a node type that is not there.
    """

    node_types: tuple[str, ...] = ()
    relations: tuple[tuple[str, str, str], ...] = ()
    value_types: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.node_types)) < len(self.node_types):
            raise ValueError(f"node types: wanted distinct names, got {', '.join(self.node_types)}")
        ends = {node_type for source, _, target in self.relations for node_type in (source, target)}
        named = ends | self.value_types.keys() | set(self.value_types.values())
        if unknown := named - set(self.node_types):
            choices = ", ".join(self.node_types) or "none"
            raise ValueError(f"no node type named {', '.join(sorted(map(repr, unknown)))} (choices: {choices})")

    def is_value_type(self, node_type: str) -> bool:
        """Return whether nodes of this type are attribute values."""
        return node_type in self.value_types.values()

    @property
    def event_types(self) -> tuple[str, ...]:
        """The node types that events name: all but those of attribute values."""
        return tuple(name for name in self.node_types if not self.is_value_type(name))
