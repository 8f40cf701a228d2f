"""What people come back to, with numbers worked by hand."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import ItemGroups, Moment
from springtide.testing import observed_of
from springtide_plugins.context_weights.binned_counts import BinnedCounts
from springtide_plugins.context_weights.pair_set import SeenPairs
from springtide_plugins.context_weights.reorder import Reorder
from springtide_plugins.context_weights.tally_kernels import add_to_tally, read_tally

DAY = MS_PER_DAY


def pairs_of(*pairs: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.array(pairs, np.int32).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def test_pair_came_before_from_its_second_time_on():
    seen = SeenPairs(100)
    assert seen.add(*pairs_of((0, 0), (0, 1), (0, 0), (1, 0))).tolist() == [False, False, True, False]
    assert seen.add(*pairs_of((1, 0), (1, 1), (0, 1))).tolist() == [True, False, True]


def test_pairs_are_told_apart_through_growth():
    seen, generator = SeenPairs(1_000_000), np.random.default_rng(0)
    users, items = generator.integers(0, 1_000, (2, 20_000)).astype(np.int32)
    codes = users.astype(np.int64) * 1_000 + items
    first = np.zeros(len(codes), bool)
    first[np.unique(codes, return_index=True)[1]] = True
    came = np.concatenate([seen.add(users[part], items[part]) for part in np.array_split(np.arange(20_000), 7)])
    assert np.array_equal(came, ~first)


def test_pairs_are_remembered_for_a_generation_and_forgotten_after_two():
    seen = SeenPairs(3)
    seen.add(*pairs_of((0, 0), (0, 1), (0, 2)))  # A whole generation.
    seen.add(*pairs_of((0, 3), (0, 4)))
    assert seen.add(*pairs_of((0, 1))).tolist() == [True]
    seen.add(*pairs_of((0, 5), (0, 6)))
    assert seen.add(*pairs_of((0, 1), (0, 2))).tolist() == [True, False]
    assert seen._young.num_keys + seen._old.num_keys <= 2 * 3


def test_restored_pairs_go_on():
    seen, again = SeenPairs(1_000), SeenPairs(1_000)
    seen.add(*pairs_of(*((user, user % 7) for user in range(600))))
    again.restore(seen.state())
    assert again.add(*pairs_of((5, 5), (5, 6), (599, 599 % 7))).tolist() == [True, False, True]


def test_a_pair_is_left_until_it_was_taken_back_as_often_as_it_occurred():
    seen = SeenPairs(2)
    seen.add(*pairs_of((0, 0), (0, 0), (0, 1)))  # A whole generation: both pairs are in the old table.
    seen.add(*pairs_of((0, 0)))
    again = SeenPairs(2)
    again.restore(seen.state())
    for each in (seen, again):
        assert each.remove(*pairs_of((0, 0), (0, 0), (0, 1))).tolist() == [True, True, False]
        assert each.remove(*pairs_of((0, 0))).tolist() == [False]
        assert each.remove(*pairs_of((7, 7))).tolist() == [True], "never seen"
        assert each.add(*pairs_of((0, 0), (0, 1))).tolist() == [False, False]


def test_a_rate_without_deleted_users_is_as_if_they_had_never_come():
    events = [(user, item, user) for user in range(6) for item in range(3) for _ in range(1 + (user + item) % 3)]
    weight, expected = Reorder(), Reorder()
    weight.observe(observed_of(events))
    weight.unobserve(observed_of(event for event in events if event[0] in (1, 4)))
    expected.observe(observed_of(event for event in events if event[0] not in (1, 4)))
    assert weight.item_log_lifts(Moment(0), 4).tobytes() == expected.item_log_lifts(Moment(0), 4).tobytes()


def test_rate_is_the_share_that_came_again_over_that_of_all():
    weight = Reorder(prior=1.0)
    assert weight.item_log_lifts(Moment(0), 2) is None
    # Item 0: three times by one user, so twice again. Item 1: by three users.
    weight.observe(observed_of([(0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 1, 3), (2, 1, 4), (3, 1, 5)]))
    lifts = weight.item_log_lifts(Moment(0), 3)
    # Two of six again: one of three is as usual for each item.
    assert lifts.tolist() == [pytest.approx([math.log(3 / 2), math.log(1 / 2), 0.0])]


def test_counts_of_before_they_were_plain_numbers_are_read():
    events = [(user, item, user) for user in range(30) for item in range(9) for _ in range(1 + (user * item) % 4)]
    weight, again, former = Reorder(), Reorder(), BinnedCounts(2)
    weight.observe(observed_of(events))
    seen = Counter()
    for user, item, time in events:
        one = np.ones(1, np.float32)
        former.add(np.array([item], np.int32), np.array([int(seen[user, item] > 0)]), np.array([time]), one)
        seen[user, item] += 1
    again.restore({**weight._pairs.state(), **former.state()})
    third = Reorder()
    third.restore(weight.state())
    for each in (again, third):
        assert each.state()["tally"].tolist() == weight.state()["tally"].tolist()
        assert each.item_log_lifts(Moment(0), 12).tobytes() == weight.item_log_lifts(Moment(0), 12).tobytes()
        each.unobserve(observed_of(events))
        assert not len(each.state()["tally"])
    with pytest.raises(ValueError, match="wanted rows from 0 to 8"):
        add_to_tally(np.zeros((9, 2), np.int32), np.array([9], np.int32), np.zeros(1, np.bool_), 1)


def test_order_of_arrival_within_a_pair_does_not_matter():
    events = [(0, 0, 0), (0, 0, DAY), (1, 0, 2 * DAY), (1, 1, 3 * DAY), (0, 1, 4 * DAY)]
    one, other = Reorder(), Reorder()
    one.observe(observed_of(events))
    for event in reversed(events):
        other.observe(observed_of([event]))
    assert one.item_log_lifts(Moment(0), 2).tolist() == other.item_log_lifts(Moment(0), 2).tolist()


def test_item_never_seen_borrows_from_its_kind():
    weight = Reorder(prior=1.0)
    weight.regroup(ItemGroups(("type",), (np.array([0, 1, 0], np.int32),), (2,)))
    weight.observe(observed_of([(user, item, 0) for user in range(9) for item in (0, 0, 0, 1)]))
    lifts = weight.item_log_lifts(Moment(0), 3)[0]
    assert lifts[2] == pytest.approx(lifts[0], abs=0.05)
    assert lifts[2] > 0.2 > lifts[1]


def test_pairs_that_occur_very_often_are_counted_to_the_last_one():
    seen, often, num = SeenPairs(100), 70_000, 0
    user, item = np.zeros(1, np.int32), np.full(1, 5, np.int32)
    for count in (65_000, often - 65_000):
        seen.add(np.zeros(count, np.int32), np.full(count, 5, np.int32))
    again = SeenPairs(100)
    again.restore(seen.state())
    assert again._young.pairs()[1].tolist() == [often]
    others = np.arange(1, 101, dtype=np.int32)
    again.add(others, others)  # The pair is in the older generation now.
    assert again._old.pairs()[1].max() == often
    assert again.add(user, item).all()
    for pairs, total in ((seen, often), (again, often + 1)):
        num = 0
        while pairs.remove(user, item).all():
            num += 1
        assert num == total - 1
        assert pairs.add(user, item).tolist() == [False]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 50, 10_000]), st.sampled_from([1, 200_000]), st.integers(1, 12))
def test_pairs_are_counted_as_a_dictionary_counts_them(seed, num_rows, scale, num_steps):
    random, seen, plain = np.random.default_rng(seed), SeenPairs(1_000_000), Counter()
    for _ in range(num_steps):
        users, items = random.integers(0, num_rows, (2, int(random.integers(1, 2_000)))).astype(np.int32) * scale
        keys = list(zip(users.tolist(), items.tolist(), strict=True))
        if random.random() < 0.7:
            expected = []
            for key in keys:
                expected.append(plain[key] > 0)
                plain[key] += 1
            assert seen.add(users, items).tolist() == expected
        elif random.random() < 0.7:
            seen.remove(users, items)
            for key in keys:
                plain[key] = max(plain[key] - 1, 0)
        else:
            state, seen = seen.state(), SeenPairs(1_000_000)
            seen.restore(state)
    keys, counts = seen._young.pairs()
    keys = keys.astype(np.int64) - 1
    found = {(int(key >> 32), int(key & 0xFFFFFFFF)): int(count) for key, count in zip(keys, counts, strict=True)}
    assert found == {key: count for key, count in plain.items() if count}


def test_a_growing_table_is_copied_part_by_part_and_keeps_little_room():
    seen, random = SeenPairs(2_000_000), np.random.default_rng(0)
    for _ in range(10):
        seen.add(*random.integers(0, 10**6, (2, 100_000)).astype(np.int32))
    assert seen._young.num_copied <= 2_000_000
    assert seen._young.most_copied <= 1_000_000 / 12
    assert seen.num_bytes <= 8.2 * 1_000_000
    full = SeenPairs(400_000)
    full.add(*random.integers(0, 10**5, (2, 399_000)).astype(np.int32))
    assert full.num_bytes <= 6.6 * 400_000 + 2 * 10 * 1_024, "no room is made beyond a generation"


def test_parts_of_a_table_grow_one_after_another_so_that_it_never_has_much_room():
    seen, random = SeenPairs(4_000_000), np.random.default_rng(0)
    found = []
    for number in range(1, 11):
        seen.add(*random.integers(0, 200_000, (2, 100_000)).astype(np.int32))
        found.append(seen.num_bytes / (number * 100_000))
    assert max(found) <= 8.5, "some have grown, and some are about to"


def test_the_search_for_a_pair_that_is_not_there_ends_at_its_first_bucket():
    seen, random = SeenPairs(400_000), np.random.default_rng(0)
    users, items = random.integers(0, 10**5, (2, 500_000)).astype(np.int32)
    seen.add(users[:400_100], items[:400_100])
    old = seen._old
    assert old.num_keys == 400_000, "a generation is full"
    before = old.num_steps
    new = ~seen.add(users[400_100:], items[400_100:])
    assert new.sum() > 99_000
    assert old.num_steps - before <= 0.1 * len(new), "a third of its buckets are full"


def test_pairs_of_rows_that_do_not_fit_into_narrow_words_are_told_apart():
    seen, plain = SeenPairs(100_000), set()
    random = np.random.default_rng(0)
    for greatest in (9, 30_000, 2**22, 2**31 - 1):  # Parts change their layout meanwhile.
        users, items = random.integers(0, greatest, (2, 3_000), endpoint=True).astype(np.int32)
        keys = list(zip(users.tolist(), items.tolist(), strict=True))
        expected = []
        for key in keys:
            expected.append(key in plain)
            plain.add(key)
        assert seen.add(users, items).tolist() == expected
        assert seen.add(users, items).all()
    assert seen.add(*pairs_of((2**31 - 1, 2**31 - 1), (2**31 - 1, 2**31 - 1))).tolist() == [False, True]
    found = seen._young.pairs()[0].astype(np.int64) - 1
    assert {(int(key >> 32), int(key & 0xFFFFFFFF)) for key in found} == plain | {(2**31 - 1, 2**31 - 1)}


def test_pairs_of_one_item_or_one_user_or_in_a_line_find_room():
    lines = np.arange(150_000, dtype=np.int32)
    zeros = np.zeros(150_000, np.int32)
    for users, items in (
        (lines, zeros),
        (zeros, lines),
        (lines, lines),
        (lines, 149_999 - lines),
        (lines * 4_096, lines),
    ):
        seen = SeenPairs(1_000_000)
        assert not seen.add(users, items).any()
        assert seen.add(users, items).all()
        assert seen.num_bytes <= 20 * 150_000
        assert len(np.unique(seen._young.pairs()[0])) == 150_000


def test_rows_below_0_are_refused():
    seen = SeenPairs(100)
    with pytest.raises(ValueError, match="got user -1 and item 5"):
        seen.add(*pairs_of((3, 3), (-1, 5)))
    with pytest.raises(ValueError, match="wanted keys of rows of 0 or more"):
        seen.restore({"young": np.array([0], np.uint64), "old": np.empty(0, np.uint64)})


def test_counts_that_are_large_survive_growth_and_go_with_their_pairs():
    seen = SeenPairs(1_000_000)
    for user in (1, 2):
        for _ in range(2):
            seen.add(np.full(40_000, user, np.int32), np.full(40_000, 5, np.int32))
    seen.forget(np.array([1], np.int32), np.empty(0, np.int32))
    others = np.arange(10, 20_010, dtype=np.int32)
    seen.add(others, others)
    keys, counts = seen._young.pairs()
    assert counts.max() == 80_000
    assert (counts > 1).sum() == 1
    assert keys[counts > 1].tolist() == [(2 << 32) + 5 + 1]


def test_a_pair_takes_few_bytes():
    seen, random = SeenPairs(1_000_000), np.random.default_rng(0)
    for _ in range(100):
        seen.add(*random.integers(0, 10**5, (2, 4_000)).astype(np.int32))
    assert seen.num_bytes <= 9 * 400_000
    again = SeenPairs(1_000_000)
    again.restore(seen.state())
    assert again.num_bytes == seen.num_bytes
    assert sum(array.nbytes for array in seen.state().values()) <= seen.num_bytes


def of_both(seen: SeenPairs) -> list[dict[int, int]]:
    """Return the count of each pair's key in both generations."""
    return [dict(zip(*(array.tolist() for array in table.pairs()), strict=True)) for table in (seen._young, seen._old)]


