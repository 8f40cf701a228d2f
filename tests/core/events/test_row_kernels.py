"""Ordinary interactions and packed batches are read as protobuf reads them, refusals and order included."""

import random
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from springtide.events import EventBatch, RawEvent, Refusal
from springtide.events.decoding import Decoder
from springtide.events.packed_ids import PackedIds
from springtide.events.row_kernels import InteractionRows, WireRules
from springtide.settings.model import EventSettings, Settings
from springtide.v1 import events_pb2

NOW_MS = 1_700_000_000_000
RULES = Settings(
    interactions={"view": {}, "purchase": {}, "rating>=4.1": {}, "rating<2": {}, "stars>4": {}, "stars<=0.3": {}}
).interaction_rules()
STRANGE = ("", " ", "\t\n", " x", "\u00fc", "\u3000", "\u00a0", "\u2028", "\u1680", "\u3042\u3044", "\U0001f600")
STRANGE = (*STRANGE, "x" * 64, "x" * 65, "\u00fc" * 128, "\u00fc" * 129, "x" * 300, "\x7f", "\x00", "\x85x")
NUMBERS = (float("nan"), float("inf"), 1e39, -3.4028234e38, 4.1, 4.1000000001, 0.3, 2.0, 5.0)


def _rarely(rng: random.Random, usual: object, *rare: object) -> object:
    return rng.choice(rare) if rng.random() < 0.1 else usual


def _name(rng: random.Random, prefix: str) -> object:
    return _rarely(rng, f"{prefix}{rng.randrange(30)}", *STRANGE)


def _event(rng: random.Random) -> events_pb2.Event:
    """An interaction, most often an ordinary one."""
    event = events_pb2.Event(event_id=rng.choice(("", "", _name(rng, "e"))))
    usual = rng.choice((1_699_999_000, 1_700_000_000))
    seconds = _rarely(rng, usual, 0, 1, -5, 1 << 28, (1 << 28) - 1, 1 << 35, 1 << 50, 1_700_003_600, 1_700_003_601)
    if rng.random() < 0.97:
        event.event_time.seconds = seconds
        event.event_time.nanos = _rarely(rng, rng.choice((0, 1, 5_000_000, 999_999_999)), -1, (1 << 31) - 1, 10**9)
    interaction = event.interaction
    interaction.user, interaction.item = _name(rng, "u"), _name(rng, "i")
    interaction.type = _rarely(rng, rng.choice(("purchase", "purchase", "rating", "stars")), "view", "unheard-of", "")
    if rng.random() < 0.3 or (interaction.type in ("rating", "stars") and rng.random() < 0.9):
        interaction.value = _rarely(rng, rng.choice((0.0, 4.0, 5.0, -3.5)), *NUMBERS)
    if rng.random() < 0.2:
        interaction.recommendation_id = _name(rng, "r")
    for _ in range(_rarely(rng, 0, 1, 2, 3) if rng.random() < 0.5 else 2):
        name = _rarely(rng, rng.choice(("hour", "place", "weather")), *STRANGE)
        interaction.context[name] = _rarely(rng, rng.choice(("7", "Z\u00fcrich")), *STRANGE)
    return event


