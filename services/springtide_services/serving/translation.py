"""Turning requests into queries and rankings into responses, and checking the limits of each request field.

Whether the names in a request are known is checked by the ranking.
"""

import functools
from collections.abc import Collection, Mapping, Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from springtide.clock import MS_PER_SECOND, AsOf, MomentSource, StreamClock
from springtide.errors import InvalidRequestError
from springtide.interactions import Moment
from springtide.ranking.paging import moment_of
from springtide.ranking.query import AttributeValue, Extras, Personalization, Query, Ranking
from springtide.recommendation_ids import new_id, pack_arms
from springtide.steering.assignment import Arm
from springtide.steering.values import QuerySteering
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving.kernels import plain_request, ranked_items
from springtide_services.serving.request_limits import (
    DEFAULT_COUNT,
    DEFAULT_WAIT_S,
    MAX_ATTRIBUTES,
    MAX_CONTEXT_ENTRIES,
    MAX_COUNT,
    MAX_EXPRESSION_BYTES,
    MAX_FILTER_VALUES,
    MAX_FILTERS,
    MAX_LISTED_ITEMS,
    MAX_PAGE_TOKEN_BYTES,
    MAX_RECENT_ITEMS,
    MAX_ROTATION_DAYS,
    MAX_SEEN_TYPES,
    MAX_WAIT_S,
    MAX_WORD_BYTES,
    check_bytes,
    check_word,
    check_words,
    to_words,
)

# From the year 1 to the year 9999: the range of a protobuf Timestamp.
_MIN_TIMESTAMP_S = -62_135_596_800
_MAX_TIMESTAMP_S = 253_402_300_799
_NS_PER_SECOND = 1_000_000_000
_NS_PER_MS = 1_000_000
_S_PER_DAY = 86_400

_PERSONALIZATIONS = {
    "learned": pb.PERSONALIZATION_LEARNED,
    "folded_in": pb.PERSONALIZATION_FOLDED_IN,
    "context_only": pb.PERSONALIZATION_CONTEXT_ONLY,
    "fallback": pb.PERSONALIZATION_FALLBACK,
}
_VIEWS = {  # Whether weights are wanted.
    int(pb.RECOMMEND_VIEW_UNSPECIFIED): False,
    int(pb.RECOMMEND_VIEW_BASIC): False,
    int(pb.RECOMMEND_VIEW_FULL): True,
    int(pb.RECOMMEND_VIEW_WEIGHTS): True,
}
_SOURCES: dict[MomentSource, pb.MomentSource] = {
    "given": pb.MOMENT_SOURCE_GIVEN,
    "wall": pb.MOMENT_SOURCE_WALL,
    "stream": pb.MOMENT_SOURCE_STREAM,
}


# The tag and the length of `recommendation_id`, where the answer is by no variant.
_PLAIN_NAME = bytes([pb.RecommendResponse.RECOMMENDATION_ID_FIELD_NUMBER << 3 | 2, len(new_id(0))])

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
        return AsOf(_to_ms(context.event_time, "context.event_time"), "given")
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


def to_source(source: MomentSource) -> pb.MomentSource:
    """Return where a moment comes from, as responses say it."""
    return _SOURCES[source]


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


def to_steering(request: pb.RecommendRequest) -> QuerySteering | None:
    """Return what a request steers its ranking with; None for nothing.

    Raises:
        InvalidRequestError: If a field is outside the limits that the proto documents.
    """
    if not (  # As most do; to read them is the quickest. What says 0 says nothing, beside no scenario.
        request.filter
        or request.booster
        or request.scenario
        or request.page_token
        or request.reranker
        or request.diversity
        or request.rotation_rate
        or request.exploration
        or request.max_per
        or request.include_attributes
        or request.HasField("min_relevance")
    ):
        return None
    for name in ("filter", "booster"):
        check_bytes(getattr(request, name), name, MAX_EXPRESSION_BYTES)
    check_bytes(request.page_token, "page_token", MAX_PAGE_TOKEN_BYTES)
    for name in ("scenario", "diversity_attribute", "reranker"):
        check_word(getattr(request, name), name, may_be_empty=True)
    for attribute, most in request.max_per.items():
        check_word(attribute, "max_per")
        if not 1 <= most <= MAX_COUNT:
            raise InvalidRequestError(f"max_per[{attribute}]", f"wanted 1 to {MAX_COUNT:,}, got {most:,}")
    if len(request.max_per) > MAX_ATTRIBUTES:
        raise InvalidRequestError("max_per", f"wanted at most {MAX_ATTRIBUTES}, got {len(request.max_per):,}")
    return QuerySteering(
        scenario=request.scenario,
        filter=request.filter,
        booster=request.booster,
        diversity=_to_share(request, "diversity"),
        diversity_attribute=request.diversity_attribute,
        max_per=tuple(sorted(request.max_per.items())),
        rotation_rate=_to_share(request, "rotation_rate"),
        rotation_time_ms=_to_rotation_ms(request),
        exploration=_to_share(request, "exploration"),
        min_relevance=_to_share(request, "min_relevance", least=-1.0),
        include_attributes=to_words(request.include_attributes, "include_attributes", MAX_ATTRIBUTES),
        page_token=request.page_token,
        reranker=request.reranker,
        says_count=request.HasField("count"),
    )


