"""The console as a child beside a server on this machine: its port, its process, and when it listens."""

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from springtide.errors import SettingsError
from springtide.extras import refuse_without
from springtide.settings.model import Settings
from springtide.settings.sections.watching import ConsoleSettings
from springtide_services.access.public import check_console_door
from springtide_services.addresses import free_port, is_loopback, join_address
from springtide_services.local.supervisor import Child

_START_BUDGET_S = 20.0
_POLL_S = 0.05
_CONNECT_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class PlannedConsole:
    """The console that is to run.

    Attributes:
        host: Where it is to listen.
        port: The port, which was free a moment ago.
        is_tls: Whether browsers connect with TLS.
    """

    host: str
    port: int
    is_tls: bool

    @property
    def url(self) -> str:
        """What to open in a browser."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host
        return f"{'https' if self.is_tls else 'http'}://{join_address(host, self.port)}"

    def child(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path | None) -> Child:
        """Return its process; all else goes on where it cannot be started.

        Args:
            arguments: Options of ``springtide console``.
            environment: Environment variables of the other children.
            log: The file for what it logs; None for the standard error of this process.
        """
        own = {"SPRINGTIDE_CONSOLE__PORT": str(self.port)}
        return Child("console", ["console", *arguments], {**environment, **own}, log, is_needed=False)

    def wait(self, child: Child, check: Callable[[], None]) -> bool:
        """Wait until it listens; return False if it does not.

        Args:
            child: Its process.
            check: Called meanwhile.
        """
        give_up_s = time.monotonic() + _START_BUDGET_S
        while time.monotonic() < give_up_s:
            check()
            try:
                socket.create_connection((self.host.strip("[]"), self.port), _CONNECT_TIMEOUT_S).close()
            except OSError:
                if child.process is not None and child.process.poll() is not None and child.restart_at_s is None:
                    return False
                time.sleep(_POLL_S)
            else:
                return True
        return False


def plan_console(settings: Settings) -> PlannedConsole | str:
    """Return the console to run, or how to install what it lacks.

    The default port gives way to a free one if another process has it; one that the settings name does not.

    Raises:
        SettingsError: If the port that the settings name is taken, or the settings would let anybody in.
    """
    try:
        refuse_without("console")
    except SettingsError as error:
        return str(error)
    check_console_door(settings.console, settings.server)
    console = settings.console
    return PlannedConsole(console.host, _port(console), settings.server.has_tls and not is_loopback(console.host))


def _port(console: ConsoleSettings) -> int:
    if console.port and _is_free(console.host, console.port):
        return console.port
    if console.port and "port" in console.model_fields_set:
        raise SettingsError(
            f"console.port: another process listens on {join_address(console.host, console.port)} (wanted a free port; "
            "0 picks one; --no-console runs without the console)"
        )
    return free_port(console.host)


def _is_free(host: str, port: int) -> bool:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        socket.create_server(address[:2], family=family).close()
    except OSError:
        return False
    return True
