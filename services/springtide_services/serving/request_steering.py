"""Reading what a request steers its ranking with: scenario, filter, booster, order, page; and checking the limits."""

from springtide.clock import MS_PER_SECOND
from springtide.errors import InvalidRequestError
from springtide.steering.values import QuerySteering
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving.request_limits import (
    MAX_ATTRIBUTES,
    MAX_COUNT,
    MAX_EXPRESSION_BYTES,
    MAX_PAGE_TOKEN_BYTES,
    MAX_ROTATION_DAYS,
    check_bytes,
    check_word,
    to_words,
)

_NS_PER_SECOND = 1_000_000_000
_S_PER_DAY = 86_400


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
