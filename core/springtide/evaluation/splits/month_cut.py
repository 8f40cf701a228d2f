"""Cutting a data set at the end of a month, with the next month as the test set."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np

from springtide.evaluation.splits.time_splits import Split, global_time_split
from springtide.events.model import Interactions


def cut_at_month(interactions: Interactions, month: int, min_count: int = 5) -> tuple[Interactions, Split]:
    """Return the interactions up to the end of the next month, and their split at the end of a month, UTC.

    Items and users with too few interactions in the training set are dropped, as ``global_time_split`` drops them.

    Args:
        interactions: In time order, of at least one month. Months are those of the year of the first interaction.
        month: The last month of the training set, 1 to 11.
        min_count: Number of users that an item needs, and of items that a user needs.

    Raises:
        ValueError: If the training set or the test set is empty.
    """
    times = interactions.timestamps_ms
    year = datetime.fromtimestamp(int(times[0]) / 1000, UTC).year
    cut = int(np.searchsorted(times, _start_ms(year, month + 1)))
    end = int(np.searchsorted(times, _start_ms(year, month + 2)))
    if cut == 0 or end == cut:
        raise ValueError(f"wanted interactions to the end of month {month} of {year} and in the next, got none in one")
    truncated = replace(
        interactions,
        user_codes=interactions.user_codes[:end],
        item_codes=interactions.item_codes[:end],
        relation_codes=interactions.relation_codes[:end],
        timestamps_ms=times[:end],
        values=interactions.values[:end],
        contexts=None if interactions.contexts is None else interactions.contexts[:end],
        recommendation_ids=None if interactions.recommendation_ids is None else interactions.recommendation_ids[:end],
    )
    # The split rounds a share down: half an interaction more makes it cut exactly here.
    return truncated, global_time_split(truncated, 1.0 - (cut + 0.5) / end, min_count)


def _start_ms(year: int, month: int) -> int:
    """Return the first moment of a month, milliseconds; month 13 is January of the next year."""
    first = date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)
    return int(datetime(first.year, first.month, 1, tzinfo=UTC).timestamp() * 1000)
