"""Each check of context weights finds the fault that it is there for, and says what it wanted and what came."""

import numpy as np
import pytest

from springtide.plugins.contracts import ContextWeight, Factor


class Seen(ContextWeight):
    """A sound weight: items that were ever seen."""

    def __init__(self):
        self.seen = np.zeros(100, np.float32)

    def observe(self, observed):
        self.seen[observed.item_rows] = 1.0

    def bucket(self, moment):
        return "always"

    def item_log_lifts(self, moment, num_items):
        return self.seen[None, :num_items].copy()

    def state(self):
        return {"seen": self.seen.copy()}

    def restore(self, state):
        self.seen = state["seen"].copy()


class TwiceNamed(Seen):
    factors = (Factor("seen"), Factor("seen"))


class LastSeen(Seen):
    def observe(self, observed):
        self.seen[:] = 0
        super().observe(observed)


class StartsAnew(Seen):
    def restore(self, state):
        pass


class SharesItsState(Seen):
    """Counts, so that what goes on shows."""

    def observe(self, observed):
        np.add.at(self.seen, observed.item_rows, 1.0)

    def state(self):
        return {"seen": self.seen}


class OneRowForTwo(Seen):
    factors = (Factor("one"), Factor("other"))


class ByTheMinute(Seen):
    def item_log_lifts(self, moment, num_items):
        return super().item_log_lifts(moment, num_items) * (moment.timestamp_ms // 60_000 % 60)


class Prejudiced(Seen):
    def __init__(self):
        super().__init__()
        self.seen += 1.0


@pytest.mark.parametrize(
    ("factory", "check", "wanted"),
    [
        (TwiceNamed, "factors have different names", "names that differ"),
        (LastSeen, "the order of events does not matter", "the same lifts when events come one by one"),
        (StartsAnew, "its state can be restored", "the same lifts after a restart"),
        (SharesItsState, "its state is a copy", "a copy as state 'seen'"),
        (OneRowForTwo, "lifts have a row for each factor and are finite", "log lifts of shape [2, 0]"),
        (ByTheMinute, "moments of one bucket have the same lifts", "the same log lifts at moments of one bucket"),
        (Prejudiced, "it is neutral before any event", "log lifts of 0 before any event"),
    ],
)
def test_faulty_context_weight_is_found(factory, check, wanted, failures_of):
    failures = failures_of("context weight", factory, only=check)
    assert wanted in failures[check][0]


def test_sound_context_weight_passes(failures_of):
    assert failures_of("context weight", Seen) == {}
