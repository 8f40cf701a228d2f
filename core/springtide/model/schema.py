"""What a trained model knows of nodes beside their vectors: types, relations, attribute values and number scales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from springtide.model.attributes import NumberScale
from springtide.plugins.contracts import Schema


@dataclass(frozen=True, slots=True)
class ModelSchema:
    """What an earlier model knows of nodes: its schema, attribute values by node type, and number scales."""

    schema: Schema
    attribute_values: Mapping[str, Sequence[str]]
    scales: Mapping[str, NumberScale]


def value_type(node_type: str) -> str:
    """Return the node type of the attribute values of a node type."""
    return f"{node_type} value"


def is_value_type(node_type: str) -> bool:
    """Return whether nodes of this type are attribute values."""
    return node_type.endswith(" value")
