"""What users take after what they took last."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import ContextWeight, Factor, History, Moment, Observed, RelatedItems
from springtide_plugins.context_weights.epochs import grown
from springtide_plugins.context_weights.transition_tables import Transitions as Table

_AT_ONCE = 1_024  # Events for which readers wait: about a millisecond and a half.
_MOST_GROWTH = 32.0  # Half-lives from the landmark to the newest event, so that counts stay in the range of float32.
_NEUTRAL = 1.0 + 1e-6  # Up to which a lift is 1, but for rounding.
_MS_PER_SECOND = 1_000
_SECONDS_PER_DAY = MS_PER_DAY // _MS_PER_SECOND


class Transitions(ContextWeight):
    """How much oftener an item follows the user's latest items than it follows any item.

    For each pair of items it is counted how often the second was among a user's next ones: an event's item follows the
    ``window`` latest items that the user had in earlier seconds. Items of one second, such as those of a basket or of
    data with days alone, do not follow each other. Counts halve with every half-life. The lift of a pair is its count
    over what would be expected if what comes next did not depend on what was before, with ``prior`` events of a lift
    of 1 added to both. A user's lift of an item is the mean of its lifts after their ``num_latest`` latest distinct
    items; each weighs ``fading`` times what the next newer one does. Only items with a lift above 1 are told of.

    The ``followers`` strongest followers of an item are kept, and the ``kept_events`` latest events of a user. A late
    event is counted as if it had come in time, and so are the later ones that are kept; one older than all those that
    are kept is not counted. Events are taken back as exactly, as long as they are kept; what older ones added to the
    counts stays, and fades. Of a forgotten item nothing stays.

    Args:
        window: How many of the latest items an item follows.
        half_life_days: Half-life of the counts, in days, above 0.
        prior: Weight of the prior, a lift of 1, in events, above 0.
        num_latest: How many of the user's latest distinct items say what comes next.
        fading: Weight of each of these over that of the next newer one, above 0 and up to 1.
        followers: How many followers of an item are kept; each takes 8 bytes.
        kept_events: How many of a user's latest events are kept, more than ``window``. Room for all of them is
            taken for each user, 12 bytes each.

    Raises:
        ValueError: If no more events are kept than there are in the window.
    """

    factors = (Factor("next", words="often taken after what you had last, {lift} as often as otherwise"),)

    def __init__(
        self,
        window: Annotated[int, Field(ge=1, le=64)] = 5,
        half_life_days: PositiveFloat = 180.0,
        prior: PositiveFloat = 5.0,
        num_latest: Annotated[int, Field(ge=1, le=64)] = 10,
        fading: Annotated[float, Field(gt=0, le=1)] = 0.8,
        followers: Annotated[int, Field(ge=1, le=4_096)] = 128,
        kept_events: Annotated[int, Field(ge=2, le=1_024)] = 24,
    ) -> None:
        self._prior, self._num_latest = prior, num_latest
        self._shares = fading ** np.arange(num_latest)
        self._half_life = half_life_days * _SECONDS_PER_DAY
        self._sizes = (window, followers, kept_events)
        self._table = Table(*self._sizes)
        self._landmark = self._newest = 0.0  # In seconds since the Unix epoch; both 0 before the first event.

    def observe(self, observed: Observed) -> None:
        """Count what followed what, by each user's events."""
        self._each(observed, self._table.add)

    def unobserve(self, observed: Observed) -> None:
        """Take back what the interactions added, those that are among the latest of their users."""
        self._each(observed, self._table.remove)

    def _each(self, observed: Observed, change: Any) -> None:
        self._turn_to(observed.clock_ms)
        if not len(observed):
            return
        seconds = observed.timestamps_ms // _MS_PER_SECOND
        for start in range(0, len(observed), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(observed))
            change(observed.user_rows, observed.item_rows, seconds, self._growths(), start, stop)

    def _turn_to(self, newest_ms: int | None) -> None:
        """Note the newest time; counts that grow too large are taken down to it."""
        if newest_ms is None:
            return
        newest = newest_ms / _MS_PER_SECOND
        if not self._newest:
            self._landmark = self._newest = newest
        self._newest = max(self._newest, newest)
        if (half_lives := (self._newest - self._landmark) / self._half_life) > _MOST_GROWTH:
            self._table.scale(2.0**-half_lives)
            self._landmark = self._newest

    def _growths(self) -> npt.NDArray[np.float64]:
        return np.array([self._landmark, self._half_life])

    def forget_rows(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        """Forget the latest events of some users, and some items wherever they are."""
        is_item_gone = np.zeros(int(item_rows.max(initial=-1)) + 1, np.bool_)
        is_item_gone[item_rows] = True
        self._table.forget(user_rows, is_item_gone, self._growths())

    def related(self, history: History, moment: Moment) -> RelatedItems | None:
        """Return the items that follow the user's latest ones oftener than others, with the logs of their lifts."""
        latest = list(dict.fromkeys(history.item_rows[: 4 * self._num_latest].tolist()))[: self._num_latest]
        if not latest:
            return None
        shares = self._shares[: len(latest)] / self._shares[: len(latest)].sum()
        scale = grown((self._landmark - self._newest) / self._half_life)
        rows, lifts = self._table.lifts(np.array(latest, np.int32), shares, scale, self._prior)
        order = np.flatnonzero(lifts > _NEUTRAL)
        if not len(order):
            return None
        order = order[np.argsort(rows[order])]
        return RelatedItems(rows[order], np.log(lifts[order]).astype(np.float32)[None, :])

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the counts, and the latest events of users."""
        return {"clock": np.array([self._landmark, self._newest]), **self._table.state()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from saved counts.

        Raises:
            ValueError: If the arrays do not fit each other.
        """
        arrays = dict(state)
        self._landmark, self._newest = arrays.pop("clock").tolist()
        table = Table(*self._sizes)
        table.restore(**arrays)
        self._table = table
