"""Errors as gRPC statuses: the code, the details, and what is not shown."""

import asyncio
import time

import grpc
import pytest
from google.rpc import error_details_pb2

from springtide.errors import CheckpointError, InvalidRequestError, ModelError, SpringtideError
from springtide.v1 import recommender_pb2 as pb
from springtide.v1 import recommender_pb2_grpc as pb_grpc
from springtide_services.serving.statuses import (
    Context,
    NotFoundError,
    NotReadyError,
    refusal_of,
    status_of,
    with_deadline_and_status,
)


class Dawdler(pb_grpc.RecommenderServiceServicer):
    """Takes longer than it may."""

    max_deadline_s = 0.1

    @with_deadline_and_status
    async def Recommend(  # noqa: N802  # The proto's name.
        self, request: pb.RecommendRequest, context: Context[pb.RecommendRequest, pb.RecommendResponse]
    ) -> pb.RecommendResponse:
        await asyncio.sleep(120)  # Longer than any deadline here.
        return pb.RecommendResponse()


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (InvalidRequestError("count", "wanted 1"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        (NotFoundError("no model"), grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
        (NotReadyError("loading"), grpc.StatusCode.UNAVAILABLE, "NOT_READY"),
        (ModelError("damaged"), grpc.StatusCode.FAILED_PRECONDITION, "MODEL"),
        (CheckpointError("no space"), grpc.StatusCode.FAILED_PRECONDITION, "CHECKPOINT"),
        (SpringtideError("something"), grpc.StatusCode.FAILED_PRECONDITION, "SPRINGTIDE"),
        (OSError(28, "No space left on device"), grpc.StatusCode.UNAVAILABLE, "OS"),
        (TimeoutError(), grpc.StatusCode.DEADLINE_EXCEEDED, "TIMEOUT"),
    ],
)
def test_an_error_gets_its_code_and_reason(error: Exception, code: grpc.StatusCode, reason: str) -> None:
    status = status_of(error, 10)
    assert status.code == code.value[0]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("springtide", reason)


def test_a_bad_field_is_named_in_the_details() -> None:
    status = status_of(InvalidRequestError("count", "wanted 1 to 1,000, got 0"), 10)
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    assert [(entry.field, entry.description) for entry in bad.field_violations] == [
        ("count", "wanted 1 to 1,000, got 0")
    ]


def test_what_is_not_ours_is_not_shown() -> None:
    status = status_of(KeyError("a secret"), 10)
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert "secret" not in status.message


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/srv/models/000003/model.safetensors: damaged", ".../model.safetensors: damaged"),
        ("checkpoints at s3://user:pw@bucket/x: no lock", "checkpoints at .../x: no lock"),
        ("not written to /x/y: [Errno 28] No space: '/x/y/z'", "not written to .../y: [Errno 28] No space: '.../z'"),
        ("https://host/p?token=abc refused (~/a/b)", ".../p refused (.../b)"),
        ("half/year, 3/4, no version 9 (choices: 1, 2)", "half/year, 3/4, no version 9 (choices: 1, 2)"),
    ],
)
def test_where_the_server_keeps_its_files_is_not_shown(said: str, shown: str) -> None:
    assert status_of(ModelError(said), 10).message == shown
    assert status_of(InvalidRequestError("item", said), 10).message.endswith(said), "the client has sent that"


@pytest.mark.parametrize("timeout_s", [None, 30.0])
def test_a_call_takes_no_longer_than_the_server_allows(timeout_s: float | None) -> None:
    async def scenario() -> None:
        server = grpc.aio.server()
        pb_grpc.add_RecommenderServiceServicer_to_server(Dawdler(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await pb_grpc.RecommenderServiceStub(channel).Recommend(pb.RecommendRequest(), timeout=timeout_s)
        await server.stop(None)
        assert refused.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert "0.1 s at most" in (refused.value.details() or "")

    started = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - started < 60


def test_a_message_is_cut_to_what_the_headers_of_an_answer_can_hold() -> None:
    _, message, metadata = refusal_of(InvalidRequestError("page_token", "é" * 100_000), 10)
    assert message.endswith("…")
    assert 3 * len(message.encode()) + sum(len(value) for _, value in metadata) < 8_000
