"""The language of filters, boosters and segments: from a text to masks over columns."""

from springtide.expressions.checking import Kind
from springtide.expressions.columns import Columns
from springtide.expressions.expression import Expression, parse
from springtide.expressions.faults import ExpressionError
from springtide.expressions.parsing import prepare
from springtide.expressions.program import Dependencies, Program
from springtide.expressions.schema import Schema

__all__ = [
    "Columns",
    "Dependencies",
    "Expression",
    "ExpressionError",
    "Kind",
    "Program",
    "Schema",
    "parse",
    "prepare",
]
