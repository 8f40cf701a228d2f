"""What a training step draws: users and interactions, how likely each is, and which items are seen."""

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.testing import even_odd_state, observed_of, quick_settings, state_of, training_graph_of
from springtide.training.sampling import PositiveSampler, chances_by_age, ranges, replay_chances, replay_user_chances


def test_ranges_are_listed_one_after_another():
    position, numbers = ranges(np.array([5, 0, 2]), np.array([2, 0, 3]))
    assert position.tolist() == [0, 0, 2, 2, 2]
    assert numbers.tolist() == [5, 6, 2, 3, 4]


def test_positives_are_drawn_by_their_weight_and_stay_with_their_user():
    graph = training_graph_of(state_of([("u0", "i0", 1), ("u1", "i1", 2), ("u0", "i2", 3), ("u2", "i0", 4)]))
    sampler = PositiveSampler(graph, np.array([3.0, 1.0, 1.0, 0.0]))
    assert sampler.active_users.tolist() == [0, 1], "a user whose interactions are never drawn takes no part"
    drawn = graph.interactions.item_rows[sampler.draw(np.array([0, 1]), 4_000, np.random.default_rng(0))]
    assert set(drawn[0]) == {0, 2}
    assert set(drawn[1]) == {1}
    assert (drawn[0] == 0).mean() == pytest.approx(0.75, abs=0.03)


def test_draws_are_where_a_search_among_all_sums_of_chances_finds_them():
    graph = training_graph_of(even_odd_state(40))
    chances = np.random.default_rng(1).random(len(graph.interactions)) * np.arange(len(graph.interactions)) % 1.0
    sampler, users = PositiveSampler(graph, chances), np.array([3, 0, 39, 7, 3])
    shares = np.random.default_rng(2).random((len(users), 500))
    order = np.argsort(graph.interactions.user_rows, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(chances[order])])
    first = np.searchsorted(graph.interactions.user_rows[order], np.arange(41))
    low, high = sums[first[users]][:, None], sums[first[users + 1]][:, None]
    wanted = order[np.searchsorted(sums, low + shares * (high - low), side="right") - 1]
    assert np.array_equal(sampler.draw(users, 500, np.random.default_rng(2)), wanted)


def test_every_active_user_is_in_a_batch_once():
    graph = training_graph_of(even_odd_state(8))
    sampler = PositiveSampler(graph, np.ones(len(graph.interactions)))
    batches = sampler.batches(3, np.random.default_rng(0))
    for _ in range(2):
        assert sorted(np.concatenate([next(batches) for _ in range(3)])) == list(range(8))


def test_passes_include_users_by_their_chances():
    graph = training_graph_of(even_odd_state(8))
    chances = np.array([1.0, 1.0, 0.25, 0.25, 0.25, 0.25, 0.0, 0.0])
    sampler = PositiveSampler(graph, np.ones(len(graph.interactions)), chances)
    assert sampler.users_per_pass == 3.0
    batches = sampler.batches(8, np.random.default_rng(0))
    included = np.concatenate([next(batches) for _ in range(1_000)])  # One batch holds a pass.
    np.testing.assert_allclose(np.bincount(included, minlength=8) / 1_000, chances, atol=0.05)


def test_chances_of_0_for_all_users_are_refused():
    graph = training_graph_of(even_odd_state(8))
    with pytest.raises(ValueError, match="wanted a chance above 0"):
        PositiveSampler(graph, np.ones(len(graph.interactions)), np.zeros(8))


def test_seen_items_are_marked_among_the_sampled():
    graph = training_graph_of(state_of([("u0", "i0", 1), ("u1", "i1", 2), ("u0", "i2", 3)]))
    sampler = PositiveSampler(graph, np.ones(3))
    marks = sampler.is_seen(np.array([1, 0]), np.array([2, 1, 1, 0]))
    assert marks.tolist() == [[False, True, True, False], [True, False, False, True]]


def test_users_count_as_seen_by_themselves_in_a_graph_of_users():
    settings = quick_settings(graph={"item_type": "user"})
    graph = training_graph_of(state_of([("u0", "u1", 1), ("u1", "u2", 2), ("u2", "u0", 3)], settings))
    sampler = PositiveSampler(graph, np.ones(3))
    assert sampler.is_seen(np.array([0, 1]), np.array([0, 1, 2])).tolist() == [[True, True, False], [False, True, True]]


def test_chances_fall_with_the_age_at_the_newest_interaction():
    events = observed_of([(0, 0, 0), (0, 1, 10 * MS_PER_DAY), (0, 2, 20 * MS_PER_DAY)])
    assert chances_by_age(events, half_life_days=10.0).tolist() == pytest.approx([0.25, 0.5, 1.0])
    assert chances_by_age(events, half_life_days=None).tolist() == [1.0, 1.0, 1.0]


def test_old_interactions_share_the_ratio_of_the_new_ones():
    # Six old interactions for four new ones: 0.5 · 4 / 6 each.
    assert replay_chances(10, 6, 0.5).tolist() == pytest.approx([1 / 3] * 6 + [1.0] * 4)
    assert replay_chances(3, 3, 0.5).tolist() == [1.0, 1.0, 1.0], "nothing is new"


def test_users_without_new_interactions_share_the_ratio_of_those_with_one():
    user_rows = np.array([0, 1, 2, 3, 0], np.int32)
    # One user has a new interaction: 1.5 · 1 / 3 for each of the three others.
    assert replay_user_chances(user_rows, 4, num_users=4, ratio=1.5).tolist() == [1.0, 0.5, 0.5, 0.5]
    assert replay_user_chances(user_rows, 4, num_users=4, ratio=9.0).tolist() == [1.0] * 4
    assert replay_user_chances(user_rows, 5, num_users=4, ratio=1.5) is None, "nothing is new"
