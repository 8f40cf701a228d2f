"""A trace goes from the producer through Kafka into the graph, and on to the answer, as a collector sees it."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from springtide.settings.model import TracingSettings
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving.server import Server
from springtide_services.stream.producer import EventPublisher
from springtide_services.tracing.records import TracedPublishing, TracedRecords, traceparent_of
from springtide_services.tracing.spans import tracing_of


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that are sent to it, with the name of the service that has sent them."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, trace_pb2.Span]] = []
        self.address = ""

    def Export(self, request, context):  # noqa: N802  # The proto's name.
        for resource in request.resource_spans:
            service = next(
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            )
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> list[trace_pb2.Span]:
        return [span for _, span in self.spans if span.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield collector
    server.stop(None).wait()


@pytest.fixture
def traced(settings, collector):
    tracing = TracingSettings(endpoint=collector.address, sample_share=1.0, export_every_s=0.1)
    return settings.model_copy(update={"tracing": tracing})


@contextlib.asynccontextmanager
async def traced_server(settings, eventually):
    with tracing_of(settings, "server") as tracing:
        server = Server(settings, tracing=tracing)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(server.address) as channel:
                call = channel.unary_unary(
                    "/springtide.v1.RecommenderService/Recommend",
                    pb.RecommendRequest.SerializeToString,
                    pb.RecommendResponse.FromString,
                )

                async def is_ready():
                    with contextlib.suppress(grpc.aio.AioRpcError):
                        await call(pb.RecommendRequest(user="nobody"))
                        return True
                    return False

                await eventually(is_ready)
                yield call
        finally:
            await server.stop()


def publish_traced(settings, event, parent=""):
    """Publish an event with a span, and return the position behind it."""
    with tracing_of(settings, "shop") as tracing:
        traced = TracedPublishing(tracing, settings.kafka.topic)
        with EventPublisher(settings, lambda send: traced.send(send, parent)) as publisher:
            partition, offset = publisher.publish(event)
    return pb.GraphPosition(next_offsets={partition: offset + 1})


def test_trace_goes_from_the_producer_to_the_graph_and_is_linked_by_the_answer(
    traced, collector, eventually, make_purchase
):
    async def ask():
        async with traced_server(traced, eventually) as call:
            position = await asyncio.to_thread(publish_traced, traced, make_purchase("ann", "tent"))
            await call(pb.RecommendRequest(user="ann", min_position=position))

            async def has_come():
                return any(span.links for span in collector.named("/springtide.v1.RecommenderService/Recommend"))

            await eventually(has_come)

    asyncio.run(ask())
    (published,), (applied,) = (collector.named(f"{traced.kafka.topic} {what}") for what in ("publish", "apply"))
    assert applied.trace_id == published.trace_id
    assert applied.parent_span_id == published.span_id
    assert published.start_time_unix_nano <= applied.end_time_unix_nano
    (answer,) = [span for span in collector.named("/springtide.v1.RecommenderService/Recommend") if span.links]
    assert [link.span_id for link in answer.links] == [applied.span_id]
    assert {service for service, _ in collector.spans} == {"springtide-shop", "springtide-server"}


def test_call_that_carries_a_trace_goes_on_with_it(traced, collector, eventually):
    parent = f"00-{7:032x}-{9:016x}-01"

    async def ask():
        async with traced_server(traced, eventually) as call:
            await call(pb.RecommendRequest(user="ann"), metadata=(("traceparent", parent),))

            async def has_come():
                return any(span.parent_span_id == (9).to_bytes(8) for _, span in collector.spans)

            await eventually(has_come)

    asyncio.run(ask())
    (answer,) = [span for _, span in collector.spans if span.parent_span_id == (9).to_bytes(8)]
    assert answer.trace_id == (7).to_bytes(16)


def test_unsampled_event_carries_no_header_and_has_no_span(traced, collector, make_purchase):
    unsampled = traced.model_copy(update={"tracing": traced.tracing.model_copy(update={"sample_share": 0.0})})
    headers = []
    with tracing_of(unsampled, "shop") as tracing:
        sending = TracedPublishing(tracing, unsampled.kafka.topic)

        def send_traced(send):
            return sending.send(lambda each: (headers.append(each), send(each))[1])

        with EventPublisher(unsampled, send_traced) as publisher:
            publisher.publish(make_purchase("ann", "tent"))
    assert headers == [[]]
    assert collector.spans == []


@pytest.mark.parametrize("value", [b"", b"nonsense", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"\xff\xfe"])
def test_header_that_is_none_is_passed_over(traced, collector, value):
    from springtide.events import RawEvent

    with tracing_of(traced, "server") as tracing:
        TracedRecords(tracing).note([RawEvent(b"x", headers=[("traceparent", value)], topic="t")], 1)
    assert collector.spans == []


def test_header_of_a_span_is_that_of_the_standard(traced):
    with tracing_of(traced, "shop") as tracing:
        context = tracing.tracer.start_span("one").get_span_context()
    version, trace_id, span_id, flags = traceparent_of(context).split("-")
    assert (version, int(trace_id, 16), int(span_id, 16)) == ("00", context.trace_id, context.span_id)
    assert int(flags, 16) & 1  # Sampled.


def test_collector_that_is_away_stops_nothing(traced, eventually):
    away = traced.model_copy(update={"tracing": TracingSettings(endpoint="http://127.0.0.1:1", sample_share=1.0)})

    async def ask():
        async with traced_server(away, eventually) as call:
            return await call(pb.RecommendRequest(user="ann"))

    assert asyncio.run(ask()).as_of_ms > 0


def test_server_without_an_endpoint_imports_nothing_of_opentelemetry():
    code = (
        "import sys, springtide_services.serving.server, springtide_services.stream.producer; "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
