"""Guards of a server against parts of plugins: one that raises, answers nonsense or blocks is gone without.

A part that others wrote is called in a thread of its own, so that whoever waits can go on without an answer: nothing
else ends a call into compiled code. That costs two hand-overs between threads. Built-in parts are called as they are.
"""

import contextvars
import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NoReturn, TypeVar

import structlog

from springtide.clock import Deadline, wall_ms
from springtide.errors import BypassedError
from springtide.plugins.part import Part, reason_of

logger = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")
Fault = Literal["raised", "wrong", "blocked"]

_FIRST_REST_S = 10.0  # After a call that has blocked, doubled by each one: each holds up whoever waits for it.
_MAX_REST_S = 600.0
_MAX_STUCK = 4  # Threads of one part whose calls have not returned: no further call is begun.
_BLOCKED_S = 10.0  # Of a call that nobody may go without, such as learning from events: longer, and it is told.


@dataclass(frozen=True, slots=True)
class PartTrouble:
    """A part that has failed in one of its hooks.

    Attributes:
        part: Kind and name.
        origin: Distribution and version, or the module or file.
        hook: The method.
        fault: ``raised``, ``wrong`` (it answered nonsense) or ``blocked``.
        reason: The last failure, in words.
        num_failed: How many calls have failed so.
        latest_ms: When the last one did, milliseconds since the Unix epoch.
        is_blocked: Whether a call is blocked right now.
    """

    part: str
    origin: str
    hook: str
    fault: Fault
    reason: str
    num_failed: int
    latest_ms: int
    is_blocked: bool = False


def is_guarded(part: object) -> bool:
    """Return whether a part stands behind a guard (``guarded_parts.guarded``)."""
    return hasattr(type(part), "guard")


def is_broken(part: object) -> bool:
    """Return whether a part behind a guard lacks something that it should have learned, and is set aside for good."""
    return bool(getattr(type(part), "is_broken", False) or getattr(part, "__dict__", {}).get("is_broken", False))


class Guards:
    """The guards of one server's parts.

    Args:
        max_call_s: The longest time that a call may take while somebody waits, in seconds.
    """

    def __init__(self, max_call_s: float) -> None:
        self._max_call_s = max_call_s
        self._guards: dict[tuple[str, str], Guard] = {}
        self._lock = threading.Lock()

    def of(self, part: Part) -> "Guard":
        """Return the guard of a part, the same one each time."""
        with self._lock:
            key = part.kind, part.name
            if key not in self._guards:
                self._guards[key] = Guard(part, self._max_call_s)
            return self._guards[key]

    @property
    def may_hold_up(self) -> bool:
        """Whether an answer may take as long as ``max_call_s``, since a part is guarded that answers ask."""
        return any(kind != "decoder" for kind, _ in self._guards)

    @property
    def num_bypassed(self) -> Mapping[str, int]:
        """How many answers went without a part, by kind and name of the part."""
        return {str(guard.part): guard.num_bypassed for guard in list(self._guards.values()) if guard.num_bypassed}

    def troubles(self) -> list[PartTrouble]:
        """Return what parts have failed in, or are blocked in."""
        return [trouble for guard in list(self._guards.values()) for trouble in guard.troubles()]

    def blocked_in(self, *hooks: str) -> PartTrouble | None:
        """Return a part that is blocked in one of some hooks, or None."""
        blocked = (trouble for trouble in self.troubles() if trouble.is_blocked and trouble.hook in hooks)
        return next(blocked, None)


