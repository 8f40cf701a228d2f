"""An event with an id counts once: from its bytes to the graph, whatever its payload, encoding and company."""

import random

import pytest
from google.protobuf import json_format

from springtide.events import RawEvent
from springtide.events.attribute_kinds import AttributeKindCheck
from springtide.events.decoding import Decoder
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2 as pb

NOW_MS = 1_700_000_000_000
PURCHASE = ("user", "purchase", "item")
JSON = [("content-type", b"application/json")]
OTHERS = 70  # So many records are read at once.


def event(event_id: str = "", at_ms: int = NOW_MS, **payload: object) -> pb.Event:
    made = pb.Event(event_id=event_id, **payload)
    made.event_time.FromMilliseconds(at_ms)
    return made


def purchase(event_id: str, user: str = "ann", item: str = "tea", at_ms: int = NOW_MS, **others: object) -> pb.Event:
    return event(event_id, at_ms, interaction={"user": user, "item": item, "type": "purchase", **others})


def packed(event_id: str, rows: list[tuple[str, str, int]], event_ids: tuple[str, ...] = ()) -> pb.Event:
    dictionary = sorted({text for user, item, _ in rows for text in (user, item)} | {"purchase"})
    return pb.Event(
        event_id=event_id,
        batch=pb.EventBatch(
            dictionary=dictionary,
            users=[dictionary.index(user) for user, _, _ in rows],
            items=[dictionary.index(item) for _, item, _ in rows],
            types=[dictionary.index("purchase")],
            event_times_ms=[time_ms for _, _, time_ms in rows],
            event_ids=event_ids,
        ),
    )


def record(message: pb.Event, published_ms: int = NOW_MS) -> RawEvent:
    return RawEvent(message.SerializeToString(), timestamp_ms=published_ms)


class Stream:
    """A state, and the decoder in front of it."""

    def __init__(self, **events: object) -> None:
        settings = Settings.model_validate({"interactions": {"purchase": {}, "rating>=4": {}}, "events": events})
        self.state = LiveState(settings, {})
        self.decoder = Decoder(self.state.rules, settings.events, AttributeKindCheck({}, self.state.settled_kind))
        self.reasons: list[str] = []

    def read(self, *records: RawEvent) -> "Stream":
        batches, refusals = self.decoder.decode(records, NOW_MS)
        self.reasons += [refusal.reason for refusal in refusals]
        for batch in batches:
            self.state.apply(batch)
        return self

    def edges(self, edge_type: tuple[str, str, str] = PURCHASE) -> list[tuple[str, str, int]]:
        view = self.state.graph.view()
        edges = view.edges(edge_type)
        sources = view.nodes(edge_type[0]).ids.ids(edges.source)
        targets = view.nodes(edge_type[2]).ids.ids(edges.target)
        return sorted(zip(sources, targets, edges.timestamps_ms.tolist(), strict=True))

    @property
    def duplicates(self) -> tuple[int, int]:
        return self.state.seen_events.num_duplicates, self.state.seen_events.num_changed


@pytest.mark.parametrize("num", [20, OTHERS])  # One by one, and all at once.
def test_same_event_many_times_counts_once(num):
    stream = Stream().read(*[record(purchase("e1"))] * num)
    assert stream.edges() == [("ann", "tea", NOW_MS)]
    assert stream.state.num_events == 1
    for _ in range(3):
        stream.read(*[record(purchase("e1"))] * num)
    assert (len(stream.edges()), stream.duplicates) == (1, (4 * num - 1, 0))


@pytest.mark.parametrize("num", [20, OTHERS])
def test_events_without_an_id_count_each_time(num):
    assert len(Stream().read(*[record(purchase(""))] * num).edges()) == num


def test_one_event_in_every_encoding_is_one_event():
    plain, others = record(purchase("e1")), [record(purchase(f"x{n}", f"u{n}")) for n in range(OTHERS)]
    as_json = RawEvent(json_format.MessageToJson(purchase("e1")).encode(), None, JSON, timestamp_ms=NOW_MS)
    shuffled = pb.Event.FromString(purchase("e1").SerializeToString())  # Fields in another order are read one by one.
    value = shuffled.SerializeToString()
    in_other_order = RawEvent(value[4:] + value[:4], timestamp_ms=NOW_MS)
    assert pb.Event.FromString(in_other_order.value) == shuffled
    row = record(packed("", [("ann", "tea", NOW_MS)], ("e1",)))
    every = [plain, as_json, in_other_order, row]
    for first in every:
        stream = Stream().read(first).read(*every, *others)
        assert len(stream.edges()) == 1 + OTHERS
        assert stream.duplicates == (4, 0)


