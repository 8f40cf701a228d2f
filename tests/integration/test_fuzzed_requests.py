"""Whatever bytes a call brings, it ends with an answer or a clear error: never INTERNAL, UNKNOWN or a traceback."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, events_pb2, inspection_pb2, recommender_pb2
from springtide_services.serving.server import Server

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], recommender_pb2.GraphPosition]

METHODS = [
    method
    for file in (recommender_pb2.DESCRIPTOR, admin_pb2.DESCRIPTOR, inspection_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR)
    for service in file.services_by_name.values()
    for method in service.methods
    if not (method.server_streaming and file is health_pb2.DESCRIPTOR)  # Its stream has no end.
]
STREAMED = {f"/{each.containing_service.full_name}/{each.name}" for each in METHODS if each.server_streaming}
WORDS = st.sampled_from(
    ["", "u1", "i2", "*", "purchase", "colour", "0", "000001", "9" * 5_000, "٣", "\0", "../x", "é" * 300]
)
DEADLINE_S = 60.0  # An answer takes milliseconds; a busy machine may take much longer.
INTEGERS = {
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_ENUM: st.integers(-1, 9) | st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2_000),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
}


def values_of(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Return values that a field may have."""
    if field.message_type is not None:
        return messages(field.message_type)
    if field.type == FieldDescriptor.TYPE_STRING:
        return WORDS | st.text(max_size=40)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return st.floats(width=32)
    return INTEGERS[field.type] | st.integers(0, 30)


def messages(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    """Return messages of a type, with any fields."""

    def fill(fields: dict[str, Any]) -> Message:
        message: Any = GetMessageClass(descriptor)()
        for name, value in fields.items():
            if isinstance(value, dict):
                for key, entry in value.items():
                    if isinstance(entry, Message):
                        getattr(message, name)[key].CopyFrom(entry)
                    else:
                        getattr(message, name)[key] = entry
            elif isinstance(value, list):
                getattr(message, name).extend(value)
            elif isinstance(value, Message):
                getattr(message, name).CopyFrom(value)
            else:
                setattr(message, name, value)
        return message

    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields
            fields[field.name] = st.dictionaries(values_of(key), values_of(value), max_size=3)
        elif field.is_repeated:
            fields[field.name] = st.lists(values_of(field), max_size=4)
        else:
            fields[field.name] = values_of(field)
    return st.fixed_dictionaries({}, optional=fields).map(fill)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a call: the path of a method, and a request of it, a damaged one, or any bytes."""
    method = draw(st.sampled_from(METHODS))
    data = draw(messages(method.input_type)).SerializeToString()
    damage = draw(st.sampled_from(["none", "none", "bytes", "cut", "flip"]))
    if damage == "bytes":
        data = draw(st.binary(max_size=200))
    elif damage == "cut":
        data = data[: draw(st.integers(0, len(data)))]
    elif damage == "flip" and data:
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + bytes([data[place] ^ draw(st.integers(1, 255))]) + data[place + 1 :]
    return f"/{method.containing_service.full_name}/{method.name}", data


def admin(method: str, request: Message) -> tuple[str, bytes]:
    return f"/springtide.v1.AdminService/{method}", request.SerializeToString()


def inspection(method: str, request: Message) -> tuple[str, bytes]:
    return f"/springtide.v1.InspectionService/{method}", request.SerializeToString()


@pytest.fixture
def addresses(
    on_each_engine: Settings, publish: Publish, diagonal_stream: list[events_pb2.Event]
) -> Iterator[list[str]]:
    """A server that runs in a thread; the addresses where it answers, one of which knows a method."""
    publish(on_each_engine, diagonal_stream)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def done(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(120)

    async def until_loaded(server: Server) -> None:
        while server._admin.loaded is None or not server._is_ready:
            await asyncio.sleep(0.02)

    async def make() -> Server:
        return Server(on_each_engine)

    server = done(make())
    try:
        done(server.start())
        done(until_loaded(server))
        yield [server.address, getattr(server, "admin_address", server.address)]
    finally:
        done(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # The server's threads do, while a call is drawn.
def test_each_call_ends_with_an_answer_or_a_clear_error(addresses: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    channels = [grpc.insecure_channel(address) for address in addresses]

    @hypothesis_settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
    @given(call=calls())
    @example(call=admin("ListModels", admin_pb2.ListModelsRequest(page_token="OTk5" * 1_700)))
    @example(call=admin("PromoteModel", admin_pb2.PromoteModelRequest(version="é" * 100_000)))
    @example(call=admin("ServeRebuild", admin_pb2.ServeRebuildRequest(rebuilt="9" * 5_000)))
    @example(call=inspection("GetSeason", inspection_pb2.GetSeasonRequest(name="item=" + "é" * 100_000)))
    @example(call=inspection("GetModel", inspection_pb2.GetModelRequest(version="../000001")))
    @example(call=("/springtide.v1.RecommenderService/Explain", b"\xff\xff\xff"))
    @example(call=("/grpc.health.v1.Health/Check", b"\x0a\x02\xff\xff"))
    def each(call: tuple[str, bytes]) -> None:
        path, data = call
        ends = []
        for channel in channels:
            try:
                if path in STREAMED:
                    list(channel.unary_stream(path)(data, timeout=DEADLINE_S))
                else:
                    channel.unary_unary(path)(data, timeout=DEADLINE_S)
                ends.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                ends.append(error.code())  # type: ignore[attr-defined]  # Its stubs know no code.
        assert not {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED} & set(ends)
        assert set(ends) != {grpc.StatusCode.UNIMPLEMENTED}

    with capture_logs() as logs:
        each()
    for channel in channels:
        channel.close()
    assert not [entry for entry in logs if entry.get("exc_info")]
    assert not [record for record in caplog.records if record.exc_info]


def test_the_status_is_answered_and_says_that_the_trainers_progress_is_damaged(
    on_each_engine: Settings, run_server: RunServer
) -> None:
    folder = Path(on_each_engine.model.url).parent / "training"
    folder.mkdir()
    (folder / "status.json").write_text('{"stage": "learn", "mode": "retrain", "updated_ms": "\\ud800')

    async def scenario() -> admin_pb2.TrainingStatus:
        async with run_server(on_each_engine) as running:
            status: admin_pb2.GetStatusResponse = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
            return status.training

    training = asyncio.run(scenario())
    assert training.stage == "unreadable"
    assert "training/status.json" in training.failure


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_request_that_is_too_large_is_refused_and_says_how_large_one_may_be(
    on_each_engine: Settings, run_server: RunServer, compression: grpc.Compression
) -> None:
    server = on_each_engine.server.model_copy(update={"max_request_bytes": 10_000})
    too_large = recommender_pb2.RecommendRequest(exclude_items=["i" * 100] * 101)

    async def scenario() -> tuple[grpc.StatusCode, str]:
        async with run_server(on_each_engine.model_copy(update={"server": server})) as running:
            await running.recommender.Recommend(recommender_pb2.RecommendRequest(exclude_items=["i" * 100] * 90))
            call = running.recommender.Recommend(too_large, compression=compression)
            return await call.code(), str(await call.details())

    code, details = asyncio.run(scenario())
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in details
