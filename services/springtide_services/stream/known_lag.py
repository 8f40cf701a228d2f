"""How far the stream is behind its end, as far as that is known, and how old the knowledge is."""

import time

from springtide_services.stream.source import Lag

MAX_LAG_AGE_S = 3.0  # A lag that is older counts as unknown: fetches wait 0.5 s for an answer.


class KnownLag:
    """The lag as last heard. One thread notes it; any thread may read it."""

    def __init__(self) -> None:
        self._heard = (Lag(None), time.monotonic())  # One reference, which is replaced.

    def note(self, lag: Lag) -> None:
        """Note the lag of now."""
        self._heard = (lag, time.monotonic())

    def forget(self) -> None:
        """Note that the lag is not known any more; it was last known when it was."""
        self._heard = (Lag(None), self._heard[1])

    def read(self) -> tuple[int, float, tuple[int, ...]]:
        """Return the number of events, -1 if that is unknown; how old that is, in seconds; and silent partitions."""
        lag, heard_s = self._heard
        age_s = lag.silence_s + time.monotonic() - heard_s
        num_events = -1 if lag.num_events is None or age_s > MAX_LAG_AGE_S else lag.num_events
        return num_events, age_s, lag.silent_partitions
