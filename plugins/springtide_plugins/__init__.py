"""The built-in parts of Springtide, registered by the same hooks and entry point as those of any plugin."""

import functools
from collections.abc import Callable

from springtide.plugins.contracts import (
    AggregatorFactory,
    BaselineFactory,
    ContextWeightFactory,
    DecoderFactory,
    EncoderFactory,
    LossFactory,
    NegativeSamplerFactory,
    TaskFactory,
)
from springtide.plugins.hookspecs import hookimpl
from springtide_plugins import negative_samplers
from springtide_plugins.aggregators.basic import (
    make_attentional,
    make_max,
    make_mean,
    make_min,
    make_softmax,
    make_std,
    make_sum,
)
from springtide_plugins.aggregators.edge_aware import Several, TimeDecay
from springtide_plugins.aggregators.power_mean import PowerMean
from springtide_plugins.aggregators.sequences import LatestLSTM, ProjectedSet2Set
from springtide_plugins.baselines.factors import BPR, IALS
from springtide_plugins.baselines.linear import EASE, SLIM
from springtide_plugins.baselines.neighbours import TIFUKNN, ItemKNN, UserKNN
from springtide_plugins.baselines.popularity import DecayedPopularity, RecentPopularity
from springtide_plugins.baselines.popularity import Popularity as PopularityBaseline
from springtide_plugins.baselines.seen_items import DecayedOwnCounts, EdgeBank, MovingAverage, OwnCounts
from springtide_plugins.context_weights.calendar import Calendar
from springtide_plugins.context_weights.circumstances import Attribute, Place, Weather
from springtide_plugins.context_weights.occasions import Occasions
from springtide_plugins.context_weights.popularity import Popularity
from springtide_plugins.context_weights.reorder import Reorder
from springtide_plugins.context_weights.repeat import Cycle, Repeat
from springtide_plugins.context_weights.session import Session
from springtide_plugins.context_weights.trend import Trend
from springtide_plugins.decoders.cloudevents import CloudEvents
from springtide_plugins.decoders.confluent import Confluent
from springtide_plugins.decoders.debezium import Debezium
from springtide_plugins.encoders.edge_sage import EdgeSAGE
from springtide_plugins.encoders.gat import GATv2
from springtide_plugins.encoders.gcn import GCN
from springtide_plugins.encoders.ggnn import GGNN
from springtide_plugins.encoders.graphsage import GraphSAGE
from springtide_plugins.encoders.hetero import RGCN
from springtide_plugins.encoders.lightgcn import LightGCN
from springtide_plugins.encoders.mpnn import MPNN
from springtide_plugins.losses.adjacency import Reconstruction
from springtide_plugins.losses.geometry import DirectAU, XSimGCL
from springtide_plugins.losses.margin import LowRankMaxMargin, MaxMargin
from springtide_plugins.losses.pairwise import Hinge, PairwiseLogistic, Triplet
from springtide_plugins.losses.pointwise import BinaryCrossEntropy, MeanSquaredError
from springtide_plugins.losses.softmax import SampledSoftmax
from springtide_plugins.tasks.graphs import GraphClassification
from springtide_plugins.tasks.nodes import NodeClassification, NodeRegression


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
    register("bce", BinaryCrossEntropy)
    register("cce", SampledSoftmax)
    register("directau", DirectAU)
    register("hinge", Hinge)
    register("low_rank_max_margin", LowRankMaxMargin)
    register("max_margin", MaxMargin)
    register("mse", MeanSquaredError)
    register("pairwise_logistic", PairwiseLogistic)
    register("reconstruction", Reconstruction)
    register("triplet", Triplet)
    register("xsimgcl", XSimGCL)


@hookimpl
def register_negative_samplers(register: Callable[[str, NegativeSamplerFactory], None]) -> None:
    """Register the built-in negative samplers."""
    register("hard", negative_samplers.Hard)
    register("in_batch", negative_samplers.InBatch)
    register("popularity", negative_samplers.Popularity)
    register("uniform", negative_samplers.Uniform)


@hookimpl
def register_tasks(register: Callable[[str, TaskFactory], None]) -> None:
    """Register the built-in tasks beside link prediction."""
    register("graph_classification", GraphClassification)
    register("node_classification", NodeClassification)
    register("node_regression", NodeRegression)


@hookimpl
def register_context_weights(register: Callable[[str, ContextWeightFactory], None]) -> None:
    """Register the built-in context weights."""
    register("attribute", Attribute)
    register("calendar", Calendar)
    register("cycle", Cycle)
    register("occasions", Occasions)
    register("place", Place)
    register("popularity", Popularity)
    register("repeat", Repeat)
    register("session", Session)
    register("reorder", Reorder)
    register("trend", Trend)
    register("weather", Weather)


@hookimpl
def register_baselines(register: Callable[[str, BaselineFactory], None]) -> None:
    """Register the built-in baselines."""
    register("bpr", BPR)
    register("decayed_own_counts", DecayedOwnCounts)
    register("decayed_popularity", DecayedPopularity)
    register("ease", EASE)
    register("edge_bank", EdgeBank)
    register("ials", IALS)
    register("item_knn", ItemKNN)
    register("moving_average", MovingAverage)
    register("own_counts", OwnCounts)
    register("popularity", PopularityBaseline)
    register("recent_popularity", RecentPopularity)
    register("slim", SLIM)
    register("tifu_knn", TIFUKNN)
    register("user_knn", UserKNN)
    register("week_popularity", functools.partial(RecentPopularity, days=7.0))


@hookimpl
def register_decoders(register: Callable[[str, DecoderFactory], None]) -> None:
    """Register the built-in decoders."""
    register("cloudevents", CloudEvents)
    register("confluent", Confluent)
    register("debezium", Debezium)
