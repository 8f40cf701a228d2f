"""Digests of interactions are those that hashlib makes of what protobuf serializes."""

import hashlib
import random

import numpy as np
import pytest

from springtide.event_files import kernels
from springtide.packed_texts import pack
from springtide.v1 import events_pb2 as pb

TIMES = (0, 1, -1, 999, 1_000, 1_700_000_000_123, -62_135_596_800_000, 253_402_300_799_999)


def _text(rng: random.Random) -> str:
    return "".join(rng.choice("ab\u00fc\u65e5x ") for _ in range(rng.choice((0, 1, 2, 5, 9, 40, 130, 300))))


@pytest.mark.parametrize("has_ids", [True, False])
def test_digests_are_those_of_serialized_events(has_ids: bool) -> None:
    rng, num = random.Random(1), 1_000
    ids, users, items, types = ([_text(rng) for _ in range(num)] for _ in range(4))
    times = np.array([rng.choice((*TIMES, rng.randrange(-(10**12), 10**13))) for _ in range(num)], np.int64)
    values = np.array([rng.choice((float("nan"), 0.0, 4.5, -1e300)) for _ in range(num)])
    digests = np.empty((num, 16), np.uint8)
    before = b"any 16 bytes do."
    packed = (pack(users), pack(items), pack(types))
    kernels.digest_interactions(before, pack(ids) if has_ids else None, *packed, times, values, digests)
    for row in range(num):
        event = pb.Event(event_id=ids[row] if has_ids else "")
        event.event_time.FromMilliseconds(int(times[row]))
        event.interaction.user, event.interaction.item, event.interaction.type = users[row], items[row], types[row]
        if not np.isnan(values[row]):
            event.interaction.value = values[row]
        before = hashlib.blake2b(before + event.SerializeToString(deterministic=True), digest_size=16).digest()
        assert digests[row].tobytes() == before, row


def test_digest_of_another_size_is_refused() -> None:
    nothing = pack(["a"])
    with pytest.raises(ValueError, match="wanted a digest of 16 bytes, got 3"):
        kernels.digest_interactions(b"abc", *[nothing] * 4, np.zeros(1, np.int64), np.zeros(1), np.zeros(16, np.uint8))
