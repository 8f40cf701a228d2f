"""What an expression says, as a tree: no names are looked up yet."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

Shape = Literal[
    "number",  # value: float
    "text",  # value: str
    "truth",  # value: bool
    "list",  # value: a `Listed`
    "item",  # value: name of an attribute
    "user",  # value: name of an attribute
    "context",  # value: name of a circumstance
    "item_id",
    "user_id",
    "now",
    "call",  # value: name of the function
    "not",
    "minus",
    "arithmetic",  # value: one of + - * /
    "and",
    "or",
    "comparison",  # value: the operators between the parts, such as ("<=", "<")
    "choice",  # parts: what holds if so, the condition, what holds if not
]
"""What a node of the tree is, and what its ``value`` is then."""


class Listed(NamedTuple):
    """A list.

    Attributes:
        entries: Numbers, or texts.
        text: As the expression spells it.
    """

    entries: tuple[float, ...] | tuple[str, ...]
    text: str


class Tree(NamedTuple):  # Made for each part of an expression, in a third of the time of a frozen dataclass.
    """One node of the tree.

    Attributes:
        shape: What it is.
        start: Where it begins in the text, in characters from 0.
        end: Where it ends; that character not included.
        value: See ``Shape``; None where nothing is said there.
        parts: Its operands or arguments.
        depth: How many nodes are below it at most.
    """

    shape: Shape
    start: int
    end: int
    value: Any = None
    parts: tuple["Tree", ...] = ()
    depth: int = 0

    def nodes(self) -> Iterator["Tree"]:
        """Yield the node itself and all below it."""
        left = [self]
        while left:
            node = left.pop()
            yield node
            left += node.parts
