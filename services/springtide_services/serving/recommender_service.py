"""RecommenderService: turns requests into queries, and rankings into responses."""

import asyncio
from dataclasses import dataclass, replace

from springtide.clock import wall_ms
from springtide.ranking.explain import explain
from springtide.ranking.filters import check_query
from springtide.ranking.query import Query, Ranking
from springtide.ranking.ranker import Ranker
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.v1 import recommender_pb2 as pb
from springtide.v1 import recommender_pb2_grpc as pb_grpc
from springtide_services.serving import translation
from springtide_services.serving.batching import MicroBatcher
from springtide_services.serving.positions import PositionWaiters
from springtide_services.serving.statuses import Context, NotReadyError, seconds_left, with_deadline_and_status

_RANKING_RESERVE_S = 0.1  # A call that waits for its position stops this long before its deadline, and ranks.


@dataclass(frozen=True, slots=True)
class RecommenderDependencies:
    """The parts of the server that answer recommendation requests.

    Attributes:
        state: The live state: graph, context weights, stream position.
        ranker: Ranks items.
        batcher: Ranks the waiting queries in batches.
        positions: Waits until the graph has reached a position.
    """

    state: LiveState
    ranker: Ranker
    batcher: MicroBatcher[Query, Ranking]
    positions: PositionWaiters


class RecommenderService(pb_grpc.RecommenderServiceServicer):
    """Recommends items for a user and a moment.

    Attributes:
        loaded: The parts of the server; None while they are being loaded, and each call is answered UNAVAILABLE.
        max_deadline_s: The most seconds that a call may take.

    Args:
        settings: Gives the deadline.
    """

    def __init__(self, settings: Settings) -> None:
        self.max_deadline_s = settings.server.max_deadline_s
        self.loaded: RecommenderDependencies | None = None

    @with_deadline_and_status
    async def Recommend(  # noqa: N802  # The proto's name.
        self, request: pb.RecommendRequest, context: Context[pb.RecommendRequest, pb.RecommendResponse]
    ) -> pb.RecommendResponse:
        """Rank items for a user, once the graph has reached the position that the request names."""
        loaded = self._loaded()
        as_of = translation.to_as_of(request.context, loaded.state.clock, wall_ms())
        query = translation.to_query(request, as_of)
        check_query(query, loaded.state.graph.view(), loaded.state.rules)  # Refused here, not in a batch.
        wait_s = translation.to_wait_s(request)
        is_behind = False
        if request.HasField("min_position"):
            if loaded.state.position is None:
                raise NotReadyError("min_position cannot be waited for: the server has not reached the stream yet")
            wanted = translation.to_min_position(request, loaded.state.next_offsets)
            wait_s = min(wait_s, seconds_left(context, self.max_deadline_s) - _RANKING_RESERVE_S)
            is_behind = not await loaded.positions.wait_for(wanted, wait_s)
            loaded = self._loaded()  # Meanwhile a rebuilt state may have taken the place of the former one.
            as_of = translation.to_as_of(request.context, loaded.state.clock, wall_ms())  # The event may have moved it.
            query = replace(query, moment=replace(query.moment, timestamp_ms=as_of.timestamp_ms))
        next_offsets = loaded.state.next_offsets  # Read before ranking: the ranking reflects at least this.
        ranking = await loaded.batcher.submit(query)
        return translation.to_response(ranking, next_offsets, as_of, is_behind=is_behind)

    @with_deadline_and_status
    async def SimilarItems(  # noqa: N802  # The proto's name.
        self, request: pb.SimilarItemsRequest, context: Context[pb.SimilarItemsRequest, pb.SimilarItemsResponse]
    ) -> pb.SimilarItemsResponse:
        """Rank items by their cosine to one item."""
        loaded = self._loaded()
        item, count = translation.to_item(request), translation.to_count(request)
        filters = translation.to_filters(request.category_filters)
        items, model_version = await asyncio.to_thread(loaded.ranker.similar, item, count, filters)
        return pb.SimilarItemsResponse(
            items=[pb.SimilarItem(item=item_id, cosine=cosine) for item_id, cosine in items],
            model_version=model_version,
        )

    @with_deadline_and_status
    async def Explain(  # noqa: N802  # The proto's name.
        self, request: pb.ExplainRequest, context: Context[pb.ExplainRequest, pb.ExplainResponse]
    ) -> pb.ExplainResponse:
        """Explain the score and the rank of one item for a user."""
        loaded = self._loaded()
        as_of = translation.to_as_of(request.context, loaded.state.clock, wall_ms())
        item, query = translation.to_item(request), translation.to_explain_query(request, as_of)
        explanation = await asyncio.to_thread(explain, loaded.ranker.scorer(), query, item)
        return translation.to_explain_response(explanation, as_of)

    def _loaded(self) -> RecommenderDependencies:
        if self.loaded is None:
            raise NotReadyError("the server is still loading; its health service says when it is ready")
        return self.loaded
