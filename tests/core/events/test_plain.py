"""Plain interactions are read as protobuf reads them, refusals and order included."""

import random

import numpy as np
import pytest

from springtide.events import EventBatch, RawEvent, Refusal, decoding
from springtide.events.decoding import Decoder
from springtide.events.limits import Limits
from springtide.events.plain import read_plain
from springtide.settings.model import EventSettings, Settings
from springtide.v1 import events_pb2

NOW_MS = 1_700_000_000_000
TYPES = {"view": 0, "purchase": 1}


def _event(rng: random.Random) -> events_pb2.Event:
    """An interaction, most often a plain one."""

    def rarely(usual: object, *rare: object) -> object:
        return rng.choice(rare) if rng.random() < 0.1 else usual

    def name(prefix: str) -> object:
        usual = f"{prefix}{rng.randrange(30)}"
        return rarely(usual, "", " ", "\t\n", " x", "\u00fc", "\u3000", "x" * 64, "x" * 65, "x" * 300, "\x7f", "\x00")

    event = events_pb2.Event(event_id=rng.choice(("", "", name("e"))))
    seconds = rarely(rng.choice((1_699_999_000, 1_700_000_000)), 0, 1, -5, 1 << 28, (1 << 28) - 1, 1 << 35, 1 << 50)
    if rng.random() < 0.97:
        event.event_time.seconds = seconds
        event.event_time.nanos = rarely(rng.choice((0, 1, 5_000_000, 999_999_999)), -1, (1 << 31) - 1, 1_000_000_000)
    interaction = event.interaction
    interaction.user, interaction.item = name("u"), name("i")
    interaction.type = rarely("purchase", "view", "rating", "unheard-of", "")
    if rng.random() < 0.3:
        interaction.value = rarely(rng.choice((0.0, 4.0, -3.5)), float("nan"), float("inf"), 1e39, -3.4028234e38)
    if rng.random() < 0.05:
        interaction.context["hour"] = "7"
    return event


def _record(rng: random.Random, offset: int) -> RawEvent:
    event = _event(rng)
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
    return RawEvent(value, None, headers, "t", 0, offset, 0)


def _columns(batch: EventBatch) -> list[object]:
    interactions = batch.interactions
    return [
        *(interactions.user_ids, interactions.item_ids, interactions.relations, interactions.contexts),
        *(batch.upserts, batch.relations, batch.deletes),
        *(column.tolist() for column in (interactions.user_codes, interactions.item_codes)),
        *(column.tolist() for column in (interactions.relation_codes, interactions.timestamps_ms)),
        interactions.values.tobytes(),
    ]


def _decode(
    records: list[RawEvent], many: int, settings: EventSettings, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[list[object]], list[Refusal], int]:
    monkeypatch.setattr(decoding, "_MANY", many)
    rules = Settings(interactions={"view": {}, "purchase": {}, "rating>=4": {}}).interaction_rules()
    decoder = Decoder(rules, settings)
    batches, refusals = decoder.decode(records, NOW_MS)
    return [_columns(batch) for batch in batches], refusals, decoder.num_ignored


@pytest.mark.parametrize(
    "settings", [EventSettings(), EventSettings(max_id_bytes=20), EventSettings(max_event_bytes=64)]
)
def test_many_events_are_decoded_as_one_by_one(settings: EventSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(30):
        rng = random.Random(seed)
        records = [_record(rng, offset) for offset in range(rng.choice((1, 7, 300)))]
        at_once = _decode(records, 1, settings, monkeypatch)
        assert at_once == _decode(records, 10_000, settings, monkeypatch)


def test_ordinary_interactions_are_plain() -> None:
    events = []
    for number in range(100):
        event = events_pb2.Event(event_id=f"e{number}" if number % 2 else "")
        event.event_time.FromMilliseconds(NOW_MS - 1_000 * (number % 3) - number)
        event.interaction.user, event.interaction.item, event.interaction.type = f"u{number}", "bread", "purchase"
        if number % 5 == 0:
            event.interaction.value = number
        events.append(event)
    plain = read_plain([event.SerializeToString() for event in events], NOW_MS, Limits(EventSettings()), TYPES)
    assert plain.is_plain.all()
    assert plain.users == [f"u{number}" for number in range(100)]
    assert set(plain.items) == {"bread"}
    assert set(plain.relation_codes) == {1}
    assert plain.timestamps_ms == [event.event_time.ToMilliseconds() for event in events]
    assert [value for value in plain.values if not np.isnan(value)] == [float(number) for number in range(0, 100, 5)]
