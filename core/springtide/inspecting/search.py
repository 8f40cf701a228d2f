"""Finding nodes whose id or name has a text, whatever case it is in: among a million in a tenth of a second."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from springtide.graph.categories import CategoryColumn
from springtide.graph.nodes import NodeTable
from springtide.inspecting.summaries import Inspected
from springtide.packed_texts import PackedTexts, pack

Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

# Nodes that are looked at in one piece. Their ids are copied while no other thread runs: for a fifth of a millisecond.
_AT_ONCE = 16_384

_WHOLE, _BEGINS, _HAS, _NOT = 1, 2, 3, 4
"""How a text is in another one; 0 is for the very id that was asked for."""

_MOST_DEGREE = 2**31 - 1


class Found(NamedTuple):
    """The nodes that were found.

    Attributes:
        rows: Their rows, the best first.
        has_more: Whether there are more.
    """

    rows: list[int]
    has_more: bool


class Pattern:
    """A text to be found in others, whatever case it is in.

    A letter is found in both cases if these take as many bytes, as nearly all do.

    Args:
        text: The text, of at least one character.
    """

    def __init__(self, text: str) -> None:
        self._letters: list[tuple[int, list[bytes]]] = []  # Where each one begins, and its forms.
        at = 0
        for letter in text:
            utf8 = letter.encode("utf-8", "surrogatepass")
            forms = {each.encode("utf-8", "surrogatepass") for each in (letter, letter.lower(), letter.upper())}
            self._letters.append((at, [form for form in sorted(forms) if len(form) == len(utf8)]))
            at += len(utf8)
        self._num_bytes = at

    def places(self, texts: PackedTexts) -> npt.NDArray[np.int8]:
        """Return how the text is in each of others, int8 ``[num_texts]``: whole, at the beginning, elsewhere, or not.

        Args:
            texts: The texts; one of a row that is not taken is empty.
        """
        utf8, offsets = texts
        found = np.full(len(offsets) - 1, _NOT, np.int8)
        starts = self._starts(utf8)
        if not len(starts):
            return found
        index = np.searchsorted(offsets, starts, side="right") - 1
        is_inside = starts + self._num_bytes <= offsets[index + 1]
        starts, index = starts[is_inside], index[is_inside]
        begins = starts == offsets[index]
        is_whole = begins & (starts + self._num_bytes == offsets[index + 1])
        found[index] = _HAS
        found[index[begins]] = _BEGINS
        found[index[is_whole]] = _WHOLE
        return found

    def _starts(self, utf8: Bytes) -> Int64s:
        """Return where the text begins in bytes, int64 ``[n]``, ascending.

        The last letter is looked for first: ids often begin alike, and seldom end alike.
        """
        num_starts = len(utf8) - self._num_bytes + 1
        if num_starts < 1:
            return np.empty(0, np.int64)
        starts: Int64s | None = None
        for at, forms in reversed(self._letters):
            is_letter = np.zeros(num_starts if starts is None else len(starts), np.bool_)
            for form in forms:
                is_form: npt.NDArray[np.bool_] | None = None
                for offset, byte in enumerate(form, start=at):
                    of_starts = utf8[offset : offset + num_starts] if starts is None else utf8[starts + offset]
                    is_form = of_starts == byte if is_form is None else is_form & (of_starts == byte)
                assert is_form is not None, "a letter has at least one byte"
                is_letter |= is_form
            starts = np.flatnonzero(is_letter) if starts is None else starts[is_letter]
            if not len(starts):
                break
        assert starts is not None, "a text has at least one letter"
        return starts


def search_nodes(inspected: Inspected, node_type: str, text: str, count: int, is_over: Callable[[], bool]) -> Found:
    """Return the nodes whose id or name has a text; of an empty text, those with the most interactions.

    The one whose id is the text comes first, then those whose id or name is the text but for case, then those that
    begin with it, then others; of equals, those with more interactions first.

    Args:
        inspected: The graph.
        node_type: Their type.
        text: The text.
        count: Most nodes to return.
        is_over: Says whether to give up; asked every few hundred microseconds.

    Raises:
        InvalidRequestError: If there is no such type.
        TimeoutError: If the time is over.
    """
    nodes, num_nodes = inspected.table(node_type), inspected.view.num_nodes(node_type)
    exact = nodes.ids.row(text) if text else -1
    parts = []
    for rows, places in _places(inspected, nodes, node_type, num_nodes, text):
        if is_over():
            raise TimeoutError(f"the search for {text!r} took too long")
        found = np.flatnonzero(places < _NOT)
        if len(found):
            rows = rows[found]
            keys = _keys(places[found], inspected.degrees(node_type, rows), rows)
            parts.append(_least(keys, count + 1))
    keys = _least(np.concatenate(parts), count + 1) if parts else np.empty(0, np.uint64)
    rows_found = (keys & np.uint64(_MOST_DEGREE)).astype(np.int64).tolist()
    if 0 <= exact < num_nodes:
        rows_found = [exact, *(row for row in rows_found if row != exact)]
    return Found(rows_found[:count], len(rows_found) > count)


def near_ids(
    inspected: Inspected, node_type: str, node_id: str, is_over: Callable[[], bool], count: int = 5
) -> list[str]:
    """Return ids that are somewhat like one that does not exist: they have it, or as much of its beginning as any does.

    Raises:
        InvalidRequestError: If there is no such type.
        TimeoutError: If the time is over.
    """
    fits, too_long = 0, len(node_id) + 1  # Characters of its beginning that an id has, and that none has.
    rows: list[int] = []
    while too_long - fits > 1:
        length = (fits + too_long) // 2
        found = search_nodes(inspected, node_type, node_id[:length], count, is_over).rows
        fits, too_long, rows = (length, too_long, found) if found else (fits, length, rows)
    rows = rows or search_nodes(inspected, node_type, "", count, is_over).rows
    return inspected.view.nodes(node_type).ids.ids(rows)


def _places(
    inspected: Inspected, nodes: NodeTable, node_type: str, num_nodes: int, text: str
) -> Iterator[tuple[Int64s, npt.NDArray[np.int8]]]:
    """Yield rows, and how the text is in the id or the name of each: all alike of an empty text, for living nodes."""
    pattern = Pattern(text) if text else None
    name = inspected.name_attribute(node_type) if text else ""
    column = nodes.categories_among((name,)).get(name) if name else None
    of_values = None if pattern is None or column is None else _of_values(pattern, column)
    for start in range(0, num_nodes, _AT_ONCE):
        stop = min(start + _AT_ONCE, num_nodes)
        rows = np.arange(start, stop, dtype=np.int64)
        ids = PackedTexts(*nodes.ids.packed(start, stop))
        lives = ids.offsets[1:] > ids.offsets[:-1]  # A forgotten one has no bytes.
        if pattern is None:
            yield rows, np.where(lives, _HAS, _NOT).astype(np.int8)
            continue
        places = pattern.places(ids)
        if of_values is not None and column is not None:
            codes = column.first_at(rows)
            has_one = (codes >= 0) & (codes < len(of_values))
            np.minimum(places, np.where(has_one, of_values[codes * has_one], _NOT), out=places)
        elif name:
            np.minimum(places, pattern.places(pack(nodes.texts_at(name, range(start, stop)))), out=places)
        places[~lives] = _NOT
        yield rows, places


def _of_values(pattern: Pattern, column: CategoryColumn) -> npt.NDArray[np.int8]:
    """Return how a text is in each value of a category, int8 ``[num_values]``, at least one."""
    of_values = pattern.places(column.vocabulary.all_packed())
    return of_values if len(of_values) else np.full(1, _NOT, np.int8)


def _keys(places: npt.NDArray[np.int8], degrees: Int64s, rows: Int64s) -> npt.NDArray[np.uint64]:
    """Return numbers in the order of nodes, uint64 ``[n]``: by place, then most interactions, then the first row."""
    keys: npt.NDArray[np.uint64] = places.astype(np.uint64) - np.uint64(_WHOLE)
    keys = keys << np.uint64(31) | (_MOST_DEGREE - np.minimum(degrees, _MOST_DEGREE)).astype(np.uint64)
    return keys << np.uint64(31) | rows.astype(np.uint64)


def _least(keys: npt.NDArray[np.uint64], count: int) -> npt.NDArray[np.uint64]:
    """Return the least keys, ascending."""
    if len(keys) > count:
        keys = np.partition(keys, count - 1)[:count]
    return np.sort(keys)
