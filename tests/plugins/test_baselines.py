"""The built-in baselines of `register_baselines`, with numbers worked by hand."""

import sys

import numpy as np
import pytest
from scipy import sparse

from springtide.clock import MS_PER_DAY
from springtide.errors import SettingsError
from springtide.plugins.contracts import Observed
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings
from springtide.testing import history_of, observed_of
from springtide_plugins.baselines import histories
from springtide_plugins.baselines.histories import seen_matrix
from springtide_plugins.baselines.kernels import add_weighted_rows
from springtide_plugins.baselines.neighbours import ItemKNN

PLUGINS = load_plugins()
NOW_DAY = 100

# (user, item, day): item 0 has users 0, 1 and 2, long ago; item 1 has 0 and 1, lately; item 2 has user 2, twice, now.
EVENTS = [(0, 0, 10), (1, 0, 10), (2, 0, 10), (0, 1, 80), (0, 1, 96), (1, 1, 98), (2, 2, 100), (2, 2, 100)]


def day(number):
    return int(number * MS_PER_DAY)


def make(name, **options):
    return PLUGINS.make("baseline", PartSettings(name=name, options=options))


def fitted(name, events=EVENTS, num_users=3, num_items=4, **options):
    baseline = make(name, **options)
    baseline.fit(observed_of([(user, item, day(when)) for user, item, when in events]), num_users, num_items)
    return baseline


def scores_of(baseline, *histories, user_rows=None, now=NOW_DAY):
    """Return the scores of users with histories of (item, day)."""
    rows = np.full(len(histories), -1) if user_rows is None else np.array(user_rows)
    return baseline.scores(
        rows, [history_of([(item, day(when)) for item, when in history]) for history in histories], day(now)
    )


def order_of(scores):
    return np.argsort(-scores, kind="stable").tolist()


def test_popularity_counts_distinct_users():
    assert scores_of(fitted("popularity"), [], [(3, 99)]).tolist() == [[3, 2, 1, 0]] * 2


def test_recent_popularity_counts_the_interactions_of_the_window():
    scores = scores_of(fitted("recent_popularity", days=28), [])
    assert scores.astype(int).tolist() == [[0, 3, 2, 0]]


def test_recent_popularity_ranks_other_items_by_users():
    assert order_of(scores_of(fitted("recent_popularity", days=1), [])[0]) == [2, 0, 1, 3]


def test_recent_popularity_changes_with_the_time_of_the_request():
    baseline = fitted("recent_popularity", days=28)
    # On day 109 the interaction of day 80 has left the window; on day 125 those of days 96 and 80.
    assert scores_of(baseline, [], now=109).astype(int).tolist() == [[0, 2, 2, 0]]
    assert scores_of(baseline, [], now=125).astype(int).tolist() == [[0, 1, 2, 0]]
    assert scores_of(baseline, [], now=100).astype(int).tolist() == [[0, 3, 2, 0]]


def test_week_popularity_looks_back_seven_days():
    # The interaction of day 96 counts until day 103.
    assert scores_of(fitted("week_popularity"), [], now=102).astype(int).tolist() == [[0, 2, 2, 0]]
    assert scores_of(fitted("week_popularity"), [], now=103).astype(int).tolist() == [[0, 1, 2, 0]]


def test_decayed_popularity_halves_with_every_half_life():
    events = [(0, 0, 80), (1, 0, 90), (0, 1, 100)]
    assert scores_of(fitted("decayed_popularity", events, half_life_days=10), []).tolist() == [[0.75, 1, 0, 0]]


def test_own_counts_come_first_and_ties_go_by_popularity():
    baseline = fitted("own_counts")
    scores = scores_of(baseline, [(3, 50), (2, 40), (2, 30)], [(1, 50), (2, 40)], [])
    assert scores[0].tolist() == pytest.approx([3 / 4, 2 / 4, 2 + 1 / 4, 1])
    assert [order_of(row) for row in scores] == [[2, 3, 0, 1], [1, 2, 0, 3], [0, 1, 2, 3]]


def test_own_counts_come_from_the_history_and_not_from_the_fit():
    assert order_of(scores_of(fitted("own_counts"), [(3, 100)], user_rows=[0])[0]) == [3, 0, 1, 2]


