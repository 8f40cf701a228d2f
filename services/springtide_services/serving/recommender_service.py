"""RecommenderService: turns requests into queries, and rankings into responses."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from springtide.clock import wall_ms
from springtide.explaining.templates import Languages, Templates
from springtide.explaining.why import Wanted, Why, why, why_items
from springtide.ranking.filters import check_query
from springtide.ranking.query import Query, Ranking
from springtide.ranking.ranker import Ranker
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving import list_translation, request_translation, response_translation
from springtide_services.serving.batching import ShortCalls
from springtide_services.serving.explanations import to_explain_response, to_wanted, to_words, with_reasons
from springtide_services.serving.lists_service import ListsService, list_handlers
from springtide_services.serving.statuses import (
    Context,
    NotReadyError,
    seconds_left,
    with_deadline_and_status,
    with_status,
)
from springtide_services.serving.work import work_of

_FULL = int(pb.RECOMMEND_VIEW_FULL)
_WORK_OF_EXPLANATION = 10.0  # It ranks all items, with every factor of one.
_RANKING_RESERVE_S = 0.1  # A call that waits for its position stops this long before its deadline, and ranks.


class RecommenderService(ListsService):
    """Recommends items for a user and a moment.

    Attributes:
        loaded: The parts of the server; None while they are being loaded, and each call is answered UNAVAILABLE.
        max_deadline_s: The most seconds that a call may take.
        on_reached: Called with a position that a request has waited for and that is reached; None calls nothing.

    Args:
        settings: Gives the deadline, and how many requests may be open.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._similar, self._explain, self._reasons = ShortCalls(), ShortCalls(), ShortCalls()
        explain = settings.explain
        self._languages = Languages(Path(explain.templates) if explain.templates else None, explain.language)
        self._name_attribute = explain.name_attribute

    async def Recommend(  # noqa: N802  # The proto's name.
        self, request: pb.RecommendRequest, context: Context[pb.RecommendRequest, Any]
    ) -> pb.RecommendResponse:
        """Answer as ``recommend`` does, with a message: for who calls the service within its process."""
        return pb.RecommendResponse.FromString(await self.recommend(request, context))

    @with_status
    async def recommend(
        self, request: pb.RecommendRequest | request_translation.PlainRequest, context: Context[Any, Any]
    ) -> bytes:
        """Rank items for a user, once the graph has reached the position that the request names.

        What is short is answered here and now, without a wait that a deadline could end.

        Returns:
            The bytes of a ``RecommendResponse``.
        """
        loaded = self._loaded()
        if isinstance(request, tuple):
            as_of, wanted, wait_s = loaded.state.clock.read(wall_ms()), None, 0.0
            query = request_translation.plain_query(request, as_of)
            words = self._languages.of("") if request[3] == _FULL else None
        else:
            as_of = request_translation.to_as_of_page(request, loaded.state.clock, wall_ms())
            query, wait_s = request_translation.to_query(request, as_of), request_translation.to_wait_s(request)
            wanted = _wanted_position(request, loaded.state) if request.HasField("min_position") else None
            words = to_words(request.language, self._languages) if request.view == _FULL else None
        if wanted is None or loaded.positions.has_reached(wanted):
            position = self._position_of(loaded.state)  # Read before ranking: the ranking reflects at least this.
            ranking = loaded.batcher.answer_at_once(query)
            if ranking is not None:
                if wanted is not None:
                    self._tell_reached(wanted)
                self.num_answers[ranking.personalization] += 1
                answer = response_translation.to_response(ranking, position, as_of)
                return answer if words is None else await self._with_reasons(answer, query, ranking, words)
        with self._admission.admit(work_of(query)):
            check_query(query, loaded.state.graph.view(), loaded.state.rules)  # Refused here, not in a batch.
            async with asyncio.timeout(seconds_left(context, self.max_deadline_s)) as time_limit:
                is_behind = False
                if wanted is not None and not isinstance(request, tuple):
                    wait_s = min(wait_s, seconds_left(context, self.max_deadline_s) - _RANKING_RESERVE_S)
                    is_behind = not await loaded.positions.wait_for(wanted, wait_s)
                    if not is_behind:
                        self._tell_reached(wanted)
                    loaded = self._loaded()  # Meanwhile a rebuilt state may have taken the place of the former one.
                    # The event may have moved the clock.
                    as_of = request_translation.to_as_of_page(request, loaded.state.clock, wall_ms())
                    query = replace(query, moment=replace(query.moment, timestamp_ms=as_of.timestamp_ms))
                position = self._position_of(loaded.state)
                ranking = await loaded.batcher.submit(query, time_limit.when())
                self.num_answers[ranking.personalization] += 1
                answer = response_translation.to_response(ranking, position, as_of, is_behind=is_behind)
                return answer if words is None else await self._with_reasons(answer, query, ranking, words)

    def _tell_reached(self, next_offsets: Mapping[int, int]) -> None:
        if self.on_reached is not None:
            self.on_reached(next_offsets)

    async def _with_reasons(self, answer: bytes, query: Query, ranking: Ranking, words: Templates) -> bytes:
        """Return an answer with why each of its items is there."""
        loaded, ids = self._loaded(), list(ranking.items.ids)
        wanted = Wanted(words=words, name_attribute=self._name_attribute)

        def explained() -> bytes:
            placed, scorer = loaded.ranker.scorer_for(query)
            return with_reasons(answer, why_items(scorer, placed, ids, wanted))

        return await self._reasons.run(explained, may_block=loaded.batcher.may_block())

    @with_deadline_and_status
    async def SimilarItems(  # noqa: N802  # The proto's name.
        self, request: pb.SimilarItemsRequest, context: Context[pb.SimilarItemsRequest, pb.SimilarItemsResponse]
    ) -> pb.SimilarItemsResponse:
        """Rank items by their cosine to one item."""
        loaded = self._loaded()
        as_of = request_translation.to_as_of(request.context, loaded.state.clock, wall_ms())
        item, query = request_translation.to_item(request), list_translation.to_similar_query(request, as_of)
        with self._admission.admit(work_of(query)):
            items, model_version = await self._similar.run(lambda: loaded.ranker.similar(item, query))
            attributes = loaded.ranker.lists.attributes([item_id for item_id, _ in items], query)
        similar = [pb.SimilarItem(item=item_id, cosine=cosine) for item_id, cosine in items]
        for each, found in zip(similar, attributes, strict=False):
            for name, value in found.items():
                each.attributes[name].CopyFrom(response_translation.to_attribute_value(value))
        return pb.SimilarItemsResponse(items=similar, model_version=model_version)

    @with_deadline_and_status
    async def Explain(  # noqa: N802  # The proto's name.
        self, request: pb.ExplainRequest, context: Context[pb.ExplainRequest, pb.ExplainResponse]
    ) -> pb.ExplainResponse:
        """Explain the score and the rank of one item for a user."""
        loaded = self._loaded()
        as_of = request_translation.to_as_of(request.context, loaded.state.clock, wall_ms())
        item, query = request_translation.to_item(request), request_translation.to_explain_query(request, as_of)
        wanted = to_wanted(request, self._languages, self._name_attribute)
        with self._admission.admit(_WORK_OF_EXPLANATION):
            found = await self._explain.run(
                lambda: _why(loaded.ranker, query, item, wanted), may_block=loaded.batcher.may_block()
            )
        return to_explain_response(found, as_of)


