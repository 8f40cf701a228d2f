"""Rankings over a live state: what is asked, what comes first, and why."""

import dataclasses
import datetime as dt
import math

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.errors import InvalidRequestError, ModelError
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import ContextWeight, Factor, ItemGroups, Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.answers import FAMILIARITY
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.state import LiveState
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings, state_of

PLUGINS = load_plugins()
SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 1_000)
ALL_WEIGHTS = {"popularity": {}, "calendar": {}, "trend": {}, "repeat": {}}
EXPONENTS = Exponents(
    unseen=TermExponents(
        4.0,
        {
            "popularity": {"share": 0.5},
            "calendar": {"hour": 0.3, "weekday": 0.2, "year": 1.0, "year_near": 0.1},
            "trend": {"7d": 0.4},
        },
    ),
    seen=TermExponents(
        1.5, {"popularity": {"share": 0.2}, "trend": {"28d": 0.3}, "repeat": {"had": -0.5, "count": 0.7}}
    ),
)


LATEST_FOUR = {"name": "tgat", "options": {"num_latest": 4}}


def settings_of(encoder="lightgcn", **sections):
    aggregator = "sum" if encoder == "lightgcn" else "mean"
    model = {"width": 16, "encoder": encoder, "aggregator": {"name": aggregator}}
    return quick_settings(model=model, **sections)


def ranker_of(state, settings, exponents=None, version="000001") -> Ranker:
    model = ServingModel.from_artifact(quick_model(state, settings), PLUGINS)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(dataclasses.replace(model, version=version, exponents=exponents or model.exponents))
    return ranker


@pytest.fixture
def state():
    return even_odd_state(SIZE)


@pytest.fixture
def ranker(state):
    """Ranks by cosine alone."""
    return ranker_of(state, settings_of())


@pytest.fixture
def weighted():
    """A ranker and its state, with every context weight."""
    settings = settings_of(ranking={"context_weights": ALL_WEIGHTS})
    state = even_odd_state(SIZE, settings)
    return ranker_of(state, settings, EXPONENTS), state


def take(state, *events: tuple[str, str, int]) -> None:
    state.apply(EventBatch(interactions_of(events)))


def ask(ranker: Ranker, **query):
    (ranking,) = ranker.recommend([Query(**{"moment": NOW, **query})])
    return ranking


def ids(ranking) -> list[str]:
    return [item.item_id for item in ranking.items]


@pytest.mark.parametrize("encoder", ["lightgcn", "graphsage"])
def test_first_unseen_item_is_the_withheld_one(encoder):
    ranker = ranker_of(even_odd_state(SIZE), settings_of(encoder, training={"steps": 150}))
    for number in range(SIZE):
        assert ids(ask(ranker, user_id=f"u{number}", exclude_seen=("*",), count=1)) == [f"i{number}"]


@pytest.mark.parametrize("encoder", ["lightgcn", "graphsage", LATEST_FOUR], ids=str)
@pytest.mark.parametrize("half_life_days", [None, 3.0])
def test_folding_a_known_user_in_gives_the_trained_vector(encoder, half_life_days):
    settings = settings_of(encoder, training={"edge_half_life_days": half_life_days})
    state = even_odd_state(SIZE)
    take(state, ("u0", "i2", NOW.timestamp_ms), ("u0", "i2", NOW.timestamp_ms))
    model = ServingModel.from_artifact(quick_model(state, settings), PLUGINS)
    trained = Ranker(state, settings.ranking)
    trained.swap(model)
    # A model that says it saw nothing of anybody has to fold everybody in.
    folding = Ranker(state, settings.ranking)
    folding.swap(dataclasses.replace(model, num_interactions=model.num_interactions * 0 - 1))
    for number in (0, 1, 7):
        expected, found = (ask(one, user_id=f"u{number}", count=SIZE) for one in (trained, folding))
        of_expected = {item.item_id: item.cosine for item in expected.items}
        assert {item.item_id: item.cosine for item in found.items} == pytest.approx(of_expected, abs=2e-6)


