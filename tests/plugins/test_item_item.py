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
    sums = ease(interactions)[[1, 3]].sum(0)
    sums[[1, 3]] = -1.0  # Of its own items the history says nothing.
    related = adopted(ItemItem(l2=L2, floor=FLOOR), interactions).related(history_of([(3, 9), (1, 8), (3, 7)]), NOW)
    assert related is not None
    assert set(np.flatnonzero(sums > 2e-3)) <= set(related.rows.tolist()) <= set(np.flatnonzero(sums > -2e-3))
    np.testing.assert_allclose(related.log_lifts[0], np.log((sums[related.rows] + FLOOR) / FLOOR), atol=0.05)
    assert len(related.rows) > 3


def test_items_that_speak_against_others_count() -> None:
    interactions = choices()
    matrix = ease(interactions)
    # For item 0 one speaks, and another one speaks against it.
    pro, contra = matrix[:, 0].argmax(), matrix[:, 0].argmin()
    weight = adopted(ItemItem(l2=L2, floor=FLOOR), interactions)
    alone = weight.related(history_of([(int(pro), 9)]), NOW)
    both = weight.related(history_of([(int(pro), 9), (int(contra), 8)]), NOW)
    assert matrix[contra, 0] < -0.01
    assert alone is not None
    assert both is not None
    assert alone.rows[0] == 0
    [of_both] = both.log_lifts[0][both.rows == 0] if 0 in both.rows else [0.0]
    assert of_both < alone.log_lifts[0][0] - 0.1


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


def test_weights_in_bytes_are_those_of_the_matrix() -> None:
    interactions = choices()
    fitted, matrix = ItemItem(l2=L2).fit(interactions, NUM_USERS, NUM_ITEMS), ease(interactions)
    kept = fitted["kept"]
    matrix = matrix[np.ix_(kept, kept)]
    half_a_step = np.abs(matrix).max(0) / 127 / 2
    assert fitted["weights"].dtype == np.int8
    assert (np.abs(fitted["weights"] * fitted["scales"] - matrix) <= half_a_step + 1e-5).all()
    assert (np.diag(fitted["weights"]) == 0).all()


def test_a_model_of_an_earlier_version_says_nothing() -> None:
    sparse = {"kept": np.arange(2, dtype=np.int32), "pointers": np.array([0, 1, 1]), "targets": np.array([1], np.int32)}
    weight = ItemItem().adopted({**sparse, "values": np.ones(1, np.float32)}, np.arange(2, dtype=np.int32))
    assert weight.related(history_of([(0, 8)]), NOW) is None


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
    weights = np.array([[0, 1, 2], [3, 0, -4], [5, 6, 0]], np.int8)
    scales = np.array([1.0, 0.5, 0.25], np.float32)
    assert sums_of(np.array([0, 1], np.int32), weights, scales).tolist() == [3.0, 0.5, -0.5]
    assert sums_of(np.empty(0, np.int32), weights, scales).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="rows from 0 to 2"):
        sums_of(np.array([3], np.int32), weights, scales)
    with pytest.raises(ValueError, match=r"weights \[2, 2\]"):
        sums_of(np.array([0], np.int32), weights, scales[:2])


@pytest.mark.parametrize("num_rows", [3, 255, 256, 259, 600])
def test_sums_of_many_rows_do_not_overflow(num_rows: int) -> None:
    weights = np.full((num_rows, num_rows), 127, np.int8)
    weights[:, 1::2] = -127
    sums = sums_of(np.arange(num_rows, dtype=np.int32), weights, np.ones(num_rows, np.float32))
    assert sums[:2].tolist() == [127.0 * num_rows, -127.0 * num_rows]
