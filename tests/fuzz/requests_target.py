"""Any bytes as the request of any method, to a server that runs as its users start it."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from targets import Target, example_events

from springtide.model.registry import ModelStore
from springtide.settings.file import admin_port_beside
from springtide.settings.model import KafkaSettings, Settings
from springtide.testing import even_odd_events, even_odd_state, quick_model, quick_settings
from springtide.v1 import admin_pb2, events_pb2, inspection_pb2, recommender_pb2
from springtide_services.addresses import LOOPBACK, free_port, join_address
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import ensure_topics

DEADLINE_S = 60.0  # An answer takes milliseconds; a busy machine may take much longer.
METHODS = [
    method
    for file in (recommender_pb2, admin_pb2, inspection_pb2, health_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.server_streaming
]
_BAD = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}


def requests_target() -> Target:
    """A call: the first byte chooses the method, the rest is the request."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="springtide-fuzz-")))
        broker = stack.enter_context(EmbeddedBroker())
        _publish_events(broker.bootstrap_servers)
        ModelStore(str(folder / "models")).publish(quick_model(even_odd_state(), quick_settings(training={"steps": 5})))
        port = free_port()
        addresses = [join_address(LOOPBACK, each) for each in (port, admin_port_beside(port))]
        process = stack.enter_context(_server(folder, broker.bootstrap_servers, port))
        channels = [stack.enter_context(grpc.insecure_channel(address)) for address in addresses]
        _wait_until_serving(channels[0], process)
        return Target(Calls(channels, process).run, _seeds(), stack.pop_all().close)


class Calls:
    """Calls both listeners of a server."""

    def __init__(self, channels: list[grpc.Channel], process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._calls = [
            [channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}") for channel in channels]
            for method in METHODS
        ]

    def run(self, data: bytes) -> str:
        if not data:
            return "nothing"
        ends = set()
        for call in self._calls[data[0] % len(METHODS)]:
            try:
                call(data[1:], timeout=DEADLINE_S)
                ends.add(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                ends.add(error.code())  # type: ignore[attr-defined]  # Its stubs know no code.
        assert self._process.poll() is None, "the server has ended"
        assert not ends & _BAD, f"{METHODS[data[0] % len(METHODS)].full_name}: {ends}"
        return "answer" if grpc.StatusCode.OK in ends else "clear error"


def _publish_events(bootstrap_servers: str) -> None:
    events = example_events()
    for user, item, time_ms in even_odd_events():
        event = events_pb2.Event(interaction={"user": user, "item": item, "type": "purchase"})
        event.event_time.FromMilliseconds(time_ms)
        events.append(event)
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap_servers))
    ensure_topics(settings)
    with contextlib.closing(EventPublisher(settings)) as publisher:
        publisher.publish_many(events)


@contextlib.contextmanager
def _server(folder: Path, bootstrap_servers: str, port: int):
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "SPRINGTIDE_CHECKPOINT__URL": str(folder / "checkpoints"),
        "SPRINGTIDE_MODEL__URL": str(folder / "models"),
        "SPRINGTIDE_SERVER__PORT": str(port),
        "SPRINGTIDE_LOG__LEVEL": "error",
    }
    with (folder / "server.log").open("wb") as log:
        command = [Path(sys.executable).with_name("springtide"), "serve"]
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_until_serving(channel: grpc.Channel, process: "subprocess.Popen[bytes]") -> None:
    check = health_pb2_grpc.HealthStub(channel).Check
    request = health_pb2.HealthCheckRequest()
    give_up_at_s = time.monotonic() + DEADLINE_S
    while True:
        with contextlib.suppress(grpc.RpcError):
            if check(request, wait_for_ready=True, timeout=1.0).status == health_pb2.HealthCheckResponse.SERVING:
                return
        assert process.poll() is None, "the server has ended"
        assert time.monotonic() < give_up_at_s, "the server is not ready"
        time.sleep(0.05)


def _seeds() -> list[bytes]:
    """Return a request of each method, with what names something that is there."""
    bodies = {
        "RecommendRequest": {"user": "u0", "k": 5, "exclude_items": ["i1"]},
        "SimilarItemsRequest": {"item": "i0", "k": 5},
        "ExplainRequest": {"user": "u0", "item": "i2"},
        "PromoteModelRequest": {"version": "000001"},
        "ListModelsRequest": {"page_size": 3},
    }
    seeds = []
    for number, method in enumerate(METHODS):
        kind = GetMessageClass(method.input_type)
        known = method.input_type.fields_by_name
        body = {name: value for name, value in bodies.get(kind.__name__, {}).items() if name in known}
        seeds.append(bytes([number]) + kind(**body).SerializeToString())
    return seeds
