"""Arrays that grow: copies with room, and the amount of room."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)

MIN_CAPACITY = 1_024  # Entries; below it, doubling costs more calls than bytes.


def capacity_for(wanted: int, old: int) -> int:
    """Return the old capacity if it is enough, else at least its double: so growing costs O(1) an entry."""
    return old if wanted <= old else max(MIN_CAPACITY, 2 * old, wanted)


def grown(array: npt.NDArray[T], length: int, capacity: int, fill: float | None = None) -> npt.NDArray[T]:
    """Return a copy of the first ``length`` entries with room for ``capacity``, the rest filled or left as it comes."""
    larger = np.empty((capacity, *array.shape[1:]), array.dtype)
    larger[:length] = array[:length]
    if fill is not None:
        larger[length:] = fill
    return larger


def with_room(array: npt.NDArray[T], wanted: int, fill: float) -> npt.NDArray[T]:
    """Return the array if it has room for ``wanted`` entries, else a copy that has, the rest filled."""
    capacity = capacity_for(wanted, len(array))
    return array if capacity == len(array) else grown(array, len(array), capacity, fill)


def fitted(array: npt.NDArray[T], length: int, fill: float) -> npt.NDArray[T]:
    """Return exactly ``length`` entries: the array's first ones, or a copy of all of them, the rest filled."""
    return array[:length] if len(array) >= length else grown(array, len(array), length, fill)