def _why(ranker: Ranker, query: Query, item: str, wanted: Wanted) -> Why:
    """Explain an item as the variants of the query's user have it."""
    query, scorer = ranker.scorer_for(query)
    return why(scorer, query, item, wanted)


def add_recommender_service(service: RecommenderService, server: grpc.aio.Server) -> None:
    """Add the service to a server, as the generated code does it, but for answers that are bytes already."""
    name = pb.DESCRIPTOR.services_by_name["RecommenderService"].full_name
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Recommend": grpc.unary_unary_rpc_method_handler(
            service.recommend, request_translation.read_request, response_serializer=None
        ),
        "SimilarItems": grpc.unary_unary_rpc_method_handler(
            service.SimilarItems, pb.SimilarItemsRequest.FromString, pb.SimilarItemsResponse.SerializeToString
        ),
        "Explain": grpc.unary_unary_rpc_method_handler(
            service.Explain, pb.ExplainRequest.FromString, pb.ExplainResponse.SerializeToString
        ),
        **list_handlers(service),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    # pygrpc-native serves itself what is registered, and passes the rest to a server of grpcio behind it.
    server.add_registered_method_handlers(name, handlers)  # type: ignore[attr-defined]  # Newer than its stubs.


def _wanted_position(request: pb.RecommendRequest, state: LiveState) -> Mapping[int, int]:
    if state.position is None:
        raise NotReadyError("min_position cannot be waited for: the server has not reached the stream yet")
    return request_translation.to_min_position(request, state.next_offsets)
