"""Checks that every reranker must pass."""

import threading

import numpy as np
import numpy.typing as npt

from springtide.conformance.checks import Subject, checks_of, expect
from springtide.plugins.contracts import Reranker, Shortlist
from springtide.toy_data import shortlist_of

NUM_ITEMS, WIDTH = 60, 16
_COUNT = 12


def positions_are_distinct_and_of_the_shortlist(subject: Subject) -> None:
    """Positions, not rows or ids; an item that comes twice would take a slot from another."""
    reranker: Reranker = subject.make()
    for count in (1, _COUNT, NUM_ITEMS):
        _order(reranker, _shortlist(), count)


def fewer_items_than_wanted_can_be_ordered(subject: Subject) -> None:
    """A filter may leave few items, or one."""
    for num_items in (1, 3):
        _order(subject.make(), _shortlist(num_items), _COUNT)


def items_without_vectors_can_be_ordered(subject: Subject) -> None:
    """While no model serves there are none: vectors of shape ``[n, 0]``."""
    _order(subject.make(), _shortlist(width=0), _COUNT)


def items_of_which_nothing_is_known_can_be_ordered(subject: Subject) -> None:
    """New items have vectors of 0, no attributes, and equal scores."""
    nothing = shortlist_of([f"new {item}" for item in range(20)], vectors=np.zeros((20, WIDTH), np.float32))
    _order(subject.make(), nothing, _COUNT)


def items_may_have_no_attributes(subject: Subject) -> None:
    """A stream need not have any: then categories are empty, and numbers NaN."""
    _order(subject.make(), _shortlist(has_attributes=False), _COUNT)


def the_same_shortlist_gives_the_same_order(subject: Subject) -> None:
    """An answer that is asked for again is the same."""
    reranker: Reranker = subject.make()
    first, second = (_order(reranker, _shortlist(), _COUNT) for _ in range(2))
    expect(first.tolist() == second.tolist(), "the same order", f"{first.tolist()}, then {second.tolist()}")
    other = _order(subject.make(), _shortlist(), _COUNT)
    expect(first.tolist() == other.tolist(), "the same order of another one", f"{first.tolist()}, {other.tolist()}")


def it_changes_nothing_that_it_gets(subject: Subject) -> None:
    """The answer gives these scores and cosines."""
    shortlist = _shortlist()
    for array in (shortlist.scores, shortlist.cosines, shortlist.vectors):
        array.setflags(write=False)
    _order(subject.make(), shortlist, _COUNT)


def any_number_of_threads_order_at_once(subject: Subject) -> None:
    """Requests are answered side by side by the same object."""
    reranker: Reranker = subject.make()
    shortlists = [_shortlist(num_items) for num_items in range(20, 40)]
    alone = [_order(reranker, shortlist, _COUNT).tolist() for shortlist in shortlists]
    failures: list[str] = []

    def order(first: int) -> None:
        for position in [*range(first, len(shortlists)), *range(first)]:
            try:
                if _order(reranker, shortlists[position], _COUNT).tolist() != alone[position]:
                    failures.append("another order than alone")
            except Exception as error:  # It would end with its thread.
                failures.append(repr(error))

    threads = [threading.Thread(target=order, args=(5 * each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not failures, "the same order in four threads at once as in one", failures[:1])


CHECKS = checks_of(
    positions_are_distinct_and_of_the_shortlist,
    fewer_items_than_wanted_can_be_ordered,
    items_without_vectors_can_be_ordered,
    items_of_which_nothing_is_known_can_be_ordered,
    items_may_have_no_attributes,
    the_same_shortlist_gives_the_same_order,
    it_changes_nothing_that_it_gets,
    any_number_of_threads_order_at_once,
)


def _shortlist(num_items: int = NUM_ITEMS, width: int = WIDTH, *, has_attributes: bool = True) -> Shortlist:
    """Return items with random unit vectors, falling scores, and attributes that some of them lack."""
    generator = np.random.default_rng(num_items)
    vectors = generator.normal(size=(num_items, width)).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    ids = [f"item {item}" for item in range(num_items)]
    scores = -np.sort(-generator.normal(size=num_items))
    if not has_attributes:
        return shortlist_of(ids, scores, vectors)
    kinds = [() if item % 7 == 0 else (f"kind {item % 5}",) for item in range(num_items)]
    prices = [float("nan") if item % 9 == 0 else float(item % 4) for item in range(num_items)]
    return shortlist_of(ids, scores, vectors, {"category": kinds}, {"price": prices}, {"title": ids})


def _order(reranker: Reranker, shortlist: Shortlist, count: int) -> npt.NDArray[np.int64]:
    """Return the positions, after checking their type and that they are of the shortlist, each once."""
    found = reranker.order(shortlist, count)
    expect(isinstance(found, np.ndarray), "an array of positions", type(found).__name__)
    expect(found.dtype.kind in "iu", "positions that are whole numbers", found.dtype)
    expect(found.ndim == 1, "positions of shape [m]", list(found.shape))
    strange = found[(found < 0) | (found >= len(shortlist))]
    expect(not len(strange), f"positions from 0 to {len(shortlist) - 1}", strange[:5].tolist())
    expect(len(np.unique(found)) == len(found), "distinct positions", found.tolist())
    return found.astype(np.int64)
