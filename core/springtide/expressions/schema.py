"""The attributes that expressions may name, with their kinds; and the name that was meant."""

import difflib
import heapq
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from springtide.graph.applying import USER
from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.settings.model import AttributeKind

WITH_A_MEANING: Mapping[str, AttributeKind] = {
    "available_from": "number",
    "available_until": "number",
    "is_hidden": "number",
}
"""Attributes of items that may be named before an item has one: Springtide itself honours them."""

_PLAIN = re.compile(r"[^\W\d]\w*")
_MAX_NAME = 32  # Characters of a name that are compared.
_MAX_MORE = 3  # Characters that the name that was meant has more, or less.
_MAX_NAMES, _MAX_ALIKE, _MAX_COMPARED = 1_000, 64, 4  # Names whose lengths, whose letters, and whose order is compared.
_MAX_LISTED = 8  # Choices that an error lists.


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """The attributes of items and of users as the graph has them now.

    Attributes:
        item_type: Type of the nodes that bare names are about.
        items: Their table.
        users: The table of users.
    """

    item_type: str
    items: NodeTable
    users: NodeTable

    @classmethod
    def of(cls, view: GraphView, item_type: str) -> "Schema":
        """Return the schema of a graph; it takes no time, and follows the graph.

        Args:
            view: The graph.
            item_type: Type of what is filtered: that of the items, or ``user``.
        """
        return cls(item_type, view.nodes(item_type), view.nodes(USER))

    def item_kind(self, name: str) -> AttributeKind | None:
        """Return the kind of an attribute of items; None if no item has it."""
        return self.items.kind(name) or WITH_A_MEANING.get(name)

    def user_kind(self, name: str) -> AttributeKind | None:
        """Return the kind of an attribute of users; None if no user has it."""
        return self.users.kind(name)

    def no_item_attribute(self, name: str) -> str:
        """Return in words that what is filtered has no attribute of a name, and which was meant."""
        who = "users" if self.item_type == USER else "items"
        if self.item_type != USER and self.user_kind(name) is not None:
            meant = f"did you mean user.{spelled(name)}?"
        else:
            meant = _or_choices(name, self.items.kinds, f"{who} have none")
        return f"no attribute of {who} is named {name!r} ({meant})"

    def no_user_attribute(self, name: str) -> str:
        """Return in words that users have no attribute of a name, and which was meant."""
        return f"no attribute of users is named {name!r} ({_or_choices(name, self.users.kinds, 'users have none')})"


def spelled(name: str) -> str:
    """Return a name as an expression spells it."""
    return name if _PLAIN.fullmatch(name) else f"`{name}`"


def nearest(name: str, names: Iterable[str]) -> str:
    """Return which of some names was meant, as a question; empty if none is near.

    Its cost is bounded: of names of about that length, those that share the most letters are compared.
    """
    wanted = name[:_MAX_NAME].lower()
    letters = _letters(wanted)
    of_length = [each for each in itertools.islice(names, _MAX_NAMES) if abs(len(each) - len(name)) <= _MAX_MORE]
    alike = heapq.nlargest(
        _MAX_COMPARED, of_length[:_MAX_ALIKE], key=lambda each: len(letters & _letters(each.lower()))
    )
    compared = {each[:_MAX_NAME].lower(): each for each in reversed(alike)}
    found = difflib.get_close_matches(wanted, compared, 1)
    return f"did you mean {spelled(compared[found[0]])}?" if found else ""


def _letters(name: str) -> set[str | tuple[str, str]]:
    """Return the letters of a name, and its pairs of neighbouring ones."""
    cut = name[:_MAX_NAME]
    return {*cut, *itertools.pairwise(cut)}


def _or_choices(name: str, kinds: Mapping[str, AttributeKind], if_none: str) -> str:
    if not kinds:
        return if_none
    if found := nearest(name, kinds):
        return found
    listed = ", ".join(spelled(each) for each in heapq.nsmallest(_MAX_LISTED, kinds))
    more = len(kinds) - _MAX_LISTED
    return f"choices: {listed}" + (f" and {more:,} more" if more > 0 else "")
