"""Means over a batch, in which each edge counts by its weight."""

from torch import Tensor

from springtide.plugins.contracts import LossInputs


def over_edges(values: Tensor, inputs: LossInputs) -> Tensor:
    """Return the mean of float32 ``[num_edges]``, weighted by the edges; 0 if there are none."""
    return _weighted_mean(values, inputs.weight)


def over_negatives(values: Tensor, inputs: LossInputs) -> Tensor:
    """Return the mean of float32 ``[num_users, num_negatives]`` over unseen items; 0 if there are none.

    Each user counts by the sum of the weights of their edges in the batch.
    """
    user_weight = inputs.weight.new_zeros(len(values)).index_add(0, inputs.user, inputs.weight)
    return _weighted_mean(values, ~inputs.is_seen * user_weight.unsqueeze(-1))


def over_pairs(values: Tensor, is_pair: Tensor, inputs: LossInputs) -> Tensor:
    """Return the mean of float32 ``[num_edges, num_others]`` where ``is_pair``, weighted by the edges; 0 if nowhere."""
    return _weighted_mean(values, is_pair * inputs.weight.unsqueeze(-1))


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1e-12)
