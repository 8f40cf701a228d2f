"""Profiles of demand over the year, the week and the day, as a context weight has learned them."""

import calendar
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, MS_PER_HOUR, MS_PER_SECOND
from springtide.errors import InvalidRequestError, SettingsError
from springtide.graph.edges import EdgeView
from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.interactions import Moment, Observed
from springtide.plugins.contracts import ContextWeight
from springtide.plugins.wall_clock import TIME_ZONE, WallClock
from springtide.settings.model import Settings
from springtide.state import LiveState

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Span = Literal["year", "week", "day"]

POINTS_PER_MONTH = 6
NUM_POINTS: Mapping[Span, int] = {"year": 12 * POINTS_PER_MONTH, "week": 7, "day": 24}
# The factors of each span, by name. The log lifts of several are summed, such as of the two that `calendar` has.
_FACTORS: Mapping[Span, tuple[str, ...]] = {"year": ("year", "year_near"), "week": ("weekday",), "day": ("hour",)}
_TITLES = ("title", "name")  # Attributes that items are named by, if the settings name none.
_EDGES_AT_ONCE = 1_000_000
_MAX_CHOICES = 2_000  # Values that a wrong one is compared with: of many, the comparison would take seconds.


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

    It may be read while another thread writes the state, and never changes it; what the weight says is of the time when
    it is asked.

    Attributes:
        state: The state. The weight is read through its contract alone, and gets no circumstance but the time zone.
        weight: The context weight.
        clock: Tells local times, as the weight does where users have no time zone.
        view: The graph that items and interactions are of.
        items: Ids and attributes of the items.
        counts: float64 ``[num_items]``, sum of the weights of each item's interactions.
        num_interactions: int64 ``[num_items]``, how many interactions each item has.
        year: Year of the newest interaction.
        group_names: Attributes that group the items, from the coarse to the fine.
        title_names: Attributes that name the items; the first that an item has counts.
    """

    state: LiveState
    weight: ContextWeight
    clock: WallClock
    view: GraphView
    items: NodeTable
    counts: Floats
    num_interactions: Rows
    year: int
    group_names: tuple[str, ...]
    title_names: tuple[str, ...]

    @classmethod
    def of_state(cls, state: LiveState, settings: Settings, weight_name: str) -> "Seasons":
        """Return the seasons that one weight of a state has learned.

        The weight must know the groups of the items already (``ContextWeight.regroup``), as that of a server does.

        Raises:
            SettingsError: If the settings name no such weight, or it has no factor of a span.
        """
        weight = state.context_weights.get(weight_name)
        if weight is None:
            choices = ", ".join(state.context_weights) or "none"
            raise SettingsError(f"no context weight {weight_name!r} in ranking.context_weights (choices: {choices})")
        if not _spans_of(weight):
            wanted = ", ".join(name for of_span in _FACTORS.values() for name in of_span)
            got = ", ".join(factor.name for factor in weight.factors)
            raise SettingsError(f"context weight {weight_name!r}: wanted a factor named {wanted}, got {got}")
        state.settle()
        view = state.graph.view()
        items, num_items = view.nodes(state.rules.item_type), view.num_nodes(state.rules.item_type)
        counts, num_interactions = np.zeros(num_items), np.zeros(num_items, np.int64)
        for edges in _positive_edges(state, view):
            for start in range(0, len(edges), _EDGES_AT_ONCE):
                _, targets, _, weights, _ = edges.part(start, min(start + _EDGES_AT_ONCE, len(edges)))
                counts += np.bincount(targets, weights, minlength=num_items)[:num_items]
                num_interactions += np.bincount(targets, minlength=num_items)[:num_items]
        newest = datetime.fromtimestamp((view.newest_ms or 0) / MS_PER_SECOND, UTC)
        options = settings.ranking.context_weights.get(weight_name, {})
        clock = WallClock(weight_name, str(options.get(TIME_ZONE, "UTC")))
        names = settings.ranking.item_groups
        groups = tuple(name for name in names if name in items.categories_among(names))
        titles = tuple(dict.fromkeys(name for name in (settings.explain.name_attribute, *_TITLES) if name))
        return cls(state, weight, clock, view, items, counts, num_interactions, newest.year, groups, titles)

    @property
    def spans(self) -> tuple[Span, ...]:
        """The spans that the weight has factors of."""
        return _spans_of(self.weight)

    def profiles(self, rows: Rows) -> list[Profile]:
        """Return the profiles of some items together, one for each span that the weight has factors of.

        Items count by their interactions, so a lift is the share of all of them together over their usual share.
        """
        return [Profile(span, np.array([*self.lifts_over(span, rows)])) for span in self.spans]

    def lifts_over(self, span: Span, rows: Rows, start: int = 0) -> Iterator[float]:
        """Yield the lift of some items together at each point of a span; each takes as long as all lifts of a moment.

        Args:
            span: The span.
            rows: int64 ``[n]``, the items.
            start: The first point that is wanted.
        """
        shares = self.counts[rows] if self.counts[rows].sum() > 0 else np.ones(len(rows))
        shares = shares / shares.sum()
        for at in _points(span, self.year)[start:]:
            # The question is about local time, which is the timestamp itself in the time zone UTC.
            yield float(shares @ self._lifts(span, _as_local(at), rows))

    def at(self, moment: Moment) -> dict[Span, Floats]:
        """Return every item's lift at a moment, float64 ``[num_items]``, by span."""
        log_lifts = self.weight.item_log_lifts(moment, len(self.counts))
        return {span: self._lifts_of(log_lifts, span, None) for span in self.spans}

    def at_local(self, at: datetime) -> dict[Span, Floats]:
        """Return every item's lift at a local time, float64 ``[num_items]``, by span."""
        return self.at(_as_local(at))

    def num_at_points(self, rows: Rows) -> dict[Span, npt.NDArray[np.int64]]:
        """Return how many interactions some items have at each point of each span, by their local times.

        Args:
            rows: int64 ``[n]``, the items.

        Returns:
            For each span that the weight has factors of, int64 ``[n]``, by the points of its profile.
        """
        counts = {span: np.zeros(NUM_POINTS[span], np.int64) for span in self.spans}
        is_wanted = np.zeros(len(self.counts), bool)
        is_wanted[rows] = True
        for found in self._interactions(is_wanted):
            local_ms = self.clock.of_events(found)
            for span, of_span in counts.items():
                of_span += np.bincount(_points_of(span, local_ms), minlength=len(of_span))
        return counts

    def _interactions(self, is_wanted: npt.NDArray[np.bool_]) -> Iterator[Observed]:
        """Yield the interactions of some items in parts, with the circumstances that the graph keeps."""
        for edges in _positive_edges(self.state, self.view):
            for start in range(0, len(edges), _EDGES_AT_ONCE):
                part = edges.part(start, min(start + _EDGES_AT_ONCE, len(edges)))
                sources, targets, times, weights, features = part
                at = np.flatnonzero(is_wanted[targets])
                if len(at):
                    # As they were kept with the edge: to look up the users' attributes would write to the table.
                    of_them = None if features is None else features[at]
                    kept = self.state.circumstances.read(of_them, sources[at], None)
                    yield Observed(sources[at], targets[at], times[at], weights[at], kept)

    def rows_of(self, name: str) -> Rows:
        """Return the rows of an item by its id, or of the items that have ATTRIBUTE=VALUE, int64 ``[n]``.

        Raises:
            InvalidRequestError: If there is none; the message names similar values.
        """
        row = self.items.ids.row(name)
        if 0 <= row < len(self.counts):
            return np.array([row])
        attribute, equals, value = name.partition("=")
        if not equals:
            near = _near(name, self.items.ids.all_ids()[:_MAX_CHOICES])
            hint = f" (near it: {', '.join(near)})" if near else ""
            raise InvalidRequestError(
                "item", f"no item with the id {name!r}{hint}; a category is written ATTRIBUTE=VALUE"
            )
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
        values = dict(reversed(self.items.category_values(row)))
        titles = (self.items.text(name, row) or values.get(name) for name in self.title_names)
        return next((title for title in titles if title), None) or self.items.ids.id(row)

    def group(self, row: int) -> str:
        """Return the coarsest group that an item belongs to; empty if none is known."""
        values = dict(reversed(self.items.category_values(row)))
        return next((values[name] for name in self.group_names if name in values), "")

    def _lifts(self, span: Span, moment: Moment, rows: Rows) -> Floats:
        return self._lifts_of(self.weight.item_log_lifts(moment, len(self.counts)), span, rows)

    def _lifts_of(self, log_lifts: npt.NDArray[np.float32] | None, span: Span, rows: Rows | None) -> Floats:
        """Return the lifts of a span for some items, or for all, float64 ``[n]``, of the log lifts of all factors."""
        if log_lifts is None:
            return np.ones(len(self.counts) if rows is None else len(rows))
        factors = [index for index, factor in enumerate(self.weight.factors) if factor.name in _FACTORS[span]]
        of_span = [log_lifts[index] if rows is None else log_lifts[index][rows] for index in factors]
        lifts: Floats = np.exp(np.sum(of_span, axis=0, dtype=np.float64))
        return lifts


