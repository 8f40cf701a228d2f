"""The built-in parts of Springtide; they come in by the same entry point as anybody's."""

from collections.abc import Callable

from springtide.plugins.contracts import AggregatorFactory, ContextWeightFactory, EncoderFactory, LossFactory
from springtide.plugins.hookspecs import hookimpl
from springtide_plugins.aggregators.basic import (
    make_attentional,
    make_max,
    make_mean,
    make_min,
    make_softmax,
    make_std,
    make_sum,
)
from springtide_plugins.aggregators.of_edges import Several, TimeDecay
from springtide_plugins.aggregators.power_mean import PowerMean
from springtide_plugins.aggregators.sequences import LatestLSTM, ProjectedSet2Set
from springtide_plugins.context_weights.calendar import Calendar
from springtide_plugins.context_weights.popularity import Popularity
from springtide_plugins.context_weights.repeat import Repeat
from springtide_plugins.context_weights.trend import Trend
from springtide_plugins.encoders.edge_sage import EdgeSAGE
from springtide_plugins.encoders.gat import GATv2
from springtide_plugins.encoders.gcn import GCN
from springtide_plugins.encoders.ggnn import GGNN
from springtide_plugins.encoders.graphsage import GraphSAGE
from springtide_plugins.encoders.hetero import RGCN
from springtide_plugins.encoders.lightgcn import LightGCN
from springtide_plugins.encoders.mpnn import MPNN
from springtide_plugins.losses import MaxMargin, SampledSoftmax


@hookimpl
def register_encoders(register: Callable[[str, EncoderFactory], None]) -> None:
    """Register the built-in encoders."""
    register("edge_sage", EdgeSAGE)
    register("gat", GATv2)
    register("gcn", GCN)
    register("ggnn", GGNN)
    register("graphsage", GraphSAGE)
    register("hetero", RGCN)
    register("lightgcn", LightGCN)
    register("mpnn", MPNN)


@hookimpl
def register_aggregators(register: Callable[[str, AggregatorFactory], None]) -> None:
    """Register the built-in aggregators."""
    register("attentional", make_attentional)
    register("lstm", LatestLSTM)
    register("max", make_max)
    register("mean", make_mean)
    register("min", make_min)
    register("power_mean", PowerMean)
    register("set2set", ProjectedSet2Set)
    register("several", Several)
    register("softmax", make_softmax)
    register("std", make_std)
    register("sum", make_sum)
    register("time_decay", TimeDecay)


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
