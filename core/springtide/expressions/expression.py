"""An expression: read once, and checked against the attributes as they are."""

import functools
from dataclasses import dataclass, field

from springtide.expressions.checking import Checker, Kind
from springtide.expressions.faults import ExpressionError, PartError
from springtide.expressions.parsing import read
from springtide.expressions.program import Dependencies, Program
from springtide.expressions.schema import Schema
from springtide.expressions.tree import Tree
from springtide.expressions.typed import kept

_MAX_KEPT = 256  # Expressions: of 4 KiB each, a list of a thousand ids in each, some 30 MB.

_Kinds = tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """An expression that could be read; whether its names and types fit, ``check`` says.

    Attributes:
        text: As it was given.
        tree: What it says.
        dependencies: What it looks at.
    """

    text: str
    tree: Tree
    dependencies: Dependencies
    _programs: dict[tuple[Kind, bool], tuple[_Kinds, Program]] = field(default_factory=dict, repr=False)

    def check(self, schema: Schema, kind: Kind, field: str = "filter", is_lenient: bool = False) -> Program:
        """Return the expression ready to be evaluated; quick if the kinds of its attributes are as at the last time.

        Args:
            schema: The attributes that exist.
            kind: What it is for.
            field: Where it stands, for errors.
            is_lenient: Whether names that are unknown and parts that do not fit are missing rather than an error: a
                rule that holds for all must fail no request because the last item with its attribute has gone.

        Raises:
            ExpressionError: If it names what is not there, or a part has a wrong type.
        """
        kinds = self._kinds(schema)
        found = self._programs.get((kind, is_lenient))
        if found is not None and found[0] == kinds:
            return found[1]
        try:
            root = Checker(schema, kind, is_lenient).root(self.tree)
        except PartError as fault:
            raise ExpressionError(field, self.text, fault) from None
        program = Program(self.dependencies, kept(root))
        self._programs[kind, is_lenient] = kinds, program
        return program

    def _kinds(self, schema: Schema) -> _Kinds:
        uses = self.dependencies
        return (*map(schema.item_kind, uses.item_attributes), *map(schema.user_kind, uses.user_attributes))


@functools.lru_cache(_MAX_KEPT)
def _read(text: str) -> Expression:
    tree = read(text)
    return Expression(text, tree, Dependencies.of(tree))


def parse(text: str, field: str = "filter") -> Expression:
    """Return an expression; those that were read lately are kept.

    Args:
        text: At most 4 KiB and 96 words; see the room's README.
        field: Where it stands, for errors.

    Raises:
        ExpressionError: If it is none.
    """
    try:
        return _read(text)
    except PartError as fault:
        raise ExpressionError(field, text, fault) from None


def forget() -> None:
    """Forget the expressions that were read, for tests of what reading costs."""
    _read.cache_clear()
