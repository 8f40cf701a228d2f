"""Dead letters counted by their reason, looked up by their place, and chosen for another try."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from springtide.errors import InvalidRequestError
from springtide.events.limits import REASONS
from springtide_services.stream.dead_letter_topic import DeadLetter


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """The letters of one reason.

    Attributes:
        reason: The reason.
        meaning: The same in words; empty for one that this version does not know.
        num: How many there are.
        num_replayed: How many of them were published again.
        first_ms: When the first of them was refused, milliseconds since the Unix epoch.
        latest_ms: When the latest was.
    """

    reason: str
    meaning: str
    num: int
    num_replayed: int
    first_ms: int
    latest_ms: int


@dataclass(frozen=True, slots=True)
class ReplayChoice:
    """Letters that are to be published again.

    Attributes:
        ready: Those that can be.
        num_before: How many are left out since they were published again before.
        obstacles: Why others cannot be, and how many these are.
    """

    ready: Sequence[DeadLetter]
    num_before: int
    obstacles: Mapping[str, int]


def count_letters(letters: Sequence[DeadLetter]) -> list[ReasonCount]:
    """Return how many letters each reason has, by the reasons' names."""
    counts = []
    for reason in sorted({letter.reason for letter in letters}):
        these = letters_of(letters, reason)
        times = [letter.refused_ms for letter in these]
        num_replayed = sum(letter.replayed_ms is not None for letter in these)
        counts.append(ReasonCount(reason, REASONS.get(reason, ""), len(these), num_replayed, min(times), max(times)))
    return counts


def letters_of(letters: Sequence[DeadLetter], reason: str) -> list[DeadLetter]:
    """Return the letters of a reason, in the order of the topic."""
    return [letter for letter in letters if letter.reason == reason]


def letters_at(letters: Sequence[DeadLetter], place: str) -> list[DeadLetter]:
    """Return the letter at a place, ``PARTITION:OFFSET``, as the only one of a list.

    Raises:
        InvalidRequestError: If there is none.
    """
    found = [letter for letter in letters if letter.place == place]
    if not found:
        raise InvalidRequestError("place", f"no dead letter at {place!r}: `springtide dead-letters list --reason …`")
    return found


def choose_letters(letters: Sequence[DeadLetter], reason: str, place: str, *, again: bool) -> ReplayChoice:
    """Choose letters to publish again, those of one reason or at one place.

    Args:
        letters: All letters.
        reason: The reason; empty if a place is given.
        place: The place; empty if a reason is given.
        again: Whether those count too that were published again before.

    Raises:
        InvalidRequestError: If neither or both are given, or there is no letter at the place.
    """
    if bool(reason) == bool(place):
        raise InvalidRequestError("dead-letters replay", "wanted a reason or a place, one of them")
    wanted = letters_at(letters, place) if place else letters_of(letters, reason)
    open_ones = [letter for letter in wanted if again or letter.replayed_ms is None]
    obstacles = Counter(letter.obstacle for letter in open_ones if letter.obstacle)
    ready = [letter for letter in open_ones if not letter.obstacle]
    return ReplayChoice(ready, len(wanted) - len(open_ones), obstacles)
