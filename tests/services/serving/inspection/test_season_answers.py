"""What the InspectionService says of seasons: profiles, what is in season, and what it refuses."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from springtide.errors import InvalidRequestError, SettingsError
from springtide.events.model import NodeUpsert
from springtide.interactions import Moment
from springtide.plugins.contracts import ContextWeight, Factor
from springtide.state import LiveState
from springtide.testing import START_MS, quick_settings, state_of
from springtide.v1 import inspection_pb2 as pb
from springtide_services.serving.inspection.seasons import KeptSeasons, in_season
from springtide_services.serving.statuses import NotFoundError

SETTINGS = quick_settings(ranking={"context_weights": {"popularity": {}}})
EVENTS = [("ann", item, START_MS) for item in ("nog", "nog", "nog", "turkey", "milk")]
UPSERTS = [
    NodeUpsert("item", "nog", {"department": ("DAIRY",)}, texts={"title": "Egg nog 1 l"}),
    NodeUpsert("item", "turkey", {"department": ("MEAT",)}),
    NodeUpsert("item", "milk", {"department": ("DAIRY",)}),
]


class Known(ContextWeight):
    """In December nog is wanted 6× and turkey 2×; at 7 nog and turkey 2×."""

    factors = (Factor("hour"), Factor("year"), Factor("weekday"))

    def __init__(self) -> None:
        self.num_asked = 0

    def item_log_lifts(self, moment: Moment, num_items: int) -> np.ndarray:
        self.num_asked += 1
        at = datetime.fromtimestamp(moment.timestamp_ms / 1_000, UTC)
        lifts = np.zeros((3, num_items), np.float32)
        if at.month == 12:
            lifts[1] = np.log([6.0, 2.0, 1.0])
        if at.hour == 7:
            lifts[0] = np.log([2.0, 2.0, 1.0])
        return lifts


@pytest.fixture
def state() -> LiveState:
    state = state_of(EVENTS, SETTINGS, upserts=UPSERTS)
    state.context_weights["calendar"] = Known()
    return state


def season_of(state: LiveState, name: str, **fields: Any) -> pb.GetSeasonResponse:
    return KeptSeasons(SETTINGS).season(state, pb.GetSeasonRequest(name=name, **fields), lambda: False)


def listed(state: LiveState, **fields: Any) -> list[tuple[str, float]]:
    request = pb.ListInSeasonRequest(**{"min_interactions": 0.0, **fields})
    request.event_time.FromDatetime(datetime(2017, 12, 20, 7))
    return [(item.item, round(item.lift, 3)) for item in in_season(state, SETTINGS, request).items]


def test_a_season_has_each_span_with_its_lifts_and_counts(state: LiveState) -> None:
    answer = season_of(state, "nog")

    assert [(profile.span, len(profile.lifts), sum(profile.counts)) for profile in answer.profiles] == [
        ("year", 72, 3),
        ("week", 7, 3),
        ("day", 24, 3),
    ]
    assert answer.profiles[0].lifts[-6:] == pytest.approx([6.0] * 6)
    assert (answer.title, answer.num_items, answer.num_interactions) == ("Egg nog 1 l", 1, 3)


def test_a_category_is_all_of_its_items(state: LiveState) -> None:
    answer = season_of(state, "department=DAIRY")

    assert answer.profiles[0].lifts[-1] == pytest.approx((3 * 6.0 + 1.0) / 4)
    assert (answer.title, answer.num_items, answer.num_interactions) == ("department=DAIRY", 2, 4)


def test_the_other_weights_with_seasons_are_named_and_can_be_read(state: LiveState) -> None:
    class Weekly(ContextWeight):
        factors = (Factor("weekday"),)

    state.context_weights["weekly"] = Weekly()

    assert list(season_of(state, "nog").weights) == ["weekly"]
    [week] = season_of(state, "nog", weight="weekly").profiles
    assert (week.span, list(week.lifts)) == ("week", [1.0] * 7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no", r"no item with the id 'no' \(near it: nog\); a category is written ATTRIBUTE=VALUE"),
        ("colour=red", r"no attribute 'colour' \(choices: department\)"),
        ("department=dair", r"no item has department 'dair' \(near it: DAIRY\)"),
    ],
)
def test_a_name_of_nothing_is_not_found_and_similar_ones_are_named(state: LiveState, name: str, message: str) -> None:
    with pytest.raises(NotFoundError, match=message):
        season_of(state, name)


def test_wrong_fields_are_refused_by_name(state: LiveState) -> None:
    for request, field in (
        (pb.GetSeasonRequest(), "name"),
        (pb.GetSeasonRequest(name="x" * 5_000), "name"),
        (pb.GetSeasonRequest(name="nog", weight="tides"), "weight"),
        (pb.GetSeasonRequest(name="nog", weight="popularity"), "weight"),
    ):
        with pytest.raises(InvalidRequestError, match=f"^{field}: "):
            KeptSeasons(SETTINGS).season(state, request, lambda: False)
    for fields, field in (
        ({"page_size": 201}, "page_size"),
        ({"page_size": -1}, "page_size"),
        ({"min_interactions": float("nan")}, "min_interactions"),
        ({"weight": "tides"}, "weight"),
    ):
        with pytest.raises(InvalidRequestError, match=f"^{field}: "):
            listed(state, **fields)


def test_without_a_calendar_it_says_what_there_is_instead(state: LiveState) -> None:
    del state.context_weights["calendar"]

    with pytest.raises(SettingsError, match=r"no context weight 'calendar' that knows seasons \(choices: none\)"):
        season_of(state, "nog")


def test_an_answer_is_kept_for_a_minute_and_not_for_another_state(state: LiveState) -> None:
    now_s = [0.0]
    kept, weight = KeptSeasons(SETTINGS, lambda: now_s[0]), state.context_weights["calendar"]
    assert isinstance(weight, Known)

    def asked(state: LiveState) -> int:
        before = weight.num_asked
        kept.season(state, pb.GetSeasonRequest(name="nog"), lambda: False)
        return weight.num_asked - before

    assert [asked(state), asked(state)] == [103, 0]
    now_s[0] = 61.0
    assert asked(state) == 103
    other = state_of(EVENTS, SETTINGS, upserts=UPSERTS)
    other.context_weights["calendar"] = weight
    assert asked(other) == 103


def test_a_season_that_nobody_waits_for_any_more_is_given_up_and_goes_on_when_asked_again(state: LiveState) -> None:
    kept, weight = KeptSeasons(SETTINGS), state.context_weights["calendar"]
    assert isinstance(weight, Known)
    request = pb.GetSeasonRequest(name="nog")
    with pytest.raises(TimeoutError):
        kept.season(state, request, lambda: True)
    assert weight.num_asked == 1
    with pytest.raises(TimeoutError):
        kept.season(state, request, lambda: weight.num_asked == 75)
    assert kept.season(state, request, lambda: False) == season_of(state, "nog")
    assert weight.num_asked == 2 * 103, "no moment twice"


def test_items_in_season_come_with_the_lift_of_each_span(state: LiveState) -> None:
    assert listed(state) == [("nog", 12.0), ("turkey", 4.0), ("milk", 1.0)]
    assert listed(state, page_size=1) == [("nog", 12.0)]
    assert listed(state, min_interactions=2.0) == [("nog", 12.0)]
    request = pb.ListInSeasonRequest(page_size=1, min_interactions=0)
    request.event_time.FromDatetime(datetime(2017, 12, 20, 7))
    answer = in_season(state, SETTINGS, request)
    assert answer.as_of_ms == 1_513_753_200_000
    [nog] = answer.items
    assert (nog.name, nog.group, nog.num_interactions) == ("Egg nog 1 l", "DAIRY", 3)
    assert dict(nog.lifts) == pytest.approx({"year": 6.0, "week": 1.0, "day": 2.0})


def test_items_with_fewer_than_twenty_interactions_are_left_out_by_default(state: LiveState) -> None:
    assert in_season(state, SETTINGS, pb.ListInSeasonRequest()).items == []
