"""The encoder passes the checks of every encoder, and computes what it is meant to."""

import torch
from my_part import MyPart
from torch_geometric.nn import MaxAggregation, SumAggregation

from springtide.plugins.contracts import Edges
from springtide.testing import check_encoder


def test_it_passes_the_checks_of_its_kind() -> None:
    """With its default options and aggregator, and with others."""
    check_encoder(MyPart)
    check_encoder(MyPart, aggregator=MaxAggregation(), pull=0.1)


def test_a_vector_moves_towards_the_message_by_the_pull() -> None:
    """One edge from a node at 1 to a node at 3, with an identity layer: a quarter of the way."""
    encoder = MyPart(width=1, num_layers=1, aggregator=SumAggregation(), pull=0.25)
    torch.nn.init.ones_(encoder.linear[0].weight)
    torch.nn.init.zeros_(encoder.linear[0].bias)
    row, one = torch.zeros(1, dtype=torch.long), torch.ones(1)
    edges = Edges(row, row, weight=one, age_days=0 * one, source_degree=one, target_degree=one)

    moved = encoder.layer(0, torch.tensor([[1.0]]), torch.tensor([[3.0]]), edges)

    assert moved.tolist() == [[2.5]]
