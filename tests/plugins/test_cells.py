"""Sums by row and bin, beside plain arrays of whole numbers; and the memory that they take."""

import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide_plugins.context_weights import kept_sums
from springtide_plugins.context_weights.binned_counts import BinnedCounts
from springtide_plugins.context_weights.calendar import Calendar
from springtide_plugins.context_weights.cell_kernels import accumulate, add_to_cells
from springtide_plugins.context_weights.cell_pages import SparseCells
from springtide_plugins.context_weights.cell_state_kernels import fill, fill_bins, state_of
from springtide_plugins.context_weights.kept_kernels import accumulate_kept, next_look, weights_of_codes
from springtide_plugins.context_weights.kept_sums import KeptSums
from springtide_plugins.context_weights.reorder import Reorder

Array = npt.NDArray[Any]
_NUM_ROWS = 100


def added(cells: SparseCells, bins: Array, rows: Array, sums: Array) -> None:
    done = add_to_cells([cells, None, None], bins, rows, np.zeros(len(rows), np.uint8), sums, 0)
    assert done == len(rows)


def sums_by_bin(cells: SparseCells) -> list[list[float]]:
    """Return the sum of each bin and row, ``[num_bins][num_rows]``; sums below 2^53 are exact."""
    found = []
    for bin_ in range(cells.num_bins):
        weights, counts = np.zeros((1, cells.num_bins), np.int64), np.zeros((1, _NUM_ROWS))
        weights[0, bin_] = 1
        totals = accumulate(cells, weights, 1.0, counts)
        assert totals == [counts.sum()]
        found.append(counts[0].tolist())
    return found


