"""Which server is made for which engine, and what is said about it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from operator import attrgetter
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from springtide.settings.model import ServerSettings, Settings
from springtide.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    inspection_pb2,
    inspection_pb2_grpc,
    recommender_pb2,
    recommender_pb2_grpc,
)
from springtide_services.serving.admin_service import AdminService
from springtide_services.serving.engines import for_services, make_grpc_server
from springtide_services.serving.inspection.service import InspectionService
from springtide_services.serving.recommender_service import RecommenderService, add_recommender_service
from springtide_services.serving.standard_services import Health


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
    assert type(server).__name__ == "NativeServer"
    assert logged == ["engine_trusts_clients"] * is_warned


@pytest.fixture(params=["grpcio", "native"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "native":
        pytest.importorskip("pygrpc_native")
    return str(request.param)


@contextlib.asynccontextmanager
async def serving(engine: str, answer: Callable[[bytes, object], Awaitable[bytes]]) -> AsyncIterator[Any]:
    """Serve one method, and give the server and a channel to it."""
    server = make_grpc_server(ServerSettings.model_validate({"engine": engine}))
    server.add_registered_method_handlers("a.Service", {"Ask": grpc.unary_unary_rpc_method_handler(answer)})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        yield server, channel.unary_unary("/a.Service/Ask")
    await server.stop(None)


def test_a_call_is_cancelled_at_its_clients_deadline(engine: str) -> None:
    cancelled = asyncio.Event()

    async def wait_for_ever(request: bytes, context: object) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return request

    async def scenario() -> grpc.StatusCode:
        async with serving(engine, wait_for_ever) as (_, ask):
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await ask(b"", timeout=0.2)
            await asyncio.wait_for(cancelled.wait(), 60)
            return late.value.code()

    assert asyncio.run(scenario()) == grpc.StatusCode.DEADLINE_EXCEEDED


def test_grpcio_waits_for_calls_of_one_method_and_of_all_others_together() -> None:
    """Each task that waits for a call makes every call take longer."""

    async def scenario() -> tuple[list[str], int, int]:
        settings = ServerSettings(engine="grpcio")
        server: Any = make_grpc_server(settings)
        services = for_services(server, settings)
        add_recommender_service(RecommenderService(Settings()), services)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(Settings()), services)
        health = Health()
        await health.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(health, services)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        await asyncio.sleep(0)
        coroutines = [task.get_coro() for task in asyncio.all_tasks()]
        waiting = [name for each in coroutines if "_request" in (name := str(getattr(each, "__name__", "")))]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            status = (await check(health_pb2.HealthCheckRequest())).status
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend(recommender_pb2.RecommendRequest())
            assert refused.value.code() == grpc.StatusCode.UNAVAILABLE, "it is served, but still loading"
        await server.stop(None)
        return sorted(waiting), status, health_pb2.HealthCheckResponse.SERVING

    waiting, status, serving_status = asyncio.run(scenario())
    assert waiting == ["_request_call", "_request_registered_call"]
    assert status == serving_status


def test_the_native_engine_itself_serves_each_method_that_can_be_under_load() -> None:
    """It passes methods that are not registered to a server of grpcio behind it, and is then slower than grpcio."""
    pytest.importorskip("pygrpc_native")

    async def started(address: str) -> tuple[set[str], set[str]]:
        settings = ServerSettings(engine="native")
        server: Any = make_grpc_server(settings)
        services = for_services(server, settings)
        add_recommender_service(RecommenderService(Settings()), services)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(Settings()), services)
        inspection_pb2_grpc.add_InspectionServiceServicer_to_server(InspectionService(Settings()), services)
        health_pb2_grpc.add_HealthServicer_to_server(Health(), services)
        server.add_insecure_port(address)
        await server.start()
        await server.stop(None)
        return {path for path, _ in server._table}, set(server._registered)

    itself, registered = asyncio.run(started("127.0.0.1:0"))
    methods = {
        f"/{service.full_name}/{method.name}"
        for file in map(attrgetter("DESCRIPTOR"), (recommender_pb2, admin_pb2, inspection_pb2, health_pb2))
        for service in file.services_by_name.values()
        for method in service.methods
    }
    assert itself == registered == methods


def test_the_native_engine_loses_no_answer_when_it_stops() -> None:
    """Those of grpcio are safe, unless server and client share an event loop as here: then it resets connections."""
    pytest.importorskip("pygrpc_native")

    async def scenario() -> None:
        may_answer, num_asked = asyncio.Event(), 0

        async def answer(request: bytes, context: object) -> bytes:
            nonlocal num_asked
            num_asked += 1
            await may_answer.wait()
            return request

        async with serving("native", answer) as (server, ask):
            asked = [asyncio.ensure_future(ask(bytes(2_000))) for _ in range(20)]
            async with asyncio.timeout(60):
                while num_asked < len(asked):
                    await asyncio.sleep(0.001)
            stopping = asyncio.ensure_future(server.stop(60))
            await asyncio.sleep(0.05)  # They are answered while the server stops.
            may_answer.set()
            await asyncio.gather(*asked, stopping)

    for _ in range(10):  # pygrpc-native by itself loses answers in one of five attempts or so.
        asyncio.run(scenario())
