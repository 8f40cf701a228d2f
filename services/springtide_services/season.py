"""The `season` command: what the stream has taught of the year, the week and the day, drawn; and what is in season."""

import calendar
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from rich.table import Table
from rich.text import Text

from springtide.checkpoint import CheckpointStore
from springtide.clock import MS_PER_SECOND
from springtide.config import InteractionSettings, Settings
from springtide.errors import CheckpointError, InvalidRequestError, SettingsError
from springtide.evaluation import datasets
from springtide.events.model import EventBatch
from springtide.graph.nodes import NodeTable
from springtide.plugins.contracts import ContextWeight, Moment
from springtide.plugins.loading import load_checked_plugins
from springtide.ranking.weights import item_groups, make_context_weights
from springtide.state import LiveState
from springtide_services.terminal import console

Floats = npt.NDArray[np.float64]
Span = Literal["year", "week", "day"]

# The factors that tell of each span, by name; where two share it, as `calendar` has two of the year, it is their sum.
_FACTORS: Mapping[Span, tuple[str, ...]] = {"year": ("year", "year_near"), "week": ("weekday",), "day": ("hour",)}
_POINTS_PER_MONTH = 6
_MONTHS = tuple(calendar.month_abbr)[1:]
_DAYS = tuple(calendar.day_abbr)
_TITLE = "title"
_NUM_ROWS = 8  # Height of a chart, in lines.
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Profile:
    """How much an item, or several together, are wanted over one span.

    Attributes:
        span: Which one.
        lifts: float64 ``[n]``, share at each point over the share at any time; 1 is usual. The points: a sixth of a
            month each, the days from Monday, the hours.
    """

    span: Span
    lifts: Floats


@dataclass(frozen=True, slots=True)
class Seasons:
    """What a context weight has learned of items' seasons.

    Attributes:
        weight: Asked through its contract alone; what it wants to know of a circumstance, it does not get.
        items: The items.
        counts: float64 ``[num_items]``, interactions of each by weight.
        year: Of the newest interaction.
        group_names: Attributes that say what items belong to, from the coarse to the fine; those that exist.
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
        """Return the profiles of some items together, of each span that the weight tells of.

        Each item counts by its interactions: so it is the share that they have together, over their usual one.
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
            InvalidRequestError: If there is none; it names what comes near.
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
        return [place for place, factor in enumerate(self.weight.factors) if factor.name in _FACTORS[span]]

    def _lifts(self, span: Span, at: datetime) -> Floats:
        # The wall clock is what is asked about: in the zone UTC it is the timestamp itself.
        moment = Moment(round(at.timestamp() * MS_PER_SECOND), attributes={"time_zone": "UTC"})
        log_lifts = self.weight.item_log_lifts(moment, len(self.counts))
        if log_lifts is None:
            return np.ones(len(self.counts))
        lifts: Floats = np.exp(log_lifts[self._factors_of(span)].sum(0, dtype=np.float64))
        return lifts


def season(
    settings: Settings,
    *,
    name: str | None,
    top: int,
    at: datetime | None,
    min_count: float,
    weight_name: str,
    dataset: str | None,
    png: Path | None,
) -> None:
    """Draw the season of an item or a category; without one, list what is in season.

    Args:
        settings: Where checkpoints are, and which context weights there are.
        name: An item's id, or ATTRIBUTE=VALUE; None for the list.
        top: How many items to list.
        at: The moment to list for; midnight stands for the whole day, and None for today.
        min_count: Items with fewer interactions are not listed.
        weight_name: The context weight to ask.
        dataset: A public data set to learn from; None for the newest checkpoint.
        png: Where to draw a picture too; None for nowhere.

    Raises:
        SettingsError: If there is no such weight, or it tells nothing of seasons; or a picture is wanted and matplotlib
            is missing.
        InvalidRequestError: If there is no such item or category.
        CheckpointError: If there is no checkpoint yet.
    """
    if png is not None:
        from springtide_services.season_plot import check_matplotlib

        check_matplotlib()  # Before the minute that a large checkpoint takes.
    seasons = Seasons.of_state(_state_of(settings, dataset), settings, weight_name)
    if name is None:
        if png is not None:
            raise InvalidRequestError("--png", "wanted an item or a category to draw, got none")
        now = at or datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        console().print(in_season(seasons, now.replace(tzinfo=now.tzinfo or UTC), top, min_count))
        return
    rows = seasons.rows_of(name)
    profiles = seasons.profiles(rows)
    title, note = _heading(seasons, name, rows)
    console().print(Text(title, style="bold"), Text(note, style="dim"), sep="\n")
    for profile in profiles:
        console().print()
        console().print(chart(profile))
    if png is not None:
        from springtide_services.season_plot import draw

        draw(profiles, title, note, png)
        console().print(f"\ndrawn to {png}")


