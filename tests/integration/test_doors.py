"""Who gets in at each door of a server process, and what they get: the public listener, and the one for operators."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide.settings.model import KafkaSettings
from springtide.v1 import admin_pb2, recommender_pb2
from springtide_services.addresses import free_port

BUDGET_S = 120
SPRINGTIDE = Path(sys.executable).with_name("springtide")


@dataclass
class Place:
    """A server process and the commands beside it, in a folder of their own."""

    folder: Path
    environment: dict[str, str]
    address: str
    admin_address: str
    process: subprocess.Popen[bytes] | None = None

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line to its end."""
        return subprocess.run(
            [SPRINGTIDE, *words],
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=BUDGET_S,
        )

    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def is_serving(self, channel: grpc.Channel) -> bool:
        with contextlib.suppress(grpc.RpcError):
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        return False

    def wait_until_serving(self, channel: grpc.Channel) -> None:
        assert self.process is not None
        until(lambda: self.is_serving(channel) or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()


def until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + BUDGET_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(params=["grpcio", "native"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "native":
        pytest.importorskip("pygrpc_native")
    return str(request.param)


@pytest.fixture
def serving(fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Start a server process: ``serving(engine="native", admin_port="7")``, with settings of ``[server]``."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**server: str) -> Place:
        kafka, port, admin_port = fresh_kafka(), free_port(), free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPRINGTIDE_")}
        environment |= {
            "SPRINGTIDE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "SPRINGTIDE_KAFKA__TOPIC": kafka.topic,
            "SPRINGTIDE_KAFKA__DEAD_LETTER_TOPIC": kafka.dead_letter_topic,
            "SPRINGTIDE_CHECKPOINT__URL": str(tmp_path / "checkpoints"),
            "SPRINGTIDE_MODEL__URL": str(tmp_path / "models"),
            "SPRINGTIDE_SERVER__PORT": str(port),
            "SPRINGTIDE_SERVER__ADMIN_PORT": str(admin_port),
            **{f"SPRINGTIDE_SERVER__{name.upper()}": value for name, value in server.items()},
        }
        place = Place(tmp_path, environment, f"127.0.0.1:{port}", f"127.0.0.1:{admin_port}")
        with (tmp_path / "server.log").open("w") as log:
            place.process = subprocess.Popen([SPRINGTIDE, "serve"], cwd=tmp_path, env=environment, stderr=log)
        started.append(place.process)
        return place

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        try:
            process.wait(BUDGET_S)
        finally:
            process.kill()
            process.wait()


def methods_of(file: Any, service: str) -> dict[str, str]:
    """Return the methods of a service by name, each with its path."""
    described = file.DESCRIPTOR.services_by_name[service]
    return {method.name: f"/{described.full_name}/{method.name}" for method in described.methods}


ADMIN_METHODS = methods_of(admin_pb2, "AdminService")
RECOMMENDER_METHODS = methods_of(recommender_pb2, "RecommenderService")


def tried(channel: grpc.Channel, path: str, body: bytes = b"", **options: Any) -> tuple[grpc.StatusCode, str]:
    """Call a method with the bytes of a request, and return the status and what was said."""
    try:
        channel.unary_unary(path)(body, timeout=60, **options)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def test_operators_are_answered_on_their_listener_alone(serving: Callable[..., Place], engine: str) -> None:
    place = serving(engine=engine)
    with grpc.insecure_channel(place.address) as public, grpc.insecure_channel(place.admin_address) as admin:
        place.wait_until_serving(public)
        assert place.is_serving(admin)
        for name, path in ADMIN_METHODS.items():
            assert tried(public, path)[0] == grpc.StatusCode.UNIMPLEMENTED, name
            assert tried(admin, path)[0] not in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN), name
        for name, path in RECOMMENDER_METHODS.items():
            assert tried(admin, path)[0] == grpc.StatusCode.UNIMPLEMENTED, name
            assert tried(public, path)[0] in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT), name
    shown = place.run("status")
    assert shown.returncode == 0, shown.stderr
    assert "serves" in shown.stdout
    wrong = place.run("status", "--address", place.address)
    assert wrong.returncode == 1
    assert "server.admin_port" in wrong.stderr


def test_errors_show_no_place_of_the_server(serving: Callable[..., Place]) -> None:
    place = serving()
    with grpc.insecure_channel(place.admin_address) as admin:
        place.wait_until_serving(admin)
        model = place.folder / "models" / "000001"
        model.mkdir(parents=True)
        (model / "manifest.json").write_text("{")
        damaged = admin_pb2.PromoteModelRequest(version="000001").SerializeToString()
        code, promoted = tried(admin, ADMIN_METHODS["PromoteModel"], damaged)
        assert code == grpc.StatusCode.FAILED_PRECONDITION
        until(lambda: not (place.folder / "checkpoints").exists() or list((place.folder / "checkpoints").iterdir()))
        shutil.rmtree(place.folder / "checkpoints")
        (place.folder / "checkpoints").write_text("no folder")
        code, trained = tried(admin, ADMIN_METHODS["StartTraining"])
        assert code == grpc.StatusCode.INTERNAL
    for said in (promoted, trained):
        assert str(place.folder) not in said
        assert "..." in said, "it is said that something was left out"
        assert str(place.folder) in place.log(), "who runs the server is told all"
