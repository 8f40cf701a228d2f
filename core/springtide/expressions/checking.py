"""Checking an expression against the attributes that exist: each part gets its type, and how it is computed."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import numpy as np

from springtide.expressions import calls, operations
from springtide.expressions.columns import Frame
from springtide.expressions.faults import PartError
from springtide.expressions.operations import Value
from springtide.expressions.schema import Schema, spelled
from springtide.expressions.tree import Tree
from springtide.expressions.typed import MISSING, Type, Typed, choice, combined, constant, junction, number, truth

Kind = Literal["filter", "booster", "segment"]
"""What an expression is for: a condition on items, a factor of items, a condition on the user and the moment."""

_NOUNS: Mapping[Type, str] = {
    "bool": "a condition",
    "number": "a number",
    "numbers": "a list of numbers",
    "texts": "a text",
    "category": "a category",
    "ids": "an id",
    "missing": "nothing",
}
_TEXTS = ("texts", "category", "ids")
_EQUALITIES = ("==", "!=")
_MEMBERSHIPS = ("in", "not in")


class Checker:
    """Gives types to a tree.

    Args:
        schema: The attributes that exist.
        kind: What the expression is for.
        is_lenient: Whether what is wrong is missing, rather than an error.
    """

    def __init__(self, schema: Schema, kind: Kind, is_lenient: bool) -> None:
        self._schema = schema
        self._kind = kind
        self._is_lenient = is_lenient

    def root(self, tree: Tree) -> Typed:
        """Return the whole expression: a condition, or a number for a booster.

        Raises:
            PartError: At the first part that names what is not there, or has a wrong type.
        """
        if self._kind == "booster":
            return combined("number", "factor", [self.number(tree)], operations.factor)
        return self.condition(tree)

    def typed(self, tree: Tree) -> Typed:
        """Return a part of any type.

        Raises:
            PartError: As ``root``.
        """
        try:
            return self._rules[tree.shape](self, tree)
        except PartError:
            if self._is_lenient:
                return MISSING
            raise

    def condition(self, tree: Tree) -> Typed:
        """Return a part that must be a condition; a number holds if it is neither 0 nor missing.

        Raises:
            PartError: As ``root``.
        """
        return self._as_condition(tree, self.typed(tree))

    def number(self, tree: Tree) -> Typed:
        """Return a part that must be a number.

        Raises:
            PartError: As ``root``.
        """
        return self._as_number(tree, self.typed(tree))

    def has_value(self, tree: Tree) -> Typed:
        """Return where items have a value of an attribute, whatever its kind.

        Raises:
            PartError: If there is no such attribute.
        """
        name = tree.value
        self._refuse_items(tree)
        if self._schema.item_kind(name) is None:
            raise PartError(self._schema.no_item_attribute(name), tree.start, tree.end)
        return Typed("bool", f"has {name!r}", lambda frame: frame.has_value(name), is_per_item=True, is_kept=True)

    def _as_condition(self, tree: Tree, part: Typed) -> Typed:
        if part.type == "bool":
            return part
        if part.type == "number":
            return combined("bool", "is", [part], operations.is_true)
        if part.type == "missing":
            return truth(False)
        hint = f": write has({spelled(part.name)}) or … in {spelled(part.name)}" if part.type == "category" else ""
        return self._unfit(tree, f"wanted a condition, got {described(part, tree)}{hint}", truth(False))

    def _as_number(self, tree: Tree, part: Typed) -> Typed:
        if part.type == "number":
            return part
        if part.type == "missing":
            return number(np.nan)
        hint = ": write 1 if … else 0" if part.type == "bool" else ""
        if tree.shape in ("user", "context"):
            hint = f": write number({tree.shape}.{spelled(tree.value)})"
        return self._unfit(tree, f"wanted a number, got {described(part, tree)}{hint}", number(np.nan))

    def _unfit(self, tree: Tree, words: str, instead: Typed) -> Typed:
        if self._is_lenient:
            return instead
        raise PartError(words, tree.start, tree.end)

    def _number(self, tree: Tree) -> Typed:
        return number(tree.value)

    def _text(self, tree: Tree) -> Typed:
        return constant("texts", (tree.value,), repr((tree.value,)))

    def _truth(self, tree: Tree) -> Typed:
        return truth(tree.value)

    def _list(self, tree: Tree) -> Typed:
        entries, text = tree.value
        of_numbers = bool(entries) and isinstance(entries[0], float)
        return constant("numbers" if of_numbers else "texts", entries, text, is_list=True)

    def _item(self, tree: Tree) -> Typed:
        name = tree.value
        self._refuse_items(tree)
        kind = self._schema.item_kind(name)
        if kind is None:
            raise PartError(self._schema.no_item_attribute(name), tree.start, tree.end)
        if kind == "number":
            return Typed("number", f"number {name!r}", lambda frame: frame.number(name), is_per_item=True, is_kept=True)
        if kind == "category":
            return Typed("category", f"category {name!r}", is_per_item=True, name=name)
        what = "a vector" if kind == "vector" else "a free text"
        words = f"{spelled(name)} is {what}, of which only has({spelled(name)}) can be asked"
        raise PartError(f"{words}; categories can be compared", tree.start, tree.end)

    def _user(self, tree: Tree) -> Typed:
        name = tree.value
        kind = self._schema.user_kind(name)
        if kind is None:
            raise PartError(self._schema.no_user_attribute(name), tree.start, tree.end)
        if kind == "number":
            return Typed("number", f"user {name!r}", lambda frame: frame.user_number(name), is_steady=False)
        return Typed("texts", f"user {name!r}", lambda frame: frame.user_texts(name), is_steady=False)

    def _context(self, tree: Tree) -> Typed:
        name = tree.value
        return Typed("texts", f"context {name!r}", lambda frame: frame.circumstance(name), is_steady=False)

    def _item_id(self, tree: Tree) -> Typed:
        self._refuse_items(tree)
        return Typed("ids", "ids", is_per_item=True)

    def _user_id(self, tree: Tree) -> Typed:
        return Typed("texts", "user", lambda frame: (frame.user_id,) if frame.user_id else (), is_steady=False)

    def _now(self, tree: Tree) -> Typed:
        return Typed("number", "now", lambda frame: frame.now_s, is_steady=False)

    def _refuse_items(self, tree: Tree) -> None:
        if self._kind == "segment":
            words = (
                f"a segment asks about the user and the moment, not about items, got {spelled(tree.value or 'item')}"
            )
            hint = (
                f" (did you mean user.{spelled(tree.value)}?)"
                if tree.value and self._schema.user_kind(tree.value)
                else ""
            )
            raise PartError(words + hint, tree.start, tree.end)

    def _call(self, tree: Tree) -> Typed:
        return calls.RULES[tree.value](self, tree)

    def _not(self, tree: Tree) -> Typed:
        return combined("bool", "not", [self.condition(tree.parts[0])], np.logical_not)

    def _minus(self, tree: Tree) -> Typed:
        return combined("number", "minus", [self.number(tree.parts[0])], np.negative)

    def _arithmetic(self, tree: Tree) -> Typed:
        return combined(
            "number", tree.value, [self.number(part) for part in tree.parts], operations.ARITHMETIC[tree.value]
        )

    def _and(self, tree: Tree) -> Typed:
        return junction("and", [self.condition(part) for part in tree.parts])

    def _or(self, tree: Tree) -> Typed:
        return junction("or", [self.condition(part) for part in tree.parts])

    def _choice(self, tree: Tree) -> Typed:
        condition = self.condition(tree.parts[1])
        trees = (tree.parts[0], tree.parts[2])
        branches = [self.typed(each) for each in trees]
        types = {branch.type for branch in branches} - {"missing"}
        if not types:
            return MISSING
        are_numbers = types == {"number"}
        fit = self._as_number if are_numbers else self._as_condition
        yes, no = (fit(*each) for each in zip(trees, branches, strict=True))
        return choice("number" if are_numbers else "bool", condition, yes, no)

    def _comparison(self, tree: Tree) -> Typed:
        pairs = zip(tree.value, tree.parts[:-1], tree.parts[1:], strict=True)
        return junction("and", [self._compared(*pair) for pair in pairs])

    def _compared(self, operator: str, left_tree: Tree, right_tree: Tree) -> Typed:
        left, right = self.typed(left_tree), self.typed(right_tree)
        if "missing" in (left.type, right.type):
            return truth(operator == "not in")
        if operator in _MEMBERSHIPS:
            part = self._member(left, right, left_tree, right_tree)
            return part if operator == "in" else combined("bool", "not", [part], np.logical_not)
        for part, part_tree in ((left, left_tree), (right, right_tree)):
            if part.is_list:
                raise PartError(f"wanted 'in' before a list, got {operator!r}", part_tree.start, part_tree.end)
        if left.type == right.type == "number":
            return combined("bool", operator, [left, right], operations.COMPARISONS[operator])
        if operator in _EQUALITIES and left.type in _TEXTS and right.type in _TEXTS:
            return self._shared(operator, left, right, right_tree)
        if operator in _EQUALITIES and left.type == right.type == "bool":
            return combined("bool", f"bool {operator}", [left, right], operations.COMPARISONS_OF_TRUTHS[operator])
        raise _mismatch(operator, (left, left_tree), (right, right_tree))

    def _member(self, left: Typed, right: Typed, left_tree: Tree, right_tree: Tree) -> Typed:
        if left.is_list:
            raise PartError(
                "wanted one value before 'in', got a list: write NAME in […]", left_tree.start, left_tree.end
            )
        if left.type in _TEXTS and right.type in _TEXTS:
            return self._shared("in", left, right, right_tree)
        if left.type == "number" and (right.type == "numbers" or (right.is_list and not right_tree.value.entries)):
            listed = right_tree.value.entries
            return combined("bool", f"in {right.key}", [left], lambda value: operations.is_in(value, listed))
        if left.type == "number":
            wanted = "a list of numbers"
        elif left.type in _TEXTS:
            wanted = "a list of texts, a category, or texts of the user or the context"
        else:
            raise PartError(
                f"wanted a text or a number, got {described(left, left_tree)}", left_tree.start, left_tree.end
            )
        raise PartError(f"wanted {wanted}, got {described(right, right_tree)}", right_tree.start, right_tree.end)

    def _shared(self, operator: str, left: Typed, right: Typed, right_tree: Tree) -> Typed:
        """Return where two sets of texts share one; for ``!=`` where both have some, and share none."""
        if left.is_per_item and right.is_per_item:
            words = "wanted a text, a list, or an attribute of the user or the context beside an attribute of the items"
            raise PartError(f"{words}, got another of the items", right_tree.start, right_tree.end)
        column, texts = (left, right) if left.is_per_item else (right, left)
        find = texts.run
        share: Callable[[Frame], Value]
        if column.type == "category":
            name = column.name

            def share(frame: Frame) -> Value:
                return frame.has_any(name, find(frame))

            def has_both(frame: Frame) -> Value:
                return frame.has_value(name) if find(frame) else np.bool_(False)

        elif column.type == "ids":

            def share(frame: Frame) -> Value:
                return frame.is_one_of(find(frame))

            def has_both(frame: Frame) -> Value:
                return np.bool_(bool(find(frame)))

        else:
            find_other = column.run

            def share(frame: Frame) -> Value:
                return np.bool_(not set(find(frame)).isdisjoint(find_other(frame)))

            def has_both(frame: Frame) -> Value:
                return np.bool_(bool(find(frame) and find_other(frame)))

        run = share if operator != "!=" else lambda frame: np.logical_and(has_both(frame), ~share(frame))
        word = "!=" if operator == "!=" else "shares"
        is_steady = left.is_steady and right.is_steady
        return Typed("bool", f"({word} {column.key} {texts.key})", run, column.is_per_item, is_steady)

    _rules: ClassVar = {
        "number": _number,
        "text": _text,
        "truth": _truth,
        "list": _list,
        "item": _item,
        "user": _user,
        "context": _context,
        "item_id": _item_id,
        "user_id": _user_id,
        "now": _now,
        "call": _call,
        "not": _not,
        "minus": _minus,
        "arithmetic": _arithmetic,
        "and": _and,
        "or": _or,
        "comparison": _comparison,
        "choice": _choice,
    }


def described(part: Typed, tree: Tree) -> str:
    """Return in words what a part is, for errors."""
    noun = "a list of texts" if part.is_list and part.type == "texts" else _NOUNS[part.type]
    names = {"item": "", "user": "user.", "context": "context."}
    if tree.shape in names:
        return f"{names[tree.shape]}{spelled(tree.value)} ({noun})"
    return {"item_id": "item (an id)", "user_id": "user (an id)", "now": "now (a number)"}.get(tree.shape, noun)


def _mismatch(operator: str, left: tuple[Typed, Tree], right: tuple[Typed, Tree]) -> PartError:
    """Return the fault of two parts that cannot be compared, at the one that should be another."""
    (left_part, left_tree), (right_part, right_tree) = left, right
    for part, tree in (left, right):
        if operator not in _EQUALITIES and part.type in _TEXTS and left_part.type != "number" != right_part.type:
            words = f"texts have no order: wanted ==, !=, in or startswith(…), got {operator!r}"
            return PartError(words, tree.start, tree.end)
    if left_part.type == "number" and right_part.type == "bool":
        words = f"wanted a number, got a condition: {described(left_part, left_tree)} is itself one, true if not 0"
        return PartError(words, right_tree.start, right_tree.end)
    for (part, tree), (other, other_tree) in ((right, left), (left, right)):
        if part.type in _TEXTS and other.type == "number":
            hint = f": write number({tree.shape}.{spelled(tree.value)})" if tree.shape in ("user", "context") else ""
            words = f"wanted a number beside {described(other, other_tree)}, got {described(part, tree)}{hint}"
            return PartError(words, tree.start, tree.end)
    words = (
        f"wanted {described(left_part, left_tree)} and what can be compared, got {described(right_part, right_tree)}"
    )
    return PartError(words, right_tree.start, right_tree.end)
