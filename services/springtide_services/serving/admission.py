"""How many requests are open, and what those are told that are too many."""

import contextlib
from collections.abc import Iterator

from springtide.errors import SpringtideError
from springtide_services.serving.batching import MOST_OF_A_PLAIN_QUERY

RETRY_AFTER_S = 1
"""When a refused client may ask again, in seconds: a server that is full at its defaults works for about as long."""

_SHARE_OF_DEAR = 0.75  # The rest is kept for plain requests, so that a burst of dear ones does not shut them out.


class OverloadedError(SpringtideError):
    """Raised when a request is refused because too many are open already; the client may try again later."""


class Admission:
    """Counts the work of open requests, and refuses a request at once where it would be too much.

    To be used from one event loop.

    Args:
        max_open: The most work that may be open, in plain requests. Those that are more work than two plain ones may
            take three quarters of it.
    """

    def __init__(self, max_open: int) -> None:
        self._max_open = max_open
        self._open = 0.0

    @contextlib.contextmanager
    def admit(self, work: float = 1.0) -> Iterator[None]:
        """Count a request as open for as long as the block takes.

        A request that is more work than all that may be open is let in if nothing else is.

        Args:
            work: How many times the work of a plain request it is, 1 or more.

        Raises:
            OverloadedError: If too much is open already.
        """
        is_plain = work <= MOST_OF_A_PLAIN_QUERY
        work, limit = (1.0, self._max_open) if is_plain else (work, _SHARE_OF_DEAR * self._max_open)
        if self._open and self._open + work > limit:
            raise overloaded(self._max_open)
        self._open += work
        try:
            yield
        finally:
            self._open -= work


def overloaded(max_open: int) -> OverloadedError:
    """Return the error of a request for which there is no room.

    Args:
        max_open: The most work that may be open, in plain requests.
    """
    return OverloadedError(
        f"too many requests are open (server.max_open_requests is {max_open:,}, and a large request counts as "
        f"several): ask again in {RETRY_AFTER_S} s"
    )
