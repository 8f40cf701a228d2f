"""Turning requests into queries, and checking the limits of each field; ``response_translation`` is the way back.

Whether the names in a request are known is checked by the ranking.
"""

from collections.abc import Collection, Mapping, Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from springtide.clock import MS_PER_SECOND, AsOf, StreamClock
from springtide.errors import InvalidRequestError
from springtide.interactions import Moment
from springtide.ranking.paging import moment_of
from springtide.ranking.query import Query
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving.kernels import plain_request
from springtide_services.serving.request_limits import (
    DEFAULT_COUNT,
    DEFAULT_WAIT_S,
    MAX_CONTEXT_ENTRIES,
    MAX_COUNT,
    MAX_FILTER_VALUES,
    MAX_FILTERS,
    MAX_LISTED_ITEMS,
    MAX_RECENT_ITEMS,
    MAX_SEEN_TYPES,
    MAX_WAIT_S,
    MAX_WORD_BYTES,
    check_word,
    check_words,
    to_words,
)
from springtide_services.serving.request_steering import to_steering

# From the year 1 to the year 9999: the range of a protobuf Timestamp.
_MIN_TIMESTAMP_S = -62_135_596_800
_MAX_TIMESTAMP_S = 253_402_300_799
_NS_PER_SECOND = 1_000_000_000
_NS_PER_MS = 1_000_000

_VIEWS = {  # Whether weights are wanted.
    int(pb.RECOMMEND_VIEW_UNSPECIFIED): False,
    int(pb.RECOMMEND_VIEW_BASIC): False,
    int(pb.RECOMMEND_VIEW_FULL): True,
    int(pb.RECOMMEND_VIEW_WEIGHTS): True,
}

Counted = (
    pb.RecommendRequest
    | pb.SimilarItemsRequest
    | pb.ExplainRequest
    | pb.SimilarUsersRequest
    | pb.NextItemsRequest
    | pb.TrendingRequest
    | pb.NewItemsRequest
)
"""Requests that say how many they want."""

PlainRequest = tuple[str, int, tuple[str, ...], int]
"""User, count, ``exclude_seen`` and view of a request that has no other fields, each within its limits."""


def read_request(data: bytes) -> PlainRequest | pb.RecommendRequest:
    """Return a request from its bytes; a plain one, as most are, takes a tenth of the time of a message.

    Raises:
        google.protobuf.message.DecodeError: If it is none.
    """
    plain = plain_request(data, DEFAULT_COUNT, MAX_COUNT, MAX_SEEN_TYPES, MAX_WORD_BYTES)
    return pb.RecommendRequest.FromString(data) if plain is None or plain[3] not in _VIEWS else plain


def plain_query(request: PlainRequest, as_of: AsOf) -> Query:
    """Return the query of a plain request, as ``to_query`` does."""
    user_id, count, exclude_seen, view = request
    return Query(Moment(as_of.timestamp_ms), user_id, (), count, exclude_seen, (), (), (), _VIEWS[view])


def to_as_of(context: pb.Context, clock: StreamClock, now_ms: int) -> AsOf:
    """Return the moment that a request names, or that of a clock if it names none.

    Args:
        context: The request's context.
        clock: The clock.
        now_ms: The wall clock, milliseconds since the Unix epoch.

    Raises:
        InvalidRequestError: If it is outside the limits that the proto documents.
    """
    if context.HasField("event_time"):
        return AsOf(to_ms(context.event_time, "context.event_time"), "given")
    return clock.read(now_ms)


def to_as_of_page(request: pb.RecommendRequest, clock: StreamClock, now_ms: int) -> AsOf:
    """Return the moment of a request as ``to_as_of`` does; a later page is as of the moment of the first.

    Raises:
        InvalidRequestError: If it is outside the limits that the proto documents, or the page token is none.
    """
    as_of = to_as_of(request.context, clock, now_ms)
    moment_ms = moment_of(request.page_token) if request.page_token else None
    if moment_ms is None:
        return as_of
    if as_of.source == "given" and as_of.timestamp_ms != moment_ms:
        raise InvalidRequestError("context.event_time", "wanted that of the first page, or none, beside a page_token")
    return AsOf(moment_ms, "given")


def to_query(request: pb.RecommendRequest, as_of: AsOf) -> Query:
    """Return the query of a request.

    Args:
        request: The request as received.
        as_of: The moment, see ``to_as_of``.

    Raises:
        InvalidRequestError: If a field is outside the limits that the proto documents.
    """
    user_id = request.user
    if len(user_id) > MAX_WORD_BYTES // 4:  # As in `check_words`.
        check_word(user_id, "user", may_be_empty=True)
    has_context, filters = request.HasField("context"), request.category_filters
    return Query(  # By position: by name it takes three times as long, as much as the rest of this function.
        to_moment(request.context, as_of) if has_context else Moment(as_of.timestamp_ms),
        user_id,
        to_words(request.recent_items, "recent_items", MAX_RECENT_ITEMS),
        to_count(request),
        to_words(request.exclude_seen, "exclude_seen", MAX_SEEN_TYPES),
        to_words(request.exclude_items, "exclude_items", MAX_LISTED_ITEMS),
        to_words(request.allow_items, "allow_items", MAX_LISTED_ITEMS),
        to_filters(filters) if filters else (),
        _wants_weights(request.view),
        to_steering(request),
    )


