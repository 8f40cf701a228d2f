"""What `register_decoders` offers: records as other tools write them become events; others are refused with words."""

import base64
import json
import re
import struct
from collections.abc import Mapping

import pytest
from google.protobuf import json_format

from springtide.errors import EventRefusedError, SettingsError
from springtide.events import RawEvent
from springtide.events.decoding import Decoder
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings, Settings
from springtide.testing import check_decoder
from springtide.v1 import events_pb2
from springtide_plugins.decoders.cloudevents import CloudEvents
from springtide_plugins.decoders.confluent import Confluent
from springtide_plugins.decoders.debezium import Debezium

NOW_MS = 1_800_000_000_000
AT_MS = 1_706_725_800_000
AT = "2024-01-31T18:30:00Z"
PLUGINS = load_plugins()
ORDERS = {"event": "interaction", "user": "customer_id", "item": "product_id", "type": "purchase", "value": "quantity"}
PRODUCTS = {
    "event": "node_upsert", "node_type": "item", "id": "id",
    "categories": ["category"], "numbers": ["price"], "texts": ["title"],
}  # fmt: skip
STOCK = {
    "event": "relation", "source_type": "item", "source": "product_id",
    "relation": "sold_in", "target_type": "store", "target": "store_id",
}  # fmt: skip
TABLES = {"public.orders": ORDERS, "products": PRODUCTS, "shop.public.stock": STOCK}


def make(name: str, **options: object):
    return PLUGINS.make("decoder", PartSettings(name=name, options=options))


def event() -> events_pb2.Event:
    made = events_pb2.Event(interaction={"user": "ann", "item": "bread", "type": "purchase"})
    made.event_time.FromMilliseconds(AT_MS)
    return made


def decoded(record: RawEvent, events: Mapping[str, Mapping[str, object]] | None = None):
    """Decode as a server with these settings does; return users, items, and the messages of what was refused."""
    settings = Settings() if events is None else Settings(events={"decoders": events})
    decoder = Decoder(settings.interaction_rules(), settings.events, decoders=PLUGINS.make_decoders(settings.events))
    batches, refusals = decoder.decode([record], NOW_MS)
    pairs = [
        (batch.interactions.user_ids[user], batch.interactions.item_ids[item], timestamp)
        for batch in batches
        for user, item, timestamp in zip(
            batch.interactions.user_codes.tolist(),
            batch.interactions.item_codes.tolist(),
            batch.interactions.timestamps_ms.tolist(),
            strict=True,
        )
    ]
    return pairs, [refusal.message for refusal in refusals], decoder.num_ignored


@pytest.mark.parametrize(
    ("factory", "options"),
    [
        (Confluent, {"schema_ids": [7, 9]}),
        (Confluent, {"message_indexes": [2, 1]}),
        (
            CloudEvents,
            {
                "types": {
                    "order": {**ORDERS, "user": "ce_subject"},
                    "gone": {"event": "node_delete", "node_type": "item", "id": "a.b"},
                }
            },
        ),
        (Debezium, {"tables": TABLES}),
    ],
)
def test_decoders_pass_their_checks_with_options(factory, options):
    check_decoder(factory, **options)


# Confluent: magic byte 0, schema id as four bytes, for protobuf the zigzag path of the message in its file.


def framed(body: bytes, path: bytes = b"", schema_id: int = 100_042) -> bytes:
    return struct.pack(">bI", 0, schema_id) + path + body


@pytest.mark.parametrize("path", [b"\x00", b"\x02\x00"], ids=["short", "long"])
def test_framed_protobuf_is_read(path):
    assert decoded(RawEvent(framed(event().SerializeToString(), path))) == ([("ann", "bread", AT_MS)], [], 0)


@pytest.mark.parametrize("start", ["", " ", "\n  "])
def test_framed_json_is_read(start):
    body = (start + json_format.MessageToJson(event())).encode()
    assert decoded(RawEvent(framed(body)))[0] == [("ann", "bread", AT_MS)]


