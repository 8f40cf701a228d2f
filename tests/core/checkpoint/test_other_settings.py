"""Settings that changed since a checkpoint was written reach it, or the operator is told."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from springtide.checkpoint import CheckpointStore
from springtide.events.model import EventBatch, Interactions
from springtide.plugins.contracts import ContextWeight, Observed
from springtide.settings.model import Settings
from springtide.state import LiveState, StreamPosition

VIEW = ("user", "view", "item")
RULES = {"purchase": {}, "view": {"weight": 0.5}}


class Summing(ContextWeight):
    """Sums the weights of each item's positive interactions."""

    def __init__(self, context_keys: tuple[str, ...] = ()) -> None:
        self.context_keys = context_keys
        self.sums = np.zeros(10)

    def observe(self, observed: Observed) -> None:
        np.add.at(self.sums, observed.item_rows, observed.weights)

    def state(self) -> dict[str, np.ndarray]:
        return {"sums": self.sums.copy()}

    def restore(self, state: Any) -> None:
        self.sums = state["sums"].copy()


def new_state(rules: dict[str, Any] = RULES, options: Any = None, keys: tuple[str, ...] = (), **sections) -> LiveState:
    ranking = {"context_weights": {"summing": options or {}}}
    settings = Settings.model_validate({"interactions": rules, "ranking": ranking, **sections})
    return LiveState(settings, {"summing": Summing(keys)})


def events(relation: str, items: list[str], values: list[float] | None = None) -> EventBatch:
    count = len(items)
    return EventBatch(
        Interactions(
            *(["ann"], np.zeros(count, np.int32), items, np.arange(count, dtype=np.int32)),
            *([relation], np.zeros(count, np.int16), np.arange(count, dtype=np.int64)),
            np.full(count, np.nan, np.float32) if values is None else np.array(values, np.float32),
        )
    )


def filled_state(**settings) -> LiveState:
    state = new_state(**settings)
    state.apply(events("purchase", ["tea", "milk"]))
    state.apply(events("view", ["tea"]))
    return state


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(str(tmp_path))


def restored(store: CheckpointStore, state: LiveState, *, is_old: bool = False) -> tuple[LiveState, tuple[str, ...]]:
    """Restore the newest checkpoint into a state; ``is_old`` for one from before settings were kept."""
    checkpoint = store.latest()
    assert checkpoint is not None
    if is_old:
        manifest = {key: value for key, value in checkpoint.manifest.items() if key != "settings"}
        checkpoint = dataclasses.replace(checkpoint, manifest=manifest)
    return state, store.restore(checkpoint, state)


def weights(state: LiveState, edge_type: tuple[str, str, str] = VIEW) -> list[float]:
    return state.graph.view().edges(edge_type).weights.tolist()


def test_same_settings_change_nothing(store):
    store.write(filled_state().snapshot())
    state, applied = restored(store, new_state())
    assert (applied, state.lacking, state.context_weights["summing"].sums[0]) == ((), (), 1.5)


@pytest.mark.parametrize("is_old", [False, True])
def test_changed_weight_reaches_edges_and_what_is_learned_from_them(store, is_old):
    store.write(filled_state().snapshot())
    state, applied = restored(store, new_state({**RULES, "view": {"weight": 3.0}}), is_old=is_old)
    assert weights(state) == [3.0]
    assert weights(state, ("user", "purchase", "item")) == [1.0, 1.0]
    assert state.context_weights["summing"].sums[:2].tolist() == [4.0, 1.0]
    assert state.lacking == ()
    assert applied[0].startswith("interactions.view (weight")
    assert applied[1] == "context weights learned anew: summing"
    store.write(state.snapshot())
    again, applied = restored(store, new_state({**RULES, "view": {"weight": 3.0}}))
    assert (weights(again), applied, again.context_weights["summing"].sums[0]) == ([3.0], (), 4.0)


