"""What a trained model knows of nodes beside their vectors: types, relations, attribute values and number scales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from springtide.model.attributes import NumberScale
from springtide.model.vector_scale import VectorScale
from springtide.plugins.contracts import Schema


@dataclass(frozen=True, slots=True)
class ModelSchema:
    """What an earlier model knows of nodes: its schema, attribute values, and scales, by node type."""

    schema: Schema
    attribute_values: Mapping[str, Sequence[str]]
    scales: Mapping[str, NumberScale]
    vectors: Mapping[str, VectorScale] = field(default_factory=dict)


_SUFFIX = " value"


def name_value_types(node_types: Sequence[str]) -> dict[str, str]:
    """Return, for each node type of events, a node type for its attribute values: a name that no other type has."""
    taken = set(node_types)
    names: dict[str, str] = {}
    for node_type in node_types:
        name = node_type + _SUFFIX
        while name in taken:
            name += _SUFFIX
        taken.add(name)
        names[node_type] = name
    return names


def schema_to_manifest(schema: Schema) -> dict[str, Any]:
    """Return a schema as the manifest of a model keeps it."""
    return {
        "node_types": list(schema.node_types),
        "relations": [list(relation) for relation in schema.relations],
        "value_types": dict(schema.value_types),
    }


def schema_from_manifest(saved: Mapping[str, Any]) -> Schema:
    """Return the schema that a manifest keeps.

    Manifests of earlier versions have no ``value_types``: there, the values of ``item`` were always ``item value``.
    """
    node_types = tuple(saved["node_types"])
    relations = tuple((source, name, target) for source, name, target in saved["relations"])
    value_types = saved.get("value_types")
    if value_types is None:
        value_types = {name: name + _SUFFIX for name in node_types if name + _SUFFIX in node_types}
    return Schema(node_types, relations, value_types)
