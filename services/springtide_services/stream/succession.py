"""The state that ingest writes, and another one that may take its place, without a gap in what is served."""

import contextlib
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from springtide.clock import Deadline
from springtide.errors import RebuildError
from springtide.events import Refusal
from springtide.state import LiveState

_MAX_PASSING_S = 60.0  # Meanwhile the state that is served stays as it is.


@dataclass(eq=False, slots=True)
class _Heir:
    state: LiveState
    publish: Callable[[], None]
    done: Future[None] = field(default_factory=Future)


@dataclass(eq=False, slots=True)
class _Passing:
    heir: _Heir
    former: LiveState
    wanted: Mapping[int, int]  # Next offsets that the heir must reach: those of the former state.
    giving_up: Deadline


class Succession:
    """One state may follow another: it is read up to where the former one stands, and then takes its place.

    Meanwhile the former one is served. ``ask`` and ``served`` are for any thread, all else for the ingest thread.

    Args:
        state: The first state.

    Attributes:
        current: The state that events are applied to.
    """

    def __init__(self, state: LiveState) -> None:
        self.current = state
        self._asked: queue.SimpleQueue[_Heir] = queue.SimpleQueue()
        self._passing: _Passing | None = None

    @property
    def served(self) -> LiveState:
        """The state that is served."""
        passing = self._passing
        return self.current if passing is None else passing.former

    @property
    def is_passing(self) -> bool:
        """Whether another state is being read that is to take the place of the one that is served."""
        return self._passing is not None

    @property
    def is_asked(self) -> bool:
        """Whether there is a state that ``begin`` would begin to read."""
        return self._passing is None and not self._asked.empty()

    def ask(self, heir: LiveState, publish: Callable[[], None]) -> Future[None]:
        """Let a state follow.

        Args:
            heir: The state.
            publish: Makes it the one that is served; called once it has all that the former one has. Must be quick.

        Returns:
            Done once the heir is served; or with the error for which it is not.
        """
        asked = _Heir(heir, publish)
        self._asked.put(asked)
        return asked.done

    def begin(self) -> bool:
        """Begin to read a state that is to follow, if there is one; return whether there is."""
        if not self.is_asked:
            return False
        heir, former = self._asked.get_nowait(), self.current
        is_same_topic = _topic_of(former) == _topic_of(heir.state)
        wanted = former.next_offsets if is_same_topic else {}  # Offsets of another topic mean nothing in this one.
        self._passing = _Passing(heir, former, wanted, Deadline.after(_MAX_PASSING_S))
        self.current = heir.state
        return True

    def end_if_reached(self) -> bool:
        """Serve the heir if it has all events that the former state has; return whether that is so now."""
        passing = self._passing
        if passing is None or not self.current.has_reached(passing.wanted):
            return False
        self._passing = None
        self.current.keep_time_of(passing.former.graph.newest_ms, passing.former.clock.behind_ms)
        passing.heir.publish()
        passing.heir.done.set_result(None)
        return True

    def is_late(self) -> bool:
        """Return whether the heir has not had the former state's events for so long that it should be given up."""
        return self._passing is not None and self._passing.giving_up.is_over()

    def give_up(self, error: BaseException) -> bool:
        """Go on with the former state if another one is being read; return whether that is so."""
        passing = self._passing
        if passing is None:
            return False
        self.current, self._passing = passing.former, None
        passing.heir.done.set_exception(error)
        return True

    def refuse(self, reason: str) -> None:
        """Refuse the states that were to follow and are not being read yet."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._asked.get_nowait().done.set_exception(RebuildError(reason))

    def new_refusals(self, refusals: list[Refusal]) -> list[Refusal]:
        """Return the refusals of records that the former state did not have: the others were reported then."""
        if self._passing is None:
            return refusals
        wanted = self._passing.wanted
        return [refusal for refusal in refusals if refusal.record.offset >= wanted.get(refusal.record.partition, 0)]


def _topic_of(state: LiveState) -> tuple[str, str]:
    position = state.position
    return ("", "") if position is None else (position.topic, position.topic_id)
