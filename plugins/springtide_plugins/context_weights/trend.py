"""Recent demand for an item, compared with its usual demand."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.plugins.contracts import ContextWeight, Factor, ItemGroups, Moment, Observed
from springtide_plugins.context_weights.counts import (
    NO_GROUPS,
    DecayedCounts,
    Floats,
    HalfLives,
    part_of_state,
    shrunk_lifts,
)
from springtide_plugins.context_weights.lift_kernels import add_faded, shrunk_to_lifts

_FALLBACK_EXPONENTS = {1.0: 0.5, 28.0: 0.5}  # By half-life in days, before any model has learned exponents.


class Trend(ContextWeight):
    """An item's recent share of interactions over its usual share.

    Recent counts decay exponentially, once for each half-life; usual counts do not decay. The trend is that at the
    newest event. What a half-life adds to the log lift halves with every half-life between the newest event and the
    request's moment, in either direction: demand in December says little about July.

    A day says a lot about items that sell by the hundred, and nothing about items that sell once a month. So the trend
    of each half-life is shrunk to that of the next longer one where few interactions were recent, and the longest to
    that of the item's group (``counts.log_lift``): a new product of a rising type rises.

    Args:
        half_lives_days: Half-lives, in days, above 0; each is a factor.
        prior: Weight of the prior, which is the next longer trend or that of the group, in interactions, above 0.
    """

    bucket_ms = MS_PER_HOUR

    def __init__(self, half_lives_days: HalfLives = (1.0, 7.0, 28.0), prior: PositiveFloat = 2.0) -> None:
        self.prior = prior
        self.factors = tuple(
            Factor(
                f"{days:g}d",
                is_short_lived=True,
                words="wanted {lift} as much of late as it usually is",
                fallback_exponent=_FALLBACK_EXPONENTS.get(days, 0.0),
            )
            for days in half_lives_days
        )
        self._recent = [DecayedCounts(days * MS_PER_DAY) for days in half_lives_days]
        self._usual = DecayedCounts(np.inf)
        self._groups = NO_GROUPS
        self._shares: tuple[
            float, ...
        ] = ()  # Of all interactions, how many each half-life leaves; as of the last time.

    def regroup(self, groups: ItemGroups) -> None:
        """Take the groups of items."""
        self._groups = groups

    def observe(self, observed: Observed) -> None:
        """Count each interaction, by its weight."""
        self._count(observed, observed.weights)

    def unobserve(self, observed: Observed) -> None:
        """Take interactions back."""
        self._count(observed, -observed.weights)

    def forget_rows(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        """Forget all interactions of some items; nothing is kept of users."""
        for counts in (*self._recent, self._usual):
            counts.forget(item_rows)

    def _count(self, observed: Observed, weights: npt.NDArray[np.float32]) -> None:
        for counts in (*self._recent, self._usual):
            counts.add(observed.item_rows, observed.timestamps_ms, weights, observed.clock_ms)

    def bucket(self, moment: Moment) -> Hashable:
        """Return the hour."""
        return moment.timestamp_ms // MS_PER_HOUR

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the log of recent over usual share, for each half-life."""
        usual, total = self._usual.with_total(num_items)
        if total == 0:
            return None
        recent, totals = zip(*(counts.with_total(num_items) for counts in self._recent), strict=True)
        self._shares = tuple(of_recent / total for of_recent in totals)
        return self._log_lifts(moment, usual, recent, self._shares, self._groups)

    def later_item_log_lifts(self, moment: Moment, start: int, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the same for the items from ``start`` on, by the shares of the last time."""
        if any(len(codes) > start for codes in self._groups.codes):  # All members of a group count.
            lifts = self.item_log_lifts(moment, num_items)
            return None if lifts is None else lifts[:, start:]
        if not self._shares:
            return None
        usual, *recent = (counts.at_newest(num_items, start=start) for counts in (self._usual, *self._recent))
        return self._log_lifts(moment, usual, recent, self._shares, NO_GROUPS)

    def _log_lifts(
        self, moment: Moment, usual: Floats, recent: Sequence[Floats], shares: Sequence[float], groups: ItemGroups
    ) -> npt.NDArray[np.float32]:
        """Return the log lifts of some items, given their usual and recent counts, float64 ``[n]`` each."""
        log_lifts = np.empty((len(recent), len(usual)), np.float32)
        lifts: npt.NDArray[np.float32] | None = None
        of_newest = faded = np.zeros(
            len(usual), np.float32
        )  # Of the next longer half-life: at the newest event, and at the moment.
        for index in sorted(range(len(recent)), key=lambda index: -self._recent[index].half_life_ms):
            counts, share = self._recent[index], shares[index]
            if lifts is None:
                lifts = shrunk_lifts(recent[index], usual * share, self.prior, groups)
            else:
                shrunk_to_lifts(recent[index], usual, share, self.prior, lifts, lifts)
            logs = np.log(lifts)
            nearness = 2.0 ** (-abs(moment.timestamp_ms - counts.newest_ms) / counts.half_life_ms)
            add_faded(nearness, logs, of_newest, faded, log_lifts[index])
            of_newest, faded = logs, log_lifts[index]
        return log_lifts

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all counts."""
        columns = {"usual": self._usual} | {
            factor.name: counts for factor, counts in zip(self.factors, self._recent, strict=True)
        }
        return {f"{name}/{key}": array for name, counts in columns.items() for key, array in counts.state().items()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from saved counts."""
        self._usual.restore(part_of_state(state, "usual"))
        for factor, counts in zip(self.factors, self._recent, strict=True):
            counts.restore(part_of_state(state, factor.name))
