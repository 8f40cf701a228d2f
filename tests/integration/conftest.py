"""A running server with a client beside it, and a stream whose best answers are known."""

import asyncio
import contextlib
import importlib.util
import json
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import uvicorn
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide.clock import wall_ms
from springtide.settings.model import (
    CheckpointSettings,
    ConsoleSettings,
    KafkaSettings,
    ModelSettings,
    RankingSettings,
    ServerSettings,
    Settings,
    TokenSettings,
    TrainingSettings,
)
from springtide.v1 import admin_pb2_grpc, events_pb2, inspection_pb2_grpc, recommender_pb2, recommender_pb2_grpc
from springtide_services.access.roles import Role
from springtide_services.access.tokens import make_token
from springtide_services.console.app import make_app
from springtide_services.gateway.upstream import UPSTREAM_OPTIONS, Upstream
from springtide_services.serving.server import Server
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import ensure_topics
from springtide_services.termination import STOP_BUDGET_S


@dataclass(frozen=True)
class Running:
    """A server, and stubs of a channel to it; those for operators are of its listener for them."""

    server: Server
    channel: grpc.aio.Channel
    recommender: recommender_pb2_grpc.RecommenderServiceStub
    admin: admin_pb2_grpc.AdminServiceStub
    inspection: inspection_pb2_grpc.InspectionServiceStub
    health: health_pb2_grpc.HealthStub

    async def is_serving(self, service: str = "") -> bool:
        answer = await self.health.Check(health_pb2.HealthCheckRequest(service=service))
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def forget_weights(self) -> None:
        """Let the next request compute the weights of its moment from all events; those that are kept may be old.

        The server makes them anew by itself, but on a busy machine only after seconds.
        """
        assert self.server._loaded is not None
        ranker = self.server._loaded.answering.ranker
        with ranker._refresh_lock:  # Else a refresh that has begun before would put them back.
            for kept in list(ranker._serving.moments._cached.values()):
                kept.made_s = -math.inf


@contextlib.asynccontextmanager
async def _run_server(settings: Settings, *, wait_until_ready: bool = True) -> AsyncIterator[Running]:
    server = Server(settings)
    await server.start()
    try:
        async with (
            grpc.aio.insecure_channel(server.address) as channel,
            grpc.aio.insecure_channel(server.admin_address) as admin_channel,
        ):
            running = Running(
                server,
                channel,
                recommender_pb2_grpc.RecommenderServiceStub(channel),
                admin_pb2_grpc.AdminServiceStub(admin_channel),
                inspection_pb2_grpc.InspectionServiceStub(admin_channel),
                health_pb2_grpc.HealthStub(channel),
            )
            if wait_until_ready:
                ended = asyncio.ensure_future(server.wait())
                ready = asyncio.ensure_future(_eventually(running.is_serving))
                await asyncio.wait([ended, ready], return_when=asyncio.FIRST_COMPLETED)
                await (ended if ended.done() else ready)  # A server that failed says why.
            yield running
    finally:
        await server.stop()


