"""A small shop that really runs: a stream with seasons, a server with a trained model, and the console beside it."""

import contextlib
import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from springtide.settings.model import KafkaSettings, Settings
from springtide.toy_data import interactions_of
from springtide.v1 import admin_pb2, events_pb2
from springtide_services.serving.client import Client
from springtide_services.stream.producer import EventPublisher
from springtide_services.termination import STOP_BUDGET_S

BEGIN = datetime(2024, 1, 1, 9, tzinfo=UTC)
NUM_USERS = 60
# Category, titles of its items, and the months in which they sell; none: all of them.
SHELVES: Sequence[tuple[str, Sequence[str], Sequence[int]]] = (
    ("Dairy", ("Milk", "Butter", "Yoghurt", "Cream", "Cheese", "Eggs"), ()),
    ("Bakery", ("Bread", "Rolls", "Bagels", "Toast", "Croissants", "Pretzels"), ()),
    ("Christmas", ("Gingerbread", "Baubles", "Fairy lights", "Advent calendar", "Stollen", "Candles"), (11, 12)),
    ("Garden", ("Charcoal", "Lemonade", "Ice cream", "Sun lotion", "Garden hose", "Parasol"), (6, 7, 8)),
    ("School", ("Pencils", "Exercise book", "Satchel", "Ruler", "Glue", "Crayons"), (8, 9)),
    ("Easter", ("Chocolate bunny", "Egg dye", "Tulips", "Marzipan eggs", "Jelly beans", "Lamb"), (3, 4)),
)
MILK, GINGERBREAD, CHARCOAL = "item-00", "item-12", "item-18"
_START_BUDGET_S = 120.0

_SERVE = """
import sys
from springtide.settings.model import Settings
from springtide_services.logs import configure_logging
from springtide_services.serving.server import serve
from springtide_services.termination import end_with_parent
end_with_parent()
configure_logging()
serve(Settings.model_validate_json(sys.argv[1]), on_listening=lambda address: print(address, flush=True))
"""
_CONSOLE = """
import sys
from springtide.settings.model import Settings
from springtide_services.console.server import Target, serve_console
from springtide_services.logs import configure_logging
from springtide_services.termination import end_with_parent
end_with_parent()
configure_logging()
target = Target(sys.argv[2], sys.argv[3])
serve_console(Settings.model_validate_json(sys.argv[1]), target, on_listening=lambda url: print(url, flush=True))
"""


@dataclass
class LiveSystem:
    """What runs.

    Attributes:
        settings: Those of server and console, with their ports.
        url: Where the console is.
        client: A client of the server.
    """

    settings: Settings
    url: str
    client: Client

    def publish(self, *events: events_pb2.Event) -> None:
        """Publish events."""
        with EventPublisher(self.settings) as publisher:
            publisher.publish_many(events)

    def another_console(self, port: int, server: str = "") -> contextlib.AbstractContextManager[Callable[[], str]]:
        """Run one more console; what it yields returns its URL once it listens.

        Args:
            port: Where it listens.
            server: Address of a server; that of the shop if empty.
        """
        console = self.settings.console.model_copy(update={"port": port})
        settings = self.settings.model_copy(update={"console": console})
        mine = self.settings.server
        addresses = server or f"127.0.0.1:{mine.port}", server or f"127.0.0.1:{mine.admin_port}"
        return _process(_CONSOLE, settings.model_dump_json(), *addresses)

    @contextlib.contextmanager
    def behind_tokens(self, folder: Path, lines: Sequence[str]) -> Iterator[str]:
        """Run a second server on the same stream that wants tokens, and a console before it; yield the console's URL.

        Args:
            folder: For its state.
            lines: The tokens, as ``Token.to_line`` writes them.
        """
        from springtide_services.addresses import free_port

        port, admin_port = free_port(), free_port()
        given = self.settings.model_dump()
        given["checkpoint"]["url"] = str(folder / "checkpoints")
        given["server"] |= {"port": port, "admin_port": admin_port, "tokens": {"lines": list(lines)}}
        given["console"]["port"] = 0
        settings = Settings.model_validate(given).model_dump_json()
        addresses = f"127.0.0.1:{port}", f"127.0.0.1:{admin_port}"
        with _process(_SERVE, settings) as address, _process(_CONSOLE, settings, *addresses) as url:
            address()
            yield url()

    def ask(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> tuple[int, object]:
        """Ask the console without a browser; return the status and the JSON of the answer."""
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, content, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@contextlib.contextmanager
def live_system(
    kafka: KafkaSettings, folder: Path, shared: Path, **sections: Mapping[str, object]
) -> Iterator[LiveSystem]:
    """Publish a year of purchases, and run a server with a model of them, and the console.

    Args:
        kafka: Topics of its own.
        folder: For its state.
        shared: A folder of all tests of this run, in which a model is kept once it is trained.
        **sections: More settings, by section.
    """
    from springtide_services.addresses import free_port

    port, admin_port = free_port(), free_port()
    given: dict[str, Mapping[str, object]] = {
        "kafka": kafka.model_dump(),
        "checkpoint": {"url": str(folder / "checkpoints")},
        "model": {"url": str(folder / "models"), "width": 16},
        "training": {
            "steps": 60,
            "fine_tune_steps": 10,
            "batch_users": 32,
            "num_threads": 1,
            "niceness": 0,
            "first_model_pause_s": None,
        },
        # A baseline that the small model is better than, so that it is the model that serves.
        "gate": {"num_questions": 200, "baselines": {"recent_popularity": {}}},
        "explain": {"name_attribute": "title"},
        "server": {"port": port, "admin_port": admin_port},
        "console": {"port": 0},
    }
    for name, section in sections.items():
        given[name] = {**given.get(name, {}), **section}
    settings = Settings.model_validate(given)
    (folder / "models").mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_process(_SERVE, settings.model_dump_json()))
        addresses = f"127.0.0.1:{port}", f"127.0.0.1:{admin_port}"
        url = stack.enter_context(_process(_CONSOLE, settings.model_dump_json(), *addresses))
        num_edges = publish_year(settings)
        client = stack.enter_context(Client(*addresses))
        until(client.is_serving)
        until(lambda: sum(client.status().num_edges.values()) >= num_edges)
        _take_model(settings, client, folder / "models", shared)
        until(lambda: bool(client.status().model_version))
        yield LiveSystem(settings, url(), client)


