"""Live quality: what is asked before it is applied, how much of it, and what a drop sets off."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from structlog.testing import capture_logs

from springtide.checkpoint import CheckpointStore
from springtide.clock import wall_ms
from springtide.errors import CheckpointError
from springtide.events.model import EventBatch, NodeDelete
from springtide.model.registry import ModelStore
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.baseline_artifact import baseline_artifact
from springtide.ranking.item_ranks import item_ranks
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.scoring import Scorer
from springtide.ranking.serving_baseline import load_served
from springtide.settings.model import LiveQualitySettings, PartSettings, Settings
from springtide.state import LiveState, StreamPosition
from springtide.testing import interactions_of, quick_settings, state_of
from springtide_services.log_lines import in_words
from springtide_services.serving import live_quality
from springtide_services.serving.live_quality import LiveQuality, ask_for_training
from springtide_services.serving.quality_drop import Quality
from springtide_services.training.training_folder import TrainingFolder

Event = tuple[str, str, int]
PLUGINS = load_plugins()
SETTINGS = quick_settings(ranking={"context_weights": {"popularity": {}}})
HOUR_MS = 3_600_000
# Of the fallback without a model: milk comes first, then tea, then bread.
EVENTS = [
    ("ann", "milk", 1),
    ("bob", "milk", 2),
    ("bob", "milk", 3),
    ("ann", "tea", 4),
    ("bob", "tea", 5),
    ("eve", "bread", 6),
]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class SlowRanker(Ranker):
    """Takes a tenth of a second for each call, on the test's own clock."""

    clock: Clock

    def scorer(self) -> Scorer:
        self.clock.now_s += 0.1
        return super().scorer()


class BrokenRanker(Ranker):
    """Cannot rank."""

    def scorer(self) -> Scorer:
        raise RuntimeError("a part that cannot rank")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state() -> LiveState:
    return state_of(EVENTS, SETTINGS)


@pytest.fixture
def quality_of(state: LiveState, clock: Clock) -> Callable[..., LiveQuality]:
    """Make a live quality that has room for any number of events at first; settings are given by name."""

    def make(ranker: Ranker | None = None, **settings: float | None) -> LiveQuality:
        wanted = LiveQualitySettings.model_validate({"max_events_per_s": 1_000, **settings})
        quality = LiveQuality(wanted, ranker or Ranker(state, SETTINGS.ranking), state, clock)
        clock.now_s += 1.0
        return quality

    return make


def batch(*events: Event, relation: str = "purchase") -> EventBatch:
    return EventBatch(interactions_of(events, relation))


def num_asked(quality: LiveQuality) -> int:
    return quality.status().recent.all.num_questions


