"""Health and reflection, as grpcio's, but their streams end with the server."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection


class Health(health.aio.HealthServicer):  # type: ignore[misc, name-defined]  # Its stubs know no aio.
    """The health service; who watches it is told of the end, and does not hold it up.

    To be used from one event loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()  # Of each change one of its own, so that it can be set and left.
        self._is_ending = False

    async def set(self, service: str, status: Any) -> None:
        """Set the status of a service, and tell who watches it; without effect once the server ends."""
        await super().set(service, status)
        self._tell()

    async def enter_graceful_shutdown(self) -> None:
        """Set all to NOT_SERVING for good, and end the streams of who watches after they have been told."""
        await super().enter_graceful_shutdown()
        self._is_ending = True
        self._tell()

    async def List(  # noqa: N802  # The proto's name.
        self, request: health_pb2.HealthListRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthListResponse:
        """Return the status of each service; grpcio's own servicer for asyncio does not."""
        answers = {name: health_pb2.HealthCheckResponse(status=status) for name, status in self._server_status.items()}
        return health_pb2.HealthListResponse(statuses=answers)

    async def Watch(  # noqa: N802  # The proto's name.
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Write the status of a service now and after each change, until the client leaves or the server ends."""
        written = None
        while True:
            changed = self._changed  # Taken before the status is read, so that no change is missed.
            status = self._server_status.get(request.service, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            is_ending = self._is_ending
            if status != written:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                written = status
            if is_ending:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            await changed.wait()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc, name-defined]  # Its stubs know no aio.
    """The reflection service; a client that keeps its stream open does not hold up the end of the server.

    Args:
        service_names: Full names of the services to describe.
    """

    def __init__(self, service_names: Collection[str]) -> None:
        super().__init__(service_names)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """End the streams; from the event loop's thread."""
        self._ended.set()

    async def ServerReflectionInfo(  # noqa: N802  # The proto's name.
        self, request_iterator: AsyncIterator[Any], unused_context: object
    ) -> AsyncIterator[Any]:
        """Describe what each request asks for, until the client has no more or the server ends."""
        async for response in super().ServerReflectionInfo(self._until_ended(request_iterator), unused_context):
            yield response

    async def _until_ended(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            while True:
                coming: asyncio.Future[Any] = asyncio.ensure_future(anext(requests))
                await asyncio.wait({coming, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    return
                try:
                    request = coming.result()
                except StopAsyncIteration:
                    return
                yield request
        finally:
            ended.cancel()