@contextlib.contextmanager
def _run_server_process(settings: Settings) -> Iterator[tuple[subprocess.Popen[str], str]]:
    code = (
        "import sys; from springtide.settings.model import Settings; "
        "from springtide_services.serving.server import serve; "
        "from springtide_services.logs import configure_logging; configure_logging(); "
        "serve(Settings.model_validate_json(sys.argv[1]), on_listening=lambda address: print(address, flush=True))"
    )
    command = [sys.executable, "-c", code, settings.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            deadline = time.monotonic() + 60.0
            with grpc.insecure_channel(address) as channel:
                check = health_pb2_grpc.HealthStub(channel).Check
                while check(health_pb2.HealthCheckRequest()).status != health_pb2.HealthCheckResponse.SERVING:
                    assert time.monotonic() < deadline, "not serving"
                    time.sleep(0.02)
            yield process, address
        finally:
            process.kill()


@contextlib.contextmanager
def _run_trainer(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    code = (
        "import sys; from springtide.settings.model import Settings; "
        "from springtide_services.training.trainer import run_trainer; "
        "from springtide_services.logs import configure_logging; configure_logging(); "
        "run_trainer(Settings.model_validate_json(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, settings.model_dump_json()])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_BUDGET_S)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0


async def _eventually(is_so: Callable[[], Awaitable[bool]], within_s: float = 60.0) -> float:
    """Wait until something is so, and return how many seconds it took."""
    started = time.monotonic()
    while not await is_so():
        assert time.monotonic() - started < within_s, f"not so after {within_s} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - started


@pytest.fixture
def run_server() -> Callable[..., AbstractAsyncContextManager[Running]]:
    """Run a server on this event loop: ``async with run_server(settings) as running``."""
    return _run_server


@pytest.fixture
def run_server_process() -> Callable[[Settings], AbstractContextManager[tuple[subprocess.Popen[str], str]]]:
    """Run a process of a server that serves: ``with run_server_process(settings) as (process, address)``."""
    return _run_server_process


@pytest.fixture
def run_trainer() -> Callable[[Settings], AbstractContextManager[subprocess.Popen[bytes]]]:
    """Run a trainer process, and end it in order: ``with run_trainer(settings) as process``."""
    return _run_trainer


@pytest.fixture
def eventually() -> Callable[..., Awaitable[float]]:
    """Wait until something is so: ``await eventually(is_so, within_s=5)``."""
    return _eventually


@pytest.fixture
def settings(tmp_path: Path, fresh_kafka: Callable[..., KafkaSettings]) -> Settings:
    """A stream and a state of the test's own, a free port, and a model small enough to be trained in a second."""
    return Settings(
        kafka=fresh_kafka(),
        checkpoint=CheckpointSettings(url=str(tmp_path / "checkpoints")),
        model=ModelSettings(url=str(tmp_path / "models"), width=16),
        training=TrainingSettings(
            steps=60,
            fine_tune_steps=10,
            batch_users=16,
            edges_per_user=8,
            num_negatives=32,
            learning_rate=0.05,
            niceness=0,  # Tests wait for it.
            first_model_pause_s=None,  # Tests ask for models themselves; test_first_model.py does not.
        ),
        ranking=RankingSettings(context_weights={"popularity": {}, "repeat": {}}, item_refresh_s=0.1),
        server=ServerSettings(port=0),
    )


@pytest.fixture(params=["grpcio", "native"])
def on_each_engine(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """The settings with each gRPC engine, one after the other; one that is not installed is skipped."""
    if request.param == "native" and importlib.util.find_spec("pygrpc_native") is None:
        pytest.skip("needs pygrpc-native: pip install 'springtide[native]'")
    return settings.model_copy(update={"server": settings.server.model_copy(update={"engine": request.param})})


@pytest.fixture
def publish() -> Callable[[Settings, Sequence[events_pb2.Event]], recommender_pb2.GraphPosition]:
    """Publish events, and return the position at which the graph has them all: ``publish(settings, events)``."""

    def send(settings: Settings, events: Sequence[events_pb2.Event]) -> recommender_pb2.GraphPosition:
        with EventPublisher(settings) as publisher:
            sent = [publisher.publish(event) for event in events]
        return recommender_pb2.GraphPosition(next_offsets={partition: offset + 1 for partition, offset in sorted(sent)})

    return send


@pytest.fixture
def make_purchase() -> Callable[..., events_pb2.Event]:
    """Make an event: ``make_purchase("u1", "i2", seconds_ago=5)``."""
    return _purchase


def _purchase(user: str, item: str, seconds_ago: float = 0.0) -> events_pb2.Event:
    event_time = Timestamp()
    event_time.FromMilliseconds(wall_ms() - round(1_000 * seconds_ago))
    interaction = events_pb2.Interaction(user=user, item=item, type="purchase")
    return events_pb2.Event(event_time=event_time, interaction=interaction)


@pytest.fixture
def diagonal_stream(make_purchase: Callable[..., events_pb2.Event]) -> list[events_pb2.Event]:
    """Even users took even items and odd users odd ones, but nobody the item of their own number."""
    num = 16
    return [
        make_purchase(f"u{user}", f"i{item}", seconds_ago=60 * (1 + (item - user) % num))
        for user in range(num)
        for item in range(num)
        if user % 2 == item % 2 and user != item
    ]


@dataclass(frozen=True)
class Gateway:
    """A server, the gateway before it, and an HTTP client that shows a token with all roles."""

    url: str
    settings: Settings
    server_address: str
    client: httpx.Client
    token: str
    token_without_roles: str
    slow_token: str
    paced_token: str

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=content, headers={"content-type": "application/json", **headers})


class _GatewayThread(threading.Thread):
    """A server and its gateway, on an event loop of their own."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="gateway-under-test")
        self._settings = settings
        self._is_up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._web: uvicorn.Server | None = None
        self._failure: BaseException | None = None
        self.port = 0
        self.server_address = ""

    def __enter__(self) -> "_GatewayThread":
        self.start()
        assert self._is_up.wait(120)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        assert self._web is not None
        self._web.should_exit = True
        self.join(60)
        assert not self.is_alive()

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._is_up.set()

    async def _serve(self) -> None:
        server = Server(self._settings)
        await server.start()
        try:
            self.server_address = server.address
            upstream = Upstream(
                grpc.aio.insecure_channel(server.address, UPSTREAM_OPTIONS),
                grpc.aio.insecure_channel(server.admin_address, UPSTREAM_OPTIONS),
            )
            app = make_app(upstream, self._settings)
            self._web = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))
            serving = asyncio.create_task(self._web.serve())
            while not self._web.started:
                await asyncio.sleep(0.01)
            self.port = self._web.servers[0].sockets[0].getsockname()[1]
            self._is_up.set()
            await serving
        finally:
            await server.stop()


@pytest.fixture(scope="module")
def gateway(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A server with tokens and a few purchases, and the gateway before it: one for all tests of a file."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    token, kept = make_token("tests", tuple(Role), wall_ms())
    producer_token, producer = make_token("producer", (Role.PRODUCER,), wall_ms())
    slow_token, slow = make_token("slow", (Role.CLIENT,), wall_ms(), requests_per_s=0.01)
    paced_token, paced = make_token("paced", (Role.CLIENT,), wall_ms(), requests_per_s=2.0)
    kafka = KafkaSettings(
        bootstrap_servers=broker,
        topic=f"test.gateway-{folder.name}",
        dead_letter_topic=f"test.gateway-dead-{folder.name}",
        num_partitions=1,
    )
    settings = Settings(
        kafka=kafka,
        checkpoint=CheckpointSettings(url=str(folder / "checkpoints")),
        model=ModelSettings(url=str(folder / "models"), width=16),
        server=ServerSettings(
            port=0,
            admin_port=0,
            max_request_bytes=50_000,
            tokens=TokenSettings(lines=tuple(each.to_line() for each in (kept, producer, slow, paced))),
        ),
        console=ConsoleSettings(allow_origins=("https://shop.example",)),
    )
    ensure_topics(settings)
    with EventPublisher(settings) as publisher:
        for number, (user, item) in enumerate((("ann", "lamp"), ("bob", "lamp"), ("bob", "rope"), ("cid", "umbrella"))):
            _, offset = publisher.publish(_purchase(user, item, 60.0 * number))
    with _GatewayThread(settings) as running:
        url = f"http://127.0.0.1:{running.port}"
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=60) as client:
            made = Gateway(
                url, settings, running.server_address, client, token, producer_token, slow_token, paced_token
            )
            asked = {"user": "ann", "minPosition": {"nextOffsets": {"0": str(offset + 1)}}, "wait": "10s"}
            deadline_ms = wall_ms() + 60_000
            while (
                answer := made.post("/springtide.v1.RecommenderService/Recommend", asked)
            ).status_code == 503:  # It is loading.
                assert wall_ms() < deadline_ms
            assert answer.status_code == 200, answer.text
            assert not answer.json().get("isBehindMinPosition")
            yield made
