"""What OpenAPI says of the routes that the console answers itself."""

from collections.abc import Mapping
from typing import Any

from springtide.settings.model import Settings
from springtide_services.gateway.events_in import in_openapi

_REFUSED: Mapping[str, Any] = {"$ref": "#/components/responses/Refused"}


def own_paths(settings: Settings) -> dict[str, Any]:
    """Return the path items of the console's own routes, by their paths.

    Args:
        settings: Their limits.
    """
    return {
        "/v1/events": {
            "post": in_openapi(settings.console.max_events),
            "get": _get(
                "watchEvents",
                "Events as they come in",
                "Server-sent events: `watching`, `events` with at most 50 events a second, `failure`.",
                "text/event-stream",
                user="Only those about this user.",
                item="Only those about this item.",
            ),
        },
        "/v1/now": {
            "get": _get(
                "watchStatus",
                "The status each second",
                "Server-sent events: `history`, `status` (the answer of GetStatus), `rates`, `failure`.",
                "text/event-stream",
            )
        },
        "/v1/dead-letters": {
            "get": _get(
                "listDeadLetters",
                "Refused events",
                "Counts by reason; with `reason`, the latest of these.",
                "application/json",
                reason="The reason, such as `undecodable`.",
                limit="The most that are listed, 1 to 500; by default 20.",
            )
        },
        "/v1/dead-letters:replay": {
            "post": {
                "operationId": "replayDeadLetters",
                "summary": "Publishes refused events again",
                "description": "The one at `place`, or all of `reason`; `again` takes those too that were published "
                "again before.",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {
                                    "place": {"type": "string", "description": "PARTITION:OFFSET."},
                                    "reason": {"type": "string"},
                                    "again": {"type": "boolean"},
                                },
                                "additionalProperties": False,
                            }
                        }
                    },
                },
                "responses": {"200": _answer("application/json"), "default": _REFUSED},
            }
        },
    }


def _get(name: str, summary: str, description: str, kind: str, **parameters: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "description": description,
        "parameters": [
            {"name": each, "in": "query", "description": words, "schema": {"type": "string"}}
            for each, words in parameters.items()
        ],
        "responses": {"200": _answer(kind), "default": _REFUSED},
    }


def _answer(kind: str) -> dict[str, Any]:
    schema = {"type": "string" if kind == "text/event-stream" else "object"}
    return {"description": "The answer.", "content": {kind: {"schema": schema}}}
