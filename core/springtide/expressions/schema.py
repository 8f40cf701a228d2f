"""The attributes that expressions may name, with their kinds; and the name that was meant."""

import difflib
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
_MAX_COMPARED, _MAX_NAME = 48, 48  # Names, and characters of each, that a wrong one is compared with.
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
        """Return in words that items have no attribute of a name, and which was meant."""
        if self.user_kind(name) is not None:
            return f"no attribute of items is named {name!r} (did you mean user.{spelled(name)}?)"
        return f"no attribute of items is named {name!r} ({_or_choices(name, self.items.kinds, 'items have none')})"

    def no_user_attribute(self, name: str) -> str:
        """Return in words that users have no attribute of a name, and which was meant."""
        return f"no attribute of users is named {name!r} ({_or_choices(name, self.users.kinds, 'users have none')})"


def spelled(name: str) -> str:
    """Return a name as an expression spells it."""
    return name if _PLAIN.fullmatch(name) else f"`{name}`"


def nearest(name: str, names: Iterable[str]) -> str:
    """Return which of some names was meant, as a question; empty if none is near. Its cost is bounded."""
    wanted = name[:_MAX_NAME].lower()
    near = sorted(names, key=lambda each: (each[:1].lower() != wanted[:1], abs(len(each) - len(wanted)), each))
    compared = {each[:_MAX_NAME].lower(): each for each in reversed(near[:_MAX_COMPARED])}
    found = difflib.get_close_matches(wanted, compared, 1)
    return f"did you mean {spelled(compared[found[0]])}?" if found else ""


def _or_choices(name: str, kinds: Mapping[str, AttributeKind], if_none: str) -> str:
    if not kinds:
        return if_none
    if found := nearest(name, kinds):
        return found
    listed = ", ".join(spelled(each[:_MAX_NAME]) for each in itertools.islice(sorted(kinds), _MAX_LISTED))
    more = len(kinds) - _MAX_LISTED
    return f"choices: {listed}" + (f" and {more:,} more" if more > 0 else "")
