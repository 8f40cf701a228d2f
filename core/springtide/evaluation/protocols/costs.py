"""What an answer costs, and whether it knows of an event of a second ago."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
RankAfter = Callable[[Int64s, Int64s | None], Int64s]
"""From user codes and the item that each has taken just now, int64 ``[n]`` each, to the top item codes of all items,
int64 ``[n, K]``. Without items, nobody has taken anything."""

_NUM_USERS = 20
_SEED = 0


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let matrix products take one thread, as far as the libraries can be told, and put it back afterwards."""
    torch = sys.modules.get("torch")
    num_threads = torch.get_num_threads() if torch is not None else 0
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError):
            from threadpoolctl import threadpool_limits  # Optional; comes with the baselines.

            stack.enter_context(threadpool_limits(1))
        if torch is not None:
            torch.set_num_threads(1)
            stack.callback(torch.set_num_threads, num_threads)
        yield


def per_second(ask: Callable[[], int]) -> float:
    """Return how many answers a second are given; ``ask`` returns how many it got."""
    started = time.perf_counter()
    num_answers = ask()
    return num_answers / max(time.perf_counter() - started, 1e-9)


def live_share(rank_after: RankAfter, users: Int64s, items: Int64s) -> float:
    """Return for which share of users the top items change with an event that the fit does not know, 0 to 1.

    Up to 20 users, spread evenly, each take one random item; then the same question is asked again.

    Args:
        rank_after: The model or baseline.
        users: int64 ``[n]``, user codes, at least one.
        items: int64 ``[m]``, codes of the items that can be ranked, at least one.
    """
    asked = users[np.unique(np.linspace(0, len(users) - 1, _NUM_USERS).astype(np.int64))]
    taken = np.random.default_rng(_SEED).choice(items, len(asked))
    return float((rank_after(asked, None) != rank_after(asked, taken)).any(axis=1).mean())
