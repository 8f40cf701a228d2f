"""A server process over a synthetic stream and a model of it, as it would run."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
from benches.sizes import Sizes
from benches.synthetic import make_interactions
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide.events import EventBatch, Interactions
from springtide.model.registry import ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import (
    CheckpointSettings,
    KafkaSettings,
    ModelSettings,
    ServerSettings,
    Settings,
    TrainingSettings,
)
from springtide.state import LiveState
from springtide.training.train import train
from springtide.v1 import recommender_pb2, recommender_pb2_grpc
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import ensure_topics

_HERE = Path(__file__).parents[1]
_START_BUDGET_S = 120.0


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that has the whole stream and serves the model; ``address`` is where, ``pid`` its process."""

    settings: Settings
    interactions: Interactions
    address: str
    pid: int


@contextlib.contextmanager
def serving(sizes: Sizes) -> Iterator[Serving]:
    """Publish a stream, train a model of it in a few steps, and run a server with its default settings."""
    interactions = make_interactions(sizes.served_interactions, sizes.users, sizes.items)
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder, EmbeddedBroker() as broker:
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
            checkpoint=CheckpointSettings(url=f"{folder}/checkpoints"),
            model=ModelSettings(url=f"{folder}/models"),
            # How good the model is plays no part here, so it takes few steps.
            training=TrainingSettings(steps=2, fine_tune_steps=2, min_passes=0, exponent_slice=0.005),
            server=ServerSettings(port=0),
        )
        ensure_topics(settings)
        with EventPublisher(settings) as publisher:
            publisher.publish_interactions(interactions)
        plugins = load_plugins()
        state = LiveState(settings, make_context_weights(settings.ranking, plugins))
        state.apply(EventBatch(interactions))
        version = ModelStore(settings.model.url).publish(train(state, settings, plugins, mode="retrain"))
        del state
        with child("serve", settings.model_dump_json()) as server:
            wait_until_ready(server.line)
            found = _model_version(server.line)
            assert found == version, f"wanted answers from model {version}, got {found!r}"
            yield Serving(settings, interactions, server.line, server.pid)


@contextlib.contextmanager
def another_server(first: Serving, **changed: object) -> Iterator["Child"]:
    """Run a second server over the same stream and model, with other settings of ``[server]``."""
    settings = first.settings
    checkpoint = settings.checkpoint.model_copy(update={"url": f"{settings.checkpoint.url}-{time.monotonic_ns()}"})
    server = settings.server.model_copy(update=changed)
    changes = {"checkpoint": checkpoint, "server": server}
    with child("serve", settings.model_copy(update=changes).model_dump_json()) as another:
        wait_until_ready(another.line)
        assert _model_version(another.line) == _model_version(first.address)
        yield another


@dataclass(frozen=True, slots=True)
class Child:
    """A process of ``benches.children``: its number, and the first line that it said."""

    pid: int
    line: str


@contextlib.contextmanager
def child(role: str, *arguments: str) -> Iterator[Child]:
    """Run a process of ``benches.children``; it has said its first line by then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benches.children", role, *arguments],
        cwd=_HERE,
        stdin=subprocess.PIPE,  # It closes when this process ends, however it does, and the child ends too.
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=role == "train",  # As `springtide up` starts a trainer, and that a training.
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line, f"{role} said nothing; it ended with {process.wait()}"
        yield Child(process.pid, line)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def wait_until_ready(address: str) -> None:
    """Wait until a server has read the stream to its end."""
    deadline = time.monotonic() + _START_BUDGET_S
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while health.Check(health_pb2.HealthCheckRequest()).status != health_pb2.HealthCheckResponse.SERVING:
            assert time.monotonic() < deadline, "the server was not ready in time"
            time.sleep(0.1)


def _model_version(address: str) -> str:
    with grpc.insecure_channel(address) as channel:
        recommend = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend
        return recommend(recommender_pb2.RecommendRequest(user="u0")).model_version
