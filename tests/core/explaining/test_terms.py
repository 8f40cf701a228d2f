"""Why an item has its rank: the terms add up to the score, and the strongest are put into words."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pytest

from springtide.clock import MS_PER_DAY
from springtide.errors import InvalidRequestError
from springtide.events.model import EventBatch, NodeDelete
from springtide.explaining.reasons import FactorTerm, ItemHabit, habit_of, sentence_of
from springtide.explaining.terms import explain, factor_terms
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import ContextWeight, Factor, History, Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings
from springtide.testing import even_odd_events, even_odd_state, history_of, interactions_of, quick_model, quick_settings
from springtide_plugins.context_weights.repeat import Cycle
from springtide_plugins.context_weights.session import Session

PLUGINS = load_plugins()
SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 1_000)
EXPONENTS = Exponents(
    unseen=TermExponents(
        4.0, {"popularity": {"share": 0.5}, "calendar": {"hour": 0.3, "year": 1.0}, "trend": {"7d": 0.4}}
    ),
    seen=TermExponents(
        1.5, {"popularity": {"share": 0.2}, "trend": {"28d": 0.3}, "repeat": {"had": -0.5, "count": 0.7}}
    ),
)


def factor_of(weight: str, name: str) -> Factor:
    """Return a factor of a built-in context weight; for ``tides``, which is none, one without words."""
    if weight == "tides":
        return Factor(name)
    made = PLUGINS.make("context weight", PartSettings(name=weight))
    return next(factor for factor in made.factors if factor.name == name)


def term(weight: str, name: str, lift: float, exponent: float = 1.0) -> FactorTerm:
    return FactorTerm(weight, factor_of(weight, name), math.log(lift), exponent)


@pytest.fixture
def ranker() -> Ranker:
    names = ("popularity", "calendar", "trend", "repeat")
    settings = quick_settings(model={"width": 16}, ranking={"context_weights": {name: {} for name in names}})
    state = even_odd_state(SIZE, settings)
    model = ServingModel.from_artifact(quick_model(state, settings), PLUGINS)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(dataclasses.replace(model, version="000001", exponents=EXPONENTS))
    return ranker


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ([term("calendar", "hour", 2.0)], "wanted 2.0× as much as usual at this hour"),
        ([term("calendar", "weekday", 12.3)], "wanted 12× as much as usual on this day of the week"),
        # The two of the year share one lift: 2 × 1.55.
        (
            [term("calendar", "year", 2.0), term("calendar", "year_near", 1.55, 0.1)],
            "wanted 3.1× as much as usual at this time of year",
        ),
        # Two half-lives overlap: the one that counts most speaks.
        ([term("trend", "7d", 3.0, 0.2), term("trend", "28d", 1.5)], "wanted 1.5× as much of late as it usually is"),
        ([term("occasions", "near", 3.1)], "wanted 3.1× as much as usual around this occasion"),
        ([term("place", "place", 1.2)], "wanted 1.2× as much as usual in this place"),
        ([term("weather", "weather", 1.3)], "wanted 1.3× as much as usual in this weather"),
        ([term("reorder", "rate", 1.4)], "had again 1.4× as often as the usual item"),
        ([term("popularity", "share", 1500.0, 0.5)], "chosen 1,500× as often as the average item"),
        ([term("tides", "high{water}", 3.24, 0.5)], "tides/high{water}: ×1.8"),
        # 0.25 to the power of -0.5 is 2: wanted for being seldom wanted, which no template says.
        ([term("calendar", "hour", 0.25, -0.5)], "calendar/hour: ×2.0"),
    ],
)
def test_each_factor_is_worded(terms: list[FactorTerm], words: str) -> None:
    assert sentence_of(terms) == words


def test_strongest_reasons_come_first_and_weak_ones_not_at_all() -> None:
    terms = [
        term("calendar", "hour", 1.04),
        term("calendar", "weekday", 1.5),
        term("calendar", "year", 3.0),
        term("popularity", "share", 0.5),
        term("trend", "7d", 9.0, 0.0),
    ]

    assert sentence_of(terms, cosine_gain=0.7) == (  # e^0.7 is 2.0
        "wanted 3.0× as much as usual at this time of year; it suits what you and people like you choose; "
        "wanted 1.5× as much as usual on this day of the week"
    )
    assert sentence_of(terms[:1]) == ""


@pytest.mark.parametrize(
    ("habit", "words"),
    [
        (ItemHabit(4, 12.3, 11.2), "you choose it about every 12 days, and last did 11 days ago"),
        (ItemHabit(9, 1.2, 0.3), "you choose it about every day, and last did today"),
        (ItemHabit(1, None, 1.1), "you chose it yesterday"),
    ],
)
def test_habit_is_worded_where_it_speaks_for_the_item(habit: ItemHabit, words: str) -> None:
    terms = [term("repeat", "had", math.e, 2.0), term("repeat", "count", 3.0, -0.5)]

    assert sentence_of(terms, habit=habit) == words
    assert sentence_of([term("repeat", "had", math.e, -2.0)], habit=habit) == ""


@pytest.mark.parametrize(
    ("habit", "terms", "words"),
    [
        # The bump is 1 where the usual gap has passed; e^0.6 is 1.8.
        (
            ItemHabit(4, 12.3, 11.2),
            [FactorTerm("cycle", factor_of("cycle", "due"), 0.99, 0.6)],
            "it is about due: you choose it about every 12 days, and last did 11 days ago",
        ),
        (
            ItemHabit(1, None, 28.4),
            [FactorTerm("cycle", factor_of("cycle", "due"), 0.98, 0.6)],
            "it is about due: you chose it 28 days ago",
        ),
        # A bump of 0.1 is no word for being due, however large its exponent.
        (
            ItemHabit(4, 12.3, 2.1),
            [FactorTerm("cycle", factor_of("cycle", "due"), 0.1, 4.0)],
            "you choose it about every 12 days, and last did 2 days ago",
        ),
        (ItemHabit(1, None, 4 / 1_440), [term("session", "touched", math.e, 2.0)], "you touched it 4 minutes ago"),
        (ItemHabit(1, None, 70 / 86_400), [term("session", "strength", 1.75, 2.0)], "you touched it a minute ago"),
        (ItemHabit(1, None, 20 / 86_400), [term("session", "touched", math.e, 2.0)], "you touched it just now"),
        (
            ItemHabit(5, 7.2, 3 / 1_440),
            [term("session", "touched", math.e, 1.0), term("repeat", "had", math.e, 0.5)],
            "you touched it 3 minutes ago, and choose it about every 7 days",
        ),
        # Having touched it counts for the item, how strongly counts against it: together they are no reason, habit is.
        (
            ItemHabit(5, 7.2, 3 / 1_440),
            [
                term("session", "touched", math.e, 1.0),
                term("session", "strength", 2.0, -1.5),
                term("repeat", "had", math.e, 0.5),
            ],
            "you choose it about every 7 days, and last did today",
        ),
    ],
)
def test_what_is_due_and_what_was_just_touched_are_worded(
    habit: ItemHabit, terms: list[FactorTerm], words: str
) -> None:
    assert sentence_of(terms, habit=habit) == words


def test_what_was_just_bought_and_is_not_bought_again_is_no_reason() -> None:
    terms = [term("repeat", "had", math.e, 1.0), term("session", "touched", math.e, -1.5)]

    assert sentence_of(terms, habit=ItemHabit(1, None, 0.001)) == ""


def test_sentence_of_a_real_history_tells_its_own_numbers() -> None:
    days = [0, 10, 20]
    history = history_of([(7, day * MS_PER_DAY) for day in days] + [(8, 30 * MS_PER_DAY - 5 * 60_000)])
    now = Moment(30 * MS_PER_DAY)
    weights = {"cycle": Cycle(), "session": Session()}
    exponents = TermExponents(1.0, {"cycle": {"due": 1.0}, "session": {"touched": 1.0}})

    sentences = {
        row: sentence_of(
            factor_terms(weights, exponents, history, now, row, 9), habit=habit_of(history, row, now.timestamp_ms)
        )
        for row in (7, 8)
    }

    assert sentences == {
        7: "it is about due: you choose it about every 10 days, and last did 10 days ago",
        8: "you touched it 5 minutes ago",
    }


def test_habit_counts_days_and_the_gaps_between_them() -> None:
    days = np.array([30, 29, 20, 10, 10])
    history = History(np.array([7, 8, 7, 7, 7], np.int32), days * MS_PER_DAY + 5, np.ones(5, np.float32))

    assert habit_of(history, 7, 33 * MS_PER_DAY + 5) == ItemHabit(num_days=3, gap_days=10.0, days_since=3.0)
    assert habit_of(history, 8, 33 * MS_PER_DAY + 5) == ItemHabit(num_days=1, gap_days=None, days_since=4.0)
    assert habit_of(history, 9, 33 * MS_PER_DAY) is None


def test_explanation_adds_up_to_the_score_and_the_place_of_the_ranking(ranker: Ranker) -> None:
    query = Query(NOW, user_id="u3", count=SIZE)
    [ranking] = ranker.recommend([query])

    for place, item in enumerate(ranking.items, start=1):
        explanation = explain(ranker.scorer(), query, item.item_id)
        assert explanation.score == pytest.approx(item.score, abs=1e-4)
        assert explanation.cosine == pytest.approx(item.cosine, abs=1e-5)
        assert explanation.rank == place
        for name, terms in explanation.weights.items():
            together = math.exp(sum(term.log_weight for term in terms))
            assert together == pytest.approx(item.weights.get(name, 1.0), rel=1e-4)
        is_seen = int(item.item_id[1:]) % 2 == 1 and item.item_id != "i3"  # The diagonal is withheld.
        assert explanation.cosine_exponent == (1.5 if is_seen else 4.0)


def test_every_factor_is_there_with_its_exponent(ranker: Ranker) -> None:
    terms = explain(ranker.scorer(), Query(NOW, user_id="u3"), "i4").terms
    of_calendar = {term.factor.name: term.exponent for term in terms if term.weight == "calendar"}

    assert of_calendar == pytest.approx({"hour": 0.3, "weekday": 0.0, "year": 1.0, "year_near": 0.0})
    assert {term.log_lift for term in terms if term.weight == "repeat"} == {0.0}


def test_unknown_item_is_refused(ranker: Ranker) -> None:
    with pytest.raises(InvalidRequestError, match="no item with the id 'nothing'"):
        explain(ranker.scorer(), Query(NOW, user_id="u3"), "nothing")


def test_unknown_time_zone_is_the_default_one(ranker: Ranker) -> None:
    lost = dataclasses.replace(NOW, attributes={"time_zone": "Nowhere/At_All"})

    assert explain(ranker.scorer(), Query(lost, user_id="u3"), "i3") == explain(
        ranker.scorer(), Query(NOW, user_id="u3"), "i3"
    )


def test_forgotten_items_do_not_count_in_the_rank(ranker: Ranker) -> None:
    query = Query(NOW, user_id="u3", count=SIZE)
    best, second, *_ = ranker.recommend([query])[0].items
    assert explain(ranker.scorer(), query, second.item_id).rank == 2

    delete = NodeDelete("item", best.item_id, NOW.timestamp_ms)
    ranker._state.apply(EventBatch(interactions_of([]), deletes=[delete]))

    assert explain(ranker.scorer(), query, second.item_id).rank == 1
    with pytest.raises(InvalidRequestError, match="no item with the id"):
        explain(ranker.scorer(), query, best.item_id)


@pytest.mark.parametrize("has_model", [True, False])
def test_forgotten_items_do_not_count_in_the_rank_after_a_refresh(ranker: Ranker, has_model: bool) -> None:
    if not has_model:
        ranker.swap(None)
    query = Query(NOW, user_id="u3", count=SIZE)
    best, second, *_ = ranker.recommend([query])[0].items
    delete = NodeDelete("item", best.item_id, NOW.timestamp_ms)
    ranker._state.apply(EventBatch(interactions_of([]), deletes=[delete]))
    ranker.refresh()

    assert explain(ranker.scorer(), query, second.item_id).rank == 1


class Tides(ContextWeight):
    """Item 4 is wanted three times as much at high tide, and the user's items are had with the moon."""

    factors = (
        Factor("high", words="wanted {lift} as much as usual at high tide"),
        Factor("moon", is_signed=True, habit="had"),
    )

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32]:
        lifts = np.zeros((2, num_items), np.float32)
        lifts[0, 4] = math.log(3)
        return lifts

    def history_log_lifts(self, history: History, moment: Moment) -> npt.NDArray[np.float32]:
        items, _ = history.distinct()
        return np.stack([np.zeros(len(items)), np.ones(len(items))]).astype(np.float32)


def test_a_weight_from_outside_brings_its_own_words() -> None:
    exponents = TermExponents(1.0, {"tides": {"high": 1.0, "moon": 0.5}})
    history, now = history_of([(7, 8 * MS_PER_DAY)]), Moment(9 * MS_PER_DAY)

    sentences = [
        sentence_of(
            factor_terms({"tides": Tides()}, exponents, history, now, row, 9),
            habit=habit_of(history, row, now.timestamp_ms),
        )
        for row in (4, 7)
    ]

    assert sentences == ["wanted 3.0× as much as usual at high tide", "you chose it yesterday"]


@pytest.mark.parametrize("words", ["wanted {times} as much", "wanted {}", "wanted {lift"])
def test_words_that_cannot_be_filled_in_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"wanted words with \{lift\} alone|expected '}'"):
        Factor("high", words=words)
