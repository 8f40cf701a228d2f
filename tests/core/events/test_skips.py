"""What a rebuild leaves out: by offset, id, time, type and user; single events and rows of packed batches."""

import pytest

from springtide.errors import SettingsError
from springtide.events import RawEvent
from springtide.events.decoding import Decoder
from springtide.events.skips import SkipFilter, Skips
from springtide.settings.model import Settings
from springtide.v1 import events_pb2 as pb

NOW_MS = 1_700_000_000_000


def purchase(event_id: str = "", user: str = "ann", type_name: str = "purchase") -> pb.Event:
    event = pb.Event(event_id=event_id, interaction={"user": user, "item": "tea", "type": type_name})
    event.event_time.FromMilliseconds(NOW_MS)
    return event


def node(kind: str, node_type: str, node_id: str) -> pb.Event:
    event = pb.Event(**{kind: {"type": node_type, "id": node_id}})
    event.event_time.FromMilliseconds(NOW_MS)
    return event


def record(event: pb.Event, partition: int = 0, offset: int = 0, published_ms: int = NOW_MS) -> RawEvent:
    return RawEvent(event.SerializeToString(), None, (), "t", partition, offset, published_ms)


def accepted(records: list[RawEvent], *skips: Skips) -> tuple[list[str], int, SkipFilter]:
    """Return the users of the interactions that are kept, the number of other events kept, and the filter."""
    settings, skip_filter = Settings(), SkipFilter(skips)
    decoder = Decoder(settings.interaction_rules(), settings.events, skips=skip_filter)
    batches, refusals = decoder.decode(records, NOW_MS)
    assert not refusals
    users: list[str] = []
    num_others = 0
    for batch in batches:
        interactions = batch.interactions
        users += [interactions.user_ids[code] for code in interactions.user_codes.tolist()]
        num_others += len(batch.upserts) + len(batch.relations) + len(batch.deletes)
    return sorted(users), num_others, skip_filter


@pytest.mark.parametrize("num_others", [0, 100])  # Read one by one, and all at once.
def test_records_are_left_out_by_offset(num_others):
    others = [record(purchase("", "zoe"), 9, offset) for offset in range(num_others)]
    records = [record(purchase("", f"u{offset}"), partition, offset) for partition in (0, 1) for offset in range(5)]
    users, _, skip_filter = accepted(records + others, Skips(offsets=((1, 1, 3), (0, 4, 4))))
    assert [user for user in users if user != "zoe"] == ["u0", "u0", "u1", "u2", "u3", "u4"]
    assert skip_filter.counts == {"partition 1, 1 to 3": 3, "partition 0, offset 4": 1}


@pytest.mark.parametrize("num_others", [0, 100])
def test_events_are_left_out_by_id_and_by_how_ids_begin(num_others):
    others = [record(purchase("", "zoe")) for _ in range(num_others)]
    records = [record(purchase(name, name)) for name in ("a1", "a12", "b1", "b2")]
    users, _, skip_filter = accepted(records + others, Skips(event_ids=("a1", "b*", "c")))
    assert [user for user in users if user != "zoe"] == ["a12"]
    assert skip_filter.counts == {"event id a1": 1, "event ids that begin with b": 2, "event id c": 0}


def test_skips_hold_for_the_records_before_their_offsets():
    settings = Settings()
    skip_filter = SkipFilter([Skips(event_ids=("a*",)), Skips(users=("bob",))], [{0: 2}, {0: 1, 1: 1}])
    decoder = Decoder(settings.interaction_rules(), settings.events, skips=skip_filter)
    records = [
        record(purchase(event_id, user), partition, offset)
        for partition in (0, 1)
        for offset in range(3)
        for event_id, user in (("a", "ann"), ("", "bob"))
    ]
    batches, _ = decoder.decode(records, NOW_MS)
    assert sum(len(batch.interactions) for batch in batches) == 12 - 4
    assert skip_filter.counts == {"event ids that begin with a": 2, "events of user bob": 2}