@pytest.mark.parametrize("is_json", [True, False])
def test_frame_in_a_header_is_taken_off(is_json):
    guid = b"\x01" + bytes(range(16))
    header = guid if is_json else guid + b"\x00"
    value = json_format.MessageToJson(event()).encode() if is_json else event().SerializeToString()
    assert decoded(RawEvent(value, headers=[("__value_schema_id", header)]))[0] == [("ann", "bread", AT_MS)]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (framed(event().SerializeToString(), b"\x02\x0c"), r"wanted message \[0\] of the proto file .*, got \[6\]"),
        (framed(b"\x06ann\x0abread"), "Avro, which is not read"),
        (framed(b"\x91ann\x0abread"), "Avro"),
        (b"\x00\x00\x01", "wanted a frame of 5 bytes and what is in it, got 3 bytes"),
        (framed(b'{"user":"ann"}'), "no field named .*, in confluent"),
        (framed(b'[{"interaction":{}}]'), "a list of 1: send each as a record of its own, in confluent"),
    ],
)
def test_other_frames_are_refused_with_words(value, words):
    pairs, (message,), _ = decoded(RawEvent(value))
    assert not pairs
    assert re.search(words, message), message


def test_a_schema_that_is_not_listed_is_refused():
    record = RawEvent(framed(event().SerializeToString(), b"\x00", schema_id=8))
    _, (message,), _ = decoded(record, {"confluent": {"schema_ids": [7, 9]}})
    assert "wanted one of the schema ids 7, 9 (schema_ids), got 8" in message


def test_framed_bytes_without_the_decoder_say_which_one_is_missing():
    _, (message,), _ = decoded(RawEvent(framed(event().SerializeToString(), b"\x00", 7)), {})
    assert "schema id 7" in message
    assert "list the decoder confluent in [events.decoders]" in message


# CloudEvents 1.0, Kafka protocol binding.

ATTRIBUTES = {"specversion": "1.0", "id": "A234", "source": "/shop", "type": "com.shop.order", "time": AT}


def structured(**changes: object) -> RawEvent:
    whole = {**ATTRIBUTES, "datacontenttype": "application/json", **changes}
    content = {name: value for name, value in whole.items() if value is not None}
    headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    return RawEvent(json.dumps(content).encode(), headers=headers)


def binary(value: bytes | None, content_type: bytes = b"application/json", **changes: str) -> RawEvent:
    headers = [(f"ce_{name}", text.encode()) for name, text in {**ATTRIBUTES, **changes}.items()]
    return RawEvent(value, headers=[*headers, ("content-type", content_type)])


def of_type(value: bytes, name: str) -> RawEvent:
    return RawEvent(value, headers=[("content-type", f"application/{name}".encode())])


CARRIED = {"interaction": {"user": "ann", "item": "bread", "type": "purchase"}}


@pytest.mark.parametrize(
    "record",
    [
        structured(data=CARRIED),
        structured(data=CARRIED, datacontenttype=None),
        structured(data=json.dumps(CARRIED)),
        structured(data_base64=base64.b64encode(json.dumps(CARRIED).encode()).decode()),
        structured(
            data_base64=base64.b64encode(event().SerializeToString()).decode(), datacontenttype="application/protobuf"
        ),
        binary(json.dumps(CARRIED).encode()),
        binary(json.dumps(CARRIED).encode(), b"application/json; charset=utf-8"),
        binary(event().SerializeToString(), b"application/x-protobuf"),
    ],
)
def test_cloud_event_that_carries_an_event_is_read(record):
    assert decoded(record) == ([("ann", "bread", AT_MS)], [], 0)


@pytest.mark.parametrize("headers", [[], [("content-type", b"application/json; charset=utf-8")]])
def test_structured_cloud_event_without_its_content_type_is_known_by_its_attributes(headers):
    """Python's SDK 1 gives it the content type of its data, and removes that from the attributes."""
    record = structured(data=CARRIED, datacontenttype=None)._replace(headers=headers)
    assert decoded(record) == ([("ann", "bread", AT_MS)], [], 0)


