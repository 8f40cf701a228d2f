"""Records become columns; what is bad is refused with a reason, and nothing good is lost with it."""

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.events import InteractionRules, RawEvent
from springtide.events.attribute_kinds import AttributeKindCheck
from springtide.events.decoding import Decoder
from springtide.events.limits import REASONS
from springtide.events.model import NodeUpsert
from springtide.events.raw import Refusal
from springtide.settings.model import EventSettings, InteractionSettings, Settings
from springtide.v1 import events_pb2

NOW_MS = 1_700_000_000_000
NOW_S = NOW_MS // 1_000
JSON = (("content-type", b"application/json"),)


def _interaction(
    user: str = "ann", item: str = "bread", type_name: str = "purchase", **others: object
) -> events_pb2.Event:
    event = events_pb2.Event(interaction={"user": user, "item": item, "type": type_name, **others})
    event.event_time.seconds = NOW_S
    return event


def _upsert(**fields: object) -> events_pb2.Event:
    event = events_pb2.Event(node_upsert={"type": "item", "id": "bread", **fields})
    event.event_time.seconds = NOW_S
    return event


def _relation(**fields: object) -> events_pb2.Event:
    whole = {
        "source_type": "item",
        "source_id": "bread",
        "relation": "sold_in",
        "target_type": "store",
        "target_id": "1",
    }
    event = events_pb2.Event(relation={**whole, **fields})
    event.event_time.seconds = NOW_S
    return event


def _delete(user: str) -> events_pb2.Event:
    event = events_pb2.Event(node_delete={"type": "user", "id": user})
    event.event_time.seconds = NOW_S
    return event


def _raw(event: events_pb2.Event | bytes | None, headers: tuple[tuple[str, bytes], ...] = ()) -> RawEvent:
    return RawEvent(event.SerializeToString() if isinstance(event, events_pb2.Event) else event, headers=headers)


def _at(event: events_pb2.Event, seconds: int, nanos: int = 0) -> events_pb2.Event:
    event.event_time.seconds = seconds
    event.event_time.nanos = nanos
    return event


def _without_time(event: events_pb2.Event) -> events_pb2.Event:
    event.ClearField("event_time")
    return event


def _packed(**fields: object) -> events_pb2.Event:
    whole = {
        "dictionary": ["purchase", "ann", "bob", "bread", "milk"],
        "users": [1, 2, 1],
        "items": [3, 4, 4],
        "types": [0],
        "event_times_ms": [NOW_MS, NOW_MS - 2, NOW_MS - 1],
    }
    return events_pb2.Event(batch={**whole, **fields})


@pytest.fixture
def decoder() -> Decoder:
    settings = Settings()
    return Decoder(settings.interaction_rules(), settings.events, AttributeKindCheck({"store": {"rent": "number"}}))


