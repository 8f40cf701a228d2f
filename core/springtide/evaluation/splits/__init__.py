"""How a data set is split in time."""

from springtide.evaluation.splits.cuts import (
    COLD_START,
    GLOBAL,
    LEAVE_ONE_OUT,
    PREQUENTIAL,
    SPLITS,
    WALK_FORWARD,
    cut_at,
    cut_names,
    why_empty_at,
)
from springtide.evaluation.splits.empty_splits import note_on_times, why_empty
from springtide.evaluation.splits.month_cut import cut_at_month
from springtide.evaluation.splits.time_splits import (
    Split,
    cold_items,
    cold_users,
    global_time_split,
    leave_one_out,
    walk_forward_splits,
)

__all__ = [
    "COLD_START",
    "GLOBAL",
    "LEAVE_ONE_OUT",
    "PREQUENTIAL",
    "SPLITS",
    "WALK_FORWARD",
    "Split",
    "cold_items",
    "cold_users",
    "cut_at",
    "cut_at_month",
    "cut_names",
    "global_time_split",
    "leave_one_out",
    "note_on_times",
    "walk_forward_splits",
    "why_empty",
    "why_empty_at",
]