def _batch(rng: random.Random) -> events_pb2.Event:
    """A packed batch, in most of which nothing is strange."""
    strangeness = rng.choice((0, 0, 0, 0, 0.03, 0.3))

    def seldom(usual: object, *rare: object) -> object:
        return rng.choice(rare) if rng.random() < strangeness else usual

    num, size = rng.choice((1, 2, 40)), rng.choice((3, 30))
    types = ["purchase", "rating", "view", "stars"]
    event = events_pb2.Event(event_id=seldom("", "b1"))
    batch = event.batch
    batch.dictionary.extend([*types, *(seldom(f"n{number}", "unheard-of", *STRANGE) for number in range(size))])

    def indices(start: int, stop: int) -> list[object]:
        return [seldom(rng.randrange(start, stop), size + 4, size + 3, (1 << 32) - 1) for _ in range(num)]

    batch.users.extend(indices(4, size + 4))
    batch.items.extend(indices(4, size + 4))
    batch.types.extend(indices(0, 4) if rng.random() < 0.5 else [rng.randrange(4)])
    late = (NOW_MS + 3_600_000, NOW_MS + 3_600_001, -1, 0, -(10**14), (1 << 63) - 1)
    batch.event_times_ms.extend(seldom(NOW_MS - rng.randrange(10**6), *late) for _ in range(num))
    if rng.random() < 0.8:
        batch.values.extend(seldom(rng.choice((0.0, 2.5, 5.0)), *NUMBERS) for _ in range(num))
    if rng.random() < 0.5:
        batch.event_ids.extend(seldom(f"e{rng.randrange(30)}", *STRANGE) for _ in range(num))
    if rng.random() < 0.3:
        batch.recommendation_ids.extend(seldom(f"r{rng.randrange(5)}", *STRANGE) for _ in range(num))
    columns = (batch.users, batch.items, batch.event_times_ms, batch.values, batch.event_ids, batch.recommendation_ids)
    for column in columns:
        if seldom(0, 1) and len(column):
            column.pop()
    return event


def _record(rng: random.Random, offset: int) -> RawEvent:
    event = _batch(rng) if rng.random() < 0.2 else _event(rng)
    if rng.random() < 0.03:
        event.Clear()
        event.node_delete.type, event.node_delete.id = "user", "u1"
        event.event_time.seconds = 1_600_000_000
    value: bytes | None = event.SerializeToString()
    assert value is not None
    fate = rng.random()
    if fate < 0.1 and value:
        damaged = bytearray(value)
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        value = bytes(damaged)
    elif fate < 0.15:
        value = rng.choice((None, b"", value[:-1], value + b"\x00", value + value, rng.randbytes(20)))
    headers = [("content-type", b"application/json")] if rng.random() < 0.02 else ()
    return RawEvent(value, None, headers, "t", 0, offset, NOW_MS + offset * 700)


def _read(ids: Sequence[str], codes: np.ndarray) -> list[str]:
    return [ids[code] for code in codes.tolist()]


def _columns(batch: EventBatch) -> list[object]:
    interactions, marks = batch.interactions, batch.marks
    users, items = interactions.user_ids, interactions.item_ids
    assert set(interactions.user_codes.tolist()) == set(range(len(users))), "an id that no event has"
    assert set(interactions.item_codes.tolist()) == set(range(len(items))), "an id that no event has"
    found: list[object] = [
        *(_read(users, interactions.user_codes), _read(items, interactions.item_codes)),
        *(interactions.relations, interactions.contexts, batch.upserts, batch.relations, batch.deletes),
        *(interactions.relation_codes.tolist(), interactions.timestamps_ms.tolist(), interactions.values.tobytes()),
        interactions.recommendation_ids,
    ]
    if marks is not None and (of_rows := marks.interactions) is not None:
        found += [of_rows.rows.tolist(), of_rows.keys.tolist(), of_rows.contents.tolist(), of_rows.published_s.tolist()]
    return found


def _decode(records: list[RawEvent], settings: EventSettings) -> tuple[list[list[object]], list[Refusal], int]:
    decoder = Decoder(RULES, settings)
    batches, refusals = decoder.decode(records, NOW_MS)
    return [_columns(batch) for batch in batches], refusals, decoder.num_ignored


