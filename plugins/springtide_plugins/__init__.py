"""The built-in parts of Springtide; they come in by the same entry point as anybody's."""

from collections.abc import Callable

from springtide.plugins.contracts import AggregatorFactory, ContextWeightFactory, EncoderFactory, LossFactory
from springtide.plugins.hookspecs import hookimpl
from springtide_plugins.aggregators import make_mean, make_sum
from springtide_plugins.context_weights.calendar import Calendar
from springtide_plugins.context_weights.popularity import Popularity
from springtide_plugins.context_weights.repeat import Repeat
from springtide_plugins.context_weights.trend import Trend
from springtide_plugins.encoders import GraphSAGE, LightGCN
from springtide_plugins.losses import MaxMargin, SampledSoftmax


@hookimpl
def register_encoders(register: Callable[[str, EncoderFactory], None]) -> None:
    """Register the built-in encoders."""
    register("lightgcn", LightGCN)
    register("graphsage", GraphSAGE)


@hookimpl
def register_aggregators(register: Callable[[str, AggregatorFactory], None]) -> None:
    """Register the built-in aggregators."""
    register("mean", make_mean)
    register("sum", make_sum)


@hookimpl
def register_losses(register: Callable[[str, LossFactory], None]) -> None:
    """Register the built-in losses."""
    register("max_margin", MaxMargin)
    register("sampled_softmax", SampledSoftmax)


@hookimpl
def register_context_weights(register: Callable[[str, ContextWeightFactory], None]) -> None:
    """Register the built-in context weights."""
    register("calendar", Calendar)
    register("popularity", Popularity)
    register("repeat", Repeat)
    register("trend", Trend)
