"""Interactions as a part sees them: the moment, what came in, and what one user did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment and its circumstances, as a request or an event gives them.

    Attributes:
        timestamp_ms: Milliseconds since the Unix epoch.
        place: Region, store or country; empty when not known.
        weather: Condition in words; empty when not known.
        attributes: Anything else, ``time_zone`` (an IANA name) among it.
    """

    timestamp_ms: int
    place: str = ""
    weather: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def circumstance(self, key: str) -> str:
        """Return a circumstance by the name that events give it in their context map; empty when not known."""
        if key == "place" and self.place:
            return self.place
        if key == "weather" and self.weather:
            return self.weather
        return self.attributes.get(key, "")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """One circumstance of many interactions, such as their places.

    Attributes:
        codes: int32 ``[n]``, position in ``values``; -1 where it is not known.
        values: The words that events use.
    """

    codes: npt.NDArray[np.int32]
    values: Sequence[str]


@dataclass(frozen=True, slots=True)
class ItemGroups:
    """What items belong to, from the coarse to the fine: department, category, product type.

    Attributes:
        names: Attribute of each level.
        codes: For each level, int32 ``[num_items]``, the item's group; -1 where it has none.
        sizes: Number of groups of each level.
    """

    names: Sequence[str] = ()
    codes: Sequence[npt.NDArray[np.int32]] = ()
    sizes: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """Interactions as they enter the graph, for the context weights to learn from; all positive, in stream order.

    Attributes:
        user_rows: int32 ``[n]``.
        item_rows: int32 ``[n]``.
        timestamps_ms: int64 ``[n]``.
        weights: float32 ``[n]``, edge weights.
        circumstances: Those that the weights ask for (``ContextWeight.context_keys``), by key: from the events' context
            maps, or else from the users' attributes of that name.
    """

    user_rows: npt.NDArray[np.int32]
    item_rows: npt.NDArray[np.int32]
    timestamps_ms: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    circumstances: Mapping[str, Circumstances] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.item_rows)

    def moment(self, position: int) -> Moment:
        """Return the moment of one interaction, with its circumstances."""
        known = {
            key: of.values[of.codes[position]] for key, of in self.circumstances.items() if of.codes[position] >= 0
        }
        place, weather = known.pop("place", ""), known.pop("weather", "")
        return Moment(int(self.timestamps_ms[position]), place, weather, known)


@dataclass(frozen=True, slots=True)
class History:
    """One user's own positive interactions, newest first.

    Attributes:
        item_rows: int32 ``[n]``.
        timestamps_ms: int64 ``[n]``, descending.
        weights: float32 ``[n]``.
    """

    item_rows: npt.NDArray[np.int32]
    timestamps_ms: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    _distinct: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def distinct(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the distinct items, int32 ``[m]`` ascending, and each event's position in them, int64 ``[n]``.

        Found once and kept: a history is asked again and again, at other moments.
        """
        if not self._distinct:
            items, inverse = np.unique(self.item_rows, return_inverse=True)
            self._distinct.append((items, inverse))
        return self._distinct[0]

    def before(self, timestamp_ms: int) -> "History":
        """Return the part of the history that lies strictly before a moment."""
        first = int(np.searchsorted(-self.timestamps_ms, -timestamp_ms, side="right"))
        return History(self.item_rows[first:], self.timestamps_ms[first:], self.weights[first:])