def test_attention_over_the_latest_knows_the_last_click():
    state = even_odd_state(SIZE)
    ranker = ranker_of(state, settings_of(LATEST_FOUR))

    def cosines():
        return {item.item_id: item.cosine for item in ask(ranker, user_id="u0", count=SIZE).items}

    before = cosines()
    take(state, ("u0", "i5", NOW.timestamp_ms))
    after = cosines()
    assert after.keys() == before.keys()
    assert max(abs(after[item] - before[item]) for item in after) > 0.01
    assert after["i5"] > before["i5"]


@pytest.mark.parametrize("query", [{"user_id": "u4"}, {"user_id": "u5", "exclude_seen": ("*",)}, {"user_id": "?"}])
def test_score_is_cosine_over_temperature_plus_the_logs_of_the_weights(weighted, query):
    ranker, _ = weighted
    ranking = ask(ranker, count=SIZE, **query)
    assert ranking.items
    for item in ranking.items:
        logs = sum(math.log(weight) for weight in item.weights.values())
        assert item.score == pytest.approx(item.cosine * EXPONENTS.unseen.cosine + logs, abs=1e-4)


def test_familiarity_stands_for_what_the_cosine_counts_otherwise_for_own_items(weighted):
    ranker, _ = weighted
    of_item = {item.item_id: item for item in ask(ranker, user_id="u4", count=SIZE).items}
    own, new = of_item["i6"], of_item["i4"]
    assert own.weights[FAMILIARITY] == pytest.approx(math.exp((1.5 - 4.0) * own.cosine), rel=1e-4)
    assert new.weights[FAMILIARITY] == 1.0
    assert own.weights["repeat"] == pytest.approx(math.exp(-0.5), rel=1e-4)  # Had once.
    assert new.weights["repeat"] == 1.0


def test_items_come_best_first(weighted):
    ranker, _ = weighted
    scores = [item.score for item in ask(ranker, user_id="u4", count=SIZE).items]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == SIZE


def test_weights_name_those_that_count(weighted):
    ranker, _ = weighted
    (item,) = ask(ranker, user_id="nobody", count=1).items
    assert set(item.weights) == {"popularity", "calendar", "trend"}


def test_weights_that_nobody_wants_are_left_out_and_all_else_stays(weighted):
    query = {"user_id": "u4", "count": 5}
    full, bare = (ask(weighted[0], **query, with_weights=wanted) for wanted in (True, False))
    assert full.items.names
    assert full.items.weights.shape == (5, len(full.items.names))
    assert (list(bare.items.names), bare.items.weights.shape) == ([], (5, 0))
    assert bare.items.ids == full.items.ids
    assert (bare.items.scores.tolist(), bare.items.cosines.tolist()) == (
        full.items.scores.tolist(),
        full.items.cosines.tolist(),
    )
    assert bare.items[0].weights == {}


def test_seen_items_are_left_out_by_relation_type_or_all(state, ranker):
    take(state, ("u0", "i2", NOW.timestamp_ms))
    state.apply(EventBatch(interactions_of([("u0", "i1", NOW.timestamp_ms)], relation="dislike")))
    state.apply(EventBatch(interactions_of([("u0", "i3", NOW.timestamp_ms)], relation="rating>=4")))

    def left_out(*names: str) -> set[str]:
        found = ids(ask(ranker, user_id="u0", count=SIZE, exclude_seen=names))
        return {f"i{number}" for number in range(SIZE)} - set(found)

    evens = {f"i{number}" for number in range(2, SIZE, 2)}
    assert left_out("purchase") == evens
    assert left_out("dislike") == {"i1"}
    assert left_out("rating>=4") == {"i3"}
    assert left_out("rating") == {"i3"}, "a type stands for all rules of it"
    assert left_out("dislike", "rating") == {"i1", "i3"}
    assert left_out("*") == evens | {"i1", "i3"}
    assert left_out() == set()


def test_what_was_shown_comes_again_unless_its_type_is_named(state, ranker):
    state.apply(EventBatch(interactions_of([("u0", "i3", NOW.timestamp_ms)], relation="impression")))
    assert "i3" in ids(ask(ranker, user_id="u0", count=SIZE, exclude_seen=("*",)))
    assert "i3" not in ids(ask(ranker, user_id="u0", count=SIZE, exclude_seen=("*", "impression")))


