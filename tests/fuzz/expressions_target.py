"""Any bytes as a filter, a booster or a segment."""

import contextlib
import sys
import time
from collections.abc import Iterator

import numpy as np
from targets import NOW_MS, Target

from springtide.events.model import NodeUpsert
from springtide.expressions import Columns, ExpressionError, Schema, parse
from springtide.expressions.expression import forget
from springtide.interactions import Moment
from springtide.testing import state_of

# Of CPU, to read and to check; atheris' counting of lines takes more than the lines.
MAX_MS = 5.0 if "atheris" in sys.modules else 1.0
_KINDS = ("filter", "booster", "segment")
_UPSERTS = [
    NodeUpsert("item", "i0", {"category": ("WINE", "RED"), "product type": ("a",)}, {"price": 12.0, "promo": 1.0}),
    NodeUpsert("item", "i1", {"category": ("BEER",)}, {"price": 3.0, "available_from": 1e9}, {"title": "A"}),
    NodeUpsert("item", "i2"),
    NodeUpsert("user", "u0", {"country": ("DE",), "likes": ("BEER", "RED")}, {"budget": 5.0}, {"note": "x"}),
]
_SEEDS = (
    (0, '"WINE" in category and price < 20 and not promo and available_from <= now'),
    (0, 'item in [\'i0\', "i\\"1"] or category not in ["RED"] and 2 <= price != 1e3'),
    (0, 'startswith(category, "B") and user.likes in category and user.country == "DE" or user in ["u0"]'),
    (0, '`product type` == "a" and has(title) or price in [1, -2.5, 3,] or now > date("2026-12-24") - days(7)'),
    (1, "2 if promo else min(price, -1, max(log(price), exp(2))) * 3 / (1 - number(context.distance))"),
    (2, 'hour(now) >= 18 and weekday(now) < 6 and context.place == "x" or user.budget > 3 and true != false'),
)


_WORD_SEEDS = (
    (0, "has( price ) and price < 12 and 'DE' in category or not promo"),
    (1, "min( price , 12 ) * price if promo else max( 0 , log( price ) )"),
    (2, 'user.budget >= 12 and user in [] or context.place == "RED"'),
)
_PARTS = {"filter": "?", "booster": "#", "segment": "?"}
_RULES = {  # What a condition, a number, texts of an item and other texts are made of: the simple ones first.
    "?": (
        "promo",
        "true",
        "# < #",
        "# >= # != #",
        "$ in @",
        "@ == $",
        "$ not in @",
        "@ != $",
        "has(price)",
        "# in [1, 3]",
        'startswith(category, "W")',
        "not ?",
        "? and ?",
        "? or ? or ?",
        "(? if ? else ?)",
        "(#)",
        "item in [\"i0\", 'x']",
    ),
    "#": (
        "price",
        "1",
        "-2.5",
        "now",
        "user.budget",
        "available_from",
        "(# + #)",
        "(# - #)",
        "# * #",
        "(# / #)",
        "min(#, #, #)",
        "log(#)",
        "exp(#)",
        "-(#)",
        "(# if ? else #)",
        "number(context.distance)",
        "hour(now)",
        "days(#)",
    ),
    "@": ("category", "item", "`product type`"),
    "$": ('"RED"', "user.likes", "user", "context.place", "user.country"),
}
_WORDS = (
    *(
        "price",
        "category",
        "promo",
        "title",
        "`product type`",
        "item",
        "user",
        "user.likes",
        "user.budget",
        "user.note",
    ),
    *(
        "context.place",
        "now",
        '"RED"',
        "'DE'",
        '["RED", "i0"]',
        "[1, 12, -2.5]",
        "[]",
        "12",
        "0",
        "1e300",
        "true",
        "false",
    ),
    *(
        "and",
        "or",
        "not",
        "in",
        "not in",
        "if",
        "else",
        "==",
        "!=",
        "<",
        "<=",
        ">=",
        "+",
        "-",
        "*",
        "/",
        ",",
        "(",
        ")",
        ".",
    ),
    *("has(", "min(", "max(", "log(", "exp(", "days(", "date(", "number(", "startswith(", "hour(now)", "(price", ")"),
)


