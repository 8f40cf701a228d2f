"""Replay: events are ranked before they are applied, and no contestant knows the future."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from springtide.errors import TrainingError
from springtide.evaluation.protocols.contestants import Contestant
from springtide.evaluation.protocols.past_questions import PastAnswers
from springtide.evaluation.protocols.past_states import state_of_past
from springtide.evaluation.protocols.replay import ReplayResult, replay
from springtide.events.model import EventBatch
from springtide.interactions import Moment
from springtide.plugins.contracts import Baseline, History, Observed
from springtide.plugins.loading import Plugins, load_plugins
from springtide.ranking.moment_cache import MomentCache
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.users import LiveUser, Users
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import PartSettings, PluginSettings, Settings
from springtide.state import LiveState
from springtide.testing import START_MS, even_odd_state, interactions_of, quick_model, quick_settings, state_of
from springtide.training.train import train
from springtide_plugins.context_weights.popularity import Popularity

PLUGINS = load_plugins(PluginSettings())


class Counting(Baseline):
    """Ranks by the number of interactions before the fit, and records its calls."""

    def __init__(self) -> None:
        self.newest_of_fits: list[int] = []
        self.calls: list[tuple[int, list[int]]] = []  # Moment, and the times in the user's history.
        self.counts: npt.NDArray[np.float32] = np.zeros(0, np.float32)

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        self.newest_of_fits.append(int(interactions.timestamps_ms[-1]))
        self.counts = np.bincount(interactions.item_rows, minlength=num_items).astype(np.float32)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        self.calls += [(now_ms, history.timestamps_ms.tolist()) for history in histories]
        return np.tile(self.counts, (len(user_rows), 1))


EVENTS = [
    ("ann", "a", START_MS),
    ("bob", "a", START_MS + 1),
    ("cid", "a", START_MS + 2),
    ("ann", "b", START_MS + 3),
    ("bob", "b", START_MS + 4),
    ("cid", "c", START_MS + 5),
    # From here on it is replayed.
    ("ann", "b", START_MS + 10),
    ("bob", "c", START_MS + 11),
    ("bob", "a", START_MS + 11),
    ("dan", "d", START_MS + 12),
    ("dan", "a", START_MS + 13),
]
START = START_MS + 10


def replayed(contestants: Sequence[Contestant], state: LiveState | None = None, **changes: Any) -> ReplayResult:
    settings = {"num_questions": 100, "num_refits": 0, **changes}
    return replay(state or state_of(EVENTS), START, contestants, quick_settings(), PLUGINS, **settings)


def test_ranks_are_those_of_the_true_items() -> None:
    found = replayed([Contestant("counts", Counting())])
    # Counts: a 3, b 2, c 1, d 0. At START + 1 come c and a, in the order of the stream.
    assert found.ranks["counts"].tolist() == [2, 3, 1, 4, 1]
    assert found.timestamps_ms.tolist() == [START, START + 1, START + 1, START + 2, START + 3]
    assert found.is_unseen.tolist() == [False, True, False, True, True]
    assert found.num_items == 4


def test_new_items_are_ranked_among_unseen_items() -> None:
    found = replayed([Contestant("counts", Counting())])
    # Bob had a and b before c; dan had nothing before d, and d before a.
    assert found.unseen_ranks["counts"].tolist() == [0, 1, 0, 4, 1]
    assert found.ndcg("counts", is_unseen_only=True) == pytest.approx([1, 1 / np.log2(5), 1])


def test_model_leaves_out_seen_items_when_it_ranks_new_items() -> None:
    found = replayed([Contestant("fallback", None)])
    assert (found.unseen_ranks["fallback"] <= found.ranks["fallback"]).all()
    assert found.unseen_ranks["fallback"][1] < found.ranks["fallback"][1]


def test_a_rank_beyond_k_is_worth_nothing() -> None:
    found = replayed([Contestant("counts", Counting())])
    assert found.ndcg("counts", k=2) == pytest.approx([1 / np.log2(3), 0, 1, 0, 1])


def test_a_query_sees_all_earlier_events_and_none_of_its_own_moment() -> None:
    counting = Counting()
    replayed([Contestant("counts", counting)])
    assert counting.calls == [
        (START, [START_MS + 3, START_MS]),
        (START + 1, [START_MS + 4, START_MS + 1]),
        (START + 1, [START_MS + 4, START_MS + 1]),
        (START + 2, []),
        (START + 3, [START + 2]),
    ]


def test_a_slow_machine_ranks_as_a_fast_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # Items of nearly equal counts: each event changes their order.
    events = [(f"u{number}", f"i{number * number % 13}", START - 500 + number) for number in range(1_000)]
    settings = quick_settings(ranking={"context_weights": {"popularity": {}}})
    state = state_of(events, settings)
    fast = replay(state, START, [Contestant("fallback", None)], settings, PLUGINS, num_questions=500)
    clock_s = itertools.count(0.0, 100.0)  # Each look at the clock is minutes after the one before.
    for kept in (MomentCache.__init__, Ranker.__init__):
        if "clock_s" in (kept.__kwdefaults__ or {}):
            monkeypatch.setitem(kept.__kwdefaults__, "clock_s", lambda: next(clock_s))
    slow = replay(state, START, [Contestant("fallback", None)], settings, PLUGINS, num_questions=500)
    assert np.array_equal(slow.ranks["fallback"], fast.ranks["fallback"])


def test_models_of_a_replay_share_what_the_weights_say_of_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = quick_settings(ranking={"context_weights": {"popularity": {}}})
    state, original = state_of(EVENTS, settings), Popularity.item_log_lifts
    model = ServingModel.from_artifact(quick_model(state), PLUGINS)

    def replayed(*contestants: Contestant) -> ReplayResult:
        return replay(state, START, contestants, settings, PLUGINS, num_questions=100)

    alone = [replayed(Contestant("alone", each)) for each in (None, model)]
    asked: list[int] = []

    def counted(weight: Popularity, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        asked.append(moment.timestamp_ms)
        return original(weight, moment, num_items)

    monkeypatch.setattr(Popularity, "item_log_lifts", counted)
    together = replayed(Contestant("first", None), Contestant("second", model))
    assert asked == sorted(set(asked))
    assert asked
    assert together.ranks["first"].tolist() == alone[0].ranks["alone"].tolist()
    assert together.ranks["second"].tolist() == alone[1].ranks["alone"].tolist()


def test_a_frozen_contestant_gets_no_events() -> None:
    counting = Counting()
    replayed([Contestant("frozen", counting, is_live=False)], num_refits=5)
    assert counting.calls[-1] == (START + 3, [])
    assert counting.newest_of_fits == [START_MS + 5]


def test_baselines_of_a_replay_share_histories_by_their_state(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = [Counting() for _ in range(4)]
    alone = [Counting(), Counting()]
    for baseline, is_live in zip(alone, (True, False), strict=True):
        replayed([Contestant("alone", baseline, is_live)])
    num_found = 0
    find = Users.find

    def counted(*args: Any) -> LiveUser:
        nonlocal num_found
        num_found += 1
        return find(*args)

    monkeypatch.setattr(Users, "find", counted)
    replayed([Contestant(str(place), baseline, place % 2 == 0) for place, baseline in enumerate(counting)])
    assert [baseline.calls for baseline in counting] == [alone[0].calls, alone[1].calls] * 2
    assert num_found == 2 * 5, "five questions, each looked up once in the live state and once in the frozen one"


def test_baselines_are_fitted_again_during_the_replay() -> None:
    counting = Counting()
    replayed([Contestant("counts", counting)], num_refits=2)  # After half of the five questions, and at the last one.
    assert counting.newest_of_fits == [START_MS + 5, START, START + 2]


def test_kept_questions_get_the_answers_of_their_moments_in_any_order() -> None:
    beside = replayed([Contestant("tifu_knn", PLUGINS.make("baseline", PartSettings(name="tifu_knn")))], num_refits=2)
    found = replayed([Contestant("fallback", None)], num_refits=2, keep_questions=True)
    assert found.questions is not None
    made = []

    def make() -> Baseline:
        made.append(PLUGINS.make("baseline", PartSettings(name="tifu_knn")))
        return made[-1]

    answers = PastAnswers(found.questions, make)
    for positions in ([4, 0, 2], [1, 3]):
        among_all, among_unseen = answers.ranks(np.array(positions))
        assert among_all.tolist() == beside.ranks["tifu_knn"][positions].tolist()
        assert among_unseen.tolist() == beside.unseen_ranks["tifu_knn"][positions].tolist()
    assert len(made) == 3, "each of the three fits is made once"
    counting = Counting()
    replayed([Contestant("counts", counting)], num_refits=2)
    assert [int(fit.timestamps_ms[-1]) for fit in found.questions.fits] == counting.newest_of_fits


def test_ranks_within_a_depth_are_those_of_all_ranks() -> None:
    settings = quick_settings(ranking={"context_weights": {"popularity": {}, "trend": {}, "repeat": {}}})
    state = even_odd_state(24, settings, PLUGINS)
    contestants = [Contestant("none", None)]
    whole = replay(state, START, contestants, settings, PLUGINS, num_questions=200)
    short = replay(state, START, contestants, settings, PLUGINS, num_questions=200, depth=5)
    assert (whole.ranks["none"] > 5).any()
    assert np.array_equal(np.where(whole.ranks["none"] <= 5, whole.ranks["none"], 25), short.ranks["none"])
    assert whole.ndcg("none", 5).tolist() == short.ndcg("none", 5).tolist()


def test_a_sample_is_spread_over_the_events_and_the_same_every_time() -> None:
    events = [("ann", f"i{n}", START + n) for n in range(100)]
    state = state_of([("ann", "a", START_MS), *events])
    first = replayed([Contestant("counts", Counting())], state, num_questions=10, seed=1)
    assert ((first.timestamps_ms - START) // 10).tolist() == list(range(10))
    again = replayed([Contestant("counts", Counting())], state, num_questions=10, seed=1)
    other = replayed([Contestant("counts", Counting())], state, num_questions=10, seed=2)
    assert first.timestamps_ms.tolist() == again.timestamps_ms.tolist() != other.timestamps_ms.tolist()


def test_events_from_the_end_on_are_not_sampled() -> None:
    found = replayed([Contestant("counts", Counting())], until_ms=START + 2)
    assert found.timestamps_ms.tolist() == [START, START + 1, START + 1]
    with pytest.raises(ValueError, match="wanted interactions from"):
        replayed([Contestant("counts", Counting())], until_ms=START)


def test_a_baseline_that_cannot_be_fitted_is_left_out_with_its_reason() -> None:
    class Small(Counting):
        def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
            raise TrainingError("too many items")

    found = replayed([Contestant("small", Small()), Contestant("counts", Counting())])
    assert (list(found.ranks), found.failures) == (["counts"], {"small": "too many items"})


def test_a_live_model_knows_more_than_the_same_model_frozen() -> None:
    settings = quick_settings(ranking={"context_weights": {"popularity": {}, "trend": {}, "repeat": {}}})
    state = even_odd_state(24, settings, PLUGINS)
    candidates = []
    train(state, settings, PLUGINS, mode="retrain", on_candidate=candidates.append)
    model = ServingModel.from_artifact(candidates[0], PLUGINS)
    start_ms = candidates[0].manifest.graph_cut["newest_ms"] + 1
    contestants = [Contestant("live", model), Contestant("frozen", model, is_live=False), Contestant("none", None)]
    found = replay(state, start_ms, contestants, settings, PLUGINS, num_questions=1_000)
    means = {name: found.ndcg(name).mean() for name in found.ranks}
    assert means["live"] > means["frozen"] > means["none"]


def circumstanced(settings: Settings, plugins: Plugins) -> LiveState:
    """Three events with the place where they were."""
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    for number, place in enumerate(("York", "Bath", "York")):
        interactions = interactions_of([("ann", f"i{number}", START_MS + number)])
        state.apply(EventBatch(dataclasses.replace(interactions, contexts=[{"place": place}])))
    return state


def test_a_state_of_the_past_is_what_it_was() -> None:
    settings = quick_settings(ranking={"context_weights": {"popularity": {}, "place": {}, "trend": {}}})
    whole = circumstanced(settings, PLUGINS)
    past = state_of_past(whole, whole.graph.view(), START_MS + 2, settings, PLUGINS)
    seen = past.positive_interactions(past.graph.view())
    assert seen.item_rows.tolist() == [0, 1]
    assert [seen.moment(position).place for position in range(2)] == ["York", "Bath"]
    assert past.graph.newest_ms == START_MS + 1
    lifts = past.context_weights["popularity"].item_log_lifts(Moment(START_MS), 3)
    assert lifts is not None
    assert lifts[0, 0] == lifts[0, 1] > lifts[0, 2], "the third event is still to come"
    assert past.graph.view().num_nodes("item") == 3, "rows are those of the whole"


def test_making_a_past_state_does_not_change_the_present_one() -> None:
    state = even_odd_state(8)
    before = quick_model(state).tensors["vectors"]
    edges, version = state.graph.num_edges, state.graph.version
    replay(state, START, [Contestant("none", None)], quick_settings(), PLUGINS, num_questions=5)
    assert (state.graph.num_edges, state.graph.version) == (edges, version)
    assert (quick_model(state).tensors["vectors"] == before).all()