@pytest.mark.parametrize("greatest", [1_000, 2**31 - 1])  # Of the second, words are wide.
def test_restored_tables_go_on_as_those_that_were_stored(greatest):
    seen, random = SeenPairs(20_000), np.random.default_rng(0)
    for _ in range(4):
        rows = random.integers(0, greatest, (2, 6_000)).astype(np.int32)
        seen.add(*rows)
    seen.add(np.zeros(300, np.int32), np.full(300, 7, np.int32))  # More than a byte counts.
    seen.remove(*rows)
    seen.forget(rows[0][:10], rows[1][:10])
    state, again = seen.state(), SeenPairs(20_000)
    again.restore(state)
    assert of_both(again) == of_both(seen)
    more = random.integers(0, greatest, (2, 30_000)).astype(np.int32)
    more[:, :6_000] = rows
    assert again.add(*more).tolist() == seen.add(*more).tolist()
    assert of_both(again) == of_both(seen)
    before, other = SeenPairs(20_000), SeenPairs(9_000_000)  # This one has more parts.
    for each in (before, other):
        each.restore(state)
    assert of_both(other) == of_both(before)


def test_nothing_is_stored_of_pairs_that_were_taken_back_or_forgotten():
    """Not even the bytes in which they lay: a checkpoint holds nothing of who is forgotten."""
    seen, nobody = SeenPairs(100), SeenPairs(100)
    users, items = pairs_of((3, 1), (4, 1), (4, 2))
    seen.add(users, items)
    seen.remove(users[:1], items[:1])
    seen.forget(np.array([4], np.int32), np.empty(0, np.int32))
    buckets, none = (each.state()["young/buckets"] for each in (seen, nobody))
    assert not buckets[:, :60].any()
    assert none.shape == buckets.shape


