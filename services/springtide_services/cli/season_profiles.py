"""Profiles of demand over the year, the week and the day, as a context weight has learned them."""

import calendar
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_SECOND
from springtide.errors import InvalidRequestError, SettingsError
from springtide.graph.nodes import NodeTable
from springtide.interactions import Moment
from springtide.plugins.contracts import ContextWeight
from springtide.ranking.weights import item_groups
from springtide.settings.model import Settings
from springtide.state import LiveState

Floats = npt.NDArray[np.float64]
Span = Literal["year", "week", "day"]


# The factors of each span, by name. The log lifts of several are summed, such as of the two that `calendar` has.
_FACTORS: Mapping[Span, tuple[str, ...]] = {"year": ("year", "year_near"), "week": ("weekday",), "day": ("hour",)}
_POINTS_PER_MONTH = 6
_TITLE = "title"  # The attribute that items are named by.


@dataclass(frozen=True, slots=True)
class Profile:
    """The demand for an item, or for several items together, over one span.

    Attributes:
        span: The span.
        lifts: float64 ``[n]``, share at each point over the share at any time; 1 is usual. The points are sixths of
            months, the days from Monday on, or the hours.
    """

    span: Span
    lifts: Floats


@dataclass(frozen=True, slots=True)
class Seasons:
    """The seasons of all items, as a context weight has learned them.

    Attributes:
        weight: The context weight. It is read through its contract alone, and gets no circumstance but the time zone.
        items: Ids and attributes of the items.
        counts: float64 ``[num_items]``, sum of the weights of each item's interactions.
        year: Year of the newest interaction.
        group_names: Attributes that group the items, from the coarse to the fine.
    """

    weight: ContextWeight
    items: NodeTable
    counts: Floats
    year: int
    group_names: tuple[str, ...]

    @classmethod
    def of_state(cls, state: LiveState, settings: Settings, weight_name: str) -> "Seasons":
        """Return the seasons that one weight of a state has learned.

        Raises:
            SettingsError: If the settings name no such weight, or it has no factor of a span.
        """
        weight = state.context_weights.get(weight_name)
        if weight is None:
            choices = ", ".join(state.context_weights) or "none"
            raise SettingsError(f"no context weight {weight_name!r} in ranking.context_weights (choices: {choices})")
        names = [factor.name for factor in weight.factors]
        wanted = [name for of_span in _FACTORS.values() for name in of_span]
        if not set(names) & set(wanted):
            raise SettingsError(
                f"context weight {weight_name!r}: wanted a factor named {', '.join(wanted)}, got {', '.join(names)}"
            )
        view = state.graph.view()
        item_type = state.rules.item_type
        items, num_items = view.nodes(item_type), view.num_nodes(item_type)
        groups = item_groups(items, num_items, settings.ranking.item_groups)
        weight.regroup(groups)
        counts = np.zeros(num_items)
        for relation in state.rules.positive_relations:
            edges = view.edges(state.rules.edge_type(relation))
            counts += np.bincount(edges.target, edges.weights, minlength=num_items)[:num_items]
        newest = datetime.fromtimestamp((view.newest_ms or 0) / MS_PER_SECOND, UTC)
        return cls(weight, items, counts, newest.year, tuple(groups.names))

    def profiles(self, rows: npt.NDArray[np.int64]) -> list[Profile]:
        """Return the profiles of some items together, one for each span that the weight has factors of.

        Items count by their interactions, so a lift is the share of all of them together over their usual share.
        """
        shares = self.counts[rows] if self.counts[rows].sum() > 0 else np.ones(len(rows))
        shares = shares / shares.sum()
        profiles = []
        for span in _FACTORS:
            if self._factors_of(span):
                lifts = [float(shares @ self._lifts(span, at)[rows]) for at in _points(span, self.year)]
                profiles.append(Profile(span, np.array(lifts)))
        return profiles

    def at(self, moment: datetime) -> dict[Span, Floats]:
        """Return every item's lift at a moment, float64 ``[num_items]``, by span."""
        return {span: self._lifts(span, moment) for span in _FACTORS if self._factors_of(span)}

    def rows_of(self, name: str) -> npt.NDArray[np.int64]:
        """Return the rows of an item by its id, or of the items that have ATTRIBUTE=VALUE, int64 ``[n]``.

        Raises:
            InvalidRequestError: If there is none; the message names similar values.
        """
        row = self.items.ids.row(name)
        if 0 <= row < len(self.counts):
            return np.array([row])
        attribute, equals, value = name.partition("=")
        if not equals:
            raise InvalidRequestError("item", f"no item with the id {name!r}; a category is written ATTRIBUTE=VALUE")
        categories = self.items.categories
        if attribute not in categories:
            choices = ", ".join(sorted(categories)) or "none"
            raise InvalidRequestError("category", f"items have no attribute {attribute!r} (choices: {choices})")
        rows = np.flatnonzero(self.items.has_category(attribute, [value])[: len(self.counts)])
        if not len(rows):
            near = _near(value, categories[attribute].vocabulary.all_ids())
            hint = f" (near it: {', '.join(near)})" if near else ""
            raise InvalidRequestError("category", f"no item has {attribute} {value!r}{hint}")
        return rows

    def title(self, row: int) -> str:
        """Return an item's title, or its id if it has none."""
        return self.items.text(_TITLE, row) or self.items.ids.id(row)

    def group(self, row: int) -> str:
        """Return the coarsest group that an item belongs to; empty if none is known."""
        values = dict(reversed(self.items.category_values(row)))
        return next((values[name] for name in self.group_names if name in values), "")

    def _factors_of(self, span: Span) -> list[int]:
        return [index for index, factor in enumerate(self.weight.factors) if factor.name in _FACTORS[span]]

    def _lifts(self, span: Span, at: datetime) -> Floats:
        # The question is about local time, which is the timestamp itself in the time zone UTC.
        moment = Moment(round(at.timestamp() * MS_PER_SECOND), attributes={"time_zone": "UTC"})
        log_lifts = self.weight.item_log_lifts(moment, len(self.counts))
        if log_lifts is None:
            return np.ones(len(self.counts))
        lifts: Floats = np.exp(log_lifts[self._factors_of(span)].sum(0, dtype=np.float64))
        return lifts


def _points(span: Span, year: int) -> Sequence[datetime]:
    """Return the moments of a span's points."""
    if span == "year":
        return [
            datetime(year, month, 1, 12, tzinfo=UTC)
            + timedelta(days=int((point + 0.5) / _POINTS_PER_MONTH * calendar.monthrange(year, month)[1]))
            for month in range(1, 13)
            for point in range(_POINTS_PER_MONTH)
        ]
    midsummer = datetime(year, 7, 1, tzinfo=UTC)
    monday = midsummer - timedelta(days=midsummer.weekday())
    if span == "week":
        return [monday + timedelta(days=day, hours=12) for day in range(7)]
    return [monday + timedelta(hours=hour, minutes=30) for hour in range(24)]


def _near(value: str, choices: Sequence[str]) -> list[str]:
    """Return a few values that contain the word, or are spelled like it."""
    containing = [choice for choice in choices if choice and value.casefold() in choice.casefold()]
    return sorted(containing, key=len)[:5] or difflib.get_close_matches(value.upper(), choices, 3)
