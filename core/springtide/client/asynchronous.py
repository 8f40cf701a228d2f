"""The client that is awaited."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from springtide.client.connection import OPTIONS, Tls, metadata_with
from springtide.client.retries import Retries, RetryBudget, Tries
from springtide.v1 import recommender_pb2_grpc
from springtide.v1.recommender_pb2 import (
    ExplainRequest,
    ExplainResponse,
    GraphPosition,
    NewItemsRequest,
    NewItemsResponse,
    NextItemsRequest,
    NextItemsResponse,
    RankRequest,
    RankResponse,
    RecommendBatchRequest,
    RecommendBatchResponse,
    RecommendRequest,
    RecommendResponse,
    SimilarItemsRequest,
    SimilarItemsResponse,
    SimilarUsersRequest,
    SimilarUsersResponse,
    TrendingRequest,
    TrendingResponse,
)

_BATCH_REQUESTS_PER_TIMEOUT = 1_000  # As on the server.


class AsyncClient:
    """Asks a server for recommendations, on the event loop that it was made on.

    Each method takes the message of its request, and ``timeout_s``: how long the call may take, all tries together.

    Args:
        address: Address of the server, ``host:port``.
        token: What `springtide tokens new` has printed; empty for none.
        tls: Whom to trust; None for a connection without TLS.
        timeout_s: How long a call may take that says nothing else, in seconds.
        retries: When a call is tried again.

    Raises:
        OSError: If a file of ``tls`` cannot be read.
        ValueError: If the token is none, or the time is not above 0.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        tls: Tls | None = None,
        timeout_s: float = 10.0,
        retries: Retries | None = None,
    ) -> None:
        if not timeout_s > 0:
            raise ValueError(f"timeout_s: wanted seconds above 0, got {timeout_s}")
        self._timeout_s = timeout_s
        self._retries = retries or Retries()
        self._budget = RetryBudget(self._retries.budget)
        self._metadata = metadata_with(token)
        if tls is None:
            self._channel = grpc.aio.insecure_channel(address, OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, tls.credentials(), OPTIONS)
        self._stub = recommender_pb2_grpc.RecommenderServiceStub(self._channel)

    async def recommend(
        self, request: RecommendRequest, *, after: GraphPosition | None = None, timeout_s: float | None = None
    ) -> RecommendResponse:
        """Rank all items for a user and a moment.

        Args:
            request: Who, when and how many.
            after: What the answer must reflect, as ``position_after`` gives it; it goes before the request's own
                ``min_position``. If it is not reached within ``request.wait``, the answer says so.
            timeout_s: How long the call may take, in seconds.

        Raises:
            CallError: If the server refuses, or does not answer.
        """
        if after is not None:
            given, request = request, RecommendRequest()  # A copy: the caller's own stays as it is.
            request.CopyFrom(given)
            request.min_position.CopyFrom(after)
        response: RecommendResponse = await self._ask(self._stub.Recommend, request, timeout_s)
        return response

    async def recommend_batch(
        self, requests: Sequence[RecommendRequest], *, timeout_s: float | None = None
    ) -> AsyncIterator[RecommendBatchResponse]:
        """Answer many requests, and yield the answers as they come, in the order of the requests.

        Args:
            requests: The requests, 1 to 10,000.
            timeout_s: How long it may take, in seconds; by default as long as a call for each thousand of requests.

        Raises:
            CallError: If the server refuses, or does not answer; a refused request of many is said in its answer.
        """
        request = RecommendBatchRequest(requests=requests)
        thousands = max(1, math.ceil(len(requests) / _BATCH_REQUESTS_PER_TIMEOUT))
        tries = self._begin(self._timeout_s * thousands if timeout_s is None else timeout_s)
        is_begun = False
        while True:
            call = self._stub.RecommendBatch(request, timeout=tries.left_s(), metadata=self._metadata)
            try:
                async for answer in call:
                    is_begun = True
                    yield answer
            except grpc.RpcError as error:
                await asyncio.sleep(tries.pause_s(error, is_begun=is_begun))
            else:
                tries.note_success()
                return
            finally:
                call.cancel()  # Who stops reading wants no more.

    async def similar_items(
        self, request: SimilarItemsRequest, *, timeout_s: float | None = None
    ) -> SimilarItemsResponse:
        """Rank items by their likeness to one item.

        Raises:
            CallError: If the server refuses, or does not answer.
        """
        response: SimilarItemsResponse = await self._ask(self._stub.SimilarItems, request, timeout_s)
        return response

    async def similar_users(
        self, request: SimilarUsersRequest, *, timeout_s: float | None = None
    ) -> SimilarUsersResponse:
        """Rank users by their likeness to one user; it takes the role `explain`.

        Raises:
            CallError: If the server refuses, or does not answer.
        """
        response: SimilarUsersResponse = await self._ask(self._stub.SimilarUsers, request, timeout_s)
        return response

    async def next_items(self, request: NextItemsRequest, *, timeout_s: float | None = None) -> NextItemsResponse:
        """Rank what goes with a basket, or comes next in a session.

        Raises:
            CallError: If the server refuses, or does not answer.
        """
        response: NextItemsResponse = await self._ask(self._stub.NextItems, request, timeout_s)
        return response

    async def trending(self, request: TrendingRequest, *, timeout_s: float | None = None) -> TrendingResponse:
        """Rank what rises now.

        Raises:
            CallError: If the server refuses, or does not answer.
        """
        response: TrendingResponse = await self._ask(self._stub.Trending, request, timeout_s)
        return response

    async def new_items(self, request: NewItemsRequest, *, timeout_s: float | None = None) -> NewItemsResponse:
        """Rank what has come lately.

        Raises:
            CallError: If the server refuses, or does not answer.
        """
        response: NewItemsResponse = await self._ask(self._stub.NewItems, request, timeout_s)
        return response

    async def rank(self, request: RankRequest, *, timeout_s: float | None = None) -> RankResponse:
        """Order the items of the request for a user and a moment.

        Raises:
            CallError: If the server refuses, or does not answer.
        """
        response: RankResponse = await self._ask(self._stub.Rank, request, timeout_s)
        return response

    async def explain(self, request: ExplainRequest, *, timeout_s: float | None = None) -> ExplainResponse:
        """Say why an item has its rank; it takes the role `explain`.

        Raises:
            CallError: If the server refuses, or does not answer.
        """
        response: ExplainResponse = await self._ask(self._stub.Explain, request, timeout_s)
        return response

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, method: Any, request: object, timeout_s: float | None) -> Any:
        tries = self._begin(self._timeout_s if timeout_s is None else timeout_s)
        while True:
            try:
                response = await method(request, timeout=tries.left_s(), metadata=self._metadata)
            except grpc.RpcError as error:
                await asyncio.sleep(tries.pause_s(error))
            else:
                tries.note_success()
                return response

    def _begin(self, timeout_s: float) -> Tries:
        return Tries(self._retries, self._budget, timeout_s)