def test_unknown_interaction_lists_the_choices(ranker):
    choices = r"no interaction named 'bought' \(choices: \*, click, .*purchase"
    with pytest.raises(InvalidRequestError, match=choices) as refused:
        ask(ranker, user_id="u0", exclude_seen=("purchase", "bought"))
    assert refused.value.field == "exclude_seen[1]"


def test_count_below_one_is_refused(ranker):
    with pytest.raises(InvalidRequestError, match="wanted at least 1, got 0") as refused:
        ask(ranker, count=0)
    assert refused.value.field == "count"


def test_listed_items_are_left_out_or_alone_allowed(ranker):
    assert "i2" not in ids(ask(ranker, user_id="u0", count=SIZE, exclude_items=("i2", "no such item")))
    allowed = ask(ranker, user_id="u0", count=SIZE, allow_items=("i4", "i6", "no such item"))
    assert set(ids(allowed)) == {"i4", "i6"}
    both = ask(ranker, user_id="u0", count=SIZE, allow_items=("i4", "i6"), exclude_items=("i6",))
    assert ids(both) == ["i4"]


def test_category_filters_must_all_pass(ranker, state):
    brands = {"i0": ("a",), "i2": ("b", "c"), "i4": ("c",)}
    upserts = [NodeUpsert("item", item, categories={"brand": brand}) for item, brand in brands.items()]
    upserts.append(NodeUpsert("item", "i2", categories={"size": ("L",)}))
    state.apply(EventBatch(interactions_of([]), upserts=upserts))
    by_brand = ask(ranker, user_id="u0", count=SIZE, category_filters=(("brand", ("c", "a")),))
    assert set(ids(by_brand)) == {"i0", "i2", "i4"}
    both = ask(ranker, user_id="u0", category_filters=(("brand", ("c",)), ("size", ("L", "M"))))
    assert ids(both) == ["i2"]
    assert ids(ask(ranker, user_id="u0", category_filters=(("brand", ("no such brand",)),))) == []


def test_unknown_attribute_lists_the_choices(ranker, state):
    upsert = NodeUpsert("item", "i0", categories={"brand": ("a",)}, numbers={"price": 1.0})
    state.apply(EventBatch(interactions_of([]), upserts=[upsert]))
    for attribute in ("price", "colour"):
        filters = (("brand", ("a",)), (attribute, ("red",)))
        with pytest.raises(InvalidRequestError, match=rf"named '{attribute}' \(choices: brand\)") as refused:
            ask(ranker, category_filters=filters)
        assert refused.value.field == "category_filters[1].attribute"


def test_more_than_there_are_gives_all(ranker):
    assert len(ask(ranker, user_id="u0", count=10_000).items) == SIZE


def test_known_user_is_answered_by_the_learned_vector(ranker):
    ranking = ask(ranker, user_id="u0")
    assert (ranking.personalization, ranking.model_version) == ("learned", "000001")


def test_unknown_user_is_answered_by_context_and_the_mean_user(ranker):
    ranking = ask(ranker, user_id="nobody")
    assert ranking.personalization == "context_only"
    table = ranker.scorer().serving.table
    wanted = [float(table.vectors[int(item.item_id[1:])] @ table.model.mean_user) for item in ranking.items]
    assert [item.cosine for item in ranking.items] == pytest.approx(wanted, abs=1e-6)


