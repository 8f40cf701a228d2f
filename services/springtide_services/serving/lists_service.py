"""The RPCs beside Recommend that rank items or users, and many Recommends in one call."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import grpc

from springtide.clock import AsOf, wall_ms
from springtide.errors import InvalidRequestError, SpringtideError
from springtide.ranking.filters import check_query
from springtide.ranking.query import Personalization, Query, Ranking
from springtide.ranking.ranker import Ranker
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.v1 import recommender_pb2 as pb
from springtide.v1 import recommender_pb2_grpc as pb_grpc
from springtide_services.serving import list_translation, request_translation, response_translation
from springtide_services.serving.admission import Admission
from springtide_services.serving.batching import MicroBatcher, ShortCalls
from springtide_services.serving.positions import PositionWaiters
from springtide_services.serving.statuses import (
    Context,
    NotReadyError,
    refusal_words,
    seconds_left,
    with_deadline_and_status,
    with_status,
)
from springtide_services.serving.work import work_of

_BATCH_AT_ONCE = 32  # Of the requests of a batch, so many are ranked before their answers are sent: 32 x 20 kB.
_BATCH_DEADLINE_PER = 1_000  # For each begun thousand of requests, a batch may take `server.max_deadline_s`.


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


class ListsService(pb_grpc.RecommenderServiceServicer):
    """Answers the requests for lists; ``RecommenderService`` adds the others.

    Their methods return the bytes of their responses.

    Attributes:
        loaded: The parts of the server; None while they are being loaded, and each call is answered UNAVAILABLE.
        max_deadline_s: The most seconds that a call may take.
        on_reached: Called with a position that a request has waited for and that is reached; None calls nothing.
        num_answers: Rankings that were answered, by what they know of the user.

    Args:
        settings: Gives the deadline, and how many requests may be open.
    """

    def __init__(self, settings: Settings) -> None:
        self.max_deadline_s = settings.server.max_deadline_s
        self.loaded: RecommenderDependencies | None = None
        self.on_reached: Callable[[Mapping[int, int]], None] | None = None
        self._admission = Admission(settings.server.max_open_requests)
        self.num_answers: dict[Personalization, int] = dict.fromkeys(get_args(Personalization), 0)
        self._trending, self._newest = ShortCalls(), ShortCalls()
        self._next_items, self._similar_users = ShortCalls(), ShortCalls()
        self._next_offsets: Mapping[int, int] | None = None  # Those of the bytes.
        self._position = b""

    @with_status  # type: ignore[misc]  # Its answers are written to the context.
    async def RecommendBatch(  # noqa: N802  # The proto's name.
        self, request: pb.RecommendBatchRequest, context: Context[pb.RecommendBatchRequest, bytes]
    ) -> None:
        """Answer each request of a batch as ``Recommend`` does, in their order; a refused one says why.

        So many answers are made ahead of the client as ``_BATCH_AT_ONCE`` says, and no more. They are ranked behind
        plain requests that wait, like those that are much work.
        """
        requests = list_translation.to_batch(request)
        most_s = self.max_deadline_s * -(-len(requests) // _BATCH_DEADLINE_PER)
        begun: deque[tuple[int, asyncio.Task[bytes]]] = deque()
        rest = enumerate(requests)
        with self._admission.admit(float(min(len(requests), _BATCH_AT_ONCE))):
            try:
                async with asyncio.timeout(seconds_left(context, most_s)) as time_limit:
                    while True:
                        for index, each in itertools.islice(rest, _BATCH_AT_ONCE - len(begun)):
                            ranking = self._one_of_batch(index, each, time_limit.when())
                            begun.append((index, asyncio.create_task(ranking)))
                        if not begun:
                            return
                        await context.write(await begun[0][1])
                        begun.popleft()
            finally:
                for _, task in begun:
                    task.cancel()

    async def _one_of_batch(self, index: int, request: pb.RecommendRequest, until_s: float | None) -> bytes:
        """Return the bytes of the answer to a request of a batch, or why there is none."""
        try:
            if request.HasField("min_position"):
                raise InvalidRequestError("min_position", "wanted none in a batch: ask for it once, before")
            loaded = self._loaded()
            as_of = request_translation.to_as_of_page(request, loaded.state.clock, wall_ms())
            query = request_translation.to_query(request, as_of)
            position, ranking = await self._ranked(loaded, query, until_s, is_dear=True)
        except TimeoutError:
            raise  # It is the time of the whole batch.
        except SpringtideError as error:
            return list_translation.batch_response(index, refusal=refusal_words(error))
        return list_translation.batch_response(index, answer=self.to_answer(ranking, position, as_of))

    @with_status
    async def Rank(  # noqa: N802  # The proto's name.
        self, request: pb.RankRequest, context: Context[pb.RankRequest, bytes]
    ) -> bytes:
        """Order the items that a request names."""
        return await self._list(request, context)

    @with_status
    async def NextItems(  # noqa: N802  # The proto's name.
        self, request: pb.NextItemsRequest, context: Context[pb.NextItemsRequest, bytes]
    ) -> bytes:
        """Rank what goes with the items of a basket, or comes next in a session."""
        loaded = self._loaded()
        return await self._list(request, context, self._next_items, loaded.ranker.lists.next_items)

    @with_status
    async def Trending(  # noqa: N802  # The proto's name.
        self, request: pb.TrendingRequest, context: Context[pb.TrendingRequest, bytes]
    ) -> bytes:
        """Rank what rises, for all or for a user."""
        loaded = self._loaded()
        return await self._list(request, context, self._trending, loaded.ranker.lists.trending)

    @with_status
    async def NewItems(  # noqa: N802  # The proto's name.
        self, request: pb.NewItemsRequest, context: Context[pb.NewItemsRequest, bytes]
    ) -> bytes:
        """Rank what has come lately: the newest first, or for a user by their score."""
        if request.user:
            return await self._list(request, context)
        loaded = self._loaded()
        return await self._list(request, context, self._newest, loaded.ranker.lists.newest)

    @with_deadline_and_status
    async def SimilarUsers(  # noqa: N802  # The proto's name.
        self, request: pb.SimilarUsersRequest, context: Context[pb.SimilarUsersRequest, bytes]
    ) -> bytes:
        """Rank users by their cosine to one user."""
        loaded = self._loaded()
        as_of = request_translation.to_as_of(request.context, loaded.state.clock, wall_ms())
        query = list_translation.to_similar_query(request, as_of)
        with self._admission.admit(work_of(query)):
            users, version = await self._similar_users.run(
                lambda: loaded.ranker.lists.similar_users(query), may_block=loaded.batcher.may_block()
            )
        similar = [pb.SimilarUser(user=user_id, cosine=cosine) for user_id, cosine in users]
        return pb.SimilarUsersResponse(users=similar, model_version=version).SerializeToString()

    async def _list(
        self,
        request: list_translation.ListRequest,
        context: Context[Any, bytes],
        calls: ShortCalls | None = None,
        rank: Callable[[Query], Ranking] | None = None,
    ) -> bytes:
        """Answer a request for a list: by ``rank``, or by all terms, as ``Recommend`` does, where there is none."""
        loaded = self._loaded()
        as_of = request_translation.to_as_of(request.context, loaded.state.clock, wall_ms())
        query = list_translation.to_list_query(request, as_of)
        with self._admission.admit(work_of(query)):
            async with asyncio.timeout(seconds_left(context, self.max_deadline_s)) as time_limit:
                if rank is None or calls is None:
                    position, ranking = await self._ranked(loaded, query, time_limit.when())
                else:
                    position = self._position_of(loaded.state)
                    ranking = await calls.run(lambda: rank(query), may_block=loaded.batcher.may_block())
                if ranking.extras is not None:  # A list has one page.
                    ranking = replace(ranking, extras=replace(ranking.extras, next_page_token=""))
                return list_translation.list_response(self.to_answer(ranking, position, as_of))

    async def _ranked(
        self, loaded: RecommenderDependencies, query: Query, until_s: float | None, *, is_dear: bool = False
    ) -> tuple[bytes, Ranking]:
        """Return the position, and the answer to a query once the batcher has ranked it."""
        check_query(query, loaded.state.graph.view(), loaded.state.rules)  # Refused here, not in a batch.
        position = self._position_of(loaded.state)  # Read before ranking: the ranking reflects at least this.
        return position, await loaded.batcher.submit(query, until_s, is_dear=is_dear)

    def to_answer(self, ranking: Ranking, position: bytes, as_of: AsOf, *, is_behind: bool = False) -> bytes:
        """Return a ranking as the bytes of a ``RecommendResponse``; see ``response_translation.to_response``."""
        self.num_answers[ranking.personalization] += 1
        return response_translation.to_response(ranking, position, as_of, is_behind=is_behind)

    def _position_of(self, state: LiveState) -> bytes:
        """Return the position as responses have it; its bytes are made once for each move of the graph."""
        next_offsets = state.next_offsets
        if next_offsets is not self._next_offsets:
            self._next_offsets, self._position = next_offsets, response_translation.to_position(next_offsets)
        return self._position

    def _loaded(self) -> RecommenderDependencies:
        if self.loaded is None:
            raise NotReadyError("the server is still loading; its health service says when it is ready")
        return self.loaded


def list_handlers(service: ListsService) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """Return the handlers of the service's methods, by name."""
    answered: dict[str, tuple[Any, Any]] = {
        "Rank": (service.Rank, pb.RankRequest),
        "NextItems": (service.NextItems, pb.NextItemsRequest),
        "Trending": (service.Trending, pb.TrendingRequest),
        "NewItems": (service.NewItems, pb.NewItemsRequest),
        "SimilarUsers": (service.SimilarUsers, pb.SimilarUsersRequest),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(method, request.FromString, response_serializer=None)
        for name, (method, request) in answered.items()
    }
    handlers["RecommendBatch"] = grpc.unary_stream_rpc_method_handler(
        service.RecommendBatch, pb.RecommendBatchRequest.FromString, response_serializer=None
    )
    return handlers
