"""The server over real sockets: its health, its answers and its refusals."""

import asyncio
import math
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status.rpc_status import GRPC_DETAILS_METADATA_KEY

from springtide.errors import (
    SettingsError,
)
from springtide.ranking.answers import FAMILIARITY
from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, admin_pb2_grpc, events_pb2, recommender_pb2_grpc
from springtide.v1 import recommender_pb2 as pb
from springtide_services.addresses import free_port
from springtide_services.serving.admin_service import AdminService
from springtide_services.serving.recommender_service import RecommenderService
from springtide_services.serving.server import Server

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
Eventually = Callable[..., Awaitable[float]]
MakePurchase = Callable[..., events_pb2.Event]
SERVICES = ("", "springtide.v1.RecommenderService", "springtide.v1.AdminService")


@pytest.fixture
def settings(on_each_engine: Settings) -> Settings:
    return on_each_engine


class Stub(Protocol):
    def __call__(self, request: Any) -> Awaitable[Any]: ...


async def refusal(stub: Stub, request: Any) -> tuple[grpc.StatusCode, list[str], str]:
    """Return the code, the fields at fault and the message that a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(request)
    fields: list[str] = []
    for key, value in refused.value.trailing_metadata():
        if key == GRPC_DETAILS_METADATA_KEY:
            for detail in status_pb2.Status.FromString(value).details:
                bad = error_details_pb2.BadRequest()
                if detail.Unpack(bad):
                    fields += [violation.field for violation in bad.field_violations]
    return refused.value.code(), fields, refused.value.details() or ""


def test_health_turns_to_serving_once_the_stream_is_caught_up(
    settings: Settings, run_server: RunServer, eventually: Eventually
) -> None:
    async def scenario() -> None:
        async with run_server(settings, wait_until_ready=False) as running:
            assert [await running.is_serving(name) for name in SERVICES] == [False] * 3
            await eventually(running.is_serving)
            assert [await running.is_serving(name) for name in SERVICES] == [True] * 3

    asyncio.run(scenario())


def test_services_that_are_not_loaded_yet_say_that_they_are_unavailable() -> None:
    async def scenario() -> None:
        grpc_server = grpc.aio.server()
        recommender_pb2_grpc.add_RecommenderServiceServicer_to_server(RecommenderService(Settings()), grpc_server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(Settings()), grpc_server)
        port = grpc_server.add_insecure_port("127.0.0.1:0")
        await grpc_server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            recommender = recommender_pb2_grpc.RecommenderServiceStub(channel)
            admin = admin_pb2_grpc.AdminServiceStub(channel)
            for stub, request in (
                (recommender.Recommend, pb.RecommendRequest()),
                (admin.GetStatus, admin_pb2.GetStatusRequest()),
            ):
                code, _, message = await refusal(stub, request)
                assert (code, "still loading" in message) == (grpc.StatusCode.UNAVAILABLE, True)
        await grpc_server.stop(None)

    asyncio.run(scenario())


@pytest.mark.parametrize("is_on", [True, False])
def test_reflection_lists_the_services_where_it_is_on(settings: Settings, run_server: RunServer, is_on: bool) -> None:
    server_settings = settings.server.model_copy(update={"reflection": is_on})

    async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async def scenario(is_admin: bool) -> set[str]:
        changed = settings.model_copy(update={"server": server_settings})
        async with run_server(changed, wait_until_ready=False) as running:
            channel = grpc.aio.insecure_channel(running.server.admin_address) if is_admin else running.channel
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            if not is_on:
                # Nothing is sent: a request that is on its way when the refusal comes is an error of the client's own.
                assert await stub.ServerReflectionInfo().code() == grpc.StatusCode.UNIMPLEMENTED
                return set()
            async for answer in stub.ServerReflectionInfo(requests()):
                return {service.name for service in answer.list_services_response.service}
        return set()

    for is_admin, services in ((False, {SERVICES[1]}), (True, {SERVICES[2], "springtide.v1.InspectionService"})):
        found = asyncio.run(scenario(is_admin))
        standard = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
        assert found == (services | standard if is_on else set())


def test_a_bad_request_is_refused_with_the_field_that_is_wrong(settings: Settings, run_server: RunServer) -> None:
    recommend_requests = [
        (pb.RecommendRequest(count=0), "count"),
        (pb.RecommendRequest(user="u" * 300), "user"),
        (pb.RecommendRequest(recent_items=["i"] * 1_001), "recent_items"),
        (pb.RecommendRequest(exclude_items=["i"] * 10_001), "exclude_items"),
        (pb.RecommendRequest(allow_items=[""]), "allow_items[0]"),
        (pb.RecommendRequest(exclude_seen=["nothing_of_that_name"]), "exclude_seen[0]"),
        (pb.RecommendRequest(category_filters=[pb.CategoryFilter(attribute="a")]), "category_filters[0].values"),
        (
            pb.RecommendRequest(category_filters=[pb.CategoryFilter(attribute="colour", values=["red"])]),
            "category_filters[0].attribute",
        ),
        (pb.RecommendRequest(context=pb.Context(attributes={str(n): "" for n in range(65)})), "context.attributes"),
        (pb.RecommendRequest(min_position=pb.GraphPosition(next_offsets={9: 1})), "min_position.next_offsets[9]"),
        (pb.RecommendRequest(min_position=pb.GraphPosition(next_offsets={0: 1}), wait=Duration(seconds=11)), "wait"),
    ]
    far_away = pb.RecommendRequest()
    far_away.context.event_time.seconds = 10**15
    recommend_requests.append((far_away, "context.event_time"))

    async def scenario() -> None:
        async with run_server(settings) as running:
            for request, field in recommend_requests:
                code, fields, _ = await refusal(running.recommender.Recommend, request)
                assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
            for stub, other_request, field in (
                (running.recommender.SimilarItems, pb.SimilarItemsRequest(), "item"),
                (running.recommender.SimilarItems, pb.SimilarItemsRequest(item="i", count=1_001), "count"),
                (running.recommender.Explain, pb.ExplainRequest(), "item"),
                (running.recommender.Explain, pb.ExplainRequest(item="nothing of that id"), "item"),
                (running.recommender.Explain, pb.ExplainRequest(item="i", user="u" * 300), "user"),
                (running.admin.ListModels, admin_pb2.ListModelsRequest(page_size=-1), "page_size"),
                (running.admin.ListModels, admin_pb2.ListModelsRequest(page_token="?"), "page_token"),
                (running.admin.PromoteModel, admin_pb2.PromoteModelRequest(), "version"),
                (running.admin.StartTraining, admin_pb2.StartTrainingRequest(mode=9), "mode"),
            ):
                code, fields, _ = await refusal(stub, other_request)
                assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
            too_large = pb.RecommendRequest(exclude_items=["i" * 1_000] * 9_000)
            code, _, _ = await refusal(running.recommender.Recommend, too_large)
            assert code == grpc.StatusCode.RESOURCE_EXHAUSTED

    asyncio.run(scenario())


def test_without_a_model_the_fallback_answers_and_says_so(
    settings: Settings, run_server: RunServer, diagonal_stream: list[events_pb2.Event], publish: Publish
) -> None:
    position = publish(settings, diagonal_stream)

    async def scenario() -> pb.RecommendResponse:
        async with run_server(settings) as running:
            return await running.recommender.Recommend(pb.RecommendRequest(user="u1", count=5, min_position=position))

    response = asyncio.run(scenario())
    assert len(response.items) == 5
    assert response.personalization == pb.PERSONALIZATION_FALLBACK
    assert response.model_version == ""
    assert dict(response.position.next_offsets) == dict(position.next_offsets)


def test_an_answer_reflects_the_position_that_was_asked_for(
    settings: Settings,
    run_server: RunServer,
    make_purchase: MakePurchase,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    publish(settings, diagonal_stream)

    async def scenario() -> None:
        async with run_server(settings) as running:
            for item in ("i3", "i5", "i7"):
                position = await asyncio.to_thread(publish, settings, [make_purchase("u_new", item)])
                response = await running.recommender.Recommend(
                    pb.RecommendRequest(
                        user="u_new",
                        count=16,
                        exclude_seen=["purchase"],
                        min_position=position,
                        wait=Duration(seconds=5),
                    )
                )
                assert not response.is_behind_min_position
                assert item not in {entry.item for entry in response.items}
                assert all(response.position.next_offsets[part] >= at for part, at in position.next_offsets.items())

    asyncio.run(scenario())


def test_a_position_that_does_not_come_is_not_waited_for_longer_than_asked(
    settings: Settings, run_server: RunServer
) -> None:
    far = pb.GraphPosition(next_offsets={0: 10**9})

    async def scenario() -> None:
        async with run_server(settings) as running:
            started = time.monotonic()
            request = pb.RecommendRequest(user="u", min_position=far, wait=Duration(nanos=200_000_000))
            response = await running.recommender.Recommend(request)
            assert response.is_behind_min_position
            assert 0.2 <= time.monotonic() - started < 8, "not as long as the server allows"
            request = pb.RecommendRequest(user="u", min_position=far, wait=Duration(seconds=10))
            response = await running.recommender.Recommend(request, timeout=2.0)  # Answered before that deadline.
            assert response.is_behind_min_position

    asyncio.run(scenario())


def test_a_server_on_an_ipv6_address_answers_where_it_says_and_where_the_settings_say(
    settings: Settings, run_server: RunServer
) -> None:
    try:
        port = free_port("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    server_settings = settings.server.model_copy(update={"host": "::1", "port": port})
    command = [Path(sys.executable).with_name("springtide"), "status", "--json"]
    environment = {**os.environ, "SPRINGTIDE_SERVER__HOST": "::1", "SPRINGTIDE_SERVER__PORT": str(port)}

    async def scenario() -> subprocess.CompletedProcess[str]:
        async with run_server(settings.model_copy(update={"server": server_settings})) as running:
            assert running.server.address == f"[::1]:{port}"
            return await asyncio.to_thread(
                subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60
            )

    done = asyncio.run(scenario())
    assert done.returncode == 0, done.stderr


def test_a_port_that_is_taken_is_named(settings: Settings, run_server: RunServer) -> None:
    async def scenario() -> None:
        async with run_server(settings, wait_until_ready=False) as running:
            port = int(running.server.address.rpartition(":")[2])
            server_settings = settings.server.model_copy(update={"port": port})
            second = Server(settings.model_copy(update={"server": server_settings}))
            with pytest.raises(SettingsError, match=rf"cannot listen on 127\.0\.0\.1:{port}"):
                await second.start()
            await second.stop()

    asyncio.run(scenario())


def test_an_item_is_explained_as_it_was_ranked(
    settings: Settings, run_server: RunServer, diagonal_stream: list[events_pb2.Event], publish: Publish
) -> None:
    position = publish(settings, diagonal_stream)
    context = pb.Context(attributes={"time_zone": "Nowhere/At_All"})
    context.event_time.CopyFrom(diagonal_stream[-1].event_time)

    async def scenario() -> tuple[pb.RecommendResponse, pb.ExplainResponse]:
        async with run_server(settings) as running:
            view = pb.RECOMMEND_VIEW_FULL
            request = pb.RecommendRequest(user="u4", context=context, min_position=position, view=view)
            assert not (await running.recommender.Recommend(request)).is_behind_min_position
            running.forget_weights()  # Those may be of part of the events; Explain makes its own.
            response = await running.recommender.Recommend(request)
            request = pb.ExplainRequest(user="u4", item=response.items[0].item, context=context)
            return response, await running.recommender.Explain(request)

    response, explained = asyncio.run(scenario())
    best = response.items[0]
    assert (explained.item, explained.rank) == (best.item, 1)
    assert explained.score == pytest.approx(best.score, abs=1e-4)
    ranked_by = dict(zip(response.weight_names, best.weights, strict=True))
    ranked_by.pop(FAMILIARITY, None)  # It is in the exponent.
    assert {weight.name: weight.weight for weight in explained.weights} == pytest.approx(ranked_by, rel=1e-4)
    for weight in explained.weights:
        assert weight.weight == pytest.approx(math.prod(factor.weight for factor in weight.factors), rel=1e-4)
        for factor in weight.factors:
            assert factor.weight == pytest.approx(factor.lift**factor.exponent, rel=1e-4)
    assert "you chose it" in explained.sentence
    assert explained.personalization == pb.PERSONALIZATION_FALLBACK
