"""Turning rankings, and what is told beside them, into responses; ``request_translation`` is the way in."""

import functools
from collections.abc import Mapping, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from springtide.clock import MS_PER_SECOND, AsOf, MomentSource
from springtide.ranking.query import AttributeValue, Extras, Personalization, Ranking, Vector
from springtide.recommendation_ids import new_id, pack_arms
from springtide.steering.assignment import Arm
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving.kernels import ranked_items

_NS_PER_MS = 1_000_000

_PERSONALIZATIONS = {
    "learned": pb.PERSONALIZATION_LEARNED,
    "folded_in": pb.PERSONALIZATION_FOLDED_IN,
    "context_only": pb.PERSONALIZATION_CONTEXT_ONLY,
    "fallback": pb.PERSONALIZATION_FALLBACK,
}
_SOURCES: dict[MomentSource, pb.MomentSource] = {
    "given": pb.MOMENT_SOURCE_GIVEN,
    "wall": pb.MOMENT_SOURCE_WALL,
    "stream": pb.MOMENT_SOURCE_STREAM,
}

# The tag and the length of `recommendation_id`, where the answer is by no variant.
_PLAIN_NAME = bytes([pb.RecommendResponse.RECOMMENDATION_ID_FIELD_NUMBER << 3 | 2, len(new_id(0))])


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
    rest += position + name
    extras = ranking.extras
    if extras is None:
        return ranked_items(items.ids, items.scores, items.cosines, weights, rest, as_of.timestamp_ms)
    if extras.next_page_token:
        rest += pb.RecommendResponse(next_page_token=extras.next_page_token).SerializeToString()
    tails = _tails(extras, len(items))
    return ranked_items(items.ids, items.scores, items.cosines, weights, rest, as_of.timestamp_ms, tails)


def _named(arms: Sequence[Arm], timestamp_ms: int) -> bytes:
    """Return the bytes of an answer's name and of the variants that it is by."""
    return pb.RecommendResponse(
        recommendation_id=new_id(timestamp_ms, pack_arms([arm.code for arm in arms])).decode(),
        experiment_arms=[pb.ExperimentArm(experiment=arm.experiment, variant=arm.variant.name) for arm in arms],
    ).SerializeToString()


def _tails(extras: Extras, num_items: int) -> list[bytes] | None:
    """Return the bytes of what an answer says of each item beside its score; None if it says nothing of any."""
    attributes, placed_by, propensities = extras.attributes, extras.placed_by, extras.propensities
    if not attributes and not placed_by and not propensities:
        return None
    nothing = [None] * num_items
    tails = [b""] * num_items
    for at, (of_item, by, propensity) in enumerate(
        zip(attributes or nothing, placed_by or nothing, propensities or nothing, strict=True)
    ):
        if not of_item and not by and not propensity:  # As of most items.
            continue
        item = pb.RecommendedItem(placed_by=by, propensity=propensity)
        for name, value in (of_item or {}).items():
            item.attributes[name].CopyFrom(to_attribute_value(value))
        tails[at] = item.SerializeToString()
    return tails


def to_attribute_value(value: AttributeValue) -> pb.AttributeValue:
    """Return the value of an attribute as responses have it."""
    if isinstance(value, Vector):
        return pb.AttributeValue(vector=value.numbers)
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


def to_source(source: MomentSource) -> pb.MomentSource:
    """Return where a moment comes from, as responses say it."""
    return _SOURCES[source]
