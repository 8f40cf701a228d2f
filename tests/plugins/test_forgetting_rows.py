"""What context weights do when the row of a user or an item is given to another one."""

import numpy as np
import pytest

from springtide.plugins.contracts import ContextWeight, Observed
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings, PluginSettings
from springtide_plugins.context_weights.binned_counts import BinnedCounts
from springtide_plugins.context_weights.counts import DecayedCounts
from springtide_plugins.context_weights.pair_set import SeenPairs

PLUGINS = load_plugins(PluginSettings())
NO_ROWS = np.empty(0, np.int32)
WEIGHTS = sorted(part.name for part in PLUGINS.parts if part.kind == "context weight")


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_built_in_weight_that_learns_can_forget_rows(name):
    kind = type(PLUGINS.make("context weight", PartSettings(name=name)))
    learns = kind.observe is not ContextWeight.observe
    assert (kind.forget_rows is not ContextWeight.forget_rows) == learns
    weight = kind()
    weight.forget_rows(rows(3), rows(5))  # Before anything was observed.
    weight.observe(Observed(rows(1), rows(2), np.array([10**12]), np.ones(1, np.float32)))
    weight.forget_rows(rows(3), rows(1_000))  # Rows beyond all that was observed.


def test_counts_of_all_epochs_forget_a_row():
    day = 86_400_000
    times = np.array([1, 400, 800]) * day
    decayed, binned = DecayedCounts(20.0 * day), BinnedCounts(3, 40.0 * day)
    for counts in (decayed, binned):
        bins = (np.array([0, 1, 2]),) if counts is binned else ()
        for row in (1, 2):
            counts.add(rows(row, row, row), *bins, times, np.ones(3, np.float32))
        counts.forget(rows(1, 99))
    assert decayed.at_newest(3)[1] == 0
    assert decayed.at_newest(3)[2] > 0
    assert binned.totals(3)[0][1] == 0
    assert binned.totals(3)[0][2] > 0


@pytest.mark.parametrize("max_pairs", [6, 100])  # The pairs are the older generation, or the younger one.
def test_pairs_of_a_forgotten_row_are_first_times_again(max_pairs):
    pairs = SeenPairs(max_pairs)
    users, items = rows(1, 1, 2, 2, 3, 3), rows(1, 2, 1, 2, 1, 2)
    pairs.add(users, items)
    pairs.forget(rows(1), rows(2))
    assert pairs.add(users, items).tolist() == [False, False, True, False, True, False]
    pairs.forget(NO_ROWS, NO_ROWS)
    assert pairs.add(rows(3), rows(1)).tolist() == [True]


def test_pairs_that_come_and_go_take_no_more_room():
    pairs, sizes = SeenPairs(10_000), []
    for generation in range(40):
        users, items = np.divmod(np.arange(2_000, dtype=np.int32), 10)
        items = items * 40 + generation  # Each time other pairs of the same users.
        assert not pairs.add(users, items).any()
        assert not pairs.remove(users, items).any()
        pairs.forget(users, NO_ROWS)
        sizes.append(pairs.num_bytes)
    assert max(sizes) == max(sizes[:4])
    assert max(sizes) <= 100 * 2_000


def test_pairs_that_are_gone_do_not_push_out_those_that_stay():
    pairs = SeenPairs(1_000)
    stay = np.arange(400, dtype=np.int32)
    pairs.add(stay, stay)
    for generation in range(20):
        go = np.full(500, 1_000 + generation, np.int32)
        pairs.add(go, np.arange(500, dtype=np.int32))
        pairs.remove(go, np.arange(500, dtype=np.int32))
    assert pairs.add(stay, stay).all()


def test_room_of_many_pairs_that_are_gone_is_given_back():
    pairs = SeenPairs(100_000)
    users, items = np.divmod(np.arange(150_000, dtype=np.int32), 100)
    pairs.add(users, items)  # Both generations have pairs.
    before = pairs.num_bytes
    pairs.forget(np.arange(1, 1_500, dtype=np.int32), NO_ROWS)
    assert pairs.num_bytes < before / 40
    assert pairs.add(users[:100], items[:100]).all(), "those of user 0 stay"
