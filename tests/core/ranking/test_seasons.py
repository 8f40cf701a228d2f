"""Seasons of items: how many interactions fall on each point, by local time, and what they are called."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.errors import SettingsError
from springtide.events.model import EventBatch, NodeUpsert
from springtide.interactions import Moment
from springtide.plugins.contracts import ContextWeight, Factor
from springtide.ranking.seasons import Seasons, weights_with_seasons
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.testing import interactions_of, quick_settings, state_of


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def settings_of(**options: str) -> Settings:
    return quick_settings(ranking={"context_weights": {"calendar": dict(options)}})


def seasons_of(
    events: list[tuple[str, str, int]], settings: Settings, upserts: list[NodeUpsert] | None = None
) -> Seasons:
    return Seasons.of_state(state_of(events, settings, upserts=upserts or []), settings, "calendar")


def places(counts: np.ndarray) -> dict[int, int]:
    return {int(point): int(counts[point]) for point in np.flatnonzero(counts)}


def test_interactions_are_counted_at_the_point_that_they_fall_on() -> None:
    events = [
        ("ann", "nog", ms("2024-12-31 23:59")),  # A Tuesday; the last sixth of the year.
        ("ann", "nog", ms("2023-01-01 00:00")),  # A Sunday; the first.
        ("ben", "nog", ms("2024-02-29 12:00")),  # A Thursday; the last sixth of February.
        ("ben", "milk", ms("2024-07-16 09:30")),
    ]
    seasons = seasons_of(events, settings_of())
    counts = seasons.num_at_points(seasons.rows_of("nog"))

    assert places(counts["year"]) == {0: 1, 11: 1, 71: 1}
    assert places(counts["week"]) == {1: 1, 3: 1, 6: 1}
    assert places(counts["day"]) == {0: 1, 12: 1, 23: 1}
    assert seasons.num_interactions[seasons.rows_of("nog")].tolist() == [3]


def test_each_point_of_a_profile_counts_the_interactions_of_its_own_time() -> None:
    start = ms("2023-01-01 12:00")
    events = [(f"u{day}", "nog", start + day * MS_PER_DAY) for day in range(365)]
    seasons = seasons_of(events, settings_of())
    counts = seasons.num_at_points(seasons.rows_of("nog"))

    assert counts["year"].sum() == 365
    assert counts["year"][6:12].sum() == 28, "February has the second six points"
    assert set(counts["year"].tolist()) <= {4, 5, 6}
    assert counts["week"].tolist() == [52] * 6 + [53], "2023 began and ended on a Sunday"


def test_points_are_local_times_of_the_user_or_of_the_weight() -> None:
    at = ms("2024-06-03 22:30")  # A Monday; 7:30 on Tuesday in Tokyo, 23:30 in Lisbon.
    settings = settings_of(time_zone="Europe/Lisbon")
    state = state_of([("ann", "nog", at)], settings)
    state.apply(EventBatch(replace(interactions_of([("ben", "nog", at)]), contexts=[{"time_zone": "Asia/Tokyo"}])))
    seasons = Seasons.of_state(state, settings, "calendar")
    counts = seasons.num_at_points(seasons.rows_of("nog"))

    assert places(counts["day"]) == {7: 1, 23: 1}
    assert places(counts["week"]) == {0: 1, 1: 1}


def test_reading_seasons_leaves_the_table_of_circumstances_as_it_is() -> None:
    """A user's time zone that no event has must not enter it: another thread writes there."""
    settings = settings_of()
    state = state_of([("ann", "nog", ms("2024-06-03 22:30"))], settings)
    state.apply(EventBatch(interactions_of([]), upserts=[NodeUpsert("user", "ann", {"time_zone": ("Asia/Tokyo",)})]))
    before = state.circumstances.snapshot()
    seasons = Seasons.of_state(state, settings, "calendar")
    counts = seasons.num_at_points(seasons.rows_of("nog"))

    assert state.circumstances.snapshot() == before
    assert places(counts["day"]) == {22: 1}, "the weight has learned it so"


def test_items_are_called_by_the_attribute_that_the_settings_name() -> None:
    upserts = [
        NodeUpsert("item", "a", {"label": ("A!",)}, texts={"title": "Alpha"}),
        NodeUpsert("item", "b", texts={"name": "Beta"}),
        NodeUpsert("item", "c"),
    ]
    events = [("ann", item, ms("2024-06-03 22:30")) for item in "abc"]

    def titles(**explain: str) -> list[str]:
        settings = quick_settings(ranking={"context_weights": {"calendar": {}}}, explain=explain)
        seasons = seasons_of(events, settings, upserts)
        return [seasons.title(int(seasons.rows_of(item)[0])) for item in "abc"]

    assert titles() == ["Alpha", "Beta", "c"]
    assert titles(name_attribute="label") == ["A!", "Beta", "c"]


def test_lifts_at_a_moment_are_of_the_zone_of_the_weight() -> None:
    class Hours(ContextWeight):
        factors = (Factor("hour"),)

        def item_log_lifts(self, moment: Moment, num_items: int) -> np.ndarray:
            zone = moment.circumstance("time_zone") or "weight's own"
            return np.full((1, num_items), {"weight's own": 1.0, "UTC": 2.0}[zone], np.float32)

    state: LiveState = state_of([("ann", "nog", MS_PER_HOUR)], settings_of())
    state.context_weights["calendar"] = Hours()
    seasons = Seasons.of_state(state, settings_of(), "calendar")

    assert seasons.at(Moment(MS_PER_HOUR))["day"] == pytest.approx(np.exp([1.0]))
    assert seasons.at_local(datetime(2024, 1, 1, 7, tzinfo=UTC))["day"] == pytest.approx(np.exp([2.0]))


def test_weights_that_tell_of_seasons_are_known_by_their_factors() -> None:
    state = state_of([], quick_settings(ranking={"context_weights": {"popularity": {}, "calendar": {}}}))

    assert weights_with_seasons(state.context_weights) == ["calendar"]
    with pytest.raises(SettingsError, match="no context weight 'trend'"):
        Seasons.of_state(state, settings_of(), "trend")
