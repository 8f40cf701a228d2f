"""What `springtide up` shows once everything is ready: where it listens, and two commands to try."""

import json
import os
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from springtide.settings.file import DEFAULT_FILE, FILE_VARIABLE
from springtide.settings.model import Settings
from springtide.settings.secrets import masked
from springtide_services.addresses import join_address

_EXAMPLE = (
    ("ann", "umbrella"),
    ("ann", "rubber boots"),
    ("bob", "umbrella"),
    ("bob", "tent"),
    ("bob", "sleeping bag"),
    ("eve", "tent"),
    ("eve", "camping stove"),
)
_EXAMPLE_USER = "ann"
_TOPIC_VARIABLE = "SPRINGTIDE_KAFKA__TOPIC"
FORGETS = "All of it is forgotten at the end. Without --ephemeral it is kept."
KEEPS = (
    "It is kept: start again in this folder, and all that was read is there.\n"
    "A kill loses what was published and not read yet; a power cut the last tenth of a second, too."
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `springtide up FILE` has done before.

    Attributes:
        user: A user of the files; empty if there is none.
        folder: Where the logs are.
    """

    user: str
    folder: Path


def show_panel(
    on: Console,
    settings: Settings,
    example: Path | None,
    settings_path: Path | None,
    loaded: Loaded | None = None,
    how_long: str = "",
    console_words: str = "",
) -> None:
    """Show where Kafka and gRPC listen, where state is kept, and two commands for another shell.

    Args:
        on: Where to; a frame is drawn at a terminal only.
        settings: The settings of the running server.
        example: The file of example events; None if a Kafka cluster was named, to which none are to be published.
        settings_path: The settings file, if it is named on the command line.
        loaded: What was read from files before; None if none was named.
        how_long: What to say of how long the state is kept; empty for nothing.
        console_words: Where the console is, or how to get it; empty for nothing.
    """
    facts = Table.grid(padding=(0, 2))
    facts.add_row("Kafka", f"{settings.kafka.bootstrap_servers}, topic {settings.kafka.topic}")
    facts.add_row("gRPC", join_address(settings.server.host, settings.server.port))
    facts.add_row("Admin", _admin_address(settings))
    if console_words:
        facts.add_row("Console", Text(console_words))
    shown = masked(settings)  # A URL may hold credentials.
    facts.add_row("State", f"checkpoints in {shown['checkpoint']['url']}, models in {shown['model']['url']}")
    if how_long:
        facts.add_row("", how_long)
    if loaded is not None:
        logs = [f"{name}.log" for name in ("server", "trainer", "console") if (loaded.folder / f"{name}.log").exists()]
        facts.add_row("Logs", f"{', '.join(logs or ('server.log', 'trainer.log'))} in {loaded.folder}")
    title = "Springtide is up. Ctrl-C stops it."
    if on.is_terminal:
        on.print(Panel(facts, title=title, title_align="left", border_style="green", expand=False))
    else:
        on.print(title)
        on.print(facts)
    on.print("Try it in another shell:")
    commands = commands_to_try(settings, example, settings_path)
    if loaded is not None:
        commands = commands_to_ask(settings, loaded.user)
    for command in commands:
        on.print(f"  {command}", style="bold", markup=False, soft_wrap=True)  # A broken line could not be pasted.


def commands_to_try(settings: Settings, example: Path | None, settings_path: Path | None) -> tuple[str, str]:
    """Return a command that publishes events and one that asks for recommendations, for any shell and folder.

    Args:
        settings: The settings of the running server.
        example: The file of events to publish; None for a file that is yet to be written.
        settings_path: The settings file, if it is named on the command line.
    """
    variables = {"KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers}
    if _TOPIC_VARIABLE in os.environ:
        variables[_TOPIC_VARIABLE] = settings.kafka.topic
    publish = ["springtide", "publish", str(example or "events.jsonl")]
    file = settings_path or os.environ.get(FILE_VARIABLE) or DEFAULT_FILE
    if Path(file).is_file():
        publish += ["--settings", str(Path(file).absolute())]
    address = join_address(settings.server.host, settings.server.port)
    assignments = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    recommend = ["springtide", "recommend", _EXAMPLE_USER, "--address", address]
    return " ".join([*assignments, shlex.join(publish)]), shlex.join(recommend)


def commands_to_ask(settings: Settings, user: str) -> tuple[str, str]:
    """Return a command that asks for recommendations, and one that asks for the status, for any shell and folder.

    Args:
        settings: The settings of the running server.
        user: The user to ask for; empty for any.
    """
    address = join_address(settings.server.host, settings.server.port)
    user = user or _EXAMPLE_USER
    end_of_options = ["--"] if user.startswith("-") else []
    recommend = ["springtide", "recommend", "--address", address, *end_of_options, user]
    return shlex.join(recommend), shlex.join(["springtide", "status", "--address", _admin_address(settings)])


def _admin_address(settings: Settings) -> str:
    return join_address(settings.server.admin_host, settings.server.admin_port_number)


def write_example_events(folder: Path) -> Path:
    """Write a file of a few purchases of the last hour, as `springtide publish` reads it, and return its path."""
    now = datetime.now(UTC).replace(microsecond=0)
    lines = []
    for number, (user, item) in enumerate(_EXAMPLE):
        at = now - timedelta(minutes=len(_EXAMPLE) - number)
        interaction = {"user": user, "item": item, "type": "purchase"}
        lines.append(json.dumps({"eventTime": at.isoformat().replace("+00:00", "Z"), "interaction": interaction}))
    path = folder / "example-events.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