def test_an_event_that_speaks_of_cloud_events_is_none():
    texts = {"title": '"specversion"', "specversion": "1.0"}
    upsert = {"nodeUpsert": {"type": "item", "id": "7", "texts": texts}, "eventTime": AT}
    assert not CloudEvents().recognises(of_type(json.dumps(upsert).encode(), "json"))
    assert not CloudEvents().recognises(of_type(b'{"specversion"', "json"))
    assert not CloudEvents().recognises(of_type(b'{"specversion":' + b"[" * 100_000, "json"))


def test_headers_with_hyphens_are_read_too():
    record = binary(json.dumps(CARRIED).encode())
    headers = [(name.replace("ce_", "ce-"), value) for name, value in record.headers]
    assert decoded(record._replace(headers=headers)) == ([("ann", "bread", AT_MS)], [], 0)


def test_source_and_id_are_the_events_id():
    (found,) = CloudEvents().decode(structured(data=CARRIED))
    assert found.event_id == "/shop A234"
    (found,) = CloudEvents().decode(structured(data={**CARRIED, "eventId": "own"}))
    assert found.event_id == "own"
    (found,) = CloudEvents().decode(structured(data=CARRIED, source="https://shop.example/" + "x" * 400))
    assert len(found.event_id) == 32


def test_data_becomes_an_event_as_its_type_says():
    mapping = {"event": "interaction", "user": "ce_subject", "item": "product.sku", "type_field": "kind",
               "value": "amount", "recommendation_id": "came_of", "context": ["store.place"], "time": "at",
               "time_unit": "s"}  # fmt: skip
    decoder = make("cloudevents", types={"com.shop.order": mapping})
    data = {
        "product": {"sku": 12345678901234567890},
        "kind": "purchase",
        "amount": "2.5",
        "came_of": "r1",
        "at": AT_MS // 1_000,
        "store": {"place": "Kiel"},
    }
    for record in (structured(data=data, subject="ann"), binary(json.dumps(data).encode(), subject="ann")):
        (found,) = decoder.decode(record)
        assert found.interaction.user == "ann"
        assert found.interaction.item == "12345678901234567890", "ids keep their digits"
        assert (found.interaction.type, found.interaction.value) == ("purchase", 2.5)
        assert found.interaction.recommendation_id == "r1"
        assert found.interaction.context == {"place": "Kiel"}
        assert found.event_time.ToMilliseconds() == AT_MS
    del data["came_of"]
    assert decoder.decode(structured(data=data, subject="ann"))[0].interaction.recommendation_id == ""


def test_a_type_may_forget_a_node_without_data():
    decoder = make("cloudevents", types={"gone": {"event": "node_delete", "node_type": "item", "id": "ce_subject"}})
    (found,) = decoder.decode(binary(None, type="gone", subject="bread"))
    assert (found.node_delete.type, found.node_delete.id) == ("item", "bread")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (structured(data=CARRIED, id=None), "wanted the attribute id, which each CloudEvent has"),
        (structured(data=CARRIED, specversion="0.3"), "wanted specversion 1.0, got '0.3'"),
        (structured(data=CARRIED, time="2024-01-31"), "a date without a time of day: '2024-01-31'"),
        (structured(data=CARRIED, time="2024-01-31T18:30:00"), "a time without a zone"),
        (structured(data=None), "wanted data, got none, and type 'com.shop.order' is not in types"),
        (structured(data={"customer": 5}), "type 'com.shop.order' is not in types (which is empty)"),
        (structured(data=[CARRIED]), "wanted data that is a JSON object, got list"),
        (structured(data_base64="###"), "wanted data_base64 in base64"),
        (
            of_type(b"[]", "cloudevents-batch+json"),
            "wanted the format application/cloudevents+json, got application/cloud",
        ),
        (of_type(b"{", "cloudevents+json"), "CloudEvent: wanted a JSON object"),
    ],
)
def test_other_cloud_events_are_refused_with_words(record, words):
    pairs, (message,), _ = decoded(record)
    assert not pairs
    assert words in message


