"""Item-item weights: those of EASE, summed over a history, by the live rows of the items."""

import numpy as np
import pytest

from springtide.errors import TrainingError
from springtide.plugins.contracts import Moment, Observed
from springtide.testing import history_of, observed_of
from springtide_plugins.context_weights.item_item import ItemItem
from springtide_plugins.context_weights.neighbour_kernels import sums_of

NOW = Moment(1_000)
NUM_USERS, NUM_ITEMS, L2, FLOOR = 40, 30, 3.0, 0.02


def choices() -> Observed:
    random = np.random.default_rng(1)
    return observed_of(
        [(int(random.integers(NUM_USERS)), int(random.zipf(1.5)) % NUM_ITEMS, number) for number in range(400)]
    )


def ease(interactions: Observed) -> np.ndarray:
    """The matrix of equation 8, float64, all at once."""
    seen = np.zeros((NUM_USERS, NUM_ITEMS))
    seen[interactions.user_rows, interactions.item_rows] = 1.0
    inverse = np.linalg.inv(seen.T @ seen + L2 * np.eye(NUM_ITEMS))
    matrix = inverse / -np.diag(inverse)
    np.fill_diagonal(matrix, 0.0)
    return matrix


def adopted(weight: ItemItem, interactions: Observed, rows: np.ndarray | None = None) -> ItemItem:
    rows = np.arange(NUM_ITEMS, dtype=np.int32) if rows is None else rows
    return weight.adopted(weight.fit(interactions, NUM_USERS, NUM_ITEMS), rows)


def test_lifts_are_those_of_the_dense_matrix() -> None:
    interactions = choices()
    matrix = np.maximum(ease(interactions), 0.0)
    related = adopted(ItemItem(l2=L2, floor=FLOOR), interactions).related(history_of([(3, 9), (1, 8), (3, 7)]), NOW)
    assert related is not None
    sums = matrix[1] + matrix[3]
    expected = np.flatnonzero(sums > 1e-3)
    assert set(expected.tolist()) <= set(related.rows.tolist())
    np.testing.assert_allclose(related.log_lifts[0], np.log((sums[related.rows] + FLOOR) / FLOOR), atol=0.02)
    assert len(related.rows) > 3


def test_only_the_greatest_sums_are_given() -> None:
    interactions, history = choices(), history_of([(3, 9), (1, 8)])
    everything = adopted(ItemItem(l2=L2), interactions).related(history, NOW)
    greatest = adopted(ItemItem(l2=L2, max_related=2), interactions).related(history, NOW)
    assert everything is not None
    assert greatest is not None
    best = np.sort(everything.rows[np.argsort(-everything.log_lifts[0])[:2]])
    assert greatest.rows.tolist() == best.tolist()


def test_lifts_of_the_greatest_sums_are_over_the_next_one() -> None:
    interactions, history = choices(), history_of([(3, 9), (1, 8)])
    everything = adopted(ItemItem(l2=L2), interactions).related(history, NOW)
    greatest = adopted(ItemItem(l2=L2, max_related=2), interactions).related(history, NOW)
    assert everything is not None
    assert greatest is not None
    lifts = np.sort(everything.log_lifts[0])[::-1]
    np.testing.assert_allclose(np.sort(greatest.log_lifts[0])[::-1], lifts[:2] - lifts[2], rtol=1e-4)


def test_each_item_keeps_its_greatest_weights() -> None:
    fitted = ItemItem(l2=L2, neighbours=3).fit(choices(), NUM_USERS, NUM_ITEMS)
    assert np.diff(fitted["pointers"]).max() == 3
    matrix, kept = ease(choices()), fitted["kept"]
    [row] = np.flatnonzero(kept == 2)
    own = slice(*fitted["pointers"][row : row + 2])
    assert set(kept[fitted["targets"][own]]) == set(np.argsort(-matrix[2])[:3])


def test_only_the_most_popular_items_have_weights() -> None:
    interactions = choices()
    fitted = ItemItem(l2=L2, max_items=5).fit(interactions, NUM_USERS, NUM_ITEMS)
    users_of = [len(set(interactions.user_rows[interactions.item_rows == row])) for row in range(NUM_ITEMS)]
    assert set(fitted["kept"]) == set(np.argsort(-np.array(users_of), kind="stable")[:5])


def test_items_have_their_live_rows_and_gone_ones_are_not_spoken_of() -> None:
    interactions = choices()
    before = adopted(ItemItem(l2=L2), interactions).related(history_of([(1, 8)]), NOW)
    assert before is not None
    rows = np.arange(NUM_ITEMS, dtype=np.int32)[::-1].copy()
    gone = int(before.rows[0])
    rows[gone] = -1
    after = adopted(ItemItem(l2=L2), interactions, rows).related(history_of([(NUM_ITEMS - 2, 8)]), NOW)
    assert after is not None
    assert after.rows.tolist() == sorted(NUM_ITEMS - 1 - row for row in before.rows.tolist() if row != gone)


def test_it_says_nothing_of_what_it_does_not_know() -> None:
    weight = ItemItem()
    assert weight.related(history_of([(1, 8)]), NOW) is None
    assert weight.fit(observed_of([(0, 3, 1), (1, 3, 2)]), 2, 5) == {}
    assert adopted(weight, choices()).related(history_of([(NUM_ITEMS + 5, 8)]), NOW) is None


def test_a_matrix_that_cannot_be_inverted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = ItemItem()
    weight._l2 = -100.0
    with pytest.raises(TrainingError, match="greater l2"):
        weight.fit(choices(), NUM_USERS, NUM_ITEMS)


def test_sums_are_worked_by_hand() -> None:
    pointers, targets = np.array([0, 2, 2, 3], np.int64), np.array([1, 2, 2], np.int32)
    values = np.array([0.5, 0.25, 1.0], np.float32)
    rows, sums = sums_of(np.array([0, 2], np.int32), pointers, targets, values)
    assert (rows.tolist(), sums.tolist()) == ([1, 2], [0.5, 1.25])
    with pytest.raises(ValueError, match="rows from 0 to 2"):
        sums_of(np.array([3], np.int32), pointers, targets, values)
    with pytest.raises(ValueError, match="columns from 0"):
        sums_of(np.array([0], np.int32), pointers, np.array([9, 2, 2], np.int32), values)
