"""A refit learns the exponents from the interactions since the training, and leaves the vectors as they are."""

import numpy as np
import pytest

from springtide.clock import MS_PER_HOUR
from springtide.errors import TrainingError
from springtide.events.model import EventBatch
from springtide.graph.applying import ITEM, USER
from springtide.model.artifact import exponents_of
from springtide.model.registry import ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.serving_model import ServingModel
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings
from springtide.training.exponents.refit import refit_exponents

PLUGINS = load_plugins()
SIZE = 24
SETTINGS = quick_settings(
    training={"min_refit_events": 50}, ranking={"context_weights": {"popularity": {}, "trend": {}}}
)
LAST_MS = even_odd_events(SIZE)[-1][2]


def later_events(share_of_first: float) -> list[tuple[str, str, int]]:
    """Return 400 events after the training; some take the first item of the user's parity, the others any of it."""
    generator = np.random.default_rng(0)
    events = []
    for number in range(400):
        user = int(generator.integers(SIZE))
        item = user % 2 + 2 * int(generator.integers(SIZE // 2))
        if generator.random() < share_of_first:
            item = user % 2
        events.append((f"u{user}", f"i{item}", LAST_MS + (number + 1) * MS_PER_HOUR))
    return events


@pytest.fixture
def state():
    return even_odd_state(SIZE, SETTINGS)


@pytest.fixture
def base(state):
    return quick_model(state, SETTINGS)


def test_vectors_stay_and_exponents_follow_the_stream(state, base):
    state.apply(EventBatch(interactions_of(later_events(0.8))))
    found = refit_exponents(state, base, SETTINGS, PLUGINS, request_id="request-1")
    assert found.manifest.training == "refit"
    assert found.manifest.request_id == "request-1"
    assert found.manifest.graph_cut == base.manifest.graph_cut, "the vectors have seen no more"
    assert np.array_equal(found.tensors["vectors"], base.tensors["vectors"])
    before, after = exponents_of(base.manifest).seen, exponents_of(found.manifest).seen
    assert after.factors["popularity"]["share"] + after.factors["trend"]["7d"] + after.factors["trend"]["28d"] > 0.5
    assert after != before
    assert found.manifest.exponent_errors["popularity"]["own:share"] > 0


def test_refitted_model_is_published_and_serves(state, base, tmp_path):
    state.apply(EventBatch(interactions_of(later_events(0.5))))
    store = ModelStore(str(tmp_path))
    loaded = store.load(store.publish(refit_exponents(state, base, SETTINGS, PLUGINS)))
    served = ServingModel.from_artifact(loaded, PLUGINS)
    assert served.exponents == exponents_of(loaded.manifest)
    assert len(served.users.vectors) == SIZE


def test_how_much_dislikes_count_follows_the_stream(state, base):
    dislikes = [(f"u{user}", f"i{(user + 2) % SIZE}", LAST_MS + 1) for user in range(SIZE)]
    state.apply(EventBatch(interactions_of(dislikes, "dislike")))
    state.apply(EventBatch(interactions_of(later_events(0.5))))
    found = refit_exponents(state, base, SETTINGS, PLUGINS).manifest
    assert exponents_of(found).dislikes != exponents_of(base.manifest).dislikes
    assert exponents_of(found).dislikes.item >= 0.5


def test_nodes_are_found_by_id_whatever_their_rows(state, base):
    other = even_odd_state(SIZE, SETTINGS)
    reordered = type(other)(SETTINGS, {})
    events = [*even_odd_events(SIZE), *later_events(0.5)]
    reordered.apply(EventBatch(interactions_of(reversed(events))))
    state.apply(EventBatch(interactions_of(later_events(0.5))))
    assert reordered.graph.nodes(USER).ids.all_ids() != state.graph.nodes(USER).ids.all_ids()
    one, two = (refit_exponents(each, base, SETTINGS, PLUGINS).manifest for each in (state, reordered))
    assert two.exponents["popularity"]["share"] == pytest.approx(one.exponents["popularity"]["share"], abs=0.2)
    assert two.metrics["exponent_events"] == one.metrics["exponent_events"]


def test_too_few_interactions_since_the_training_are_refused(state, base):
    with pytest.raises(TrainingError, match=r"wanted at least 50 interactions of known users and items since .* got 0"):
        refit_exponents(state, base, SETTINGS, PLUGINS)
    state.apply(EventBatch(interactions_of([(f"new{number}", "i0", LAST_MS + 1 + number) for number in range(100)])))
    with pytest.raises(TrainingError, match="got 0"):
        refit_exponents(state, base, SETTINGS, PLUGINS)
    assert len(state.graph.nodes(ITEM)) == SIZE
