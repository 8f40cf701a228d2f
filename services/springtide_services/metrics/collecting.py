"""From values to what Prometheus reads; to be imported only where metrics are on, for it imports the client library."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from springtide_services.metrics.catalogue import MetricSpec
from springtide_services.metrics.samples import Buckets, Sample


class LiveCollector(Collector):
    """Gives the values of the moment at which it is asked; between two times nothing is done.

    Args:
        specs: The metrics that there may be.
        read: Returns their values; called by the threads that answer.
    """

    def __init__(self, specs: Sequence[MetricSpec], read: Callable[[], Iterable[Sample]]) -> None:
        self._specs = specs
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what would be asked for at the registration is not there before the server runs."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its values; one without values is left out.

        Raises:
            KeyError: If a value is of none of the metrics, which is a mistake of ours.
        """
        found: defaultdict[str, list[Sample]] = defaultdict(list)
        known = {spec.name for spec in self._specs}
        for sample in self._read():
            if sample.name not in known:
                raise KeyError(f"{sample.name} is not in the catalogue of metrics")
            found[sample.name].append(sample)
        for spec in self._specs:
            if spec.name in found:
                yield _family(spec, found[spec.name])


def registry_of(specs: Sequence[MetricSpec], read: Callable[[], Iterable[Sample]]) -> CollectorRegistry:
    """Return a registry with the metrics of a process, and those that the library knows of it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LiveCollector(specs, read))
    ProcessCollector(registry=registry)
    return registry


def _family(spec: MetricSpec, samples: Sequence[Sample]) -> Metric:
    if spec.kind == "histogram":
        histogram = HistogramMetricFamily(spec.name, spec.meaning, labels=spec.labels)
        for sample in samples:
            assert isinstance(sample.value, Buckets), "histograms have buckets"
            edges = [*map(str, sample.value.edges), "+Inf"]
            buckets = list(zip(edges, map(float, sample.value.upto), strict=True))
            histogram.add_metric(sample.labels, buckets, sample.value.total)
        return histogram
    if spec.kind == "info":
        info = InfoMetricFamily(spec.name.removesuffix("_info"), spec.meaning)
        for sample in samples:
            info.add_metric([], dict(zip(spec.labels, sample.labels, strict=True)))
        return info
    make = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
    family = make(spec.name.removesuffix("_total"), spec.meaning, labels=spec.labels)
    for sample in samples:
        assert not isinstance(sample.value, Buckets), "these have one value"
        family.add_metric(sample.labels, sample.value)
    return family