REFUSED: dict[str, tuple[str, Callable[[], RawEvent]]] = {
    "an empty user": ("empty_id", lambda: _raw(_interaction(user=""))),
    "a blank item": ("empty_id", lambda: _raw(_interaction(item="  \t"))),
    "a nameless context entry": ("empty_id", lambda: _raw(_interaction(context={"": "x"}))),
    "a node without an id": ("empty_id", lambda: _raw(_upsert(id=""))),
    "a node without a type": ("empty_id", lambda: _raw(_upsert(type=""))),
    "a nameless attribute": ("empty_id", lambda: _raw(_upsert(numbers={"": 1.0}))),
    "an empty category": ("empty_id", lambda: _raw(_upsert(categories={"department": {"values": ["A", ""]}}))),
    "a relation to nowhere": ("empty_id", lambda: _raw(_relation(target_id=""))),
    "a deletion of nobody": ("empty_id", lambda: _raw(_delete(""))),
    "a user of 257 bytes": ("id_too_long", lambda: _raw(_interaction(user="u" * 257))),
    "a user of 258 bytes in 86 characters": ("id_too_long", lambda: _raw(_interaction(user="好" * 86))),
    "an event id of 257 bytes": (
        "id_too_long",
        lambda: _raw(events_pb2.Event(event_id="e" * 257, interaction={"user": "ann"})),
    ),
    "an answer's id of 257 bytes": ("id_too_long", lambda: _raw(_interaction(recommendation_id="r" * 257))),
    "an answer's id of 258 bytes in 86 characters": (
        "id_too_long",
        lambda: _raw(_interaction(recommendation_id="好" * 86)),
    ),
    "a value that is NaN": ("not_finite", lambda: _raw(_interaction(value=math.nan))),
    "a value that is infinite": ("not_finite", lambda: _raw(_interaction(value=-math.inf))),
    "a value past 32 bits": ("not_finite", lambda: _raw(_interaction(value=1e300))),
    "a number that is NaN": ("not_finite", lambda: _raw(_upsert(numbers={"price": math.nan}))),
    "a weight that is infinite": ("not_finite", lambda: _raw(_relation(weight=math.inf))),
    "a weight of nothing": ("bad_weight", lambda: _raw(_relation(weight=0.0))),
    "a weight that 32 bits make nothing": ("bad_weight", lambda: _raw(_relation(weight=1e-60))),
    "two days ahead": ("future_time", lambda: _raw(_at(_interaction(), NOW_S + 2 * 86_400))),
    "the end of 64 bits": ("future_time", lambda: _raw(_at(_interaction(), 2**63 - 1))),
    "before the year 1": ("time_out_of_range", lambda: _raw(_at(_interaction(), -(2**62)))),
    "no time": ("missing_time", lambda: _raw(_without_time(_interaction()))),
    "a node without a time": ("missing_time", lambda: _raw(_without_time(_upsert()))),
    "an unknown type": ("unknown_type", lambda: _raw(_interaction(type_name="dream"))),
    "no type": ("unknown_type", lambda: _raw(_interaction(type_name=""))),
    "65 context entries": (
        "context_too_large",
        lambda: _raw(_interaction(context={str(number): "x" for number in range(65)})),
    ),
    "a long context value": ("context_too_large", lambda: _raw(_interaction(context={"place": "x" * 16_385}))),
    "a long vector": ("vector_too_long", lambda: _raw(_upsert(vectors={"v": {"values": [0.5] * 1_025}}))),
    "a long text": ("text_too_long", lambda: _raw(_upsert(texts={"title": "x" * 16_385}))),
    "an attribute of two kinds": ("wrong_attribute_kind", lambda: _raw(_upsert(numbers={"a": 1}, texts={"a": "x"}))),
    "501 attributes": (
        "too_many_attributes",
        lambda: _raw(_upsert(numbers={f"n{n}": 1.0 for n in range(251)}, texts={f"t{n}": "" for n in range(250)})),
    ),
    "1,001 values": (
        "too_many_values",
        lambda: _raw(_upsert(categories={"tags": {"values": [f"v{number}" for number in range(1_001)]}})),
    ),
    "a record past 1 MB": ("oversize", lambda: _raw(b"x" * 1_000_001)),
    "no value": ("empty_payload", lambda: _raw(None)),
    "an empty value": ("empty_payload", lambda: _raw(b"")),
    "no payload": ("empty_payload", lambda: _raw(events_pb2.Event(event_id="e"))),
    "a batch without rows": ("empty_payload", lambda: _raw(events_pb2.Event(batch={}))),
    "columns of two lengths": ("bad_batch", lambda: _raw(_packed(items=[3]))),
    "noise": ("undecodable", lambda: _raw(b"\xff\xff\xff\xff")),
    "a cut message": ("undecodable", lambda: _raw(_interaction().SerializeToString()[:-3])),
    "text that is no JSON": ("undecodable", lambda: _raw(b"{", JSON)),
    "JSON that is no object": ("undecodable", lambda: _raw(b"[1]", JSON)),
    "JSON with a field that events lack": ("undecodable", lambda: _raw(b'{"interation": {}}', JSON)),
    "JSON that is not UTF-8": ("undecodable", lambda: _raw(b'{"eventId": "\xff"}', JSON)),
    "JSON with a lone surrogate": ("undecodable", lambda: _raw(b'{"eventId": "\\ud800"}', JSON)),
    "JSON nested without end": ("undecodable", lambda: _raw(b"[" * 100_000, JSON)),
    "XML": ("unknown_content_type", lambda: _raw(b"<event/>", (("content-type", b"text/xml"),))),
}