def _to_share(request: pb.RecommendRequest, name: str, least: float = 0.0) -> float | None:
    if not request.HasField(name):
        return None
    value = float(getattr(request, name))
    if not least <= value <= 1.0:  # As not a NaN is.
        raise InvalidRequestError(name, f"wanted {least:g} to 1, got {value:g}")
    return value


def _to_rotation_ms(request: pb.RecommendRequest) -> int | None:
    if not request.HasField("rotation_time"):
        return None
    time_s = request.rotation_time.seconds + request.rotation_time.nanos / _NS_PER_SECOND
    if not 0 < time_s <= MAX_ROTATION_DAYS * _S_PER_DAY:
        raise InvalidRequestError("rotation_time", f"wanted more than 0 s, and at most {MAX_ROTATION_DAYS} days")
    return max(1, round(time_s * MS_PER_SECOND))


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


def to_response(ranking: Ranking, position: bytes, as_of: AsOf, *, is_behind: bool = False) -> bytes:
    """Return a ranking as the bytes of a ``RecommendResponse``: in a fiftieth of the time that its objects take.

    Args:
        ranking: The ranked items.
        position: How far the graph was before the items were ranked, see ``to_position``.
        as_of: The moment that they were ranked for.
        is_behind: Whether the request's ``min_position`` was not reached in time.
    """
    items = ranking.items
    rest = _rest(ranking.model_version, ranking.personalization, is_behind, as_of.source, tuple(items.names))
    weights = items.weights if items.names else None
    name = _named(ranking.arms, as_of.timestamp_ms) if ranking.arms else _PLAIN_NAME + new_id(as_of.timestamp_ms)
    answer = ranked_items(items.ids, items.scores, items.cosines, weights, rest + position + name, as_of.timestamp_ms)
    return answer if ranking.extras is None else _with_extras(answer, ranking.extras)


def _named(arms: Sequence[Arm], timestamp_ms: int) -> bytes:
    """Return the bytes of an answer's name and of the variants that it is by."""
    return pb.RecommendResponse(
        recommendation_id=new_id(timestamp_ms, pack_arms([arm.code for arm in arms])).decode(),
        experiment_arms=[pb.ExperimentArm(experiment=arm.experiment, variant=arm.variant.name) for arm in arms],
    ).SerializeToString()


def _with_extras(answer: bytes, extras: Extras) -> bytes:
    """Return an answer with what it says beyond its ranked items."""
    if not extras.attributes and not extras.placed_by and not extras.propensities:
        if not extras.next_page_token:
            return answer
        return answer + pb.RecommendResponse(next_page_token=extras.next_page_token).SerializeToString()
    response = pb.RecommendResponse.FromString(answer)
    response.next_page_token = extras.next_page_token
    for item, attributes in zip(response.items, extras.attributes, strict=False):
        for name, value in attributes.items():
            item.attributes[name].CopyFrom(to_attribute_value(value))
    for item, placed_by in zip(response.items, extras.placed_by, strict=False):
        item.placed_by = placed_by
    for item, propensity in zip(response.items, extras.propensities, strict=False):
        item.propensity = propensity
    return response.SerializeToString()


def to_attribute_value(value: AttributeValue) -> pb.AttributeValue:
    """Return the value of an attribute as responses have it."""
    if isinstance(value, tuple):
        return pb.AttributeValue(categories=value)
    return pb.AttributeValue(text=value) if isinstance(value, str) else pb.AttributeValue(number=value)


@functools.lru_cache(maxsize=256)
def _rest(
    model_version: str, personalization: Personalization, is_behind: bool, source: MomentSource, names: tuple[str, ...]
) -> bytes:
    """Return the bytes of a response's fields that are the same in many responses."""
    return pb.RecommendResponse(
        model_version=model_version,
        personalization=_PERSONALIZATIONS[personalization],
        is_behind_min_position=is_behind,
        as_of_source=_SOURCES[source],
        weight_names=names,
    ).SerializeToString()


def to_position(next_offsets: Mapping[int, int]) -> bytes:
    """Return the bytes of a response's position: by partition, the next offset of the graph."""
    return pb.RecommendResponse(position=pb.GraphPosition(next_offsets=next_offsets)).SerializeToString()


def to_timestamp(timestamp_ms: int) -> Timestamp:
    """Return milliseconds since the Unix epoch as a protobuf timestamp."""
    seconds, ms = divmod(timestamp_ms, MS_PER_SECOND)
    return Timestamp(seconds=seconds, nanos=ms * _NS_PER_MS)


def to_personalization(personalization: Personalization) -> pb.Personalization:
    """Return what an answer knows of the user, as responses say it."""
    return _PERSONALIZATIONS[personalization]


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


def _to_ms(timestamp: Timestamp, field: str) -> int:
    if not (_MIN_TIMESTAMP_S <= timestamp.seconds <= _MAX_TIMESTAMP_S and 0 <= timestamp.nanos < _NS_PER_SECOND):
        raise InvalidRequestError(
            field,
            "wanted a time from the year 1 to the year 9999 with 0 to 999,999,999 nanos, "
            f"got {timestamp.seconds:,} s and {timestamp.nanos:,} nanos",
        )
    return timestamp.seconds * MS_PER_SECOND + timestamp.nanos // _NS_PER_MS
