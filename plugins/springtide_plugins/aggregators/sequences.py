"""Aggregators that read messages in turn, or several times over."""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch_geometric.nn import Aggregation, Linear, Set2Set


class LatestLSTM(Aggregation):  # type: ignore[misc]  # PyG carries no types
    """Messages read by an LSTM from the oldest to the newest, its last state; of the latest few, where there are many.

    Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.3, where the order is drawn by
    chance; here edges have a time. PyG's own reads on into the padding after a target's last message, so that what
    one target gets depends on how many messages the others have, and pads all targets to the largest: here each
    reads its own and no more.

    Args:
        width: Width of the messages.
        max_messages: How many of the latest messages a target reads at most: else one hub would set the cost of all.
    """

    is_permutation_invariant = False

    def __init__(self, width: int, max_messages: PositiveInt = 32) -> None:
        super().__init__()
        self.max_messages = max_messages
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def reset_parameters(self) -> None:
        """Begin anew."""
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
        # Those of like lengths together, padded by less than half: three times faster here than torch's packing.
        doublings = lengths.log2().ceil().long()
        for doubling in torch.bincount(doublings).nonzero().flatten().tolist():
            chosen = (doublings == doubling).nonzero().flatten()
            padded = torch.arange(min(2**doubling, self.max_messages), device=x.device)
            place = (first[chosen].unsqueeze(-1) + padded).clamp(max=len(x) - 1)  # [num_chosen, num_padded]
            states, _ = self.lstm(x.index_select(0, place.flatten()).view(*place.shape, -1))
            # The state at a target's last message: it knows nothing of the padding, which comes later.
            last = states[torch.arange(len(chosen), device=x.device), lengths[chosen] - 1]  # [num_chosen, d]
            combined = combined.index_copy(0, receivers[chosen], last)
        return combined


class ProjectedSet2Set(Aggregation):  # type: ignore[misc]  # PyG carries no types
    """Messages read several times over by attention from a state that each reading updates; in no order.

    Vinyals et al. 2016, "Order Matters: Sequence to sequence for sets", eqs. 3 to 7, and the readout of Gilmer et al.
    2017. It gives a state and a reading side by side, which a matrix brings back to the width.

    Args:
        width: Width of the messages.
        processing_steps: How many readings.
    """

    def __init__(self, width: int, processing_steps: PositiveInt = 3) -> None:
        super().__init__()
        self.readings = Set2Set(width, processing_steps)
        self.project = Linear(2 * width, width, bias=False, weight_initializer="glorot")

    def reset_parameters(self) -> None:
        """Begin anew."""
        self.readings.reset_parameters()
        self.project.reset_parameters()

    def forward(
        self, x: Tensor, index: Tensor, ptr: Tensor | None = None, dim_size: int | None = None, dim: int = -2
    ) -> Tensor:
        """Combine float32 ``[num_messages, d]`` into ``[dim_size, d]``; zeros where no message came."""
        # Only targets with messages: an LSTM makes something of nothing too.
        num_targets, receivers, place, _ = _receivers(index, dim_size)
        read = self.project(self.readings(x, place, dim_size=len(receivers), dim=dim))
        return x.new_zeros(num_targets, x.shape[-1]).index_copy(0, receivers, read)


def _receivers(index: Tensor, dim_size: int | None) -> tuple[int, Tensor, Tensor, Tensor]:
    """Find the targets that messages came to.

    Returns:
        The number of all targets; int64 ``[num_receivers]``, those with messages; int64 ``[num_messages]``, the
        position among them of each message's; and int64 ``[num_receivers]``, how many messages each has.
    """
    counts = torch.bincount(index, minlength=dim_size or 0)
    receivers = counts.nonzero().flatten()
    place = ((counts > 0).cumsum(0) - 1)[index]
    return len(counts), receivers, place, counts[receivers]
