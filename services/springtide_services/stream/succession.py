"""A state that is to take the place of the one that ingest writes, without a gap in what is served."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future

from springtide.events import Refusal
from springtide.state import LiveState


class Succession:
    """One state follows another: it is read up to where the former one stands, and then takes its place.

    Meanwhile the former one stays as it is, and is served. All methods are called by the ingest thread.

    Args:
        heir: The state that follows.
        publish: Makes it the one that is served; called once it has all that the former one has. Must be quick.

    Attributes:
        heir: The state that follows.
        former: The state that it follows; None until the reading begins.
        done: Done once the heir is served, or cannot be.
    """

    def __init__(self, heir: LiveState, publish: Callable[[], None]) -> None:
        self.heir = heir
        self.former: LiveState | None = None
        self.done: Future[None] = Future()
        self._publish = publish
        self._wanted: Mapping[int, int] = {}

    @property
    def has_begun(self) -> bool:
        """Whether the heir is being read."""
        return self.former is not None

    def begin(self, former: LiveState) -> None:
        """Begin to read the heir; the former state does not change any more."""
        self.former, self._wanted = former, former.next_offsets

    def end_if_reached(self) -> bool:
        """Serve the heir if it has all events that the former state has; return whether it is served."""
        if not self.heir.has_reached(self._wanted):
            return False
        self._publish()
        self.done.set_result(None)
        return True

    def fail(self, error: BaseException) -> None:
        """Give up, for a reason: the former state stays in its place."""
        self.done.set_exception(error)

    def new_refusals(self, refusals: list[Refusal]) -> list[Refusal]:
        """Return the refusals of records that the former state did not have: the others were reported then."""
        return [
            refusal for refusal in refusals if refusal.record.offset >= self._wanted.get(refusal.record.partition, 0)
        ]
