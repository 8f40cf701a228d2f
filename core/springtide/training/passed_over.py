"""What users passed over, for a training: items that were shown beside the one that they chose."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional as F

from springtide.clock import MS_PER_SECOND
from springtide.interactions import Observed

Int64s = npt.NDArray[np.int64]

_TEMPERATURE = 0.15  # Divisor of cosines, as in the losses of single cosines.
_WITHIN_MS = 1_800 * MS_PER_SECOND  # From what was shown to the choice: a visit, by the usual gap between two.
_MAX_PAIRS = 5_000_000  # The latest: 120 MB.


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Pairs of an item that a user chose and one that they passed over then, both of which they were shown.

    Only where something that was shown was chosen is there a pair. Who leaves a page may not have looked; and that an
    item was shown says that it is near the user, so to take all that was not chosen for disliked would move users away
    from what they like.

    Attributes:
        user_rows: int64 ``[num_pairs]``, ascending.
        chosen_rows: int64 ``[num_pairs]``, item rows.
        passed_rows: int64 ``[num_pairs]``, item rows.
    """

    user_rows: Int64s
    chosen_rows: Int64s
    passed_rows: Int64s

    def __len__(self) -> int:
        return len(self.user_rows)

    @classmethod
    def none(cls) -> "PassedOver":
        """Return no pairs."""
        return cls(*(np.zeros(0, np.int64) for _ in range(3)))

    @classmethod
    def of(cls, shown: Observed, interactions: Observed, before_ms: int | None = None) -> "PassedOver":
        """Find, for each choice of an item that was shown up to half an hour before, what else was shown then.

        What the user also chose in that time is not passed over. Of two choices, an item belongs to the first.

        Args:
            shown: What was shown, oldest first.
            interactions: Positive interactions, oldest first.
            before_ms: What was shown strictly before this time counts; None for all.
        """
        num = len(shown) if before_ms is None else int(np.searchsorted(shown.timestamps_ms, before_ms))
        if not num or not len(interactions):
            return cls.none()
        users, items, times_ms = (
            column[:num].astype(np.int64) for column in (shown.user_rows, shown.item_rows, shown.timestamps_ms)
        )
        choice = _first_after(users, times_ms, interactions.user_rows.astype(np.int64), interactions.timestamps_ms)
        is_chosen = (
            _first_after(_pairs(users, items), times_ms, _pairs_of(interactions), interactions.timestamps_ms) >= 0
        )
        was_shown = np.zeros(len(interactions) + 1, np.bool_)  # The last is for no choice.
        was_shown[choice[is_chosen & (interactions.item_rows[choice] == items)]] = True
        was_shown[-1] = False
        kept = np.flatnonzero(was_shown[choice] & ~is_chosen)[-_MAX_PAIRS:]
        order = kept[np.argsort(users[kept], kind="stable")]
        return cls(users[order], interactions.item_rows[choice[order]].astype(np.int64), items[order])


class PassedOverSampler:
    """Draws pairs of given users, with replacement.

    Args:
        pairs: All pairs.
        num_users: Number of user rows.
    """

    def __init__(self, pairs: PassedOver, num_users: int) -> None:
        self._pairs = pairs
        self._first = np.searchsorted(pairs.user_rows, np.arange(num_users + 1))

    def draw(self, users: Int64s, count: int, generator: np.random.Generator) -> tuple[Int64s, Int64s, Int64s]:
        """Return ``count`` pairs of each user that has any.

        Returns:
            Positions in ``users``, the items chosen and those passed over, int64 ``[num_drawn]`` each.
        """
        counts = self._first[users + 1] - self._first[users]
        position = np.repeat(np.flatnonzero(counts > 0), count)
        within = (generator.random(len(position)) * counts[position]).astype(np.int64)
        index = self._first[users][position] + within
        return position, self._pairs.chosen_rows[index], self._pairs.passed_rows[index]


def passed_over_loss(chosen: Tensor, passed: Tensor, log_odds: Tensor, num_wanted: int) -> Tensor:
    """Return the loss of pairs, float32 scalar: of a choice between two (Bradley and Terry 1952).

    Args:
        chosen: float32 ``[num_drawn]``, cosines of users with the items that they chose.
        passed: float32 ``[num_drawn]``, cosines with the items that they passed over then.
        log_odds: float32 ``[num_drawn]``, how much more often all users choose the first, as a logarithm.
        num_wanted: Number that would be drawn if every user had pairs, so that a user counts the same in any batch.
    """
    return F.softplus((passed - chosen) / _TEMPERATURE - log_odds).sum() / num_wanted


def _first_after(keys: Int64s, times_ms: Int64s, other_keys: Int64s, other_times_ms: Int64s) -> Int64s:
    """Return for each event the first other one of its key that is not before it, and soon; -1 if there is none."""
    num = len(keys)
    all_keys, all_times = np.concatenate([keys, other_keys]), np.concatenate([times_ms, other_times_ms])
    is_other = np.arange(len(all_keys)) >= num
    order = np.lexsort((is_other, all_times, all_keys))
    places = np.where(is_other[order], np.arange(len(order)), len(order) - 1)
    following = order[np.minimum.accumulate(places[::-1])[::-1]]
    found = np.empty(len(order), np.int64)
    found[order] = following
    found = found[:num]
    is_it = is_other[found] & (all_keys[found] == keys)
    is_it &= (all_times[found] >= times_ms) & (all_times[found] - times_ms <= _WITHIN_MS)
    return np.where(is_it, found - num, -1)


def _pairs(user_rows: Int64s, item_rows: Int64s) -> Int64s:
    """Return one number for each pair of a user and an item, int64 ``[n]``."""
    return user_rows << 32 | item_rows


def _pairs_of(events: Observed) -> Int64s:
    return _pairs(events.user_rows.astype(np.int64), events.item_rows.astype(np.int64))