@pytest.mark.parametrize(
    "settings",
    [
        EventSettings(),
        EventSettings(max_id_bytes=20),
        EventSettings(max_event_bytes=64),
        EventSettings(max_context_entries=1, max_text_bytes=4),
    ],
)
def test_runs_are_decoded_as_one_by_one(settings: EventSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        records = [_record(rng, offset) for offset in range(rng.choice((1, 7, 200)))]
        at_once = _decode(records, settings)
        with monkeypatch.context() as patch:
            patch.setattr(Decoder, "_decode_runs", Decoder._decode_each)
            assert at_once == _decode(records, settings), seed


def _rows_read(events: list[events_pb2.Event]) -> tuple[int, InteractionRows]:
    rules = WireRules([b"view", b"purchase"], [(0, 0, 0.0), (1, 0, 0.0)], 256, 1 << 20, 2, 16)
    rows = InteractionRows()
    records = [RawEvent(event.SerializeToString()) for event in events]
    return rows.read(records, 0, rules, NOW_MS), rows


@pytest.mark.parametrize("user", ["u", "\u00fcmit", "\u3042\u3044", "Li\u00e8ge " * 20])
def test_ordinary_interactions_are_read_without_protobuf(user: str) -> None:
    events = []
    for number in range(100):
        event = events_pb2.Event(event_id=f"e{number}" if number % 2 else "")
        event.event_time.FromMilliseconds(NOW_MS - 1_000 * (number % 3) - number)
        event.interaction.user, event.interaction.item, event.interaction.type = f"{user}{number}", "bread", "purchase"
        if number % 5 == 0:
            event.interaction.value = number
        events.append(event)
    num_read, rows = _rows_read(events)
    assert num_read == 100
    users, items = (PackedIds(*texts) for texts in rows.texts())
    _, item_codes, relation_codes, times, values = rows.columns(None)
    assert users == [f"{user}{number}" for number in range(100)]
    assert items == ["bread"]
    assert set(item_codes.tolist()) == {0}
    assert set(relation_codes.tolist()) == {1}
    assert times.tolist() == [event.event_time.ToMilliseconds() for event in events]
    assert values[~np.isnan(values)].tolist() == [float(number) for number in range(0, 100, 5)]


def test_contexts_are_read_without_protobuf_and_equal_ones_once() -> None:
    events = []
    for number in range(100):
        event = events_pb2.Event()
        event.event_time.FromMilliseconds(NOW_MS)
        event.interaction.user, event.interaction.item, event.interaction.type = "u", "bread", "purchase"
        if number % 2:
            event.interaction.context.update({"place": "Z\u00fcrich"} | ({"weather": ""} if number % 3 else {}))
        events.append(event)
    num_read, rows = _rows_read(events)
    assert num_read == 100
    assert rows.contexts == {number: dict(events[number].interaction.context) for number in range(1, 100, 2)}
    assert len(set(map(id, rows.contexts.values()))) <= 3  # Entries may be written in either order.


def test_a_context_that_is_refused_is_left_to_the_exact_parser() -> None:
    event = events_pb2.Event()
    event.event_time.FromMilliseconds(NOW_MS)
    event.interaction.user, event.interaction.item, event.interaction.type = "u", "bread", "purchase"
    for context in ({"": "x"}, {"a": "x" * 17}, {"n" * 257: "x"}, {"a": "", "b": "", "c": ""}):
        event.interaction.context.clear()
        event.interaction.context.update(context)
        assert _rows_read([event])[0] == 0


def test_ordinary_packed_batches_are_read_without_protobuf() -> None:
    event = events_pb2.Event()
    event.batch.dictionary.extend(["ann", "purchase", "tea", "view", "ann "])
    event.batch.users.extend([0, 4, 0])
    event.batch.items.extend([2, 2, 2])
    event.batch.types.extend([1, 3, 1])
    event.batch.event_times_ms.extend([NOW_MS, 5, NOW_MS - 1])
    event.batch.event_ids.extend(["a", "", "c"])
    num_read, rows = _rows_read([event, event])
    assert num_read == 2
    assert rows.texts()[0][0].tobytes() == b"annann "
    order = rows.order()
    assert order is not None
    assert order.tolist() == [1, 4, 2, 5, 0, 3]
    marks = rows.marks()
    assert marks is not None
    assert marks[0].tolist() == [0, 2, 3, 5]
    event.batch.users.append(9)
    assert _rows_read([event])[0] == 0


def test_answers_of_events_are_read_without_protobuf() -> None:
    event = events_pb2.Event(event_id="e1")
    event.event_time.FromMilliseconds(NOW_MS)
    event.interaction.user, event.interaction.item, event.interaction.type = "u", "bread", "purchase"
    plain = events_pb2.Event.FromString(event.SerializeToString())
    event.interaction.recommendation_id = "Li\u00e8ge"
    batch = events_pb2.Event()
    batch.batch.dictionary.extend(["ann", "tea", "purchase"])
    batch.batch.users.extend([0, 0, 0])
    batch.batch.items.extend([1, 1, 1])
    batch.batch.types.append(2)
    batch.batch.event_times_ms.extend([1, 2, 3])
    batch.batch.recommendation_ids.extend(["r1", "", "Li\u00e8ge"])
    num_read, rows = _rows_read([plain, event, batch])
    assert num_read == 3
    answers = rows.answers()
    assert answers is not None
    names = PackedIds(*answers[2])
    assert dict(zip(answers[0].tolist(), _read(names, answers[1]), strict=True)) == {
        1: "Li\u00e8ge",
        2: "r1",
        4: "Li\u00e8ge",
    }
    assert _rows_read([plain])[1].answers() is None


def test_a_batch_that_is_given_up_leaves_no_answers() -> None:
    event = events_pb2.Event()
    event.batch.dictionary.extend(["ann", "tea", "purchase"])
    event.batch.users.extend([0, 0])
    event.batch.items.extend([1, 1])
    event.batch.types.append(2)
    event.batch.event_times_ms.extend([1, NOW_MS + 1])  # The second one is too late.
    event.batch.recommendation_ids.extend(["r1", "r2"])
    num_read, rows = _rows_read([event])
    assert (num_read, len(rows), rows.answers()) == (0, 0, None)


def test_many_distinct_ids_keep_their_codes() -> None:
    rows, rng = InteractionRows(), random.Random(0)
    names = [rng.randbytes(rng.randrange(1, 40)).hex() for _ in range(3_000)]
    for name in [*names, *reversed(names)]:
        rows.append(name.encode(), b"tea", 0, 0, 0.0)
    assert PackedIds(*rows.texts()[0]) == list(dict.fromkeys(names))
    codes = rows.columns(None)[0]
    assert codes[:3_000].tolist() == codes[3_000:][::-1].tolist()


def test_packed_ids_are_a_sequence_of_texts() -> None:
    ids = PackedIds.of(["ann", "", "\u00fcmit", "bob"])
    assert PackedIds.of(ids) is ids
    assert (len(ids), ids[2], ids[1:3]) == (4, "\u00fcmit", ["", "\u00fcmit"])
    assert list(ids) == ["ann", "", "\u00fcmit", "bob"]
    assert ids.take(np.array([3, 2, 2])) == ["bob", "\u00fcmit", "\u00fcmit"]
    assert ids != ["ann"]
    assert repr(ids.take(np.array([], np.int64))) == "PackedIds([])"


def test_other_threads_run_while_plain_events_are_read() -> None:
    event = events_pb2.Event(interaction=events_pb2.Interaction(user="u", item="i", type="purchase"))
    event.event_time.seconds = NOW_MS // 1_000
    records = [RawEvent(event.SerializeToString(), None, (), "events", 0, 0, NOW_MS)] * 200_000
    rules = WireRules([b"purchase"], [(0, 0, 0.0)], 512, 65_536, 16, 512)
    rows, seen, is_over = InteractionRows(), set[int](), threading.Event()

    def look() -> None:
        while not is_over.is_set():
            seen.add(len(rows))

    other = threading.Thread(target=look)
    other.start()
    try:
        assert rows.read(records, 0, rules, 2 * NOW_MS) == len(records)  # One call: it must give the lock up by itself.
    finally:
        is_over.set()
        other.join()
    assert seen - {0, len(records)}, "wanted somebody to see it half done"
