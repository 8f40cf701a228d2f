"""Names make columns and tables, so there is a limit; which are in does not depend on how partitions interleave."""

import shutil
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.checkpoint import CheckpointStore
from springtide.events.attribute_kinds import AttributeKindCheck
from springtide.events.decoding import Decoder
from springtide.events.known_names import KnownNames, KnownNamesSnapshot
from springtide.events.raw import RawEvent, Refusal
from springtide.settings.model import Settings
from springtide.state import LiveState, StreamPosition
from springtide.state_content import state_content
from springtide.v1 import events_pb2

NOW_MS = 1_700_000_000_000
LIMITS = {"max_attributes": 4, "max_attribute_names": 3, "max_category_values": 2, "max_types": 2}


def settings_of(**changes: object) -> Settings:
    return Settings.model_validate({"events": LIMITS, **changes})


def record(partition: int, offset: int, at_ms: int = NOW_MS, **payload: object) -> RawEvent:
    event = events_pb2.Event(event_id=f"e{partition}-{offset}", **payload)
    event.event_time.FromMilliseconds(at_ms)
    return RawEvent(event.SerializeToString(), partition=partition, offset=offset, timestamp_ms=NOW_MS)


def upsert(
    partition: int, offset: int, node_id: str, names: str, *, node_type: str = "item", at_ms: int = NOW_MS
) -> RawEvent:
    """Return an upsert that gives a node a number under each of some names, each a letter."""
    node = {"type": node_type, "id": node_id, "numbers": {name: float(offset) for name in names}}
    return record(partition, offset, at_ms, node_upsert=node)


class Reader:
    """Reads records as a server does."""

    def __init__(self, given: Settings) -> None:
        self.settings = given
        self.state = LiveState(given, {})
        self.state.position = StreamPosition("events", "", {})
        self.begin()

    def begin(self) -> None:
        kinds = AttributeKindCheck(self.settings.attributes, self.state.settled_kind)
        self.decoder = Decoder(self.state.rules, self.settings.events, kinds, names=self.state.known_names)

    def take(self, *records: RawEvent) -> list[Refusal]:
        batches, refusals = self.decoder.decode(records, NOW_MS)
        for batch in batches:
            self.state.apply(batch)
        self.state.advance({each.partition: each.offset + 1 for each in records})
        return refusals

    def names(self, node_type: str = "item") -> set[str]:
        return self.state.graph.nodes(node_type).attribute_names()


def test_node_with_too_many_attributes_is_refused_whole_and_the_message_names_the_first_beyond():
    reader = Reader(settings_of())
    (refusal,) = reader.take(upsert(0, 0, "i1", "edcba"), upsert(0, 1, "i2", "ab"))
    assert refusal.reason == "too_many_attributes"
    assert "wanted at most 4 attributes (events.max_attributes), got 5" in refusal.message
    assert "'e' is the first beyond" in refusal.message
    assert reader.state.graph.nodes("item").ids.all_ids() == ["i2"]
    assert reader.names() == {"a", "b"}, "what was refused has brought no name"


def test_known_names_are_taken_beside_new_ones_that_are_refused():
    reader = Reader(settings_of())
    reader.take(upsert(0, 0, "i1", "ab"))
    (refusal,) = reader.take(upsert(0, 1, "i2", "zyxa"))
    assert refusal.reason == "too_many_attributes"
    assert "attribute 'y' and 1 more: wanted one of the 3 names" in refusal.message
    assert "(its other attributes are taken)" in refusal.message
    assert reader.names() == {"a", "b", "x"}
    assert reader.state.graph.nodes("item").number_values(1) == {"a": 1.0, "x": 1.0}
    assert reader.take(upsert(0, 2, "i3", "abx"), upsert(0, 3, "u", "cde", node_type="user")) == [], (
        "each type has its own"
    )
    assert reader.take(upsert(0, 1, "i2", "zyxa")), "it has no mark as a duplicate: it may come again, corrected"


def test_deleting_all_nodes_gives_no_room_for_new_names_and_settings_name_what_is_always_in():
    reader = Reader(settings_of(attributes={"item": {"price": "number"}}))
    reader.take(upsert(0, 0, "i1", "abc"), record(0, 1, node_delete={"type": "item", "id": "i1"}))
    assert reader.names() == set()
    price = {"type": "item", "id": "i2", "numbers": {"price": 5.0, "d": 1.0}}
    (refusal,) = reader.take(record(0, 2, NOW_MS + 1, node_upsert=price))
    assert "attribute 'd'" in refusal.message
    assert reader.state.graph.nodes("item").number_values(reader.state.graph.nodes("item").ids.row("i2")) == {
        "price": 5.0
    }


def test_category_with_too_many_values_is_refused_and_the_others_are_taken():
    reader = Reader(settings_of())
    values = {"tags": {"values": ["x", "y", "z"]}, "brand": {"values": ["b"]}}
    (refusal,) = reader.take(record(0, 0, node_upsert={"type": "item", "id": "i", "categories": values}))
    assert refusal.reason == "too_many_values"
    assert "wanted at most 2 values (events.max_category_values), got 3; 'z' is the first beyond" in refusal.message
    assert reader.state.graph.nodes("item").category_values(0) == [("brand", "b")]


