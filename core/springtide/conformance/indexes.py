"""Checks that every index must pass."""

import threading

import numpy as np
import numpy.typing as npt

from springtide.conformance.checks import Subject, checks_of, expect
from springtide.plugins.contracts import Index

NUM_ITEMS, WIDTH = 600, 16
_COUNT = 50
_MIN_RECALL = 0.5  # Of data in clusters; whether an index is good enough for a catalogue, the server measures.


def rows_are_distinct_and_of_indexed_vectors(subject: Subject) -> None:
    """They are rows of the array, not positions among the indexed ones; vectors of 0 are not indexed."""
    vectors, rows = _vectors()
    index = _built(subject, vectors, rows)
    for count in (1, _COUNT, NUM_ITEMS):
        found = _search(index, vectors[rows[3]], count)
        strange = np.setdiff1d(found, rows)
        expect(not len(strange), "rows among those that were indexed", strange[:5].tolist())


def no_more_rows_than_wanted(subject: Subject) -> None:
    """The count is a bound."""
    vectors, rows = _vectors()
    index = _built(subject, vectors, rows)
    for count in (1, 7, _COUNT):
        found = _search(index, vectors[rows[5]], count)
        expect(len(found) <= count, f"at most {count} rows", len(found))


def as_many_rows_as_wanted_if_there_are_as_many(subject: Subject) -> None:
    """Fewer rows than wanted say that there are no more: all others are taken to be unknown."""
    vectors, rows = _vectors()
    index = _built(subject, vectors, rows)
    for count, wanted in ((_COUNT, _COUNT), (NUM_ITEMS, len(rows))):
        found = _search(index, vectors[rows[5]], count)
        expect(len(found) == wanted, f"{wanted} rows of {len(rows)} if {count} are wanted", len(found))


def most_of_the_nearest_are_found(subject: Subject) -> None:
    """On random vectors in clusters, half of the 50 nearest by cosine at least."""
    vectors, rows = _vectors()
    index = _built(subject, vectors, rows)
    recalls = []
    for user in _users():
        nearest = rows[np.argsort(-(vectors[rows] @ user), kind="stable")[:_COUNT]]
        recalls.append(len(np.intersect1d(_search(index, user, _COUNT), nearest)) / _COUNT)
    recall = float(np.mean(recalls))
    expect(recall >= _MIN_RECALL, f"a recall of {_MIN_RECALL} at least", f"{recall:.2f}")


def one_vector_can_be_indexed(subject: Subject) -> None:
    """A model may know one item."""
    vectors, rows = _vectors()
    found = _search(_built(subject, vectors, rows[2:3]), vectors[rows[9]], 10)
    expect(found.tolist() == rows[2:3].tolist(), f"row {rows[2]} alone", found.tolist())


def equal_vectors_can_be_indexed(subject: Subject) -> None:
    """Items of the same attributes may have the same vector."""
    vectors, rows = _vectors()
    vectors[rows] = vectors[rows[0]]
    _search(_built(subject, vectors, rows), vectors[rows[0]], 10)


def it_changes_nothing_that_it_gets(subject: Subject) -> None:
    """The vectors are those that items are scored by, and may be pages of a file that cannot be written."""
    vectors, rows = _vectors()
    user = _users()[0]
    for array in (vectors, rows, user):
        array.setflags(write=False)
    _search(_built(subject, vectors, rows), user, _COUNT)


def any_number_of_threads_search_at_once(subject: Subject) -> None:
    """Requests are answered side by side."""
    vectors, rows = _vectors()
    index = _built(subject, vectors, rows)
    users = _users()
    alone = [np.sort(_search(index, user, _COUNT)) for user in users]
    failures: list[str] = []

    def search(first: int) -> None:
        for position in [*range(first, len(users)), *range(first)]:
            try:
                if not np.array_equal(np.sort(_search(index, users[position], _COUNT)), alone[position]):
                    failures.append("other rows than alone")
            except Exception as error:  # It would end with its thread.
                failures.append(repr(error))

    threads = [threading.Thread(target=search, args=(5 * each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not failures, "the same rows in four threads at once as in one", failures[:1])


def a_build_that_is_not_wanted_returns(subject: Subject) -> None:
    """The model may be replaced, and the server may stop, while it is built."""
    vectors, rows = _vectors()
    subject.make().build(vectors, rows, lambda: False)


def its_size_is_known_in_bytes(subject: Subject) -> None:
    """The status shows it; 0 means that it is not known."""
    vectors, rows = _vectors()
    num_bytes = _built(subject, vectors, rows).num_bytes
    expect(isinstance(num_bytes, int) and num_bytes >= 0, "a whole number of bytes, at least 0", repr(num_bytes))


CHECKS = checks_of(
    rows_are_distinct_and_of_indexed_vectors,
    no_more_rows_than_wanted,
    as_many_rows_as_wanted_if_there_are_as_many,
    most_of_the_nearest_are_found,
    one_vector_can_be_indexed,
    equal_vectors_can_be_indexed,
    it_changes_nothing_that_it_gets,
    any_number_of_threads_search_at_once,
    a_build_that_is_not_wanted_returns,
    its_size_is_known_in_bytes,
)


def _vectors() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Return unit vectors in clusters, one in three of them 0, and the rows of the others."""
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(12, WIDTH))
    vectors = centres[generator.integers(0, 12, NUM_ITEMS)] + 0.5 * generator.normal(size=(NUM_ITEMS, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[::3] = 0.0
    return vectors.astype(np.float32), np.flatnonzero(vectors.any(axis=1)).astype(np.int32)


def _users() -> npt.NDArray[np.float32]:
    """Return unit vectors that are near to some items each, float32 ``[20, d]``."""
    vectors, rows = _vectors()
    generator = np.random.default_rng(2)
    users = vectors[rows[:20]] + 0.1 * generator.normal(size=(20, WIDTH))
    unit: npt.NDArray[np.float32] = (users / np.linalg.norm(users, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _built(subject: Subject, vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.int32]) -> Index:
    index: Index = subject.make()
    index.build(vectors, rows, lambda: True)
    return index


def _search(index: Index, user: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """Return the rows, after checking their type and shape."""
    found = index.search(user, count)
    expect(isinstance(found, np.ndarray), "an array of rows", type(found).__name__)
    expect(found.dtype.kind in "iu", "rows that are whole numbers", found.dtype)
    expect(found.ndim == 1, "rows of shape [m]", list(found.shape))
    expect(len(np.unique(found)) == len(found), "distinct rows", found.tolist())
    return found.astype(np.int64)
