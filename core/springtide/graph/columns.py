"""Arrays that grow: copies with spare capacity."""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from springtide.graph import kernels

T = TypeVar("T", bound=np.generic)

MIN_CAPACITY = 1_024  # Entries; smaller arrays would be copied often to save few bytes.
_MANY = 4_000_000  # Entries; the columns of as many edges take 110 MB.


def bounds(column: npt.NDArray[np.integer[Any]]) -> tuple[int, int]:
    """Return the least and the greatest number of a column ``[n]``, with n at least 1."""
    found = kernels.least_and_greatest(column)
    return (int(column.min()), int(column.max())) if found is None else found


def capacity_for(wanted: int, old: int) -> int:
    """Return the old capacity if it is enough, else a greater one, so that growing costs O(1) per entry.

    It is twice as much at least; of many entries a quarter more, or the room would be most of what they take.
    """
    if wanted <= old:
        return old
    return max(MIN_CAPACITY, wanted, old + (old if old < _MANY else old // 4))


def grown(array: npt.NDArray[T], length: int, capacity: int, fill: float | None = None) -> npt.NDArray[T]:
    """Return a copy of the first ``length`` entries with room for ``capacity``; the rest is filled or uninitialised."""
    larger = np.empty((capacity, *array.shape[1:]), array.dtype)
    larger[:length] = array[:length]
    if fill is not None:
        larger[length:] = fill
    return larger


def with_room(array: npt.NDArray[T], wanted: int, fill: float) -> npt.NDArray[T]:
    """Return the array if it has room for ``wanted`` entries, else a larger copy, the rest filled."""
    capacity = capacity_for(wanted, len(array))
    return array if capacity == len(array) else grown(array, len(array), capacity, fill)


def fitted(array: npt.NDArray[T], length: int, fill: float) -> npt.NDArray[T]:
    """Return exactly ``length`` entries: a view of the first entries, or a larger copy, the rest filled."""
    return array[:length] if len(array) >= length else grown(array, len(array), length, fill)
