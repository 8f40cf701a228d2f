"""Events that break what applies them: the state may then have half of them, until a whole one takes its place."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from springtide.errors import PoisonError
from springtide.events import RawEvent
from springtide.state import LiveState

_TURN_S = 0.05


class Poison:
    """What has broken the state that is served, and what is done about it.

    Attributes:
        on_poison: Called by the ingest thread with the offset before which all poisoned events are, by partition; it
            begins to make a whole state, which takes the place of the broken one (``IngestLoop.succeed``), or calls
            ``give_up``. None ends the stream.
    """

    def __init__(self) -> None:
        self.on_poison: Callable[[Mapping[int, int]], None] | None = None
        self._until: Mapping[int, int] = {}
        self._given_up: BaseException | None = None

    def give_up(self, error: BaseException) -> None:
        """End the stream, since no whole state can take the place of the broken one; from any thread."""
        self._given_up = error

    @contextmanager
    def naming(self, state: LiveState, records: Sequence[RawEvent] = ()) -> Iterator[None]:
        """Turn whatever applying records to a state raises into a PoisonError, and note up to where they are."""
        try:
            yield
        except Exception as error:
            until = {**state.next_offsets}
            for record in records:
                until[record.partition] = max(until.get(record.partition, 0), record.offset + 1)
            self._until = until
            raise PoisonError(
                # Without its words, which may show an id of the event.
                f"applying events failed ({type(error).__name__}). The last checkpoint is read again beside "
                "the graph that is served, and what fails goes to the dead letters"
            ) from error

    def wait(self, stopping: threading.Event, is_whole: Callable[[], bool]) -> None:
        """Let a whole state be made, and wait until it is there, or until ``stopping`` is set.

        Raises:
            BaseException: What ``give_up`` was given.
        """
        assert self.on_poison is not None, "the caller has looked"
        self._given_up = None
        self.on_poison(self._until)
        while not stopping.is_set() and not is_whole():
            if self._given_up is not None:
                raise self._given_up
            stopping.wait(_TURN_S)
