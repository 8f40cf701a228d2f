"""The words of an expression: texts, numbers, names, operators; a list of any length is one word."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from springtide.expressions.faults import PartError
from springtide.expressions.tree import Listed

MAX_BYTES = 4_096
MAX_WORDS = 96
"""How many words an expression may have. It bounds what reading and evaluating cost; a list counts as one."""

_TEXT = r"""(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|'[^'\\]*+(?:\\.[^'\\]*+)*+')"""
_NUMBER = r"(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?\d++)?+"
_WORDS = re.compile(
    rf"""(?P<SPACE>\s++)
    |(?P<TEXT>{_TEXT})
    |(?P<LIST>\[(?:[^\[\]"']++|{_TEXT})*+\])
    |(?P<NUMBER>{_NUMBER})
    |(?P<NOT_IN>not\s++in\b)
    |(?P<NAME>[^\W\d]\w*+)
    |(?P<QUOTED>`[^`]++`)
    |(?P<COMPARE>==|!=|<=|>=|<(?![>])|>)
    |(?P<SIGN>[+-])
    |(?P<TIMES>\*(?!\*)|/(?!/))
    |(?P<COMMA>,)|(?P<DOT>\.)|(?P<OPEN>\()|(?P<CLOSE>\))""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = {word: word.upper() for word in ("and", "or", "not", "in", "if", "else")}
_TRUTHS = {"true": True, "false": False, "True": True, "False": False}
_ENTRY = rf"(?:{_TEXT}|[+-]?{_NUMBER})"
_ENTRIES = re.compile(rf"\[\s*+(?:{_ENTRY}\s*+(?:,\s*+{_ENTRY}\s*+)*+,?\s*+)?+\]", re.DOTALL)
_GOOD_ENTRIES = re.compile(rf"\[\s*+(?:{_ENTRY}\s*+,\s*+)*+(?:{_ENTRY}\s*+)?+", re.DOTALL)
_EACH_TEXT = re.compile(_TEXT, re.DOTALL)
_IS_NUMBER = re.compile(r"[-+.\d]")
_MAX_DIGITS = 64
_INFINITE = float("inf")
MAX_ENTRIES = 1_000
"""How many entries a list may have."""

# What people write who come from another language.
_INSTEAD = {
    "&&": "wanted 'and', got '&&'",
    "&": "wanted 'and', got '&'",
    "||": "wanted 'or', got '||'",
    "|": "wanted 'or', got '|'",
    "!": "wanted 'not', got '!'",
    "<>": "wanted '!=', got '<>'",
    "=": "wanted '==' to compare, got '='",
    "**": "there are no powers: wanted one of + - * / or a function such as exp, got '**'",
    "//": "there is one division: wanted '/', got '//'",
    '"': 'the text is not closed: wanted " at its end',
    "'": "the text is not closed: wanted ' at its end",
    "[": "the list is not closed, or has a list in it: wanted texts or numbers, and ] at its end",
    "`": "the name is not closed: wanted ` at its end",
    ";": "wanted one expression, got ';'",
}


class Word(NamedTuple):
    """One word.

    Attributes:
        kind: Name of the grammar's terminal.
        start: Where it begins in the text, in characters from 0.
        end: Where it ends; that character not included.
        value: A float, a text, a name, an operator, or a ``Listed``.
    """

    kind: str
    start: int
    end: int
    value: Any


def words_of(text: str) -> Iterator[Word]:
    """Yield the words of an expression.

    Args:
        text: The expression.

    Raises:
        PartError: At the first character that begins no word, and at one word too many.
    """
    if (at := text.find("\0")) >= 0:
        raise _no_word(text, at)
    at, num_words, size = 0, 0, len(text)
    match = _WORDS.match
    while at < size:
        found = match(text, at)
        if found is None:
            raise _no_word(text, at)
        start, at = at, found.end()
        kind = found.lastgroup or ""
        if kind == "SPACE":
            continue
        num_words += 1
        if num_words > MAX_WORDS:
            words = f"the expression is too long: wanted at most {MAX_WORDS} words, where a list counts as one"
            raise PartError(words, start, at)
        yield _word(kind, text, start, at)


def _word(kind: str, text: str, start: int, end: int) -> Word:
    value: Any = text[start:end]
    if kind == "NAME":
        if value in _KEYWORDS:
            kind = _KEYWORDS[value]
        elif value in _TRUTHS:
            kind, value = "TRUTH", _TRUTHS[value]
    elif kind == "TEXT":
        value = _unquoted(value)
    elif kind == "NUMBER":
        value = _number(value, start, end)
    elif kind == "LIST":
        value = _entries(value, text, start, end)
    elif kind == "QUOTED":
        value = value[1:-1]
    elif kind == "NOT_IN":
        value = "not in"
    return Word(kind, start, end, value)


def _unquoted(quoted: str) -> str:
    text = quoted[1:-1]
    if "\\" not in text:
        return text
    return text.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")  # No expression has the character 0.


def _number(digits: str, start: int, end: int) -> float:
    number = float(digits) if len(digits) <= _MAX_DIGITS else _INFINITE
    if number == _INFINITE:
        raise PartError("the number is too large or too long", start, end)
    return number


def _entries(listed: str, text: str, start: int, end: int) -> Listed:
    """Return the entries of a list; by few calls for all of them, since there may be a thousand."""
    if _ENTRIES.fullmatch(listed) is None:
        good = _GOOD_ENTRIES.match(listed)
        at = start + (1 if good is None else good.end())
        words = "wanted texts or numbers between commas, then ]"
        raise PartError(f"{words}, got {text[at]!r}", at, at + 1)
    if listed.count(",") <= MAX_ENTRIES:
        values = _values(listed, start, end)
        if len(values) <= MAX_ENTRIES:
            return Listed(values, listed)
    raise PartError(f"the list is too long: wanted at most {MAX_ENTRIES:,} entries", start, end)


def _values(listed: str, start: int, end: int) -> tuple[str, ...] | tuple[float, ...]:
    if '"' not in listed and "'" not in listed:
        entries = listed[1:-1].split(",")
        if not entries[-1].strip():
            entries.pop()
        numbers = tuple(map(float, entries)) if max(map(len, entries), default=0) <= _MAX_DIGITS else (_INFINITE,)
        if numbers and not -_INFINITE < min(numbers) <= max(numbers) < _INFINITE:
            raise PartError("a number in the list is too large or too long", start, end)
        return numbers
    texts = _EACH_TEXT.findall(listed)
    if _IS_NUMBER.search(_EACH_TEXT.sub("", listed)):
        raise PartError("wanted a list of texts, or one of numbers, got both in one", start, end)
    return tuple([_unquoted(each) for each in texts] if "\\" in listed else [each[1:-1] for each in texts])


def _no_word(text: str, at: int) -> PartError:
    for length in (2, 1):
        if (found := text[at : at + length]) in _INSTEAD:
            return PartError(_INSTEAD[found], at, at + length)
    return PartError(f"no expression has the character {text[at]!r}", at, at + 1)
