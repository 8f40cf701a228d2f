"""What was made of other objects, kept as long as these are the same ones."""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")

_MAX_BYTES = 64 * 2**20
_MAX_KEPT = 256


class Kept(Generic[T]):
    """A cache by the identity of what something was made of, and by a version. The oldest leave it first.

    Any thread may call any method: at worst something is made twice.
    """

    __slots__ = ("_entries", "_num_bytes")

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[int, ...], tuple[tuple[object, ...], object, T, int]] = OrderedDict()
        self._num_bytes = 0

    def get(self, made_of: tuple[object, ...], version: object) -> T | None:
        """Return what was made of these very objects at a version; None if it is not there."""
        found = self._entries.get(tuple(map(id, made_of)))
        # The entry holds the objects, so that no other has their ids meanwhile.
        return None if found is None or found[1] != version else found[2]

    def keep(self, made_of: tuple[object, ...], version: object, made: T, num_bytes: int) -> None:
        """Keep what was made, which takes so many bytes."""
        key = tuple(map(id, made_of))
        former = self._entries.pop(key, None)
        self._entries[key] = made_of, version, made, num_bytes
        self._num_bytes += num_bytes - (0 if former is None else former[3])
        while len(self._entries) > 1 and (self._num_bytes > _MAX_BYTES or len(self._entries) > _MAX_KEPT):
            try:
                _, (_, _, _, dropped) = self._entries.popitem(last=False)
            except KeyError:  # Another thread has dropped the last one.
                break
            self._num_bytes -= dropped
