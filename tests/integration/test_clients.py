"""The example clients, run as their users would: each publishes a purchase, and gets an answer that holds it."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from springtide.settings.model import Settings
from springtide.v1 import events_pb2
from springtide_services.stream.producer import EventPublisher

CLIENTS = Path(__file__).parents[2] / "protos" / "examples" / "clients"
GO_LIBRARIES = Path("/usr/share/gocode")  # Where Debian's packages of Go libraries are.
GO_CONFLUENT = "github.com/confluentinc/confluent-kafka-go"
JARS = Path("/usr/share/java")  # Where Debian's packages of Java libraries are.
SPRINGTIDE = Path(sys.executable).with_name("springtide")

NEED_A_KAFKA = {
    "java": "Java's client 4.4, without a setting that Kafka does not need,",
    "go": "librdkafka 2.0, which Debian's Go library is built on,",
}

Command = tuple[list[str], dict[str, str]]


def _need(*programs: str, paths: tuple[Path, ...] = ()) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    missing += [str(path) for path in paths if not path.exists()]
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")


def _run(command: list[str], folder: Path, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{' '.join(command)[:500]}\n{done.stdout[-3_000:]}\n{done.stderr[-3_000:]}"
    return done.stdout


def _protos(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in (folder / "protos" / "springtide" / "v1").glob("*.proto"))


def _python(folder: Path) -> Command:
    generate = [sys.executable, "-m", "grpc_tools.protoc", "-Iprotos", "--python_out=.", "--grpc_python_out=."]
    _run([*generate, *_protos(folder)], folder)
    return [sys.executable, "client.py"], {"PYTHONPATH": str(folder)}  # What was generated, not the package.


def _node(folder: Path) -> Command:
    _need("node", "npm")
    _run(["npm", "install", "--no-audit", "--no-fund"], folder)
    return ["node", "client.js"], {}


def _go(folder: Path) -> Command:
    """Build it on the libraries of Debian, without a module proxy."""
    _need("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc")
    libraries = GO_LIBRARIES / "src"
    _need(paths=(libraries / "google.golang.org/grpc", libraries / GO_CONFLUENT, Path("/usr/include/librdkafka")))
    sources = folder / "gopath" / "src"
    sources.mkdir(parents=True)
    _run(["protoc", "-Iprotos", f"--go_out={sources}", f"--go-grpc_out={sources}", *_protos(folder)], folder)
    shutil.copytree(libraries / GO_CONFLUENT / "kafka", sources / GO_CONFLUENT / "v2" / "kafka")
    path = {"GOPATH": f"{folder / 'gopath'}:{GO_LIBRARIES}", "GO111MODULE": "off", "GOCACHE": str(folder / "cache")}
    _run(["go", "build", "-tags", "dynamic", "-o", "client", "."], folder, **path)
    return [str(folder / "client")], {}


def _java(folder: Path) -> Command:
    """Compile it with the libraries of Debian, and with the Kafka client that ``KAFKA_JARS`` names."""
    _need("javac", "java", "protoc", "grpc_java_plugin", paths=(JARS / "grpc-netty.jar", JARS / "perfmark-api.jar"))
    kafka_jars = os.environ.get("KAFKA_JARS", "")
    if not kafka_jars:
        pytest.skip("KAFKA_JARS names no folder with Kafka's Java client")
    plugin = f"--plugin=protoc-gen-grpc-java={shutil.which('grpc_java_plugin')}"
    _run(["protoc", "-Iprotos", plugin, "--java_out=.", "--grpc-java_out=.", *_protos(folder)], folder)
    own = (
        "grpc-",
        "protobuf",
        "guava",
        "netty-",
        "perfmark-",
        "opencensus",
        "failureaccess",
        "geronimo-annotation",
        "jsr305",
        "gson",
    )
    jars = [str(jar) for jar in sorted(JARS.glob("*.jar")) if jar.name.startswith(own)]
    classpath = ":".join([str(folder), *jars, f"{kafka_jars}/*"])
    sources = [str(path) for path in folder.rglob("*.java")]
    _run(["javac", "-nowarn", "-cp", classpath, "-d", ".", *sources], folder)
    return ["java", "-cp", classpath, "Client"], {}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("build", [_python, _node, _go, _java], ids=["python", "node", "go", "java"])
def test_client_publishes_and_gets_an_answer_that_holds_it(
    build: Callable[[Path], Command],
    settings: Settings,
    run_server: Callable[..., AbstractAsyncContextManager[Any]],
    make_purchase: Callable[..., events_pb2.Event],
    tmp_path: Path,
) -> None:
    language = build.__name__.removeprefix("_")
    if language in NEED_A_KAFKA and "KAFKA_BOOTSTRAP_SERVERS" not in os.environ:
        pytest.skip(f"{NEED_A_KAFKA[language]} does not work with the embedded broker")
    folder = tmp_path / language
    shutil.copytree(CLIENTS / language, folder)
    _run([str(SPRINGTIDE), "protos", "protos"], folder)
    command, variables = build(folder)
    with EventPublisher(settings) as publisher:
        for item in ("umbrella", "lamp", "rope"):
            publisher.publish(make_purchase("bob", item, seconds_ago=60))

    async def ask() -> tuple[str, str]:
        async with run_server(settings) as running:
            where = {"SPRINGTIDE_ADDRESS": running.server.address, **variables}
            kafka = {
                "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
                "SPRINGTIDE_TOPIC": settings.kafka.topic,
            }
            answer = await asyncio.to_thread(_run, [*command, "ann", "umbrella"], folder, **where, **kafka)
            return answer, await asyncio.to_thread(_run, [*command, "ann"], folder, **where)

    answer, asked = asyncio.run(ask())

    rows = [line.split("\t") for line in answer.splitlines()]
    assert {item for item, _ in rows} == {"umbrella", "lamp", "rope"}
    assert rows[0][0] == "umbrella", "her own purchase, the most popular and the newest, comes first"
    assert [row[0] for row in rows] == [line.split("\t")[0] for line in asked.splitlines()]
