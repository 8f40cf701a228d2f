"""Each check of rerankers finds the fault that it is there for, and says what it wanted and what came."""

import itertools
import time

import numpy as np
import pytest

from springtide.errors import ConformanceError
from springtide.plugins.contracts import Reranker
from springtide.testing import check_reranker


class Reversed(Reranker):
    """A sound reranker: the last first."""

    def order(self, shortlist, count):
        return np.arange(len(shortlist))[::-1]


class GivesIds(Reversed):
    def order(self, shortlist, count):
        return np.array(shortlist.item_ids)


class GivesAList(Reversed):
    def order(self, shortlist, count):
        return super().order(shortlist, count).tolist()


class GivesATable(Reversed):
    def order(self, shortlist, count):
        return super().order(shortlist, count)[None, :]


class CountsFromOne(Reversed):
    def order(self, shortlist, count):
        return super().order(shortlist, count) + 1


class RepeatsItself(Reversed):
    def order(self, shortlist, count):
        return np.repeat(super().order(shortlist, count)[:1], count)


class TakesAsManyAsWanted(Reversed):
    def order(self, shortlist, count):
        return np.array([int(np.argsort(shortlist.scores)[at]) for at in range(count)])


class WantsVectors(Reversed):
    def order(self, shortlist, count):
        return np.argsort(shortlist.vectors[:, 0], kind="stable")


class DividesByTheRange(Reversed):
    def order(self, shortlist, count):
        spread = float(shortlist.scores.max() - shortlist.scores.min())
        if spread == 0 and len(shortlist) > 3:
            raise ZeroDivisionError("equal scores")
        return super().order(shortlist, count)


class WantsAKind(Reversed):
    def order(self, shortlist, count):
        if "kind 1" not in itertools.chain(*shortlist.attributes.categories("category")) and shortlist.scores.any():
            raise LookupError("no kind 1") if len(shortlist) > 3 and shortlist.vectors.size else TypeError
        return super().order(shortlist, count)


class Shuffles(Reversed):
    def order(self, shortlist, count):
        return np.random.default_rng().permutation(len(shortlist))


class ScalesInPlace(Reversed):
    def order(self, shortlist, count):
        scores = shortlist.scores
        scores -= 1.0
        return super().order(shortlist, count)


class RemembersTheLast(Reversed):
    def order(self, shortlist, count):
        self.shortlist = shortlist
        time.sleep(0.001)  # Another thread orders meanwhile.
        return super().order(self.shortlist, count)


@pytest.mark.parametrize(
    ("factory", "check", "wanted", "got"),
    [
        (GivesIds, "positions are distinct and of the shortlist", "positions that are whole numbers", "<U7"),
        (GivesAList, "positions are distinct and of the shortlist", "an array of positions", "list"),
        (GivesATable, "positions are distinct and of the shortlist", "positions of shape [m]", "[1, 60]"),
        (CountsFromOne, "positions are distinct and of the shortlist", "positions from 0 to 59", "[60]"),
        (RepeatsItself, "positions are distinct and of the shortlist", "distinct positions", "[59, 59"),
        (TakesAsManyAsWanted, "fewer items than wanted can be ordered", "no error", "IndexError"),
        (WantsVectors, "items without vectors can be ordered", "no error", "IndexError"),
        (DividesByTheRange, "items of which nothing is known can be ordered", "no error", "equal scores"),
        (WantsAKind, "items may have no attributes", "no error", "no kind 1"),
        (Shuffles, "the same shortlist gives the same order", "the same order", "then"),
        (ScalesInPlace, "it changes nothing that it gets", "no error", "read-only"),
        (RemembersTheLast, "any number of threads order at once", "the same order in four threads at once", "["),
    ],
)
def test_faulty_reranker_is_found(factory, check, wanted, got, failures_of):
    failures = failures_of("reranker", factory, only=check)
    assert set(failures) == {check}
    assert wanted in failures[check][0]
    assert got in failures[check][1]


def test_sound_reranker_passes(failures_of):
    assert failures_of("reranker", Reversed) == {}


def test_check_names_the_reranker_that_fails():
    with pytest.raises(ConformanceError, match=r"^reranker 'WantsVectors' fails 1 of 8 checks"):
        check_reranker(WantsVectors)
