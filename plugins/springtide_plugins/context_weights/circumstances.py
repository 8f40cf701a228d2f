"""Whether an item is wanted more at this place, in this weather, or under whatever else the context says."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat, PositiveInt

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import ContextWeight, Factor, ItemGroups, Moment, Observed
from springtide_plugins.context_weights.counts import NO_GROUPS, DecayedCounts, log_lift

Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
Edges = Annotated[tuple[float, ...], Field(min_length=1)]

_WORDS = {
    "place": "wanted {lift} as much as usual in this place",
    "weather": "wanted {lift} as much as usual in this weather",
}


class Circumstances(ContextWeight):
    """An item's share of the interactions under a circumstance over its share under any; one factor for each.

    Interactions that do not say count for neither share. An item that was seldom seen borrows from its kind
    (``counts.log_lift``). A value costs 8 bytes for each item once it was met, and no more than ``max_values`` are
    kept: a further one, like one that nobody has met, is neutral.

    Args:
        keys: Of the context map; each is a factor.
        half_life_days: How fast what was seen fades; None for never.
        prior: How many interactions the prior belief in the lift of an item's kind weighs, above 0.
        max_values: How many values of a key are kept, those that came first.
    """

    def __init__(self, keys: Sequence[str], half_life_days: float | None, prior: float, max_values: int) -> None:
        self.factors = tuple(Factor(key, words=_WORDS.get(key, "")) for key in keys)
        self.context_keys = tuple(keys)
        self.prior = prior
        self.max_values = max_values
        self._half_life_ms = np.inf if half_life_days is None else half_life_days * MS_PER_DAY
        self._groups = NO_GROUPS
        # By key and label. Replaced when a label is added: another thread reads meanwhile.
        self._under: dict[str, Mapping[str, DecayedCounts]] = {key: {} for key in keys}
        self._under_any = {key: DecayedCounts(self._half_life_ms) for key in keys}

    def label(self, key: str, value: str) -> str:
        """Return what a value counts as; empty if it says nothing."""
        return value

    def regroup(self, groups: ItemGroups) -> None:
        """Take what items belong to."""
        self._groups = groups

    def observe(self, observed: Observed) -> None:
        """Count each interaction that says something into its value."""
        for key in self.context_keys:
            known = observed.circumstances.get(key)
            if known is None:
                continue
            # Only what occurs here is looked at: a key may have any number of values.
            codes, of_event = np.unique(known.codes, return_inverse=True)
            labels = [self.label(key, known.values[code]) if code >= 0 else "" for code in codes]
            has_label = np.array([label != "" for label in labels], bool)
            self._count(self._under_any[key], observed, np.flatnonzero(has_label[of_event]))
            for place in np.flatnonzero(has_label):
                under = self._of_label(key, labels[place])
                if under is not None:
                    self._count(under, observed, np.flatnonzero(of_event == place))

    def bucket(self, moment: Moment) -> Hashable:
        """Return the labels that are known; what nobody has met is as good as nothing."""
        return tuple(self._met(key, moment) for key in self.context_keys)

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the log lift of each circumstance, 0 for one that is not known."""
        lifts = np.zeros((len(self.factors), num_items), np.float32)
        for place, key in enumerate(self.context_keys):
            label = self._met(key, moment)
            if label:
                now = self._under[key][label].at_newest(num_items)
                usual = self._under_any[key].at_newest(num_items)
                total = usual.sum()
                if total > 0:
                    lifts[place] = log_lift(now, usual * (now.sum() / total), self.prior, self._groups)
        return lifts if lifts.any() else None

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all counts, and the labels in the order of their counts."""
        saved: dict[str, npt.NDArray[Any]] = {}
        for key in self.context_keys:
            under = self._under[key]
            saved[f"{key}/labels"] = np.array(list(under), np.str_)
            for place, counts in enumerate((self._under_any[key], *under.values())):
                saved |= {f"{key}/{place}/{name}": array for name, array in counts.state().items()}
        return saved

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up all counts; those of a key that was not kept then begin at nothing."""
        for key in self.context_keys:
            if f"{key}/labels" not in state:
                continue
            labels = state[f"{key}/labels"].tolist()
            every = [DecayedCounts(self._half_life_ms) for _ in range(1 + len(labels))]
            for place, counts in enumerate(every):
                counts.restore({name: state[f"{key}/{place}/{name}"] for name in ("counts", "clock")})
            self._under_any[key] = every[0]
            self._under[key] = dict(zip(labels, every[1:], strict=True))

    def _met(self, key: str, moment: Moment) -> str:
        """Return the label of a moment under one key; empty if it is not known, or nobody has met it."""
        value = moment.circumstance(key)
        label = self.label(key, value) if value else ""
        return label if label in self._under[key] else ""

    def _of_label(self, key: str, label: str) -> DecayedCounts | None:
        under = self._under[key]
        if label not in under:
            if len(under) >= self.max_values:
                return None
            self._under[key] = under = {**under, label: DecayedCounts(self._half_life_ms)}
        return under[label]

    @staticmethod
    def _count(counts: DecayedCounts, observed: Observed, chosen: npt.NDArray[np.int64]) -> None:
        counts.add(observed.item_rows[chosen], observed.timestamps_ms[chosen], observed.weights[chosen])


class Place(Circumstances):
    """An item's share of interactions at this place (region, store, country) over its share at any.

    Args:
        half_life_days: How fast what was seen fades; None for never.
        prior: How many interactions the prior belief in the lift of an item's kind weighs, above 0.
        max_values: How many places are kept, those that came first.
    """

    def __init__(
        self, half_life_days: PositiveFloat | None = None, prior: PositiveFloat = 5.0, max_values: PositiveInt = 64
    ) -> None:
        super().__init__(("place",), half_life_days, prior, max_values)


class Weather(Circumstances):
    """An item's share of interactions in this weather over its share in any: by condition, and by temperature.

    The condition is what the context says as ``weather``, in the producer's words; the temperature is what it says as
    ``temperature``, a number of degrees Celsius, and counts by bands. One that is no number says nothing.

    Args:
        temperature_edges: Where one band ends and the next begins, ascending, in degrees Celsius.
        half_life_days: How fast what was seen fades; None for never.
        prior: How many interactions the prior belief in the lift of an item's kind weighs, above 0.
        max_values: How many conditions are kept, those that came first.
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
        """Return the condition as it is, and the band of a temperature."""
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
        half_life_days: How fast what was seen fades; None for never.
        prior: How many interactions the prior belief in the lift of an item's kind weighs, above 0.
        max_values: How many values of a key are kept, those that came first.
    """

    def __init__(
        self,
        names: Names = ("channel",),
        half_life_days: PositiveFloat | None = None,
        prior: PositiveFloat = 5.0,
        max_values: PositiveInt = 64,
    ) -> None:
        super().__init__(tuple(dict.fromkeys(names)), half_life_days, prior, max_values)