def test_decayed_own_counts_prefer_recent_items():
    baseline = fitted("decayed_own_counts", half_life_days=10, days=28)
    # Item 0 twice, two half-lives ago: 1/4 each; item 3 once, now: 1. The rest by recent popularity, 3 and 2 of 3 + 1.
    scores = scores_of(baseline, [(0, 80), (0, 80), (3, 100)])[0]
    assert scores[[0, 3]].tolist() == pytest.approx([1.5, 2.0])
    assert order_of(scores) == [3, 0, 1, 2]


def test_decayed_own_counts_rank_old_seen_items_above_unseen_ones():
    assert order_of(scores_of(fitted("decayed_own_counts"), [(3, -20_000)])[0]) == [3, 1, 2, 0]


def test_edge_bank_ranks_seen_items_by_popularity_and_not_by_count():
    assert order_of(scores_of(fitted("edge_bank"), [(2, 99), (2, 98), (1, 5)])[0]) == [1, 2, 0, 3]


def test_edge_bank_with_a_window_ignores_older_items():
    baseline = fitted("edge_bank", window_days=10)
    scores = scores_of(baseline, [(3, 91), (2, 90)], [(3, 99)])
    assert [order_of(row) for row in scores] == [[3, 0, 1, 2], [3, 0, 1, 2]]


def test_moving_average_weighs_shares_by_step():
    # Week 14 (days 98 to 104): item 1 and item 3 have a half each. The step before, week 2: item 3 alone.
    baseline = fitted("moving_average", step_days=7, newest_share=0.4)
    scores = scores_of(baseline, [(1, 99), (3, 98), (3, 20)])[0]
    assert scores[[1, 3]].tolist() == pytest.approx([1 + 0.4 / 2, 1 + 0.4 / 2 + 0.4 * 0.6])
    assert order_of(scores) == [3, 1, 0, 2]


@pytest.mark.parametrize("name", ["own_counts", "decayed_own_counts", "edge_bank", "moving_average"])
def test_items_newer_than_the_fit_are_ignored(name):
    baseline = fitted(name)
    with_later = scores_of(baseline, [(7, 100), (4, 100), (2, 100)])
    assert with_later.tolist() == scores_of(baseline, [(2, 100)]).tolist()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("recent_popularity", {"days": 0}, "days: wanted a number, above 0, got 0"),
        ("moving_average", {"newest_share": 2.0}, "newest_share: wanted a number, above 0, at most 1, got 2.0"),
        ("popularity", {"days": 3}, "no option named 'days'"),
    ],
)
def test_option_out_of_range_is_refused(name, options, said):
    with pytest.raises(SettingsError, match=said):
        make(name, **options)


# Users 0 and 1 have items 0 and 1, user 2 items 1 and 2, user 3 item 3: item 1 has three users.
PAIRS = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (2, 2), (3, 3)]


def fitted_on_pairs(name, num_users=4, num_items=5, pairs=PAIRS, **options):
    return fitted(
        name, [(user, item, place) for place, (user, item) in enumerate(pairs)], num_users, num_items, **options
    )


def matrix_of(pairs, num_users, num_items):
    matrix = np.zeros((num_users, num_items))
    for user, item in pairs:
        matrix[user, item] = 1.0
    return matrix


def random_pairs(num_users=40, num_items=12):
    """Return 160 pairs in order, each once."""
    places = np.random.default_rng(5).choice(num_users * num_items, 160, replace=False)
    return [divmod(int(place), num_items) for place in np.sort(places)]


def test_item_knn_adds_up_cosines_with_the_users_items():
    scores = scores_of(fitted_on_pairs("item_knn"), [(0, 9), (2, 9)])[0]
    # Items 0 and 1 share two users of 2 and 3, items 2 and 1 one user of 1 and 3.
    assert scores[:3].tolist() == pytest.approx([1.0, 2 / 6**0.5 + 1 / 3**0.5, 1.0])
    assert scores[3] == pytest.approx(1 / 4 - 1)  # Nothing goes with it: by its one user of 3 + 1, below zero.
    assert order_of(scores)[-2:] == [3, 4]


def test_item_knn_keeps_the_nearest_items_of_each():
    scores = scores_of(fitted_on_pairs("item_knn", neighbours=2), [(1, 9)])[0]
    # Item 1 keeps itself and item 0, not item 2.
    assert scores[:2].tolist() == pytest.approx([2 / 6**0.5, 1.0])
    assert scores[2] < 0


