"""Lists that are ranked by something else than all terms of a score, without a server."""

import pytest

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.errors import SettingsError
from springtide.events.model import EventBatch, NodeDelete
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.testing import START_MS, even_odd_state, interactions_of, quick_model, quick_settings, state_of

NOW_MS = START_MS + 60 * MS_PER_DAY
STEADY = [(f"u{day % 7}", "steady", START_MS + day * MS_PER_DAY) for day in range(60)]
HOT = [(f"u{number}", "hot", NOW_MS - number * MS_PER_HOUR) for number in range(12)]


def ranker_of(events: list[tuple[str, str, int]], *weights: str) -> Ranker:
    settings = quick_settings(ranking={"context_weights": {name: {} for name in weights}})
    return Ranker(state_of(events, settings), settings.ranking)


def test_what_rises_is_known_without_a_model() -> None:
    ranking = ranker_of(STEADY + HOT, "trend", "popularity").lists.trending(Query(Moment(NOW_MS)))
    assert ranking.items.ids == ["hot", "steady"]
    assert ranking.personalization == "fallback"


def test_what_rose_long_ago_rises_no_more() -> None:
    ranker = ranker_of(STEADY + HOT, "trend", "popularity")
    assert ranker.lists.trending(Query(Moment(NOW_MS + 400 * MS_PER_DAY))).items.ids == ["steady", "hot"]


def test_what_rises_wants_a_weight_that_knows_trends() -> None:
    with pytest.raises(SettingsError, match="told by 'trend', and there are popularity"):
        ranker_of(STEADY, "popularity").lists.trending(Query(Moment(NOW_MS)))


def test_next_items_of_nobody_known_are_what_people_had_together() -> None:
    together = [(f"p{n}", item, START_MS + n * MS_PER_DAY) for n in range(10) for item in ("tea", "cup")]
    ranker = ranker_of(STEADY + HOT + together, "popularity")
    query = Query(Moment(NOW_MS), recent_items=("tea",), exclude_items=("tea",))
    assert ranker.lists.next_items(query).items.ids[0] == "cup"
    assert ranker.recommend([query])[0].items.ids[0] == "steady", "by popularity alone"


def test_new_items_come_only_in_the_time_that_is_asked_for() -> None:
    ranker = ranker_of(STEADY + HOT)
    query = Query(Moment(NOW_MS), came_since_ms=NOW_MS - MS_PER_DAY)
    assert ranker.lists.newest(query).items.ids == ["hot"]
    assert [each.items.ids for each in ranker.recommend([query])] == [["hot"]]
    before = Query(Moment(START_MS + MS_PER_DAY), came_since_ms=START_MS)
    assert ranker.lists.newest(before).items.ids == ["steady"], "the other one had not come by then"


def test_a_user_who_was_deleted_and_came_again_is_not_who_the_model_learned() -> None:
    settings, state = quick_settings(model={"width": 16}), even_odd_state(24)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(quick_model(state, settings), load_plugins()))
    now_ms = (state.graph.newest_ms or 0) + MS_PER_HOUR
    query = Query(Moment(now_ms), "u4", count=24)

    def similar() -> set[str]:
        return {user for user, _ in ranker.lists.similar_users(query)[0]}

    assert "u6" in similar()
    deletion = NodeDelete("user", "u6", now_ms)
    state.apply(EventBatch(interactions_of([]), deletes=(deletion,)))
    assert "u6" not in similar()
    state.apply(EventBatch(interactions_of([("u6", "i1", now_ms + 1)])))
    assert "u6" not in similar(), "nobody has asked for them since"
    ranker.recommend([Query(Moment(now_ms + 2), "u6")])
    assert "u6" in similar(), "by what they have done since"