def test_user_who_came_after_the_training_is_folded_in(ranker, state):
    take(state, ("new user", "i2", NOW.timestamp_ms), ("new user", "i4", NOW.timestamp_ms))
    ranking = ask(ranker, user_id="new user", count=SIZE // 2 - 2, exclude_seen=("*",))
    assert ranking.personalization == "folded_in"
    assert all(int(item_id[1:]) % 2 == 0 for item_id in ids(ranking))


def test_recent_items_speak_for_who_has_no_id(ranker):
    ranking = ask(ranker, recent_items=("i1", "i5", "no such item"), count=SIZE // 2 - 2, exclude_seen=("*",))
    assert ranking.personalization == "folded_in"
    assert all(int(item_id[1:]) % 2 == 1 for item_id in ids(ranking))
    assert not {"i1", "i5"} & set(ids(ranking))


def test_recent_items_are_known_items_for_the_weights(weighted):
    ranker, _ = weighted
    (item,) = ask(ranker, recent_items=("i1",), allow_items=("i1",)).items
    assert item.weights["repeat"] == pytest.approx(math.exp(-0.5), rel=1e-4)


def test_new_user_is_personal_by_attributes():
    settings = settings_of()
    upserts = [
        NodeUpsert("user", f"u{number}", categories={"side": ("even" if number % 2 == 0 else "odd",)})
        for number in range(SIZE)
    ]
    state = state_of(even_odd_events(SIZE), settings, upserts=upserts)
    ranker = ranker_of(state, settings)
    assert ask(ranker, user_id="new user").personalization == "context_only"
    new_user = NodeUpsert("user", "new user", categories={"side": ("odd",)})
    state.apply(EventBatch(interactions_of([]), upserts=[new_user]))
    ranking = ask(ranker, user_id="new user", count=6)
    assert ranking.personalization == "folded_in"
    assert all(int(item_id[1:]) % 2 == 1 for item_id in ids(ranking))


def test_without_a_model_the_fallback_answers(state):
    ranker = Ranker(state, quick_settings(ranking={"context_weights": {}}).ranking)
    ranking = ask(ranker, user_id="u0", count=5)
    assert (ranking.personalization, ranking.model_version, len(ranking.items)) == ("fallback", "", 5)
    assert ranker.model_version == ""


def test_fallback_prefers_what_is_popular_and_what_the_user_has_again():
    settings = quick_settings(ranking={"context_weights": ALL_WEIGHTS})
    events = [("u0", "i0", 1), *[("u1", "i1", number) for number in range(20)], ("u2", "i2", 30)]
    ranker = Ranker(state_of(events, settings), settings.ranking)
    assert ids(ask(ranker, user_id="nobody", moment=Moment(40), count=1)) == ["i1"]
    assert ids(ask(ranker, user_id="u2", moment=Moment(40), count=1)) == ["i2"]


def test_nothing_at_all_gives_an_empty_answer():
    settings = quick_settings()
    assert ask(Ranker(state_of((), settings), settings.ranking), user_id="u0").items == ()


@pytest.mark.parametrize("has_model", [True, False])
def test_forgotten_items_are_never_returned_and_others_take_their_place(state, has_model):
    settings = settings_of()
    ranker = ranker_of(state, settings) if has_model else Ranker(state, settings.ranking)
    first = ids(ask(ranker, user_id="u0", count=5))
    deletes = [NodeDelete("item", item_id, NOW.timestamp_ms) for item_id in first[:4]]
    state.apply(EventBatch(interactions_of([]), deletes=deletes))
    for _ in range(2):  # Before the item table is rebuilt, and after.
        found = ids(ask(ranker, user_id="u0", count=5))
        assert len(found) == 5
        assert not {*first[:4], ""} & set(found)
        assert len(ids(ask(ranker, user_id="u0", count=SIZE))) == SIZE - 4
        ranker.refresh()


def test_forgotten_user_is_unknown(ranker, state):
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("user", "u0", NOW.timestamp_ms)]))
    assert ask(ranker, user_id="u0").personalization == "context_only"  # Whatever the served model still knows.
    assert "repeat" not in ask(ranker, user_id="u0").items[0].weights


def test_swap_changes_the_version_and_back_to_none(state):
    settings = settings_of()
    ranker = ranker_of(state, settings)
    other = ServingModel.from_artifact(quick_model(state, settings_of("graphsage")), PLUGINS)
    ranker.swap(dataclasses.replace(other, version="000002"))
    assert ask(ranker, user_id="u0").model_version == ranker.model_version == "000002"
    ranker.swap(None)
    assert ask(ranker, user_id="u0").personalization == "fallback"


