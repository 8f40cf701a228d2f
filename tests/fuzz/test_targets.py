"""What `make fuzz` does at length, for a moment and without libFuzzer: each input ends as it should."""

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fuzz import NUM_INPUTS, make_target

SHARES = {
    "events": 300,
    "json": 300,
    "settings": 60,
    "journal": 300,
    "expressions": 300,
    "page_tokens": 300,
    "steering": 200,
    "checkpoint": 60,
    "model": 40,
}
ENDS = {
    "events": {"applied", "dead letter"},
    "json": {"applied", "dead letter"},
    "settings": {"settings", "clear error"},
    "journal": {"records", "damaged"},
    "expressions": {"computed", "clear error"},
    "page_tokens": {"page", "first page", "another request", "clear error"},
    "steering": {"used", "stored", "clear error"},
    "checkpoint": {"restored", "clear error"},
    "model": {"served", "clear error"},
}


def changed(content: bytes, chance: random.Random) -> bytes:
    """Return content with a few bytes changed, left out or put in; its first byte stays."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(1, max(1, len(changed) - 1))
        kind = chance.randrange(4)
        if kind == 0:
            changed[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del changed[at : at + chance.randint(1, 8)]
        elif kind == 2:
            changed[at:at] = chance.randbytes(chance.randint(1, 8))
        else:
            changed[at : at + 1] = chance.choice([b"-1", b"null", b"999999999999", b"{}", b'"x"', b"0"])
    return bytes(changed)


@pytest.mark.parametrize("name", SHARES)
def test_changed_bytes_end_as_they_should(name: str) -> None:
    target, chance, ends = make_target(name), random.Random(name), Counter[str]()
    try:
        for seed in target.seeds:
            ends[target.run(seed).partition(":")[0]] += 1
        assert set(ends) <= ENDS[name]
        assert set(ends) & {"applied", "settings", "records", "computed", "page", "used", "restored", "served"}
        for _ in range(SHARES[name]):
            ends[target.run(changed(chance.choice(target.seeds), chance)).partition(":")[0]] += 1
    finally:
        target.close()
    assert set(ends) == ENDS[name]


def test_a_million_inputs_are_given_in_all() -> None:
    assert sum(NUM_INPUTS.values()) == 1_000_000
