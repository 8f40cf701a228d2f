"""What users did after answers by variants: counted once, whatever the order, and gone with the user."""

import dataclasses
import random

import numpy as np
import pytest

from springtide.checkpoint import CheckpointStore
from springtide.events.model import EventBatch, NodeDelete
from springtide.experiment_tallies import ExperimentTallies, VariantTally
from springtide.recommendation_ids import ArmCode, new_id, pack_arms
from springtide.state import LiveState
from springtide.testing import START_MS, interactions_of, quick_settings, state_of

HOME = 7
Event = tuple[str, int, str, ArmCode]
NOTHING = VariantTally(0, 0, 0, 0)


def add(tallies: ExperimentTallies, events: list[Event], deleted_ms: int = -1) -> None:
    users, relations = sorted({event[0] for event in events}), sorted({event[2] for event in events})
    tallies.add(
        [new_id(time_ms, pack_arms([arm])).decode() for _, time_ms, _, arm in events],
        users,
        np.array([users.index(event[0]) for event in events], np.int32),
        relations,
        np.array([relations.index(event[2]) for event in events], np.int16),
        np.array([event[1] for event in events], np.int64),
        np.full(len(users), deleted_ms, np.int64),
    )


def home(tallies: ExperimentTallies) -> list[VariantTally]:
    return tallies.tally(HOME, 2, ["shown"], ["purchase"])


EVENTS: list[Event] = [
    ("u1", 1, "shown", (HOME, 0)),
    ("u1", 1, "shown", (HOME, 0)),
    ("u1", 2, "purchase", (HOME, 0)),
    ("u1", 3, "purchase", (HOME, 0)),
    ("u2", 4, "view", (HOME, 0)),
    ("u3", 5, "shown", (HOME, 1)),
    ("u3", 6, "purchase", (8, 1)),
]


def test_users_and_events_of_each_variant_are_counted() -> None:
    tallies = ExperimentTallies()
    add(tallies, EVENTS)

    assert home(tallies) == [VariantTally(2, 1, 2, 2), VariantTally(1, 0, 1, 0)]
    assert tallies.tally(8, 2, ["shown"], ["purchase"]) == [NOTHING, VariantTally(1, 1, 0, 1)]


def test_conversions_are_what_is_asked_for() -> None:
    tallies = ExperimentTallies()
    add(tallies, EVENTS)

    assert tallies.tally(HOME, 1, [], ["view", "purchase"]) == [VariantTally(2, 2, 0, 3)]


def test_events_of_other_answers_are_not_counted() -> None:
    tallies = ExperimentTallies()
    columns = (np.zeros(3, np.int32), ["shown"], np.zeros(3, np.int16), np.ones(3, np.int64), np.full(1, -1))
    tallies.add(["", new_id(5).decode(), "another shop's name"], ["u1"], *columns)

    assert len(tallies) == 0


def test_deletion_takes_away_what_the_user_did_until_then() -> None:
    tallies = ExperimentTallies()
    add(tallies, EVENTS)

    tallies.forget("u1", 2)
    assert home(tallies)[0] == VariantTally(2, 1, 0, 1)

    tallies.forget("u1", 3)
    assert home(tallies)[0] == VariantTally(1, 0, 0, 0)


def test_events_until_a_deletion_that_came_before_are_not_counted() -> None:
    tallies = ExperimentTallies()
    add(tallies, EVENTS, deleted_ms=3)

    assert home(tallies) == [VariantTally(1, 0, 0, 0), VariantTally(1, 0, 1, 0)]


@pytest.mark.parametrize("seed", range(20))
def test_tallies_are_those_of_a_plain_count(seed: int) -> None:
    chance, tallies = random.Random(seed), ExperimentTallies()
    events: list[Event] = [
        (
            f"u{chance.randrange(300)}",
            chance.randrange(50),
            chance.choice(["shown", "view", "purchase"]),
            (HOME, chance.randrange(2)),
        )
        for _ in range(5_000)
    ]
    deleted = {f"u{number}": chance.randrange(50) for number in range(30)}
    waiting = list(deleted)
    start = 0
    while start < len(events):
        size = chance.choice([1, 2, 500])
        kept = [
            each for each in events[start : start + size] if each[0] in waiting or each[1] > deleted.get(each[0], -1)
        ]
        if kept:
            add(tallies, kept)
        start += size
        if waiting and chance.random() < 0.2:
            tallies.forget(user := waiting.pop(), deleted[user])
    for user in waiting:
        tallies.forget(user, deleted[user])

    living = [each for each in events if each[1] > deleted.get(each[0], -1)]
    for variant, tally in enumerate(home(tallies)):
        own = [each for each in living if each[3][1] == variant]
        sold = [each for each in own if each[2] == "purchase"]
        assert tally == VariantTally(
            len({each[0] for each in own}),
            len({each[0] for each in sold}),
            sum(each[2] == "shown" for each in own),
            len(sold),
        )


