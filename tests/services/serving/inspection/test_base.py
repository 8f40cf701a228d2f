"""A look into the graph ends when nobody waits for it any more, and has threads of its own."""

import asyncio
import threading
import time
from typing import Any

import grpc
import pytest

from springtide.settings.model import Settings
from springtide.v1 import inspection_pb2 as pb
from springtide.v1 import inspection_pb2_grpc as pb_grpc
from springtide_services.serving.inspection.base import IsOver
from springtide_services.serving.inspection.service import InspectionService
from springtide_services.serving.statuses import with_deadline_and_status

BUDGET_S = 60.0


class Endless(InspectionService):
    """Searches until it is told to give up, and says in which thread."""

    def __init__(self) -> None:
        super().__init__(Settings())
        self.begun, self.ended = threading.Event(), threading.Event()
        self.thread = ""

    @with_deadline_and_status
    async def SearchNodes(self, request: Any, context: Any) -> pb.SearchNodesResponse:  # noqa: N802
        def find(is_over: IsOver) -> pb.SearchNodesResponse:
            self.thread = threading.current_thread().name
            self.begun.set()
            until_s = time.monotonic() + BUDGET_S
            while not is_over() and time.monotonic() < until_s:
                time.sleep(0.01)
            if is_over():
                self.ended.set()
            return pb.SearchNodesResponse()

        return await self.look(context, find)


@pytest.mark.parametrize("how", ["deadline", "cancelled"])
def test_a_look_ends_with_its_call(how: str) -> None:
    async def scenario() -> tuple[Endless, grpc.StatusCode]:
        service, server = Endless(), grpc.aio.server()
        pb_grpc.add_InspectionServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = pb_grpc.InspectionServiceStub(channel)
            call = stub.SearchNodes(pb.SearchNodesRequest(), timeout=0.2 if how == "deadline" else BUDGET_S)
            if how == "cancelled":
                await asyncio.to_thread(service.begun.wait, BUDGET_S)
                call.cancel()
            code = await call.code()
            await asyncio.to_thread(service.ended.wait, BUDGET_S)
        await server.stop(None)
        return service, code

    service, code = asyncio.run(scenario())
    assert service.ended.is_set()
    assert code == (grpc.StatusCode.DEADLINE_EXCEEDED if how == "deadline" else grpc.StatusCode.CANCELLED)
    assert service.thread.startswith("inspection")