def test_what_differs_under_one_id_is_ignored_and_counted():
    stream = Stream().read(record(purchase("e1", value=1.0, context={"place": "p"})))
    stream.read(
        record(purchase("e1", value=1.0, context={"place": "p"})),
        record(purchase("e1", value=2.0, context={"place": "p"})),
        record(purchase("e1", value=1.0, context={"place": "q"})),
        record(purchase("e1", at_ms=NOW_MS - 1, value=1.0, context={"place": "p"})),
    )
    assert stream.edges() == [("ann", "tea", NOW_MS)]
    assert stream.duplicates == (4, 3)


def test_first_record_counts_whatever_its_event_time():
    early, late = purchase("e1", at_ms=NOW_MS - 5_000), purchase("e1")
    for num_others in (0, OTHERS):
        others = [record(purchase("")) for _ in range(num_others)]
        stream = Stream().read(record(late), record(early), *others)
        assert ("ann", "tea", NOW_MS) in stream.edges()
        assert ("ann", "tea", NOW_MS - 5_000) not in stream.edges()


@pytest.mark.parametrize("num", [0, OTHERS])
def test_id_that_events_of_several_things_share_loses_none_of_them(num):
    others = [record(purchase("", "zoe")) for _ in range(num)]
    stream = Stream().read(
        record(purchase("session", "ann", "tea")),
        record(purchase("session", "ann", "milk")),
        record(purchase("session", "bob", "tea")),
        record(event("session", interaction={"user": "ann", "item": "tea", "type": "rating", "value": 5.0})),
        record(event("session", node_upsert={"type": "item", "id": "tea", "numbers": {"price": 1.0}})),
        *others,
    )
    assert len([edge for edge in stream.edges() if edge[0] != "zoe"]) == 3
    assert len(stream.edges(("user", "rating>=4", "item"))) == 1
    assert stream.duplicates == (0, 0)


def test_lengths_of_strings_tell_events_apart():
    stream = Stream().read(record(purchase("e1", "ab", "c")), record(purchase("e1", "a", "bc")))
    stream.read(record(purchase("e1a", "b", "c")))
    assert len(stream.edges()) == 3


def test_refused_event_does_not_block_its_correction():
    bad = event("e1", interaction={"user": "ann", "item": "tea", "type": "purchse"})
    late = purchase("e2", at_ms=NOW_MS + 10 * 86_400_000)
    upsert = event("e3", node_upsert={"type": "item", "id": "tea", "numbers": {"price": float("nan")}})
    stream = Stream().read(record(bad), record(late), record(upsert))
    assert len(stream.reasons) == 3
    good = event("e3", node_upsert={"type": "item", "id": "tea", "numbers": {"price": 2.0}})
    stream.read(record(purchase("e1")), record(purchase("e2", item="milk")), record(good))
    assert len(stream.edges()) == 2
    assert stream.state.graph.nodes("item").number_values(0) == {"price": 2.0}
    assert stream.duplicates == (0, 0)


def test_upsert_that_was_taken_in_part_is_corrected_under_its_id():
    bad = event("e1", node_upsert={"type": "item", "id": "tea", "numbers": {"price": float("nan"), "size": 3.0}})
    good = event("e1", node_upsert={"type": "item", "id": "tea", "numbers": {"price": 2.0, "size": 3.0}})
    stream = Stream().read(record(bad), record(good), record(good))
    assert stream.reasons == ["not_finite"]
    assert stream.state.graph.nodes("item").number_values(0) == {"price": 2.0, "size": 3.0}
    assert stream.duplicates == (1, 0)


def test_packed_batch_that_is_published_again_counts_once_with_all_its_rows():
    rows = [("ann", "tea", 5), ("ann", "tea", 5), ("bob", "tea", 5), ("ann", "tea", 6)]
    stream = Stream().read(record(packed("b1", rows)), record(packed("b1", rows))).read(record(packed("b1", rows)))
    assert stream.edges() == sorted(rows)
    assert stream.duplicates == (8, 0)
    stream.read(record(packed("b2", rows)), record(packed("", rows)))
    assert len(stream.edges()) == 12


def test_corrected_rows_of_a_packed_batch_count_and_the_others_do_not_again():
    rows = [("ann", "", 5), ("ann", "tea", 5), ("bob", "tea", 5)]
    stream = Stream().read(record(packed("b1", rows)))
    assert (stream.reasons, len(stream.edges())) == (["empty_id"], 2)
    stream.read(record(packed("b1", [("ann", "milk", 5), *rows[1:]])))
    assert stream.edges() == [("ann", "milk", 5), ("ann", "tea", 5), ("bob", "tea", 5)]


def test_rows_of_a_packed_batch_have_ids_of_their_own():
    rows = [("ann", "tea", 5), ("ann", "tea", 6), ("ann", "tea", 7)]
    stream = Stream().read(record(packed("", rows, ("r1", "r1", ""))), record(packed("", rows, ("r1", "r2", ""))))
    assert [time for _, _, time in stream.edges()] == [5, 6, 7, 7]
    stream.read(record(packed("b1", rows, ("r1", "", ""))), record(packed("b1", rows, ("r1", "", ""))))
    assert [time for _, _, time in stream.edges()] == [5, 6, 6, 7, 7, 7]


