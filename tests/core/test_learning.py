"""Context weights learn later while another thread copies them, and a checkpoint has what came before it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from springtide.checkpoint import CheckpointStore
from springtide.events.model import EventBatch, NodeDelete
from springtide.plugins.contracts import ContextWeight, Observed
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.testing import interactions_of


class Slow(ContextWeight):
    """Counts interactions; a copy of the count takes until it is told to go on."""

    def __init__(self) -> None:
        self.count = 0
        self.is_copying, self.go_on = threading.Event(), threading.Event()

    def observe(self, observed: Observed) -> None:
        self.count += len(observed)

    def unobserve(self, observed: Observed) -> None:
        self.count -= len(observed)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        before = self.count
        self.is_copying.set()
        assert self.go_on.wait(60)
        assert self.count == before, "it changed while it was copied"
        return {"count": np.array([self.count])}

    def restore(self, state: Any) -> None:
        self.count = int(state["count"][0])


@pytest.fixture
def copier() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def batch(*pairs: tuple[str, str]) -> EventBatch:
    return EventBatch(interactions_of([(user, item, 1_000 + number) for number, (user, item) in enumerate(pairs)]))


def test_events_are_applied_while_weights_are_copied_and_learned_right_after(
    copier: ThreadPoolExecutor, tmp_path: Path
) -> None:
    slow = Slow()
    state = LiveState(Settings(), {"slow": slow})
    state.apply(batch(("u1", "i1"), ("u2", "i2")))
    snapshot = state.snapshot(copier)
    assert slow.is_copying.wait(60)

    state.apply(batch(("u3", "i3")))
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("user", "u1", 5_000)]))
    assert (state.graph.view().num_nodes("user"), slow.count) == (3, 2)
    slow.go_on.set()
    checkpoint = CheckpointStore(str(tmp_path)).write(snapshot)
    state.reclaim(0.0)

    assert slow.count == 2  # One more, and one less.
    again = LiveState(Settings(), {"slow": Slow()})
    CheckpointStore(str(tmp_path)).restore(checkpoint, again)
    restored = again.context_weights["slow"]
    assert isinstance(restored, Slow)
    assert (restored.count, again.graph.num_edges) == (2, 2)


def test_a_copy_has_all_that_was_applied_before_it_even_what_still_waited(copier: ThreadPoolExecutor) -> None:
    slow = Slow()
    state = LiveState(Settings(), {"slow": slow})
    state.snapshot(copier)
    assert slow.is_copying.wait(60)
    state.apply(batch(("u1", "i1")))
    slow.go_on.set()

    assert state.snapshot().learned()["slow"]["count"].tolist() == [1]


def test_a_copy_that_fails_is_the_checkpoints_failure_and_learning_goes_on(copier: ThreadPoolExecutor) -> None:
    class Failing(Slow):
        def state(self) -> dict[str, npt.NDArray[Any]]:
            raise OSError("no memory")

    failing = Failing()
    state = LiveState(Settings(), {"failing": failing})
    snapshot = state.snapshot(copier)
    with pytest.raises(OSError, match="no memory"):
        snapshot.learned()
    state.apply(batch(("u1", "i1")))
    assert failing.count == 1


def test_where_too_much_waits_the_copy_is_waited_for(
    copier: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("springtide.state_snapshot._MAX_WAITING", 2)
    slow = Slow()
    state = LiveState(Settings(), {"slow": slow})
    state.snapshot(copier)
    assert slow.is_copying.wait(60)
    state.apply(batch(("u1", "i1"), ("u2", "i2")))
    assert slow.count == 0
    threading.Timer(0.05, slow.go_on.set).start()
    state.apply(batch(("u3", "i3")))
    assert slow.count == 3


def test_what_waited_is_learned_in_bounded_pieces_faster_than_events_come(
    copier: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("springtide.state_snapshot._EVENTS_AT_ONCE", 4)
    slow = Slow()
    state = LiveState(Settings(), {"slow": slow})
    state.snapshot(copier)
    assert slow.is_copying.wait(60)
    for _ in range(20):
        state.apply(batch(("u1", "i1"), ("u2", "i2"), ("u3", "i3")))
    assert state.is_learning_late
    slow.go_on.set()
    copier.submit(lambda: None).result()  # The copy is done.
    learned = [slow.count]
    while state.is_learning_late:
        state.apply(batch(("u1", "i1"), ("u2", "i2"), ("u3", "i3")))
        learned.append(slow.count)
    assert max(np.diff(learned)) <= 6  # Twice as many as came, not all that waited.
    assert (slow.count, state.num_events) == (3 * (20 + len(learned) - 1),) * 2
    assert len(learned) > 10


def test_many_events_are_given_with_those_of_neighbouring_items_together() -> None:
    given: list[Observed] = []

    class Keeping(ContextWeight):
        def observe(self, observed: Observed) -> None:
            given.append(observed)

    random = np.random.default_rng(0)
    codes = random.permutation(40_000).astype(np.int32) % 5_000
    state = LiveState(Settings(), {"keeping": Keeping()})
    few = interactions_of([(f"u{number}", f"i{number:04}", number) for number in range(5_000)])
    state.apply(EventBatch(few))
    many = interactions_of([(f"u{code % 7}", f"i{code:04}", 10_000 + n) for n, code in enumerate(codes.tolist())])
    state.apply(EventBatch(many))

    first, observed = given
    assert first.item_rows.tolist() == list(range(5_000)), "few stay in their order"
    assert (np.diff(observed.item_rows) >= 0).all(), "there are fewer items than groups of neighbouring ones"
    expected = sorted(zip(codes.tolist(), range(10_000, 50_000), strict=True))
    assert observed.timestamps_ms.tolist() == [time_ms for _, time_ms in expected]
    assert observed.item_rows.tolist() == [code for code, _ in expected]
