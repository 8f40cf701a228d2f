"""Records as small JSON, for people who watch."""

from types import SimpleNamespace
from typing import Any

from springtide.v1 import events_pb2
from springtide_services.console.event_words import is_about, shown_events


def shown(value: bytes | None) -> list[Any]:
    return list(shown_events(SimpleNamespace(partition=2, offset=7, timestamp=1_714_564_800_000, value=value)))


def test_each_kind_of_event_has_what_it_is_about() -> None:
    event = events_pb2.Event(interaction=events_pb2.Interaction(user="ann", item="tea", type="rating", value=4.0))
    event.event_time.FromMilliseconds(1_714_564_800_500)
    assert shown(event.SerializeToString()) == [
        {
            "kind": "interaction",
            "user": "ann",
            "item": "tea",
            "type": "rating",
            "value": 4.0,
            "place": "2:7",
            "recordTime": "2024-05-01T12:00:00.000Z",
            "eventTime": "2024-05-01T12:00:00.500Z",
        }
    ]
    upsert = events_pb2.Event(node_upsert=events_pb2.NodeUpsert(type="item", id="tea"))
    (found,) = shown(upsert.SerializeToString())
    assert (found["kind"], found["type"], found["id"]) == ("nodeUpsert", "item", "tea")


def test_of_a_packed_batch_the_first_rows_are_shown_and_the_others_counted() -> None:
    batch = events_pb2.EventBatch(
        dictionary=["ann", "tea", "purchase"],
        users=[0] * 60,
        items=[1] * 60,
        types=[2],
        event_times_ms=[1_714_564_800_000] * 60,
    )
    found = shown(events_pb2.Event(batch=batch).SerializeToString())
    assert len(found) == 50
    assert {(each["user"], each["item"], each["type"]) for each in found} == {("ann", "tea", "purchase")}
    assert [each.get("numMore") for each in found][-2:] == [None, 10]


def test_what_is_no_event_is_shown_as_its_text() -> None:
    assert shown(b"{broken\xff")[0]["text"] == "{broken\\xff"
    assert shown(None)[0]["kind"] == "other"
    broken = events_pb2.EventBatch(users=[9], items=[9], event_times_ms=[10**18])  # Codes without names.
    (found,) = shown(events_pb2.Event(batch=broken).SerializeToString())
    assert (found["user"], found["eventTime"]) == ("(9)", None)


def test_a_filter_takes_what_is_about_a_user_or_an_item() -> None:
    bought = {"kind": "interaction", "user": "ann", "item": "tea"}
    assert is_about(bought, "", "")
    assert is_about(bought, "ann", "tea")
    assert not is_about(bought, "tea", "")
    assert not is_about(bought, "ann", "milk")
    assert is_about({"kind": "nodeUpsert", "type": "item", "id": "tea"}, "", "tea")