# Debezium with the JSON converter.

SOURCE = {
    "version": "2.7.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": AT_MS, "snapshot": "false",
    "db": "shop", "sequence": '["24023119","24023128"]', "schema": "public", "table": "orders", "txId": 555,
    "lsn": 24023128, "xmin": None,
}  # fmt: skip
ORDER = {"id": 1, "customer_id": 1001, "product_id": "b-7", "quantity": 2}


def change(
    op: str = "c", after: object = None, before: object = None, key: object = None, **source: object
) -> RawEvent:
    body = {
        "before": before,
        "after": after,
        "source": {**SOURCE, **source},
        "op": op,
        "ts_ms": AT_MS + 9,
        "transaction": None,
    }
    return RawEvent(json.dumps(body).encode(), key=None if key is None else json.dumps(key).encode())


def events_of(record: RawEvent, **options: object):
    return list(make("debezium", tables=TABLES, **options).decode(record))


@pytest.mark.parametrize("op", ["c", "r"])
@pytest.mark.parametrize("has_schema", [False, True])
def test_created_row_is_an_interaction(op, has_schema):
    record = change(op, ORDER, key={"id": 1})
    if has_schema:
        whole = {"schema": {"type": "struct", "fields": [], "optional": False}, "payload": json.loads(record.value)}
        record = record._replace(value=json.dumps(whole).encode())
    found = decoded(record, {"debezium": {"tables": TABLES}})
    assert found == ([("1001", "b-7", AT_MS)], [], 0)


def test_the_position_in_the_log_is_the_events_id():
    first, second = (events_of(change("c", ORDER, key={"id": 1}))[0].event_id for _ in range(2))
    assert first == second
    assert "shop public.orders c 24023128 555" in first
    assert len(first.encode()) <= 256
    others = [
        change("c", ORDER, key={"id": 2}),
        change("c", ORDER, key={"id": 1}, lsn=9),
        change("r", ORDER, key={"id": 1}),
    ]
    assert len({first, *(events_of(other)[0].event_id for other in others)}) == 4
    late = json.loads(change("c", ORDER, key={"id": 1}).value)
    late["ts_ms"] += 60_000  # When Debezium sent it, which differs when it is sent again.
    assert events_of(RawEvent(json.dumps(late).encode(), key=b'{"id": 1}'))[0].event_id == first


def test_mysql_rows_of_one_statement_have_ids_of_their_own():
    mysql = {"connector": "mysql", "db": "shop", "schema": None, "lsn": None, "txId": None, "sequence": None,
             "file": "mysql-bin.000003", "pos": 154, "gtid": None}  # fmt: skip
    tables = {"shop.orders": ORDERS}
    ids = {
        make("debezium", tables=tables)
        .decode(change("c", {**ORDER, "id": row}, key={"id": row}, **mysql, row=row))[0]
        .event_id
        for row in range(3)
    }
    assert len(ids) == 3
    assert all("mysql-bin.000003 154" in each for each in ids)


def test_changed_and_deleted_orders_are_passed_over_and_counted():
    for record in (change("u", ORDER, ORDER), change("d", None, ORDER), change("m")):
        assert decoded(record, {"debezium": {"tables": TABLES}}) == ([], [], 1)


def test_rows_of_a_catalogue_are_nodes():
    row = {"id": 7, "title": "Bread", "category": None, "price": "2.50"}
    for op in "cur":
        (found,) = events_of(change(op, row, table="products"))
        assert (found.node_upsert.type, found.node_upsert.id) == ("item", "7")
        assert found.node_upsert.numbers == {"price": 2.5}
        assert found.node_upsert.texts == {"title": "Bread"}
        assert list(found.node_upsert.categories["category"].values) == [], "null clears the attribute"
    (found,) = events_of(change("u", {**row, "title": "__debezium_unavailable_value"}, table="products"))
    assert not found.node_upsert.texts, "a large column that did not change is not logged"


