"""Sections about looking at Springtide: the console and its gateway, metrics, traces."""

from typing import Annotated

from pydantic import Field

from springtide.settings.file import DEFAULT_HOST, MAX_PORT
from springtide.settings.sections.base import Positive, Section


class ConsoleSettings(Section):
    """The console, and the gateway for clients without gRPC: one HTTP port beside the server."""

    host: str = DEFAULT_HOST
    """Address to listen on. `0.0.0.0` accepts connections from other machines: for that, `server.tls` and
    `server.tokens` must be set, or `server.insecure`."""
    port: Annotated[int, Field(ge=0, le=MAX_PORT)] = 8088
    """TCP port to listen on. 0 takes any free port."""
    allow_origins: tuple[str, ...] = ()
    """Origins whose pages may call the gateway from a browser (CORS), such as `["https://shop.example"]`. The console's
    own pages need none."""
    allow_hosts: tuple[str, ...] = ()
    """Names under which browsers may reach the console beside those of this machine and its addresses, such as
    `["console.shop.example"]` behind a proxy. With tokens, all names are answered."""
    max_events: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    """Most events that one `POST /v1/events` may bring."""


class MetricsSettings(Section):
    """Metrics for Prometheus, at `/metrics` of an HTTP port of each process."""

    host: str = DEFAULT_HOST
    """Address to listen on. `0.0.0.0` lets other machines read the metrics: they say how much is going on, and nothing
    of users; with `server.tls` they are encrypted, with `server.tokens` a token of the role `operator` is asked for."""
    port: Annotated[int, Field(ge=0, le=MAX_PORT)] | None = None
    """TCP port of the server's metrics. 0 takes any free port; `none` gives no metrics."""
    trainer_port: Annotated[int, Field(ge=0, le=MAX_PORT)] | None = None
    """TCP port of the trainer's metrics, likewise."""


class TracingSettings(Section):
    """Traces for OpenTelemetry, from producer to answer (`pip install 'springtide[tracing]'`)."""

    endpoint: str = ""
    """Address of the collector, OTLP over gRPC, such as `http://localhost:4317`. Empty switches traces off: nothing of
    OpenTelemetry is imported then."""
    sample_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the requests without a trace of their own that are traced. What carries a `traceparent` is traced as
    that says."""
    export_every_s: Positive = 5.0
    """Longest time in seconds that spans wait before they are sent."""
