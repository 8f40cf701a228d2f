"""Aggregators: from many messages to one. Each is a PyG ``Aggregation``."""

from torch_geometric.nn import MeanAggregation, SumAggregation


def make_mean() -> MeanAggregation:
    """Mean of the messages, weighted by the edges."""
    return MeanAggregation()


def make_sum() -> SumAggregation:
    """Sum of the messages, weighted by the edges."""
    return SumAggregation()