def test_changed_feedback_reaches_what_is_learned(store):
    store.write(filled_state().snapshot())
    state, applied = restored(store, new_state({**RULES, "view": {"weight": 0.5, "positive": False}}))
    assert applied[0] == "interactions.view (feedback positive → neutral)"
    assert state.context_weights["summing"].sums[:2].tolist() == [1.0, 1.0]
    assert state.lacking == ()


def test_changed_options_of_a_context_weight_make_it_learn_anew(store):
    written = filled_state(options={"half_life_days": 10.0})
    written.context_weights["summing"].sums[:] = 77.0
    store.write(written.snapshot())
    state, applied = restored(store, new_state(options={"half_life_days": 10.0}))
    assert (applied, state.context_weights["summing"].sums[0]) == ((), 77.0)
    state, applied = restored(store, new_state(options={"half_life_days": float("inf")}))
    assert applied == ("context weights learned anew: summing",)
    assert state.context_weights["summing"].sums[0] == 1.5
    store.write(state.snapshot())
    assert restored(store, new_state(options={"half_life_days": float("inf")}))[1] == ()


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({**RULES, "click": {}}, "interactions.click is new: earlier events of that type were refused"),
        ({"purchase": {}}, "interactions.view is gone: edges of earlier events of that type are still there"),
        (
            {"purchase>2": {}, **RULES},
            "the rules of purchase were purchase and are purchase>2, purchase: earlier events are still classed by the "
            "former",
        ),
    ],
)
def test_rule_that_events_were_not_read_by_is_told_until_they_are_read_again(store, rules, wanted):
    store.write(filled_state().snapshot())
    for _ in range(3):  # Later checkpoints still lack it.
        state, _ = restored(store, new_state(rules))
        assert state.lacking == (wanted,)
        store.write(state.snapshot())


def test_what_was_learned_by_a_rule_that_is_gone_is_not_used(store):
    store.write(filled_state().snapshot())
    state, _ = restored(store, new_state({"purchase": {}}))
    assert state.context_weights["summing"].sums[:2].tolist() == [1.0, 1.0]


def test_rules_that_are_put_back_leave_what_was_read_meanwhile(store):
    store.write(filled_state().snapshot())
    state, _ = restored(store, new_state({"purchase": {}}))
    store.write(state.snapshot())
    state, _ = restored(store, new_state())
    assert state.lacking == ("interactions.view is new: earlier events of that type were refused",)


def test_other_settings_that_events_were_read_under_are_told(store):
    store.write(filled_state(graph={"max_edges": 2, "max_age_days": 1.0}).snapshot())
    state, _ = restored(
        store,
        new_state(
            keys=("weather",),
            graph={"max_edges": 5, "max_age_days": None},
            events={"max_id_bytes": 300, "max_text_bytes": 5},
            attributes={"item": {"price": "number"}},
        ),
    )
    assert [sentence.partition(" ")[0] for sentence in state.lacking] == [
        *("graph.max_edges", "graph.max_age_days", "events.max_id_bytes", "the", "the"),
    ]
    assert state.lacking[1] == (
        "graph.max_age_days was 1.0 and has no bound now: edges that were dropped for it are missing"
    )
    assert state.lacking[-1] == "the context 'weather' is new: it was not kept with earlier events"


def test_bound_that_nothing_was_dropped_for_is_not_told(store):
    store.write(filled_state(graph={"max_edges": 100}).snapshot())
    assert restored(store, new_state(graph={"max_edges": 1_000}))[0].lacking == ()


@pytest.mark.parametrize("is_old", [False, True])
def test_other_item_type_is_told(store, is_old):
    store.write(filled_state().snapshot())
    state, _ = restored(store, new_state(graph={"item_type": "user"}), is_old=is_old)
    assert state.lacking[0] == "graph.item_type is user, and events were read as item"


