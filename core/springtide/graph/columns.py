"""Arrays that grow: copies with spare capacity."""

import contextlib
import itertools
import math
import mmap
import platform
import sys
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from springtide.graph import kernels

T = TypeVar("T", bound=np.generic)

MIN_CAPACITY = 1_024  # Entries; smaller arrays would be copied often to save few bytes.
_MANY = 4_000_000  # Entries; the columns of as many edges take 100 MB.
_PAGES_BYTES = 2**21  # Arrays that are larger are not cut from a heap (``thread_pools.limit_heaps``).
_RESERVED = 2**18  # Entries from which on columns have pages of their own, with room for ...
_ROOM = 2**28  # ... as many: 7 GB of addresses for the columns of edges, and then for eight times as many.
_SMALL_PAGES_BYTES = 2**23  # Of a column, before it has large pages: the last one is half empty.
_APART_BYTES = 4_096 + 64  # What is at one index of several columns would else compete for the same cache lines.
_places = itertools.cycle(range(16))
_NO_RESERVE = 0x4000 if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") else 0  # MAP_NORESERVE.


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


def room_for(wanted: int, old: int) -> int:
    """Return the old capacity if it is enough, else a greater one, of ``roomy`` columns.

    Few double. Many have room that is never used up, so that they are not copied again: that takes long, and twice the
    memory.
    """
    if wanted <= old:
        return old
    return max(MIN_CAPACITY, wanted, 2 * old if wanted < _RESERVED else max(_ROOM, 8 * old))


def roomy(array: npt.NDArray[T], length: int, capacity: int) -> npt.NDArray[T]:
    """Return a copy of the first ``length`` entries with room for ``capacity``, zeros that take no memory yet.

    Raises:
        MemoryError: If there are not so many addresses, or the system counts what was not written to.
    """
    shape = (capacity, *array.shape[1:])
    num_bytes, place = math.prod(shape) * array.itemsize, _APART_BYTES * next(_places)
    if num_bytes < _PAGES_BYTES or sys.platform == "win32":
        larger = np.zeros(shape, array.dtype)
    else:
        try:
            pages = mmap.mmap(-1, place + num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
        except OSError as error:
            raise MemoryError(f"no {num_bytes:,} bytes of addresses") from error
        if num_bytes > _SMALL_PAGES_BYTES:
            with contextlib.suppress(AttributeError, OSError):  # Another system, or one without large pages.
                pages.madvise(mmap.MADV_HUGEPAGE, _SMALL_PAGES_BYTES, num_bytes - _SMALL_PAGES_BYTES)
        larger = np.frombuffer(pages, array.dtype, math.prod(shape), place).reshape(shape)
    larger[:length] = array[:length]
    return larger


def fill_with_large_pages(column: npt.NDArray[Any], length: int) -> None:
    """Let a ``roomy`` column have large pages from its beginning, before ``length`` entries are written to it at once.

    Memory that is written to for the first time costs .5 ms a MB in small pages and .1 in large ones.
    """
    if length * (column.nbytes // max(1, len(column))) <= _SMALL_PAGES_BYTES:
        return
    owner: Any = column
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if isinstance(owner, mmap.mmap):
        with contextlib.suppress(AttributeError, OSError):
            owner.madvise(mmap.MADV_HUGEPAGE, 0, _SMALL_PAGES_BYTES)


def has_own_pages(column: npt.NDArray[Any]) -> bool:
    """Return whether a ``roomy`` column is large enough to be pages of its own, not a part of a heap."""
    return column.nbytes >= _PAGES_BYTES and sys.platform != "win32"


def bytes_in_use(column: npt.NDArray[Any], length: int) -> int:
    """Return the bytes that a column takes of which ``length`` entries were written to."""
    if column.nbytes < _PAGES_BYTES or not len(column):
        return column.nbytes
    return column.nbytes // len(column) * min(length, len(column))


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