@pytest.mark.parametrize("damage", ["about", "parts", "buckets", "large", "count", "cut"])
def test_arrays_that_are_no_tables_are_refused(damage):
    seen = SeenPairs(100)
    seen.add(np.zeros(300, np.int32), np.full(300, 7, np.int32))
    state = seen.state()
    where = int(np.flatnonzero(state["young/buckets"][:, 63])[0])
    if damage == "about":
        state["young/about"][0] = 9
    elif damage == "parts":
        state["young/parts"][3, 2] = 0
    elif damage == "buckets":
        state["young/buckets"][where, 63] = 13
    elif damage == "large":
        state["young/large"] = np.empty((0, 2), np.uint64)  # The count of a pair is in it.
    elif damage == "count":
        state["young/large"][0, 0] = 0
    else:
        state["young/buckets"] = state["young/buckets"][:-1]
    with pytest.raises(ValueError, match="wanted"):
        SeenPairs(100).restore(state)


def test_a_tally_is_read_as_its_sums():
    tally = np.array([[3, 1], [0, 0], [-2, 1], [5, -4], [7, 7]], np.int32)
    for num_items in (3, 5, 6):
        counts, repeats = np.full(num_items, np.nan), np.full(num_items, np.nan)
        held = tally[:num_items].astype(np.int64)
        assert read_tally(tally, counts, repeats) == (held.sum(), held[:, 1].sum())
        more = [0] * (num_items - len(held))
        assert counts.tolist() == [*np.maximum(held.sum(axis=1), 0).tolist(), *more]
        assert repeats.tolist() == [*np.maximum(held[:, 1], 0).tolist(), *more]
    with pytest.raises(ValueError, match="columns of one length"):
        read_tally(tally, np.zeros(2), np.zeros(3))
