"""Turning the requests beside Recommend into queries: those for lists, for similar items and for similar users."""

from collections.abc import Iterable

from springtide.clock import MS_PER_DAY, MS_PER_SECOND, AsOf
from springtide.errors import InvalidRequestError
from springtide.ranking.query import Query
from springtide.steering.values import QuerySteering
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving.request_limits import (
    MAX_ATTRIBUTES,
    MAX_BATCH,
    MAX_EXPRESSION_BYTES,
    MAX_LISTED_ITEMS,
    MAX_RANKED_ITEMS,
    MAX_RECENT_ITEMS,
    MAX_SEEN_TYPES,
    check_bytes,
    check_word,
    to_words,
)
from springtide_services.serving.request_translation import to_count, to_filters, to_moment

DEFAULT_MAX_AGE_MS = 30 * MS_PER_DAY
MAX_AGE_DAYS = 36_600

_NS_PER_MS = 1_000_000

ListRequest = pb.NextItemsRequest | pb.TrendingRequest | pb.NewItemsRequest | pb.RankRequest


def to_list_query(request: ListRequest, as_of: AsOf) -> Query:
    """Return the query of a request for a list: whom it is for, when, and which items it leaves out.

    Args:
        request: The request as received.
        as_of: The moment, see ``request_translation.to_as_of``.

    Raises:
        InvalidRequestError: If a field is outside the limits that the proto documents.
    """
    check_word(request.user, "user", may_be_empty=True)
    came_since_ms: int | None = None
    says_count = True
    recent_items: tuple[str, ...] = ()
    allow_items: tuple[str, ...] = ()
    if isinstance(request, pb.RankRequest):
        allow_items = _some_words(request.items, "items", MAX_RANKED_ITEMS)
        recent_items = to_words(request.recent_items, "recent_items", MAX_RECENT_ITEMS)
        count = len(allow_items)
    else:
        count, says_count = to_count(request), request.HasField("count")
        if isinstance(request, pb.NewItemsRequest):
            came_since_ms = as_of.timestamp_ms - to_max_age_ms(request)
        if isinstance(request, pb.NextItemsRequest):
            recent_items = _some_words(request.items, "items", MAX_RECENT_ITEMS)
    exclude_items = to_words(request.exclude_items, "exclude_items", MAX_LISTED_ITEMS)
    if isinstance(request, pb.NextItemsRequest):
        exclude_items = tuple(dict.fromkeys((*exclude_items, *recent_items)))
    return Query(
        to_moment(request.context, as_of),
        request.user,
        recent_items,
        count,
        to_words(request.exclude_seen, "exclude_seen", MAX_SEEN_TYPES),
        exclude_items,
        allow_items,
        with_weights=False,
        steering=_steering(request.scenario, request.filter, request.include_attributes, says_count=says_count),
        came_since_ms=came_since_ms,
    )


def to_similar_query(request: pb.SimilarItemsRequest | pb.SimilarUsersRequest, as_of: AsOf) -> Query:
    """Return the query of a request for what is similar to something: how much is wanted, and what passes.

    Raises:
        InvalidRequestError: If a field is outside the limits that the proto documents.
    """
    moment, count, says_count = to_moment(request.context, as_of), to_count(request), request.HasField("count")
    if isinstance(request, pb.SimilarUsersRequest):
        check_word(request.user, "user")
        steering = _steering(request.scenario, request.filter, (), says_count=says_count)
        return Query(moment, request.user, count=count, with_weights=False, steering=steering)
    return Query(
        moment,
        count=count,
        exclude_items=to_words(request.exclude_items, "exclude_items", MAX_LISTED_ITEMS),
        category_filters=to_filters(request.category_filters),
        with_weights=False,
        steering=_steering(request.scenario, request.filter, request.include_attributes, says_count=says_count),
    )


def to_max_age_ms(request: pb.NewItemsRequest) -> int:
    """Return how long an item is new, in milliseconds.

    Raises:
        InvalidRequestError: If it is out of range.
    """
    if not request.HasField("max_age"):
        return DEFAULT_MAX_AGE_MS
    age_ms = request.max_age.seconds * MS_PER_SECOND + request.max_age.nanos // _NS_PER_MS
    if not 0 < age_ms <= MAX_AGE_DAYS * MS_PER_DAY:
        raise InvalidRequestError("max_age", f"wanted at least 1 ms, and at most {MAX_AGE_DAYS:,} days")
    return age_ms


def to_batch(request: pb.RecommendBatchRequest) -> list[pb.RecommendRequest]:
    """Return the requests of a batch.

    Raises:
        InvalidRequestError: If there is none, or too many.
    """
    num_requests = len(request.requests)
    if not 1 <= num_requests <= MAX_BATCH:
        raise InvalidRequestError("requests", f"wanted 1 to {MAX_BATCH:,}, got {num_requests:,}")
    return list(request.requests)


def batch_response(index: int, *, answer: bytes = b"", refusal: str = "") -> bytes:
    """Return the bytes of a ``RecommendBatchResponse``.

    Args:
        index: Which request it answers, from 0.
        answer: The bytes of a ``RecommendResponse``, or
        refusal: why there is none.
    """
    begin = pb.RecommendBatchResponse(index=index, refusal=refusal).SerializeToString()
    return begin if refusal else begin + _field(2, answer)


def list_response(answer: bytes) -> bytes:
    """Return the bytes of a response whose first field is an answer, given the bytes of a ``RecommendResponse``."""
    return _field(1, answer)


def _field(number: int, message: bytes) -> bytes:
    """Return a message as a field of another one, as protobuf writes it."""
    head, length = [number << 3 | 2], len(message)
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes((*head, length)) + message


def _some_words(words: Iterable[str], field: str, most: int) -> tuple[str, ...]:
    some = to_words(list(words), field, most)
    if not some:
        raise InvalidRequestError(field, f"wanted 1 to {most:,}, got none")
    return some


def _steering(scenario: str, expression: str, attributes: Iterable[str], *, says_count: bool) -> QuerySteering | None:
    include_attributes = to_words(list(attributes), "include_attributes", MAX_ATTRIBUTES)
    if not (scenario or expression or include_attributes):
        return None
    check_word(scenario, "scenario", may_be_empty=True)
    check_bytes(expression, "filter", MAX_EXPRESSION_BYTES)
    return QuerySteering(
        scenario=scenario, filter=expression, include_attributes=include_attributes, says_count=says_count
    )
