"""Windows of users' sequences, from which sequence models learn."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from springtide.plugins.contracts import Observed


class WindowOptions(Protocol):
    """Options of the windows, as ``sequential`` documents them."""

    length: int
    horizon: int
    half_life: float
    seed: int


@dataclass(frozen=True, slots=True)
class Windows:
    """Draws windows of users' sequences, and for each place of one an event behind it.

    Attributes:
        items: int64 ``[n]``, of each event, user by user, oldest first.
        times_ms: int64 ``[n]``, milliseconds since the Unix epoch.
        first: int64 ``[n]``, position of the first event of the same user.
        end: int64 ``[n]``, position behind the last event of the same user.
        later: int64 ``[n]``, position of the first event that may be the target; ``end`` or more where there is none.
        weights: float64 ``[n]``, how often a window ends with each event, beside others; 1 for the newest of all.
        until: float64 ``[n]``, sums of the weights up to each.
        length: Number of events that a window shows.
        horizon: Targets are drawn from so many events.
    """

    items: Tensor
    times_ms: Tensor
    first: Tensor
    end: Tensor
    later: Tensor
    weights: npt.NDArray[np.float64]
    until: Tensor
    length: int
    horizon: int

    @classmethod
    def of(cls, interactions: Observed, options: WindowOptions) -> "Windows":
        """Return the windows of interactions, at least one of them."""
        num = len(interactions)
        # User by user, oldest first. Events of one time have no order: that of a file, such as by id, would be learned.
        chance = np.random.default_rng(options.seed).random(num)
        order = np.lexsort((chance, interactions.timestamps_ms, interactions.user_rows))
        users, times_ms = interactions.user_rows[order], interactions.timestamps_ms[order].astype(np.int64)
        starts = np.flatnonzero(np.diff(users, prepend=-1))
        counts = np.diff(starts, append=num)
        later = np.arange(1, num + 1)
        if options.horizon > 1:  # The first one of a later time, or of the next user.
            is_last = np.ones(num, np.bool_)
            is_last[:-1] = (np.diff(times_ms) != 0) | (np.diff(users) != 0)
            ends = np.flatnonzero(is_last)
            later = np.repeat(ends + 1, np.diff(ends, prepend=-1))
        ages = np.empty(num)  # Number of later events of all users.
        ages[np.argsort(times_ms, kind="stable")] = np.arange(num)[::-1]
        weights = 0.5 ** (ages / (options.half_life * num))
        return cls(
            torch.from_numpy(interactions.item_rows[order].astype(np.int64)),
            torch.from_numpy(times_ms),
            torch.from_numpy(np.repeat(starts, counts)),
            torch.from_numpy(np.repeat(starts + counts, counts)),
            torch.from_numpy(later),
            weights,
            torch.from_numpy(np.cumsum(weights)),
            options.length,
            options.horizon,
        )

    def count(self) -> float:
        """Return the number of windows, each counted by its weight."""
        return float(self.until[-1])

    def popularity(self, num_items: int) -> npt.NDArray[np.float32]:
        """Return the sum of the weights of each item's events, float32 ``[num_items]``."""
        return np.bincount(self.items.numpy(), self.weights, num_items).astype(np.float32)

    def draw(self, count: int, num_items: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return ``count`` windows; see ``sequential_fit.loss_of``.

        Args:
            count: Number of windows.
            num_items: Number of items, which stands for places before a user's first event.
            generator: Draws them.
        """
        drawn = torch.rand(count, generator=generator, dtype=torch.float64) * self.until[-1]
        last = torch.searchsorted(self.until, drawn, right=True).clamp_max(len(self.items) - 1)
        at = last[:, None] + torch.arange(-self.length, 0)  # [count, length]: the drawn event is behind the window.
        is_there = at >= self.first[last][:, None]
        at = at.clamp_min(0)
        later = self.later[at]
        num_later = (self.end[last][:, None] - later).clamp(0, self.horizon)
        is_target = is_there & (num_later > 0)
        chosen = later + (torch.rand(at.shape, generator=generator) * num_later).long()
        return {
            "items": torch.where(is_there, self.items[at], num_items),
            "times_ms": torch.where(is_there, self.times_ms[at], 0),
            "targets": self.items[torch.where(is_target, chosen, 0)],
            "is_target": is_target,
        }
