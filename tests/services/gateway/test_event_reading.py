"""Events in a request's body: what is taken, and what is said of the rest."""

import json
from typing import Any

import pytest

from springtide.clock import wall_ms
from springtide.errors import InvalidRequestError
from springtide.settings.model import Settings
from springtide_services.gateway.event_reading import ReadEvents, TooManyEventsError, read_events

AT = "2024-05-01T12:00:00Z"
JSON, LINES = "application/json", "application/x-ndjson"


def purchase(user: str, item: str = "tea", **more: Any) -> dict[str, Any]:
    return {"eventTime": AT, "interaction": {"user": user, "item": item, "type": "purchase"}, **more}


def read(body: Any, kind: str = JSON, settings: Settings | None = None) -> ReadEvents:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_events(content, kind, settings or Settings(), wall_ms())


def users(found: ReadEvents) -> list[str]:
    return [event.interaction.user for event in found.good]


def test_one_a_list_and_one_a_line_are_read() -> None:
    assert users(read(purchase("ann"))) == ["ann"]
    assert users(read([purchase("ann"), purchase("bob")])) == ["ann", "bob"]
    lines = b"\n".join(json.dumps(purchase(user)).encode() for user in ("ann", "bob")) + b"\n\n"
    assert users(read(lines, LINES)) == ["ann", "bob"]


def test_each_bad_event_is_refused_by_its_place_and_the_others_are_taken() -> None:
    found = read(
        [
            purchase("ann"),
            purchase(""),
            {"interaction": {"user": "ann", "item": "tea", "type": "purchase"}},
            {"eventTime": AT, "interacton": {}},
            purchase("bob", item="tea" * 1_000),
            "tea",
            {"eventTime": AT, "interaction": {"user": "ann", "item": "tea", "type": "licking"}},
            purchase("eve"),
        ]
    )
    assert users(found) == ["ann", "eve"]
    assert [(each.index, each.reason) for each in found.refused] == [
        (1, "empty_id"),
        (2, "missing_time"),
        (3, "undecodable"),
        (4, "id_too_long"),
        (5, "undecodable"),
        (6, "unknown_type"),
    ]
    assert "interacton" in found.refused[2].message
    assert found.refused[4].message == "wanted JSON of an Event: wanted an object, got str"


def test_a_bad_line_is_refused_alone() -> None:
    found = read(json.dumps(purchase("ann")).encode() + b"\n{broken\n", LINES)
    assert users(found) == ["ann"]
    assert [(each.index, each.reason) for each in found.refused] == [(1, "undecodable")]


def test_a_packed_batch_with_a_bad_row_is_refused_whole() -> None:
    batch = {
        "dictionary": ["ann", "tea", "purchase", ""],
        "users": [0, 3],
        "items": [1, 1],
        "types": [2],
        "eventTimesMs": [1_714_564_800_000, 1_714_564_800_000],
    }
    found = read({"batch": batch})
    assert found.good == []
    assert [each.reason for each in found.refused] == ["empty_id"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"1" * 5_000 + b"x"])
def test_what_is_no_json_or_empty_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="body: wanted"):
        read(body)


def test_more_events_than_the_settings_let_in_are_refused() -> None:
    settings = Settings.model_validate({"console": {"max_events": 2}})
    with pytest.raises(TooManyEventsError, match=r"at most 2 events \(console.max_events\), got 3"):
        read([purchase("ann")] * 3, settings=settings)