def expressions_target() -> Target:
    """An expression: the first byte says what it is for, and whether the others are its text, or choose its
    words or rules."""
    texts = [bytes([kind]) + text.encode() for kind, text in _SEEDS]
    words = [bytes([3 + kind]) + bytes(map(_WORDS.index, text.split())) for kind, text in _WORD_SEEDS]
    grown = [bytes([6 + kind, *range(8 * kind, 8 * kind + 40)]) for kind in range(3)]
    return Target(Expressions().run, texts + words + grown)


def _grown(part: str, choices: Iterator[int], depth: int) -> str:
    """Return an expression that a few bytes choose by rules, so that most of them can be computed."""
    rules = _RULES[part] if depth else _RULES[part][:1]
    rule = rules[next(choices, 0) % len(rules)]
    return "".join(_grown(each, choices, depth - 1) if each in _RULES else each for each in rule)


class Expressions:
    """Reads, checks and computes expressions on a small graph."""

    def __init__(self) -> None:
        view = state_of([("u0", "i0", 1)], upserts=_UPSERTS).graph.view()
        user_row = view.nodes("user").ids.row("u0")
        moment = Moment(NOW_MS, "x", "rain", {"distance": "2.5"})
        self._schema = Schema.of(view, "item")
        self._columns = [Columns(view, "item", 3, moment, "u0", user_row), Columns(view, "item", 2, Moment(NOW_MS))]

    def run(self, data: bytes) -> str:
        if not data:
            return "nothing"
        kind, text = _KINDS[data[0] % 3], data[1:].decode(errors="surrogateescape")
        if data[0] // 3 % 3 == 1:
            text = " ".join(_WORDS[each % len(_WORDS)] for each in data[1:])
        elif data[0] // 3 % 3 == 2:
            text = _grown(_PARTS[kind], iter(data[1:]), 6)
        took_ms = min(self._took_ms(kind, text) for _ in range(2))
        if took_ms > MAX_MS:  # Something else may have been in the way.
            took_ms = min(self._took_ms(kind, text) for _ in range(10))
        assert took_ms < MAX_MS, f"took {took_ms:.2f} ms: {text!r}"
        try:
            expression = parse(text)
        except ExpressionError as error:
            return self._refused(error, text)
        self._compute(kind, expression.check(self._schema, kind, is_lenient=True))
        try:
            program = expression.check(self._schema, kind)
        except ExpressionError as error:
            return self._refused(error, text)
        self._compute(kind, program)
        return "computed"

    def _took_ms(self, kind, text: str) -> float:
        forget()
        started = time.thread_time_ns()
        with contextlib.suppress(ExpressionError):
            parse(text).check(self._schema, kind)
        return (time.thread_time_ns() - started) / 1e6

    def _refused(self, error: ExpressionError, text: str) -> str:
        assert 0 <= error.position <= len(text)
        message, _, drawn = str(error).partition("\n")
        line, caret = drawn.split("\n")
        assert message.startswith("filter: ")
        assert caret.strip(" ").strip("^") == ""
        assert "^" in caret
        assert len(line) < 110
        return "clear error"

    def _compute(self, kind: str, program) -> None:
        for columns in self._columns:
            if kind == "segment":
                assert isinstance(program.holds(columns), bool)
            elif kind == "filter":
                mask = program.mask(columns)
                assert (mask.dtype, mask.shape) == (np.bool_, (columns.num_items,))
            else:
                values = program.values(columns)
                assert (values.dtype, values.shape) == (np.float32, (columns.num_items,))
                assert bool(((values == 0) | ((values > 9e-7) & (values < 2e6))).all())