@pytest.mark.parametrize("what", REFUSED)
def test_decoder_refuses(what: str, decoder: Decoder) -> None:
    reason, make = REFUSED[what]
    record = make()
    good = _raw(_interaction())
    batches, refusals = decoder.decode([good, record, good], NOW_MS)
    assert [refusal.reason for refusal in refusals] == [reason]
    assert refusals[0].record is record
    assert refusals[0].message
    assert [len(batch.interactions) for batch in batches] == [2], "nothing good is lost"


def test_every_reason_is_explained_and_tested() -> None:
    elsewhere = {"missing_value", "broken_batch", "broken_record", "poison", "too_many_types", "wrong_vector_length"}
    assert {reason for reason, _ in REFUSED.values()} | elsewhere == set(REASONS)


def test_interactions_become_columns_in_the_order_of_event_time(decoder: Decoder) -> None:
    events = [
        _at(_interaction("ann", "bread", "purchase", value=2.0), NOW_S),
        _at(_interaction("bob", "bread", "click", context={"place": "store 7"}), NOW_S - 20, 5_999_999),
        _at(_interaction("ann", "milk", "rating", value=5.0), NOW_S - 10),
        _at(_interaction("ann", "milk", "rating", value=3.0), 0),
    ]
    (batch,), refusals = decoder.decode([_raw(event) for event in events], NOW_MS)
    columns = batch.interactions
    assert refusals == []
    assert [columns.user_ids[code] for code in columns.user_codes] == ["ann", "bob", "ann", "ann"]
    assert [columns.item_ids[code] for code in columns.item_codes] == ["milk", "bread", "milk", "bread"]
    assert [columns.relations[code] for code in columns.relation_codes] == ["rating", "click", "rating>=4", "purchase"]
    assert columns.timestamps_ms.tolist() == [0, NOW_MS - 20_000 + 5, NOW_MS - 10_000, NOW_MS]
    np.testing.assert_array_equal(columns.values, np.array([3.0, np.nan, 5.0, 2.0], np.float32))
    assert columns.contexts == [{}, {"place": "store 7"}, {}, {}]
    assert columns.user_codes.dtype == columns.item_codes.dtype == np.int32
    assert columns.relation_codes.dtype == np.int16


def test_batch_without_contexts_has_none(decoder: Decoder) -> None:
    (batch,), _ = decoder.decode([_raw(_interaction())], NOW_MS)
    assert batch.interactions.contexts is None


def test_events_say_of_which_answer_they_came(decoder: Decoder) -> None:
    later = _at(_interaction(recommendation_id="r1"), NOW_S + 1)
    as_json = _raw(json_format.MessageToJson(_at(_interaction(recommendation_id="好" * 85), NOW_S + 2)).encode(), JSON)
    records = [_raw(later), _raw(_at(_interaction(), NOW_S)), as_json]
    (batch,), refusals = decoder.decode(records, NOW_MS)
    assert refusals == []
    assert batch.interactions.recommendation_ids == ["", "r1", "好" * 85]
    assert batch.interactions.take(np.array([0, 2])).recommendation_ids == ["", "好" * 85]
    assert batch.interactions.take(np.array([0])).recommendation_ids is None
    (batch,), _ = decoder.decode([_raw(_interaction())], NOW_MS)
    assert batch.interactions.recommendation_ids is None