def test_item_knn_gives_old_items_less_weight():
    baseline = fitted_on_pairs("item_knn", half_life_days=10)
    scores = scores_of(baseline, [(0, 100), (0, 90), (2, 90)])[0]
    assert scores[[0, 2]].tolist() == pytest.approx([1.0, 0.5])


def test_item_knn_finds_the_cosines_of_all_pairs():
    matrix = matrix_of(random_pairs(), 40, 12)
    lengths = np.linalg.norm(matrix, axis=0)
    baseline = fitted_on_pairs("item_knn", 40, 12, random_pairs())
    np.testing.assert_allclose(
        baseline.similarity.toarray(), matrix.T @ matrix / np.outer(lengths, lengths), rtol=1e-5, atol=1e-7
    )


def test_item_knn_finds_nearest_items_when_they_are_asked_for_as_it_finds_all():
    events = random_pairs()
    asked, all_found = (fitted_on_pairs("item_knn", 40, 12, events, neighbours=3) for _ in range(2))
    restored = make("item_knn", neighbours=3)
    restored.restore(all_found.state())  # Which needs those of all items.
    for item in (5, 0, 11):
        history = [(item, 9), ((item + 3) % 12, 8)]
        np.testing.assert_array_equal(scores_of(asked, history), scores_of(restored, history))


@pytest.mark.parametrize(("num_users", "num_pairs"), [(90, 6_000), (400, 900)])  # All are looked at, or few.
def test_item_knn_keeps_the_nearest_of_many_items(num_users: int, num_pairs: int):
    generator = np.random.default_rng(3)
    items = np.minimum(generator.geometric(0.02, num_pairs), 300) - 1
    pairs = list(zip(generator.integers(0, num_users, num_pairs).tolist(), items.tolist(), strict=True))
    kept = fitted_on_pairs("item_knn", num_users, 300, pairs, neighbours=7).similarity.toarray()
    matrix = matrix_of(pairs, num_users, 300)
    in_common = (matrix.T @ matrix).astype(np.float32)
    num_users = np.diag(in_common)
    lengths = np.sqrt(num_users)
    with np.errstate(invalid="ignore"):
        cosines = np.nan_to_num(in_common / np.outer(lengths, lengths))
    by_popularity = np.argsort(-num_users, kind="stable")
    for item in range(300):
        of_popular = cosines[item, by_popularity]
        nearest = by_popularity[np.argsort(-of_popular, kind="stable")[:7]]
        wanted = np.zeros(300, np.float32)
        wanted[nearest] = cosines[item, nearest]
        np.testing.assert_array_equal(kept[item], wanted)


def test_item_knn_keeps_the_items_of_most_users_among_equally_near_ones():
    # Both cosines with item 0 are 1/2: item 1 shares its one user of 1 and 4, item 2 two users of 4 and 4.
    pairs = [*((user, 0) for user in range(4)), (0, 1), *((user, 2) for user in (1, 2, 4, 5))]
    kept = fitted_on_pairs("item_knn", 6, 3, pairs, neighbours=2).similarity.toarray()[0]
    assert kept.tolist() == [1.0, 0.0, 0.5]


def test_user_knn_adds_up_cosines_of_the_users_of_an_item():
    scores = scores_of(fitted_on_pairs("user_knn"), [(0, 9), (1, 9)], [(0, 9), (1, 9)], user_rows=[-1, 0])
    # Users 0 and 1 have the same two items, user 2 one of them.
    assert scores[0, :3].tolist() == pytest.approx([2.0, 2.5, 0.5])
    # User 0 is not its own neighbour.
    assert scores[1, :3].tolist() == pytest.approx([1.0, 1.5, 0.5])
    assert scores[0, 3] == pytest.approx(1 / 4 - 1)


def test_user_knn_uses_the_nearest_users_only():
    scores = scores_of(fitted_on_pairs("user_knn", neighbours=2), [(0, 9), (1, 9)])[0]
    assert scores[:2].tolist() == pytest.approx([2.0, 2.0])
    assert scores[2] < 0