def test_memory_is_bounded_and_counts_stay() -> None:
    tallies = ExperimentTallies(max_rows=4_096)
    for time_ms in range(1, 101):
        add(tallies, [(f"u{user}", time_ms, "shown", (HOME, user % 2)) for user in range(1_000)])

    assert tallies.num_bytes <= 4_096 * 24
    assert home(tallies) == [VariantTally(500, 0, 50_000, 0)] * 2
    assert tallies.num_left_out == 0
    tallies.forget("u0", 100)
    assert home(tallies)[0] == VariantTally(499, 0, 49_900, 0)


def test_users_beyond_the_bound_are_left_out_and_counted_as_such() -> None:
    tallies = ExperimentTallies(max_rows=2_048)
    add(tallies, [(f"u{user}", 1, "shown", (HOME, 0)) for user in range(3_000)])

    assert home(tallies)[0].num_users == 2_048
    assert tallies.num_left_out == 3_000 - 2_048


def test_what_a_snapshot_holds_does_not_change_with_later_events() -> None:
    tallies = ExperimentTallies()
    add(tallies, EVENTS)
    arrays = tallies.arrays()
    add(tallies, [("u9", 9, "purchase", (HOME, 1))] * 3)
    tallies.forget("u1", 100)

    again = ExperimentTallies()
    again.restore(arrays)

    assert home(again) == [VariantTally(2, 1, 2, 2), VariantTally(1, 0, 1, 0)]


def test_arrays_that_do_not_fit_are_refused() -> None:
    tallies = ExperimentTallies()
    add(tallies, EVENTS)
    arrays = tallies.arrays()

    for broken in (
        {"counts": arrays["counts"][:-1]},
        {"arms": arrays["arms"] + 5},
        {"relations": arrays["relations"] - 1},
    ):
        with pytest.raises(ValueError, match="wanted"):
            ExperimentTallies().restore({**arrays, **broken})


def applied(state: LiveState, user: str, time_ms: int, relation: str = "purchase") -> None:
    interactions = interactions_of([(user, "i1", time_ms)], relation)
    name = new_id(time_ms, pack_arms([(HOME, 0)])).decode()
    state.apply(EventBatch(dataclasses.replace(interactions, recommendation_ids=[name])))


def of_home(state: LiveState) -> VariantTally:
    return state.tallies.tally(HOME, 1, [], ["purchase"])[0]


def test_checkpoint_keeps_them() -> None:
    state = state_of()
    applied(state, "u1", START_MS)
    applied(state, "u2", START_MS)
    store = CheckpointStore("memory://tallies")
    again = LiveState(quick_settings(), {})
    store.restore(store.write(state.snapshot()), again)

    assert of_home(again) == VariantTally(2, 2, 0, 2)
    assert len(again.tallies) == 2


def test_deleted_user_is_gone_from_state_and_checkpoint_and_comes_back_as_another() -> None:
    state = state_of()
    applied(state, "u1", START_MS)
    held = state.tallies.arrays()["users"].tobytes()
    state.apply(EventBatch(interactions_of(()), deletes=[NodeDelete("user", "u1", START_MS + 5)]))
    assert of_home(state) == NOTHING
    assert held not in state.tallies.arrays()["users"].tobytes()

    applied(state, "u1", START_MS + 5)  # Late: the deletion holds for it.
    assert of_home(state) == NOTHING
    applied(state, "u1", START_MS + 6)
    assert of_home(state) == VariantTally(1, 1, 0, 1)


def test_user_whose_row_another_has_now_counts_still() -> None:
    state = state_of()
    applied(state, "u1", START_MS)
    row = state.graph.nodes("user").ids.row("u1")
    state.graph.forget("user", "u1")  # As the bounds of the graph do, and not by a deletion.
    state.reclaim_restored()
    applied(state, "u2", START_MS)

    assert state.graph.nodes("user").ids.row("u2") == row
    assert of_home(state) == VariantTally(2, 2, 0, 2)
