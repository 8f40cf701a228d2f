"""Traces through Kafka: the `traceparent` header of records, and the spans at both ends of the topic.

OpenTelemetry's instrumentation of kafka-python does not know its third version, so the header (W3C Trace Context) is
written and read here.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from springtide.events import RawEvent
from springtide_services.tracing.spans import Tracing

if TYPE_CHECKING:
    from kafka.producer.future import FutureRecordMetadata
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

HEADER = "traceparent"
_MAX_REMEMBERED = 10_000  # Traced events that a later answer may be linked to.

Headers = list[tuple[str, bytes]]


class TracedPublishing:
    """Makes a span of each record that is sampled, from its sending to its acknowledgement.

    Args:
        tracing: The spans of this process.
        topic: The topic.
    """

    def __init__(self, tracing: Tracing, topic: str) -> None:
        self._tracer = tracing.tracer
        self._topic = topic

    def send(self, send: Callable[[Headers], "FutureRecordMetadata"], parent: str = "") -> "FutureRecordMetadata":
        """Send a record with the header of its span; without one where the span is not sampled.

        Args:
            send: Sends the record with headers.
            parent: The ``traceparent`` of who has asked for it, such as of an HTTP request; empty for none.
        """
        from opentelemetry.trace import SpanKind

        span = self._tracer.start_span(
            f"{self._topic} publish",
            context=_context_of(parent) if parent else None,
            kind=SpanKind.PRODUCER,
            attributes={"messaging.system": "kafka", "messaging.destination.name": self._topic},
        )
        if not span.get_span_context().trace_flags.sampled:
            return send([])
        future = send([(HEADER, traceparent_of(span.get_span_context()).encode())])
        future.add_both(lambda _: span.end())
        return future


class TracedRecords:
    """Makes a span of each traced record that is applied, and links answers to those that they waited for.

    The ingest thread notes; the event loop links.

    Args:
        tracing: The spans of this process.
    """

    def __init__(self, tracing: Tracing) -> None:
        self._tracer = tracing.tracer
        self._latest: OrderedDict[tuple[int, int], SpanContext] = OrderedDict()

    def note(self, records: Sequence[RawEvent], started_ns: int) -> None:
        """Make the spans of records that were applied; called by the ingest thread.

        Args:
            records: The records; those without the header, or whose trace is not sampled, have no span.
            started_ns: When they were taken, in nanoseconds since the Unix epoch.
        """
        from opentelemetry.trace import SpanKind, get_current_span

        for record in records:
            if not record.headers or (parent := _parent_of(record)) is None:
                continue
            if not get_current_span(parent).get_span_context().trace_flags.sampled:
                continue
            span = self._tracer.start_span(
                f"{record.topic} apply",
                context=parent,
                kind=SpanKind.CONSUMER,
                start_time=started_ns,
                attributes={
                    "messaging.system": "kafka",
                    "messaging.destination.name": record.topic,
                    "messaging.destination.partition.id": str(record.partition),
                    "messaging.kafka.offset": record.offset,
                    "springtide.published_ms": record.timestamp_ms,
                },
            )
            span.end()
            self._latest[record.partition, record.offset] = span.get_span_context()
            while len(self._latest) > _MAX_REMEMBERED:
                self._latest.popitem(last=False)

    def link(self, next_offsets: Mapping[int, int]) -> None:
        """Link the span of the call under way to the events just before a position that it has waited for.

        Args:
            next_offsets: The position: for each partition, one more than the offset of the event.
        """
        from opentelemetry.trace import get_current_span

        for partition, next_offset in next_offsets.items():
            if (found := self._latest.get((partition, next_offset - 1))) is not None:
                get_current_span().add_link(found)


def traceparent_of(context: "SpanContext") -> str:
    """Return the header of a span, as W3C Trace Context writes it."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _parent_of(record: RawEvent) -> "Context | None":
    value = next((value for name, value in record.headers if name == HEADER and value is not None), None)
    return None if value is None else _context_of(value.decode("ascii", "replace"))


def _context_of(traceparent: str) -> "Context | None":
    """Return the context of a header; None if it is none."""
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({HEADER: traceparent})
    return context if get_current_span(context).get_span_context().is_valid else None
