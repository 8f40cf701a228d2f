"""From the best items of a query to its answer: pins, exploration, a reranker, diversity, and no value too often.

Diversity is maximal marginal relevance (Carbonell and Goldstein 1998): each slot gets the item whose relevance, less
its likeness to what was chosen before, is greatest. Both are between 0 and 1 there: scores are scaled to the pool, from
its last item to its best, so that a diversity of 0.5 weighs the whole range of the scores that are in question against
the whole range from "nothing in common" to "the same". A share of all scores (softmax) would not do: it is near to 0
for all but a few items, whatever the diversity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.plugins.contracts.rerankers import Reranker
from springtide.ranking.binding import BoundQuery
from springtide.ranking.candidates import Candidates
from springtide.ranking.paging import Page, item_hashes, next_token, page_of
from springtide.ranking.query import Query
from springtide.ranking.reordering import exploration, kernels
from springtide.ranking.reordering.attribute_codes import Caps, Codes, caps_of, codes_of
from springtide.ranking.reordering.shortlists import reranked, reranker_of
from springtide.steering.values import QuerySteering

MIN_POOL = 40
POOL_FACTOR = 2
"""Of so many items for each that is wanted, the answer is chosen where something else than the score has a say."""

MAX_POOL = 20_000
"""So many items are looked at where ``max_per`` leaves too few of fewer; some slots may stay empty then."""

_GROWTH = 4
_NOTHING_ASKED = QuerySteering()
_NO_ROWS = np.empty(0, np.int32)

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Reordered:
    """An answer, as positions in the pool.

    Attributes:
        candidates: The pool; a larger one than was given if that was too small, or exploration has added to it.
        positions: int32 ``[n]``, in the order of the slots.
        placed_by: What put each item at its place other than its score, empty where nothing did; none if nothing did
            anywhere.
        propensities: For how likely each item was to get its slot where exploration put it there, 0 for the others;
            likewise.
        next_page_token: Token of the next page; empty if there is none.
    """

    candidates: Candidates
    positions: Rows
    placed_by: Sequence[str]
    propensities: Sequence[float]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What an answer shall be.

    Attributes:
        count: Number of slots.
        steering: What the request and its scenario say.
        asked: What the request itself says.
        page: What the page token says; None for the first page.
        reranker: Orders the pool; None for none.
        pins: By slot, 0 for the first: an item's row, and the rule that pins it.
    """

    count: int
    steering: QuerySteering
    asked: QuerySteering
    page: Page | None
    reranker: Reranker | None
    pins: dict[int, tuple[int, str]]


@dataclass(frozen=True, slots=True, eq=False)
class _Explored:
    """What exploration has drawn.

    Attributes:
        rows: int32 ``[n]``, all items that could be drawn: their score places none of them.
        by_slot: By slot, the row of the item that was drawn for it.
        propensity: For how likely each was to get its slot.
    """

    rows: Rows
    by_slot: dict[int, int]
    propensity: float