def weights_with_seasons(weights: Mapping[str, ContextWeight]) -> list[str]:
    """Return the names of the context weights that tell something of a span, in their order."""
    return [name for name, weight in weights.items() if _spans_of(weight)]


def _spans_of(weight: ContextWeight) -> tuple[Span, ...]:
    names = {factor.name for factor in weight.factors}
    return tuple(span for span, of_span in _FACTORS.items() if names.intersection(of_span))


def _positive_edges(state: LiveState, view: GraphView) -> Sequence[EdgeView]:
    return [view.edges(state.rules.edge_type(relation)) for relation in state.rules.positive_relations]


def _as_local(at: datetime) -> Moment:
    return Moment(round(at.timestamp() * MS_PER_SECOND), attributes={TIME_ZONE: "UTC"})


def _points(span: Span, year: int) -> Sequence[datetime]:
    """Return the moments of a span's points."""
    if span == "year":
        return [
            datetime(year, month, 1, 12, tzinfo=UTC)
            + timedelta(days=int((point + 0.5) / POINTS_PER_MONTH * calendar.monthrange(year, month)[1]))
            for month in range(1, 13)
            for point in range(POINTS_PER_MONTH)
        ]
    midsummer = datetime(year, 7, 1, tzinfo=UTC)
    monday = midsummer - timedelta(days=midsummer.weekday())
    if span == "week":
        return [monday + timedelta(days=day, hours=12) for day in range(7)]
    return [monday + timedelta(hours=hour, minutes=30) for hour in range(24)]


def _points_of(span: Span, local_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the point of a span that each local time belongs to, int64 ``[n]``."""
    if span == "day":
        return local_ms % MS_PER_DAY // MS_PER_HOUR
    if span == "week":
        return (local_ms // MS_PER_DAY + 3) % 7  # Day 0, 1970-01-01, was a Thursday.
    days = (local_ms // MS_PER_DAY).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    first = months.astype("datetime64[D]")
    length = ((months + 1).astype("datetime64[D]") - first).astype(np.int64)
    sixth = (days - first).astype(np.int64) * POINTS_PER_MONTH // length
    of_year: npt.NDArray[np.int64] = months.astype(np.int64) % 12 * POINTS_PER_MONTH + sixth
    return of_year


def _near(value: str, choices: Sequence[str]) -> list[str]:
    """Return a few values that contain the word, or are spelled like it."""
    named = [choice for choice in choices if choice]
    if containing := [choice for choice in named if value.casefold() in choice.casefold()]:
        return sorted(containing, key=len)[:5]
    few = named[:_MAX_CHOICES]
    return difflib.get_close_matches(value, few, 3) or difflib.get_close_matches(value.upper(), few, 3)