def until(is_so: Callable[[], bool], within_s: float = _START_BUDGET_S) -> None:
    """Wait until something is so."""
    give_up_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < give_up_s, "not so in time"
        time.sleep(0.05)


def publish_year(settings: Settings) -> int:
    """Publish the shop's items and a year of purchases, and return how many purchases there are."""
    draws = random.Random(1)
    titles = [(title, category) for category, shelf, _ in SHELVES for title in shelf]
    upserts = []
    for number, (title, category) in enumerate(titles):
        upsert = events_pb2.NodeUpsert(type="item", id=f"item-{number:02}")
        upsert.texts["title"] = title
        upsert.categories["category"].values.append(category)
        upsert.numbers["price"] = round(1 + 9 * draws.random(), 2)
        event = events_pb2.Event(node_upsert=upsert)
        event.event_time.FromDatetime(BEGIN)
        upserts.append(event)
    purchases = []
    for day in range(360):
        month = (BEGIN + timedelta(days=day)).month
        shelves = [number for number, (_, _, months) in enumerate(SHELVES) if not months or month in months]
        for _ in range(12):
            user = draws.randrange(NUM_USERS)
            # Each user likes two places on each shelf, and buys what is in season rather than what is not.
            item = 6 * draws.choice(shelves) + (user + draws.randrange(2)) % 6
            at = BEGIN + timedelta(days=day, minutes=draws.randrange(600))
            purchases.append((f"user-{user:02}", f"item-{item:02}", int(at.timestamp() * 1_000)))
    purchases.sort(key=lambda purchase: purchase[2])
    with EventPublisher(settings) as publisher:
        publisher.publish_many(upserts)
        publisher.publish_interactions(interactions_of(purchases))
    return len(purchases)


def _take_model(settings: Settings, client: Client, folder: Path, shared: Path) -> None:
    """Copy the model that another test of this run has trained, or train one for all."""
    kept = shared / "live-system-models"
    with (shared / "live-system-models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            from springtide_services.training.training_run import train_once

            client.start_training(admin_pb2.TRAINING_MODE_RETRAIN)
            train_once(settings, "retrain")
            shutil.copytree(folder, kept)
            return
    shutil.copytree(kept, folder, dirs_exist_ok=True)


@contextlib.contextmanager
def _process(code: str, *arguments: str) -> Iterator[Callable[[], str]]:
    """Run Python code in a process; what it yields returns the first line that the code prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPRINGTIDE_")}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    try:
        yield lambda: process.stdout.readline().strip()  # type: ignore[union-attr]
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_BUDGET_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
