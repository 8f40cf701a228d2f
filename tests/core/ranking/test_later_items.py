"""Items that come after the weights of a moment were made: added to them, in large catalogues, as if all were made."""

from collections.abc import Sequence

import numpy as np
import pytest

from springtide.events import EventBatch
from springtide.interactions import ItemGroups, Observed
from springtide.plugins.contracts import ContextWeight, Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking import moment_cache
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.top_k import best_of
from springtide.ranking.weights import ItemOrder, ItemWeights, make_context_weights
from springtide.state import LiveState
from springtide.testing import interactions_of, quick_settings
from springtide_plugins.context_weights.popularity import Popularity
from springtide_plugins.context_weights.trend import Trend

START_MS = 1_700_000_000_000
NUM_ITEMS = 3_000
SETTINGS = quick_settings(ranking={"context_weights": {"popularity": {}, "trend": {}, "repeat": {}}})


@pytest.fixture(autouse=True)
def large_catalogues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three thousand items be many."""
    monkeypatch.setattr(moment_cache, "_MIN_EXTENDED", 1_000)


@pytest.fixture
def state() -> LiveState:
    state = LiveState(SETTINGS, make_context_weights(SETTINGS.ranking, load_plugins()))
    random = np.random.default_rng(1)
    item_numbers = [*range(NUM_ITEMS), *random.zipf(1.3, 3_000).clip(max=NUM_ITEMS) - 1]
    buy(state, [(f"u{random.integers(200)}", f"i{number}") for number in item_numbers])
    return state


def buy(state: LiveState, pairs: Sequence[tuple[str, str]]) -> None:
    """Apply purchases, a second after the former ones."""
    newest_ms = state.graph.view().newest_ms or START_MS
    events = [(user, item, newest_ms + 1_000) for user, item in pairs]
    state.apply(EventBatch(interactions_of(events)))


def query_of(state: LiveState, user: str, **asked: object) -> Query:
    return Query(Moment(state.graph.view().newest_ms), user_id=user, **asked)


def full_answers(ranker: Ranker, queries: Sequence[Query]) -> list[list[str]]:
    scored = ranker.scorer().score(queries)
    return [ids for _, ids in best_of(scored.scores, [query.count for query in queries], ranker.scorer().items.ids)]


def count_of_all(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note each time that the lifts of all items are computed."""
    made: list[int] = []
    for kind in (Popularity, Trend):

        def noting(self, moment, num_items, of_all=kind.item_log_lifts):  # type: ignore[no-untyped-def]
            made.append(num_items)
            return of_all(self, moment, num_items)

        monkeypatch.setattr(kind, "item_log_lifts", noting)
    return made


