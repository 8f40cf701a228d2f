"""From a text to its tree, by lark: the grammar, and the words of its errors."""

import functools
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from springtide.expressions.faults import PartError
from springtide.expressions.lexing import MAX_BYTES, Word, words_of
from springtide.expressions.schema import nearest
from springtide.expressions.tree import Shape, Tree

if TYPE_CHECKING:
    import lark

MAX_DEPTH = 64
"""How deep an expression may be nested."""

FUNCTIONS = ("date", "days", "exp", "has", "hour", "log", "max", "min", "month", "number", "startswith", "weekday")
"""The names of the functions."""

GRAMMAR = r"""
start: choice
?choice: either
    | either IF either ELSE choice          -> choose
?either: both
    | both (OR both)+                       -> any_of
?both: comparison
    | comparison (AND comparison)+          -> all_of
?comparison: sum
    | sum ((COMPARE | IN | NOT_IN) sum)+    -> compare
    | NOT comparison                        -> negate
?sum: atom
    | atom ((SIGN | TIMES) atom)+           -> calculate
?atom: NUMBER                               -> number
    | TEXT                                  -> text
    | LIST                                  -> listed
    | TRUTH                                 -> truth
    | NAME                                  -> name
    | QUOTED                                -> quoted
    | NAME DOT (NAME | QUOTED)              -> attribute
    | NAME OPEN [choice (COMMA choice)*] CLOSE -> call
    | OPEN choice CLOSE                     -> bracketed
    | SIGN atom                             -> sign
%declare NUMBER TEXT LIST TRUTH NAME QUOTED
%declare COMPARE IN NOT_IN SIGN TIMES AND OR NOT IF ELSE COMMA DOT OPEN CLOSE
"""
_VALUES = {"NUMBER", "TEXT", "LIST", "TRUTH", "NAME", "QUOTED", "OPEN"}
_MAX_SHOWN = 20  # Characters of a word that an error quotes.


class _Builder:
    """Makes the tree while lark parses: one method for each alternative of the grammar that has a name."""

    def start(self, parts: Sequence[Any]) -> Any:
        return parts[0]

    def choose(self, parts: Sequence[Any]) -> Tree:
        return _joined("choice", None, (parts[0], parts[2], parts[4]))

    def any_of(self, parts: Sequence[Any]) -> Tree:
        return _joined("or", None, parts[::2])

    def all_of(self, parts: Sequence[Any]) -> Tree:
        return _joined("and", None, parts[::2])

    def negate(self, parts: Sequence[Any]) -> Tree:
        return _joined("not", None, parts[1:], parts[0].start_pos)

    def compare(self, parts: Sequence[Any]) -> Tree:
        return _joined("comparison", tuple([_word_of(each).value for each in parts[1::2]]), parts[::2])

    def calculate(self, parts: Sequence[Any]) -> Tree:
        terms = [parts[0]]  # Products first: one rule less for each part of each expression.
        signs = []
        for operator, operand in zip(parts[1::2], parts[2::2], strict=True):
            if operator.type == "TIMES":
                terms[-1] = _joined("arithmetic", _word_of(operator).value, (terms[-1], operand))
            else:
                signs.append(_word_of(operator).value)
                terms.append(operand)
        whole: Tree = terms[0]
        for sign, term in zip(signs, terms[1:], strict=True):
            whole = _joined("arithmetic", sign, (whole, term))
        return whole

    def sign(self, parts: Sequence[Any]) -> Tree:
        sign, operand = parts
        if operand.shape == "number":  # So that -1 is a number, wherever one is wanted.
            value = -operand.value if _word_of(sign).value == "-" else operand.value
            return Tree("number", sign.start_pos, operand.end, value)
        if _word_of(sign).value == "+":
            return _joined("arithmetic", "+", (Tree("number", sign.start_pos, sign.end_pos, 0.0), operand))
        return _joined("minus", None, (operand,), sign.start_pos)

    def number(self, parts: Sequence[Any]) -> Tree:
        return _leaf("number", parts[0])

    def text(self, parts: Sequence[Any]) -> Tree:
        return _leaf("text", parts[0])

    def listed(self, parts: Sequence[Any]) -> Tree:
        return _leaf("list", parts[0])

    def truth(self, parts: Sequence[Any]) -> Tree:
        return _leaf("truth", parts[0])

    def name(self, parts: Sequence[Any]) -> Tree:
        word = _word_of(parts[0])
        if word.value == "now":
            return Tree("now", word.start, word.end)
        if word.value == "item":
            return Tree("item_id", word.start, word.end)
        if word.value == "user":
            return Tree("user_id", word.start, word.end)
        if word.value == "context":
            raise PartError("wanted a circumstance, such as context.place or context.weather", word.start, word.end)
        return Tree("item", word.start, word.end, word.value)

    def quoted(self, parts: Sequence[Any]) -> Tree:
        return _leaf("item", parts[0])

    def attribute(self, parts: Sequence[Any]) -> Tree:
        owner, name = _word_of(parts[0]), _word_of(parts[2])
        if owner.value == "user":
            return Tree("user", owner.start, name.end, name.value)
        if owner.value == "context":
            return Tree("context", owner.start, name.end, name.value)
        if owner.value == "item":
            return Tree("item", owner.start, name.end, name.value)
        words = f"wanted user, context or item before the dot, got {owner.value}"
        raise PartError(words, owner.start, owner.end)

    def call(self, parts: Sequence[Any]) -> Tree:
        word, arguments = _word_of(parts[0]), [each for each in parts if isinstance(each, Tree)]
        if word.value not in FUNCTIONS:
            raise PartError(_no_function(word.value), word.start, word.end)
        depth = 1 + max((each.depth for each in arguments), default=0)
        return Tree("call", word.start, parts[-1].end_pos, word.value, tuple(arguments), _checked(depth, word.start))

    def bracketed(self, parts: Sequence[Any]) -> Tree:
        return parts[1]  # type: ignore[no-any-return]  # It is what `choice` gave.


