"""Each check of indexes finds the fault that it is there for, and says what it wanted and what came."""

import time

import numpy as np
import pytest

from springtide.errors import ConformanceError
from springtide.plugins.contracts import Index
from springtide.testing import check_index


class Exhaustive(Index):
    """A sound index: it looks at all vectors."""

    def build(self, vectors, rows, is_wanted):
        self.vectors, self.rows = vectors, rows

    def search(self, vector, count):
        return self.rows[np.argsort(-(self.vectors[self.rows] @ vector), kind="stable")[:count]]


class GivesPositions(Exhaustive):
    def search(self, vector, count):
        return np.arange(len(self.rows))[np.argsort(-(self.vectors[self.rows] @ vector))[:count]]


class GivesDoubles(Exhaustive):
    def search(self, vector, count):
        return super().search(vector, count).astype(np.float64)


class GivesAList(Exhaustive):
    def search(self, vector, count):
        return super().search(vector, count).tolist()


class GivesATable(Exhaustive):
    def search(self, vector, count):
        return super().search(vector, count)[None, :]


class RepeatsItself(Exhaustive):
    def search(self, vector, count):
        return np.repeat(super().search(vector, count)[:1], count)


class GivesTooMany(Exhaustive):
    def search(self, vector, count):
        return super().search(vector, count + 1)


class GivesTen(Exhaustive):
    def search(self, vector, count):
        return super().search(vector, min(count, 10))


class GivesTheFarthest(Exhaustive):
    def search(self, vector, count):
        return super().search(-vector, count)


class WantsTwo(Exhaustive):
    def build(self, vectors, rows, is_wanted):
        super().build(vectors, rows, is_wanted)
        self.spread = np.float32(1 / (len(rows) - 1))
        if len(rows) < 2:
            raise ValueError("too few")


class NormalisesInPlace(Exhaustive):
    def build(self, vectors, rows, is_wanted):
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        super().build(vectors, rows, is_wanted)


class RemembersTheLast(Exhaustive):
    def search(self, vector, count):
        self.found = super().search(vector, count)
        time.sleep(0.001)  # Another thread searches meanwhile.
        return self.found


class NeverGivesUp(Exhaustive):
    def build(self, vectors, rows, is_wanted):
        if not is_wanted():
            raise InterruptedError("not wanted")
        super().build(vectors, rows, is_wanted)


class SizedInWords(Exhaustive):
    @property
    def num_bytes(self):
        return "4 KB"


@pytest.mark.parametrize(
    ("factory", "check", "wanted", "got"),
    [
        (GivesPositions, "rows are distinct and of indexed vectors", "rows among those that were indexed", "["),
        (GivesDoubles, "rows are distinct and of indexed vectors", "rows that are whole numbers", "float64"),
        (GivesAList, "rows are distinct and of indexed vectors", "an array of rows", "list"),
        (GivesATable, "rows are distinct and of indexed vectors", "rows of shape [m]", "[1, 1]"),
        (RepeatsItself, "rows are distinct and of indexed vectors", "distinct rows", "["),
        (GivesTooMany, "no more rows than wanted", "at most 1 rows", "2"),
        (GivesTen, "as many rows as wanted if there are as many", "50 rows of 400 if 50 are wanted", "10"),
        (GivesTheFarthest, "most of the nearest are found", "a recall of 0.5 at least", "0.0"),
        (WantsTwo, "one vector can be indexed", "no error", "ZeroDivisionError"),
        (NormalisesInPlace, "it changes nothing that it gets", "no error", "read-only"),
        (RemembersTheLast, "any number of threads search at once", "the same rows in four threads at once", "["),
        (NeverGivesUp, "a build that is not wanted returns", "no error", "InterruptedError"),
        (SizedInWords, "its size is known in bytes", "a whole number of bytes", "4 KB"),
    ],
)
def test_faulty_index_is_found(factory, check, wanted, got, failures_of):
    failures = failures_of("index", factory, only=check)
    assert set(failures) == {check}
    assert wanted in failures[check][0]
    assert got in failures[check][1]


def test_sound_index_passes(failures_of):
    assert failures_of("index", Exhaustive) == {}


def test_check_names_the_index_that_fails():
    with pytest.raises(ConformanceError, match=r"^index 'GivesTheFarthest' fails 1 of 10 checks"):
        check_index(GivesTheFarthest)
