"""Interactions that nobody made: every item occurs, some far more often than others."""

import time
from dataclasses import replace

import numpy as np

from springtide.events import Interactions
from springtide.events.packed_ids import PackedIds

_DAYS = 90
_MS_PER_DAY = 86_400_000


def make_interactions(num: int, num_users: int, num_items: int, seed: int = 0) -> Interactions:
    """Return purchases of the last 90 days in time order; item shares fall as a power of their rank."""
    random = np.random.default_rng(seed)
    shares = 1.0 / np.arange(1, num_items + 1) ** 0.8
    items = random.choice(num_items, num, p=shares / shares.sum())
    each_once = min(num, num_items)
    items[random.choice(num, each_once, replace=False)] = np.arange(each_once)
    now_ms = time.time_ns() // 1_000_000
    times = np.sort(random.integers(now_ms - _DAYS * _MS_PER_DAY, now_ms - 1_000, num))
    return Interactions(
        user_ids=[f"user-{number:07}" for number in range(num_users)],
        user_codes=random.integers(0, num_users, num).astype(np.int32),
        item_ids=[f"item-{number:07}" for number in range(num_items)],
        item_codes=items.astype(np.int32),
        relations=("purchase",),
        relation_codes=np.zeros(num, np.int16),
        timestamps_ms=times,
        values=np.full(num, np.nan, np.float32),
    )


def in_turn(interactions: Interactions, number: int, num_parts: int) -> Interactions:
    """Return the interactions within one of ``num_parts`` equal parts of the 90 days: each follows the one before."""
    times, span_ms = interactions.timestamps_ms, _DAYS * _MS_PER_DAY
    begin_ms = int(times.max()) - span_ms
    of_part = begin_ms + (number * span_ms + np.maximum(times - begin_ms, 0)) // num_parts
    return replace(interactions, timestamps_ms=of_part)


def cut(interactions: Interactions, rows_per_part: int) -> list[Interactions]:
    """Return the interactions in parts whose dictionaries hold only what occurs in them, as decoding gives them."""
    parts = []
    for start in range(0, len(interactions), rows_per_part):
        rows = slice(start, start + rows_per_part)
        users, user_codes = np.unique(interactions.user_codes[rows], return_inverse=True)
        items, item_codes = np.unique(interactions.item_codes[rows], return_inverse=True)
        parts.append(
            Interactions(
                PackedIds.of([interactions.user_ids[code] for code in users]),
                user_codes.astype(np.int32),
                PackedIds.of([interactions.item_ids[code] for code in items]),
                item_codes.astype(np.int32),
                interactions.relations,
                interactions.relation_codes[rows],
                interactions.timestamps_ms[rows],
                interactions.values[rows],
            )
        )
    return parts