def test_a_packed_row_with_too_long_an_answers_id_is_refused_alone(decoder: Decoder) -> None:
    event = _packed(recommendation_ids=["r1", "r" * 257, ""])
    (batch,), (refusal,) = decoder.decode([_raw(event)], NOW_MS)
    assert (refusal.reason, list(refusal.rows)) == ("id_too_long", [1])
    assert "recommendation_ids" in refusal.message
    assert batch.interactions.recommendation_ids == ["", "r1"], "in the order of event time"


def test_the_answer_does_not_make_it_another_event(decoder: Decoder) -> None:
    first, second = _interaction(recommendation_id="r1"), _interaction(recommendation_id="r2")
    first.event_id = second.event_id = "e1"
    (batch,), _ = decoder.decode([_raw(first), _raw(second), _raw(first)], NOW_MS)
    assert batch.marks is not None
    assert batch.marks.interactions is not None
    assert len(set(batch.marks.interactions.keys.tolist())) == 1
    assert len(set(batch.marks.interactions.contents.tolist())) == 2, "that it says something else is counted"


def test_nothing_gives_no_batch(decoder: Decoder) -> None:
    assert decoder.decode([], NOW_MS) == ([], [])
    assert decoder.decode([_raw(b"\xff")], NOW_MS)[0] == []


def test_upserts_and_relations_are_read_whole(decoder: Decoder) -> None:
    upsert = _upsert(
        categories={"department": {"values": ["FOOD", "FRESH"]}, "brand": {}},
        numbers={"price": 1.5},
        texts={"title": ""},
        vectors={"image": {"values": [0.5, -1.0]}, "sound": {}},
    )
    (batch,), refusals = decoder.decode([_raw(upsert), _raw(_relation()), _raw(_relation(weight=2.5))], NOW_MS)
    assert refusals == []
    (node,) = batch.upserts
    assert (node.node_type, node.node_id, node.timestamp_ms) == ("item", "bread", NOW_MS)
    assert node.categories == {"department": ("FOOD", "FRESH"), "brand": ()}
    assert node.numbers == {"price": 1.5}
    assert node.texts == {"title": ""}
    assert node.vectors == {"image": (0.5, -1.0), "sound": ()}
    assert [relation.weight for relation in batch.relations] == [1.0, 2.5]
    assert batch.relations[0].target_id == "1"


def test_deletions_between_other_events_are_one_batch_with_them(decoder: Decoder) -> None:
    events = [_interaction("ann"), _delete("ann"), _delete("bob"), _interaction("ann"), _upsert(), _delete("cid")]
    (batch,), _ = decoder.decode([_raw(event) for event in events], NOW_MS)
    assert (len(batch.interactions), len(batch.upserts)) == (2, 1)
    assert [delete.node_id for delete in batch.deletes] == ["ann", "bob", "cid"]


def _decode_upsert(decoder: Decoder, **attributes: Any) -> tuple[NodeUpsert, list[Refusal]]:
    (batch,), refusals = decoder.decode([_raw(_upsert(**attributes))], NOW_MS)
    (upsert,) = batch.upserts
    return upsert, refusals


def _refuse_one_attribute(decoder: Decoder, **attributes: Any) -> tuple[NodeUpsert, str, str]:
    """Decode an upsert that has a bad attribute; return what is taken of it, the reason and the message."""
    upsert, (refusal,) = _decode_upsert(decoder, **attributes)
    return upsert, refusal.reason, refusal.message


def test_attribute_of_another_kind_than_the_schema_is_refused_alone() -> None:
    kinds = AttributeKindCheck({"item": {"price": "number", "tags": "category"}})
    decoder = Decoder(Settings().interaction_rules(), EventSettings(), kinds)
    upsert, reason, message = _refuse_one_attribute(
        decoder, numbers={"size": 2.0}, texts={"price": "cheap", "title": "Bread"}
    )
    assert (upsert.numbers, upsert.texts) == ({"size": 2.0}, {"title": "Bread"})
    assert reason == "wrong_attribute_kind"
    assert message == "item 'bread': attribute 'price': wanted a number, got a text (its other attributes are taken)"
    upsert, _, _ = _refuse_one_attribute(decoder, numbers={"price": 1.0, "tags": 3.0}, texts={"price": "cheap"})
    assert (upsert.numbers, upsert.texts) == ({"price": 1.0}, {}), "of two kinds, the schema's is taken"
    upsert, refusals = _decode_upsert(decoder, categories={"price": {"values": []}})
    assert (upsert.categories, refusals) == ({"price": ()}, []), "an empty list clears any kind"


