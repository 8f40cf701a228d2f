"""Demand for an item by place, weather, and other values of the context map."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat, PositiveInt

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import ContextWeight, Factor, ItemGroups, Moment, Observed
from springtide_plugins.context_weights.counts import NO_GROUPS, DecayedCounts, log_lift, part_of_state

Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
Edges = Annotated[tuple[float, ...], Field(min_length=1)]

_FIRST = np.zeros(1, np.int64)

_WORDS = {
    "place": "wanted {lift} as much as usual in this place",
    "weather": "wanted {lift} as much as usual in this weather",
}


class Circumstances(ContextWeight):
    """An item's share of the interactions under a circumstance over its share under any; one factor for each.

    Interactions without a value count for neither share. An item with few interactions borrows from its group
    (``counts.log_lift``). Each value takes 8 bytes for each item. Unknown values, and those past ``max_values``, are
    neutral.

    Args:
        keys: Keys of the context map; each is a factor.
        half_life_days: Half-life of the counts, in days; None for no decay.
        prior: Weight of the prior, which is the lift of the item's group, in interactions, above 0.
        max_values: The most values of a key; later ones are not counted.
    """

    bucket_ms = MS_PER_DAY  # Whatever the time is.

    def __init__(self, keys: Sequence[str], half_life_days: float | None, prior: float, max_values: int) -> None:
        self.factors = tuple(Factor(key, words=_WORDS.get(key, "")) for key in keys)
        self.context_keys = tuple(keys)
        self.prior = prior
        self.max_values = max_values
        self._half_life_ms = np.inf if half_life_days is None else half_life_days * MS_PER_DAY
        self._groups = NO_GROUPS
        # By key and label. Replaced when a label is added, since other threads read it.
        self._under: dict[str, Mapping[str, DecayedCounts]] = {key: {} for key in keys}
        self._under_any = {key: DecayedCounts(self._half_life_ms) for key in keys}

    def label(self, key: str, value: str) -> str:
        """Return the label that a value is counted under; empty if it is not counted."""
        return value

    def regroup(self, groups: ItemGroups) -> None:
        """Take the groups of items."""
        self._groups = groups

    def observe(self, observed: Observed) -> None:
        """Count each interaction with a value under its label."""
        self._count(observed, observed.weights)

    def unobserve(self, observed: Observed) -> None:
        """Take interactions back."""
        self._count(observed, -observed.weights)

    def forget_rows(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        """Forget all interactions of some items; nothing is kept of users."""
        for key in self.context_keys:
            for counts in (self._under_any[key], *self._under[key].values()):
                counts.forget(item_rows)

    def forget_circumstances(self, kept: Mapping[str, Sequence[str]]) -> None:
        """Forget the labels of values that no interaction has any more."""
        for key in self.context_keys:
            under = self._under[key]
            labels = {self.label(key, value) for value in kept.get(key, ())}
            if not under.keys() <= labels:
                self._under[key] = {label: counts for label, counts in under.items() if label in labels}

    def _count(self, observed: Observed, weights: npt.NDArray[np.float32]) -> None:
        newest_ms = observed.clock_ms
        if newest_ms is None:
            return
        for key in self.context_keys:
            any_value = self._under_any[key]
            known = observed.circumstances.get(key)
            if known is None:
                any_value.note_newest(newest_ms)
                continue
            # Only values that occur here: a key may have any number of values.
            if len(known.codes) == 1:
                codes, of_event = known.codes, _FIRST
            else:
                codes, of_event = np.unique(known.codes, return_inverse=True)
            labels = [self.label(key, known.values[code]) if code >= 0 else "" for code in codes]
            has_label = np.array([label != "" for label in labels], bool)
            counted = [(any_value, np.flatnonzero(has_label[of_event]))]
            for code in np.flatnonzero(has_label):
                under = self._counts_of(key, labels[code])
                if under is not None:
                    counted.append((under, np.flatnonzero(of_event == code)))
            for counts, chosen in counted:
                rows, times = observed.item_rows[chosen], observed.timestamps_ms[chosen]
                counts.add(rows, times, weights[chosen], newest_ms)

    def bucket(self, moment: Moment) -> Hashable:
        """Return the labels of the moment; empty for unknown values."""
        return tuple(self._known_label(key, moment) for key in self.context_keys)

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the log lift of each circumstance, 0 for an unknown one."""
        lifts = np.zeros((len(self.factors), num_items), np.float32)
        for index, key in enumerate(self.context_keys):
            under = self._under[key].get(self._known_label(key, moment))  # It may be forgotten in between.
            if under is not None:
                under_any = self._under_any[key]
                newest_ms, total = under_any.newest_ms, under_any.total(num_items)
                if total > 0:
                    expected = under_any.at_newest(num_items) * (under.total(num_items, newest_ms) / total)
                    lifts[index] = log_lift(under.at_newest(num_items, newest_ms), expected, self.prior, self._groups)
        return lifts if lifts.any() else None

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all counts, and the labels in the order of their counts."""
        saved: dict[str, npt.NDArray[Any]] = {}
        for key in self.context_keys:
            under = self._under[key]
            saved[f"{key}/labels"] = np.array(list(under), np.str_)
            for number, counts in enumerate((self._under_any[key], *under.values())):
                saved |= {f"{key}/{number}/{name}": array for name, array in counts.state().items()}
        return saved

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from saved counts; a key without any starts at zero."""
        for key in self.context_keys:
            if f"{key}/labels" not in state:
                continue
            labels = state[f"{key}/labels"].tolist()
            every = [DecayedCounts(self._half_life_ms) for _ in range(1 + len(labels))]
            for number, counts in enumerate(every):
                counts.restore(part_of_state(state, f"{key}/{number}"))
            self._under_any[key] = every[0]
            self._under[key] = dict(zip(labels, every[1:], strict=True))

    def _known_label(self, key: str, moment: Moment) -> str:
        """Return the moment's label for one key; empty if there is none, or no interaction had it."""
        value = moment.circumstance(key)
        label = self.label(key, value) if value else ""
        return label if label in self._under[key] else ""

    def _counts_of(self, key: str, label: str) -> DecayedCounts | None:
        under = self._under[key]
        if label not in under:
            if len(under) >= self.max_values:
                return None
            self._under[key] = under = {**under, label: DecayedCounts(self._half_life_ms)}
        return under[label]