def in_season(seasons: Seasons, at: datetime, top: int, min_count: float) -> Table:
    """Return the items that are in season at a moment, by the product of their lifts, the strongest first.

    Args:
        seasons: What was learned.
        at: The moment; at midnight, the whole day is meant, and the hour does not count.
        top: How many.
        min_count: Items with fewer interactions are left out.
    """
    lifts = seasons.at(at)
    if (at.hour, at.minute, at.second) == (0, 0, 0) and len(lifts) > 1:
        lifts.pop("day", None)
    together = np.prod(list(lifts.values()), axis=0)
    together[seasons.counts < min_count] = -np.inf
    best = np.argsort(-together, kind="stable")[:top]
    when = f"{at:%A, %d %B %Y}" + (f", {at:%H:%M}" if "day" in lifts else "")
    table = Table(box=None, pad_edge=False, title=f"In season on {when}", title_justify="left", title_style="bold")
    for heading in ("", "item", "group", "count", *lifts, "in all"):
        # A narrow terminal takes from the columns that may wrap: from the items' alone, whose text then ends in "…".
        is_text = heading in ("item", "group")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=heading != "item")
    for place, row in enumerate(best[np.isfinite(together[best])].tolist(), start=1):
        table.add_row(
            str(place),
            Text(seasons.title(row), no_wrap=True, overflow="ellipsis"),
            Text(seasons.group(row)),
            f"{seasons.counts[row]:,.0f}",
            *(f"{of_span[row]:.1f}×" for of_span in lifts.values()),
            f"{together[row]:.1f}×",
        )
    return table


def chart(profile: Profile) -> Text:
    """Return a profile as a chart of bars, 8 lines high and at most 79 columns wide; a dotted line is the usual."""
    width = {"year": 1, "week": 10, "day": 3}[profile.span]
    gap = 0 if profile.span == "year" else 1
    step = _step(float(profile.lifts.max()))
    eighths = np.rint(np.maximum(profile.lifts, 0) / step * 8).astype(int).tolist()
    num_rows = max(-(-max(eighths) // 8), math.ceil(1 / step))
    lines = Text(f"over the {profile.span} (1× is usual)\n")
    for row in reversed(range(num_rows)):
        level = (row + 1) * step
        lines.append(f"{_short(level):>5}× ", style="dim")
        for lift, height in zip(profile.lifts.tolist(), eighths, strict=True):
            filled = min(max(height - 8 * row, 0), 8)
            if filled == 0:
                lines.append(("┄" if level == 1 else " ") * width, style="dim")
            else:
                lines.append(_BLOCKS[filled] * (width - gap) + " " * gap, style="green" if lift >= 1 else "blue")
        lines.append("\n")
    lines.append(" " * 7 + axis(profile.span), style="dim")
    return lines


def axis(span: Span) -> str:
    """Return the labels below a chart."""
    if span == "year":
        return "".join(f"{month:<{_POINTS_PER_MONTH}}" for month in _MONTHS).rstrip()
    if span == "week":
        return "".join(f"{day:^9} " for day in _DAYS).rstrip()
    return "".join(f"{hour:02} " for hour in range(24)).rstrip()


def _points(span: Span, year: int) -> Sequence[datetime]:
    """Return the moments at which a span is looked at."""
    if span == "year":
        return [
            datetime(year, month, 1, 12, tzinfo=UTC)
            + timedelta(days=int((place + 0.5) / _POINTS_PER_MONTH * calendar.monthrange(year, month)[1]))
            for month in range(1, 13)
            for place in range(_POINTS_PER_MONTH)
        ]
    midsummer = datetime(year, 7, 1, tzinfo=UTC)
    monday = midsummer - timedelta(days=midsummer.weekday())
    if span == "week":
        return [monday + timedelta(days=day, hours=12) for day in range(7)]
    return [monday + timedelta(hours=hour, minutes=30) for hour in range(24)]


def _state_of(settings: Settings, dataset: str | None) -> LiveState:
    if dataset is not None:
        data = datasets.fetch(dataset)
        # As in the evaluation, every interaction of a data set counts.
        rules = {relation: InteractionSettings() for relation in data.interactions.relations}
        settings = settings.model_copy(update={"interactions": {**settings.interactions, **rules}})
        state = LiveState(settings, make_context_weights(settings.ranking, load_checked_plugins(settings)))
        state.apply(EventBatch(data.interactions, upserts=data.upserts))
        return state
    store = CheckpointStore(settings.checkpoint.url)
    checkpoint = store.latest()
    if checkpoint is None:
        raise CheckpointError(f"no checkpoint at {settings.checkpoint.url} yet; --dataset complete-journey needs none")
    state = LiveState(settings, make_context_weights(settings.ranking, load_checked_plugins(settings)))
    store.restore(checkpoint, state)
    return state


def _heading(seasons: Seasons, name: str, rows: npt.NDArray[np.int64]) -> tuple[str, str]:
    """Return a title, and what it was learned from."""
    num_interactions = f"{seasons.counts[rows].sum():,.0f} interactions"
    if seasons.items.ids.row(name) >= 0:
        row = int(rows[0])
        group = seasons.group(row)
        return seasons.title(row), ", ".join(part for part in (f"item {name}", group, num_interactions) if part)
    return name, f"{len(rows):,} item{'' if len(rows) == 1 else 's'}, {num_interactions}"


def _near(value: str, choices: Sequence[str]) -> list[str]:
    """Return a few values that hold the word, or are spelled much like it."""
    holding = [choice for choice in choices if choice and value.casefold() in choice.casefold()]
    return sorted(holding, key=len)[:5] or difflib.get_close_matches(value.upper(), choices, 3)


def _step(highest: float) -> float:
    """Return how much one line of a chart stands for: a quarter, a half, 1, 2, …, so that 8 lines are enough."""
    return max(0.25, 2.0 ** math.ceil(math.log2(max(highest, 1.0) / _NUM_ROWS) - 1e-9))


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