def test_attribute_of_another_kind_than_most_is_reported_and_kept() -> None:
    decoder = Decoder(
        Settings().interaction_rules(),
        EventSettings(),
        AttributeKindCheck({}, lambda node_type, name: "number" if (node_type, name) == ("item", "price") else None),
    )
    upsert, reason, message = _refuse_one_attribute(decoder, texts={"price": "cheap", "title": "Bread"})
    assert upsert.texts == {"price": "cheap", "title": "Bread"}
    assert reason == "wrong_attribute_kind"
    assert "'price': wanted a number, as most nodes have, got a text, which is hidden" in message
    store = events_pb2.Event(node_upsert={"type": "store", "id": "1", "texts": {"price": "low"}})
    store.event_time.seconds = NOW_S
    assert decoder.decode([_raw(store)], NOW_MS)[1] == []


def test_new_attribute_of_two_kinds_is_reported_within_a_poll_and_not_later() -> None:
    decoder = Decoder(Settings().interaction_rules(), EventSettings(), AttributeKindCheck({}))
    text, number = _raw(_upsert(texts={"price": "cheap"})), _raw(_upsert(numbers={"price": 1.0}))
    assert [refusal.record for refusal in decoder.decode([text, number], NOW_MS)[1]] == [number]
    assert decoder.decode([number], NOW_MS)[1] == [], "nothing says that the first one was ever applied"


def test_vector_of_another_length_than_the_first_is_refused_within_a_poll_and_later() -> None:
    lengths = {("item", "sound"): 2}
    kinds = AttributeKindCheck({}, settled_length=lambda node_type, name: lengths.get((node_type, name)))
    decoder = Decoder(Settings().interaction_rules(), EventSettings(), kinds)
    three, four = (_raw(_upsert(vectors={"image": {"values": [1.0] * length}})) for length in (3, 4))
    (batch,), (refusal,) = decoder.decode([three, four, three], NOW_MS)
    assert [len(upsert.vectors.get("image", ())) for upsert in batch.upserts] == [3, 0, 3]
    assert (refusal.record, refusal.reason) == (four, "wrong_vector_length")
    upsert, reason, message = _refuse_one_attribute(
        decoder, vectors={"sound": {"values": [1.0]}, "image": {"values": [1.0]}}
    )
    assert upsert.vectors == {"image": (1.0,)}, "nothing says that the first one was ever applied"
    assert reason == "wrong_vector_length"
    assert "attribute 'sound': wanted 2 numbers, as the first vector of this name has, got 1" in message


@pytest.mark.parametrize(
    ("reason", "attributes"),
    [
        ("not_finite", {"numbers": {"price": math.nan, "size": 2.0}, "texts": {"title": "Bread"}}),
        ("text_too_long", {"numbers": {"size": 2.0}, "texts": {"title": "Bread", "about": "x" * 16_385}}),
        ("empty_id", {"numbers": {"size": 2.0, " ": 1.0}, "texts": {"title": "Bread"}}),
        ("id_too_long", {"numbers": {"size": 2.0}, "texts": {"title": "Bread", "x" * 257: "long"}}),
        (
            "empty_id",
            {"categories": {"tags": {"values": ["x", ""]}}, "numbers": {"size": 2.0}, "texts": {"title": "Bread"}},
        ),
        ("wrong_attribute_kind", {"numbers": {"size": 2.0, "a": 1.0}, "texts": {"title": "Bread", "a": "x"}}),
        (
            "not_finite",
            {"numbers": {"size": 2.0}, "texts": {"title": "Bread"}, "vectors": {"image": {"values": [1.0, math.nan]}}},
        ),
        (
            "vector_too_long",
            {"numbers": {"size": 2.0}, "texts": {"title": "Bread"}, "vectors": {"image": {"values": [0.5] * 1_025}}},
        ),
        (
            "empty_id",
            {"numbers": {"size": 2.0}, "texts": {"title": "Bread"}, "vectors": {" ": {"values": [0.5]}}},
        ),
    ],
)
def test_bad_attribute_leaves_the_good_ones(decoder: Decoder, reason: str, attributes: dict[str, Any]) -> None:
    upsert, found, message = _refuse_one_attribute(decoder, **attributes)
    assert (upsert.categories, upsert.numbers, upsert.texts) == ({}, {"size": 2.0}, {"title": "Bread"})
    assert upsert.vectors == {}
    assert found == reason
    assert message.startswith("item 'bread': ")


