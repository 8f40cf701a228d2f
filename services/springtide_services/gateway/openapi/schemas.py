"""Messages of the protos as JSON Schema: their JSON as protobuf defines it."""

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

Schema = dict[str, Any]

_INT32_MAX, _UINT32_MAX = 2**31 - 1, 2**32 - 1
_INTEGER_TEXT = {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}
_SCALARS: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32", "minimum": ~_INT32_MAX, "maximum": _INT32_MAX},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": _UINT32_MAX},
    FieldDescriptor.TYPE_INT64: _INTEGER_TEXT,
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
}
_WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"},
}


def schemas_of(messages: Iterable[Descriptor], comments: Mapping[str, str]) -> dict[str, Schema]:
    """Return schemas of messages and of all that is in them, by their names.

    Args:
        messages: The messages.
        comments: Descriptions of messages, fields, enums and their values, by full names.
    """
    schemas: dict[str, Schema] = {}
    waiting: list[Descriptor | EnumDescriptor] = list(messages)
    while waiting:
        about = waiting.pop()
        if _name_of(about) in schemas:
            continue
        if isinstance(about, EnumDescriptor):
            schemas[_name_of(about)] = _of_enum(about, comments)
            continue
        schemas[_name_of(about)] = _of_message(about, comments)
        waiting += [inner for field in about.fields if (inner := _inner(field)) is not None]
    return dict(sorted(schemas.items()))


def reference_to(message: Descriptor | EnumDescriptor) -> Schema:
    """Return a reference to the schema of a message or an enum."""
    return {"$ref": f"#/components/schemas/{_name_of(message)}"}


def _name_of(about: Descriptor | EnumDescriptor) -> str:
    return about.full_name.removeprefix(f"{about.file.package}.")


def _inner(field: FieldDescriptor) -> Descriptor | EnumDescriptor | None:
    """Return what a field holds if that has a schema of its own."""
    if (entry := _map_entry(field)) is not None:
        return _inner(entry.fields_by_name["value"])
    if field.message_type is not None:
        return None if field.message_type.full_name in _WELL_KNOWN else field.message_type
    return field.enum_type


def _of_message(message: Descriptor, comments: Mapping[str, str]) -> Schema:
    schema: Schema = {"type": "object", "additionalProperties": False}
    _describe(schema, comments.get(message.full_name, ""))
    if message.fields:
        schema["properties"] = {field.json_name: _of_field(field, comments) for field in message.fields}
    choices = [oneof for oneof in message.oneofs if len(oneof.fields) > 1]
    if choices:
        words = [f"At most one of {', '.join(f'`{field.json_name}`' for field in one.fields)}." for one in choices]
        schema["description"] = "\n\n".join((schema.get("description", ""), *words)).strip()
    return schema


def _of_field(field: FieldDescriptor, comments: Mapping[str, str]) -> Schema:
    if (entry := _map_entry(field)) is not None:
        schema: Schema = {"type": "object", "additionalProperties": _of_value(entry.fields_by_name["value"])}
        if entry.fields_by_name["key"].type != FieldDescriptor.TYPE_STRING:
            schema["propertyNames"] = {"pattern": _INTEGER_TEXT["pattern"]}
    elif field.is_repeated:
        schema = {"type": "array", "items": _of_value(field)}
    else:
        schema = _of_value(field)
    _describe(schema, comments.get(field.full_name, ""))
    return schema


def _of_value(field: FieldDescriptor) -> Schema:
    inner = _inner(field)
    if inner is not None:
        return reference_to(inner)
    if field.message_type is not None:
        return dict(_WELL_KNOWN[field.message_type.full_name])
    return dict(_SCALARS[field.type])


def _of_enum(enum: EnumDescriptor, comments: Mapping[str, str]) -> Schema:
    names = [value.name for value in enum.values]
    words = [f"- `{name}`: {comments.get(f'{enum.full_name}.{name}', '')}".removesuffix(": ") for name in names]
    schema: Schema = {"type": "string", "enum": names}
    _describe(schema, "\n".join((comments.get(enum.full_name, ""), "", *words)).strip())
    return schema


def _map_entry(field: FieldDescriptor) -> Descriptor | None:
    """Return the message of a map's entries; None if the field is no map."""
    message = field.message_type
    return message if message is not None and message.GetOptions().map_entry else None


def _describe(schema: Schema, words: str) -> None:
    if words:
        schema["description"] = words
