"""Calls are counted on both engines, with the status that the client gets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest

from springtide.errors import InvalidRequestError, ModelError
from springtide.settings.model import ServerSettings
from springtide_services.access.guard import GuardInterceptor, Refusal
from springtide_services.metrics.calls import CallCounts, MethodCounts
from springtide_services.serving.engines import for_services, make_grpc_server

Ask = Callable[..., Awaitable[bytes]]


@pytest.fixture(params=["grpcio", "native"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "native":
        pytest.importorskip("pygrpc_native")
    return str(request.param)


async def answer(request: bytes, context: Any) -> bytes:
    """Answer as the request says."""
    if request == b"wait":
        await asyncio.Event().wait()
    if request == b"wrong":
        raise InvalidRequestError("field", "wrong")
    if request == b"fails":
        raise ModelError("no such version")
    if request == b"bug":
        raise ZeroDivisionError
    if request == b"abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "none")
    return request


async def stream(request: bytes, context: Any) -> None:
    for _ in range(3):
        await context.write(await answer(request, context))


@contextlib.asynccontextmanager
async def serving(
    engine: str, interceptors: Any = (), service: str = "a.Service", **settings_: int
) -> AsyncIterator[tuple[CallCounts, grpc.aio.Channel]]:
    settings, calls = ServerSettings.model_validate({"engine": engine, **settings_}), CallCounts()
    server = make_grpc_server(settings, interceptors, calls.refuse)
    handlers = {
        "Recommend": grpc.unary_unary_rpc_method_handler(answer),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
    }
    services: Any = for_services(server, settings, calls)
    services.add_registered_method_handlers(service, handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield calls, channel
    await server.stop(None)


async def code_of(ask: Any, request: bytes, timeout: float = 60) -> str:
    try:
        await ask(request, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def ended(counts: MethodCounts, wanted: int) -> dict[str, int]:
    """Wait until so many calls have ended: the client has its answer a moment before."""
    async with asyncio.timeout(60):
        while sum(counts.num_ended.values()) < wanted:
            await asyncio.sleep(0.01)
    return counts.num_ended


def test_each_call_counts_with_the_status_that_the_client_gets(engine: str) -> None:
    async def scenario() -> None:
        async with serving(engine) as (calls, channel):
            ask = channel.unary_unary("/a.Service/Recommend")
            counts = calls.of("/a.Service/Recommend", "unary")
            got = [await code_of(ask, each) for each in (b"", b"", b"wrong", b"fails", b"bug", b"abort")]
            assert got == ["OK", "OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "INTERNAL", "NOT_FOUND"]
            assert await ended(counts, 6) == {name: got.count(name) for name in got}
            assert (counts.num_open, counts.recent().num, counts.times_in_buckets()[-1]) == (0, 6, 6)

    asyncio.run(scenario())


def test_a_call_without_an_answer_is_open_until_its_client_leaves(engine: str) -> None:
    async def scenario() -> None:
        async with serving(engine) as (calls, channel):
            counts = calls.of("/a.Service/Recommend", "unary")
            call = channel.unary_unary("/a.Service/Recommend")(b"wait")
            async with asyncio.timeout(60):
                while calls.num_open != 1:
                    await asyncio.sleep(0.01)
            call.cancel()
            assert await ended(counts, 1) == {"CANCELLED": 1}
            assert await code_of(channel.unary_unary("/a.Service/Recommend"), b"wait", 0.2) == "DEADLINE_EXCEEDED"
            assert (await ended(counts, 2)).get("DEADLINE_EXCEEDED", 0) + counts.num_ended["CANCELLED"] == 2
            assert calls.num_open == 0

    asyncio.run(scenario())


def test_a_stream_is_one_call(engine: str) -> None:
    async def scenario() -> None:
        async with serving(engine) as (calls, channel):
            counts = calls.of("/a.Service/Stream", "server_stream")
            assert [each async for each in channel.unary_stream("/a.Service/Stream")(b"x")] == [b"x"] * 3
            with pytest.raises(grpc.aio.AioRpcError):
                [each async for each in channel.unary_stream("/a.Service/Stream")(b"wrong")]
            assert await ended(counts, 2) == {"OK": 1, "INVALID_ARGUMENT": 1}
            assert counts.kind == "server_stream"

    asyncio.run(scenario())


class NobodyMayPass:
    """A guard that refuses all."""

    def admit(self, method: str, metadata: object) -> Refusal:
        return Refusal(grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING", "nobody may")

    async def refuse(self, refusal: Refusal, method: str, context: Any) -> None:
        await context.abort(refusal.code, refusal.message)


def test_what_the_guard_refuses_counts_and_has_no_time(engine: str) -> None:
    async def scenario() -> None:
        refused: list[str] = []
        guard: Any = NobodyMayPass()
        interceptor = GuardInterceptor(guard, "a.Service", lambda path, code: refused.append(f"{path} {code.name}"))
        async with serving(engine, (interceptor,)) as (calls, channel):
            counts = calls.of("/a.Service/Recommend", "unary")
            assert await code_of(channel.unary_unary("/a.Service/Recommend"), b"") == "PERMISSION_DENIED"
            assert refused == ["/a.Service/Recommend PERMISSION_DENIED"]
            calls.refuse("/a.Service/Recommend", grpc.StatusCode.PERMISSION_DENIED)
            assert (counts.num_ended, counts.recent().num) == ({"PERMISSION_DENIED": 1}, 0)

    asyncio.run(scenario())


def test_what_the_native_engine_refuses_counts() -> None:
    pytest.importorskip("pygrpc_native")

    async def scenario() -> None:
        service = "springtide.v1.RecommenderService"
        async with serving("native", service=service, max_open_requests=1) as (calls, channel):
            ask = channel.unary_unary(f"/{service}/Recommend")
            waiting = [ask(b"wait") for _ in range(2)]  # Twice as many as may be open are taken.
            async with asyncio.timeout(60):
                while calls.num_open != 2:
                    await asyncio.sleep(0.01)
            assert await code_of(ask, b"") == "RESOURCE_EXHAUSTED"
            counts = calls.of(f"/{service}/Recommend", "unary")
            assert counts.num_ended == {"RESOURCE_EXHAUSTED": 1}
            assert (counts.num_started, counts.num_open, counts.recent().num) == (3, 2, 0)
            for call in waiting:
                call.cancel()

    asyncio.run(scenario())
