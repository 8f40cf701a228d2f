"""When a call is tried again, and when not."""

import random
from dataclasses import dataclass

import grpc

from springtide.client.errors import CallError, call_error_of
from springtide.clock import Deadline

_MAX_DOUBLINGS = 30  # More would overflow long before they mattered.


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and after which pauses, a call is tried again. All calls of the client only read, so all may be.

    A call is tried again if no server has taken it (UNAVAILABLE), or if the server says when to come again
    (RESOURCE_EXHAUSTED with ``retry-after``); never after its deadline, nor once answers of a stream have begun. The
    pause is at random between 0 and its bound, which doubles each time, so that clients do not come back all at once;
    what the server asked for is added.

    Attributes:
        max_tries: Most tries of a call, the first one included; 1 tries nothing again.
        first_pause_s: Bound of the first pause, in seconds.
        max_pause_s: Bound of any pause, in seconds, before what the server asks for.
        budget: How many tries may fail in a row, over all calls of a client, before it tries nothing again: a server
            that is down gets no more calls than without retries. Half of it stops them; each call that succeeds gives a
            tenth of a try back.

    Raises:
        ValueError: If one of them is out of its range.
    """

    max_tries: int = 4
    first_pause_s: float = 0.1
    max_pause_s: float = 2.0
    budget: float = 20.0

    def __post_init__(self) -> None:
        if self.max_tries < 1 or self.budget < 1:
            raise ValueError(f"max_tries, budget: wanted 1 or more, got {self.max_tries}, {self.budget}")
        if not 0 < self.first_pause_s <= self.max_pause_s:
            raise ValueError(
                f"first_pause_s, max_pause_s: wanted 0 < first <= max, got {self.first_pause_s}, {self.max_pause_s}"
            )

    def pause_s(self, num_tries: int, retry_after_s: float | None, share: float) -> float:
        """Return how long to wait before the next try.

        Args:
            num_tries: How many tries have failed, from 1.
            retry_after_s: What the server asked for; None if it did not.
            share: A random number, 0 to 1.
        """
        bound_s = min(self.max_pause_s, self.first_pause_s * 2.0 ** min(num_tries - 1, _MAX_DOUBLINGS))
        return (retry_after_s or 0.0) + float(bound_s * share)


class RetryBudget:
    """Counts failures against successes over all calls of a client; any thread may call.

    Args:
        budget: As in ``Retries``.
    """

    _GIVEN_BACK = 0.1

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._left = budget

    def note_success(self) -> None:
        """Note a call that was answered."""
        if self._left < self._budget:
            self._left = min(self._budget, self._left + self._GIVEN_BACK)

    def note_failure(self) -> None:
        """Note a try that has failed."""
        self._left = max(0.0, self._left - 1.0)

    def has_some(self) -> bool:
        """Return whether something may be tried again."""
        return self._left > self._budget / 2


class Tries:
    """The tries of one call.

    Args:
        policy: How often, and after which pauses.
        budget: That of the client.
        timeout_s: How long all tries together may take.
    """

    def __init__(self, policy: Retries, budget: RetryBudget, timeout_s: float) -> None:
        self._policy = policy
        self._budget = budget
        self._deadline = Deadline.after(timeout_s)
        self._num = 1

    def left_s(self) -> float:
        """Return the seconds that the next try may take."""
        return self._deadline.remaining_s()

    def note_success(self) -> None:
        """Note that the call was answered."""
        self._budget.note_success()

    def pause_s(self, error: grpc.RpcError, *, is_begun: bool = False) -> float:
        """Return how long to wait before the call is tried again.

        Args:
            error: What the last try has failed with.
            is_begun: Whether a part of the answer has come.

        Raises:
            CallError: If the call is not tried again.
        """
        failed = call_error_of(error, self._num)
        if not _helps(failed):
            raise failed from error
        self._budget.note_failure()
        if is_begun or self._num >= self._policy.max_tries or not self._budget.has_some():
            raise failed from error
        pause_s = self._policy.pause_s(self._num, failed.retry_after_s, random.random())
        if pause_s >= self.left_s():
            raise failed from error
        self._num += 1
        return pause_s


def _helps(failed: CallError) -> bool:
    """Return whether another try may be answered."""
    if failed.code == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return failed.retry_after_s is not None  # Else the request is too large, and will be again.
    return failed.code == grpc.StatusCode.UNAVAILABLE
