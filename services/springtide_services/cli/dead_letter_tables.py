"""What the `dead-letters` commands do, and the tables that they print."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from springtide.clock import MS_PER_SECOND
from springtide.settings.model import Settings
from springtide_services.stream.dead_letter_topic import DeadLetter, read_letters, replay
from springtide_services.stream.letter_choice import choose_letters, count_letters, letters_at, letters_of
from springtide_services.terminal import console

_MAX_SHOWN = 2_000  # Characters of a value.


def show_letters(settings: Settings, reason: str, limit: int) -> None:
    """Print how many letters each reason has; or the latest letters of one reason.

    Raises:
        BrokerError: If the broker does not answer, or refuses.
    """
    letters = read_letters(settings.kafka)
    if not letters:
        console().print(f"no dead letters in {escape(settings.kafka.dead_letter_topic)}")
        return
    if not reason:
        table = Table("reason", "letters", "replayed", "first", "latest", "means", box=None, pad_edge=False)
        for count in count_letters(letters):
            times = _when(count.first_ms), _when(count.latest_ms)
            table.add_row(Text(count.reason), f"{count.num:,}", f"{count.num_replayed:,}", *times, Text(count.meaning))
        console().print(table)
        return
    table = Table("place", "refused", "from", "replayed", "why", box=None, pad_edge=False)
    for letter in letters_of(letters, reason)[-limit:]:
        replayed = "" if letter.replayed_ms is None else _when(letter.replayed_ms)
        table.add_row(letter.place, _when(letter.refused_ms), Text(_origin(letter)), replayed, Text(letter.message))
    console().print(table)


def show_letter(settings: Settings, place: str, output: Path | None) -> None:
    """Print one letter, and write its value to a file if one is given.

    Raises:
        InvalidRequestError: If there is none at that place.
        BrokerError: If the broker does not answer, or refuses.
    """
    (letter,) = letters_at(read_letters(settings.kafka), place)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    for name, words in (
        ("refused", f"{letter.reason}, {_when(letter.refused_ms)}: {letter.message}"),
        ("from", _origin(letter)),
        ("replayed", "no" if letter.replayed_ms is None else _when(letter.replayed_ms)),
        ("cannot be replayed", letter.obstacle),
        ("key", "" if letter.key is None else _words(letter.key)),
        *((f"header {name}", _words(value)) for name, value in letter.headers),
        ("value", "none" if letter.value is None else f"{len(letter.value):,} bytes: {_words(letter.value)}"),
    ):
        if words:
            table.add_row(Text(name), Text(words))
    console().print(table)
    if output is not None:
        output.write_bytes(letter.value or b"")


def replay_letters(
    settings: Settings, reason: str, place: str, *, again: bool, confirm: Callable[[str], object]
) -> None:
    """Publish letters again, those of one reason or at one place.

    Args:
        settings: The broker and the topics.
        reason: The reason; empty if a place is given.
        place: The place; empty if a reason is given.
        again: Whether those count too that were replayed before.
        confirm: Called with a question before anything is published; raises to refuse.

    Raises:
        InvalidRequestError: If neither or both are given, or there is no letter at the place.
        BrokerError: If the broker does not answer, or refuses.
    """
    chosen = choose_letters(read_letters(settings.kafka), reason, place, again=again)
    for obstacle, count in chosen.obstacles.items():
        console().print(f"{count:,} cannot be replayed: {escape(obstacle)}", soft_wrap=True)
    if chosen.num_before:
        console().print(f"{chosen.num_before:,} were replayed before (--again publishes them once more)")
    if not chosen.ready:
        console().print("nothing to replay")
        return
    confirm(f"Publish {len(chosen.ready):,} events to {settings.kafka.topic} again?")
    num_done = sum(1 for _ in replay(settings.kafka, chosen.ready))
    console().print(f"published {num_done:,} events again; what is still wrong with one comes back as a new letter")


def _origin(letter: DeadLetter) -> str:
    topic, partition, offset = letter.origin
    return f"{topic} {partition}:{offset}"


def _words(content: bytes) -> str:
    text = content.decode(errors="backslashreplace")
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _when(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / MS_PER_SECOND, UTC):%Y-%m-%d %H:%M:%S}"
