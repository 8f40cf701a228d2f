"""Where more events follow at once, context weights learn many together; whoever reads them finds all of them."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.events.model import EventBatch, NodeDelete
from springtide.interactions import Circumstances, Moment, Observed
from springtide.model.exponents import NO_EXPONENTS
from springtide.plugins.contracts import ContextWeight
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import item_weights, make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.state_content import state_content
from springtide.testing import interactions_of

DAY_MS = 86_400_000


class Counter(ContextWeight):
    """Counts interactions, and how often it was given some."""

    def __init__(self) -> None:
        self.count, self.calls = 0, 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.has_begun = threading.Event()

    def observe(self, observed: Observed) -> None:
        self.has_begun.set()
        assert self.may_go_on.wait(10)
        self.count, self.calls = self.count + len(observed), self.calls + 1

    def unobserve(self, observed: Observed) -> None:
        self.count -= len(observed)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {"count": np.array([self.count])}

    def restore(self, state: Any) -> None:
        self.count = int(state["count"][0])


def batch(*pairs: tuple[str, str], deletes: Sequence[NodeDelete] = ()) -> EventBatch:
    timed = [(user, item, 1_000 + number) for number, (user, item) in enumerate(pairs)]
    return EventBatch(interactions_of(timed), deletes=deletes)


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def state(counter: Counter) -> LiveState:
    return LiveState(Settings(), {"counter": counter})


def test_events_wait_for_those_that_follow_until_somebody_reads(state: LiveState, counter: Counter) -> None:
    for number in range(5):
        state.apply(batch(("u", f"i{number}")), more_follow=True)
    assert (counter.count, state.graph.num_edges) == (0, 5)
    item_weights(state.context_weights, NO_EXPONENTS, Moment(0), 5)
    assert (counter.count, counter.calls) == (5, 1)
    state.apply(batch(("u", "i")), more_follow=True)
    state.apply(batch(("u", "i")))
    assert (counter.count, counter.calls) == (7, 2)
    state.apply(batch(("u", "i")))
    assert (counter.count, counter.calls) == (8, 3)


def test_the_last_batch_gives_what_waits_even_if_it_has_nothing_to_learn(state: LiveState, counter: Counter) -> None:
    state.apply(batch(("u", "i")), more_follow=True)
    state.apply(batch())
    assert counter.count == 1


def test_no_more_wait_than_are_given_in_one_turn(
    state: LiveState, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("springtide.state_snapshot._MOST_GATHERED", 4)
    counts = []
    for _ in range(9):
        state.apply(batch(("u", "i"), ("v", "i")), more_follow=True)
        counts.append(counter.count)
    assert counts == [0, 4, 4, 8, 8, 12, 12, 16, 16]


def test_a_deletion_finds_what_waits(state: LiveState, counter: Counter) -> None:
    state.apply(batch(("u", "i"), ("v", "i")), more_follow=True)
    state.apply(batch(("w", "i"), deletes=[NodeDelete("user", "u", 5_000)]), more_follow=True)
    state.settle()
    assert counter.count == 2


def test_a_checkpoint_has_what_waits(state: LiveState) -> None:
    state.apply(batch(("u", "i"), ("v", "i")), more_follow=True)
    with ThreadPoolExecutor(1) as copier:
        assert state.snapshot(copier).learned()["counter"]["count"].tolist() == [2]


def test_a_reader_waits_for_one_that_is_giving_and_the_writer_goes_on_gathering(
    state: LiveState, counter: Counter
) -> None:
    counter.may_go_on.clear()
    state.apply(batch(("u", "i")), more_follow=True)
    readers = [threading.Thread(target=state.settle) for _ in range(2)]
    readers[0].start()
    assert counter.has_begun.wait(10)
    readers[1].start()
    state.apply(batch(("u", "i")), more_follow=True)
    assert readers[1].is_alive()
    counter.may_go_on.set()
    for reader in readers:
        reader.join(10)
    assert (counter.count, state.graph.num_edges) == (2, 2)


def test_a_weight_that_fails_ends_the_stream_whoever_gave_it_the_events() -> None:
    class Failing(Counter):
        def observe(self, observed: Observed) -> None:
            raise ArithmeticError("no more numbers")

    state = LiveState(Settings(), {"failing": Failing()})
    state.apply(batch(("u", "i")), more_follow=True)
    with pytest.raises(ArithmeticError, match="no more numbers"):
        state.settle()
    with pytest.raises(ArithmeticError, match="no more numbers"):
        state.apply(batch(("u", "i")))
    with pytest.raises(ArithmeticError, match="no more numbers"):
        state.snapshot()


def test_parts_of_a_stream_are_joined_in_their_order() -> None:
    rows, times, weights = np.arange(2, dtype=np.int32), np.array([5, 3]), np.ones(2, np.float32)
    places = Circumstances(np.array([0, -1], np.int32), ["Lisbon"])
    later = Circumstances(np.array([1, 0], np.int32), ["Lisbon", "Porto"])
    first = Observed(rows, rows + 2, times, weights, {"place": places}, newest_ms=9)
    second = Observed(rows + 4, rows, times + 1, weights * 2)
    third = Observed(rows, rows, times, weights, {"place": later})
    joined = Observed.joined([first, second, third])
    assert joined.user_rows.tolist() == [0, 1, 4, 5, 0, 1]
    assert joined.item_rows.tolist() == [2, 3, 0, 1, 0, 1]
    assert joined.timestamps_ms.tolist() == [5, 3, 6, 4, 5, 3]
    assert joined.weights.tolist() == [1, 1, 2, 2, 1, 1]
    assert (joined.newest_ms, joined.clock_ms) == (9, 9)
    assert joined.circumstances["place"].codes.tolist() == [0, -1, -1, -1, 1, 0]
    assert joined.circumstances["place"].values == ["Lisbon", "Porto"]
    assert Observed.joined([second]) is second


steps = st.lists(
    st.tuples(st.sampled_from(["apply", "apply", "apply", "delete", "read"]), st.integers(0, 2**32 - 1)), max_size=12
)


@settings(max_examples=25, deadline=None)
@given(steps)
def test_all_weights_are_as_if_each_batch_had_been_learned_by_itself(made: list[tuple[str, int]]) -> None:
    """To the last bit: times that go back, circumstances, deletions in between, and readers of another thread."""
    plugins, chosen = load_plugins(), Settings()
    one, other = (LiveState(chosen, make_context_weights(chosen.ranking, plugins)) for _ in range(2))
    for what, seed in made:
        random = np.random.default_rng(seed)
        if what == "read":
            one.settle()
            continue
        users, items = random.integers(0, 12, (2, int(random.integers(1, 40))))
        times = DAY_MS * 19_000 + random.integers(0, 400 * DAY_MS, len(users))
        interactions = interactions_of(
            [(f"u{user}", f"i{item}", int(time)) for user, item, time in zip(users, items, times, strict=True)]
        )
        deletes = [NodeDelete("user", f"u{users[0]}", int(times[0]))] if what == "delete" else []
        for each, more_follow in ((one, True), (other, False)):
            each.apply(EventBatch(interactions, deletes=deletes), more_follow=more_follow)
    assert state_content(one) == state_content(other)
    states = [{name: weight.state() for name, weight in each.context_weights.items()} for each in (one, other)]
    for name, arrays in states[0].items():
        assert {key: array.tobytes() for key, array in arrays.items()} == {
            key: array.tobytes() for key, array in states[1][name].items()
        }
