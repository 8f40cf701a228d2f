"""The `season` command's charts of demand over the year, the week and the day, and its list of items in season."""

import calendar
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.table import Table
from rich.text import Text

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.fallback import restore_newest
from springtide.clock import MS_PER_SECOND, StreamClock, wall_ms
from springtide.errors import CheckpointError, InvalidRequestError
from springtide.evaluation.data import datasets
from springtide.events.attribute_kinds import AttributeKindCheck
from springtide.events.model import EventBatch
from springtide.plugins.loading import load_serving_plugins
from springtide.ranking.seasons import POINTS_PER_MONTH, Profile, Seasons, Span
from springtide.ranking.weights import item_groups, make_context_weights
from springtide.settings.model import InteractionSettings, Settings
from springtide.state import LiveState
from springtide_services.terminal import console

_MONTHS = tuple(calendar.month_abbr)[1:]
_DAYS = tuple(calendar.day_abbr)
_NUM_ROWS = 8  # Height of a chart, in lines.
_BLOCKS = " ▁▂▃▄▅▆▇█"


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
        at: The moment to list for, UTC; midnight means the whole day. None means the day of the state's
            clock: today, or that of a stream that ended long ago.
        min_count: Items with fewer interactions are left out of the list.
        weight_name: The context weight to read.
        dataset: A public data set to learn from; None for the newest checkpoint.
        png: Path of a PNG file to draw as well; None for none.

    Raises:
        SettingsError: If there is no such weight, or it has no factor of a season; or if a PNG file is wanted and
            matplotlib is missing.
        InvalidRequestError: If there is no such item or category.
        CheckpointError: If there is no checkpoint yet.
    """
    if png is not None:
        from springtide_services.cli.season_plot import check_matplotlib

        check_matplotlib()  # Before a large checkpoint is read, which may take a minute.
    state = state_of(settings, dataset)
    _regroup(state, settings)
    seasons = Seasons.of_state(state, settings, weight_name)
    if name is None:
        if png is not None:
            raise InvalidRequestError("--png", "wanted an item or a category to draw, got none")
        now, words = (at, "") if at is not None else _day_of(state.clock)
        console().print(in_season(seasons, now.replace(tzinfo=now.tzinfo or UTC), top, min_count, words))
        return
    rows = seasons.rows_of(name)
    profiles = seasons.profiles(rows)
    title, note = _heading(seasons, name, rows)
    console().print(Text(title, style="bold"), Text(note, style="dim"), sep="\n")
    for profile in profiles:
        console().print()
        console().print(chart(profile))
    if png is not None:
        from springtide_services.cli.season_plot import draw

        draw(profiles, title, note, png)
        console().print(f"\ndrawn to {png}")


def in_season(seasons: Seasons, at: datetime, top: int, min_count: float, note: str = "") -> Table:
    """Return a table of the items in season at a moment, by the product of their lifts, the highest first.

    Args:
        seasons: The learned seasons.
        at: The moment; midnight means the whole day, and the hour does not count then.
        top: Number of items.
        min_count: Items with fewer interactions are left out.
        note: Text behind the moment in the title.
    """
    lifts = seasons.at_local(at)
    if (at.hour, at.minute, at.second) == (0, 0, 0) and len(lifts) > 1:
        lifts.pop("day", None)
    product = np.prod(list(lifts.values()), axis=0)
    product[seasons.counts < min_count] = -np.inf
    best = np.argsort(-product, kind="stable")[:top]
    when = f"{at:%A, %d %B %Y}" + (f", {at:%H:%M}" if "day" in lifts else "")
    title = f"In season on {when}{note}"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for heading in ("", "item", "group", "count", *lifts, "in all"):
        # A narrow terminal shortens the columns that may wrap: the items alone, whose text then ends in "…".
        is_text = heading in ("item", "group")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=heading != "item")
    for rank, row in enumerate(best[np.isfinite(product[best])].tolist(), start=1):
        table.add_row(
            str(rank),
            Text(seasons.title(row), no_wrap=True, overflow="ellipsis"),
            Text(seasons.group(row)),
            f"{seasons.counts[row]:,.0f}",
            *(f"{of_span[row]:.1f}×" for of_span in lifts.values()),
            f"{product[row]:.1f}×",
        )
    return table


def chart(profile: Profile) -> Text:
    """Return a profile as a bar chart, 8 lines high and at most 79 columns wide; a dotted line marks 1×."""
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
        return "".join(f"{month:<{POINTS_PER_MONTH}}" for month in _MONTHS).rstrip()
    if span == "week":
        return "".join(f"{day:^9} " for day in _DAYS).rstrip()
    return "".join(f"{hour:02} " for hour in range(24)).rstrip()


def state_of(settings: Settings, dataset: str | None) -> LiveState:
    """Return the state of the newest checkpoint, or one that a public data set gives.

    Raises:
        CheckpointError: If there is no checkpoint yet.
    """
    if dataset is not None:
        data = datasets.fetch(dataset)
        # As in the evaluation, every interaction of a data set counts.
        rules = {relation: InteractionSettings() for relation in data.interactions.relations}
        settings = settings.model_copy(update={"interactions": {**settings.interactions, **rules}})
        state = LiveState(settings, make_context_weights(settings.ranking, load_serving_plugins(settings)))
        kinds = AttributeKindCheck(settings.attributes)  # As the stream does: an attribute of a wrong kind is left out.
        state.apply(EventBatch(data.interactions, upserts=[kinds.check(each)[0] for each in data.upserts]))
        state.note_time(wall_ms())
        return state
    store = CheckpointStore(settings.checkpoint.url)
    plugins = load_serving_plugins(settings)
    restored = restore_newest(store, lambda: LiveState(settings, make_context_weights(settings.ranking, plugins)))
    if restored.checkpoint is None:
        what = "no checkpoint that is whole" if restored.damaged else "no checkpoint yet"
        raise CheckpointError(f"{what} at {settings.checkpoint.url}; --dataset complete-journey needs none")
    return restored.state


def _regroup(state: LiveState, settings: Settings) -> None:
    """Let the context weights know the groups of the items, as a server does all the time."""
    view, item_type = state.graph.view(), state.rules.item_type
    groups = item_groups(view.nodes(item_type), view.num_nodes(item_type), settings.ranking.item_groups)
    for weight in state.context_weights.values():
        weight.regroup(groups)


def _day_of(clock: StreamClock) -> tuple[datetime, str]:
    """Return the beginning of the clock's day, and what to say of it."""
    as_of = clock.read(wall_ms())
    day = datetime.fromtimestamp(as_of.timestamp_ms / MS_PER_SECOND, UTC)
    words = " (the stream's time)" if as_of.source == "stream" else ""
    return day.replace(hour=0, minute=0, second=0, microsecond=0), words


def _heading(seasons: Seasons, name: str, rows: npt.NDArray[np.int64]) -> tuple[str, str]:
    """Return a title, and a note on the data that it was learned from."""
    num_interactions = f"{seasons.counts[rows].sum():,.0f} interactions"
    if seasons.items.ids.row(name) >= 0:
        row = int(rows[0])
        group = seasons.group(row)
        return seasons.title(row), ", ".join(part for part in (f"item {name}", group, num_interactions) if part)
    return name, f"{len(rows):,} item{'' if len(rows) == 1 else 's'}, {num_interactions}"


def _step(highest: float) -> float:
    """Return the height of one line of a chart, a quarter, a half, 1, 2, …, so that 8 lines are enough."""
    return max(0.25, 2.0 ** math.ceil(math.log2(max(highest, 1.0) / _NUM_ROWS) - 1e-9))


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
