"""What is wrong with an expression, and where: words, the line it stands in, and carets under it."""

import unicodedata

from springtide.errors import InvalidRequestError

_BEFORE, _WIDTH = 60, 100  # Characters of a line that are shown before the fault, and in all.


class PartError(Exception):
    """Raised inside this room when something is wrong with an expression; who knows the text makes an error of it.

    Attributes:
        words: What is wrong, in one line.
        start: Where it begins in the text, in characters from 0.
        end: Where it ends; that character not included.
    """

    def __init__(self, words: str, start: int, end: int) -> None:
        super().__init__(words)
        self.words, self.start, self.end = words, start, end


class ExpressionError(InvalidRequestError):
    """Raised when an expression cannot be read, or asks for what is not there or does not fit.

    Attributes:
        field: Path of the request's field, or the rule's, that holds the expression.
        words: What is wrong, in one line.
        text: The expression.
        position: Where it is wrong, in characters from 0.
    """

    def __init__(self, field: str, text: str, fault: PartError) -> None:
        start, end = fault.start, fault.end
        super().__init__(field, f"{fault.words}, at {_place(text, start)}\n{_drawing(text, start, end)}")
        self.words = fault.words
        self.text = text
        self.position = start


def _place(text: str, start: int) -> str:
    """Return where a character is, counted from 1 as people do."""
    num_lines = text.count("\n", 0, start)
    if "\n" not in text:
        return f"character {start + 1}"
    return f"line {num_lines + 1}, character {start - text.rfind(chr(10), 0, start)}"


def _drawing(text: str, start: int, end: int) -> str:
    """Return the line with the fault, or the part of it around the fault, and carets under it."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    first = max(line_start, start - _BEFORE)
    last = min(line_end, first + _WIDTH)
    before, after = "…" if first > line_start else "", "…" if last < line_end else ""
    shown = "".join(each if each.isprintable() else " " for each in text[first:last])
    indent = _columns(before + shown[: start - first])
    num_carets = max(1, _columns(shown[start - first : max(start, end) - first]))
    return f"  {before}{shown}{after}\n  {' ' * indent}{'^' * num_carets}"


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )
