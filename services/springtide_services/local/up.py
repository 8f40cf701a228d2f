"""Everything on this machine: a broker if no Kafka cluster is named, the server and the trainer, kept running."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from springtide.errors import SettingsError
from springtide.settings.model import ServerSettings, Settings
from springtide_services.addresses import free_port, join_address
from springtide_services.local.broker import CLIENTS, EmbeddedBroker
from springtide_services.local.console_child import PlannedConsole, plan_console
from springtide_services.local.panel import FORGETS, KEEPS, Loaded, show_panel, write_example_events
from springtide_services.local.supervisor import Child, Supervisor
from springtide_services.logs import configure_logging
from springtide_services.serving.client import Client, Credentials
from springtide_services.stream.journal import FOLDER
from springtide_services.terminal import console
from springtide_services.termination import ends_on_signals, ignore_signals

logger = structlog.stdlib.get_logger(__name__)

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Running:
    """What runs: the server is ready, and the topic is empty if the broker is the embedded one.

    Attributes:
        settings: The settings of the server.
        client: A client of the server.
        folder: A temporary folder.
        is_embedded: Whether the broker is the embedded one.
        check: Looks after broker, server and trainer once; to be called at least every second. Raises as ``run_up``.
    """

    settings: Settings
    client: Client
    folder: Path
    is_embedded: bool
    check: Callable[[], None]


def run_up(
    settings: Settings,
    settings_path: Path | None = None,
    on_ready: Callable[[Running], str] | None = None,
    *,
    is_ephemeral: bool = False,
    has_console: bool = True,
) -> None:
    """Run broker, server, trainer and console until a stop signal comes; show where they listen once they are ready.

    The embedded broker forgets its topic, so the server keeps a journal: what was read is there at the next start.

    Args:
        settings: The settings that the children load too.
        settings_path: The settings file, if it is named on the command line.
        on_ready: Called once everything is ready, before it is shown where; returns the user of an example, or an empty
            text. If it is given, server and trainer log to files, so that what it shows stays readable.
        is_ephemeral: Whether the state is kept in a temporary folder, and forgotten at the end; with the embedded
            broker only.
        has_console: Whether to run the console, too, where its packages are installed.

    Raises:
        SettingsError: If ``is_ephemeral`` and a Kafka cluster is named. If no port can be found on ``server.host``.
        BrokerError: If the embedded broker cannot be started, or dies.
        ChildFailedError: If a child ends again and again, or is refused.
    """
    if is_ephemeral and settings.kafka.bootstrap_servers:
        raise SettingsError(
            "--ephemeral: wanted the embedded broker, got a Kafka cluster in kafka.bootstrap_servers: name folders "
            "that may go in checkpoint.url and model.url instead"
        )
    configure_logging(settings.log, "up")
    environment: dict[str, str] = {}
    with ends_on_signals(), contextlib.ExitStack() as stack:
        try:
            broker, example, loaded, how_long = None, None, None, ""
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="springtide-up-")))
            if not settings.kafka.bootstrap_servers:
                _refuse_security(settings)
                broker = stack.enter_context(EmbeddedBroker())
                how_long = FORGETS if is_ephemeral else KEEPS
                if is_ephemeral:
                    environment |= embedded_environment(broker, folder)
                    settings = _with_urls(settings, folder)
                else:
                    environment |= _keeping_environment(settings, broker)
                kafka = settings.kafka.model_copy(update={"bootstrap_servers": broker.bootstrap_servers})
                settings = settings.model_copy(update={"kafka": kafka})
                example = write_example_events(folder) if on_ready is None else None
            settings = _with_ports(settings)
            planned = plan_console(settings) if has_console else ""
            environment["SPRINGTIDE_SERVER__PORT"] = str(settings.server.port)
            environment["SPRINGTIDE_SERVER__INSECURE"] = str(settings.server.insecure)
            environment["SPRINGTIDE_SERVER__ADMIN_PORT"] = str(settings.server.admin_port_number)
            if settings.steering.file:
                environment["SPRINGTIDE_STEERING__FILE"] = settings.steering.file
            supervisor = stack.enter_context(Supervisor(restarts=True))
            children = _children(settings_path, environment, None if on_ready is None else folder, planned)
            for child in children:
                supervisor.add(child)

            def check() -> None:
                if broker is not None:
                    broker.check()
                supervisor.check()

            with _client_of(settings.server) as client:
                while not client.is_serving():
                    check()
                    time.sleep(_POLL_S)
                if isinstance(planned, PlannedConsole) and not planned.wait(children[-1], check):
                    planned = "it does not start; its log says why"
                if on_ready is not None:
                    user = on_ready(Running(settings, client, folder, broker is not None, check))
                    loaded = Loaded(user, folder)
            shown = planned.url if isinstance(planned, PlannedConsole) else planned
            show_panel(console(stderr=True), settings, example, settings_path, loaded, how_long, console_words=shown)
            while True:
                check()
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            logger.info("stopping")
            raise
        finally:
            ignore_signals()


def _children(
    settings_path: Path | None,
    environment: Mapping[str, str],
    log_folder: Path | None,
    planned: PlannedConsole | str,
) -> list[Child]:
    """Return server, trainer and console; they log to the standard error of this process if there is no folder."""
    arguments = ["--settings", str(settings_path.absolute())] if settings_path else []
    children = [
        Child(name, [*command, *arguments], environment, _log(log_folder, name))
        for name, command in (("server", ["serve"]), ("trainer", ["train", "--schedule"]))
    ]
    if isinstance(planned, PlannedConsole):
        children.append(planned.child(arguments, environment, _log(log_folder, "console")))
    return children


def _log(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / f"{name}.log"


def _refuse_security(settings: Settings) -> None:
    protocol = settings.kafka.client_options.get("security_protocol", "PLAINTEXT")
    if protocol != "PLAINTEXT":
        raise SettingsError(
            f"kafka.client_options.security_protocol: the embedded broker has no {protocol}: name a Kafka cluster in "
            "kafka.bootstrap_servers, or leave the option out"
        )


def run_broker(port: int) -> None:
    """Run the embedded broker until a stop signal comes.

    Raises:
        SettingsError: If the port is none.
        BrokerError: If it cannot be started, or dies.
    """
    if not 1 <= port <= 65_535:
        raise SettingsError(f"--port: wanted 1 to 65535, got {port}")
    with ends_on_signals(), EmbeddedBroker(port) as broker:
        console(stderr=True).print(
            f"Kafka on {broker.bootstrap_servers}. It forgets everything when it stops. Ctrl-C stops it.\n{CLIENTS}"
        )
        try:
            while True:
                broker.check()
                time.sleep(_POLL_S)
        finally:
            ignore_signals()


def embedded_environment(broker: EmbeddedBroker, folder: Path) -> dict[str, str]:
    """Return environment variables for children that use the embedded broker and keep their state in ``folder``."""
    return {
        "SPRINGTIDE_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SPRINGTIDE_CHECKPOINT__URL": str(folder / "checkpoints"),
        "SPRINGTIDE_MODEL__URL": str(folder / "models"),
        "SPRINGTIDE_STEERING__URL": str(folder / "steering"),
    }


def _keeping_environment(settings: Settings, broker: EmbeddedBroker) -> dict[str, str]:
    """Return environment variables for children that use the embedded broker and keep their state."""
    journal = Path(settings.checkpoint.journal or FOLDER).absolute()
    return {
        "SPRINGTIDE_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SPRINGTIDE_CHECKPOINT__JOURNAL": str(journal),
    }


def _with_urls(settings: Settings, folder: Path) -> Settings:
    """Return the settings as children with ``embedded_environment`` load them, but for the broker."""
    checkpoint = settings.checkpoint.model_copy(update={"url": str(folder / "checkpoints")})
    model = settings.model.model_copy(update={"url": str(folder / "models")})
    return settings.model_copy(update={"checkpoint": checkpoint, "model": model})


def _client_of(server: ServerSettings) -> Client:
    return Client(
        join_address(server.host, server.port),
        join_address(server.admin_host, server.admin_port_number),
        Credentials.from_environment(),
    )


def _with_ports(settings: Settings) -> Settings:
    """Return the settings with free ports in place of port 0, so that the server keeps them when it restarts."""
    server = settings.server
    port = server.port or _free_port("server.host", server.host)
    admin_port = server.admin_port_number or _free_port("server.admin_host", server.admin_host)
    return settings.model_copy(update={"server": server.model_copy(update={"port": port, "admin_port": admin_port})})


def _free_port(setting: str, host: str) -> int:
    try:
        return free_port(host)
    except OSError as error:
        raise SettingsError(f"{setting}: wanted a host of this machine, got {host!r}") from error