def to_explain_query(request: pb.ExplainRequest, as_of: AsOf) -> Query:
    """Return the query for which an item is explained.

    Args:
        request: The request as received.
        as_of: The moment, see ``to_as_of``.

    Raises:
        InvalidRequestError: If a field is outside the limits that the proto documents.
    """
    check_word(request.user, "user", may_be_empty=True)
    check_words(request.recent_items, "recent_items", MAX_RECENT_ITEMS)
    return Query(
        user_id=request.user,
        recent_items=tuple(request.recent_items),
        moment=to_moment(request.context, as_of),
    )


def to_count(request: Counted) -> int:
    """Return the number of items, or of users, that a request wants.

    Raises:
        InvalidRequestError: If it is out of range.
    """
    if not request.HasField("count"):
        return DEFAULT_COUNT
    if not 1 <= request.count <= MAX_COUNT:
        raise InvalidRequestError("count", f"wanted 1 to {MAX_COUNT:,}, got {request.count:,}")
    return request.count


def _wants_weights(view: pb.RecommendView) -> bool:
    wants_weights = _VIEWS.get(view)
    if wants_weights is None:
        raise InvalidRequestError("view", f"wanted one of {', '.join(pb.RecommendView.keys())}, got {view}")
    return wants_weights


def to_item(request: pb.SimilarItemsRequest | pb.ExplainRequest) -> str:
    """Return the id of the item that a request names.

    Raises:
        InvalidRequestError: If it is empty or too long.
    """
    check_word(request.item, "item")
    return request.item


def to_filters(filters: Sequence[pb.CategoryFilter]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return category filters as pairs of an attribute and the values that pass.

    Raises:
        InvalidRequestError: If a filter has no attribute or no value, or there are too many.
    """
    if len(filters) > MAX_FILTERS:
        raise InvalidRequestError("category_filters", f"wanted at most {MAX_FILTERS:,}, got {len(filters):,}")
    for index, entry in enumerate(filters):
        field = f"category_filters[{index}]"
        check_word(entry.attribute, f"{field}.attribute")
        if not entry.values:
            raise InvalidRequestError(f"{field}.values", "wanted at least one value, got none")
        check_words(entry.values, f"{field}.values", MAX_FILTER_VALUES)
    return tuple((entry.attribute, tuple(entry.values)) for entry in filters)


def to_wait_s(request: pb.RecommendRequest) -> float:
    """Return how many seconds a request may wait for its ``min_position``.

    Raises:
        InvalidRequestError: If it is out of range.
    """
    if not request.HasField("wait"):
        return DEFAULT_WAIT_S
    wait: Duration = request.wait
    wait_s = wait.seconds + wait.nanos / _NS_PER_SECOND
    if not 0 <= wait_s <= MAX_WAIT_S:
        raise InvalidRequestError("wait", f"wanted 0 to {MAX_WAIT_S:g} s, got {wait_s:g} s")
    return wait_s


def to_min_position(request: pb.RecommendRequest, partitions: Collection[int]) -> Mapping[int, int]:
    """Return the offsets that the graph must have reached, by partition; empty if the request asks for none.

    Args:
        request: The request as received.
        partitions: The partitions of the events topic; a set or mapping, whose members are found at once.

    Raises:
        InvalidRequestError: If the topic has no such partition, or an offset is below 0.
    """
    wanted = dict(request.min_position.next_offsets)
    for partition, offset in wanted.items():
        field = f"min_position.next_offsets[{partition}]"
        if partition not in partitions:
            choices = ", ".join(str(number) for number in sorted(partitions)) or "none yet"
            raise InvalidRequestError(field, f"the events topic has no partition {partition} (choices: {choices})")
        if offset < 0:
            raise InvalidRequestError(field, f"wanted an offset of 0 or more, got {offset:,}")
    return wanted


def to_moment(context: pb.Context, as_of: AsOf) -> Moment:
    """Return the moment and the circumstances that a request names.

    Raises:
        InvalidRequestError: If they are outside the limits that the proto documents.
    """
    if len(context.attributes) > MAX_CONTEXT_ENTRIES:
        raise InvalidRequestError(
            "context.attributes", f"wanted at most {MAX_CONTEXT_ENTRIES:,} entries, got {len(context.attributes):,}"
        )
    check_word(context.place, "context.place", may_be_empty=True)
    check_word(context.weather, "context.weather", may_be_empty=True)
    for name, value in context.attributes.items():
        check_word(name, "context.attributes")
        check_word(value, f"context.attributes[{name}]", may_be_empty=True)
    return Moment(as_of.timestamp_ms, context.place, context.weather, dict(context.attributes))


def to_ms(timestamp: Timestamp, field: str) -> int:
    """Return a timestamp in milliseconds since the Unix epoch.

    Raises:
        InvalidRequestError: If it is outside the limits that the proto documents; it names the field.
    """
    if not (_MIN_TIMESTAMP_S <= timestamp.seconds <= _MAX_TIMESTAMP_S and 0 <= timestamp.nanos < _NS_PER_SECOND):
        raise InvalidRequestError(
            field,
            "wanted a time from the year 1 to the year 9999 with 0 to 999,999,999 nanos, "
            f"got {timestamp.seconds:,} s and {timestamp.nanos:,} nanos",
        )
    return timestamp.seconds * MS_PER_SECOND + timestamp.nanos // _NS_PER_MS