def test_deleted_row_forgets_its_node_and_its_tombstone_says_nothing():
    (found,) = events_of(change("d", None, {"id": 7, "title": None}, table="products"))
    assert (found.node_delete.type, found.node_delete.id) == ("item", "7")
    (found,) = events_of(change("d", None, None, key={"id": 7}, table="products"))
    assert found.node_delete.id == "7", "by its key, if the log has no more"
    with_schema = {"schema": {"type": "struct"}, "payload": {"id": 7}}
    (found,) = events_of(change("d", None, None, key=with_schema, table="products"))
    assert found.node_delete.id == "7"
    tombstones = [RawEvent(None, key=b'{"id":7}'), RawEvent(b'{"schema":null,"payload":null}')]
    assert decoded(tombstones[0], {"debezium": {"tables": TABLES}}) == ([], [], 1)
    assert events_of(tombstones[1]) == []
    ignores = {"products": {**PRODUCTS, "on_delete": "ignore"}}
    assert make("debezium", tables=ignores).decode(change("d", None, {"id": 7}, table="products")) == ()


@pytest.mark.parametrize("key", [b"Struct{id=7}", b"\0\0\0\0\x05\x0e", b'{"id":7}'])
def test_tombstone_is_known_by_the_key_of_each_converter(key):
    assert decoded(RawEvent(None, key=key), {"debezium": {"tables": TABLES}}) == ([], [], 1)


def test_record_without_a_value_of_another_producer_is_refused():
    pairs, messages, _ = decoded(RawEvent(None, key=b"ann"), {"debezium": {"tables": TABLES}})
    assert not pairs
    assert "got no value" in messages[0]


def test_flattened_rows_are_read():
    about = {"__op": "c", "__table": "orders", "__source_schema": "public", "__source_ts_ms": AT_MS, "__source_lsn": 7}
    record = RawEvent(json.dumps({**ORDER, **about, "__deleted": "false"}).encode(), key=b'{"id":1}')
    assert decoded(record, {"debezium": {"tables": TABLES}}) == ([("1001", "b-7", AT_MS)], [], 0)
    (first,), (second,) = events_of(record), events_of(record._replace(key=b'{"id":2}'))
    assert "orders c 7" in first.event_id
    assert first.event_id != second.event_id
    gone = {"id": 7, "__op": "d", "__table": "products", "__ts_ms": AT_MS, "__deleted": "true"}
    (found,) = events_of(RawEvent(json.dumps(gone).encode()))
    assert (found.node_delete.id, found.event_time.ToMilliseconds()) == ("7", AT_MS)


def test_link_table_is_a_relation():
    (found,) = events_of(change("c", {"product_id": 7, "store_id": 3}, table="stock"))
    assert (found.relation.source_id, found.relation.relation, found.relation.target_id) == ("7", "sold_in", "3")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("io.debezium.time.Timestamp", AT_MS),
        ("io.debezium.time.MicroTimestamp", AT_MS * 1_000),
        ("io.debezium.time.NanoTimestamp", AT_MS * 1_000_000),
        ("org.apache.kafka.connect.data.Timestamp", AT_MS),
        ("io.debezium.time.ZonedTimestamp", "2024-01-31T20:30:00+02:00"),
        (None, AT_MS * 1_000),
    ],
)
def test_time_column_is_read_as_its_schema_says(kind, value):
    fields = [{"type": "int64", "optional": True, "field": "at", **({"name": kind} if kind else {})}]
    price = {
        "type": "bytes",
        "name": "org.apache.kafka.connect.data.Decimal",
        "parameters": {"scale": "2"},
        "field": "quantity",
    }
    schema = {"type": "struct", "fields": [{"field": "after", "type": "struct", "fields": [*fields, price]}]}
    body = json.loads(change("c", {**ORDER, "at": value, "quantity": "APo="}).value)
    record = RawEvent(json.dumps({"schema": schema, "payload": body}).encode())
    (found,) = make("debezium", tables={"orders": {**ORDERS, "time": "at"}}).decode(record)
    assert found.event_time.ToMilliseconds() == AT_MS
    assert found.interaction.value == 2.5, "a decimal is a number in base64 over a power of ten"


