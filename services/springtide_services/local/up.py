"""Everything on one machine: broker if no Kafka is named, server, trainer, watched by one process."""

import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from springtide.errors import SettingsError
from springtide.settings.model import Settings
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.local.supervisor import Child, Supervisor
from springtide_services.local.termination import stoppable
from springtide_services.serving.client import Client

_POLL_S = 0.2


def run_up(settings: Settings, settings_path: Path | None = None) -> None:
    """Run broker, server and trainer until Ctrl-C or SIGTERM.

    With the embedded broker, graph and models live in a temporary folder and end with it: what a checkpoint says of a
    stream that is gone fits no other stream.

    Args:
        settings: What the children will load, too.
        settings_path: Where from, if named.

    Raises:
        BrokerError: If the embedded broker cannot be started, or dies.
        ChildFailedError: If a child ends again and again.
    """
    console = Console(stderr=True, highlight=False)
    arguments = ["--settings", str(settings_path.absolute())] if settings_path else []
    with stoppable(), contextlib.ExitStack() as stack:
        try:
            environment: dict[str, str] = {}
            broker = None
            if not settings.kafka.bootstrap_servers:
                broker = stack.enter_context(EmbeddedBroker())
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="springtide-up-"))
                environment |= embedded_environment(broker, Path(folder))
                console.print(
                    "The embedded broker forgets all on exit, and graph and models with it; to keep them, name a Kafka "
                    "cluster in kafka.bootstrap_servers."
                )
            port = settings.server.port or free_port(settings.server.host)
            environment["SPRINGTIDE_SERVER__PORT"] = str(port)
            supervisor = stack.enter_context(Supervisor(restarts=True))
            supervisor.add(Child("server", ["serve", *arguments], environment))
            supervisor.add(Child("trainer", ["train", "--schedule", *arguments], environment))
            kafka = broker.bootstrap_servers if broker else settings.kafka.bootstrap_servers
            console.print(f"Kafka on {kafka}, topic {settings.kafka.topic}")
            _watch(console, supervisor, broker, f"{settings.server.host}:{port}")
        except KeyboardInterrupt:
            console.print("Stopping.")


def run_broker(port: int) -> None:
    """Run the embedded broker until Ctrl-C or SIGTERM.

    Raises:
        BrokerError: If it cannot be started, or dies.
    """
    if not 1 <= port <= 65_535:
        raise SettingsError(f"--port: wanted 1 to 65535, got {port}")
    console = Console(stderr=True, highlight=False)
    with stoppable(), contextlib.suppress(KeyboardInterrupt), EmbeddedBroker(port) as broker:
        console.print(f"Kafka on {broker.bootstrap_servers}; it forgets all on exit. Ctrl-C stops it.")
        while True:
            broker.check()
            time.sleep(_POLL_S)


def embedded_environment(broker: EmbeddedBroker, folder: Path) -> dict[str, str]:
    """Return the environment of children that use the embedded broker, with their state in ``folder``."""
    return {
        "SPRINGTIDE_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SPRINGTIDE_CHECKPOINT__URL": str(folder / "checkpoints"),
        "SPRINGTIDE_MODEL__URL": str(folder / "models"),
    }


def free_port(host: str) -> int:
    """Return a port that is free now on the host."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _watch(console: Console, supervisor: Supervisor, broker: EmbeddedBroker | None, address: str) -> None:
    with Client(address) as client:
        for _ in _looking_after(console, supervisor, broker):
            if client.is_serving():
                console.print(f"gRPC on {address}. Ctrl-C stops all.")
                break
    for _ in _looking_after(console, supervisor, broker):
        pass


def _looking_after(console: Console, supervisor: Supervisor, broker: EmbeddedBroker | None) -> Iterator[None]:
    while True:
        if broker is not None:
            broker.check()
        for line in supervisor.check():
            console.print(line)
        yield
        time.sleep(_POLL_S)