def test_types_and_relations_are_bounded_and_users_can_be_deleted_whatever_came_before():
    reader = Reader(settings_of())
    edge = {"source_type": "item", "source_id": "i", "target_type": "shop", "target_id": "s"}
    taken = [
        *(upsert(0, 0, "s", "a", node_type="shop"), upsert(0, 1, "c", "a", node_type="city"), upsert(0, 2, "i", "a")),
        *(record(0, 3, relation={**edge, "relation": "in"}), record(0, 4, relation={**edge, "relation": "near"})),
        record(0, 5, node_delete={"type": "user", "id": "u"}),
    ]
    assert reader.take(*taken) == []
    beyond = [
        upsert(0, 6, "x", "a", node_type="planet"),
        record(0, 7, relation={**edge, "relation": "under"}),
        record(0, 8, relation={**edge, "relation": "in", "target_type": "star"}),
        record(0, 9, node_delete={"type": "moon", "id": "x"}),
    ]
    refusals = reader.take(*beyond)
    assert [each.reason for each in refusals] == ["too_many_types"] * 4
    assert "node_upsert.type: wanted one of the 2 node types" in refusals[0].message
    assert "got 'under' from 'item' to 'shop'" in refusals[1].message
    assert set(reader.state.graph.node_types) == {"user", "item", "shop", "city"}
    assert reader.take(*taken, upsert(1, 0, "x", "a", node_type="planet")) == [], "another partition has its own"


letters = st.text("abcdefg", min_size=1, max_size=3).map(lambda text: "".join(set(text)))
partitions = st.lists(st.tuples(st.sampled_from(["i1", "i2", "i3"]), letters, st.integers(0, 9)), max_size=7)


@settings(max_examples=40, deadline=None)
@given(st.lists(partitions, min_size=3, max_size=3), st.randoms(use_true_random=False))
def test_any_interleaving_with_restarts_has_the_same_names_values_and_refusals(drawn, random):
    log = [
        [
            upsert(number, offset, *event[:2], at_ms=NOW_MS - event[2])
            if event[2] < 9
            else record(number, offset, NOW_MS - 4, node_delete={"type": "item", "id": event[0]})
            for offset, event in enumerate(events)
        ]
        for number, events in enumerate(drawn)
    ]
    found = []
    for order in range(2):
        reader, refused = Reader(settings_of()), {}
        store = CheckpointStore(f"memory://names-{uuid.uuid4().hex}", keep=2)
        store.write(reader.state.snapshot())
        while left := [part for number, part in enumerate(log) if reader.state.next_offsets.get(number, 0) < len(part)]:
            part = random.choice(left) if order else left[0]
            start = reader.state.next_offsets.get(part[0].partition, 0)
            for refusal in reader.take(*part[start : start + (random.randint(1, 3) if order else 1)]):
                refused[refusal.record.partition, refusal.record.offset] = refusal.message
            if order and random.random() < 0.2:
                if random.random() < 0.5:
                    store.write(reader.state.snapshot())
                reader = Reader(settings_of())  # From the last checkpoint: what came after it is read again.
                store.restore(store.latest(), reader.state)
                reader.begin()
        found.append((state_content(reader.state), reader.names(), refused))
    assert found[0] == found[1]


FORMAT_5 = Path(__file__).parents[2] / "fixtures" / "checkpoints" / "format_5.zip"


def test_checkpoint_with_more_names_than_may_be_is_restored_and_its_names_stay_in(tmp_path):
    """Also one of before names were counted."""
    shutil.unpack_archive(FORMAT_5, tmp_path / "checkpoints")
    store, reader = (
        CheckpointStore(str(tmp_path / "checkpoints")),
        Reader(settings_of(events={"max_attribute_names": 1})),
    )
    store.restore(store.latest(), reader.state)
    reader.begin()
    before = reader.names()
    assert len(before) > 1
    name = sorted(before)[-1]
    for _ in range(2):
        refusals = reader.take(upsert(5, 0, "new", [name, "x1"]), upsert(5, 1, "new", ["x1", "x2"]))
        assert ["x2" in refusal.message for refusal in refusals] == [True]
        assert reader.names() == before | {"x1"}
        store.write(reader.state.snapshot())
        reader.state = LiveState(reader.settings, {})
        store.restore(store.latest(), reader.state)
        reader.begin()


def test_names_are_kept_as_digests_and_an_unchanged_set_is_one_snapshot():
    names, limits = KnownNames("item"), Decoder(Settings().interaction_rules(), Settings().events)._limits
    for partition in range(2):
        names.check_type(partition, "type", "shop", limits)
    snapshot = names.snapshot()
    names.check_type(0, "type", "shop", limits)
    assert names.snapshot() is snapshot
    arrays = snapshot.arrays()
    assert b"shop" not in b"".join(array.tobytes() for array in arrays.values())
    again = KnownNames("item")
    again.restore(KnownNamesSnapshot.of(arrays))
    assert again.snapshot().arrays()["digests"].tolist() == arrays["digests"].tolist()
    names.check_type(0, "type", "city", limits)
    assert len(names.snapshot().digests) == 3


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_at_least_1(name: str):
    with pytest.raises(ValueError, match=name):
        Settings.model_validate({"events": {name: 0}})
