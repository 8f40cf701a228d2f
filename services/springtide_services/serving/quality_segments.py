"""Live quality by segment: the latest measured events, split by what is known of their users and items."""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph.view import GraphView
from springtide.state import LiveState
from springtide_services.serving.quality_drop import Quality

Int64s = npt.NDArray[np.int64]

OF_USER, OF_ITEM, OF_TYPE = "events of the user", "events of the item", "type of the event"
# By the first number of each part.
_USER_PARTS = {0: "none", 1: "1 to 5", 6: "6 to 20", 21: "21 to 100", 101: "more than 100"}
_ITEM_PARTS = {0: "none", 1: "1 to 9", 10: "10 to 99", 100: "100 to 999", 1_000: "1,000 or more"}
_USER_STARTS, _ITEM_STARTS = [*_USER_PARTS], [*_ITEM_PARTS]


@dataclass(frozen=True, slots=True)
class SegmentOfQuality:
    """Quality over a part of the events.

    Attributes:
        split: What the events are split by.
        segment: The part.
        all: Quality over its events.
        unseen: Quality over those with an item that the user had not seen.
    """

    split: str
    segment: str
    all: Quality
    unseen: Quality


class SegmentWindow:
    """The last ranks, and the segments that each belongs to. One thread adds and others read, under the caller's lock.

    Args:
        size: Number of events in the window.
        relations: The positive relations.
    """

    def __init__(self, size: int, relations: Sequence[str]) -> None:
        self._names: Mapping[str, Sequence[str]] = {
            OF_USER: tuple(_USER_PARTS.values()),
            OF_ITEM: tuple(_ITEM_PARTS.values()),
            OF_TYPE: tuple(relations),
        }
        self._relations = {name: code for code, name in enumerate(relations)}
        self._ranks = np.zeros(size, np.int64)
        self._is_unseen = np.zeros(size, bool)
        self._segments = np.zeros((len(self._names), size), np.int32)
        self._num_added = 0

    def segments_of(
        self, state: LiveState, view: GraphView, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int32]:
        """Return the part that each event belongs to by its user and its item, int32 ``[2, n]``.

        Args:
            state: The state.
            view: View of its graph, before the events are applied.
            user_rows: int32 ``[n]``; -1 for a user that the graph does not have.
            item_rows: int32 ``[n]``; -1 for an item that the graph does not have.
        """
        num, sides = len(user_rows), np.concatenate([user_rows, item_rows]).astype(np.int64)
        rows, counts = np.maximum(sides, 0), np.zeros(2 * num, np.int64)
        for relation in state.rules.positive_relations:
            edges = view.edges(state.rules.edge_type(relation))
            counts[:num] += edges.degrees(rows[:num], is_source=True)
            counts[num:] += edges.degrees(rows[num:], is_source=False)
        counts[sides < 0] = 0
        found = counts.tolist()
        parts = [_part_of(count, _USER_STARTS) for count in found[:num]]
        parts += [_part_of(count, _ITEM_STARTS) for count in found[num:]]
        return np.array(parts, np.int32).reshape(2, num)

    def add(
        self,
        ranks: Int64s,
        is_unseen: npt.NDArray[np.bool_],
        segments: npt.NDArray[np.int32],
        relations: Sequence[str],
    ) -> None:
        """Add ranks.

        Args:
            ranks: int64 ``[n]``, 1 for the best, oldest first.
            is_unseen: Whether each user had not seen the item, bool ``[n]``.
            segments: int32 ``[2, n]``, as ``segments_of`` gives them.
            relations: Relation of each event, ``[n]``.
        """
        of_all = zip(ranks.tolist(), is_unseen.tolist(), *segments.tolist(), relations, strict=True)
        for rank, unseen, of_user, of_item, relation in of_all:  # Few: NumPy would take longer.
            at = self._num_added % len(self._ranks)
            self._ranks[at], self._is_unseen[at] = rank, unseen
            self._segments[:, at] = of_user, of_item, self._relations.get(relation, -1)
            self._num_added += 1

    def segments(self) -> list[SegmentOfQuality]:
        """Return the quality over each segment that has an event, by split."""
        size = min(self._num_added, len(self._ranks))
        ranks, is_unseen = self._ranks[:size], self._is_unseen[:size]
        found = []
        for (split, names), codes in zip(self._names.items(), self._segments[:, :size], strict=True):
            for code, name in enumerate(names):
                is_in = codes == code
                if is_in.any():
                    of_all, of_unseen = Quality.of(ranks[is_in]), Quality.of(ranks[is_in & is_unseen])
                    found.append(SegmentOfQuality(split, name, of_all, of_unseen))
        return found


def _part_of(count: int, starts: Sequence[int]) -> int:
    return bisect.bisect_right(starts, count) - 1
