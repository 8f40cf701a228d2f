"""Values of the metrics of calls, by the names that the gRPC ecosystem gives them."""

from collections.abc import Iterator

from springtide_services.metrics.calls import EDGES_S, CallCounts
from springtide_services.metrics.samples import Buckets, Sample


def call_samples(calls: CallCounts) -> Iterator[Sample]:
    """Yield the values of all calls; a method that was never called has zeros, so that its first call is a rise."""
    for counts in calls.methods():
        service, _, method = counts.path.lstrip("/").partition("/")
        labels = (counts.kind, service, method)
        yield Sample("grpc_server_started_total", counts.num_started, labels)
        ended = {"OK": 0, **counts.num_ended}
        for code, count in ended.items():
            yield Sample("grpc_server_handled_total", count, (*labels, code_name(code)))
        if counts.num_started:
            buckets = Buckets(EDGES_S, counts.times_in_buckets(), counts.total_s)
            yield Sample("grpc_server_handling_seconds", buckets, labels)
    yield Sample("springtide_open_calls", calls.num_open)


def code_name(code: str) -> str:
    """Return the name of a status as metrics have it, after Go: `NotFound` of `NOT_FOUND`."""
    if code == "OK":
        return code
    return "Canceled" if code == "CANCELLED" else "".join(word.capitalize() for word in code.split("_"))
