"""What a training learns from items that were shown beside the one that was chosen."""

import numpy as np
import pytest
import torch

from springtide.events.model import EventBatch
from springtide.graph.applying import USER
from springtide.interactions import Observed
from springtide.model.registry import ModelArtifact
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PluginSettings, Settings
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings
from springtide.training.passed_over import PassedOver, PassedOverSampler, passed_over_loss

PLUGINS = load_plugins(PluginSettings())
SIZE = 24
LATER_MS = even_odd_events(SIZE)[-1][2] + 3_600_000
MINUTE_MS = 60_000


def observed(*events: tuple[int, int, int]) -> Observed:
    """Return events as (user row, item row, minute)."""
    users, items, minutes = (np.array(column) for column in zip(*events, strict=True))
    times_ms = (minutes * MINUTE_MS).astype(np.int64)
    return Observed(users.astype(np.int32), items.astype(np.int32), times_ms, np.ones(len(events), np.float32))


def pairs_of(shown: Observed, chosen: Observed, before_ms: int | None = None) -> list[tuple[int, int, int]]:
    found = PassedOver.of(shown, chosen, before_ms)
    return list(zip(found.user_rows.tolist(), found.chosen_rows.tolist(), found.passed_rows.tolist(), strict=True))


def test_what_was_shown_beside_the_choice_is_passed_over():
    shown = observed((7, 1, 0), (7, 2, 0), (7, 3, 0), (5, 1, 0), (5, 4, 1))
    assert pairs_of(shown, observed((7, 2, 10), (5, 4, 20))) == [(5, 4, 1), (7, 2, 1), (7, 2, 3)]
    assert PassedOver.of(shown, observed((7, 2, 10))).user_rows.dtype == np.int64


def test_a_page_without_a_choice_says_nothing():
    shown = observed((7, 1, 0), (7, 2, 0))
    assert pairs_of(shown, observed((7, 1, 31))) == [], "too late to be of this page"
    assert pairs_of(shown, observed((7, 9, 5))) == [], "what was chosen was not shown"
    assert pairs_of(shown, observed((8, 1, 5))) == [], "another user chose it"
    assert pairs_of(shown, observed((7, 1, -1))) == [], "it was chosen before"


def test_two_that_were_chosen_of_one_page_are_not_passed_over():
    shown = observed((7, 1, 0), (7, 2, 0), (7, 3, 0))
    assert pairs_of(shown, observed((7, 1, 5), (7, 2, 6))) == [(7, 1, 3)]


def test_what_was_shown_later_does_not_count():
    shown = observed((7, 1, 0), (7, 2, 0), (7, 1, 100), (7, 3, 100))
    chosen = observed((7, 1, 5), (7, 1, 105))
    assert pairs_of(shown, chosen) == [(7, 1, 2), (7, 1, 3)]
    assert pairs_of(shown, chosen, before_ms=100 * MINUTE_MS) == [(7, 1, 2)]
    assert pairs_of(shown, chosen, before_ms=0) == []


def test_sampler_draws_each_users_own_pairs():
    pairs = PassedOver(np.array([1, 1, 4]), np.array([7, 8, 9]), np.array([70, 80, 90]))
    position, chosen, passed = PassedOverSampler(pairs, 6).draw(np.array([5, 4, 1]), 50, np.random.default_rng(0))
    assert np.bincount(position).tolist() == [0, 50, 50]
    assert set(chosen[position == 1].tolist()) == {9}
    assert set(chosen[position == 2].tolist()) == {7, 8}
    assert (passed == 10 * chosen).all()
    assert len(PassedOverSampler(PassedOver.none(), 6).draw(np.array([5]), 9, np.random.default_rng(0))[0]) == 0


def test_loss_by_hand():
    loss = passed_over_loss(torch.tensor([0.0, 0.15]), torch.tensor([0.15, 0.0]), torch.tensor([0.0, 1.0]), 4)
    assert loss.item() == pytest.approx((np.log(1 + np.e) + np.log(1 + np.exp(-2))) / 4, abs=1e-6)


def settings_of(weight: float) -> Settings:
    return quick_settings(
        training={"passed_over_weight": weight},
        interactions={"purchase": {}, "impression": {"weight": 0.1, "feedback": "shown"}},
    )


def model_of(weight: float, *, is_shown: bool = True) -> ModelArtifact:
    settings = settings_of(weight)
    state = even_odd_state(SIZE, settings)
    if is_shown:  # Again and again the user is shown i2 and i4, and takes i4.
        times = [LATER_MS + step * 3_600_000 for step in range(8)]
        shown = [("u0", item, time) for time in times for item in ("i2", "i4")]
        state.apply(EventBatch(interactions_of(shown, "impression")))
        state.apply(EventBatch(interactions_of([("u0", "i4", time + 1) for time in times])))
    return quick_model(state, settings, PLUGINS)


def cosine_of(model: ModelArtifact, user: int, item: int) -> float:
    vectors = model.tensors["vectors"]
    return float(vectors[user] @ vectors[len(model.node_ids[USER]) + item])


def test_what_was_passed_over_falls_behind_what_was_chosen():
    plain, taught = model_of(0.0), model_of(3.0)
    lead = [cosine_of(model, 0, 4) - cosine_of(model, 0, 2) for model in (plain, taught)]
    assert lead[1] > lead[0] + 0.05


def test_without_what_was_shown_the_model_is_the_same_bit_for_bit():
    plain, other = model_of(0.0, is_shown=False), model_of(1.0, is_shown=False)
    assert all(np.array_equal(tensor, other.tensors[name]) for name, tensor in plain.tensors.items())
