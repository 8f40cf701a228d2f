"""Cold start on data whose answer is known: two crowds, each with items of its own."""

import numpy as np
import pytest

from springtide.errors import TrainingError
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.protocols.cold_start import ITEM_EVENTS, LEVELS, USER_EVENTS, ColdStart, levels_of
from springtide.evaluation.splits import cut_at
from springtide.plugins.loading import Plugins, load_plugins
from springtide.settings.model import PartSettings
from springtide.testing import interactions_of, quick_settings


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


def crowds(num_users: int, num_events: int) -> Dataset:
    """Users of two crowds take random items of their crowd, and all go on to the end."""
    draw = np.random.default_rng(3)
    events = [
        (f"u{user}", f"i{2 * draw.integers(15) + user % 2}", 86_400_000 + step * 60_000 + user)
        for step in range(num_events)
        for user in range(num_users)
    ]
    return Dataset("crowds", interactions_of(events), [])


@pytest.fixture(scope="module")
def protocol(plugins: Plugins) -> ColdStart:
    # Only some users are old enough to be held out: the others come late.
    old, late = crowds(12, 40), crowds(40, 10)
    events = [
        *((f"o{user}", item, time) for user, item, time in rows(old)),
        *((f"l{user}", item, time + 30 * 60_000) for user, item, time in rows(late)),
    ]
    events.sort(key=lambda event: event[2])
    dataset = Dataset("crowds", interactions_of(events), [])
    return ColdStart(dataset, cut_at(dataset.interactions, "cold-start"), quick_settings(), plugins)


def rows(dataset: Dataset) -> list[tuple[str, str, int]]:
    found = dataset.interactions
    users, items = found.user_codes.tolist(), found.item_codes.tolist()
    times = found.timestamps_ms.tolist()
    return [
        (found.user_ids[user], found.item_ids[item], time) for user, item, time in zip(users, items, times, strict=True)
    ]


def test_popularity_does_not_learn_from_a_users_events_and_neighbours_do(protocol: ColdStart) -> None:
    popular = protocol.measure_baseline(PartSettings(name="popularity")).measurement.segments
    neighbours = protocol.measure_baseline(PartSettings(name="item_knn")).measurement.segments

    curve = [popular[f"all: {USER_EVENTS} {level}"].ndcg for level in LEVELS]
    assert curve == [curve[0]] * len(LEVELS)
    assert neighbours[f"all: {USER_EVENTS} 20"].ndcg > neighbours[f"all: {USER_EVENTS} 0"].ndcg + 0.05
    assert neighbours["all"] == neighbours[f"all: {USER_EVENTS} 20"]


def test_model_folds_in_users_that_it_was_not_trained_on(protocol: ColdStart) -> None:
    found = protocol.measure_model(quick_settings(model={"loss": "cce"}, training={"steps": 40}))

    segments = found.measurement.segments
    assert levels_of(segments, "new", USER_EVENTS) == [str(level) for level in LEVELS]
    assert segments[f"all: {USER_EVENTS} 20"].ndcg > segments[f"all: {USER_EVENTS} 0"].ndcg + 0.05
    assert len(found.arrays[f"all: {USER_EVENTS} 5.ndcg"]) == segments[f"all: {USER_EVENTS} 5"].num_users
    assert levels_of(segments, "new", ITEM_EVENTS)


def test_question_is_the_same_at_each_level(protocol: ColdStart) -> None:
    found = protocol.measure_baseline(PartSettings(name="own_counts")).arrays

    for segment in ("new", "all"):
        users = [found[f"{segment}: {USER_EVENTS} {level}.users"].tolist() for level in LEVELS]
        assert users == [users[0]] * len(LEVELS)


def test_data_without_users_of_twenty_events_is_refused_in_words(plugins: Plugins) -> None:
    dataset = crowds(30, 12)

    with pytest.raises(TrainingError, match=r"users of the test set with 20 events before the cut, got none"):
        ColdStart(dataset, cut_at(dataset.interactions, "cold-start"), quick_settings(), plugins)