def test_bad_attributes_of_one_reason_are_one_refusal(decoder: Decoder) -> None:
    numbers = {"price": math.nan, "size": math.inf}
    (_,), refusals = decoder.decode([_raw(_upsert(numbers=numbers, texts={"x" * 257: ""}))], NOW_MS)
    assert {refusal.reason for refusal in refusals} == {"not_finite", "id_too_long"}
    assert len(refusals) == 2


def test_rules_tell_by_the_value() -> None:
    rules = InteractionRules.from_mapping({"rating>=4": (1.0, True), "rating<2": (0.5, False)})
    decoder = Decoder(rules, EventSettings())
    events = [_interaction(type_name="rating", value=value) for value in (5.0, 1.0, 3.0)]
    (batch,), refusals = decoder.decode([_raw(event) for event in [*events, _interaction(type_name="rating")]], NOW_MS)
    assert [rules.relations[code] for code in batch.interactions.relation_codes] == ["rating>=4", "rating<2"]
    assert decoder.num_ignored == 1, "a 3 is no mistake, but nobody takes it"
    assert [refusal.reason for refusal in refusals] == ["missing_value"]


def test_plain_rule_after_a_bound_takes_the_rest() -> None:
    rules = Settings(
        interactions={"rating>=4": InteractionSettings(), "rating": InteractionSettings()}
    ).interaction_rules()
    decoder = Decoder(rules, EventSettings())
    events = [_interaction(type_name="rating", value=5), _interaction(type_name="rating")]
    (batch,), _ = decoder.decode([_raw(event) for event in events], NOW_MS)
    assert batch.interactions.relation_codes.tolist() == [0, 1]


def test_packed_batch_joins_the_singles(decoder: Decoder) -> None:
    records = [_raw(_interaction("bob", "eggs")), _raw(_packed(values=[1.0, math.nan, 3.0]))]
    (batch,), refusals = decoder.decode(records, NOW_MS)
    columns = batch.interactions
    assert refusals == []
    rows = list(
        zip(
            [columns.user_ids[code] for code in columns.user_codes],
            [columns.item_ids[code] for code in columns.item_codes],
            columns.timestamps_ms.tolist(),
            strict=True,
        )
    )
    assert rows == [
        ("bob", "milk", NOW_MS - 2),
        ("ann", "milk", NOW_MS - 1),
        ("bob", "eggs", NOW_MS),
        ("ann", "bread", NOW_MS),
    ]
    np.testing.assert_array_equal(columns.values, np.array([np.nan, 3.0, np.nan, 1.0], np.float32))
    assert sorted(columns.user_ids) == ["ann", "bob"]
    assert {columns.relations[code] for code in columns.relation_codes} == {"purchase"}