def test_mongodb_documents_are_text():
    after = json.dumps(
        {"_id": {"$oid": "596e275826f08b2730779e1f"}, "customer_id": {"$numberLong": "1004"}, "product_id": "b"}
    )
    tables = {"shop.orders": {**ORDERS, "event_id": "_id"}}
    source = {"connector": "mongodb", "schema": None, "table": None, "collection": "orders", "lsn": None, "ord": 31}
    (found,) = make("debezium", tables=tables).decode(change("c", after, **source))
    assert (found.interaction.user, found.event_id) == ("1004", "596e275826f08b2730779e1f")


MONGODB = {"connector": "mongodb", "schema": None, "table": None, "collection": "products", "lsn": None, "ord": 31}


@pytest.mark.parametrize(
    "time",
    [
        {"$date": AT_MS},
        {"$date": {"$numberLong": str(AT_MS)}},
        {"$date": AT},
        {"$timestamp": {"t": AT_MS // 1_000, "i": 1}},
        {"$numberLong": str(AT_MS)},
    ],
)
def test_mongodb_numbers_and_times_are_read(time):
    product = {
        "_id": {"$oid": "596e"},
        "price": {"$numberDecimal": "9.99"},
        "stock": {"$numberInt": "4"},
        "weight": {"$numberDouble": "1.5"},
        "tags": ["a", {"$numberLong": "7"}],
        "made": {"at": time},
        "unused": {"$date": {"$numberLong": "-99999999999999999"}},
    }
    mapping = {**PRODUCTS, "id": "_id", "numbers": ["price", "stock", "weight"], "categories": ["tags"], "texts": []}
    decoder = make("debezium", tables={"products": {**mapping, "time": "made.at"}})
    (found,) = decoder.decode(change("c", json.dumps(product), **MONGODB))
    assert found.node_upsert.id == "596e"
    assert dict(found.node_upsert.numbers) == {"price": 9.99, "stock": 4, "weight": 1.5}
    assert list(found.node_upsert.categories["tags"].values) == ["a", "7"]
    assert found.event_time.ToMilliseconds() == AT_MS


@pytest.mark.parametrize("image", [[0.5, 1, "2.5"], "[0.5, 1, 2.5]"], ids=["a list", "the text of pgvector"])
def test_vectors_are_read_from_lists_and_from_texts(image):
    decoder = make("debezium", tables={"products": {**PRODUCTS, "vectors": ["image", "sound"]}})
    (found,) = decoder.decode(change("c", {"id": "7", "image": image, "sound": None}, table="products"))
    assert list(found.node_upsert.vectors["image"].values) == [0.5, 1.0, 2.5]
    assert "sound" not in found.node_upsert.vectors


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("0.5, 1", "image: wanted a list of numbers, got '\"0.5, 1\"'"),
        ([0.5, "x"], r"image\[1\]: wanted a number"),
        ([0.5, 1e39], r"image\[1\]: wanted a finite number in 32 bits"),
        ([float("nan")], r"image\[0\]: wanted a finite number in 32 bits"),
    ],
)
def test_what_is_no_vector_is_refused_in_words(image, words):
    decoder = make("debezium", tables={"products": {**PRODUCTS, "vectors": ["image"]}})
    with pytest.raises(EventRefusedError, match=words):
        decoder.decode(change("c", {"id": "7", "image": image}, table="products"))


@pytest.mark.parametrize(
    ("key", "node_id"),
    [
        ('{"$oid": "596e"}', "596e"),
        ("1004", "1004"),
        ('{"$numberLong": "1004"}', "1004"),
        ('"b-7"', "b-7"),
        ("b-7", "b-7"),
    ],
)
@pytest.mark.parametrize("has_schema", [False, True])
def test_mongodb_deletion_is_known_by_its_key(key, node_id, has_schema):
    tables = {"products": {**PRODUCTS, "id": "_id"}}
    whole = {"schema": {"type": "struct"}, "payload": {"id": key}} if has_schema else {"id": key}
    (found,) = make("debezium", tables=tables).decode(change("d", key=whole, **MONGODB))
    assert found.node_delete.id == node_id