def test_events_are_left_out_by_time_type_and_user_together():
    records = [
        record(purchase("", "ann"), published_ms=10_000),
        record(purchase("", "ann"), published_ms=20_000),
        record(purchase("", "bob"), published_ms=20_000),
        record(purchase("", "ann", "view"), published_ms=20_000),
        record(purchase("", "ann"), published_ms=30_000),
        record(node("node_upsert", "user", "ann"), published_ms=20_000),
        record(node("node_delete", "item", "ann"), published_ms=20_000),
    ]
    span = {"since_ms": 20_000, "until_ms": 30_000}
    assert accepted(records, Skips(**span))[:2] == (["ann", "ann"], 0)
    assert accepted(records, Skips(**span, users=("ann",)))[:2] == (["ann", "ann", "bob"], 1)
    assert accepted(records, Skips(**span, types=("purchase",)))[:2] == (["ann", "ann", "ann"], 2)
    assert accepted(records, Skips(**span, types=("purchase", "node_delete"), users=("bob", "")))[1] == 1
    assert accepted(records, Skips(types=("view",)), Skips(users=("bob",)))[:2] == (["ann", "ann", "ann"], 2)
    words = accepted(records, Skips(**span, users=("ann",)))[2].counts
    assert words == {
        "events of user ann, published since 1970-01-01 00:00:20 UTC, published before 1970-01-01 00:00:30 UTC": 3
    }


def test_rows_of_a_packed_batch_are_left_out_one_by_one():
    batch = pb.EventBatch(
        dictionary=["ann", "bob", "tea", "purchase", "view"],
        users=[0, 1, 0, 1],
        items=[2, 2, 2, 2],
        types=[3, 3, 4, 3],
        event_times_ms=[1, 2, 3, 4],
        values=[1.0, 2.0, 3.0, 4.0],
        event_ids=["r1", "r2", "", "r4"],
    )
    whole = pb.Event(event_id="b1", batch=batch)
    assert accepted([record(whole)], Skips(event_ids=("r2",)))[0] == ["ann", "ann", "bob"]
    assert accepted([record(whole)], Skips(event_ids=("b1",)))[0] == ["ann", "bob", "bob"]
    assert accepted([record(whole)], Skips(users=("ann",), types=("purchase",)))[0] == ["ann", "bob", "bob"]
    assert accepted([record(whole)], Skips(since_ms=0))[0] == []
    assert accepted([record(whole)], Skips(event_ids=("x*",)))[0] == ["ann", "ann", "bob", "bob"]


def test_rows_that_are_left_keep_their_answers():
    batch = pb.EventBatch(
        dictionary=["ann", "bob", "tea", "purchase"], users=[0, 1, 0], items=[2, 2, 2], types=[3],
        event_times_ms=[1, 2, 3], recommendation_ids=["a1", "b1", "a2"],
    )  # fmt: skip
    settings = Settings()
    filtered = SkipFilter([Skips(users=("bob",))])
    decoder = Decoder(settings.interaction_rules(), settings.events, skips=filtered)
    (found,), _ = decoder.decode([record(pb.Event(batch=batch))], NOW_MS)
    assert found.interactions.recommendation_ids == ["a1", "a2"]


def test_batch_that_is_refused_is_refused_still():
    settings = Settings()
    broken = pb.Event(event_id="b1", batch=pb.EventBatch(dictionary=["ann"], users=[0], items=[7], types=[0]))
    decoder = Decoder(settings.interaction_rules(), settings.events, skips=SkipFilter([Skips(event_ids=("b1",))]))
    _, refusals = decoder.decode([record(broken)], NOW_MS)
    assert [refusal.reason for refusal in refusals] in ([], ["bad_batch"])


def test_skips_come_back_from_a_checkpoint():
    skips = Skips(((1, 2, 3),), ("a", "b*"), 5, 6, ("purchase",), ("ann",))
    assert Skips.from_json(skips.to_json()) == skips
    assert Skips.from_json(Skips().to_json()) == Skips()
    assert not Skips()


@pytest.mark.parametrize(
    "wrong", [{"offsets": ((0, 5, 4),)}, {"offsets": ((-1, 1, 2),)}, {"since_ms": 5, "until_ms": 5}]
)
def test_empty_ranges_are_refused(wrong):
    with pytest.raises(SettingsError, match="wanted"):
        Skips(**wrong)
