"""The built-in parts of Springtide, registered by the same hooks and entry point as those of any plugin.

Each is registered by where it is: a part that nobody asks for is not imported, nor what it needs.
"""

from springtide.plugins.contracts import (
    AggregatorFactory,
    BaselineFactory,
    ContextWeightFactory,
    DecoderFactory,
    EncoderFactory,
    IndexFactory,
    LossFactory,
    NegativeSamplerFactory,
    RerankerFactory,
    TaskFactory,
)
from springtide.plugins.hookspecs import RegisterHalves, RegisterPart, hookimpl

_ENCODERS, _AGGREGATORS = "springtide_plugins.serving.encoders", "springtide_plugins.serving.aggregators"


@hookimpl
def register_encoders(register: RegisterHalves[EncoderFactory]) -> None:
    """Register the built-in encoders."""
    register("edge_sage", "springtide_plugins.encoders.edge_sage:EdgeSAGE", f"{_ENCODERS}:EdgeSAGE")
    register("gat", "springtide_plugins.encoders.gat:GATv2", f"{_ENCODERS}:GATv2")
    register("gcn", "springtide_plugins.encoders.gcn:GCN", f"{_ENCODERS}:GCN")
    register("ggnn", "springtide_plugins.encoders.ggnn:GGNN", f"{_ENCODERS}:GGNN")
    register("graphsage", "springtide_plugins.encoders.graphsage:GraphSAGE", f"{_ENCODERS}:GraphSAGE")
    register("hetero", "springtide_plugins.encoders.hetero:RGCN", f"{_ENCODERS}:RGCN")
    register("lightgcn", "springtide_plugins.encoders.lightgcn:LightGCN", f"{_ENCODERS}:LightGCN")
    register("mpnn", "springtide_plugins.encoders.mpnn:MPNN", f"{_ENCODERS}:MPNN")
    register("tgat", "springtide_plugins.encoders.tgat:TGAT", f"{_ENCODERS}:TGAT")


@hookimpl
def register_aggregators(register: RegisterHalves[AggregatorFactory]) -> None:
    """Register the built-in aggregators."""
    register(
        "attentional",
        "springtide_plugins.aggregators.basic:make_attentional",
        f"{_AGGREGATORS}:Attentional",
    )
    register(
        "lstm",
        "springtide_plugins.aggregators.sequences:LatestLSTM",
        f"{_AGGREGATORS}:LatestLSTM",
    )
    register("max", "springtide_plugins.aggregators.basic:make_max", f"{_AGGREGATORS}:Max")
    register("mean", "springtide_plugins.aggregators.basic:make_mean", "springtide.plugins.serving_edges:ServingMean")
    register("min", "springtide_plugins.aggregators.basic:make_min", f"{_AGGREGATORS}:Min")
    register(
        "power_mean",
        "springtide_plugins.aggregators.power_mean:PowerMean",
        f"{_AGGREGATORS}:PowerMean",
    )
    register(
        "set2set",
        "springtide_plugins.aggregators.sequences:ProjectedSet2Set",
        f"{_AGGREGATORS}:Set2Set",
    )
    register("several", "springtide_plugins.aggregators.edge_aware:Several", f"{_AGGREGATORS}:Several")
    register("softmax", "springtide_plugins.aggregators.basic:make_softmax", f"{_AGGREGATORS}:Softmax")
    register("std", "springtide_plugins.aggregators.basic:make_std", f"{_AGGREGATORS}:Std")
    register("sum", "springtide_plugins.aggregators.basic:make_sum", "springtide.plugins.serving_edges:ServingSum")
    register(
        "time_decay",
        "springtide_plugins.aggregators.edge_aware:TimeDecay",
        f"{_AGGREGATORS}:TimeDecay",
    )


@hookimpl
def register_losses(register: RegisterPart[LossFactory]) -> None:
    """Register the built-in losses."""
    register("bce", "springtide_plugins.losses.pointwise:BinaryCrossEntropy")
    register("cce", "springtide_plugins.losses.softmax:SampledSoftmax")
    register("directau", "springtide_plugins.losses.geometry:DirectAU")
    register("hinge", "springtide_plugins.losses.pairwise:Hinge")
    register("low_rank_max_margin", "springtide_plugins.losses.margin:LowRankMaxMargin")
    register("max_margin", "springtide_plugins.losses.margin:MaxMargin")
    register("mse", "springtide_plugins.losses.pointwise:MeanSquaredError")
    register("pairwise_logistic", "springtide_plugins.losses.pairwise:PairwiseLogistic")
    register("reconstruction", "springtide_plugins.losses.adjacency:Reconstruction")
    register("triplet", "springtide_plugins.losses.pairwise:Triplet")
    register("xsimgcl", "springtide_plugins.losses.geometry:XSimGCL")


