"""Numbered states in a folder: each is created once, sealed by its SHA-256, and follows the one before.

Of two processes that make the next state at once, one is refused; it reads the new state and tries again on top of it.
No process holds a lock, so none can leave one behind when it dies.
"""

import json
import random
import time
from collections.abc import Sequence
from typing import Any

from springtide.storage import Storage, sha256

_SEAL = "sha256"
_DIGITS = 12  # A state's number in its file name: names sort by number.
_MAX_PAUSE_S = 0.02  # Between two attempts, so that processes that collided once do not do so again.

_pauses = random.Random()  # Not the global generator, which may have been seeded for a training.


class NumberedStates:
    """The states in one folder, ``folder/000000000012.json``.

    Args:
        storage: Where the folder is.
        folder: Its name.
        keep: How many to keep: far more than others create while a process that has read one creates the next.
        may_lack_seal: Whether software of before there were seals has written some.
    """

    def __init__(self, storage: Storage, folder: str, keep: int, *, may_lack_seal: bool = False) -> None:
        self._storage = storage
        self._may_lack_seal = may_lack_seal
        self._folder = folder
        self._keep = keep

    def path(self, number: int) -> str:
        """Return a state's full path or URL, for messages."""
        return self._storage.path(self.name(number))

    def name(self, number: int) -> str:
        """Return the name of a state's file."""
        return f"{self._folder}/{number:0{_DIGITS}d}.json"

    def numbers(self) -> list[int]:
        """Return the numbers of all states, ascending."""
        names = (name.removesuffix(".json") for name in self._storage.list(self._folder))
        return sorted(int(name) for name in names if name.isascii() and name.isdecimal())

    def has(self, number: int) -> bool:
        """Return whether there is a state of this number."""
        return self._storage.exists(self.name(number))

    def read(self, number: int) -> dict[str, Any]:
        """Return a state's fields.

        Raises:
            FileNotFoundError: If there is none of this number.
            ValueError: If it is not JSON, or damaged.
        """
        content = self._storage.read(self.name(number))
        if not self._may_lack_seal and not is_sealed(content):
            raise ValueError("damaged: wanted a SHA-256, got none")
        return unsealed(content)

    def create(self, number: int, fields: dict[str, Any]) -> bool:
        """Create a state, and return whether no other process has created one with its number."""
        try:
            self._storage.create(self.name(number), sealed(fields))
        except FileExistsError:
            # It may be ours: a client of an object store repeats a request whose answer was lost.
            try:
                found, wanted = self.read(number), json.loads(json.dumps(fields))
            except (ValueError, FileNotFoundError):  # Damaged, or gone: the next attempt passes it over.
                return False
            return bool(found == wanted)
        return True

    def rewrite(self, number: int, fields: dict[str, Any]) -> None:
        """Write a state in the place of the one of its number, to take out what is forgotten."""
        self._storage.write(self.name(number), sealed(fields))

    def prune(self) -> None:
        """Delete all but the newest."""
        for number in self.numbers()[: -self._keep]:
            self._storage.delete(self.name(number))


def next_number(numbers: Sequence[int], at_least: int = 0) -> int:
    """Return the number after the newest, also after those that cannot be read.

    Args:
        numbers: Numbers of the states.
        at_least: A number that is known to have been used.
    """
    return 1 + max(at_least, *numbers, 0)


def pause() -> None:
    """Wait for a moment, before another attempt."""
    time.sleep(_pauses.uniform(0, _MAX_PAUSE_S))


def sealed(fields: dict[str, Any]) -> bytes:
    """Return JSON that carries its own SHA-256."""
    return json.dumps({**fields, _SEAL: _sum_of(fields)}, indent=2, sort_keys=True).encode()


def unsealed(content: bytes) -> dict[str, Any]:
    """Return what ``sealed`` was given, or JSON of before there were seals.

    Raises:
        ValueError: If it is not JSON, or damaged.
    """
    fields: dict[str, Any] = dict(json.loads(content))
    wanted = fields.pop(_SEAL, None)
    if wanted is not None and (found := _sum_of(fields)) != wanted:
        raise ValueError(f"damaged: wanted SHA-256 {wanted}, got {found}")
    return fields


def is_sealed(content: bytes) -> bool:
    """Return whether JSON carries its SHA-256, right or wrong.

    Raises:
        ValueError: If it is not JSON.
    """
    return _SEAL in json.loads(content)


def _sum_of(fields: dict[str, Any]) -> str:
    return sha256(json.dumps(fields, sort_keys=True).encode())