def test_mongodb_update_without_its_document_says_which_option_is_missing():
    with pytest.raises(EventRefusedError, match=r"capture\.mode of MongoDB's connector to change_streams"):
        make("debezium", tables={"products": {**PRODUCTS, "id": "_id"}}).decode(change("u", **MONGODB))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (change("c", ORDER, table="baskets"), "shop.public.baskets is not in tables (choices: public.orders, p"),
        (change("c", {**ORDER, "customer_id": None}), "customer_id: wanted an id, got none (fields: id, customer_id"),
        (change("c", {**ORDER, "customer_id": 1.5}), "customer_id: wanted an id as text or a whole number, got '1.5'"),
        (change("c", {**ORDER, "quantity": "many"}), "quantity: wanted a number, got '\"many\"'"),
        (change("t"), "was emptied (op t)"),
        (change("x", ORDER), "wanted an op of c, u, d, r, got 'x'"),
        (change("c", None), "wanted the row in after, as op c has it, got NoneType"),
    ],
)
def test_other_changes_are_refused_with_words(record, words):
    pairs, (message,), _ = decoded(record, {"debezium": {"tables": TABLES}})
    assert not pairs
    assert words in message


def test_time_whose_unit_is_in_doubt_is_refused():
    tables = {"orders": {**ORDERS, "time": "day"}}
    _, (message,), _ = decoded(change("c", {**ORDER, "day": 19_753}), {"debezium": {"tables": tables}})
    assert "day: got 19753, whose unit is in doubt: set time_unit" in message
    tables = {"orders": {**ORDERS, "time": "day", "time_unit": "days"}}
    (pair,), _, _ = decoded(change("c", {**ORDER, "day": 19_753}), {"debezium": {"tables": tables}})
    assert pair[2] == 19_753 * 86_400_000


def test_other_tables_may_be_passed_over():
    assert events_of(change("c", ORDER, table="baskets"), other_tables="ignore") == []


def test_change_event_inside_a_frame_is_read():
    record = RawEvent(framed(change("c", ORDER).value))
    found = decoded(record, {"confluent": {}, "debezium": {"tables": TABLES}})
    assert found[0] == [("1001", "b-7", AT_MS)]


def test_change_event_without_the_decoder_says_which_one_is_missing():
    _, (message,), _ = decoded(change("c", ORDER))
    assert "a change event of Debezium: list the decoder debezium" in message


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"orders": {**ORDERS, "itme": "x"}}, "tables.orders.interaction.itme: no option of that name, got 'x'"),
        ({"orders": {"event": "interaction", "user": "u", "type": "view"}}, "orders.interaction.item: wanted a value"),
        ({"orders": {"event": "interaction", "user": "u", "item": "i"}}, "wanted either type, such as"),
        ({"orders": {**ORDERS, "event": "sale"}}, "tables.orders: input tag 'sale'"),
        ({"orders": {**ORDERS, "time_unit": "h"}}, "orders.interaction.time_unit: input should be 'auto', 'days'"),
        ("orders", "tables: wanted a table, got 'orders'"),
    ],
)
def test_wrong_mapping_is_refused_at_start(tables, words):
    settings = Settings(events={"decoders": {"debezium": {"tables": tables}}})
    with pytest.raises(SettingsError) as refused:
        PLUGINS.check(settings)
    assert "events.decoders.debezium: decoder 'debezium': " in str(refused.value)
    assert words in str(refused.value)


def test_event_with_headers_of_others_stays_an_event():
    headers = [("traceparent", b"00-1-2-03"), ("op", b"c")]
    assert decoded(RawEvent(event().SerializeToString(), headers=headers))[0] == [("ann", "bread", AT_MS)]


def test_refusal_type_is_ours():
    with pytest.raises(EventRefusedError):
        Debezium().decode(RawEvent(b"5"))
