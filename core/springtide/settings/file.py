"""The settings file: where it is, what it holds, and the server's address where that can be read at once."""

import os
import tomllib
from pathlib import Path
from typing import Any

from springtide.errors import SettingsError

FILE_VARIABLE = "SPRINGTIDE_SETTINGS"
DEFAULT_FILE = "springtide.toml"
PREFIX = "SPRINGTIDE_"
TOKEN_VARIABLE = f"{PREFIX}TOKEN"
TLS_CA_VARIABLE, TLS_CERT_VARIABLE, TLS_KEY_VARIABLE = (f"{PREFIX}TLS_{name}" for name in ("CA", "CERT", "KEY"))
_NO_SETTINGS = frozenset((FILE_VARIABLE, TOKEN_VARIABLE, TLS_CA_VARIABLE, TLS_CERT_VARIABLE, TLS_KEY_VARIABLE))

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50_051
MAX_PORT = 65_535
_ADMIN_PORT_STEP = 100  # Not 1: two servers on one machine often take ports one after the other.

# What a plain address may stand beside; a name that is not here may be a typing error, which the loader explains.
_SECTIONS = frozenset(
    [
        "kafka",
        "events",
        "explain",
        "interactions",
        "attributes",
        "graph",
        "checkpoint",
        "model",
        "training",
        "gate",
        "ranking",
        "steering",
        "live_quality",
        "console",
        "metrics",
        "tracing",
        "server",
        "log",
        "plugins",
    ]
)
_OF_ADDRESS = ("host", "port", "admin_host", "admin_port")
_OF_SERVER = frozenset(
    [
        *(*_OF_ADDRESS, "engine", "tokens", "insecure", "reflection", "max_deadline_s", "max_batch", "num_threads"),
        *("max_request_bytes", "max_open_requests"),
    ]
)

_VARIABLES = {f"{PREFIX}SERVER__{name.upper()}": name for name in _OF_ADDRESS}


def settings_file(path: str | Path | None) -> Path | None:
    """Return the file that is named, or that ``SPRINGTIDE_SETTINGS`` names, or ``springtide.toml`` if it exists."""
    named = path or os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None


def read_toml(file: Path) -> dict[str, Any]:
    """Return what the file holds.

    Raises:
        SettingsError: If it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"settings file {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"settings file {file} is not UTF-8, as TOML is: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings file {file} is not TOML: {error}") from error


def variables() -> list[str]:
    """Return the environment variables that set something, by name."""
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in _NO_SETTINGS)


def admin_port_beside(port: int) -> int:
    """Return the port of the admin listener where none is set: 100 above the server's, or any free one beside 0."""
    if port == 0:
        return 0
    return port + _ADMIN_PORT_STEP if port + _ADMIN_PORT_STEP <= MAX_PORT else port - _ADMIN_PORT_STEP


def plain_server_address(path: str | Path | None) -> tuple[str, int] | None:
    """Return host and port of the server as the file, or their variables, give them; None if only the loader can tell.

    A command that only asks a running server needs nothing else, and the loader takes longer than the question.

    Raises:
        SettingsError: If the file cannot be read, or is not TOML.
    """
    plain = _plain_addresses(path)
    return None if plain is None else plain[0]


def plain_admin_address(path: str | Path | None) -> tuple[str, int] | None:
    """Return host and port of the admin listener, as ``plain_server_address`` does those of the server.

    Raises:
        SettingsError: If the file cannot be read, or is not TOML.
    """
    plain = _plain_addresses(path)
    return None if plain is None else plain[1]


def _plain_addresses(path: str | Path | None) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Return the addresses of the server and of its admin listener; None if only the loader can tell."""
    if not _VARIABLES.keys() >= set(variables()):
        return None
    file = settings_file(path)
    tree = {} if file is None else read_toml(file)
    server = tree.get("server", {})
    if not tree.keys() <= _SECTIONS or not isinstance(server, dict) or not server.keys() <= _OF_SERVER:
        return None
    values: dict[str, Any] = {name: server[name] for name in _OF_ADDRESS if name in server}
    for variable, name in _VARIABLES.items():
        if (text := os.environ.get(variable)) is not None:
            is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_PORT))
            values[name] = (int(text) if is_number else None) if name.endswith("port") else text
    port: Any = values.get("port", DEFAULT_PORT)
    if not _is_port(port):
        return None
    host, admin_host = values.get("host", DEFAULT_HOST), values.get("admin_host", DEFAULT_HOST)
    admin_port = values.get("admin_port", admin_port_beside(port))
    is_plain = _is_port(admin_port) and all(isinstance(name, str) and name != "" for name in (host, admin_host))
    return ((host, port), (admin_host, admin_port)) if is_plain else None


def _is_port(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_PORT