_NOTHING_EXPLORED = _Explored(_NO_ROWS, {}, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Filled:
    positions: Rows
    has_reranked: bool
    has_more: bool


def is_ordered(query: BoundQuery) -> bool:
    """Return whether something else than the scores has a say in the order, or the answer is one of several pages."""
    steering = query.steering
    return bool(query.pins) or (
        steering is not None
        and bool(
            steering.diversity or steering.max_per or steering.exploration or steering.reranker or steering.page_token
        )
    )


def pool_size(steering: QuerySteering | None, count: int) -> int:
    """Return how many of the best items ``reorder`` wants for an answer of so many.

    Raises:
        InvalidRequestError: If the page token is none.
    """
    if steering is None:
        return count + 1
    size = count
    if steering.diversity or steering.max_per or steering.reranker:
        size = max(POOL_FACTOR * count, MIN_POOL)
    page = page_of(steering.page_token)
    return size + 1 + (0 if page is None else len(page.shown))  # One more: it says whether there is another page.


def reorder(candidates: Candidates, query: Query, rerankers: Mapping[str, Reranker]) -> Reordered:
    """Choose the answer among the best items.

    Args:
        candidates: The best items, ``pool_size`` of them or all that there are; their query's steering says what is
            wanted, with what its scenario says.
        query: The query as it came.
        rerankers: Those that may be asked for, by name.

    Raises:
        InvalidRequestError: If the request names an attribute or a reranker that there is not, or its page token is
            none.
    """
    steering, count = candidates.query.steering or _NOTHING_ASKED, candidates.query.count
    asked, page = query.steering or _NOTHING_ASKED, page_of(steering.page_token)
    pinned = dict.fromkeys(pin.row for pin in candidates.query.pins) if page is None else {}
    of_pins = np.array(list(pinned), np.int32) if pinned else _NO_ROWS
    if len(of_pins):
        candidates = candidates.with_rows(of_pins)
    reranker = reranker_of(steering.reranker, rerankers, is_asked_for=bool(asked.reranker))
    pins = _pins(candidates, count) if of_pins is not _NO_ROWS else {}
    wanted, size = _Wanted(count, steering, asked, page, reranker, pins), pool_size(steering, count)
    explored = _NOTHING_EXPLORED
    if steering.exploration:
        explored = _explored(candidates, query, wanted, is_all=candidates.num_ranked < size)
        candidates = candidates.with_rows(explored.rows)
    while True:
        is_all = candidates.num_ranked < size
        filled = _filled(candidates, wanted, explored, is_all=is_all)
        if len(filled.positions) == count or is_all or size >= MAX_POOL:
            break
        size = min(size * _GROWTH, MAX_POOL)
        candidates = candidates.more(size).with_rows(np.union1d(of_pins, explored.rows))
    token = ""
    if asked.page_token and filled.has_more and len(filled.positions):
        token = next_token(query, page, [candidates.ids[position] for position in filled.positions.tolist()])
    usual = f"reranker {steering.reranker}" if filled.has_reranked else ""
    if not usual and not pins and not explored.by_slot:
        return Reordered(candidates, filled.positions, (), (), token)
    rows = candidates.rows[filled.positions].tolist()
    pinned_by, drawn = dict(pins.values()), set(explored.by_slot.values())
    if drawn:
        placed_by = [pinned_by.get(row, "exploration" if row in drawn else usual) for row in rows]
    else:
        placed_by = [pinned_by.get(row, usual) for row in rows]
    propensities = [explored.propensity if row in drawn else 0.0 for row in rows] if drawn else [0.0] * len(rows)
    return Reordered(candidates, filled.positions, placed_by, propensities, token)


def _pins(candidates: Candidates, count: int) -> dict[int, tuple[int, str]]:
    """Return the row and the rule that each slot has, each row once; where two want a slot, the later one follows.

    Items that may not be in the answer, which the candidates do not have, are not pinned.
    """
    pins: dict[int, tuple[int, str]] = {}
    if not candidates.query.pins:
        return pins
    found, pinned = set(candidates.rows.tolist()), set()
    for pin in candidates.query.pins:
        slot = pin.slot
        if slot >= count:
            continue
        while slot in pins:
            slot += 1
        if slot < count and pin.row in found and pin.row not in pinned:
            pinned.add(pin.row)
            pins[slot] = pin.row, f"rule {pin.rule}"
    return pins


def _explored(candidates: Candidates, query: Query, wanted: _Wanted, *, is_all: bool) -> _Explored:
    """Draw items that the score would not show for some slots."""
    scorer, bound, steering = candidates.scorer, candidates.query, wanted.steering
    by_score = candidates.rows[: _most_by_score(candidates, wanted.count, is_all=is_all)]
    rows = exploration.least_known(scorer.view, scorer.state.rules, bound.allowed, scorer.num_items)
    rows = rows[~np.isin(rows, by_score)]
    rows = rows[~np.isin(rows, [row for row, _ in wanted.pins.values()])]
    found = candidates.with_rows(rows)
    at = np.flatnonzero(np.isin(found.rows, rows))  # In no other order than there.
    at = at[np.unique(found.rows[at], return_index=True)[1]]
    at = at[_is_new(found, at, wanted.page)]
    at = at[np.lexsort((found.rows[at], -found.scores[at]))]
    caps = caps_of(scorer.items, found.rows[at], steering.max_per, is_asked_for=bool(wanted.asked.max_per))
    pinned = np.array([row for row, _ in wanted.pins.values()], np.int32)
    if caps is not None:
        of_pins = caps_of(scorer.items, pinned, steering.max_per, is_asked_for=False)
        taken = np.zeros(caps.num_codes, np.int32)
        if of_pins is not None:
            taken = np.bincount(of_pins.codes, minlength=caps.num_codes).astype(np.int32)
        at = at[exploration.within_caps(len(at), caps, taken)]
    rows = found.rows[at[: exploration.MAX_EXPLORED]]
    slots = [slot for slot in range(wanted.count) if slot not in wanted.pins]
    number = 0 if wanted.page is None else wanted.page.number
    seed = exploration.seed_of(query.user_id, query.recent_items, bound.moment.timestamp_ms, number)
    drawn = exploration.draw(slots, len(rows), steering.exploration or 0.0, seed)
    return _Explored(rows, {slot: int(rows[item]) for slot, item in drawn.items.items()}, drawn.propensity)


def _most_by_score(candidates: Candidates, count: int, *, is_all: bool) -> int:
    """Return how many of the pool the score may place where others are explored: not all, if the pool is all."""
    return max(count, candidates.num_ranked // 2) if is_all else candidates.num_ranked


def _is_new(
    candidates: Candidates, positions: npt.NDArray[np.integer[Any]], page: Page | None
) -> npt.NDArray[np.bool_]:
    """Return which positions are of items that no page before has shown."""
    if page is None or not len(page.shown):
        return np.ones(len(positions), np.bool_)
    return ~np.isin(item_hashes([candidates.ids[position] for position in positions.tolist()]), page.shown)


def _num_new(candidates: Candidates, page: Page | None) -> int:
    """Return how many of the best items no page before has shown."""
    if page is None:
        return candidates.num_ranked
    return int(np.count_nonzero(_is_new(candidates, np.arange(candidates.num_ranked, dtype=np.int32), page)))


def _filled(candidates: Candidates, wanted: _Wanted, explored: _Explored, *, is_all: bool) -> _Filled:
    """Fill the slots."""
    steering, count = wanted.steering, wanted.count
    order = np.arange(candidates.num_ranked, dtype=np.int32)
    if len(explored.rows):
        order = order[: _most_by_score(candidates, count, is_all=is_all)]
        order = order[~np.isin(candidates.rows[order], explored.rows)]
    order = order[_is_new(candidates, order, wanted.page)] if wanted.page is not None else order
    fixed = np.empty(count, np.int32)  # ``np.full`` takes three times as long.
    fixed.fill(-1)
    if wanted.pins or explored.by_slot:
        rows = candidates.rows.tolist()
        position_of = dict(zip(rows, range(len(rows)), strict=True))
        placed = {**explored.by_slot, **{slot: row for slot, (row, _) in wanted.pins.items()}}
        for slot, row in placed.items():
            fixed[slot] = position_of.get(row, -1)  # It may have been forgotten meanwhile.
    scores, has_reranked = candidates.scores, False
    if wanted.reranker is not None and len(order):
        anew = reranked(wanted.reranker, candidates, order, count)
        if anew is not None:
            order, has_reranked = anew, True
            scores = np.zeros(len(candidates.rows), np.float32)
            scores[order] = np.arange(len(order), 0, -1)  # Of an order, the ranks alone are known.
    table, by_attribute = candidates.scorer.serving.table, steering.diversity_attribute
    values: Codes | None = None
    if steering.diversity and by_attribute:
        is_asked_for = bool(wanted.asked.diversity_attribute)
        values = codes_of(
            candidates.scorer.items, candidates.rows, by_attribute, "diversity_attribute", is_asked_for=is_asked_for
        )
    caps: Caps | None = None
    if steering.max_per:
        is_asked_for = bool(wanted.asked.max_per)
        caps = caps_of(candidates.scorer.items, candidates.rows, steering.max_per, is_asked_for=is_asked_for)
    vectors = None if table is None or by_attribute or not steering.diversity else table.vectors
    diversity = steering.diversity or 0.0
    positions = kernels.greedy(count, order, scores, diversity, vectors, candidates.rows, values, caps, fixed)
    return _Filled(positions, has_reranked, not is_all or len(positions) < _num_new(candidates, wanted.page))
