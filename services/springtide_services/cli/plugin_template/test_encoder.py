"""The encoder does what every encoder must do, and what this one is for."""

import torch
from my_part import MyPart
from torch_geometric.nn import MaxAggregation, SumAggregation

from springtide.plugins.contracts import Edges
from springtide.testing import check_encoder


def test_it_does_what_every_encoder_must_do() -> None:
    """With its defaults and without, over means and over others."""
    check_encoder(MyPart)
    check_encoder(MyPart, aggregator=MaxAggregation(), pull=0.1)


def test_a_level_moves_as_far_as_it_is_pulled() -> None:
    """One edge from a node at 1 to a node at 3: a quarter of the way, when the message is taken as it is."""
    encoder = MyPart(width=1, num_layers=1, aggregator=SumAggregation(), pull=0.25)
    torch.nn.init.ones_(encoder.of_message[0].weight)
    torch.nn.init.zeros_(encoder.of_message[0].bias)
    row, one = torch.zeros(1, dtype=torch.long), torch.ones(1)
    edges = Edges(row, row, weight=one, age_days=0 * one, source_degree=one, target_degree=one)

    level = encoder.layer(0, torch.tensor([[1.0]]), torch.tensor([[3.0]]), edges)

    assert level.tolist() == [[2.5]]