def _no_function(name: str) -> str:
    meant = nearest(name, FUNCTIONS) or f"choices: {', '.join(FUNCTIONS)}"
    return f"no function is named {name!r} ({meant})"


def _word_of(token: Any) -> Word:
    return token.value  # type: ignore[no-any-return]  # The lexer below has put it there.


def _leaf(shape: Shape, token: Any) -> Tree:
    word = _word_of(token)
    return Tree(shape, word.start, word.end, word.value)


def _joined(shape: Shape, value: Any, parts: Sequence[Tree], start: int | None = None) -> Tree:
    first = parts[0].start if start is None else start
    depth = _checked(1 + max([each.depth for each in parts]), first)
    return Tree(shape, first, parts[-1].end, value, tuple(parts), depth)


def _checked(depth: int, start: int) -> int:
    if depth > MAX_DEPTH:
        raise PartError(f"nested too deeply: wanted at most {MAX_DEPTH} levels", start, start + 1)
    return depth


_lock = threading.Lock()


@functools.cache
def _parser() -> "lark.Lark":
    """Return the parser; it is made once, which takes some ten milliseconds with lark's import."""
    import lark

    class WordLexer(lark.lexer.Lexer):
        """Gives lark the words as its tokens."""

        def __init__(self, lexer_conf: Any) -> None:
            """Take nothing from the grammar: the words are ours."""

        def lex(self, text: Any) -> Iterator[lark.Token]:  # type: ignore[override]  # As lark calls custom lexers.
            for word in words_of(text):
                token = lark.Token(word.kind, "", word.start, end_pos=word.end)
                token.value = word
                yield token

    return lark.Lark(GRAMMAR, parser="lalr", lexer=WordLexer, transformer=_Builder(), maybe_placeholders=False)


def prepare() -> None:
    """Make the parser, so that the first expression need not wait for it."""
    with _lock:
        _parser()


def read(text: str) -> Tree:
    """Return the tree of an expression.

    Args:
        text: The expression, at most 4 KiB and 96 words.

    Raises:
        PartError: If it is none.
    """
    num_bytes = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if num_bytes > MAX_BYTES:
        raise PartError(f"wanted at most {MAX_BYTES:,} bytes, got {num_bytes:,}", 0, 1)
    if not text.strip():
        raise PartError("wanted an expression, got nothing", 0, 1)
    with _lock:  # Only one thread makes it.
        parser = _parser()
    from lark.exceptions import UnexpectedToken

    try:
        return parser.parse(text)  # type: ignore[return-value]  # What `_Builder.start` returns.
    except UnexpectedToken as error:
        raise _unexpected(error, text) from None


def _unexpected(error: Any, text: str) -> PartError:
    token = error.token
    is_end = token.type == "$END"
    start, end = (len(text), len(text) + 1) if is_end else (token.start_pos, token.end_pos)
    shown = text[start:end] if end - start <= _MAX_SHOWN else f"{text[start : start + _MAX_SHOWN]}…"
    got = "the end" if is_end else repr(shown)
    expected = set(error.expected)
    if expected >= _VALUES:
        wanted = "an attribute, a number or a text"
    elif expected == {"NAME", "QUOTED"}:
        wanted = "a name after the dot"
    else:
        closing = _closing(error.state.value_stack)
        after = f", or {closing or 'the end'}" if closing or not is_end else ""
        wanted = closing if closing == "'else'" and is_end else f"an operator such as 'and' or '<'{after}"
    return PartError(f"wanted {wanted}, got {got}", start, end)


def _closing(stack: Sequence[Any]) -> str:
    """Return what would close the innermost bracket or choice of what was read so far; empty if none is open."""
    open_ones = []
    kinds = [getattr(each, "type", "") for each in stack]
    for before, kind in zip(["", *kinds], kinds, strict=False):
        if kind == "OPEN":
            open_ones.append("',' or ')'" if before == "NAME" else "')'")
        elif kind == "IF":
            open_ones.append("'else'")
        elif kind in ("CLOSE", "ELSE"):
            open_ones.pop()
    return open_ones[-1] if open_ones else ""