def test_packed_batch_loses_its_bad_rows_only(decoder: Decoder) -> None:
    dictionary = ["purchase", "ann", "bread", "", "dream", "x" * 300]
    rows = {  # user, item, type, time, value
        "good": (1, 2, 0, NOW_MS, 1.0),
        "bad_batch": (9, 2, 0, NOW_MS, 1.0),
        "empty_id": (3, 2, 0, NOW_MS, 1.0),
        "id_too_long": (1, 5, 0, NOW_MS, 1.0),
        "unknown_type": (1, 2, 4, NOW_MS, 1.0),
        "not_finite": (1, 2, 0, NOW_MS, math.inf),
        "future_time": (1, 2, 0, NOW_MS + 10**9, 1.0),
        "time_out_of_range": (1, 2, 0, -(2**63), 1.0),
        "also good": (1, 2, 0, 5, math.nan),
    }
    users, items, types, times, values = (list(column) for column in zip(*rows.values(), strict=True))
    event = events_pb2.Event(
        batch={
            "dictionary": dictionary,
            "users": users,
            "items": items,
            "types": types,
            "event_times_ms": times,
            "values": values,
        }
    )
    (batch,), refusals = decoder.decode([_raw(event)], NOW_MS)
    assert batch.interactions.timestamps_ms.tolist() == [5, NOW_MS]
    names = list(rows)
    assert {refusal.reason: [names[row] for row in refusal.rows] for refusal in refusals} == {
        name: [name] for name in names if "good" not in name
    }


def test_packed_rows_that_no_rule_takes_are_ignored_or_lack_a_value() -> None:
    decoder = Decoder(InteractionRules.from_mapping({"rating>=4": (1.0, True)}), EventSettings())
    event = _packed(dictionary=["rating", "ann", "bob", "bread", "milk"], values=[5.0, 1.0, math.nan])
    (batch,), refusals = decoder.decode([_raw(event)], NOW_MS)
    assert len(batch.interactions) == 1
    assert decoder.num_ignored == 1
    assert [(refusal.reason, list(refusal.rows)) for refusal in refusals] == [("missing_value", [2])]


def test_packed_batch_of_bad_rows_alone_gives_no_batch(decoder: Decoder) -> None:
    batches, refusals = decoder.decode([_raw(_packed(types=[1]))], NOW_MS)
    assert batches == []
    assert refusals[0].num_events == 3


@pytest.mark.parametrize("content_type", [b"application/json", b"Application/JSON; charset=utf-8"])
def test_json_gives_what_protobuf_gives(content_type: bytes, decoder: Decoder) -> None:
    event = _interaction(value=2.0, context={"place": "7"})
    as_json = json_format.MessageToJson(event).encode()
    (from_json,), refusals = decoder.decode([_raw(as_json, (("Content-Type", content_type),))], NOW_MS)
    (from_protobuf,), _ = decoder.decode([_raw(event, (("content-type", b"application/protobuf"),))], NOW_MS)
    assert refusals == []
    assert from_json.interactions.contexts == from_protobuf.interactions.contexts
    for name in ("user_ids", "item_ids", "timestamps_ms", "values", "relation_codes"):
        np.testing.assert_array_equal(getattr(from_json.interactions, name), getattr(from_protobuf.interactions, name))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"numbers": {"price": "9,99", "size": "2.0"}}, "numbers['price']: wanted a number, got '\"9,99\"'"),
        ({"numbers": {"price": None, "size": 2}}, "numbers['price']: wanted a number, got 'null'"),
        ({"numbers": {"size": 2}, "categories": {"d": "x"}}, "categories['d']: wanted an object such as"),
        ({"numbers": {"size": 2}, "vectors": {"v": [0.5]}}, "vectors['v']: wanted an object such as"),
        ({"numbers": {"size": 2}, "vectors": {"v": {"values": [1e300]}}}, "vectors['v']: wanted an object such as"),
        ({"numbers": {"size": 2}, "texts": {"title": "Bread", "n": 5}}, "texts['n']: wanted text in quotes, got '5'"),
    ],
)
def test_attribute_that_json_cannot_give_leaves_the_good_ones(attributes, words, decoder: Decoder) -> None:
    upsert = {"type": "item", "id": "bread", "texts": {"title": "Bread"}, **attributes}
    event = {"eventTime": "2023-01-01T00:00:00Z", "eventId": "1", "nodeUpsert": upsert}
    headers = (("content-type", b"application/json"),)
    (batch,), (refusal,) = decoder.decode([_raw(json.dumps(event).encode(), headers)], NOW_MS)
    [taken] = batch.upserts
    assert (taken.categories, taken.numbers, taken.texts) == ({}, {"size": 2.0}, {"title": "Bread"})
    assert refusal.reason == "wrong_attribute_kind"
    assert refusal.message.startswith(f"item 'bread': node_upsert.{words}")
    assert refusal.message.endswith("(its other attributes are taken)")
    assert batch.marks is None or batch.marks.upserts is None  # It may come again, corrected, with its id.
    del event["eventTime"]
    batches, (refusal,) = decoder.decode([_raw(json.dumps(event).encode(), headers)], NOW_MS)
    assert (batches, refusal.reason) == ([], "missing_time")
    assert words in refusal.message