def test_users_kept_for_one_model_are_not_used_for_the_next(state):
    settings = settings_of()
    ranker = ranker_of(state, settings)
    take(state, ("u0", "i2", NOW.timestamp_ms))
    before = ask(ranker, user_id="u0", count=SIZE)
    other = settings_of(training={"seed": 5})
    ranker.swap(ServingModel.from_artifact(quick_model(state, other), PLUGINS))
    alone = Ranker(state, settings.ranking)
    alone.swap(ServingModel.from_artifact(quick_model(state, other), PLUGINS))
    after = ask(ranker, user_id="u0", count=SIZE)
    assert after == ask(alone, user_id="u0", count=SIZE)
    assert after != before


def test_refresh_takes_up_new_items(ranker, state):
    take(state, *[(f"u{number}", "new item", NOW.timestamp_ms) for number in range(0, SIZE, 2)])
    assert "new item" not in ids(ask(ranker, user_id="u0", count=SIZE + 1))
    ranker.refresh()
    found = {item.item_id: item.cosine for item in ask(ranker, user_id="u0", count=SIZE + 1).items}
    assert found["new item"] > 0.5 > max(found[f"i{number}"] for number in range(1, SIZE, 2))


def test_refresh_follows_a_new_item_as_its_users_come(ranker, state):
    take(state, ("u1", "new item", NOW.timestamp_ms))
    ranker.refresh()
    query = {"user_id": "u0", "allow_items": ("new item",)}
    (odd,) = ask(ranker, **query).items
    take(state, *[(f"u{number}", "new item", NOW.timestamp_ms) for number in range(0, SIZE, 2)])
    ranker.refresh()
    (even,) = ask(ranker, **query).items
    assert even.cosine > odd.cosine + 0.3


def test_new_item_is_reachable_by_its_attributes_before_anybody_took_it():
    settings = settings_of()
    upserts = [
        NodeUpsert("item", f"i{number}", categories={"side": ("even" if number % 2 == 0 else "odd",)})
        for number in range(SIZE)
    ]
    state = state_of(even_odd_events(SIZE), settings, upserts=upserts)
    ranker = ranker_of(state, settings)
    new_item = NodeUpsert("item", "new item", categories={"side": ("odd",)})
    state.apply(EventBatch(interactions_of([]), upserts=[new_item]))
    ranker.refresh()
    cosines = {}
    for user_id in ("u0", "u1"):
        (item,) = ask(ranker, user_id=user_id, allow_items=("new item",)).items
        cosines[user_id] = item.cosine
    assert cosines["u1"] > 0.3 > cosines["u0"]


@pytest.mark.parametrize("user_id", ["u0", "new user"])
def test_next_event_changes_the_answer_at_once(ranker, state, user_id):
    if user_id == "new user":
        take(state, (user_id, "i2", NOW.timestamp_ms))
    before = ask(ranker, user_id=user_id, count=SIZE)
    assert ask(ranker, user_id=user_id, count=SIZE) == before
    take(state, *[(user_id, f"i{number}", NOW.timestamp_ms + number) for number in range(1, SIZE, 2)])
    after = ask(ranker, user_id=user_id, count=SIZE)
    cosines = [{item.item_id: item.cosine for item in ranking.items} for ranking in (before, after)]
    assert cosines[1]["i1"] > cosines[0]["i1"] + 0.1


def test_late_event_changes_the_answer_too(weighted):
    ranker, state = weighted
    query = {"user_id": "u0", "allow_items": ("i1",)}
    (before,) = ask(ranker, **query).items
    take(state, ("u0", "i1", 1_000))
    (after,) = ask(ranker, **query).items
    assert before.weights.get("repeat", 1.0) == 1.0
    assert after.weights["repeat"] != 1.0


def test_event_beside_an_eviction_changes_the_answer():
    """The user has as many interactions as at the training, but not the same."""
    settings = settings_of(graph={"max_edges": len(even_odd_events(SIZE))})
    state = even_odd_state(SIZE, settings)
    ranker = ranker_of(state, settings)
    first_user, first_item, _ = even_odd_events(SIZE)[0]
    before = ask(ranker, user_id=first_user)
    take(state, (first_user, "i1" if first_item != "i1" else "i3", NOW.timestamp_ms))
    state.graph.evict()
    assert ask(ranker, user_id=first_user) != before


