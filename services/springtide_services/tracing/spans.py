"""The spans of one process: how they are sampled and sent, and who makes them."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from springtide.errors import SettingsError
from springtide.extras import refuse_without
from springtide.settings.model import Settings
from springtide_services.tracing.traced_methods import is_traced

if TYPE_CHECKING:
    import grpc
    from opentelemetry.trace import Tracer

_PROCESS = "springtide"
_EXPORT_S = 3  # How long spans are tried to be sent; the process may wait so long for the last ones when it ends.


class Tracing:
    """The spans of one process; they are sent in the background, and dropped where the collector does not take them.

    Args:
        settings: Where they are sent, and which share of the requests is traced.
        process: The process, such as ``server``: spans carry ``service.name`` ``springtide-server``.

    Raises:
        SettingsError: If OpenTelemetry is not installed, or the endpoint is no URL.
    """

    def __init__(self, settings: Settings, process: str) -> None:
        refuse_without("tracing")
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        endpoint, tracing = settings.tracing.endpoint, settings.tracing
        if not endpoint.startswith(("http://", "https://")):
            raise SettingsError(f"tracing.endpoint: wanted a URL such as http://localhost:4317, got {endpoint!r}")
        self._provider: TracerProvider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(tracing.sample_share)),
            resource=Resource.create({"service.name": f"{_PROCESS}-{process}"}),
            shutdown_on_exit=False,
        )
        is_plain = endpoint.startswith("http://")
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=is_plain, timeout=_EXPORT_S)
        every_ms = round(1_000 * tracing.export_every_s)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=every_ms))

    @property
    def tracer(self) -> "Tracer":
        """What makes spans."""
        return self._provider.get_tracer(_PROCESS)

    def interceptor(self) -> "grpc.aio.ServerInterceptor[Any, Any]":
        """Return what makes a span of each call of a server that gives one answer.

        It stands behind the guard: a refused call has no span.
        """
        from opentelemetry.instrumentation.grpc import aio_server_interceptor

        interceptor: grpc.aio.ServerInterceptor[Any, Any] = aio_server_interceptor(  # type: ignore[no-untyped-call]
            tracer_provider=self._provider, filter_=is_traced
        )
        return interceptor

    def close(self) -> None:
        """Send what is still there, for some seconds at most, and stop."""
        self._provider.shutdown()


@contextlib.contextmanager
def tracing_of(settings: Settings, process: str) -> Iterator[Tracing | None]:
    """Trace while the block lasts; None where ``tracing.endpoint`` is empty.

    Raises:
        SettingsError: As ``Tracing`` does.
    """
    if not settings.tracing.endpoint:
        yield None
        return
    tracing = Tracing(settings, process)
    try:
        yield tracing
    finally:
        tracing.close()