def test_other_headers_leave_protobuf(decoder: Decoder) -> None:
    batches, refusals = decoder.decode([_raw(_interaction(), (("traceparent", b"00-1-2-01"),))], NOW_MS)
    assert (len(batches), refusals) == (1, [])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([(), JSON, (("content-type", b"\xff"),), (("content-type", None),)]))
def test_arbitrary_bytes_never_raise(value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
    decoder = Decoder(Settings().interaction_rules(), EventSettings())
    batches, refusals = decoder.decode([RawEvent(value, headers=headers)], NOW_MS)
    assert len(refusals) + len(batches) + decoder.num_ignored >= 1


_strings = st.one_of(st.sampled_from(["purchase", "rating", "ann", ""]), st.text(max_size=5))
_doubles = st.floats(allow_nan=True, allow_infinity=True)
_counts = st.integers(0, 5)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_arbitrary_messages_never_raise(data: st.DataObject) -> None:
    draw = data.draw
    event = events_pb2.Event(event_id=draw(_strings))
    if draw(st.booleans()):
        event.event_time.seconds = draw(st.integers(-(2**63), 2**63 - 1))
        event.event_time.nanos = draw(st.integers(-(2**31), 2**31 - 1))
    kind = draw(st.integers(0, 4))
    if kind == 0:
        event.interaction.user, event.interaction.item, event.interaction.type = draw(st.tuples(*[_strings] * 3))
        event.interaction.value = draw(_doubles)
        event.interaction.context.update(draw(st.dictionaries(_strings, _strings, max_size=3)))
    elif kind == 1:
        event.node_upsert.type, event.node_upsert.id = draw(st.tuples(_strings, _strings))
        event.node_upsert.numbers.update(draw(st.dictionaries(_strings, _doubles, max_size=3)))
        event.node_upsert.texts.update(draw(st.dictionaries(_strings, _strings, max_size=3)))
        event.node_upsert.vectors[draw(_strings)].values.extend(draw(st.lists(st.floats(width=32), max_size=3)))
        event.node_upsert.categories[draw(_strings)].values.extend(draw(st.lists(_strings, max_size=2)))
    elif kind == 2:
        event.relation.source_id, event.relation.weight = draw(st.tuples(_strings, _doubles))
    elif kind == 3:
        event.node_delete.type, event.node_delete.id = draw(st.tuples(_strings, _strings))
    else:
        event.batch.dictionary.extend(draw(st.lists(_strings, max_size=4)))
        rows = draw(_counts)
        for column in (event.batch.users, event.batch.items, event.batch.types):
            column.extend(draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows)))
        event.batch.event_times_ms.extend(
            draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=rows, max_size=rows))
        )
        event.batch.values.extend(draw(st.lists(st.floats(width=32), max_size=rows)))
    decoder = Decoder(Settings().interaction_rules(), EventSettings())
    batches, refusals = decoder.decode([_raw(event)], NOW_MS)
    for batch in batches:
        assert all(batch.interactions.user_ids)
        assert not np.isinf(batch.interactions.values).any()
    assert list(itertools.chain(batches, refusals)) or decoder.num_ignored
