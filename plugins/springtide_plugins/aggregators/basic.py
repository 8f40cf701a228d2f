"""Aggregations of PyG as they are, or nearly so."""

from pydantic import PositiveFloat
from torch_geometric.nn import (
    AttentionalAggregation,
    Linear,
    MaxAggregation,
    MeanAggregation,
    MinAggregation,
    SoftmaxAggregation,
    StdAggregation,
    SumAggregation,
)


def make_sum() -> SumAggregation:
    """Sum of the messages, weighted by the edges."""
    return SumAggregation()


def make_mean() -> MeanAggregation:
    """Mean of the messages, weighted by the edges."""
    return MeanAggregation()


def make_max() -> MaxAggregation:
    """Maximum of the messages, in each component."""
    return MaxAggregation()


def make_min() -> MinAggregation:
    """Minimum of the messages, in each component."""
    return MinAggregation()


def make_std() -> StdAggregation:
    """Standard deviation of the messages, in each component; 0 for a single one.

    It says how varied a neighbourhood is, but not what it is like: use it beside others, as in Corso et al. 2020,
    "Principal Neighbourhood Aggregation for Graph Nets", section 2.
    """
    return StdAggregation()


def make_softmax(width: int, inverse_temperature: PositiveFloat = 1.0, is_learned: bool = True) -> SoftmaxAggregation:
    """Mean of the messages, in each component weighted by the softmax of that component: between mean and max.

    Li et al. 2020, "DeeperGCN: All You Need to Train Deeper GCNs", its SoftMax aggregation.

    Args:
        width: Width of the messages.
        inverse_temperature: What components are multiplied by within the softmax; the initial value if learned.
        is_learned: Whether it is learned, separately for each component.
    """
    return SoftmaxAggregation(inverse_temperature, learn=is_learned, channels=width if is_learned else 1)


def make_attentional(width: int) -> AttentionalAggregation:
    """Messages times a matrix, weighted by attention.

    Li et al. 2016, "Gated Graph Sequence Neural Networks", eq. 7, with a softmax for the gate as in Li et al. 2019,
    "Graph Matching Networks", which PyG follows.

    Args:
        width: Width of the messages.
    """
    # A constant does not change a softmax, so a bias of the gate would never be learned.
    gate = Linear(width, 1, bias=False, weight_initializer="glorot")
    return AttentionalAggregation(gate, Linear(width, width, weight_initializer="glorot", bias_initializer="zeros"))