def test_new_items_are_in_the_next_answer_and_only_their_weights_are_made(
    state: LiveState, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = Ranker(state, SETTINGS.ranking)
    ranker.recommend([query_of(state, "u1")])
    made = count_of_all(monkeypatch)
    random = np.random.default_rng(2)

    for number in range(30):
        # Some at once, one of them bought by many; others are bought again.
        buy(state, [(f"u{user}", f"new{number}") for user in range(40 if number % 3 else 1)])
        buy(state, [(f"u{random.integers(200)}", f"more{number}-{each}") for each in range(random.integers(4))])
        queries = [
            query_of(state, "u199", count=5),
            query_of(state, f"u{random.integers(200)}", count=20, exclude_seen=("*",)),
            query_of(state, "nobody", count=1_000),
        ]
        answers = ranker.recommend(queries)
        assert [list(answer.items.ids) for answer in answers] == full_answers(ranker, queries)
        if number % 3:
            assert f"new{number}" in answers[2].items.ids[:60], "bought by 40 of 200 just now"

    assert made == [], "wanted no weights of all items"
    ranker.refresh()
    assert made, "a refresh makes all"


def test_what_was_added_is_what_would_have_been_made(state: LiveState, monkeypatch: pytest.MonkeyPatch) -> None:
    ranker, fresh = Ranker(state, SETTINGS.ranking), Ranker(state, SETTINGS.ranking)
    ranker.recommend([query_of(state, "u1")])
    buy(state, [(f"u{number % 7}", f"new{number % 50}") for number in range(400)])
    items = state.graph.view().num_nodes("item")
    moment = Moment(state.graph.view().newest_ms)
    made = count_of_all(monkeypatch)

    added = ranker.scorer().serving.moments.at(moment, items)
    assert made == []
    whole = fresh.scorer().serving.moments.at(moment, items)

    assert added.num_items == whole.num_items == NUM_ITEMS + 50
    # The mean of all items, and the shares of the half-lives, are a little newer in the one that was made as a whole.
    np.testing.assert_allclose(added.unseen_total[NUM_ITEMS:], whole.unseen_total[NUM_ITEMS:], atol=0.2)
    order, rows = np.argsort(-added.unseen_total, kind="stable"), added.order().rows
    assert rows.tolist() == order[: len(rows)].tolist()


def test_the_weights_of_before_do_not_change(state: LiveState) -> None:
    ranker = Ranker(state, SETTINGS.ranking)
    moment = Moment(state.graph.view().newest_ms)
    before = ranker.scorer().serving.moments.at(moment, NUM_ITEMS)
    copies = [before.unseen.copy(), before.seen.copy(), before.unseen_total.copy(), before.seen_total.copy()]
    buy(state, [("u1", "new")])

    after = ranker.scorer().serving.moments.at(moment, NUM_ITEMS + 1)

    for array, copy, longer in zip(
        (before.unseen, before.seen, before.unseen_total, before.seen_total),
        copies,
        (after.unseen, after.seen, after.unseen_total, after.seen_total),
        strict=True,
    ):
        assert array.shape == copy.shape
        assert array.tolist() == copy.tolist()
        assert longer[..., :NUM_ITEMS].tolist() == copy.tolist()


def test_more_items_than_there_is_room_for_are_made_with_all(state: LiveState, monkeypatch: pytest.MonkeyPatch) -> None:
    ranker = Ranker(state, SETTINGS.ranking)
    ranker.recommend([query_of(state, "u1")])
    made = count_of_all(monkeypatch)
    buy(state, [("u1", f"new{number}") for number in range(2_000)])

    answer = ranker.recommend([query_of(state, "u2", count=1_000)])[0]

    assert made == [NUM_ITEMS + 2_000] * 2
    assert list(answer.items.ids) == full_answers(ranker, [query_of(state, "u2", count=1_000)])[0]


class Flat(ContextWeight):
    """A weight of a plugin that knows nothing of later items."""

    factors = Popularity.factors

    def __init__(self) -> None:
        self.asked: list[int] = []

    def item_log_lifts(self, moment: Moment, num_items: int) -> np.ndarray:
        self.asked.append(num_items)
        return np.zeros((1, num_items), np.float32)

    def observe(self, observed: Observed) -> None:
        """Learn nothing."""

    def regroup(self, groups: ItemGroups) -> None:
        """Take none."""


def test_a_weight_that_knows_nothing_of_later_items_is_asked_for_all() -> None:
    flat = Flat()
    state = LiveState(SETTINGS, {"flat": flat})
    buy(state, [("u1", f"i{number}") for number in range(1_500)])
    ranker = Ranker(state, SETTINGS.ranking)
    ranker.recommend([query_of(state, "u1")])
    buy(state, [("u1", "new")])

    ranker.recommend([query_of(state, "u1")])

    assert flat.asked == [1_500, 1_501]


def test_trend_takes_all_members_of_a_group_into_account() -> None:
    """A later item that has a group already borrows from it, as it does when all lifts are made."""
    trend = Trend()
    codes = np.arange(10, dtype=np.int32) % 3
    trend.regroup(ItemGroups(("kind",), (codes,), (3,)))
    rows = np.array([0, 3, 3, 6, 1, 9], np.int32)
    times = START_MS + np.arange(6, dtype=np.int64) * 86_400_000
    trend.observe(Observed(rows, rows, times, np.ones(6, np.float32)))
    whole = trend.item_log_lifts(Moment(START_MS), 12)

    for start in (4, 9, 10, 11):
        assert trend.later_item_log_lifts(Moment(START_MS), start, 12).tolist() == whole[:, start:].tolist()


@pytest.mark.parametrize("seed", range(300))
def test_an_order_with_later_items_is_that_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    num_items = int(random.integers(1, 4_000))
    totals = (random.exponential(size=num_items) * random.choice([1, 5])).astype(np.float32)
    if seed % 2:
        totals = np.round(totals)  # Many equal ones.
    if seed % 5 == 0:
        totals[random.random(num_items) < 0.1] = random.choice([np.nan, np.inf, -np.inf])
    start = int(random.integers(0, num_items + 1))
    order = ItemOrder.of(totals[:start])

    longer = order.with_later(totals, start)

    finite = np.flatnonzero(np.isfinite(totals) & (totals > order.highest))
    assert longer.rows.tolist() == finite[np.argsort(-totals[finite], kind="stable")].tolist()
    assert longer.highest == order.highest
    left = np.setdiff1d(np.flatnonzero(np.isfinite(totals)), longer.rows)
    assert (totals[left] <= longer.highest).all()


def test_room_is_taken_once_and_never_beyond_its_end() -> None:
    array = np.arange(6, dtype=np.float32)
    weights = ItemWeights(["one"], array[None], array[None], array, array).with_room()
    assert weights.has_room_for(6 + 1_024)
    assert not weights.has_room_for(7 + 1_024)
    later = ItemWeights(["one"], array[None, :2], array[None, :2], array[:2], array[:2])

    longer = weights.with_later(later)

    assert longer.unseen_total.tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert longer.has_room_for(6 + 1_024)
    assert not longer.has_room_for(7 + 1_024)
    assert weights.num_items == 6
