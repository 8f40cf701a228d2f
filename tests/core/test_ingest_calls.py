"""Guard: decoding and applying events takes the same few calls, however many events there are."""

import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest

from springtide.events import RawEvent
from springtide.events.decoding import Decoder
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import PluginSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2

NOW_MS = 1_700_000_000_000
MAX_CALLS = 700  # Of Python and of C, those of all default context weights with them; 382 to 598 at first.
MAX_DECODE_CALLS = 50  # 27 to 37 at first.


def _singles(count: int, first: int) -> list[RawEvent]:
    records = []
    for number in range(first, first + count):
        event = events_pb2.Event(event_id=f"e{number}")
        event.event_time.FromMilliseconds(NOW_MS - 3_000_000 + number)
        interaction = event.interaction
        interaction.user, interaction.item, interaction.type = f"u{number % 97}", f"i{number % 31}", "purchase"
        records.append(RawEvent(event.SerializeToString(), timestamp_ms=NOW_MS))
    return records


def _packed(count: int, first: int) -> list[RawEvent]:
    numbers = np.arange(first, first + count)
    batch = events_pb2.EventBatch(dictionary=["purchase", *(f"n{number}" for number in range(100))])
    batch.users.extend((1 + numbers % 97).tolist())
    batch.items.extend((1 + numbers % 31).tolist())
    batch.types.append(0)
    batch.event_times_ms.extend((NOW_MS - 3_000_000 + numbers).tolist())
    return [RawEvent(events_pb2.Event(batch=batch).SerializeToString(), timestamp_ms=NOW_MS)]


class _Calls:
    """Counts calls, of Python and of C, while it is entered."""

    def __init__(self) -> None:
        self.count = 0

    def _note(self, _frame: FrameType, event: str, _argument: Any) -> None:
        self.count += event in ("call", "c_call")

    def __enter__(self) -> "_Calls":
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


@pytest.mark.parametrize("records_of", [_singles, _packed])
def test_calls_do_not_grow_with_the_number_of_events(records_of: Any) -> None:
    settings = Settings()
    state = LiveState(settings, make_context_weights(settings.ranking, load_plugins(PluginSettings())))
    decoder = Decoder(settings.interaction_rules(), settings.events)
    decoding, both, first = {}, {}, 0
    for size in (5_000, 1, 1, 100, 100, 5_000):  # The first ones of a size warm caches and make room.
        records = records_of(size, first)
        first += size
        with _Calls() as calls:
            batches, refusals = decoder.decode(records, NOW_MS)
            decoding[size] = calls.count
            for batch in batches:
                state.apply(batch)
        both[size] = calls.count
        assert not refusals
    assert state.num_events == first
    assert max(decoding.values()) <= MAX_DECODE_CALLS, decoding
    assert max(both.values()) <= MAX_CALLS, both