def test_tifu_knn_mixes_own_baskets_with_those_of_the_nearest():
    events = [(0, 0, 10), (0, 1, 10), (1, 1, 10), (2, 2, 10)]
    baseline = fitted("tifu_knn", events, neighbours=1, own_share=0.7, half_life_days=10)
    # Baskets of items 1 and 3 now, and of item 1, twice in the one, a half-life ago: weights 1 and 1/2.
    scores = scores_of(baseline, [(1, 100), (3, 100), (1, 90), (1, 90)])[0]
    # The nearest is user 1, who had item 1 alone.
    assert scores[[1, 3]].tolist() == pytest.approx([0.7 + 0.3, 0.7 * 1 / 1.5])
    assert scores[[0, 2]].max() < 0


def test_tifu_knn_does_not_count_users_among_their_own_neighbours():
    baseline = fitted("tifu_knn", [(0, 0, 10), (1, 1, 10)], neighbours=1, own_share=0.5)
    assert scores_of(baseline, [(0, 10)], user_rows=[0])[0, :2].tolist() == pytest.approx([0.5, 0.5])
    assert scores_of(baseline, [(0, 10)], user_rows=[-1])[0, 0] == pytest.approx(1.0)


def test_ease_solves_its_closed_form():
    matrix = matrix_of(random_pairs(), 40, 12)
    inverse = np.linalg.inv(matrix.T @ matrix + 3.0 * np.eye(12))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    baseline = fitted_on_pairs("ease", 40, 12, random_pairs(), l2=3.0)
    np.testing.assert_allclose(baseline.matrix, expected, atol=1e-5)
    scores = scores_of(baseline, [(2, 9), (7, 9), (2, 8)])[0]
    np.testing.assert_allclose(scores, expected[2] + expected[7], atol=1e-5)


def test_slim_is_at_the_optimum_of_each_elastic_net():
    matrix = matrix_of(random_pairs(), 40, 12)
    gram = matrix.T @ matrix
    weights = fitted_on_pairs("slim", 40, 12, random_pairs(), l1=0.5, l2=2.0).matrix.toarray()
    slopes = gram @ weights - gram + 0.5 + 2.0 * weights  # Of the objective, by each weight.
    np.fill_diagonal(slopes, 0.0)
    assert (weights > 0).sum() > 20
    assert np.abs(slopes[weights > 0]).max() < 0.01
    assert slopes[weights == 0].min() > -0.01
    assert not np.diag(weights).any()


def test_slim_gives_weights_to_the_items_with_the_most_common_users():
    weights = fitted_on_pairs("slim", neighbours=1, l1=0.01, l2=0.01).matrix.toarray()
    assert np.argwhere(weights).tolist() == [[0, 1], [1, 0], [1, 2]]


@pytest.mark.parametrize("name", ["ease", "slim"])
def test_linear_model_ranks_items_beyond_its_limit_last_by_popularity(name):
    pairs = [(user, item) for item in range(4) for user in range(6 - item)]
    baseline = fitted_on_pairs(name, 6, 5, pairs, max_items=2)
    scores = scores_of(baseline, [(0, 9), (3, 9)], [(3, 9)])
    assert order_of(scores[0])[2:] == [2, 3, 4]
    assert order_of(scores[1]) == [0, 1, 2, 3, 4]  # What it had is beyond the limit: nothing is known of it.


