"""How often: requests of a token, and failures of a peer; both bounded in memory."""

from collections import OrderedDict

_MAX_KEYS = 10_000


class RequestRates:
    """A bucket for each token, which holds the requests of one second and fills up evenly.

    To be used from one event loop.
    """

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # Requests left, and when, by token.

    def wait_s(self, token_id: str, requests_per_s: float, now_s: float) -> float:
        """Count a request, and return 0; or return in how many seconds there will be room for it.

        Args:
            token_id: Whose request it is.
            requests_per_s: The most that it may send; one request is always allowed after a pause long enough.
            now_s: Monotonic time.
        """
        most = max(1.0, requests_per_s)
        left, at_s = self._buckets.get(token_id, (most, now_s))
        left = min(most, left + (now_s - at_s) * requests_per_s)
        is_granted = left >= 1.0
        self._buckets[token_id] = (left - 1.0 if is_granted else left), now_s
        self._buckets.move_to_end(token_id)
        if len(self._buckets) > _MAX_KEYS:
            self._buckets.popitem(last=False)
        return 0.0 if is_granted else (1.0 - left) / requests_per_s


class Failures:
    """Counts failures by peer, and says how long the next answer to one is to wait.

    The first few are answered at once: somebody mistypes. Each minute without one halves what is remembered. To be used
    from one event loop.

    Attributes:
        num: All failures so far.
    """

    _FREE = 5
    _STEP_S, _MOST_S = 0.05, 1.0
    _FORGET_S = 60.0

    def __init__(self) -> None:
        self.num = 0
        self._of_peer: OrderedDict[str, tuple[float, float]] = OrderedDict()  # How many, and when the last one was.

    def note(self, peer: str, now_s: float) -> tuple[int, float]:
        """Count a failure; return about how many the peer had lately, and how many seconds its answer is to wait."""
        self.num += 1
        count, at_s = self._of_peer.get(peer, (0.0, now_s))
        count = count * 0.5 ** ((now_s - at_s) / self._FORGET_S) + 1.0
        self._of_peer[peer] = count, now_s
        self._of_peer.move_to_end(peer)
        if len(self._of_peer) > _MAX_KEYS:
            self._of_peer.popitem(last=False)
        return round(count), min(self._MOST_S, self._STEP_S * max(0.0, count - self._FREE))
