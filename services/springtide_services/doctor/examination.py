"""The whole examination: from the settings to what the server says."""

import contextlib
from collections.abc import Callable, Iterator

from springtide.settings.model import Settings
from springtide.v1 import admin_pb2 as pb
from springtide_services.access.public import check_doors
from springtide_services.doctor.history import history_findings
from springtide_services.doctor.keys import door_findings, tls_findings, token_findings
from springtide_services.doctor.parts import package_findings, plugin_findings
from springtide_services.doctor.running import port_findings, server_findings
from springtide_services.doctor.state_files import checkpoint_findings, disk_findings, model_findings
from springtide_services.findings import Finding, Level
from springtide_services.serving.client import AccessRefusedError, ServerCallError
from springtide_services.stream.kafka_check import check_kafka

Ask = Callable[[], pb.GetStatusResponse]


def examine(settings: Settings, ask: Ask, address: str) -> Iterator[tuple[str, list[Finding]]]:
    """Yield each area that was looked at, with what was found there.

    Args:
        settings: The settings that server and trainer load.
        ask: Asks the server for its status.
        address: Address of the server's listener for operators, for messages.
    """
    status, server = _asked(ask, address)
    yield "server", [*server, *(server_findings(status, settings) if status is not None else port_findings(settings))]
    yield "Kafka", list(_kafka_findings(settings))
    yield "state", [*checkpoint_findings(settings, status), *model_findings(settings), *disk_findings(settings)]
    yield "plugins", [*plugin_findings(settings), *package_findings(settings)]
    yield (
        "doors",
        [*door_findings(settings, check_doors), *tls_findings(settings.server.tls), *token_findings(settings)],
    )


def _asked(ask: Ask, address: str) -> tuple[pb.GetStatusResponse | None, list[Finding]]:
    """Return the server's status, None if it does not answer, and what that means."""
    try:
        return ask(), [Finding("server", Level.OK, f"answers at {address}")]
    except AccessRefusedError as error:
        return None, [
            Finding(
                "server",
                Level.UNKNOWN,
                str(error),
                "Show a token of the role operator: --token, or SPRINGTIDE_TOKEN.",
            )
        ]
    except ServerCallError as error:
        return None, [
            Finding("server", Level.FAILURE, str(error), "Start it, or name its address.", "springtide serve"),
        ]


def _kafka_findings(settings: Settings) -> Iterator[Finding]:
    if not settings.kafka.bootstrap_servers:
        yield Finding(
            "broker",
            Level.WARNING,
            "no broker is named (kafka.bootstrap_servers): only `springtide up` runs so, with an embedded one",
            "Name your brokers, as setting or in KAFKA_BOOTSTRAP_SERVERS; or run `springtide up`.",
        )
        return
    yield from check_kafka(settings)
    with contextlib.suppress(LookupError):
        yield from history_findings(settings)
