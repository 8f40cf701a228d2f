"""The store of rules, scenarios and experiments: versions that several processes change at once, and who changed what.

Each change creates the next of the numbered states ``versions/000000000012.json``, which holds all that steers, and the
change itself. ``changes/000000000012.json`` is a copy of the change, which stays when the version has gone. A process
that dies between the two leaves the copy to whoever changes or lists next.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from springtide.clock import wall_ms
from springtide.errors import SteeringError
from springtide.model.audit import this_actor
from springtide.numbered_states import NumberedStates, next_number, pause
from springtide.settings.model import Settings
from springtide.steering.editing import changes_between
from springtide.steering.forgetting import json_without, steering_without
from springtide.steering.values import (
    NO_STEERING,
    Experiment,
    QuerySteering,
    Rule,
    Scenario,
    Steering,
    Variant,
)
from springtide.storage import Storage
from springtide.token_search import Token

logger = structlog.stdlib.get_logger(__name__)

_MAX_ATTEMPTS = 200
_NOT_ONE = (ValueError, TypeError, KeyError, AttributeError)  # What reading a file raises that is no version.
_ABANDONED_S = 3_600.0  # After that, a temporary file is that of a process that was killed.


@dataclass(frozen=True, slots=True)
class SteeringChange:
    """One change.

    Attributes:
        version: The version that it made.
        time_ms: When, milliseconds since the Unix epoch.
        actor: Who made it.
        reason: Why, in words; empty if none was given.
        changes: What changed, a sentence each.
    """

    version: int
    time_ms: int
    actor: str
    reason: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredSteering:
    """What the store holds.

    Attributes:
        steering: The newest version that can be read; that of no change if there is none.
        newest: Number of the newest version, whether it can be read or not; 0 if there is none.
        fault: Why the newest version cannot be read; empty if it can.
    """

    steering: Steering
    newest: int
    fault: str = ""


class SteeringStore:
    """Versions of rules, scenarios and experiments at one URL. Any number of processes may read and change them.

    Args:
        url: A local folder, or an fsspec URL.
        keep: How many versions to keep, at least 10; the list of changes is kept whole.

    Raises:
        SteeringError: If ``keep`` is below 10.
    """

    def __init__(self, url: str, keep: int = 100) -> None:
        if keep < 10:
            raise SteeringError(f"keep: wanted at least 10 versions, got {keep}")
        self.url = url
        self._storage = Storage(url)
        self._versions = NumberedStates(self._storage, "versions", keep)
        self._changes = NumberedStates(self._storage, "changes", keep)
        self._told: set[str] = set()

    @classmethod
    def of(cls, settings: Settings) -> "SteeringStore":
        """Return the store that settings name."""
        return cls(url_of(settings), settings.steering.keep)

    def load(self) -> StoredSteering:
        """Return the newest version that can be read; what cannot is logged once, and named in the answer."""
        return self._load()[0]

    def has(self, number: int) -> bool:
        """Return whether there is a version of this number: a quicker look for news than ``load``."""
        return self._versions.has(number)

    def change(
        self, choose: Callable[[Steering], Steering], *, actor: str = "", reason: str = "", seen: int = 0
    ) -> tuple[Steering, tuple[str, ...]]:
        """Change what steers, and note the change; nothing is written if nothing differs.

        Args:
            choose: Takes what steers now, and returns what shall; its ``version`` does not count. It is called again
                if another process makes a change meanwhile. What it raises leaves all as it is.
            actor: Who makes the change; whoever runs this process if empty.
            reason: Why, in words.
            seen: A version that is known to have been: if somebody has emptied the folder, the next one comes after it.

        Returns:
            What steers then, and what has changed, a sentence each.

        Raises:
            SteeringError: If other processes make changes all the time.
        """
        for _ in range(_MAX_ATTEMPTS):
            stored, last = self._load()
            after = choose(stored.steering)
            changes = changes_between(stored.steering, after)
            if last is not None:
                self._note(last)  # The process that made the last change may have died in the middle of it.
            if not changes:
                return stored.steering, ()
            if stored.fault:
                instead = f"version {stored.steering.version}" if stored.steering.version else "nothing"
                changes.append(f"Version {stored.newest} was damaged and is left out; this was made from {instead}.")
            number = next_number([stored.newest], seen)
            change = SteeringChange(number, wall_ms(), actor or this_actor(), reason, tuple(changes))
            after = dataclasses.replace(after, version=number)
            if self._versions.create(number, {"steering": to_json(after), "change": dataclasses.asdict(change)}):
                self._note(change)
                self._prune()
                return after, change.changes
            pause()
        raise SteeringError(f"{self.url}: gave up after {_MAX_ATTEMPTS} attempts to change it")

    def changes(self, limit: int, before: int | None = None) -> list[SteeringChange]:
        """Return the latest changes, newest first; one that cannot be read stands in the list as such.

        Args:
            limit: How many at most.
            before: Only those that made an earlier version than this one; None for all.
        """
        _, last = self._load()
        with contextlib.suppress(OSError):  # It may be that this process may only read.
            if last is not None:
                self._note(last)
        numbers = self._changes.numbers()
        if last is not None and last.version not in numbers:
            numbers.append(last.version)
        wanted = [number for number in reversed(numbers) if before is None or number < before][:limit]
        return [last if last and number == last.version else self._read_change(number) for number in wanted]

    def forget(self, token: Token) -> int:
        """Take an id out of what steers, out of all versions, and out of what was changed and why.

        What steers without it is the next version, which servers follow.

        Args:
            token: The id.

        Returns:
            In how many files it was.

        Raises:
            SteeringError: If other processes make changes all the time.
        """

        def without(steering: Steering) -> dict[str, Any]:
            found: dict[str, Any] = json_without(_plain(to_json(steering_without(steering, token))), token)
            return found

        self.change(lambda steering: from_json(without(steering)), reason="an id was forgotten")
        num_changed = 0
        for states in (self._versions, self._changes):
            for number in states.numbers():
                try:
                    before = states.read(number)
                    after = dict(before)
                    if "steering" in before:
                        after["steering"] = without(from_json(before["steering"]))
                except (*_NOT_ONE, FileNotFoundError):  # Damaged, which is told elsewhere, or just deleted.
                    continue
                after = json_without(after, token)
                if after != before:
                    states.rewrite(number, after)
                    num_changed += 1
        return num_changed

    def _load(self) -> tuple[StoredSteering, SteeringChange | None]:
        numbers = self._versions.numbers()
        newest, fault = max(numbers, default=0), ""
        for number in reversed(numbers):
            try:
                with self._named_errors(number):
                    fields = self._versions.read(number)
                    steering, change = from_json(fields["steering"]), _change_of(fields["change"])
            except SteeringError as error:
                self._tell(error)
                fault = fault or str(error)
            except FileNotFoundError:  # Deleted since, as one too many.
                continue
            else:
                return StoredSteering(steering, *self._missing_after(newest, fault)), change
        return StoredSteering(NO_STEERING, *self._missing_after(newest, fault)), None

    def _missing_after(self, newest: int, fault: str) -> tuple[int, str]:
        """Return the newest number that a change has used, and what is wrong: a version may be missing."""
        while self._changes.has(newest + 1) and not self._versions.has(newest + 1):
            newest += 1
            error = SteeringError(f"{self._versions.path(newest)}: missing")
            self._tell(error)
            fault = fault or str(error)
        return newest, fault

    def _note(self, change: SteeringChange) -> None:
        if not self._changes.has(change.version):
            self._changes.create(change.version, dataclasses.asdict(change))

    def _read_change(self, number: int) -> SteeringChange:
        try:
            return _change_of(self._changes.read(number))
        except (*_NOT_ONE, FileNotFoundError) as error:
            reason = f"{self._changes.path(number)}: not a change of what steers: {error!r}"
            return SteeringChange(number, 0, "", "", (f"Unreadable: {reason}",))

    def _prune(self) -> None:
        self._versions.prune()
        for folder in ("versions", "changes"):
            self._storage.delete_unfinished(folder, _ABANDONED_S)

    def _tell(self, error: SteeringError) -> None:
        if str(error) not in self._told:
            self._told.add(str(error))
            logger.error("steering_damaged", fault=str(error))

    @contextlib.contextmanager
    def _named_errors(self, number: int) -> Iterator[None]:
        try:
            yield
        except _NOT_ONE as error:
            raise SteeringError(f"{self._versions.path(number)}: not a version of what steers: {error!r}") from error


def url_of(settings: Settings) -> str:
    """Return where settings keep what steers: ``steering.url``, or the folder ``steering`` beside the registry."""
    if settings.steering.url:
        return settings.steering.url
    parent, separator, _ = settings.model.url.rstrip("/").rpartition("/")
    return f"{parent}{separator}steering"


def to_json(steering: Steering) -> dict[str, Any]:
    """Return a steering as what JSON can hold; the order of sequences is kept, that of keys is not needed."""
    return {
        "rules": [dataclasses.asdict(rule) for rule in steering.rules],
        "scenarios": [dataclasses.asdict(scenario) for scenario in steering.scenarios.values()],
        "experiments": [dataclasses.asdict(experiment) for experiment in steering.experiments],
        "version": steering.version,
    }


def from_json(fields: Mapping[str, Any]) -> Steering:
    """Return what ``to_json`` was given.

    Raises:
        TypeError, ValueError, KeyError, AttributeError: If it is not of that form.
    """
    scenarios = [
        Scenario(**{**_with_tuples(each), "steering": QuerySteering(**_with_tuples(each["steering"]))})
        for each in fields["scenarios"]
    ]
    return Steering(
        rules=tuple(Rule(**_with_tuples(each)) for each in fields["rules"]),
        scenarios={scenario.name: scenario for scenario in scenarios},
        experiments=tuple(
            Experiment(
                **{
                    **_with_tuples(each),
                    "variants": tuple(Variant(**_with_tuples(variant)) for variant in each["variants"]),
                }
            )
            for each in fields["experiments"]
        ),
        version=int(fields["version"]),
    )


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields as they are read from JSON, lists in the place of tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(fields))
    return plain


def _change_of(fields: Mapping[str, Any]) -> SteeringChange:
    return SteeringChange(**_with_tuples(fields))


def _with_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _as_tuple(value) for name, value in fields.items()}


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
