"""Questions in the circumstances of the test set, and circumstances that nothing looks at."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.metrics import K
from springtide.evaluation.protocols import TrainTestProtocol
from springtide.evaluation.protocols.circumstances import context_keys_of, note_on_unused
from springtide.evaluation.protocols.measurer import Measurer
from springtide.evaluation.protocols.queries import UserQueries
from springtide.evaluation.splits.time_splits import Split
from springtide.events.model import Interactions
from springtide.plugins.loading import Plugins, load_plugins
from springtide.testing import interactions_of, quick_settings

WEATHERS = ["rain", "sun"]
NUM_USERS = 24


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


def umbrellas() -> tuple[Interactions, Split]:
    """Everybody takes what rain and sun call for: `rain0` to `rain9` in rain, `sun0` to `sun9` in the sun."""
    rows, contexts = [], []
    generator = np.random.default_rng(1)
    for step in range(1_200):
        weather = WEATHERS[step % 2]
        rows.append((f"u{generator.integers(NUM_USERS)}", f"{weather}{generator.integers(10)}", step * 60_000))
        contexts.append({"weather": weather, "device": "phone"})
    interactions = replace(interactions_of(rows), contexts=contexts)
    return interactions, Split(np.arange(1_000), np.arange(1_000, 1_200))


def test_user_is_asked_once_for_each_weather_of_their_test_events() -> None:
    interactions, split = umbrellas()
    queries = UserQueries(interactions, split, lambda progress: None, ["weather"])
    asked = {(int(queries.user_of[question]), queries.moment_of(question).weather) for question in queries.all // 20}
    assert asked == {(int(interactions.user_codes[row]), WEATHERS[row % 2]) for row in split.test.tolist()}
    for pair in queries.all.tolist():  # What is relevant was taken in that weather.
        assert interactions.item_ids[pair % 20].startswith(queries.moment_of(pair // 20).weather)


def test_user_is_asked_once_where_no_weight_looks_at_the_circumstances() -> None:
    interactions, split = umbrellas()
    queries = UserQueries(interactions, split, lambda progress: None, ["place"])
    assert not queries.has_circumstances
    assert queries.user_of.tolist() == list(range(len(interactions.user_ids)))


def test_users_weigh_the_same_however_many_questions_each_has() -> None:
    # u0 takes a in rain and b in the sun; u1 takes b in rain.
    interactions = replace(
        interactions_of([("u0", "c", 0), ("u1", "c", 0), ("u0", "a", 1), ("u0", "b", 1), ("u1", "b", 1)]),
        contexts=[{}, {}, {"weather": "rain"}, {"weather": "sun"}, {"weather": "rain"}],
    )
    split = Split(np.arange(2), np.arange(2, 5))
    queries = UserQueries(interactions, split, lambda progress: None, ["weather"])
    item_a = list(interactions.item_ids).index("a")

    def always_a(questions: np.ndarray, is_unseen_only: bool) -> np.ndarray:
        ranked = np.full((len(questions), K), -1, np.int64)
        ranked[:, 0] = item_a
        return ranked

    measured = Measurer(Dataset("by hand", interactions, []), split, queries, ()).measure(always_a, 1.0)
    assert measured.arrays["new.users"].tolist() == [0, 1]
    assert measured.arrays["new.ndcg"].tolist() == [0.5, 0.0]
    assert measured.measurement.new.ndcg == 0.25


def test_weather_weight_finds_what_is_wanted_in_this_weather(plugins: Plugins) -> None:
    interactions, split = umbrellas()
    choices: dict[str, dict[str, Any]] = {"without": {"popularity": {}}, "with": {"popularity": {}, "weather": {}}}
    of_weights = {
        name: quick_settings(training={"steps": 20}, ranking={"context_weights": weights})
        for name, weights in choices.items()
    }
    protocol = TrainTestProtocol(Dataset("umbrellas", interactions, []), split, of_weights["with"], plugins)
    ndcg = {name: protocol.measure_model(settings).measurement.all.ndcg for name, settings in of_weights.items()}
    assert ndcg["with"] > ndcg["without"] + 0.1


def test_circumstance_that_no_weight_looks_at_is_named(plugins: Plugins) -> None:
    interactions, _ = umbrellas()
    settings = quick_settings(ranking={"context_weights": {"weather": {}}})
    assert context_keys_of(settings, plugins) == ("weather", "temperature")
    note = note_on_unused(Dataset("umbrellas", interactions, []), settings, plugins)
    assert "circumstances that no context weight looks at: device" in note
    all_used = quick_settings(ranking={"context_weights": {"weather": {}, "attribute": {"names": ["device"]}}})
    assert note_on_unused(Dataset("umbrellas", interactions, []), all_used, plugins) == ""
