"""Kills processes at moments of many kinds: as they start, as a checkpoint or a model is written, or whenever."""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from processes import Victim

from springtide.checkpoint.manifest_files import MANIFESTS
from springtide.checkpoint.writing import SEGMENTS
from springtide.model.registry import CLAIM, MANIFEST

_LOOK_S = 0.001
_SEEN_WITHIN_S = 60.0  # What is aimed at is then taken for not coming.
_WELL_WITHIN_S = 120.0

Moment = Callable[["Killer"], bool]
"""Waits for a moment to kill at; returns False if it did not come."""


class Killer(threading.Thread):
    """Kills a process again and again, each time at a moment of another kind, and starts it again.

    Args:
        victim: The process; it runs.
        moments: The kinds of moments, by what a kill is called then.
        counts: Filled with how often each was done.
        seed: Seed of which moment is next, and of what is random in it.

    Attributes:
        slowest_s: The longest time from a kill until the process did its work again, in seconds, by what the kill is
            called.
        failure: Why it has stopped by itself.
    """

    def __init__(self, victim: Victim, moments: Mapping[str, Moment], counts: Counter[str], seed: int) -> None:
        super().__init__(name=f"{victim.name}-killer", daemon=True)
        self.victim = victim
        self.chance = random.Random(f"{seed}/{victim.name}")
        self.stopping = threading.Event()
        self.num_kills = 0
        self.slowest_s: dict[str, float] = {}
        self.failure: BaseException | None = None
        self._moments, self._counts = dict(moments), counts

    def stop(self) -> None:
        """Kill no more; the process runs."""
        self.stopping.set()
        self.join()

    def run(self) -> None:
        try:
            names = list(self._moments)
            while not self.stopping.is_set():
                self.chance.shuffle(names)
                for name in names:
                    if self.stopping.is_set():
                        break
                    self._kill_at(name)
        except BaseException as error:
            self.failure = error

    def wait(self, seconds: float) -> bool:
        """Wait, and return whether the process lives and is to be killed then."""
        return not self.stopping.wait(seconds) and not self.victim.has_ended()

    def wait_until(self, is_so: Callable[[], bool], within_s: float, look_s: float = _LOOK_S) -> bool:
        """Wait until something is so, and return whether it came while the process lived."""
        give_up_at_s = time.monotonic() + within_s
        while not is_so():
            if time.monotonic() > give_up_at_s or not self.wait(look_s):
                return False
        return True

    def count(self, called: str) -> None:
        """Note a kill."""
        self._counts[called] += 1
        self.num_kills += 1

    def _kill_at(self, name: str) -> None:
        if self.victim.has_ended():
            self._counts[f"the {self.victim.name} ended by itself"] += 1
            self.victim.start()
        if not self._moments[name](self):
            return
        called, killed_s = f"{self.victim.name} killed {name}", time.monotonic()
        if name == CHILD and not self.victim.kill_child():
            return
        if name != CHILD:
            self.victim.kill()
            self.victim.start()
        self.count(called)
        if self.wait_until(self.victim.is_well, _WELL_WITHIN_S, 0.05):
            self.slowest_s[called] = max(self.slowest_s.get(called, 0.0), time.monotonic() - killed_s)
        elif not self.stopping.is_set() and not self.victim.has_ended():
            raise TimeoutError(f"the {self.victim.name} does not work after {_WELL_WITHIN_S:g} s")


AT_ANY_MOMENT = "at any moment"
WHILE_STARTING = "while it starts"
DURING_CHECKPOINT = "during a checkpoint"
DURING_PUBLISH = "during a publish"
DURING_PROMOTION = "during a promotion"
CHILD = "in its training process"


def any_moment(most_s: float) -> Moment:
    """Return a moment up to so many seconds after the process has begun its work."""

    def moment(killer: Killer) -> bool:
        return killer.wait_until(killer.victim.is_well, _WELL_WITHIN_S, 0.05) and killer.wait(
            killer.chance.uniform(0.0, most_s)
        )

    return moment


def starting(most_s: float) -> Moment:
    """Return a moment soon after the start of the process, which is killed for that first."""

    def moment(killer: Killer) -> bool:
        killer.victim.kill()
        killer.victim.start()
        killer.count(f"{killer.victim.name} killed {AT_ANY_MOMENT}")
        return killer.wait(killer.chance.uniform(0.0, most_s))

    return moment


def during_checkpoint(url: str) -> Moment:
    """Return a moment at which files of a checkpoint are written and its manifest is not."""
    folder = Path(url)

    def newest(part: str) -> str:
        return max((name[:8] for name in names_in(folder / part) if name[:8].isdecimal()), default="")

    def moment(killer: Killer) -> bool:
        is_seen = killer.wait_until(lambda: newest(SEGMENTS) > newest(MANIFESTS), _SEEN_WITHIN_S)
        return is_seen and killer.wait(killer.chance.uniform(0.0, 0.03))

    return moment


def during_publish(url: str, *, is_promoted: bool) -> Moment:
    """Return a moment at which a model is written, or, once it is whole, at which it becomes the current one."""
    folder = Path(url)

    def newest() -> str:
        return max((name for name in names_in(folder) if name.isdecimal()), default="")

    def moment(killer: Killer) -> bool:
        before = newest()  # Its publisher may be dead: what that left stays for an hour.

        def is_under_way() -> bool:
            version = newest()
            files = names_in(folder / version) if version != before else set()
            return CLAIM in files and (MANIFEST in files) == is_promoted

        return killer.wait_until(is_under_way, _SEEN_WITHIN_S) and killer.wait(killer.chance.uniform(0, 0.005))

    return moment


def names_in(folder: Path) -> set[str]:
    """Return the names in a folder; none if it is missing."""
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()
