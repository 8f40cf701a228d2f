"""The decoder passes the checks of every decoder, and reads what it is meant to."""

import pytest
from my_part import MyPart

from springtide.errors import EventRefusedError
from springtide.plugins.contracts import RawEvent
from springtide.testing import check_decoder


def test_it_passes_the_checks_of_its_kind() -> None:
    """With its default options and with others."""
    check_decoder(MyPart)
    check_decoder(MyPart, separator=";")


def test_a_line_is_an_interaction() -> None:
    """Ann purchased bread on 31 January 2024."""
    (event,) = MyPart().decode(RawEvent(b"ann|bread|purchase|1706725800"))

    assert event.interaction.user == "ann"
    assert event.event_time.ToJsonString() == "2024-01-31T18:30:00Z"


def test_a_line_without_a_time_is_refused() -> None:
    """The message says what was wanted and what came."""
    with pytest.raises(EventRefusedError, match=r"wanted user\|item\|type\|seconds, got b'ann\|bread'"):
        MyPart().decode(RawEvent(b"ann|bread"))
