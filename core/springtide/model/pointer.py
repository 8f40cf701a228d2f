"""The pointer to the version that serves, changed by several processes at once without losing a change.

Each change creates the next of the numbered states ``pointer/000000000012.json``. A state is created once and never
written again, so of two processes that change the pointer at once, one is refused; it reads the new state and tries
again on top of it. No process holds a lock, so none can leave one behind when it dies.

``current.json`` is a copy of the newest state. Readers read only this file, one read at each look. Registries that were
written before there were numbered states hold nothing else, and software from that time finds its pointer there.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from springtide.errors import ModelError
from springtide.model.audit import AuditEntry, AuditLog, entry_name, this_actor
from springtide.numbered_states import NumberedStates, is_sealed, next_number, pause, sealed, unsealed
from springtide.storage import Storage, sha256
from springtide.token_search import Token

logger = structlog.stdlib.get_logger(__name__)

POINTER = "current.json"
MAX_PROMOTIONS = 100  # Kept in each state, for rolling back.

FOLDER = "pointer"
_NUM_STATES_KEPT = 100  # Far more than others create while a process that has read one creates the next.
_MAX_ATTEMPTS = 200


@dataclass(frozen=True, slots=True)
class _State:
    """The pointer after one change.

    Attributes:
        number: 1 for the first change.
        promotions: Versions in the order of their promotion, without those rolled back; the last is the current one.
        entry: The change's entry in the audit log.
        entry_name: The name of that entry.
        time_ns: Time of the change, nanoseconds since the Unix epoch; larger than the time of the state before.
        replaced_sha256: SHA-256 of the latest ``current.json`` without a number that the states took over; empty if
            there was none. A file with this sum has not been overwritten yet; another one without a number was
            written since, by software that knows no states.
    """

    number: int
    promotions: tuple[str, ...]
    entry: AuditEntry
    entry_name: str
    time_ns: int
    replaced_sha256: str


@dataclass(frozen=True, slots=True)
class _Copy:
    """What ``current.json`` holds.

    Attributes:
        promotions: As in the state.
        number: The state it is a copy of; 0 if software without numbered states wrote it, or it does not exist.
        sha256: Of its content; empty if it does not exist.
    """

    promotions: tuple[str, ...]
    number: int
    sha256: str


class Pointer:
    """The pointer of a registry.

    Args:
        storage: The registry's storage.
        audit: The registry's audit log, which gets one entry for each change.
    """

    def __init__(self, storage: Storage, audit: AuditLog) -> None:
        self._storage = storage
        self._audit = audit
        self._states = NumberedStates(storage, FOLDER, _NUM_STATES_KEPT, may_lack_seal=True)
        self._told: set[str] = set()

    def promotions(self) -> list[str]:
        """Return the versions in the order of their promotion, without those rolled back; the last is the current.

        Raises:
            ModelError: If the pointer cannot be read.
        """
        copy = self._read_copy()
        if copy.sha256:
            return list(copy.promotions)
        newest = self._newest()  # The copy is missing or damaged.
        return [] if newest is None else list(newest.promotions)

    def what_is_old(self) -> str:
        """Return what of the pointer earlier software has written that this one would write otherwise; or nothing.

        Raises:
            ModelError: If the pointer cannot be read.
        """
        copy = self._read_copy()
        if not copy.sha256:
            return ""
        if not copy.number:
            return "a pointer without numbered states"
        return "" if is_sealed(self._storage.read(POINTER)) else "a pointer without a checksum"

    def change(
        self, action: str, choose: Callable[[Sequence[str]], Sequence[str] | None], *, actor: str = "", reason: str = ""
    ) -> None:
        """Change the promotions, and add the change to the audit log.

        Args:
            action: Name of the change in the audit log.
            choose: Takes the promotions, and returns the new ones, at least one; or None to change nothing. It is
                called again if another process changes the pointer meanwhile.
            actor: Who makes the change; whoever runs this process if empty.
            reason: Why, in words.

        Raises:
            ModelError: If the pointer cannot be read, or other processes change it all the time.
        """
        for _ in range(_MAX_ATTEMPTS):
            copy, numbers = (
                self._read_copy(),
                self._states.numbers(),
            )  # In this order: a state exists before its copy does.
            newest = self._newest(numbers)
            is_newest = newest is not None and _is_older(copy, newest)
            before = newest.promotions if newest is not None and is_newest else copy.promotions
            after = choose(before)
            if after is None:
                if is_newest:  # The process that made the last change may have died in the middle of it.
                    self._settle()
                return
            now_ns = time.time_ns()
            if newest is not None:
                now_ns = max(now_ns, newest.time_ns + 1)
                self._audit.add(newest.entry, newest.entry_name)
            state = _State(
                number=next_number(numbers, copy.number),
                promotions=tuple(after[-MAX_PROMOTIONS:]),
                entry=AuditEntry(
                    time_ms=now_ns // 1_000_000,
                    actor=actor or this_actor(),
                    action=action,
                    from_version=before[-1] if before else "",
                    to_version=after[-1],
                    reason=reason,
                ),
                entry_name=entry_name(now_ns),
                time_ns=now_ns,
                replaced_sha256=newest.replaced_sha256 if newest is not None and is_newest else copy.sha256,
            )
            if self._states.create(state.number, dataclasses.asdict(state)):
                self._settle()
                return
            pause()
        raise ModelError(f"{self._storage.path(FOLDER)}: gave up after {_MAX_ATTEMPTS} attempts to change the pointer")

    def forget(self, token: Token) -> None:
        """Take an id out of the reasons in the states, which carry what the audit log says."""
        for number in self._states.numbers():
            with contextlib.suppress(ModelError, FileNotFoundError):
                state = self._read(number)
                if token.is_in_text(state.entry.reason):
                    entry = dataclasses.replace(state.entry, reason=token.without(state.entry.reason))
                    changed = dataclasses.asdict(dataclasses.replace(state, entry=entry))
                    self._states.rewrite(number, changed)

    def _settle(self) -> None:
        """Bring the audit log and ``current.json`` up to the newest state.

        Whoever writes ``current.json`` looks for a newer state afterwards. So the last of all writes is that of the
        newest state, in whatever order several processes come to write.
        """
        while (newest := self._newest()) is not None:
            self._audit.add(newest.entry, newest.entry_name)
            if self._read_copy().number >= newest.number:
                break
            content = {
                "current": newest.promotions[-1],
                "promotions": newest.promotions,
                "state": newest.number,
            }
            self._storage.write(POINTER, sealed(content))
        self._states.prune()

    def _newest(self, numbers: Sequence[int] | None = None) -> _State | None:
        """Return the newest state that can be read, of some numbers in ascending order or of all.

        Raises:
            ModelError: If there are some, and none can be read.
        """
        fault: ModelError | None = None
        for number in reversed(self._states.numbers() if numbers is None else numbers):
            try:
                return self._read(number)
            except ModelError as error:
                self._tell(error)
                fault = fault or error
            except FileNotFoundError:  # Deleted since, as one too many.
                continue
        if fault is not None:
            raise fault
        return None

    def _read(self, number: int) -> _State:
        with self._named_errors(self._states.name(number)):
            fields = self._states.read(number)
            return _State(
                number=number,
                promotions=tuple(str(version) for version in fields["promotions"]),
                entry=AuditEntry(**fields["entry"]),
                entry_name=str(fields["entry_name"]),
                time_ns=int(fields["time_ns"]),
                replaced_sha256=str(fields["replaced_sha256"]),
            )

    def _read_copy(self) -> _Copy:
        try:
            content = self._storage.read(POINTER)
        except FileNotFoundError:
            return _Copy((), 0, "")
        try:
            with self._named_errors(POINTER):
                fields = unsealed(content)
                promotions = tuple(str(version) for version in fields["promotions"])
                return _Copy(promotions, int(fields.get("state", 0)), sha256(content))
        except ModelError as error:
            if not self._states.numbers():
                raise
            self._tell(error)
            return _Copy((), 0, "")  # As if it were missing: the newest state has what it held.

    def _tell(self, error: ModelError) -> None:
        if str(error) not in self._told:
            self._told.add(str(error))
            logger.error("pointer_damaged", fault=str(error))

    @contextlib.contextmanager
    def _named_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"{self._storage.path(name)}: not a pointer to a model: {error!r}") from error


def _is_older(copy: _Copy, newest: _State) -> bool:
    """Return whether ``current.json`` is a copy of the newest state or of what came before it.

    It is not if software without numbered states has written it since, or if the states of the copy were deleted.
    """
    if copy.number:
        return copy.number <= newest.number
    return copy.sha256 in ("", newest.replaced_sha256)
