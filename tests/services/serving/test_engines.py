"""Which server is made for which engine, and what is said about it."""

import asyncio

import grpc
import pytest
from structlog.testing import capture_logs

from springtide.settings.model import ServerSettings
from springtide_services.serving.engines import make_grpc_server


def made(engine: str, host: str) -> tuple[grpc.aio.Server, list[str]]:
    """Make a server; return it and the events that were logged."""

    async def make() -> grpc.aio.Server:
        return make_grpc_server(ServerSettings.model_validate({"engine": engine, "host": host}))

    with capture_logs() as logs:
        server = asyncio.run(make())
    return server, [entry["event"] for entry in logs]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_grpcio_serves_by_default_and_warns_of_nothing(host: str) -> None:
    server, logged = made("grpcio", host)
    assert ServerSettings().engine == "grpcio"
    assert type(server).__module__.partition(".")[0] == "grpc"
    assert logged == []


@pytest.mark.parametrize(
    ("host", "is_warned"),
    [("127.0.0.1", False), ("::1", False), ("[::1]", False), ("localhost", False), ("0.0.0.0", True), ("db", True)],
)
def test_the_native_engine_warns_where_others_may_reach_it(host: str, is_warned: bool) -> None:
    pytest.importorskip("pygrpc_native")
    server, logged = made("native", host)
    assert type(server).__module__.partition(".")[0] == "pygrpc_native"
    assert logged == ["engine_trusts_clients"] * is_warned


@pytest.mark.parametrize("engine", ["grpcio", "native"])
def test_a_call_is_cancelled_at_its_clients_deadline(engine: str) -> None:
    if engine == "native":
        pytest.importorskip("pygrpc_native")
    cancelled = asyncio.Event()

    async def wait_for_ever(request: bytes, context: object) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return request

    async def scenario() -> grpc.StatusCode:
        server = make_grpc_server(ServerSettings.model_validate({"engine": engine}))
        handlers = {"Wait": grpc.unary_unary_rpc_method_handler(wait_for_ever)}
        server.add_registered_method_handlers("a.Service", handlers)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await channel.unary_unary("/a.Service/Wait")(b"", timeout=0.2)
        await asyncio.wait_for(cancelled.wait(), 2)
        await server.stop(None)
        return late.value.code()

    assert asyncio.run(scenario()) == grpc.StatusCode.DEADLINE_EXCEEDED