class Place(Circumstances):
    """An item's share of interactions at this place (region, store, country) over its share at any.

    Args:
        half_life_days: Half-life of the counts, in days; None for no decay.
        prior: Weight of the prior, which is the lift of the item's group, in interactions, above 0.
        max_values: The most places; later ones are not counted.
    """

    def __init__(
        self, half_life_days: PositiveFloat | None = None, prior: PositiveFloat = 5.0, max_values: PositiveInt = 64
    ) -> None:
        super().__init__(("place",), half_life_days, prior, max_values)


class Weather(Circumstances):
    """An item's share of interactions in this weather over its share in any: by condition, and by temperature.

    The condition is the context's ``weather``, in the producer's words. The temperature is its ``temperature``, in
    degrees Celsius, counted by bands; a value that is not a number does not count.

    Args:
        temperature_edges: Edges of the bands, in degrees Celsius.
        half_life_days: Half-life of the counts, in days; None for no decay.
        prior: Weight of the prior, which is the lift of the item's group, in interactions, above 0.
        max_values: The most conditions; later ones are not counted.
    """

    def __init__(
        self,
        temperature_edges: Edges = (-5.0, 5.0, 12.0, 18.0, 24.0, 30.0),
        half_life_days: PositiveFloat | None = None,
        prior: PositiveFloat = 5.0,
        max_values: PositiveInt = 64,
    ) -> None:
        super().__init__(("weather", "temperature"), half_life_days, prior, max_values)
        self._edges = sorted(temperature_edges)

    def label(self, key: str, value: str) -> str:
        """Return the condition itself, or the band of the temperature."""
        if key == "weather":
            return value
        try:
            degrees = float(value)
        except ValueError:
            return ""
        return f"band {np.searchsorted(self._edges, degrees, side='right')}" if np.isfinite(degrees) else ""


class Attribute(Circumstances):
    """An item's share of interactions under further values of the context map, such as a channel or a device.

    Args:
        names: Keys of the context map; each is a factor.
        half_life_days: Half-life of the counts, in days; None for no decay.
        prior: Weight of the prior, which is the lift of the item's group, in interactions, above 0.
        max_values: The most values of a key; later ones are not counted.
    """

    def __init__(
        self,
        names: Names = ("channel",),
        half_life_days: PositiveFloat | None = None,
        prior: PositiveFloat = 5.0,
        max_values: PositiveInt = 64,
    ) -> None:
        super().__init__(tuple(dict.fromkeys(names)), half_life_days, prior, max_values)
