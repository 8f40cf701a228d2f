"""The settings file: where it is, what it holds, and the server's address where that can be read at once."""

import os
import tomllib
from pathlib import Path
from typing import Any

from springtide.errors import SettingsError

FILE_VARIABLE = "SPRINGTIDE_SETTINGS"
DEFAULT_FILE = "springtide.toml"
PREFIX = "SPRINGTIDE_"

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50_051
MAX_PORT = 65_535

# What a plain address may stand beside; a name that is not here may be a typing error, which the loader explains.
_SECTIONS = frozenset(
    [
        "kafka",
        "events",
        "interactions",
        "attributes",
        "graph",
        "checkpoint",
        "model",
        "training",
        "gate",
        "ranking",
        "live_quality",
        "server",
        "log",
        "plugins",
    ]
)
_OF_SERVER = frozenset(
    ("host", "port", "engine", "reflection", "max_deadline_s", "max_batch", "max_open_requests", "num_threads")
)

_HOST_VARIABLE, _PORT_VARIABLE = f"{PREFIX}SERVER__HOST", f"{PREFIX}SERVER__PORT"
_OF_ADDRESS = frozenset((_HOST_VARIABLE, _PORT_VARIABLE))


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
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name != FILE_VARIABLE)


def plain_server_address(path: str | Path | None) -> tuple[str, int] | None:
    """Return host and port of the server as the file, or their variables, give them; None if only the loader can tell.

    A command that only asks a running server needs nothing else, and the loader takes longer than the question.

    Raises:
        SettingsError: If the file cannot be read, or is not TOML.
    """
    if not _OF_ADDRESS.issuperset(variables()):
        return None
    file = settings_file(path)
    tree = {} if file is None else read_toml(file)
    server = tree.get("server", {})
    if not tree.keys() <= _SECTIONS or not isinstance(server, dict) or not server.keys() <= _OF_SERVER:
        return None
    host: Any = os.environ.get(_HOST_VARIABLE, server.get("host", DEFAULT_HOST))
    port, text = server.get("port", DEFAULT_PORT), os.environ.get(_PORT_VARIABLE)
    if text is not None:
        port = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_PORT)) else None
    is_plain = isinstance(host, str) and host != "" and type(port) is int and 0 <= port <= MAX_PORT
    return (host, port) if is_plain else None