def test_ials_solves_for_a_user_from_the_current_history():
    baseline = fitted_on_pairs("ials", 40, 12, random_pairs(), factors=4, l2=0.5, confidence=3.0)
    items = baseline.item_factors.astype(np.float64)
    is_had = np.isin(np.arange(12), [2, 7])
    weights = np.where(is_had, 3.0, 1.0)
    solved = np.linalg.solve((items.T * weights) @ items + 0.5 * np.eye(4), (items.T * weights) @ is_had)
    np.testing.assert_allclose(scores_of(baseline, [(2, 9), (7, 9), (2, 8)])[0], items @ solved, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bpr", {"learning_rate": 0.1, "iterations": 200}),
        ("ease", {}),
        ("ials", {}),
        ("item_knn", {}),
        ("slim", {}),
        ("tifu_knn", {"neighbours": 5}),
        ("user_knn", {}),
    ],
)
def test_items_similar_to_those_of_an_unknown_user_come_first(name, options):
    # Even users have even items and odd users odd ones, but for one item of each user.
    pairs = [(user, item) for user in range(24) for item in range(user % 2, 12, 2) if user % 6 != item // 2]
    scores = scores_of(fitted_on_pairs(name, 24, 12, pairs, **options), [(0, 9), (2, 9)])[0]
    assert scores[[4, 6, 8, 10]].min() > scores[1::2].max()


def test_bpr_ranks_known_users_by_their_own_factors():
    baseline = fitted_on_pairs("bpr", 40, 12, random_pairs(), factors=4)
    scores = scores_of(baseline, [], [(2, 9)], user_rows=[3, 3])
    expected = baseline.item_factors @ baseline.user_factors[3]
    np.testing.assert_allclose(scores, [expected, expected], rtol=1e-5)


@pytest.mark.parametrize("name", ["ials", "bpr"])
def test_factorisation_without_its_package_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(
        SettingsError, match=rf"baseline '{name}': wanted the package 'implicit'.*springtide\[baselines\]"
    ):
        make(name)


@pytest.mark.parametrize("name", ["tifu_knn", "item_knn", "user_knn", "ease", "slim", "ials", "bpr"])
def test_users_without_history_get_popular_items(name):
    assert order_of(scores_of(fitted_on_pairs(name), [], [(8, 9)])[0]) == [1, 0, 2, 3, 4]
    assert order_of(scores_of(fitted_on_pairs(name), [], [(8, 9)])[1]) == [1, 0, 2, 3, 4]


def test_the_neighbours_that_are_found_as_they_are_asked_for_are_those_of_all() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 30, (400, 2)).tolist()
    observed = observed_of([(user, item, time) for time, (user, item) in enumerate(pairs)])
    asked, whole = ItemKNN(neighbours=5), ItemKNN(neighbours=5)
    for baseline in (asked, whole):
        baseline.fit(observed, 30, 30)
    assert whole.similarity.shape == (30, 30)
    assert np.diff(whole.similarity.indptr).max() == 5
    for user in range(30):
        history = [history_of([(int(item), 0) for item in observed.item_rows[observed.user_rows == user]])]
        rows = np.array([user])
        assert np.array_equal(asked.scores(rows, history, 400), whole.scores(rows, history, 400))


def test_rows_that_are_not_there_are_refused() -> None:
    bounds, columns, values = np.array([0, 2]), np.array([0, 1], np.int32), np.ones(2, np.float32)
    sums = np.zeros(2, np.float32)
    add_weighted_rows(np.array([0, 0]), np.array([1, 0.5], np.float32), bounds[:1], bounds[1:], columns, values, sums)
    assert sums.tolist() == [1.5, 1.5]
    with pytest.raises(ValueError, match="wanted rows of 0 to 0 within 2 entries, got 1"):
        add_weighted_rows(np.array([1]), np.ones(1, np.float32), bounds[:1], bounds[1:], columns, values, sums)
    with pytest.raises(ValueError, match="got 0"):
        add_weighted_rows(np.array([0]), np.ones(1, np.float32), bounds[:1], bounds[1:] + 1, columns, values, sums)
    with pytest.raises(ValueError, match="columns of one length"):
        add_weighted_rows(np.array([0]), np.ones(2, np.float32), bounds[:1], bounds[1:], columns, values, sums)


def test_baselines_fitted_on_the_same_interactions_share_what_users_have_seen(monkeypatch: pytest.MonkeyPatch):
    made: list[int] = []

    def counted(interactions: Observed, num_users: int, num_items: int) -> sparse.csr_array:
        made.append(len(interactions))
        return seen_matrix(interactions, num_users, num_items)

    monkeypatch.setattr(histories, "seen_matrix", counted)
    shared = histories.SeenMatrices()
    observed = [
        Observed(np.zeros(num, np.int32), np.arange(num, dtype=np.int32), np.arange(num), np.ones(num, np.float32))
        for num in (3, 2)
    ]
    for _ in range(2):
        for each in observed:
            np.testing.assert_array_equal(shared.of(each, 1, 4).toarray(), seen_matrix(each, 1, 4).toarray())
    assert shared.of(observed[0], 2, 4).shape == (2, 4)
    assert made == [3, 2, 3]
    observed.pop()
    del each
    assert len(shared) == 2
    observed.pop()
    assert len(shared) == 0