@hookimpl
def register_negative_samplers(register: RegisterPart[NegativeSamplerFactory]) -> None:
    """Register the built-in negative samplers."""
    register("hard", "springtide_plugins.negative_samplers:Hard")
    register("in_batch", "springtide_plugins.negative_samplers:InBatch")
    register("popularity", "springtide_plugins.negative_samplers:Popularity")
    register("uniform", "springtide_plugins.negative_samplers:Uniform")


@hookimpl
def register_tasks(register: RegisterPart[TaskFactory]) -> None:
    """Register the built-in tasks beside link prediction."""
    register("graph_classification", "springtide_plugins.tasks.graphs:GraphClassification")
    register("node_classification", "springtide_plugins.tasks.nodes:NodeClassification")
    register("node_regression", "springtide_plugins.tasks.nodes:NodeRegression")


@hookimpl
def register_context_weights(register: RegisterPart[ContextWeightFactory]) -> None:
    """Register the built-in context weights."""
    register("attribute", "springtide_plugins.context_weights.circumstances:Attribute")
    register("calendar", "springtide_plugins.context_weights.calendar:Calendar")
    register("cycle", "springtide_plugins.context_weights.repeat:Cycle")
    register("item_item", "springtide_plugins.context_weights.item_item:ItemItem")
    register("occasions", "springtide_plugins.context_weights.occasions:Occasions")
    register("place", "springtide_plugins.context_weights.circumstances:Place")
    register("popularity", "springtide_plugins.context_weights.popularity:Popularity")
    register("repeat", "springtide_plugins.context_weights.repeat:Repeat")
    register("session", "springtide_plugins.context_weights.session:Session")
    register("reorder", "springtide_plugins.context_weights.reorder:Reorder")
    register("transitions", "springtide_plugins.context_weights.transitions:Transitions")
    register("trend", "springtide_plugins.context_weights.trend:Trend")
    register("weather", "springtide_plugins.context_weights.circumstances:Weather")


@hookimpl
def register_baselines(register: RegisterPart[BaselineFactory]) -> None:
    """Register the built-in baselines."""
    register("bpr", "springtide_plugins.baselines.factors:BPR")
    register("decayed_own_counts", "springtide_plugins.baselines.seen_items:DecayedOwnCounts")
    register("decayed_popularity", "springtide_plugins.baselines.popularity:DecayedPopularity")
    register("ease", "springtide_plugins.baselines.linear:EASE")
    register("edge_bank", "springtide_plugins.baselines.seen_items:EdgeBank")
    register("gru4rec", "springtide_plugins.baselines.sequential:GRU4Rec")
    register("hstu", "springtide_plugins.baselines.sequential:HSTU")
    register("ials", "springtide_plugins.baselines.factors:IALS")
    register("item_knn", "springtide_plugins.baselines.neighbours:ItemKNN")
    register("lightgcn_bpr", "springtide_plugins.baselines.lightgcn:LightGCNBPR")
    register("moving_average", "springtide_plugins.baselines.seen_items:MovingAverage")
    register("mult_vae", "springtide_plugins.baselines.mult_vae:MultVAE")
    register("own_counts", "springtide_plugins.baselines.seen_items:OwnCounts")
    register("popularity", "springtide_plugins.baselines.popularity:Popularity")
    register("recent_popularity", "springtide_plugins.baselines.popularity:RecentPopularity")
    register("sasrec", "springtide_plugins.baselines.sequential:SASRec")
    register("slim", "springtide_plugins.baselines.linear:SLIM")
    register("tgn", "springtide_plugins.baselines.tgn:TGN")
    register("tifu_knn", "springtide_plugins.baselines.neighbours:TIFUKNN")
    register("user_knn", "springtide_plugins.baselines.neighbours:UserKNN")
    register("week_popularity", "springtide_plugins.baselines.popularity:WeekPopularity")


@hookimpl
def register_decoders(register: RegisterPart[DecoderFactory]) -> None:
    """Register the built-in decoders."""
    register("cloudevents", "springtide_plugins.decoders.cloudevents:CloudEvents")
    register("confluent", "springtide_plugins.decoders.confluent:Confluent")
    register("debezium", "springtide_plugins.decoders.debezium:Debezium")


@hookimpl
def register_indexes(register: RegisterPart[IndexFactory]) -> None:
    """Register the built-in index."""
    register("usearch", "springtide_plugins.indexes.usearch:USearch")


@hookimpl
def register_rerankers(register: RegisterPart[RerankerFactory]) -> None:
    """Register the built-in reranker."""
    register("mmr", "springtide_plugins.rerankers.mmr:MaximalMarginalRelevance")
