"""Aggregators that read messages one after another, or several times."""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch_geometric.nn import Aggregation, Linear, Set2Set


class LatestLSTM(Aggregation):  # type: ignore[misc]  # PyG carries no types
    """Last state of an LSTM that reads the messages from the oldest to the newest.

    Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.3, with the order of time
    instead of a random one. PyG's own goes on reading the padding after a target's last message, so that the result
    depends on how many messages other targets have, and it pads all targets to the longest. This one stops at the last
    message.

    Args:
        width: Width of the messages.
        max_messages: Only this many of the latest messages of a target are read, so that the cost does not depend on
            the nodes with the most neighbours.
    """

    is_permutation_invariant = False

    def __init__(self, width: int, max_messages: PositiveInt = 32) -> None:
        super().__init__()
        self.max_messages = max_messages
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def reset_parameters(self) -> None:
        """Set the initial parameters."""
        self.lstm.reset_parameters()

    def forward(
        self, x: Tensor, index: Tensor, ptr: Tensor | None = None, dim_size: int | None = None, dim: int = -2
    ) -> Tensor:
        """Combine float32 ``[num_messages, d]``, sorted by target, into ``[dim_size, d]``; zeros where none came."""
        self.assert_sorted_index(index)
        num_targets, receivers, _, counts = _receivers(index, dim_size)
        lengths = counts.clamp(max=self.max_messages)
        first = counts.cumsum(0) - lengths
        combined = x.new_zeros(num_targets, x.shape[-1])
        # Targets in groups of similar length, padded by less than half: 3 times faster than torch's packing.
        doublings = lengths.log2().ceil().long()
        for doubling in torch.bincount(doublings).nonzero().flatten().tolist():
            chosen = (doublings == doubling).nonzero().flatten()
            padded = torch.arange(min(2**doubling, self.max_messages), device=x.device)
            rows = (first[chosen].unsqueeze(-1) + padded).clamp(max=len(x) - 1)  # [num_chosen, num_padded]
            states, _ = self.lstm(x.index_select(0, rows.flatten()).view(*rows.shape, -1))
            # The state at a target's last message does not depend on the padding after it.
            last = states[torch.arange(len(chosen), device=x.device), lengths[chosen] - 1]  # [num_chosen, d]
            combined = combined.index_copy(0, receivers[chosen], last)
        return combined


class ProjectedSet2Set(Aggregation):  # type: ignore[misc]  # PyG carries no types
    """Messages read several times by attention from a state that each reading updates; their order does not matter.

    Vinyals et al. 2016, "Order Matters: Sequence to sequence for sets", eqs. 3 to 7, and the readout of Gilmer et al.
    2017. The state and the last reading are concatenated and multiplied by a matrix back to the width.

    Args:
        width: Width of the messages.
        processing_steps: Number of readings.
    """

    def __init__(self, width: int, processing_steps: PositiveInt = 3) -> None:
        super().__init__()
        self.readings = Set2Set(width, processing_steps)
        self.project = Linear(2 * width, width, bias=False, weight_initializer="glorot")

    def reset_parameters(self) -> None:
        """Set the initial parameters."""
        self.readings.reset_parameters()
        self.project.reset_parameters()

    def forward(
        self, x: Tensor, index: Tensor, ptr: Tensor | None = None, dim_size: int | None = None, dim: int = -2
    ) -> Tensor:
        """Combine float32 ``[num_messages, d]`` into ``[dim_size, d]``; zeros where no message came."""
        # Only targets with messages: the LSTM would give the others a vector that is not 0.
        num_targets, receivers, position, _ = _receivers(index, dim_size)
        read = self.project(self.readings(x, position, dim_size=len(receivers), dim=dim))
        return x.new_zeros(num_targets, x.shape[-1]).index_copy(0, receivers, read)


def _receivers(index: Tensor, dim_size: int | None) -> tuple[int, Tensor, Tensor, Tensor]:
    """Find the targets with messages.

    Returns:
        The number of all targets; int64 ``[num_receivers]``, the targets with messages; int64 ``[num_messages]``, the
        position of each message's target among them; and int64 ``[num_receivers]``, their numbers of messages.
    """
    counts = torch.bincount(index, minlength=dim_size or 0)
    receivers = counts.nonzero().flatten()
    position = ((counts > 0).cumsum(0) - 1)[index]
    return len(counts), receivers, position, counts[receivers]
