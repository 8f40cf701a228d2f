"""The OpenAPI document: a path for each method, and those that others add."""

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from connectrpc.code import Code

from springtide.v1 import events_pb2
from springtide_services.access.roles import ROLES_OF, choices
from springtide_services.gateway.openapi.comments import read_comments
from springtide_services.gateway.openapi.schemas import Schema, reference_to, schemas_of
from springtide_services.gateway.proto_files import proto_files
from springtide_services.gateway.upstream import UpstreamMethod, all_methods

_ABOUT = """All methods of Springtide as JSON over POST. The same paths answer Connect (`application/proto`; where an
answer is a stream, `application/connect+json` or `application/connect+proto`) and gRPC-Web, so that the generated
clients of https://connectrpc.com work in browsers and scripts.

Messages are protobuf's JSON: names in lowerCamelCase, 64-bit integers as strings, fields that have their default left
out. Unknown fields are refused. `connect-timeout-ms` is the deadline of a call.

Where the server has tokens, one is wanted: `authorization: Bearer TOKEN`, or `api-key: TOKEN`. Each method says the
roles that may call it."""
_REFUSED = {"$ref": "#/components/responses/Refused"}


def make_document(more_paths: Mapping[str, Any]) -> Schema:
    """Return the document.

    Args:
        more_paths: Path items of other routes, by their paths. They may refer to ``#/components/responses/Refused`` and
            to ``#/components/schemas/NAME`` of each message that methods take or give, and of ``Event`` and its parts.

    Raises:
        ValueError: If one of them is that of a method.
    """
    document = _of_methods()
    if both := document["paths"].keys() & more_paths.keys():
        raise ValueError(f"wanted paths that no method has, got {', '.join(sorted(both))}")
    return {**document, "paths": {**more_paths, **document["paths"]}}


@functools.cache
def _of_methods() -> Schema:
    comments: dict[str, str] = {}
    for _, content in proto_files():
        comments |= read_comments(content.decode())
    methods = all_methods()
    services = {method.descriptor.containing_service.full_name: method for method in methods.values()}
    messages: list[Any] = [events_pb2.Event.DESCRIPTOR]
    for method in methods.values():
        messages += [method.descriptor.input_type, method.descriptor.output_type]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Springtide", "version": importlib.metadata.version("springtide"), "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": _short(name), "description": comments.get(name, "")} for name in services],
        "security": [{}, {"bearer": []}, {"apiKey": []}],
        "paths": {path: {"post": _operation(method, comments)} for path, method in methods.items()},
        "components": {
            "schemas": {**schemas_of(messages, comments), "Refusal": _refusal()},
            "responses": {
                "Refused": {
                    "description": "Why the request was refused.",
                    "headers": {
                        "Retry-After": {
                            "description": "In how many seconds the request may be sent again, where that helps.",
                            "schema": {"type": "integer", "minimum": 0},
                        }
                    },
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
                }
            },
            "parameters": {
                "Timeout": {
                    "name": "connect-timeout-ms",
                    "in": "header",
                    "description": "Deadline of the call, in milliseconds from now on.",
                    "schema": {"type": "integer", "minimum": 0, "maximum": 9_999_999_999},
                }
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `springtide tokens new`."},
                "apiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "api-key",
                    "description": "The same, without a word before.",
                },
            },
        },
    }


def _operation(method: UpstreamMethod, comments: Mapping[str, str]) -> Schema:
    service = method.descriptor.containing_service.full_name
    words = comments.get(f"{service}.{method.descriptor.name}", "")
    roles = ROLES_OF.get(method.path, frozenset())
    request: Schema = {"schema": reference_to(method.descriptor.input_type)}
    answer: Schema = {"schema": reference_to(method.descriptor.output_type)}
    # Messages of a stream are framed (a byte of flags, four of length), which JSON Schema has no words for.
    kinds = ("application/connect+json", "application/connect+proto") if method.is_streaming else ("application/json",)
    return {
        "tags": [_short(service)],
        "operationId": f"{_short(service)}_{method.descriptor.name}",
        "summary": words.partition(".")[0].replace("\n", " "),
        "description": f"{words}\n\nRoles: {choices(roles)}.",
        "parameters": [{"$ref": "#/components/parameters/Timeout"}],
        "requestBody": {"required": True, "content": {kind: {} if method.is_streaming else request for kind in kinds}},
        "responses": {
            "200": {
                "description": comments.get(method.descriptor.output_type.full_name, ""),
                "content": {kind: {} if method.is_streaming else answer for kind in kinds},
            },
            "4XX": _REFUSED,
            "5XX": _REFUSED,
        },
    }


def _refusal() -> Schema:
    detail = {
        "type": "object",
        "properties": {
            "type": {"type": "string", "description": "Full name of a message, such as `google.rpc.BadRequest`."},
            "value": {"type": "string", "description": "The message, serialized, in base64 without padding."},
            "debug": {"type": "object", "description": "The same message as JSON, such as which field is wrong."},
        },
        "required": ["type", "value"],
    }
    return {
        "type": "object",
        "description": "Why a request was refused, as Connect writes it.",
        "properties": {
            "code": {"type": "string", "enum": [code.value for code in Code], "description": "The status of gRPC."},
            "message": {"type": "string", "description": "What was wanted and what came, for people."},
            "details": {"type": "array", "items": detail, "description": "For programs."},
        },
        "required": ["code", "message"],
    }


def _short(full_name: str) -> str:
    return full_name.rpartition(".")[2]