def test_old_checkpoint_tells_of_rules_by_its_edges(store):
    rules = {"rating": {}, "purchase": {}, "dislike": {}}
    written = new_state(rules)
    written.apply(events("rating", ["tea", "milk"], [1.0, 5.0]))
    written.apply(events("dislike", ["tea"]))
    store.write(written.snapshot())
    state, applied = restored(store, new_state({"rating<=2": {}, "rating": {}, "purchase": {}}), is_old=True)
    assert applied == ("context weights learned anew: summing",)
    assert state.lacking == (
        "the rules of rating were rating and are rating<=2, rating: earlier events are still classed by the former",
        "interactions.dislike is gone: edges of earlier events of that type are still there",
    )
    assert restored(store, new_state(rules), is_old=True)[0].lacking == ()


def read(state: LiveState, next_offset: int) -> None:
    """Move a state to the offset of one partition."""
    state.position = StreamPosition("events", "1", {0: next_offset})


def test_settings_that_nothing_was_read_under_are_not_told(store):
    """Somebody renames a rule, starts the server, sees the mistake and puts it back."""
    written = filled_state()
    read(written, 3)
    store.write(written.snapshot())
    for _ in range(2):
        state, _ = restored(store, new_state({"purchase": {}, "look": {}}))
        assert len(state.lacking) == 2  # The view is gone, and the look is new.
        store.write(state.snapshot())
    state, _ = restored(store, new_state())
    assert state.lacking == ()
    store.write(state.snapshot())
    state, _ = restored(store, new_state({"purchase": {}, "look": {}}))
    read(state, 4)  # A view, which was refused.
    store.write(state.snapshot())
    assert restored(store, new_state())[0].lacking == (
        "interactions.view is new: earlier events of that type were refused",
    )


def test_settings_before_the_first_event_are_not_told(store):
    written = new_state({"purchase": {}})
    read(written, 0)
    store.write(written.snapshot())
    state, _ = restored(store, new_state())
    assert state.lacking == ()
    state.apply(events("view", ["tea"]))
    read(state, 1)
    store.write(state.snapshot())
    assert restored(store, new_state())[0].lacking == ()


@pytest.mark.parametrize(
    ("meanwhile", "wanted"),
    [({"rules": {"purchase": {}}}, 1.5), ({"graph": {"item_type": "user"}}, 1.5)],
    ids=["a rule removed and put back", "another type of items and back"],
)
def test_what_is_learned_again_after_settings_are_put_back_is_all_there_is(store, meanwhile, wanted):
    store.write(filled_state().snapshot())
    state, _ = restored(store, new_state(**meanwhile))
    store.write(state.snapshot())
    state, applied = restored(store, new_state())
    assert applied == ("context weights learned anew: summing",)
    assert state.context_weights["summing"].sums[0] == wanted


@pytest.mark.parametrize(
    "rules",
    [
        {"rating<4": {}, "rating>=4": {}},
        {"rating>=4": {}, "rating<4": {}, "rating>5": {}},
    ],
    ids=["another order", "a rule that never applies"],
)
def test_rules_that_class_every_value_as_before_are_not_told(store, rules):
    written = new_state({"rating>=4": {}, "rating<4": {}})
    written.apply(events("rating>=4", ["tea"], [4.0]))
    store.write(written.snapshot())
    assert restored(store, new_state(rules))[0].lacking == ()
    assert len(restored(store, new_state({"rating>4": {}, "rating<=4": {}}))[0].lacking) == 1


def test_rule_that_is_gone_without_edges_is_not_told(store):
    written = new_state()
    written.apply(events("purchase", ["tea"]))
    store.write(written.snapshot())
    assert restored(store, new_state({"purchase": {}}))[0].lacking == ()


def test_nodes_that_were_dropped_for_a_bound_are_told(store):
    written = filled_state(graph={"max_nodes": 2})
    store.write(written.snapshot())
    assert restored(store, new_state(graph={"max_nodes": 5_000}))[0].lacking == ()
    written.reclaim(0.0)
    store.write(written.snapshot())
    for _ in range(2):
        state, _ = restored(store, new_state(graph={"max_nodes": 2}))
        assert state.lacking == ()
        store.write(state.snapshot())
    state, _ = restored(store, new_state(graph={"max_nodes": 5_000}))
    assert state.lacking == ("graph.max_nodes was 2 and is 5,000: nodes that were dropped for it are missing",)
