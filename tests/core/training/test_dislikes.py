"""What a training learns from dislikes, with every loss, and that it learns nothing where there are none."""

import numpy as np
import pytest
import torch

from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch
from springtide.graph.applying import USER
from springtide.model.registry import ModelArtifact
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PluginSettings, Settings
from springtide.testing import START_MS, even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings
from springtide.training.dislikes import Dislikes, DislikeSampler, dislike_loss, disliked_events
from springtide.training.graph import Nodes, TrainingGraph

PLUGINS = load_plugins(PluginSettings())
LOSSES = sorted(part.name for part in PLUGINS.parts if part.kind == "loss")
SIZE = 24
LATER_MS = even_odd_events(SIZE)[-1][2] + 3_600_000


def settings_of(loss: str = "cce", weight: float = 1.0, **rule) -> Settings:
    rules = {"purchase": {}, "dislike": {"positive": False, "weight": weight, **rule}}
    return quick_settings(model={"width": 16, "loss": {"name": loss}}, interactions=rules)


def cosine_of(model: ModelArtifact, user: int, item: int) -> float:
    vectors = model.tensors["vectors"]
    num_users = len(model.node_ids[USER])
    return float(vectors[user] @ vectors[num_users + item])


def model_of(settings: Settings, *dislikes: tuple[str, str, int]) -> ModelArtifact:
    state = even_odd_state(SIZE, settings)
    if dislikes:
        state.apply(EventBatch(interactions_of(dislikes, "dislike")))
    return quick_model(state, settings, PLUGINS)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_from_dislikes(loss: str) -> None:
    settings = settings_of(loss)
    plain = model_of(settings)
    taught = model_of(settings, ("u0", "i0", LATER_MS), ("u2", "i2", LATER_MS))
    fall = np.mean([cosine_of(plain, number, number) - cosine_of(taught, number, number) for number in (0, 2)])
    others = np.mean(
        [cosine_of(plain, number, number) - cosine_of(taught, number, number) for number in range(4, SIZE)]
    )
    assert fall > 0.02, "the disliked items fall"
    assert fall > 2 * abs(others), "for other users, the same items hardly do"


@pytest.mark.parametrize("feedback", ["neutral", "negative"])
def test_without_dislikes_the_model_is_the_same_bit_for_bit(feedback: str) -> None:
    plain = model_of(quick_settings(interactions={"purchase": {}}))
    other = model_of(settings_of(feedback=feedback))
    assert plain.tensors.keys() == other.tensors.keys()
    assert all(np.array_equal(tensor, other.tensors[name]) for name, tensor in plain.tensors.items())
    neutral = model_of(settings_of(feedback="neutral"), ("u0", "i0", LATER_MS))
    assert all(np.array_equal(tensor, neutral.tensors[name]) for name, tensor in plain.tensors.items())


def test_fine_tuning_learns_from_dislikes_since() -> None:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    base = quick_model(state, settings, PLUGINS)
    state.apply(EventBatch(interactions_of([("u1", "i0", LATER_MS)])))  # Somebody else chose something meanwhile.
    unmoved = quick_model(state, settings, PLUGINS, base=base)
    state.apply(EventBatch(interactions_of([("u0", "i0", LATER_MS + 1)], "dislike")))
    tuned = quick_model(state, settings, PLUGINS, base=base)
    assert cosine_of(tuned, 0, 0) < cosine_of(unmoved, 0, 0) - 0.02
    assert cosine_of(tuned, 2, 2) == pytest.approx(cosine_of(unmoved, 2, 2), abs=0.1)


def test_heavier_dislikes_teach_more() -> None:
    cosines = [cosine_of(model_of(settings_of(weight=weight), ("u0", "i0", LATER_MS)), 0, 0) for weight in (0.05, 1.0)]
    assert cosines[0] > cosines[1] + 0.02


def dislikes_of(*events: tuple[str, str, int], before_ms: int | None = None, liked: str = "") -> tuple:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    state.apply(EventBatch(interactions_of(events, "dislike")))
    if liked:
        state.apply(EventBatch(interactions_of([("u0", liked, LATER_MS + 1)])))
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    disliked = disliked_events(view, state.rules)
    return Dislikes.of(disliked, interactions, LATER_MS, before_ms), interactions


def test_dislikes_add_up_and_fade_and_are_taken_back() -> None:
    old_ms = LATER_MS - 180 * MS_PER_DAY
    found, interactions = dislikes_of(
        ("u3", "i2", LATER_MS), ("u3", "i2", old_ms), ("u0", "i5", LATER_MS), ("u0", "i4", LATER_MS), liked="i4"
    )
    assert found.user_rows.tolist() == [0, 3]
    assert found.item_rows.tolist() == [5, 2]
    assert found.strengths.tolist() == pytest.approx([1.0, 1.5])
    assert found.latest_ms.tolist() == [LATER_MS, LATER_MS]
    assert found.trust(interactions) is not None
    assert np.all(found.trust(interactions) == 1.0), "nobody chose what they dislike"
    earlier, _ = dislikes_of(("u3", "i2", LATER_MS), ("u3", "i4", START_MS), before_ms=LATER_MS)
    assert earlier.item_rows.tolist() == [4]


def test_what_was_chosen_and_then_disliked_is_drawn_less_often() -> None:
    found, interactions = dislikes_of(("u0", "i2", LATER_MS))
    trust = found.trust(interactions)
    is_disliked = (interactions.user_rows == 0) & (interactions.item_rows == 2)
    assert trust is not None
    assert trust[is_disliked].tolist() == pytest.approx([np.exp(-2.0)], abs=1e-6)
    assert np.all(trust[~is_disliked] == 1.0)


def test_sampler_draws_each_users_own_dislikes() -> None:
    pairs = Dislikes(np.array([1, 1, 4]), np.array([7, 8, 9]), np.array([1.0, 0.5, 2.0]), np.zeros(3, np.int64))
    sampler = DislikeSampler(pairs, likes=np.array([0.0, 25.0, 0.0, 0.0, 4.0, 9.0]))
    position, items, weights = sampler.draw(np.array([5, 4, 1]), 50, np.random.default_rng(0))
    assert np.bincount(position).tolist() == [0, 50, 50]
    assert set(items[position == 1].tolist()) == {9}
    assert set(items[position == 2].tolist()) == {7, 8}
    # A pair counts by its strength; all of a user are 1.5 / (1.5 + √25) and 2 / (2 + √4) on average.
    assert weights[items == 8].tolist() == pytest.approx([0.5 * 2 / 6.5] * (items == 8).sum())
    assert weights[items == 9].tolist() == pytest.approx([0.5] * 50)
    assert len(DislikeSampler(Dislikes.none(), np.ones(6)).draw(np.array([5, 4]), 9, np.random.default_rng(0))[0]) == 0


def test_loss_of_dislikes_by_hand() -> None:
    loss = dislike_loss(torch.tensor([0.15, 0.0]), torch.tensor([1.0, 0.5]), num_wanted=4)
    assert loss.item() == pytest.approx((np.log(1 + np.e) + 0.5 * np.log(2)) / 4, abs=1e-6)


def test_graph_of_a_training_without_negative_rules_has_no_dislikes() -> None:
    state = even_odd_state(SIZE)
    view = state.graph.view()
    graph = TrainingGraph.build(Nodes.of(view), state.positive_interactions(view))
    assert len(graph.dislikes) == 0
    assert graph.dislikes.trust(graph.interactions) is None
