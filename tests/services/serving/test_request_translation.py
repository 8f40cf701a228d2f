"""Requests as queries: what is taken over, what is refused and how that is said."""

from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from springtide.clock import StreamClock
from springtide.errors import InvalidRequestError
from springtide.plugins.contracts import Moment
from springtide.ranking.query import Query
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving import request_translation

NOW_MS = 1_700_000_000_123


def to_query(request: pb.RecommendRequest) -> Query:
    return request_translation.to_query(request, request_translation.to_as_of(request.context, StreamClock(), NOW_MS))


def test_an_empty_request_asks_for_twenty_items_now() -> None:
    query = to_query(pb.RecommendRequest())
    assert (query.user_id, query.recent_items, query.count) == ("", (), 20)
    assert query.moment == Moment(NOW_MS)


def test_every_field_is_taken_over() -> None:
    query = to_query(
        pb.RecommendRequest(
            user="u",
            recent_items=["a", "b"],
            count=7,
            context=pb.Context(
                event_time=Timestamp(seconds=12, nanos=345_678_901),
                place="north",
                weather="rain",
                attributes={"x": "y"},
            ),
            exclude_seen=["purchase", "*"],
            exclude_items=["c"],
            allow_items=["d", "e"],
            category_filters=[pb.CategoryFilter(attribute="department", values=["GROCERY", "DELI"])],
            view=pb.RECOMMEND_VIEW_FULL,
        )
    )
    assert query == Query(
        user_id="u",
        recent_items=("a", "b"),
        count=7,
        moment=Moment(12_345, "north", "rain", {"x": "y"}),
        exclude_seen=("purchase", "*"),
        exclude_items=("c",),
        allow_items=("d", "e"),
        category_filters=(("department", ("GROCERY", "DELI")),),
        with_weights=True,
    )


@pytest.mark.parametrize("view", [pb.RECOMMEND_VIEW_UNSPECIFIED, pb.RECOMMEND_VIEW_BASIC])
def test_weights_are_computed_only_when_they_are_asked_for(view: pb.RecommendView) -> None:
    assert not to_query(pb.RecommendRequest(view=view)).with_weights


def test_a_moment_may_lie_before_the_epoch() -> None:
    query = to_query(pb.RecommendRequest(context=pb.Context(event_time=Timestamp(seconds=-2, nanos=500_000_000))))
    assert query.moment.timestamp_ms == -1_500


BAD_REQUESTS: dict[str, tuple[pb.RecommendRequest, str, str]] = {
    "count of 0": (pb.RecommendRequest(count=0), "count", "1 to 1,000"),
    "count too large": (pb.RecommendRequest(count=1_001), "count", "1 to 1,000"),
    "view that is none": (pb.RecommendRequest(view=7), "view", "RECOMMEND_VIEW_FULL"),
    "user too long": (pb.RecommendRequest(user="u" * 257), "user", "256 bytes"),
    "user too long in bytes": (pb.RecommendRequest(user="ü" * 129), "user", "258"),
    "too many recent items": (pb.RecommendRequest(recent_items=["a"] * 1_001), "recent_items", "1,000"),
    "empty recent item": (pb.RecommendRequest(recent_items=["a", ""]), "recent_items[1]", "empty"),
    "recent item too long": (pb.RecommendRequest(recent_items=["ü" * 129]), "recent_items[0]", "256 bytes"),
    "too many excluded": (pb.RecommendRequest(exclude_items=["a"] * 10_001), "exclude_items", "10,000"),
    "empty excluded": (pb.RecommendRequest(exclude_items=[""]), "exclude_items[0]", "empty"),
    "too many allowed": (pb.RecommendRequest(allow_items=["a"] * 10_001), "allow_items", "10,000"),
    "empty allowed": (pb.RecommendRequest(allow_items=[""]), "allow_items[0]", "empty"),
    "empty seen type": (pb.RecommendRequest(exclude_seen=["click", ""]), "exclude_seen[1]", "empty"),
    "too many seen types": (pb.RecommendRequest(exclude_seen=["click"] * 65), "exclude_seen", "64"),
    "time before the year 1": (
        pb.RecommendRequest(context=pb.Context(event_time=Timestamp(seconds=-(10**12)))),
        "context.event_time",
        "the year 1",
    ),
    "time after the year 9999": (
        pb.RecommendRequest(context=pb.Context(event_time=Timestamp(seconds=10**12))),
        "context.event_time",
        "the year 9999",
    ),
    "nanos below 0": (
        pb.RecommendRequest(context=pb.Context(event_time=Timestamp(nanos=-1))),
        "context.event_time",
        "nanos",
    ),
    "too many attributes": (
        pb.RecommendRequest(context=pb.Context(attributes={str(number): "" for number in range(65)})),
        "context.attributes",
        "64",
    ),
    "attribute without a name": (
        pb.RecommendRequest(context=pb.Context(attributes={"": "x"})),
        "context.attributes",
        "empty",
    ),
    "place too long": (pb.RecommendRequest(context=pb.Context(place="p" * 257)), "context.place", "256 bytes"),
    "weather too long": (pb.RecommendRequest(context=pb.Context(weather="p" * 257)), "context.weather", "256 bytes"),
    "filter without an attribute": (
        pb.RecommendRequest(category_filters=[pb.CategoryFilter(values=["x"])]),
        "category_filters[0].attribute",
        "empty",
    ),
    "filter without values": (
        pb.RecommendRequest(category_filters=[pb.CategoryFilter(attribute="department")]),
        "category_filters[0].values",
        "at least one",
    ),
    "too many filters": (
        pb.RecommendRequest(category_filters=[pb.CategoryFilter(attribute="a", values=["b"])] * 65),
        "category_filters",
        "64",
    ),
    "too many values in a filter": (
        pb.RecommendRequest(category_filters=[pb.CategoryFilter(attribute="a", values=["b"] * 1_001)]),
        "category_filters[0].values",
        "1,000",
    ),
}


@pytest.mark.parametrize(("request_", "field", "words"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_a_bad_request_names_the_field_and_what_was_wanted(
    request_: pb.RecommendRequest, field: str, words: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        to_query(request_)
    assert refused.value.field == field
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("parse", "field"),
    [
        (lambda: request_translation.to_wait_s(pb.RecommendRequest(wait=Duration(seconds=11))), "wait"),
        (lambda: request_translation.to_wait_s(pb.RecommendRequest(wait=Duration(seconds=-1))), "wait"),
        (lambda: request_translation.to_item(pb.SimilarItemsRequest()), "item"),
        (lambda: request_translation.to_count(pb.SimilarItemsRequest(count=-1)), "count"),
        (lambda: _min_position({7: 1}), "min_position.next_offsets[7]"),
        (lambda: _min_position({1: -1}), "min_position.next_offsets[1]"),
    ],
)
def test_other_fields_are_refused_alike(parse: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse()
    assert refused.value.field == field


def _min_position(next_offsets: dict[int, int]) -> object:
    position = pb.GraphPosition(next_offsets=next_offsets)
    return request_translation.to_min_position(pb.RecommendRequest(min_position=position), partitions=(0, 1))


def test_the_wait_is_one_second_if_absent() -> None:
    assert request_translation.to_wait_s(pb.RecommendRequest()) == 1.0
    assert request_translation.to_wait_s(pb.RecommendRequest(wait=Duration(nanos=250_000_000))) == 0.25
