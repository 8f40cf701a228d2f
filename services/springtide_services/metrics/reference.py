"""Writes the page of all metrics: `python -m springtide_services.metrics.reference PATH` (`make docs`)."""

import sys
from collections.abc import Sequence
from pathlib import Path

from springtide_services.metrics import catalogue
from springtide_services.metrics.catalogue import MetricSpec

_HEAD = """# Metrics

This page is made by `make docs` from [catalogue.py](catalogue.py).

With `metrics.port` ([settings](../../../core/springtide/settings/README.md#metrics)) a server listens for Prometheus
at `http://127.0.0.1:PORT/metrics`, and with `metrics.trainer_port` the trainer. `metrics.host` lets other machines read
them: by TLS (`server.tls`), and with a token of the role `operator` or `admin` (`server.tokens`), as the listener for
operators.

Values are read when Prometheus asks. Between two times, calls are counted, and nothing else is done. Times are in
seconds, sizes in bytes, shares from 0 to 1. A moment is in seconds since the Unix epoch, so that an age is
`time() - springtide_checkpoint_created_timestamp_seconds`. No label names a user or an item. Counters begin anew with
the process, as those of Prometheus may.

Alerts: [alerts.yaml](../../../deploy/prometheus/alerts.yaml), with what to do in
[deploy/README.md](../../../deploy/README.md#alerts). A dashboard for Grafana:
[springtide.json](../../../deploy/grafana/springtide.json).
"""

_TABLES = (
    ("The server: calls", catalogue.CALLS),
    ("The server: stream", catalogue.STREAM),
    ("The server: graph and memory", catalogue.GRAPH),
    ("The server: ranking", catalogue.RANKING),
    ("The server: models, trainings, quality", catalogue.LEARNING),
    ("The server: checkpoints", catalogue.KEEPING),
    ("The server: rules and experiments", catalogue.STEERING),
    ("The server: plugins", catalogue.PLUGINS),
    ("The trainer", catalogue.TRAINER),
    ("Each process", catalogue.PROCESS),
)


def page() -> str:
    """Return the page, in Markdown."""
    in_tables = {spec.name for _, specs in _TABLES for spec in specs}
    first = [spec for spec in catalogue.SERVER if spec.name not in in_tables]
    tables = [("The server", first), *_TABLES]
    return _HEAD + "".join(f"\n## {heading}\n\n{_table(specs)}\n" for heading, specs in tables)


def _table(specs: Sequence[MetricSpec]) -> str:
    lines = ["| metric | kind | labels | meaning |", "| :-- | :-- | :-- | :-- |"]
    for spec in specs:
        labels = ", ".join(f"`{label}`" for label in spec.labels)
        lines.append(f"| `{spec.name}` | {spec.kind} | {labels} | {spec.meaning} |")
    return "\n".join(lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
