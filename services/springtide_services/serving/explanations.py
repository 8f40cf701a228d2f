"""Turning requests for explanations into what is wanted, and explanations into responses."""

import math
from collections.abc import Sequence

from springtide.clock import AsOf
from springtide.errors import InvalidRequestError
from springtide.explaining.counterfactual import Counterfactual
from springtide.explaining.paths import DEFAULT_LIMIT_S, DEFAULT_MAX_PATHS, Path
from springtide.explaining.templates import Languages, Templates
from springtide.explaining.why import ShortWhy, Wanted, Why
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving import request_translation, response_translation

MAX_PATHS = 100
MAX_LIMIT_S = 10.0
MAX_LANGUAGE_BYTES = 35  # As long as language tags are.
_NS_PER_SECOND = 1_000_000_000


def to_wanted(request: pb.ExplainRequest, languages: Languages, name_attribute: str) -> Wanted:
    """Return what an explanation shall have.

    Args:
        request: The request as received.
        languages: The words of reasons.
        name_attribute: The attribute of items that names them in reasons; empty for their ids.

    Raises:
        InvalidRequestError: If a field is outside the limits that the proto documents.
    """
    max_paths = request.max_paths if request.HasField("max_paths") else DEFAULT_MAX_PATHS
    if not 0 <= max_paths <= MAX_PATHS:
        raise InvalidRequestError("max_paths", f"wanted 0 to {MAX_PATHS}, got {max_paths:,}")
    limit_s = DEFAULT_LIMIT_S
    if request.HasField("time_limit"):
        limit_s = request.time_limit.seconds + request.time_limit.nanos / _NS_PER_SECOND
        if not 0 <= limit_s <= MAX_LIMIT_S:
            raise InvalidRequestError("time_limit", f"wanted 0 to {MAX_LIMIT_S:g} s, got {limit_s:g} s")
    words = to_words(request.language, languages)
    return Wanted(max_paths, limit_s, request_translation.to_count(request), words, name_attribute)


def to_words(language: str, languages: Languages) -> Templates:
    """Return the words of the language that a request names.

    Raises:
        InvalidRequestError: If there are none.
    """
    if len(language.encode()) > MAX_LANGUAGE_BYTES:
        raise InvalidRequestError("language", f"wanted at most {MAX_LANGUAGE_BYTES} bytes, such as de")
    return languages.of(language)


def to_explain_response(found: Why, as_of: AsOf) -> pb.ExplainResponse:
    """Return an explanation as a response.

    Args:
        found: The explanation.
        as_of: The moment that it was made for.
    """
    explanation = found.terms
    return pb.ExplainResponse(
        item=explanation.item_id,
        score=explanation.score,
        rank=explanation.rank,
        cosine=explanation.cosine,
        cosine_exponent=explanation.cosine_exponent,
        weights=[
            pb.WeightExplanation(
                name=name,
                weight=math.exp(sum(term.log_weight for term in terms)),
                factors=[
                    pb.FactorExplanation(
                        name=term.factor.name,
                        lift=math.exp(term.log_lift),
                        exponent=term.exponent,
                        weight=math.exp(term.log_weight),
                    )
                    for term in terms
                ],
            )
            for name, terms in explanation.weights.items()
        ],
        sentence=explanation.sentence,
        model_version=explanation.model_version,
        personalization=response_translation.to_personalization(explanation.personalization),
        as_of_ms=as_of.timestamp_ms,
        as_of_source=response_translation.to_source(as_of.source),
        paths=[to_path(path) for path in found.paths],
        events=[
            pb.EventInfluence(
                item=event.item_id,
                relation=event.relation,
                event_time=response_translation.to_timestamp(event.timestamp_ms),
                influence=event.influence,
            )
            for event in found.events
        ],
        neighbours=[
            pb.NeighbourInfluence(
                side=neighbour.side,
                node=pb.PathNode(type=neighbour.node.node_type, id=neighbour.node.node_id),
                relation=neighbour.relation,
                influence=neighbour.influence,
                attention=neighbour.attention,
            )
            for neighbour in found.neighbours
        ],
        counterfactual=None if (changed := found.counterfactual) is None else to_counterfactual(changed),
        reason=found.reason,
        is_cut=found.is_cut,
    )


def with_reasons(answer: bytes, found: Sequence[ShortWhy]) -> bytes:
    """Return the bytes of a ``RecommendResponse`` with why each of its items is there, in their order."""
    response = pb.RecommendResponse.FromString(answer)
    for item, short in zip(response.items, found, strict=True):
        item.reason = short.reason
        item.paths.extend(to_path(path) for path in short.paths)
    return response.SerializeToString()


def to_counterfactual(found: Counterfactual) -> pb.Counterfactual:
    """Return a counterfactual as responses have it."""
    return pb.Counterfactual(items=found.items, rank=found.rank, is_smallest=found.is_smallest)


def to_path(path: Path) -> pb.Path:
    """Return a path as responses have it."""
    message = pb.Path(
        kind=path.kind,
        nodes=[pb.PathNode(type=node.node_type, id=node.node_id) for node in path.nodes],
        attribute=path.attribute,
        value=path.value,
        relation=path.relation,
        num_people=path.num_people,
        num_recent_people=path.num_recent_people,
        share=path.share,
        is_lower_bound=path.is_lower_bound,
        num_own=path.num_own,
    )
    if path.user_ms is not None:
        message.user_time.CopyFrom(response_translation.to_timestamp(path.user_ms))
    if path.latest_ms is not None:
        message.latest_time.CopyFrom(response_translation.to_timestamp(path.latest_ms))
    return message
