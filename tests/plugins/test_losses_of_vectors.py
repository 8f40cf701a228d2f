"""The built-in losses of the geometry of vectors, with numbers worked by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from springtide.errors import SettingsError
from springtide.plugins.contracts import LossInputs
from springtide.plugins.loading import load_plugins
from springtide.testing import quick_settings
from springtide_plugins.losses.geometry import DirectAU, XSimGCL
from springtide_plugins.losses.softmax import SampledSoftmax


def inputs_of(users, items, item=None, user_levels=(), item_levels=(), user=None) -> LossInputs:
    users, items = torch.tensor(users), torch.tensor(items)
    user = torch.tensor(user) if user is not None else torch.arange(len(items))
    return LossInputs(
        positive=(users[user] * items).sum(-1),
        user=user,
        weight=torch.ones(len(items)),
        negative=torch.zeros(len(users), 1),
        is_seen=torch.zeros(len(users), 1, dtype=torch.bool),
        positive_log_q=torch.zeros(len(items)),
        negative_log_q=torch.zeros(1),
        strength=torch.ones(len(items)),
        item=torch.tensor(item) if item is not None else torch.arange(len(items)),
        user_vectors=users,
        item_vectors=items,
        user_levels=user_levels,
        item_levels=item_levels,
    )


EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def test_directau_is_alignment_and_half_of_both_uniformities():
    inputs = inputs_of([EAST, NORTH], [WEST, EAST])
    # Edges: east–west 4, north–east 2. Users 2 apart, items 4 apart: log exp(−2 · 2) and log exp(−2 · 4).
    expected = (4 + 2) / 2 + 0.5 * (-4 - 8) / 2
    assert float(DirectAU(gamma=0.5)(inputs)) == pytest.approx(expected)


def test_directau_uniformity_is_the_log_of_a_mean_over_different_pairs():
    inputs = inputs_of([EAST, NORTH, WEST], [EAST, NORTH, WEST])
    # Pairs: 2, 2 and 4 apart, of users and of items alike; the edges lie together.
    expected = math.log((2 * math.exp(-4) + math.exp(-8)) / 3)
    assert float(DirectAU(gamma=1.0)(inputs)) == pytest.approx(expected)


def test_directau_counts_an_item_once():
    # Two edges lead to the same item: that it lies on itself is no lack of uniformity.
    twice = inputs_of([EAST, NORTH], [WEST, WEST], item=[7, 7])
    assert float(DirectAU(gamma=1.0)(twice)) == pytest.approx((4 + 2) / 2 + (-4 + 0) / 2)


def test_directau_compares_at_most_max_nodes():
    users, items = [EAST, NORTH, EAST], [EAST, NORTH, EAST]
    # The first two of each are 2 apart; the third ones lie on the first.
    assert float(DirectAU(max_nodes=2)(inputs_of(users, items))) == pytest.approx(-4.0)
    assert float(DirectAU(max_nodes=3)(inputs_of(users, items))) > -4.0


def unit(count: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)), dim=-1)


def contrasted() -> LossInputs:
    """Three users with an edge each, to items 5, 6 and 5 again."""
    users, items = unit(3, 0), unit(2, 1)[[0, 1, 0]]
    user_levels = [unit(3, 2), 2.5 * unit(3, 3), users]
    item_levels = [unit(2, 4)[[0, 1, 0]], 0.5 * unit(2, 5)[[0, 1, 0]], items]
    return inputs_of(users.tolist(), items.tolist(), [5, 6, 5], user_levels, item_levels)


def info_nce(vectors: Tensor, level: Tensor, temperature: float) -> float:
    loss = 0.0
    for row, vector in enumerate(vectors):
        scores = torch.stack([torch.cosine_similarity(vector, other, dim=0) for other in level]) / temperature
        loss -= float(torch.log_softmax(scores, 0)[row]) / len(vectors)
    return loss


@pytest.mark.parametrize("layer", [0, 1])
def test_xsimgcl_adds_the_contrast_of_distinct_users_and_items(layer):
    inputs = contrasted()
    users = info_nce(inputs.user_vectors, inputs.user_levels[layer], 0.2)
    items = info_nce(inputs.item_vectors[:2], inputs.item_levels[layer][:2], 0.2)
    expected = float(SampledSoftmax(temperature=0.1)(inputs)) + 0.3 * (users + items)
    loss = XSimGCL(2, temperature=0.1, contrast_weight=0.3, contrast_temperature=0.2, layer=layer)
    assert float(loss(inputs)) == pytest.approx(expected, rel=1e-5)


def test_xsimgcl_contrasts_at_most_max_nodes():
    inputs = contrasted()
    users = info_nce(inputs.user_vectors[:1], inputs.user_levels[1][:1], 0.2)
    assert users == 0.0  # One alone has nothing to be told from.
    loss = XSimGCL(2, contrast_weight=1.0, max_nodes=1)
    assert float(loss(inputs)) == pytest.approx(float(SampledSoftmax()(inputs)))


def test_xsimgcl_sets_the_noise():
    assert XSimGCL(2, eps=0.25).noise == 0.25
    assert SampledSoftmax().noise == 0.0


def test_xsimgcl_refuses_a_layer_beyond_those_of_the_encoder():
    settings = quick_settings(model={"num_layers": 2, "loss": {"name": "xsimgcl", "options": {"layer": 3}}})
    with pytest.raises(SettingsError, match="loss 'xsimgcl': wanted a layer of the encoder, at most 2, got 3"):
        load_plugins().check(settings)