@pytest.mark.parametrize(("name", "is_today"), [("auto", False), ("stream", False), ("wall", True)])
def test_past_events_are_asked_as_of_when_the_clock_would_have_answered(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str, is_today: bool
) -> None:
    asked: list[int] = []

    def noted_ranks(scorer: Scorer, queries: Sequence[Query], item_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        asked.extend(query.moment.timestamp_ms for query in queries)
        return item_ranks(scorer, queries, item_ids)

    monkeypatch.setattr(live_quality, "item_ranks", noted_ranks)
    settings = quick_settings(ranking={"context_weights": {"popularity": {}}, "clock": name})
    state = state_of(EVENTS, settings)
    state.note_time(now_ms := wall_ms())
    wanted = LiveQualitySettings(max_events_per_s=1_000)
    quality = LiveQuality(wanted, Ranker(state, settings.ranking), state, clock)
    clock.now_s += 1.0
    quality.measure(batch(("ann", "milk", 10)))
    assert asked == [10] or (is_today and 0 <= asked[0] - now_ms < 60_000)
    assert (asked[0] > 10) == is_today


def test_items_are_ranked_as_of_before_they_are_known(quality_of: Callable[..., LiveQuality]) -> None:
    quality = quality_of()
    # Ranks 1 and 2 of three items; soap is missed, though only three items stand before it.
    quality.measure(batch(("ann", "milk", 10), ("ann", "tea", 11), ("ann", "soap", 12)))
    found = quality.status().recent
    assert (found.version, found.all.num_questions, found.all.hit_rate) == ("", 3, 2 / 3)
    assert found.all.mrr == pytest.approx((1 + 1 / 2) / 3)


def test_what_is_measured_has_a_time_and_segments(quality_of: Callable[..., LiveQuality]) -> None:
    quality = quality_of()
    assert quality.history() == ([], [])
    before_ms = wall_ms()
    quality.measure(batch(("ann", "milk", 10), ("eve", "tea", 11), ("new", "soap", 12)))
    [point], segments = quality.history()

    assert (point.version, point.all.num_questions, point.unseen.num_questions) == ("", 3, 2)
    assert before_ms <= point.start_ms <= point.end_ms <= wall_ms()
    assert point.all == quality.status().recent.all
    assert {(each.split, each.segment): each.all.num_questions for each in segments} == {
        ("events of the user", "none"): 1,
        ("events of the user", "1 to 5"): 2,
        ("events of the item", "none"): 1,
        ("events of the item", "1 to 9"): 2,
        ("type of the event", "purchase"): 3,
    }


def test_what_was_applied_is_known_to_the_next_question(
    quality_of: Callable[..., LiveQuality], state: LiveState
) -> None:
    ranker = Ranker(state, SETTINGS.ranking)
    quality = quality_of(ranker)
    for number in range(2):
        events = batch(*[("eve", "bread", 10 + number)] * 10)
        quality.measure(events)
        state.apply(events)
        ranker.refresh()  # As the server does every second.
    # Bread is the third at first, and far ahead of all after ten purchases.
    assert quality.status().recent.all.mrr == pytest.approx((1 / 3 + 1) / 2)


def test_items_new_to_the_user_are_told_apart(quality_of: Callable[..., LiveQuality]) -> None:
    quality = quality_of()
    quality.measure(batch(("ann", "milk", 10), ("eve", "tea", 11), ("a stranger", "milk", 12), ("ann", "soap", 13)))
    assert quality.status().recent.unseen.num_questions == 3


def test_only_what_shows_liking_is_asked_for(quality_of: Callable[..., LiveQuality]) -> None:
    quality = quality_of()
    quality.measure(batch(("ann", "milk", 10), relation="dislike"))
    assert num_asked(quality) == 0
    quality.measure(batch(("ann", "milk", 10), relation="view"))
    assert num_asked(quality) == 1


def test_late_events_are_not_asked_for(quality_of: Callable[..., LiveQuality], state: LiveState) -> None:
    quality = quality_of()
    state.apply(batch(("ann", "tea", 24 * HOUR_MS + 100)))
    quality.measure(batch(("ann", "tea", 99), ("ann", "tea", 100)))
    assert num_asked(quality) == 1


def test_events_that_a_deletion_holds_for_are_not_asked_for(
    quality_of: Callable[..., LiveQuality], state: LiveState
) -> None:
    quality = quality_of()
    deletes = [NodeDelete("item", "tea", 50), NodeDelete("user", "eve", 50)]
    state.apply(EventBatch(interactions_of(()), deletes=deletes))
    quality.measure(batch(("ann", "tea", 50), ("eve", "milk", 49), ("ann", "milk", 49), ("ann", "tea", 51)))
    assert num_asked(quality) == 2


def test_the_moment_is_the_event_s_own(quality_of: Callable[..., LiveQuality], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Query] = []

    def noting(scorer: Scorer, queries: Sequence[Query], item_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        asked.extend(queries)
        return item_ranks(scorer, queries, item_ids)

    monkeypatch.setattr(live_quality, "item_ranks", noting)
    quality = quality_of()
    interactions = interactions_of([("ann", "milk", 77)])
    context = {"place": "Oslo", "time_zone": "Europe/Oslo"}
    quality.measure(EventBatch(type(interactions)(**{**_fields(interactions), "contexts": [context]})))
    assert asked == [Query(Moment(77, attributes=context), "ann")]
    assert asked[0].moment.circumstance("place") == "Oslo"


def _fields(interactions: object) -> dict[str, object]:
    return {name: getattr(interactions, name) for name in interactions.__slots__}


def test_no_more_are_asked_for_than_the_rate_allows(quality_of: Callable[..., LiveQuality], clock: Clock) -> None:
    quality = quality_of(max_events_per_s=5)
    events = batch(*[("ann", "milk", 10)] * 100)
    found = []
    for seconds in (0, 0, 0.5, 1, 60):
        clock.now_s += seconds
        quality.measure(events)
        found.append(num_asked(quality))
    assert found == [5, 5, 7, 12, 17], "what is saved up is no more than that of one second"


def test_a_rate_below_one_waits_for_its_turn(quality_of: Callable[..., LiveQuality], clock: Clock) -> None:
    quality = quality_of(max_events_per_s=0.1)
    found = []
    for seconds in (0, 5, 5, 100):
        clock.now_s += seconds
        quality.measure(batch(("ann", "milk", 10), ("ann", "milk", 11)))
        found.append(num_asked(quality))
    assert found == [1, 1, 2, 3]


def test_a_rate_of_zero_asks_nothing(quality_of: Callable[..., LiveQuality], clock: Clock) -> None:
    quality = quality_of(max_events_per_s=0)
    clock.now_s += 3_600
    quality.measure(batch(("ann", "milk", 10)))
    assert num_asked(quality) == 0


def test_slow_ranking_takes_no_more_than_its_share_of_the_time(
    quality_of: Callable[..., LiveQuality], state: LiveState, clock: Clock
) -> None:
    ranker = SlowRanker(state, SETTINGS.ranking)
    ranker.clock = clock
    quality, started_s = quality_of(ranker), clock.now_s
    num_looks = 0
    while clock.now_s < started_s + 100:
        before = num_asked(quality)
        quality.measure(batch(("ann", "milk", 10)))
        num_looks += num_asked(quality) > before
        clock.now_s += 0.05
    assert num_looks == 20  # Of 0.1 s each in 100 s: a fiftieth.


def test_slow_ranking_is_measured_one_event_at_a_time(
    state: LiveState, clock: Clock, quality_of: Callable[..., LiveQuality]
) -> None:
    """The events that come wait for it."""
    ranker = SlowRanker(state, SETTINGS.ranking)
    ranker.clock = clock
    quality = quality_of(ranker)
    quality.measure(batch(("ann", "milk", 7)))
    clock.now_s += 100.0
    quality.measure(batch(*[("ann", "milk", 8 + number) for number in range(50)]))
    assert num_asked(quality) == 2


def test_a_part_that_cannot_rank_does_not_stop_the_stream(
    quality_of: Callable[..., LiveQuality], state: LiveState, clock: Clock
) -> None:
    quality = quality_of(BrokenRanker(state, SETTINGS.ranking))
    with capture_logs() as logs:
        for _ in range(3):
            clock.now_s += 1
            quality.measure(batch(("ann", "milk", 10)))
    assert [entry["event"] for entry in logs] == ["live_quality_failed"]
    assert num_asked(quality) == 0


def test_a_line_a_minute_is_logged(quality_of: Callable[..., LiveQuality], clock: Clock) -> None:
    quality = quality_of()
    with capture_logs() as logs:
        for _ in range(130):
            quality.measure(batch(("ann", "tea", 10)))
            clock.now_s += 1
    assert [entry["event"] for entry in logs] == ["live_quality"] * 2
    assert (logs[0]["version"], logs[0]["events"], logs[0]["unseen_events"]) == ("", 60, 0)
    assert logs[0]["ndcg"] == pytest.approx(1 / math.log2(3), abs=1e-4)
    assert in_words(logs[0]).startswith("live quality of the fallback over the last 60 events: NDCG 0.6309, ")


# Popular items are taken by everybody; then tastes flip, and the unpopular ones are.
NUM_ITEMS = 60


def popularity_served(state: LiveState, settings: Settings, tmp_path: Path) -> Ranker:
    """A ranker that serves what the popularity was when it was published, as version 000001."""
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    baseline = PLUGINS.make("baseline", PartSettings(name="popularity"))
    baseline.fit(interactions, view.num_nodes("user"), view.num_nodes("item"))
    store = ModelStore(str(tmp_path / "models"))
    version = store.publish(baseline_artifact("popularity", {}, baseline, view, interactions, settings, PLUGINS))
    ranker = Ranker(state, settings.ranking)
    ranker.swap(load_served(store.load(version), PLUGINS))
    return ranker


def taken(numbers: Iterable[int], start: int) -> EventBatch:
    return batch(*[(f"u{number % 7}", f"i{number}", HOUR_MS + start + number) for number in numbers])


@pytest.fixture
def stream(clock: Clock, tmp_path: Path) -> Callable[[Iterable[Iterable[int]]], LiveQuality]:
    """Let batches of item numbers pass by a server of a frozen popularity, in windows of 50 questions."""

    def run(batches: Iterable[Iterable[int]]) -> LiveQuality:
        settings = quick_settings()
        past = [(f"u{user}", f"i{item}", user) for item in range(NUM_ITEMS) for user in range(NUM_ITEMS - item)]
        state = state_of(past, settings)
        state.position = StreamPosition("events", "", {0: len(past)})
        wanted = LiveQualitySettings(max_events_per_s=100, window=50, max_drop=0.2)
        ranker = popularity_served(state, settings, tmp_path)
        quality = LiveQuality(wanted, ranker, state, clock)
        for start, numbers in enumerate(batches):
            clock.now_s += 10
            events = taken(numbers, start)
            quality.measure(events)
            state.apply(events)
        checkpoints = CheckpointStore(str(tmp_path / "checkpoints"))
        folder = TrainingFolder(str(tmp_path / "training"))
        for _ in range(2):  # It asks once.
            ask_for_training(quality, lambda: checkpoints.write(state.snapshot()), folder)
        return quality

    return run


def test_tastes_that_flip_ask_for_one_training(stream: Callable[..., LiveQuality], tmp_path: Path) -> None:
    quality = stream([range(10)] * 10 + [range(50, 60)] * 10)
    [request] = TrainingFolder(str(tmp_path / "training")).requests()
    assert (request.mode, request.checkpoint) == (None, "00000001")
    assert request.reason.startswith("live quality of 000001 fell: NDCG@20 ")
    status = quality.status()
    assert status.drop is not None
    assert (status.drop.version, status.request_id) == ("000001", request.request_id)
    assert status.drop.ndcg < 0.8 * status.drop.first_ndcg
    assert status.versions[0].all == Quality(50, 0.0, 0.0, pytest.approx(sum(1 / rank for rank in range(51, 61)) / 10))


def test_a_steady_stream_asks_for_none(stream: Callable[..., LiveQuality], tmp_path: Path) -> None:
    quality = stream([range(10)] * 20)
    assert num_asked(quality) == 50
    assert quality.status().drop is None
    assert TrainingFolder(str(tmp_path / "training")).requests() == []


def test_a_drop_waits_until_a_checkpoint_can_be_written(stream: Callable[..., LiveQuality], tmp_path: Path) -> None:
    folder = TrainingFolder(str(tmp_path / "others"))

    def refuse() -> None:
        raise CheckpointError("the disk is full")

    quality = stream([range(10)] * 10 + [range(50, 60)] * 10)
    drop = quality.status().drop
    assert drop is not None
    quality.note_request(drop, "")  # As if none had been filed.
    with pytest.raises(CheckpointError):
        ask_for_training(quality, refuse, folder)
    assert (folder.requests(), quality.status().request_id) == ([], "")
