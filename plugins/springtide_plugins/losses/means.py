"""Means over a batch, in which each edge counts by its weight."""

from torch import Tensor

from springtide.plugins.contracts import LossInputs


def over_edges(values: Tensor, inputs: LossInputs) -> Tensor:
    """Return the mean of float32 ``[num_edges]``, each edge by its weight; 0 of none."""
    return (values * inputs.weight).sum() / inputs.weight.sum().clamp(min=1e-12)


def over_negatives(values: Tensor, inputs: LossInputs) -> Tensor:
    """Return the mean of float32 ``[num_users, num_negatives]``; 0 of none.

    Each user counts by the weight of its edges in the batch, and what the user has an edge to does not count.
    """
    of_users = inputs.weight.new_zeros(len(values)).index_add(0, inputs.user, inputs.weight)
    weight = ~inputs.is_seen * of_users.unsqueeze(-1)  # [num_users, num_negatives]
    return (values * weight).sum() / weight.sum().clamp(min=1e-12)


def over_pairs(values: Tensor, is_pair: Tensor, inputs: LossInputs) -> Tensor:
    """Return the mean of float32 ``[num_edges, num_others]`` over those that are pairs, each edge by its weight."""
    weight = is_pair * inputs.weight.unsqueeze(-1)
    return (values * weight).sum() / weight.sum().clamp(min=1e-12)
