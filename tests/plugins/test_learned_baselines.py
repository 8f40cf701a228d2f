"""Baselines that are learned by gradient descent: MultVAE, LightGCN and a temporal graph network."""

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
from springtide_plugins.baselines.tgn_fit import Network, Stream, fit
from springtide_plugins.baselines.torch_threads import torch_threads

PLUGINS = load_plugins()
NAMES = ["mult_vae", "lightgcn_bpr", "tgn"]
QUICK = {
    "mult_vae": {"hidden": 16, "latent": 4, "steps": 150, "learning_rate": 0.01},
    "lightgcn_bpr": {"width": 8, "steps": 150},
    "tgn": {"width": 16, "epochs": 40, "batch_events": 20, "learning_rate": 0.01},
}
# Even users have even items and odd users odd ones, but for one item of each user.
CLUSTERS = [(user, item) for user in range(24) for item in range(user % 2, 12, 2) if user % 6 != item // 2]
np.random.default_rng(0).shuffle(CLUSTERS)  # Users come and go.
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


def test_a_fit_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    fitted_on_clusters("mult_vae", num_threads=before + 1, steps=1)
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
    model = LightGCN(24 + 12, 8, 2)
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


def test_tgn_embeds_known_users_as_the_modules_of_pyg(tgn_of_clusters):
    baseline, network, stream = tgn_of_clusters
    with torch.no_grad():
        expected = network.embedded(torch.arange(24), stream, len(stream.users)).numpy()
    events = list(zip(stream.users.tolist(), stream.items.tolist(), stream.times_s.tolist(), strict=True))
    histories = [
        history_of([(item, 1_000 * time) for each, item, time in events if each == user]) for user in range(24)
    ]
    np.testing.assert_allclose(baseline.user_vectors(np.arange(24), histories), expected, rtol=1e-3, atol=1e-4)


def test_tgn_takes_events_since_the_fit_into_the_memory_as_pyg_does(tgn_of_clusters):
    baseline, network, stream = tgn_of_clusters
    time_s = int(stream.times_s[-1]) + 5_000
    network.take(torch.tensor([3]), torch.tensor([8]), torch.tensor([time_s]))
    found = baseline.memory_now(np.array([3]), [history_of([(8, 1_000 * time_s), (1, 0)])])
    np.testing.assert_allclose(found, network.memory.memory[3:4].detach().numpy(), rtol=1e-3, atol=1e-4)
    assert not np.allclose(found, baseline.user_memory[3])


@pytest.fixture
def tgn_of_clusters():
    """The baseline, and the same network with the same weights and memories, by torch and PyG."""
    observed = observed_of([(user, item, 1_000_000 * time) for time, (user, item) in enumerate(CLUSTERS)])
    baseline = make("tgn", neighbours=3, epochs=2)
    baseline.fit(observed, 24, 12)
    with torch_threads(1):
        torch.manual_seed(0)
        network, stream = Network(24, 12, baseline), Stream.of(observed, 24, 1_000)
        fit(network, stream, baseline)
    return baseline, network, stream


def test_latest_events_of_a_node_are_those_before_a_moment():
    stream = Stream.of(observed_of([(0, 0, 0), (0, 1, 1_000), (1, 1, 2_000), (0, 0, 3_000), (0, 1, 4_000)]), 2, 100)
    index, others, events = stream.latest(torch.tensor([0, 1, 3]), 2, before=4)
    assert index.tolist() == [0, 0, 1, 2, 2]
    assert others.tolist() == [2, 3, 3, 1, 0]
    assert events.tolist() == [3, 1, 2, 2, 1]


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