class Guard:
    """Calls the hooks of one part, and notes how they fail.

    Args:
        part: The part.
        max_call_s: The longest time that a call may take while somebody waits, in seconds.

    Attributes:
        num_bypassed: How many answers went without the part.
    """

    def __init__(self, part: Part, max_call_s: float) -> None:
        self.part = part
        self.num_bypassed = 0
        self._max_call_s = max_call_s
        self._threads = _Threads(str(part))
        self._troubles: dict[tuple[str, Fault], PartTrouble] = {}
        self._lock = threading.Lock()
        self._rest = Deadline.after(0.0)
        self._rest_s = _FIRST_REST_S
        self._under_way: dict[int, tuple[str, Deadline, int]] = {}  # Hook, when it is too late, and since when.
        self._numbers = itertools.count()

    def call(
        self,
        hook: str,
        function: Callable[[], T],
        refusal: Callable[[T], str | None] = lambda answer: None,
        at_most_s: float | None = None,
    ) -> T:
        """Return what a call returns, if it does in time.

        Args:
            hook: Name of the method.
            function: The call.
            refusal: Returns what is wrong with an answer, None if nothing is; it runs in the same thread.
            at_most_s: The longest time that it may take, in seconds; None for ``max_call_s``. A call with a time of its
                own is made even if the part rests.

        Raises:
            BypassedError: If it raises, answers nonsense or does not return, or has blocked before and rests.
        """
        if self._threads.is_own():  # The part calls itself.
            return function()
        if at_most_s is None and (not self._rest.is_over() or self._threads.num_busy >= _MAX_STUCK):
            self._bypass(f"{self.part} rests since it has blocked")
        limit_s = self._max_call_s if at_most_s is None else at_most_s
        outcome = self._threads.run(lambda: _checked(function, refusal), limit_s)
        if outcome is None:
            self._note(hook, "blocked", f"no answer within {limit_s:g} s")
            with self._lock:
                self._rest, self._rest_s = Deadline.after(self._rest_s), min(2 * self._rest_s, _MAX_REST_S)
            self._bypass(f"{self.part} blocks in {hook}")
        if isinstance(outcome.answer, _Wrong):
            self._note(hook, "wrong", outcome.answer.words)
            self._bypass(outcome.answer.words)
        if outcome.error is not None:
            self._note(hook, "raised", f"{type(outcome.error).__name__}: {reason_of(outcome.error)}", outcome.error)
            raise self._bypassing(str(outcome.error)) from outcome.error
        answer: T = outcome.answer
        return answer

    def bypass_broken(self) -> None:
        """Count a call that was done without, since the part was set aside for good."""
        with self._lock:
            self.num_bypassed += 1

    @contextmanager
    def watching(self, hook: str) -> Iterator[None]:
        """Note that a hook is called that nobody can go without; one that blocks is told by ``troubles``."""
        number = next(self._numbers)
        self._under_way[number] = hook, Deadline.after(_BLOCKED_S), wall_ms()
        try:
            yield
        finally:
            del self._under_way[number]

    def troubles(self) -> list[PartTrouble]:
        """Return what the part has failed in, or is blocked in."""
        for number, (hook, too_late, since_ms) in list(self._under_way.items()):
            if too_late.is_over() and number in self._under_way:
                self._note_blocked(hook, since_ms)
        blocked = {hook for hook, too_late, _ in list(self._under_way.values()) if too_late.is_over()}
        rests = not self._rest.is_over()
        with self._lock:
            return [
                replace(each, is_blocked=each.fault == "blocked" and (each.hook in blocked or rests))
                for each in self._troubles.values()
            ]

    def _note_blocked(self, hook: str, since_ms: int) -> None:
        former = self._troubles.get((hook, "blocked"))
        if former is None or former.latest_ms != since_ms:
            self._note(hook, "blocked", f"it does not return, for more than {_BLOCKED_S:g} s", at_ms=since_ms)

    def _bypass(self, reason: str) -> NoReturn:
        raise self._bypassing(reason)

    def _bypassing(self, reason: str) -> BypassedError:
        with self._lock:
            self.num_bypassed += 1
        return BypassedError(reason)

    def _note(
        self, hook: str, fault: Fault, reason: str, error: Exception | None = None, at_ms: int | None = None
    ) -> None:
        with self._lock:
            former = self._troubles.get((hook, fault))
            num_failed = 1 if former is None else former.num_failed + 1
            words = str(self.part), self.part.origin
            latest_ms = wall_ms() if at_ms is None else at_ms
            self._troubles[hook, fault] = PartTrouble(*words, hook, fault, reason, num_failed, latest_ms)
        if former is None:  # Once for each: a part that always fails would fill the log.
            logger.error(
                "part_failed", part=words[0], origin=words[1], hook=hook, fault=fault, reason=reason, exc_info=error
            )


@dataclass(frozen=True, slots=True)
class _Wrong:
    words: str


@dataclass(slots=True)
class _Outcome:
    answer: Any = None
    error: Exception | None = None


class _Threads:
    """Daemon threads for the calls of one part: the end of the process waits for none that is stuck."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: queue.SimpleQueue[_Caller] = queue.SimpleQueue()
        self._own: set[int] = set()
        self._lock = threading.Lock()
        self.num_busy = 0

    def is_own(self) -> bool:
        """Return whether this thread is one of them."""
        return threading.get_ident() in self._own

    def run(self, function: Callable[[], Any], at_most_s: float) -> _Outcome | None:
        """Return how a call ended; None if it did not in that time."""
        try:
            caller = self._idle.get_nowait()
        except queue.Empty:
            caller = _Caller(self._name, self._own)
        with self._lock:
            self.num_busy += 1
        function = partial(contextvars.copy_context().run, function)  # NumPy's way with bad numbers is in it.
        return caller.run(function, at_most_s, lambda: self._returned(caller))

    def _returned(self, caller: "_Caller") -> None:
        with self._lock:
            self.num_busy -= 1
        self._idle.put(caller)


class _Caller:
    """A thread that makes one call after the other."""

    def __init__(self, name: str, own: set[int]) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._own = own
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def run(self, function: Callable[[], Any], at_most_s: float, returned: Callable[[], None]) -> _Outcome | None:
        answers: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()

        def work() -> None:
            outcome = _Outcome()
            try:
                outcome.answer = function()
            except Exception as error:  # Another's code may raise anything.
                outcome.error = error
            returned()
            answers.put(outcome)

        self._work.put(work)
        try:
            return answers.get(timeout=at_most_s)
        except queue.Empty:
            return None

    def _run(self) -> None:
        self._own.add(threading.get_ident())
        while True:
            self._work.get()()


def _checked(function: Callable[[], Any], refusal: Callable[[Any], str | None]) -> Any:
    answer = function()
    words = refusal(answer)
    return answer if words is None else _Wrong(words)