def test_ids_of_rows_must_be_as_many_as_rows_and_not_too_long():
    rows = [("ann", "tea", 5), ("bob", "tea", 6)]
    stream = Stream().read(record(packed("", rows, ("r1",))), record(packed("", rows, ("r1", "x" * 257))))
    assert stream.reasons == ["bad_batch", "id_too_long"]
    assert stream.edges() == [("ann", "tea", 5)]


def test_relations_upserts_and_deletions_count_once():
    ends = {"source_type": "user", "source_id": "ann", "target_type": "user", "target_id": "bob"}
    relation = {**ends, "relation": "follows"}
    stream = Stream()
    for _ in range(3):
        stream.read(*[record(event("r1", relation=relation))] * 2, record(event("", relation=relation)))
    assert len(stream.edges(("user", "follows", "user"))) == 4
    old = event("p1", node_upsert={"type": "item", "id": "tea", "numbers": {"price": 1.0}})
    new = event("p2", NOW_MS, node_upsert={"type": "item", "id": "tea", "numbers": {"price": 2.0}})
    stream.read(record(old), record(new)).read(record(old))
    assert stream.state.graph.nodes("item").number_values(0) == {"price": 2.0}
    delete = event("d1", NOW_MS - 10, node_delete={"type": "user", "id": "ann"})
    before = stream.duplicates[0]
    stream.read(record(delete), record(delete))
    assert stream.duplicates[0] == before + 1


def test_duplicates_of_a_deleted_users_events_bring_nobody_back():
    stream = Stream().read(record(purchase("e1")), record(purchase("e2", "bob")))
    stream.read(record(event("d1", NOW_MS + 1, node_delete={"type": "user", "id": "ann"})))
    stream.read(record(purchase("e1")), record(purchase("e3", "bob", "milk")))
    assert [edge[0] for edge in stream.edges()] == ["bob", "bob"]
    assert stream.state.graph.nodes("user").ids.row("ann") == -1


def test_ids_are_forgotten_as_the_settings_say():
    stream = Stream(duplicates_max_events=2, duplicates_hours=1.0)
    stream.read(*(record(purchase(name)) for name in ("e1", "e2", "e3", "e3", "e1")))
    assert len(stream.edges()) == 4
    stream.read(record(purchase("e1"), NOW_MS + 3_600_000), record(purchase("e1"), NOW_MS + 3_602_000))
    assert len(stream.edges()) == 5


def test_records_in_batches_of_any_size_give_the_same_graph():
    generator = random.Random(7)
    messages = []
    for number in range(300):
        event_id = generator.choice(("", f"e{number % 90}"))
        at_ms = NOW_MS - generator.randrange(100)
        kind = generator.random()
        user, item = f"u{number % 9}", f"i{number % 7}"
        if kind < 0.7:
            messages.append(purchase(event_id, user, item, at_ms))
        elif kind < 0.8:
            messages.append(purchase(event_id, user, item, at_ms, context={"place": "p"}))
        elif kind < 0.9:
            messages.append(event(event_id, at_ms, interaction={"user": user, "item": item, "type": "rating"}))
        else:
            relation = {"source_type": "item", "source_id": item, "relation": "like", "target_type": "item"}
            messages.append(event(event_id, at_ms, relation={**relation, "target_id": "i0"}))
    records = [record(message) for message in messages]
    whole = Stream().read(*records)
    for _ in range(10):
        stream, start = Stream(), 0
        while start < len(records):
            stop = start + generator.choice((1, 5, 64, 100))
            stream.read(*records[start:stop])
            start = stop
        assert stream.edges() == whole.edges()
        assert stream.edges(("item", "like", "item")) == whole.edges(("item", "like", "item"))
        assert stream.duplicates == whole.duplicates


def test_partitions_in_any_order_give_the_same_graph():
    generator = random.Random(11)
    partitions: list[list[RawEvent]] = [[], [], []]
    for number in range(400):
        user = generator.randrange(12)
        event_id = generator.choice(("", f"e{generator.randrange(60)}"))
        others = {"value": float(generator.randrange(3))} if generator.random() < 0.3 else {}
        made = purchase(event_id, f"u{user}", f"i{user % 4}", NOW_MS - generator.randrange(1_000), **others)
        # A user's events share a partition, and so do those of one id about one thing.
        partitions[user % 3].append(record(made, NOW_MS + number * 60_000))
    graphs = set()
    for _ in range(8):
        rests = [list(records) for records in partitions]
        stream = Stream()
        while any(rests):
            rest = generator.choice([rest for rest in rests if rest])
            count = generator.choice((1, 7, 80))
            stream.read(*rest[:count])
            del rest[:count]
        graphs.add((tuple(stream.edges()), stream.duplicates))
    assert len(graphs) == 1
    assert next(iter(graphs))[1][0] > 20
