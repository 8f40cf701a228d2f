"""An id is found as a whole, in texts and in bytes of any kind, and not in a longer one."""

import json

import numpy as np
import pytest

from springtide.packed_texts import pack
from springtide.token_search import Token
from springtide.v1 import events_pb2


@pytest.mark.parametrize("text", ["u1", "user u1 asked", "'u1'", '{"user": "u1"}', "u1.", "a=u1", "u1\n"])
def test_id_is_found_as_a_word(text: str) -> None:
    assert Token("u1").is_in_text(text)
    assert Token("u1").is_in_bytes(text.encode())


@pytest.mark.parametrize("text", ["u10", "xu1", "u1-b", "_u1", "U1", "u 1", "u1é", ""])
def test_id_is_not_found_in_a_longer_one(text: str) -> None:
    assert not Token("u1").is_in_text(text)
    assert not Token("u1").is_in_bytes(text.encode())


@pytest.mark.parametrize("id_", ["u", "u1", "ä b", "u" * 66, "u" * 130, "u" * 300, "user:1@x", "1"])
def test_id_is_found_in_a_message_behind_its_length(id_: str) -> None:
    def event(user: str) -> bytes:
        return events_pb2.Event(interaction=events_pb2.Interaction(user=user, item="i", type="t")).SerializeToString()

    assert Token(id_).is_in_bytes(event(id_))
    assert Token(id_).is_in_message(event(id_))
    assert not Token(id_).is_in_bytes(event(f"x{id_}x"))
    assert not Token(id_).is_in_bytes(event(f"{id_}0"))


def test_id_is_found_in_packed_texts_as_one_of_them_or_a_word_of_one() -> None:
    token = Token("u1")
    assert not token.is_in_packed(*pack(["u", "1", "u10", "xu1", "", "2"]))  # `u1` also lies across two of them.
    assert token.is_in_packed(*pack(["u10", "", "u1", "u2"]))
    assert token.is_in_packed(*pack(["as u1 said", "u2"]))


def test_id_is_found_in_arrays_of_texts_and_of_json_but_short_ones_not_in_numbers() -> None:
    utf8, offsets = pack(["a", "u1"])
    number = np.frombuffer(b"\x02u1\x00", np.int32)
    assert Token("u1").is_in_arrays({"ids.utf8": utf8, "ids.offsets": offsets})
    assert Token("u1").is_in_arrays({"utf8.user": utf8, "offsets.user": offsets})
    assert Token("u1").is_in_arrays({"labels": np.array(["x", "u1"], np.str_)})
    assert Token("u1").is_in_arrays({"header": np.frombuffer(json.dumps({"kinds": {"u1": 1}}).encode(), np.uint8)})
    assert not Token("u1").is_in_arrays({"count": number, "texts": np.array(["u10"], np.str_)})
    long = b"\x08user-123\x00\x00\x00"
    assert Token("user-123").is_in_arrays({"count": np.frombuffer(long, np.int32)})


def test_strict_id_is_a_whole_text_and_no_word() -> None:
    token = Token("1", is_strict=True)
    assert token.is_in_json({"user": "1"})
    assert not token.is_in_json({"title": "part 1 of 2", "count": 1})
    assert token.is_in_bytes(b'broken {"user": "1", ')
    assert not token.is_in_bytes(b"part 1 of 2")


def test_id_leaves_a_text() -> None:
    assert Token("u1").without("u1, not u10, asked for u1") == "(forgotten), not u10, asked for (forgotten)"


def test_empty_id_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted an id"):
        Token("")
