"""What a running server says of itself, and whether its ports are free if none runs."""

import socket
from collections.abc import Iterator

from springtide.settings.model import Settings
from springtide.v1 import admin_pb2 as pb
from springtide_services.addresses import join_address
from springtide_services.findings import Finding, Level

_FULL, _NEARLY_FULL = 0.95, 0.8
_SHOWN = 3


def server_findings(status: pb.GetStatusResponse, settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong by a server's status, and that the rest is well."""
    yield from _stream_findings(status, settings)
    yield from _refused_findings(status)
    yield from _model_findings(status)
    yield from _part_findings(status)
    yield from _memory_findings(status)
    for reason in status.rebuild_reasons:
        yield Finding("graph", Level.WARNING, reason, "Read the events again.", "springtide rebuild")
    if status.steering.fault:
        yield Finding("rules", Level.WARNING, f"the newest rules are not in force: {status.steering.fault}")


def port_findings(settings: Settings) -> Iterator[Finding]:
    """Yield which ports of the settings another process has."""
    server = settings.server
    ports = (
        ("server.port", server.host, server.port),
        ("server.admin_port", server.admin_host, server.admin_port_number),
        ("console.port", settings.console.host, settings.console.port),
        ("metrics.port", settings.metrics.host, settings.metrics.port or 0),
    )
    for setting, host, port in ports:
        try:
            with socket.create_server((host, port)):
                pass
        except OSError as error:
            yield Finding(
                "ports",
                Level.WARNING,
                f"{setting}: {join_address(host, port)} cannot be listened on: {error.strerror or error}",
                "Stop what has it, or name another port.",
            )


def _stream_findings(status: pb.GetStatusResponse, settings: Settings) -> Iterator[Finding]:
    if status.HasField("stream_problem"):
        problem = status.stream_problem
        again = "the stream has ended until a restart" if problem.is_final else "the server tries again"
        yield Finding("stream", Level.FAILURE, f"{problem.message} ({problem.kind}); {again}")
    elif status.stream_health == "reading":
        yield Finding("stream", Level.OK, f"read, {max(status.lag_events, 0):,} events behind")
    elif status.stream_health == "behind":
        yield Finding(
            "stream",
            Level.WARNING,
            f"{status.lag_events:,} events behind, more than kafka.max_lag_events ({settings.kafka.max_lag_events:,}): "
            "answers do not know the latest events",
            "If it does not shrink, more events come than this machine applies: give it more CPU, or fewer events.",
        )
    else:
        partitions = ", ".join(map(str, status.silent_partitions))
        silent = f"; silent partitions: {partitions}" if partitions else ""
        yield Finding("stream", Level.WARNING, f"{status.stream_health.replace('_', ' ')}{silent}")
    for gap in status.stream_gaps[-_SHOWN:]:
        yield Finding(
            "stream",
            Level.WARNING,
            f"events were skipped: partition {gap.partition}, offsets {gap.from_offset:,} to {gap.to_offset:,} "
            f"({gap.reason})",
            "Publish them again if another place has them.",
        )


def _refused_findings(status: pb.GetStatusResponse) -> Iterator[Finding]:
    if not status.num_dead_letters:
        return
    counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(status.num_dead_letters.items()))
    yield Finding(
        "dead letters",
        Level.WARNING,
        f"events were refused since the start of the server: {counts}",
        "Look at them; mend what sends them, and publish them again.",
        "springtide dead-letters list",
    )
    if status.num_dead_letters_not_written:
        yield Finding(
            "dead letters",
            Level.WARNING,
            f"{status.num_dead_letters_not_written:,} of them are not in the dead-letter topic "
            "(kafka.on_dead_letter_failure)",
        )


def _model_findings(status: pb.GetStatusResponse) -> Iterator[Finding]:
    if status.HasField("bypassed_model"):
        bypassed = status.bypassed_model
        yield Finding(
            "model",
            Level.FAILURE,
            f"version {bypassed.version} is current and cannot be loaded: {bypassed.fault}; "
            f"{bypassed.instead or 'the fallback'} serves",
            "Make the version before it current.",
            "springtide models rollback",
        )
    elif status.model_version:
        yield Finding("model", Level.OK, f"{status.model_version} serves")
    else:
        yield Finding("model", Level.WARNING, "none serves: popularity, trend and repeat purchases answer")
    if status.training.failure:
        yield Finding(
            "training",
            Level.WARNING,
            f"the last training failed: {status.training.failure}",
            "Look into the trainer's log.",
        )
    if status.live_quality.HasField("drop"):
        drop = status.live_quality.drop
        yield Finding(
            "quality",
            Level.WARNING,
            f"{drop.model_version} fell from NDCG@20 {drop.first_ndcg_at_20:.4f} to {drop.ndcg_at_20:.4f}",
            "A training was requested; see whether the next version is better.",
            "springtide models list",
        )


def _part_findings(status: pb.GetStatusResponse) -> Iterator[Finding]:
    for failing in status.failing_parts:
        now = ", and does not return now" if failing.is_blocked else ""
        yield Finding(
            "plugins",
            Level.WARNING,
            f"{failing.part} of {failing.origin} has failed {failing.num_failed:,} times in {failing.hook}{now}: "
            f"{failing.reason}",
            "Answers are given without it. Mend it, or leave it out of the settings.",
        )
    for version, fault in sorted(status.variant_faults.items()):
        yield Finding("experiments", Level.WARNING, f"model {version}, which an experiment names, is missing: {fault}")


def _memory_findings(status: pb.GetStatusResponse) -> Iterator[Finding]:
    if not status.memory_limit_bytes or not status.resident_bytes:
        return
    share = status.resident_bytes / status.memory_limit_bytes
    message = (
        f"the server takes {status.resident_bytes / 1e9:,.2f} of {status.memory_limit_bytes / 1e9:,.2f} GB, "
        f"{status.graph_bytes / 1e9:,.2f} of them for the graph"
    )
    if share < _NEARLY_FULL:
        yield Finding("memory", Level.OK, message)
        return
    yield Finding(
        "memory",
        Level.FAILURE if share > _FULL else Level.WARNING,
        f"{message}: the system ends it when there is none left",
        "Lower graph.max_edges or graph.max_nodes, or give it more memory.",
    )
