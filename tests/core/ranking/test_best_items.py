"""The best items, found by a bound: what the full product would have found, on thousands of random tables."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from springtide.ranking import kernels
from springtide.ranking.serving import CoarseVectors
from springtide.ranking.weights import ItemOrder

NUM_TABLES = 3_000
NO_ROWS, NO_SCORES = np.empty(0, np.int32), np.empty(0, np.float32)


class Table:
    """A random table, and a question about it."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.num_items = int(random.choice([1, 3, 20, 90, 400, 3_000], p=[0.1, 0.1, 0.2, 0.3, 0.25, 0.05]))
        num_rows = self.num_items + int(random.choice([0, 0, 7]))  # The moment may know newer items than the table.
        width = int(random.choice([1, 5, 16, 20, 64]))
        vectors = random.normal(size=(num_rows, width)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors *= random.choice([0.5, 1.0, 1.0, 3.0])
        if random.random() < 0.3:
            vectors = np.round(vectors * 2) / 2  # Many equal cosines.
        vectors[random.random(num_rows) < random.choice([0.0, 0.3, 1.0], p=[0.5, 0.4, 0.1])] = 0.0
        self.vectors = vectors.astype(np.float32)
        self.user = None if random.random() < 0.15 else (random.normal(size=width) / np.sqrt(width)).astype(np.float32)
        self.factor = float(random.choice([0.0, 1e-6, 0.7, 2.5, 20.0, -1.5]))
        self.values = (random.exponential(size=num_rows) * random.choice([0.0, 0.01, 1.0, 5.0])).astype(np.float32)
        if random.random() < 0.4:
            self.values = np.round(self.values)  # Many equal values.
        if random.random() < 0.2:
            self.values[random.random(num_rows) < 0.2] = random.choice([np.nan, np.inf, -np.inf])
        self.count = int(random.choice([1, 2, 20, 1_000]))
        self.allowed = None if random.random() < 0.6 else random.random(num_rows) < random.choice([0.01, 0.2, 0.9])
        self.masked, self.excluded, self.apart = (
            np.flatnonzero(random.random(num_rows + 3) < random.choice([0.0, 0.02, 0.5])).astype(np.int32)
            for _ in range(3)
        )
        self.of_apart = random.choice([-np.inf, 0.0, 1.0, 6.5], size=len(self.apart)).astype(np.float32)
        self.num_ordered = int(random.choice([0, 1, 30, num_rows]))
        self.is_coarse = bool(random.random() < 0.5)
        self.related = np.flatnonzero(random.random(num_rows + 3) < random.choice([0.0, 0.1, 0.9])).astype(np.int32)
        self.of_related = (random.normal(size=len(self.related)) * random.choice([0.1, 3.0])).astype(np.float32)
        if random.random() < 0.4:
            self.of_related = np.round(self.of_related)

    def full(self) -> np.ndarray:
        """The scores of all items, by the full product; ``-inf`` for those that are none of the answer."""
        scores = self.values[: self.num_items].copy()
        if self.user is not None:
            rows = np.arange(self.num_items, dtype=np.int32)
            scores = np.float32(self.factor) * kernels.cosines_of(self.user, self.vectors, rows) + scores
        is_related = self.related < self.num_items
        scores[self.related[is_related]] += self.of_related[is_related]
        is_apart = self.apart < self.num_items
        scores[self.apart[is_apart]] = self.of_apart[is_apart]
        scores[~np.isfinite(scores)] = -np.inf
        for rows in (self.masked, self.excluded):
            scores[rows[rows < self.num_items]] = -np.inf
        if self.allowed is not None:
            scores[~self.allowed[: self.num_items]] = -np.inf
        return scores

    def order(self) -> ItemOrder:
        """An order of as many items as the table says, as ``ItemOrder.of`` makes it of more."""
        finite = np.flatnonzero(np.isfinite(self.values))
        by_value = finite[np.argsort(-self.values[finite], kind="stable")]
        if self.num_ordered >= len(by_value):
            return ItemOrder(by_value.astype(np.int32), -np.inf)
        highest = self.values[by_value[self.num_ordered]]
        return ItemOrder(by_value[self.values[by_value] > highest].astype(np.int32), float(highest))

    def best(self, **changes: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool, int]:
        longest = 1.0001 * float(np.linalg.norm(self.vectors, axis=1).max())
        order = self.order()
        asked: dict[str, Any] = {
            "count": self.count,
            "num_items": self.num_items,
            "user": self.user,
            "factor": self.factor,
            "vectors": self.vectors,
            "longest": longest,
            "values": self.values,
            "order": order.rows,
            "highest": order.highest,
            "allowed": self.allowed,
            "masked": self.masked,
            "excluded": self.excluded,
            "apart_rows": self.apart,
            "apart_scores": self.of_apart,
            "coarse": kernels.quantise(self.vectors) if self.is_coarse else None,
            "related_rows": self.related,
            "related_totals": self.of_related,
        }
        return kernels.best_rows(*(asked | changes).values())


def differing(changes: dict[str, Any], num_tables: int = NUM_TABLES) -> Iterator[str]:
    """Say for each table in what the best items are not those of the full product, if they are not."""
    for seed in range(num_tables):
        table = Table(seed)
        scores = table.full()
        rows, found, cosines, has_equal, _ = table.best(**changes)
        finite = np.sort(scores[scores > -np.inf])[::-1]
        if not len(finite):
            expected = np.empty(0, np.int64)
        else:
            least = finite[min(table.count, len(finite)) - 1]
            expected = np.flatnonzero(scores >= least)
        if sorted(rows.tolist()) != expected.tolist():
            yield f"seed {seed}: {len(rows)} rows for {len(expected)}"
        elif found.tolist() != np.sort(scores[expected])[::-1].tolist() or found.tolist() != scores[rows].tolist():
            yield f"seed {seed}: scores"
        elif has_equal != (len(np.unique(found)) < len(found)):
            yield f"seed {seed}: equal or not"
        elif (
            table.user is not None and cosines.tolist() != kernels.cosines_of(table.user, table.vectors, rows).tolist()
        ):
            yield f"seed {seed}: cosines"


def test_the_best_items_are_those_of_the_full_product_to_the_last_bit() -> None:
    assert list(differing({})) == []


@pytest.mark.parametrize("change", [{"longest": 0.3}, {"highest": -1.0}])
def test_a_bound_that_is_too_tight_would_be_found(change: dict[str, Any]) -> None:
    """The test above can fail: it does where vectors are longer, or values higher, than the search was told."""
    assert sum(1 for _ in differing(change, 300)) > 3


def test_what_does_not_fit_is_refused() -> None:
    table = Table(3)
    for change in (
        {"count": 0},
        {"user": np.ones(3, np.float32), "vectors": np.ones((table.num_items, 4), np.float32)},
        {"num_items": len(table.values) + 1},
        {"allowed": np.ones(0, np.bool_)},
        {"apart_scores": np.zeros(len(table.apart) + 1, np.float32)},
        {"related_totals": np.zeros(len(table.related) + 1, np.float32)},
    ):
        with pytest.raises(ValueError, match="wanted"):
            table.best(**change)
    with pytest.raises(ValueError, match="wanted rows"):
        kernels.cosines_of(np.ones(4, np.float32), np.ones((2, 4), np.float32), np.array([2], np.int32))


def test_coarse_vectors_are_off_by_no_more_than_their_doubts() -> None:
    vectors = np.random.default_rng(0).normal(size=(500, 24)).astype(np.float32)
    vectors[7] = 0.0
    coarse, scales, doubts = kernels.quantise(vectors)
    off = np.linalg.norm(vectors - coarse * scales[:, None].astype(np.float64), axis=1)
    assert (off <= doubts).all()
    assert doubts.max() < 0.1


def test_few_items_are_looked_at_where_values_say_much() -> None:
    """Counted, not timed: a bound that has grown loose would show."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(50_000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    values = (-0.8 * np.log1p(random.permutation(50_000))).astype(np.float32)  # As shares fall with their rank.
    order = ItemOrder.of(values)
    num_scanned = []
    for user in vectors[:50]:
        found = kernels.best_rows(
            *(20, 50_000, user, 2.5, vectors, 1.0001, values, order.rows, order.highest, None),
            *(NO_ROWS, NO_ROWS, NO_ROWS, NO_SCORES, None),
        )
        num_scanned.append(found[4])
    assert len(order.rows) == 3_125
    assert np.median(num_scanned) < 1_000
    assert max(num_scanned) < 3_000


def test_coarse_vectors_spare_a_close_look_at_most_items_where_values_say_nothing() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(50_000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nothing = (NO_ROWS, NO_ROWS, NO_ROWS, NO_SCORES)
    asked = (20, 50_000, vectors[0], 1.0, vectors, 1.0001, None, None, np.inf, None, *nothing)
    every, few = kernels.best_rows(*asked, None), kernels.best_rows(*asked, kernels.quantise(vectors))
    assert (every[0].tolist(), every[1].tolist()) == (few[0].tolist(), few[1].tolist())
    assert every[4] == 50_000
    assert few[4] < 1_000


def test_the_order_holds_all_items_of_one_value_or_none() -> None:
    values = np.repeat(np.arange(1_000, dtype=np.float32), 20)
    values[:5] = np.nan
    order = ItemOrder.of(values)
    assert len(order.rows) % 20 == 0
    assert values[order.rows].min() > order.highest
    assert order.highest == np.delete(values, order.rows)[5:].max()
    assert ItemOrder.of(np.zeros(20_000, np.float32)).rows.tolist() == []
    few = ItemOrder.of(np.array([1.0, np.nan, 3.0], np.float32))
    assert (few.rows.tolist(), few.highest) == ([2, 0], -np.inf)


@pytest.mark.parametrize(("num_scanned", "is_wanted"), [(10_000, False), (12_500, False), (12_501, True)])
def test_coarse_vectors_are_made_once_a_request_has_looked_at_an_eighth_of_all(
    num_scanned: int, *, is_wanted: bool
) -> None:
    coarse = CoarseVectors(np.zeros((100_000, 1), np.float32))

    coarse.note(num_scanned)
    coarse.refresh()

    assert (coarse.made is not None) == is_wanted