events = st.lists(
    st.tuples(
        st.integers(0, 2**32 - 1),
        st.sampled_from([1, 7, 300]),  # Events.
        st.sampled_from([1, 3, 40, _NUM_ROWS]),  # Rows.
        st.sampled_from([1, 50, 2**31 - 1, 2**40]),  # The largest sum.
        st.sampled_from(["add", "take back", "forget", "save"]),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("num_rows", [5, 100_000, 2_000_000])
def test_many_events_at_once_are_plain_sums_up_to_one_that_has_no_place(num_rows: int) -> None:
    """They are put in the order of pages, in parts."""
    random, sizes, num = np.random.default_rng(num_rows), (24, 7), 300_000
    rows = random.integers(0, num_rows, num).astype(np.int32)
    rows[:2] = 0, num_rows - 1
    bins = np.stack([random.integers(0, size, num) for size in sizes])
    sums, epochs = random.integers(-(2**20), 2**20, num), random.choice([0, 1, 255], num).astype(np.uint8)
    for bad in (None, 0, 140_000, 299_999):
        held = [SparseCells(sizes), SparseCells(sizes), None]
        of_epoch = epochs.copy()
        if bad is not None:
            of_epoch[bad] = 2
        done = add_to_cells(held, bins, rows, of_epoch, sums, 0)
        assert done == (num if bad is None else bad)
        for epoch in (0, 1):
            is_of, counts = np.flatnonzero(of_epoch[:done] == epoch), np.zeros((1, num_rows))
            accumulate(held[epoch], np.arange(1, 32)[None], 1.0, counts)
            weighted = sums[is_of] * (bins[0, is_of] + 1 + bins[1, is_of] + 25)
            assert (counts[0] == np.bincount(rows[is_of], weighted, num_rows)).all()


@settings(max_examples=200, deadline=None)
@given(events, st.sampled_from([(1,), (2,), (5,), (40,), (3, 2, 7), (24, 7, 73), (1, 1, 1, 1)]))
def test_cells_are_plain_sums_however_rows_grow_and_shrink(
    made: list[tuple[int, int, int, int, str]], sizes: Sequence[int]
) -> None:
    cells, plain = SparseCells(sizes), np.zeros((sum(sizes), _NUM_ROWS), np.int64)
    first_bins = np.cumsum([0, *sizes[:-1]])
    before: list[tuple[Array, Array, Array]] = []
    for seed, num, num_rows, largest, what in made:
        random = np.random.default_rng(seed)
        rows = random.integers(0, num_rows, num).astype(np.int32)
        bins = np.stack([random.integers(0, size, num) for size in sizes])
        sums = random.integers(-largest // 8, largest, num)
        if what == "take back" and before:
            bins, rows, sums = before.pop()
            sums = -sums
        elif what == "forget":
            cells.forget(np.append(rows, np.int32(10**6)))
            plain[:, rows] = 0
            before = []
            continue
        elif what == "save":
            saved, cells = cells, SparseCells(sizes)
            fill(cells, *state_of(saved))
        before.append((bins, rows, sums))
        added(cells, bins if len(sizes) > 1 else bins[0], rows, sums)
        for first, of_part in zip(first_bins, bins, strict=True):
            np.add.at(plain, (first + of_part, rows), sums)
    assert sums_by_bin(cells) == plain.tolist()
    weights = np.random.default_rng(0).integers(-(2**25) + 1, 2**25, (3, sum(sizes)))
    counts = np.zeros((3, _NUM_ROWS))
    totals = accumulate(cells, weights, 1.0, counts)
    expected = weights.astype(object) @ plain.astype(object)
    assert counts.tolist() == expected.astype(float).tolist()
    assert totals == expected.sum(axis=1).astype(float).tolist()


def test_all_that_is_taken_back_leaves_nothing() -> None:
    cells, random = SparseCells((24, 7, 73)), np.random.default_rng(0)
    rows = random.integers(0, 64, 1_000).astype(np.int32)
    bins = np.stack([random.integers(0, size, 1_000) for size in (24, 7, 73)])
    added(cells, bins, rows, np.full(1_000, 5))
    held = cells.nbytes
    for _ in range(10):
        added(cells, bins, rows, np.full(1_000, -5))
        assert not any(len(array) for array in state_of(cells))
        added(cells, bins, rows, np.full(1_000, 5))
    assert cells.nbytes == held


def test_rows_far_apart_take_no_memory_between_them() -> None:
    cells = SparseCells((7,))
    rows = np.array([0, 2**31 - 1, 2**20], np.int32)
    added(cells, np.array([1, 2, 3]), rows, np.array([4, 5, 6]))
    assert cells.nbytes < 3_000_000
    counts = np.zeros((1, 2**20 + 1))
    accumulate(cells, np.ones((1, 7), np.int64), 1.0, counts)
    assert counts[0, [0, 5, 2**20]].tolist() == [4.0, 0.0, 6.0]


def test_cells_can_be_read_while_rows_move() -> None:
    """A reader never sees more than there is, nor less than there was: rows move as a whole."""
    counts, is_over = BinnedCounts((24, 7, 73)), threading.Event()
    random, num_rows, faults = np.random.default_rng(0), 500, list[str]()

    def read() -> None:
        least = np.zeros(num_rows)
        while not is_over.is_set():
            found, total = counts.totals(num_rows)
            if (found < least).any() or (found > 2_000).any() or total != found.sum():
                faults.append(f"{found.min()} to {found.max()}, {total} of {found.sum()}")
            least = found

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(400):
            rows = random.permutation(num_rows).astype(np.int32)
            bins = np.stack([random.integers(0, size, num_rows) for size in (24, 7, 73)])
            counts.add(rows, bins, np.zeros(num_rows, np.int64), np.ones(num_rows, np.float32))
    finally:
        is_over.set()
        for reader in readers:
            reader.join()
        sys.setswitchinterval(interval_s)
    assert not faults
    assert counts.totals(num_rows)[0].tolist() == [400.0] * num_rows


def test_states_of_before_rows_were_kept_apart_are_read() -> None:
    """Such a state has a cell for each bin and row; ``high`` has the multiples of 2^30 of large ones."""
    random, num_items = np.random.default_rng(0), 70
    calendar, clock = Calendar(), np.array([1_700_000_000_000, 1, 0, 1])
    state: dict[str, Array] = {"newest_ms": np.array([1_700_000_000_000])}
    plain = np.zeros((2, 24 + 7 + 73, num_items), np.int64)
    for name, size, first in (("hour", 24, 0), ("weekday", 7, 24), ("year", 73, 31)):
        low = random.integers(0, 2**31 - 1, (2, size, num_items)).astype(np.int32)
        low[:, :, : num_items // 2] *= random.random((2, size, num_items // 2)) < 0.05
        high = (random.random((2, size, num_items)) < 0.01).astype(np.int32)
        state |= {f"{name}/counts": low, f"{name}/high": high, f"{name}/clock": clock}
        plain[:, first : first + size] = low.astype(np.int64) + (high.astype(np.int64) << 30)
    calendar.restore(state)
    assert sorted(calendar._profiles._held[0]) == [0, 1]
    for epoch, cells in calendar._profiles._held[0].items():
        weights = np.eye(24 + 7 + 73, dtype=np.int64)
        for bin_, of_bin in enumerate(weights):
            counts = np.zeros((1, num_items))
            accumulate(cells, of_bin[None, :], 1.0, counts)
            assert counts[0].tolist() == plain[epoch, bin_].tolist()
    again = Calendar()
    again.restore(calendar.state())
    assert {name: array.tobytes() for name, array in again.state().items()} == {
        name: array.tobytes() for name, array in calendar.state().items()
    }
    reorder = Reorder()
    pairs: dict[str, Array] = {"young": np.empty(0, np.uint64), "old": np.empty(0, np.uint64)}
    reorder.restore({"counts": np.array([[[2**14, 2**15], [0, 2**14]]], np.int32), "clock": clock[:3], **pairs})
    assert reorder._tally[:2].tolist() == [[1, 0], [2, 1]]
    assert not reorder._tally[2:].any()


def test_what_waits_in_a_page_is_read_saved_and_forgotten_with_the_rest() -> None:
    """Up to 16 entries of a page wait, in any order; the same code may come again, and take back what waits."""
    cells = SparseCells((3, 2))
    rows, bins = np.array([7, 0, 7, 3, 7], np.int32), np.array([[2, 0, 1, 2, 2], [1, 1, 0, 0, 1]])
    added(cells, bins, rows, np.array([5, 1, 4, 2, 6]))
    kinds, codes, sums, dense, wide = state_of(cells)
    assert (kinds.tolist(), codes.tolist(), sums.tolist()) == ([1, 0, 0, 1, 0, 0, 0, 2], [1, 4, 2, 5], [1, 2, 4, 11])
    assert (len(dense), len(wide)) == (0, 0)
    added(cells, bins, rows, np.array([-5, 1, 4, 2, -6]))
    added(cells, bins[:, :1], rows[:1], np.array([2**40]))  # Too large to wait.
    cells.forget(np.array([0]))
    again = SparseCells((3, 2))
    fill(again, *state_of(cells))
    for each in (cells, again):
        found = np.array(sums_by_bin(each))[:, :8]
        assert found[:, [0, 3]].tolist() == [[0, 0], [0, 0], [0, 4], [0, 4], [0, 0]]
        assert found[:, 7].tolist() == [0, 8, 2**40, 8, 2**40]


def test_states_that_do_not_fit_are_refused() -> None:
    counts = BinnedCounts((3, 2))
    counts.add(np.zeros(2, np.int32), np.array([[1, 2], [0, 1]]), np.zeros(2, np.int64), np.ones(2, np.float32))
    state = counts.state()
    for name, wrong in (("kinds", [3]), ("codes", [1, 11]), ("sums", [1]), ("dense", np.zeros((1, 5)))):
        with pytest.raises(ValueError, match="wanted entries and arrays of 5 bins that fit their rows"):
            BinnedCounts((3, 2)).restore({**state, f"0/{name}": np.array(wrong, state[f"0/{name}"].dtype)})
    for sizes in ((), (0,), (2,) * 5, (1_025,), (256, 256)):
        with pytest.raises(ValueError, match="wanted"):
            SparseCells(sizes)
    with pytest.raises(ValueError, match="wanted sums of one of 2 parts"):
        fill_bins(SparseCells((3, 2)), 1, 0, np.zeros((3, 1), np.int64))
    with pytest.raises(ValueError, match="wanted weights below 2"):
        counts.weighted(np.full((1, 5), 4.0), 1)


@pytest.mark.parametrize("largest", [1, 2**31 - 1, 2**55])
def test_kept_sums_are_those_of_all_cells_after_each_change(largest: int) -> None:
    random, cells, kept = np.random.default_rng(largest), SparseCells((5, 4)), KeptSums()
    sets = random.integers(0, 2**20, (6, 9))
    for step in range(60):
        num, num_rows = int(random.choice([0, 1, 3, 40, 900])), 40 + 2 * step
        rows = random.integers(0, random.choice([3, num_rows]), num).astype(np.int32)
        bins = np.stack([random.integers(0, 5, num), random.integers(0, 4, num)])
        added(cells, bins, rows, random.integers(-largest, largest + 1, num))
        if step % 7 == 3:
            cells.forget(random.integers(0, num_rows, 2).astype(np.int32))
        chosen = sets[random.choice(6, random.integers(1, 5))]
        counts, of_all = np.zeros((len(chosen), num_rows)), np.zeros((len(chosen), num_rows))
        totals = kept.accumulate(0, cells, chosen, 0.5, counts)
        assert totals == accumulate(cells, chosen, 0.5, of_all)
        np.testing.assert_array_equal(counts, of_all)


def test_kept_sums_weigh_no_page_that_has_not_changed() -> None:
    cells, rows = SparseCells((3,)), np.arange(800, dtype=np.int32)
    weights, sums, known = np.array([1, 2, 3]), np.zeros(800, np.int64), np.zeros(4, np.int64)

    def num_weighed(since: int) -> tuple[int, int]:
        look, counts = next_look(cells), np.zeros((1, 800))
        of_codes = weights_of_codes(cells, weights)
        (total,), (num,) = accumulate_kept(cells, [weights], [of_codes], [sums], [known], [since], 1.0, counts)
        assert total == counts.sum()
        return look, num

    added(cells, rows % 3, rows, np.ones(800, np.int64))
    look, num = num_weighed(0)
    assert num == 100
    look, num = num_weighed(look)
    assert num == 0
    added(cells, np.array([1, 1]), np.array([17, 500], np.int32), np.array([1, 4]))
    cells.forget(np.array([16], np.int32))
    _, num = num_weighed(look)
    assert num == 2


def test_kept_sums_stay_right_when_looks_are_counted_from_the_beginning() -> None:
    cells, kept, weights, row = SparseCells((2,)), KeptSums(), np.array([[1, 5]]), np.zeros(1, np.int32)
    for sum_ in range(1, 4):
        added(cells, np.array([0]), row, np.ones(1, np.int64))
        counts = np.zeros((1, 1))
        assert kept.accumulate(0, cells, weights, 1.0, counts) == [sum_]
        while next_look(cells) < 65_000:  # The next one is the first again.
            pass


def test_kept_sums_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_sums, "_MOST_BYTES", 100_000)
    cells, kept = SparseCells((100,)), KeptSums()
    for index in range(100):
        kept.accumulate(0, cells, np.eye(1, 100, index, dtype=np.int64), 1.0, np.zeros((1, 10)))
        assert sum(each.nbytes for each in kept._kept.values()) == kept._nbytes <= 100_000
    assert len(kept._kept) > 5
    assert (
        kept.accumulate(0, cells, np.eye(1, 100, dtype=np.int64), 1.0, np.zeros((1, kept_sums.MOST_ROWS + 1))) is None
    )


def test_sums_that_nobody_asks_for_are_let_go() -> None:
    cells, kept = SparseCells((2,)), KeptSums()
    for index in (0, *[1] * 258):
        kept.accumulate(0, cells, np.eye(1, 2, index, dtype=np.int64), 1.0, np.zeros((1, 10)))
    assert len(kept._kept) == 1


def test_kept_sums_can_be_read_while_rows_are_written() -> None:
    """What was added before a reading is in it, and what a reading missed is in the next."""
    cells, kept, weights = SparseCells((4,)), KeptSums(), np.array([[1, 1, 1, 1]])
    done = threading.Event()

    def write() -> None:
        random = np.random.default_rng(1)
        for _ in range(3_000):
            rows = random.integers(0, 200, 20).astype(np.int32)
            added(cells, random.integers(0, 4, 20), rows, np.ones(20, np.int64))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    latest = 0.0
    while not done.is_set():
        totals = kept.accumulate(0, cells, weights, 1.0, np.zeros((1, 200)))
        assert totals is not None
        assert totals[0] >= latest
        latest = totals[0]
    writer.join()
    assert kept.accumulate(0, cells, weights, 1.0, np.zeros((1, 200))) == [60_000]
