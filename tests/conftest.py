"""A broker for the tests that need one, and topics that no other test touches."""

import contextlib
import functools
import importlib.util
import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import SecurityDisabledError

from springtide.settings.model import KafkaSettings, Settings
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.stream.topics import ensure_topics

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_topic_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def no_logger_keeps_its_configuration() -> Iterator[None]:
    """Let later tests capture the logs of modules whose first event came after a command had set logging up."""
    configure = structlog.configure

    def configure_anew(**settings: Any) -> None:
        configure(**{**settings, "cache_logger_on_first_use": False})

    structlog.configure = configure_anew
    yield
    structlog.configure = configure


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[ModuleType, str]]:
    """``s3_server.py``, and the address of an S3 server that it runs."""
    module = _module("s3_server")
    with module.s3_server() as address:
        yield module, address


@pytest.fixture
def s3_bucket(s3_server: tuple[ModuleType, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket, ``s3://…``; this process and those that it starts find its server."""
    module, address = s3_server
    for name, value in module.environment_for(address).items():
        monkeypatch.setenv(name, value)
    return str(module.new_bucket(address))


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Bootstrap servers of the broker named by KAFKA_BOOTSTRAP_SERVERS, or else of an embedded one."""
    named = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
    if named:
        yield named
        return
    with EmbeddedBroker() as embedded:
        yield embedded.bootstrap_servers


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless browser; a file that uses it must not call ``asyncio.run``. Skips the test where there is none."""
    module = _module("browser")
    if not module.find_browser():
        pytest.skip("needs a browser: tests/install_tools.sh installs chromium")
    with module.running_browser() as running:
        yield running


@pytest.fixture
def visit(browser: "Browser") -> Iterator[Callable[..., Any]]:
    """Open a tab: ``visit(live.url).open("#/now")``; what goes wrong in it fails the test. See ``browser.py``."""
    module = _module("browser")
    with contextlib.ExitStack() as stack:
        yield lambda url, **options: stack.enter_context(module.visit(browser, url, **options))


@pytest.fixture(scope="module")
def live(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A small shop with seasons, a server with a trained model, and the console at ``live.url``; see live_system.py."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    with _module("live_system").live_system(_fresh_kafka(broker, 2), tmp_path_factory.mktemp("live"), shared) as system:
        yield system


@pytest.fixture
def fresh_kafka(broker: str) -> Callable[..., KafkaSettings]:
    """Make Kafka settings with topics that exist and that no other test uses: ``fresh_kafka(num_partitions=2)``."""

    return lambda num_partitions=2, **others: _fresh_kafka(broker, num_partitions, **others)


def _fresh_kafka(broker: str, num_partitions: int, **others: object) -> KafkaSettings:
    suffix = f"{os.getpid()}-{next(_topic_numbers)}"
    kafka = KafkaSettings(
        bootstrap_servers=broker,
        topic=f"test.events-{suffix}",
        dead_letter_topic=f"test.dead-letters-{suffix}",
        num_partitions=num_partitions,
        **others,
    )
    ensure_topics(Settings(kafka=kafka))
    return kafka


@functools.cache
def _module(name: str) -> ModuleType:
    """Return a module that stands beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Dataclasses look themselves up.
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def on_listener() -> Callable[..., KafkaSettings]:
    """Give settings for another listener of the same Kafka: ``on_listener(kafka, "SASL_SSL", "SCRAM-SHA-512")``.

    Skips the test if the listener is not named by a variable; tests/README.md names the variables.
    """

    def make(kafka: KafkaSettings, protocol: str, mechanism: str = "SCRAM-SHA-256") -> KafkaSettings:
        options: dict[str, object] = {"security_protocol": protocol}
        if "SASL" in protocol:
            options["sasl_mechanism"] = mechanism
            options["sasl_plain_username"] = _variable("KAFKA_USERNAME")
            options["sasl_plain_password"] = _variable("KAFKA_PASSWORD")
        if "SSL" in protocol:
            options["ssl_cafile"] = _variable("KAFKA_CA_FILE")
        servers = _variable(f"KAFKA_{protocol}_BOOTSTRAP_SERVERS")
        return kafka.model_copy(update={"bootstrap_servers": servers, "client_options": options})

    return make


@pytest.fixture
def grant(broker: str) -> Iterator[Callable[..., None]]:
    """Give the user KAFKA_USERNAME rights until the test ends: ``grant("TOPIC", "orders", "READ", "DESCRIBE")``.

    Without access rules on the Kafka it does nothing, since everybody may do everything.
    """
    user, given = _variable("KAFKA_USERNAME"), []
    with KafkaAdminClient(bootstrap_servers=broker) as admin:

        def give(resource: str, name: str, *operations: str) -> None:
            pattern = ResourcePattern(ResourceType[resource], name)
            acls = [
                ACL(f"User:{user}", "*", ACLOperation[operation], ACLPermissionType.ALLOW, pattern)
                for operation in operations
            ]
            with contextlib.suppress(SecurityDisabledError):
                admin.create_acls(acls)
                given.extend(acls)
                time.sleep(0.3)  # Until the brokers know them.

        yield give
        if given:
            admin.delete_acls(given)


@pytest.fixture
def has_access_rules(broker: str) -> None:
    """Skip the test if the Kafka has no access rules."""
    everything = ACLFilter(
        None,
        None,
        ACLOperation.ANY,
        ACLPermissionType.ANY,
        ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY),
    )
    with KafkaAdminClient(bootstrap_servers=broker) as admin:
        try:
            admin.describe_acls(everything)
        except SecurityDisabledError:
            pytest.skip("needs a Kafka with access rules (authorizer.class.name)")


@pytest.fixture
def run_kafka_command() -> Callable[..., None]:
    """Run a command such as ``kafka-topics --create …``, perhaps with a text as its input.

    A program ``tool`` beside KAFKA_START runs it; without that, the test is skipped.
    """
    tool = Path(_variable("KAFKA_START")).with_name("tool")
    if not tool.exists():
        pytest.skip(f"needs Kafka's own programs: {tool} is missing")

    def run(command: str, text: str = "") -> None:
        program, *words = shlex.split(command)
        subprocess.run(
            [tool, program.removeprefix("kafka-"), *words],
            check=True,
            capture_output=True,
            timeout=60,
            input=text.encode(),
        )

    return run


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        pytest.skip(f"needs {name}; `make test-kafka` sets it where it starts the Kafka")
    return value


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what only a real Apache Kafka does, unless one is named."""
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return
    skip = pytest.mark.skip(reason="needs a real Apache Kafka: make test-kafka")
    for item in items:
        if item.get_closest_marker("kafka") is not None:
            item.add_marker(skip)


@pytest.fixture
def note_door() -> Callable[[str, str, str, str], None]:
    """Note a row of the table of doors: ``note_door("client", "Explain", "with its token", "PERMISSION_DENIED")``."""

    def note(who: str, door: str, how: str, got: str) -> None:
        _write_row({"who": who, "door": door, "how": how, "got": got})

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Note a row of the table of faults for each test marked ``fault``, if ``make faults`` runs it."""
    report = yield
    marker = item.get_closest_marker("fault")
    if marker is not None and report.when == "call" and not report.skipped:
        row = {"fault": marker.args[0], "where": item.nodeid.partition("[")[0], "times": 1, "lost": 0}
        noted = {name: value for name, value in item.user_properties if name in ("times", "lost", "recovered_s")}
        _write_row({**row, "recovered_s": call.duration, **noted, "failed": report.failed})
    return report


def _write_row(row: dict[str, object]) -> None:
    """Append a row to the file that the variable TABLE_ROWS names, in one write; tests/README.md says what is in it."""
    if path := os.environ.get("TABLE_ROWS", ""):
        with open(path, "ab", buffering=0) as file:
            file.write(json.dumps(row).encode() + b"\n")
