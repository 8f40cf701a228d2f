"""Baselines that are learned by gradient descent: MultVAE and LightGCN."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch_geometric.nn.models import LightGCN

from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings
from springtide.testing import history_of, observed_of
from springtide_plugins.baselines.histories import seen_matrix
from springtide_plugins.baselines.lightgcn_fit import fitted_layers, unseen_items
from springtide_plugins.baselines.mult_vae_fit import loss

PLUGINS = load_plugins()
NAMES = ["mult_vae", "lightgcn_bpr"]
QUICK = {
    "mult_vae": {"hidden": 16, "latent": 4, "steps": 150, "learning_rate": 0.01},
    "lightgcn_bpr": {"width": 8, "steps": 150},
}
# Even users have even items and odd users odd ones, but for one item of each user.
CLUSTERS = [(user, item) for user in range(24) for item in range(user % 2, 12, 2) if user % 6 != item // 2]
NOW = 1_000


def make(name, **options):
    return PLUGINS.make("baseline", PartSettings(name=name, options={**QUICK[name], **options}))


@pytest.fixture(scope="module")
def fitted():
    """Each of them, fitted on two clusters of users and items."""
    return {name: fitted_on_clusters(name) for name in NAMES}


def fitted_on_clusters(name, **options):
    baseline = make(name, **options)
    baseline.fit(observed_of([(user, item, time) for time, (user, item) in enumerate(CLUSTERS)]), 24, 12)
    return baseline


def scores_of(baseline, *histories, user_rows=None):
    rows = np.full(len(histories), -1) if user_rows is None else np.array(user_rows)
    given = [history_of([(item, NOW - age) for age, item in enumerate(items)]) for items in histories]
    return baseline.scores(rows, given, NOW)


@pytest.mark.parametrize("name", NAMES)
def test_items_of_the_cluster_of_an_unknown_user_come_first(name, fitted):
    scores = scores_of(fitted[name], [0, 2], [1])
    assert scores[0, [4, 6, 8, 10]].min() > scores[0, 1::2].max()
    assert scores[1, [3, 5, 7, 9, 11]].min() > scores[1, ::2].max()


@pytest.mark.parametrize("name", NAMES)
def test_an_item_that_a_user_has_just_taken_changes_the_answer(name, fitted):
    before, after = scores_of(fitted[name], [2], [3, 2], user_rows=[0, 0])
    assert after[1::2].mean() - after[::2].mean() > before[1::2].mean() - before[::2].mean()


@pytest.mark.parametrize("name", NAMES)
def test_users_of_whom_nothing_is_known_get_popular_items(name, fitted):
    popularity = np.bincount([item for _, item in CLUSTERS], minlength=12)
    scores = scores_of(fitted[name], [], [12, 40], user_rows=[3, -1])  # Items that came after the fit.
    for row in scores:
        assert (np.diff(popularity[np.argsort(-row)]) <= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_gives_another_fit_and_the_same_one_the_same(name, fitted):
    again, other = fitted_on_clusters(name), fitted_on_clusters(name, seed=1)
    for key, array in fitted[name].state().items():
        assert np.array_equal(array, again.state()[key]), key
    assert not np.allclose(scores_of(other, [0]), scores_of(again, [0]))


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_one_answers_as_before(name, fitted):
    restored = make(name)
    restored.restore(fitted[name].state())
    asked = {"user_rows": [0, 5, -1]}
    assert np.array_equal(
        scores_of(restored, [0, 4], [3], [7], **asked), scores_of(fitted[name], [0, 4], [3], [7], **asked)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_leaves_the_number_of_threads_as_it_was(name):
    before = torch.get_num_threads()
    fitted_on_clusters(name, steps=1, num_threads=before + 1)
    assert torch.get_num_threads() == before


def test_mult_vae_loss_is_the_evidence_lower_bound():
    # No weights but biases: the mean is 1 and the log variance 0, so the divergence is 1/2; logits are log 1, 2, 5.
    shapes = {"encoder_in": (3, 1), "encoder_out": (1, 2), "decoder_in": (1, 1), "decoder_out": (1, 3)}
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    weights |= {f"{name}_bias": torch.zeros(shape[1]) for name, shape in shapes.items()}
    weights["encoder_out_bias"] = torch.tensor([1.0, 0.0])
    weights["decoder_out_bias"] = torch.tensor([1.0, 2.0, 5.0]).log()
    seen = sparse.csr_array(np.array([[1, 1, 0], [0, 0, 1]], np.float32))
    found = loss(seen, weights, 0.5, 0.2, torch.Generator().manual_seed(0))
    expected = (-np.log(1 / 8) - np.log(2 / 8) - np.log(5 / 8)) / 2 + 0.2 * 0.5
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_lightgcn_answers_known_users_as_the_model_of_pyg(fitted):
    baseline = fitted["lightgcn_bpr"]
    users, items = np.array(CLUSTERS).T
    forth = torch.from_numpy(np.stack([users, items + 24]))
    model = LightGCN(24 + 12, 8, 3)
    layers = fitted_layers(seen_of(CLUSTERS), baseline)
    model.embedding.weight.data = torch.from_numpy(layers[0].copy())
    vectors = model.get_embedding(torch.cat([forth, forth.flip(0)], dim=1)).detach().numpy()
    histories = [[item for each, item in CLUSTERS if each == user] for user in range(24)]
    scores = scores_of(baseline, *histories, user_rows=range(24))
    np.testing.assert_allclose(scores, vectors[:24] @ vectors[24:].T, rtol=1e-4, atol=1e-6)


def test_forgotten_users_are_answered_by_their_items_alone(fitted):
    baseline = make("lightgcn_bpr")
    baseline.restore(fitted["lightgcn_bpr"].state())
    known, kept, unknown = scores_of(baseline, [0, 4], [0, 4], [0, 4], user_rows=[0, 2, -1])
    baseline.forget_users(np.array([0]))
    forgotten, still = scores_of(baseline, [0, 4], [0, 4], user_rows=[0, 2])
    assert not np.allclose(known, unknown)
    np.testing.assert_allclose(forgotten, unknown, rtol=1e-6)
    np.testing.assert_allclose(still, kept, rtol=1e-6)


def test_negatives_are_items_that_the_user_has_not_had():
    users = torch.arange(24).repeat(50)
    pairs = torch.tensor(sorted(user * 12 + item for user, item in CLUSTERS))
    drawn = unseen_items(users, pairs, 12, torch.Generator().manual_seed(0))
    is_seen = torch.isin(users * 12 + drawn, pairs)
    # Each user has had 5 of 12 items: after five draws more, one in 190 is still one of them.
    assert is_seen.float().mean() < 0.02
    assert set(drawn[users == 0].tolist()) >= {0, 1, 3, 5, 7, 9, 11}


def seen_of(pairs):
    return seen_matrix(observed_of([(user, item, time) for time, (user, item) in enumerate(pairs)]), 24, 12)
