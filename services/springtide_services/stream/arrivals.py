"""When events came, and whether those that come now are new."""

from springtide.clock import wall_ms


class Arrivals:
    """When the events of a stream came, by the wall clock. One thread notes; any thread may read.

    Args:
        restored_ms: When the checkpoint was written that the state was restored from, in milliseconds since the Unix
            epoch; None if it was not restored.

    Attributes:
        has_caught_up: Whether the lag was 0 at least once since the start: events that come from then on are new.
        read_at_ms: When events were last read; None before the first.
    """

    def __init__(self, restored_ms: int | None) -> None:
        self.has_caught_up = False
        self.read_at_ms: int | None = None
        self._restored_ms = restored_ms

    def came_ms(self, published_ms: int) -> int:
        """Return when the latest records came, in milliseconds since the Unix epoch.

        What is read again after a crash came before it: the stream's clock would jump back. Then the records' own time
        is taken, if it can be true: producers may set it to anything, such as to that of the event.

        Args:
            published_ms: The time of the last of the records.
        """
        now_ms, restored_ms = wall_ms(), self._restored_ms
        if not self.has_caught_up and restored_ms is not None and restored_ms <= published_ms <= now_ms:
            return published_ms
        return now_ms

    def note_read(self) -> None:
        """Note that events were read now."""
        self.read_at_ms = wall_ms()