def test_batch_gives_what_single_queries_give(weighted):
    ranker, state = weighted
    take(state, ("new user", "i2", NOW.timestamp_ms))
    queries = [
        Query(NOW, "u0", count=3),
        Query(NOW, "nobody", count=7),
        Query(Moment(NOW.timestamp_ms + 90 * MS_PER_DAY), "u1", count=SIZE, exclude_seen=("*",)),
        Query(NOW, "new user", allow_items=("i3",)),
        Query(NOW, recent_items=("i5",)),
    ]
    together = ranker.recommend(queries)
    for query, ranking in zip(queries, together, strict=True):
        (alone,) = ranker.recommend([query])
        assert ids(alone) == ids(ranking)
        assert alone.personalization == ranking.personalization
        for one, other in zip(alone.items, ranking.items, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
    assert ranker.recommend([]) == []


def test_july_is_not_december():
    def ms(month: int, day: int, year: int) -> int:
        return int(dt.datetime(year, month, day, 12, tzinfo=dt.UTC).timestamp() * 1_000)

    settings = settings_of(ranking={"context_weights": ALL_WEIGHTS})
    events = [
        *[(f"u{number}", "ice", ms(7, 1 + number, 2022)) for number in range(20)],
        *[(f"u{number}", "holly", ms(12, 1 + number, 2022)) for number in range(20)],
        ("u0", "bread", ms(12, 31, 2022)),
    ]
    state = state_of(events, settings)
    ranker = ranker_of(state, settings, EXPONENTS)
    assert ids(ask(ranker, user_id="nobody", moment=Moment(ms(7, 10, 2023)), count=1)) == ["ice"]
    assert ids(ask(ranker, user_id="nobody", moment=Moment(ms(12, 10, 2023)), count=1)) == ["holly"]


def test_moment_in_the_past_looks_at_what_was_before_it(weighted):
    ranker, _ = weighted
    start = Moment(even_odd_events(SIZE)[0][2] - 1)
    assert all(item.weights.get("repeat", 1.0) == 1.0 for item in ask(ranker, user_id="u0", moment=start).items)


def test_similar_items_are_the_nearest(ranker):
    found, version = ranker.similar("i0", SIZE // 2 - 1)
    assert version == "000001"
    assert "i0" not in dict(found)
    assert all(int(item_id[1:]) % 2 == 0 for item_id in dict(found))
    assert list(dict(found).values()) == sorted(dict(found).values(), reverse=True)


def test_similar_items_leave_out_what_is_forgotten(ranker, state):
    ((nearest, _),), _ = ranker.similar("i0", 1)
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", nearest, NOW.timestamp_ms)]))
    found, _ = ranker.similar("i0", SIZE)
    assert len(found) == SIZE - 2
    assert not {nearest, ""} & set(dict(found))


def test_similar_items_pass_category_filters(ranker, state):
    upsert = NodeUpsert("item", "i5", categories={"brand": ("a",)})
    state.apply(EventBatch(interactions_of([]), upserts=[upsert]))
    found, _ = ranker.similar("i0", Query(Moment(0), count=5, category_filters=(("brand", ("a",)),)))
    assert list(dict(found)) == ["i5"]


def test_similar_items_of_an_unknown_item_are_refused(ranker, state):
    with pytest.raises(InvalidRequestError, match="no item with the id 'no such item'"):
        ranker.similar("no such item", 5)
    with pytest.raises(ModelError, match="no model yet"):
        Ranker(state, quick_settings().ranking).similar("i0", 5)


def test_vectors_of_folded_items_have_length_one(ranker, state):
    take(state, ("u0", "new item", NOW.timestamp_ms))
    ranker.refresh()
    norms = np.linalg.norm(ranker._serving.table.vectors, axis=1)
    assert norms == pytest.approx(np.ones(SIZE + 1), abs=1e-5)


class Somewhere(ContextWeight):
    """Doubles the odds of the first item at home; notes what items belong to."""

    factors = (Factor("home"),)
    context_keys = ("place", "mood")

    def __init__(self) -> None:
        self.groups: list[ItemGroups] = []

    def regroup(self, groups):
        self.groups.append(groups)

    def bucket(self, moment):
        return moment.circumstance("place")

    def item_log_lifts(self, moment, num_items):
        lifts = np.zeros((1, num_items), np.float32)
        lifts[0, :1] = np.log(2.0) if moment.circumstance("place") == "home" else 0.0
        return lifts


def state_somewhere() -> LiveState:
    state = LiveState(quick_settings(), {"somewhere": Somewhere()})
    upserts = [
        NodeUpsert("user", "u0", {"place": ("home", "away")}),
        NodeUpsert("user", "u1", {"place": ("away",)}),
        NodeUpsert("item", "i0", {"type": ("milk",), "department": ("dairy",)}),
    ]
    state.apply(EventBatch(interactions_of([("u0", "i0", 1), ("u1", "i1", 2)]), upserts=upserts))
    return state


def test_circumstances_that_a_request_leaves_out_are_the_users_own():
    state = state_somewhere()
    ranker = Ranker(state, quick_settings().ranking)
    exponents = Exponents(
        unseen=TermExponents(1.0, {"somewhere": {"home": 1.0}}), seen=TermExponents(1.0, {"somewhere": {"home": 1.0}})
    )
    model = ServingModel.from_artifact(quick_model(even_odd_state(SIZE)), PLUGINS)
    ranker.swap(dataclasses.replace(model, exponents=exponents))

    def factor(user_id: str, moment: Moment) -> float:
        (ranking,) = ranker.recommend([Query(moment, user_id, allow_items=("i0",))])
        return ranking.items[0].weights["somewhere"]

    assert factor("u0", Moment(5)) == pytest.approx(2.0), "the first of the user's places"
    assert factor("u1", Moment(5)) == pytest.approx(1.0)
    assert factor("u1", Moment(5, place="home")) == pytest.approx(2.0)
    assert factor("u0", Moment(5, attributes={"place": "away"})) == pytest.approx(1.0)


def test_weights_are_told_what_items_belong_to_whenever_that_changes():
    state = state_somewhere()
    weight = state.context_weights["somewhere"]
    ranker = Ranker(state, quick_settings().ranking)
    ranker.refresh()
    (groups,) = weight.groups
    assert groups.names == ("department", "type"), "from the coarse to the fine, and those that there are"
    assert [codes.tolist() for codes in groups.codes] == [[0, -1], [0, -1]]
    state.apply(EventBatch(interactions_of(()), upserts=[NodeUpsert("item", "i1", {"type": ("bread",)})]))
    ranker.refresh()
    assert [codes.tolist() for codes in weight.groups[-1].codes] == [[0, -1], [0, 1]]
    assert weight.groups[-1].sizes == (1, 2)


def test_queries_in_several_parts_get_the_answers_that_each_gets_alone(state, ranker, monkeypatch):
    queries = [Query(NOW, user_id=f"u{number}", count=1 + number % 5) for number in range(SIZE)]
    alone = [ranker.recommend([query])[0] for query in queries]
    monkeypatch.setattr("springtide.ranking.ranker._SCORES_AT_ONCE", 9 * SIZE)
    together = ranker.recommend(queries)
    for one, other in zip(together, alone, strict=True):
        assert [item.item_id for item in one.items] == [item.item_id for item in other.items]
        assert [item.score for item in one.items] == pytest.approx([item.score for item in other.items], abs=1e-5)


def test_items_of_an_answer_are_a_sequence(ranker):
    [ranking] = ranker.recommend([Query(NOW, user_id="u0", count=4)])
    items = ranking.items
    assert len(items) == 4
    assert items[0] == next(iter(items))
    assert items[-1] == tuple(items)[3]
    assert items[1:3] == tuple(items)[1:3]
    assert items != tuple(items)[:3]
    assert repr(items) == repr(tuple(items))
