"""The built-in losses of cosines, with numbers worked by hand."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from springtide.errors import SettingsError
from springtide.events.model import EventBatch
from springtide.plugins.contracts import LossInputs
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings
from springtide.testing import START_MS, check_loss, even_odd_state, interactions_of, quick_model, quick_settings
from springtide.training.message_edges import Ratings
from springtide.training.sampling import RatingSampler
from springtide_plugins.losses import adjacency
from springtide_plugins.losses.adjacency import Reconstruction
from springtide_plugins.losses.margin import LowRankMaxMargin, MaxMargin
from springtide_plugins.losses.pairwise import Hinge, PairwiseLogistic, Triplet
from springtide_plugins.losses.pointwise import BinaryCrossEntropy, MeanSquaredError
from springtide_plugins.losses.softmax import SampledSoftmax

PLUGINS = load_plugins()
LOSSES = [part for part in PLUGINS.parts if part.kind == "loss" and part.plugin == "springtide_plugins"]


def inputs_of(positive, negative, is_seen=None, weight=None, user=None, **others: Any) -> LossInputs:
    num_users, num_negatives, num_edges = len(negative), len(negative[0]), len(positive)
    columns: dict[str, Any] = {
        "positive_log_q": torch.zeros(num_edges),
        "negative_log_q": torch.zeros(num_negatives),
        "strength": torch.ones(num_edges),
        "item": torch.arange(num_edges),
        "user_vectors": torch.zeros(num_users, 2),
        "item_vectors": torch.zeros(num_edges, 2),
        **{name: torch.tensor(values) for name, values in others.items()},
    }
    return LossInputs(
        positive=torch.tensor(positive),
        user=torch.tensor(user if user is not None else range(num_edges)),
        weight=torch.tensor(weight or [1.0] * num_edges),
        negative=torch.tensor(negative),
        is_seen=torch.tensor(is_seen or [[False] * num_negatives] * num_users),
        **columns,
    )


@pytest.mark.parametrize("loss", LOSSES, ids=lambda part: part.name)
def test_training_finds_the_withheld_items_with_each_loss(loss):
    settings = quick_settings(model={"width": 16, "loss": {"name": loss.name}})
    users, items = torch.from_numpy(quick_model(even_odd_state(), settings).tensors["vectors"]).split(24)
    nearest = (users @ items.T).topk(12, dim=1).indices
    is_right = nearest % 2 == torch.arange(24).unsqueeze(-1) % 2
    assert is_right.float().mean() > 0.8, "half of them are right by chance"


def test_loss_keeps_its_contract_with_other_options():
    check_loss(MaxMargin, low_rank_weight=0.5)
    check_loss(Triplet, distance="squared")
    check_loss(PLUGINS.part("loss", "xsimgcl").factory, recommendation="pairwise_logistic", layer=0)


def test_bce_is_the_mean_of_both_kinds():
    # User 0's edge weighs 3, user 1's 1; the second sampled item of user 0 is its own.
    inputs = inputs_of(
        [0.5, 0.0], [[0.25, 9.0], [0.0, -0.5]], is_seen=[[False, True], [False, False]], weight=[3.0, 1.0]
    )
    ones = (3 * math.log(1 + math.exp(-1.0)) + math.log(2)) / 4
    zeros = (3 * math.log(1 + math.exp(0.5)) + math.log(2) + math.log(1 + math.exp(-1.0))) / 5
    assert float(BinaryCrossEntropy(temperature=0.5)(inputs)) == pytest.approx((ones + zeros) / 2)
    weighted = BinaryCrossEntropy(temperature=0.5, negative_weight=3.0)(inputs)
    assert float(weighted) == pytest.approx((ones + 3 * zeros) / 4)


def test_bce_equals_that_of_torch_for_equal_numbers_of_both_kinds():
    inputs = inputs_of([0.3, -0.2], [[0.1], [0.4]])
    logits, targets = torch.tensor([0.3, -0.2, 0.1, 0.4]) / 0.2, torch.tensor([1.0, 1.0, 0.0, 0.0])
    expected = F.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(BinaryCrossEntropy(temperature=0.2)(inputs), expected)


def test_mse_is_the_squared_error_of_ratings_edges_and_negatives():
    inputs = inputs_of([0.5], [[0.2, 0.9]], is_seen=[[False, True]], rated=[0.5, -0.5], rating=[1.0, -1.0])
    assert float(MeanSquaredError()(inputs)) == pytest.approx(0.25 + 0.04 + 0.25)
    assert float(MeanSquaredError(negative_weight=0.0)(inputs)) == pytest.approx(0.25 + 0.25)


def test_mse_leaves_rated_edges_to_their_ratings():
    inputs = inputs_of([0.5, 0.8], [[0.0], [0.0]], rated=[0.5], rating=[0.6], is_rated=[True, False])
    assert float(MeanSquaredError()(inputs)) == pytest.approx(0.2**2 + 0.1**2)


def test_mse_without_ratings_is_that_of_edges_and_negatives():
    assert float(MeanSquaredError()(inputs_of([0.5], [[0.2]]))) == pytest.approx(0.25 + 0.04)


def test_cce_corrects_for_how_items_were_drawn():
    # Scores: positive 0.5/0.5 − log 0.5 = 1 + log 2; negatives 0/0.5 − log 0.25 = log 4 and 0.25/0.5 − log 0.5.
    inputs = inputs_of(
        [0.5], [[0.0, 0.25]], positive_log_q=[math.log(0.5)], negative_log_q=[math.log(0.25), math.log(0.5)]
    )
    positive, negatives = math.exp(1) * 2, [4.0, math.exp(0.5) * 2]
    expected = -math.log(positive / (positive + sum(negatives)))
    assert float(SampledSoftmax(temperature=0.5)(inputs)) == pytest.approx(expected)


def test_cce_equals_that_of_torch_where_all_items_are_equally_likely():
    inputs = inputs_of([0.5], [[0.0, 0.25]])
    expected = F.cross_entropy(torch.tensor([[0.5, 0.0, 0.25]]) / 0.15, torch.tensor([0]))
    torch.testing.assert_close(SampledSoftmax()(inputs), expected)


def test_cce_weighs_edges():
    loss = SampledSoftmax(temperature=1.0)
    first = float(loss(inputs_of([0.5], [[0.1]])))
    second = float(loss(inputs_of([-0.5], [[0.1]])))
    both = inputs_of([0.5, -0.5], [[0.1]], user=[0, 0], weight=[3.0, 1.0])
    assert float(loss(both)) == pytest.approx((3 * first + second) / 4)


def test_cce_does_not_overflow_at_a_low_temperature():
    assert SampledSoftmax(temperature=1e-3)(inputs_of([-1.0], [[1.0, 1.0]])).isfinite()


def test_hinge_wants_a_score_one_above():
    # Over the temperature of 0.5: 1 − (0.5 − 0.4) / 0.5 = 0.8, and 1 − (0.5 + 0.1) / 0.5 < 0.
    assert float(Hinge(temperature=0.5)(inputs_of([0.5], [[0.4, -0.1]]))) == pytest.approx(0.8 / 2)


def test_hinge_is_max_margin_over_the_margin():
    inputs = inputs_of([0.5, 0.1], [[0.4, -0.1], [0.3, 0.2]])
    assert float(Hinge(temperature=0.4)(inputs)) == pytest.approx(float(MaxMargin(margin=0.4)(inputs)) / 0.4)


def test_pairwise_logistic_is_the_log_of_the_chance_to_be_above():
    inputs = inputs_of([0.5], [[0.3, 0.9]], is_seen=[[False, True]])
    expected = -math.log(1 / (1 + math.exp(-(0.5 - 0.3) / 0.1)))
    assert float(PairwiseLogistic(temperature=0.1)(inputs)) == pytest.approx(expected)


def test_triplet_equals_that_of_torch():
    vectors = F.normalize(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    user, item, other = vectors[:, None]
    cosines = (vectors @ vectors.T).tolist()
    expected = F.triplet_margin_loss(user, item, other, margin=1.5)
    found = Triplet(margin=1.5)(inputs_of([cosines[0][1]], [[cosines[0][2]]]))
    assert found > 0
    torch.testing.assert_close(found, expected)


def test_triplet_of_squared_distances_is_twice_the_cosines():
    # (2 − 2 · 0.5) − (2 − 2 · 0.6) + 0.3 = 1 − 0.8 + 0.3
    assert float(Triplet(margin=0.3, distance="squared")(inputs_of([0.5], [[0.6]]))) == pytest.approx(0.5)


def test_max_margin_is_the_mean_hinge_over_true_negatives():
    # User 0: 0.4 − 0.5 + 0.2 = 0.1, and its second is its own. User 1: 0.6 − 0.3 + 0.2 = 0.5 and 0.0 − 0.3 + 0.2 < 0.
    inputs = inputs_of([0.5, 0.3], [[0.4, 0.9], [0.6, 0.0]], is_seen=[[False, True], [False, False]])
    assert float(MaxMargin(margin=0.2)(inputs)) == pytest.approx((0.1 + 0.5 + 0.0) / 3)


def test_max_margin_weighs_edges():
    inputs = inputs_of([0.5, 0.3], [[0.4], [0.6]], weight=[3.0, 1.0])
    assert float(MaxMargin(margin=0.2)(inputs)) == pytest.approx((3 * 0.1 + 0.5) / 4)


def test_max_margin_is_0_where_all_sampled_items_are_seen():
    assert float(MaxMargin()(inputs_of([0.5], [[0.4, 0.9]], is_seen=[[True, True]]))) == 0.0


def test_low_rank_positives_are_a_users_weaker_edges():
    # User 0 has edges of strengths 3, 1 and 2: their cosines are to fall by 0.1 with each. User 1 has one edge.
    inputs = inputs_of([0.5, 0.6, 0.3, 0.9], [[-1.0], [-1.0]], user=[0, 0, 0, 1], strength=[3.0, 1.0, 2.0, 9.0])
    pairs = [0.6 - 0.5 + 0.1, 0.3 - 0.5 + 0.1, 0.6 - 0.3 + 0.1]  # Stronger above weaker: 3 > 1, 3 > 2, 2 > 1.
    expected = 0.5 * sum(max(0.0, pair) for pair in pairs) / 3
    loss = MaxMargin(margin=0.2, low_rank_margin=0.1, low_rank_weight=0.5)
    assert float(loss(inputs)) == pytest.approx(expected)  # The negatives lie too far below to count.


def test_low_rank_max_margin_is_max_margin_with_the_low_rank_term():
    inputs = inputs_of([0.5, 0.48], [[0.4]], user=[0, 0], strength=[2.0, 1.0])
    assert float(LowRankMaxMargin()(inputs)) == float(MaxMargin(low_rank_weight=0.5)(inputs))
    assert float(LowRankMaxMargin()(inputs)) > float(MaxMargin()(inputs))


def test_low_rank_positives_are_off_by_default():
    inputs = inputs_of([0.5, 0.6], [[-1.0]], user=[0, 0], strength=[3.0, 1.0])
    assert float(MaxMargin()(inputs)) == 0.0


def test_low_rank_positives_pull_the_stronger_above_the_weaker():
    inputs = inputs_of([0.5, 0.5], [[-1.0]], user=[0, 0], strength=[1.0, 3.0])
    inputs.positive.requires_grad_()
    MaxMargin(low_rank_weight=1.0)(inputs).backward()
    assert inputs.positive.grad is not None
    assert inputs.positive.grad.tolist() == [1.0, -1.0]


def test_low_rank_positives_are_limited_in_number():
    # The edge of strength 5 is compared with the next two alone, whose cosines make 0.1 and 0.2.
    strength = [5.0, 1.0, 1.0, 1.0]
    inputs = inputs_of([0.5, 0.5, 0.6, 0.9], [[-1.0]], user=[0, 0, 0, 0], strength=strength)
    loss = MaxMargin(margin=0.2, low_rank_margin=0.1, low_rank_weight=1.0, max_low_ranks=2)
    assert float(loss(inputs)) == pytest.approx((0.1 + 0.2) / 2)


def test_low_rank_positives_want_a_smaller_margin():
    with pytest.raises(SettingsError, match=r"wanted a low_rank_margin below the margin of 0.2, got 0.3"):
        MaxMargin(low_rank_margin=0.3, low_rank_weight=0.1)
    assert MaxMargin(low_rank_margin=0.3).low_rank_weight == 0.0  # Which does not count.


def test_reconstruction_balances_ones_and_zeros():
    # Row of the one user: own at logit 1, not own at logits 0 and 2, and its edge at logit 3 as one more.
    inputs = inputs_of([0.3], [[0.1, 0.0, 0.2]], is_seen=[[True, False, False]])
    ones = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-3))) / 2
    zeros = (math.log(2) + math.log(1 + math.exp(2))) / 2
    loss = Reconstruction(temperature=0.1, balance=0.25)
    assert float(loss(inputs)) == pytest.approx(0.25 * ones + 0.75 * zeros)


def test_reconstruction_pulls_seen_sampled_items_near():
    inputs = inputs_of([0.3], [[0.1, 0.0]], is_seen=[[True, False]])
    inputs.negative.requires_grad_()
    Reconstruction()(inputs).backward()
    assert inputs.negative.grad is not None
    assert inputs.negative.grad[0, 0] < 0 < inputs.negative.grad[0, 1]


def test_gradient_of_reconstruction_is_that_of_its_formula():
    generator = torch.Generator().manual_seed(3)
    num_users, num_sampled, num_edges = 5, 40, 12
    user = torch.arange(num_edges) % (num_users - 1)  # The last user has no edge.
    inputs = replace(
        inputs_of([0.0] * num_edges, [[0.0] * num_sampled] * num_users, user=user.tolist()),
        positive=torch.rand(num_edges, generator=generator, requires_grad=True),
        negative=(2 * torch.rand(num_users, num_sampled, generator=generator) - 1).requires_grad_(),
        is_seen=torch.rand(num_users, num_sampled, generator=generator) < 0.2,
        weight=torch.rand(num_edges, generator=generator),
    )
    temperature, balance = 0.02, 0.3  # Cold: logits up to 50.
    logits, weight = inputs.negative / temperature, torch.zeros(num_users).index_add(0, user, inputs.weight)
    edges = (F.softplus(-inputs.positive / temperature) * inputs.weight).sum() / inputs.weight.sum()
    seen = F.softplus(-logits[inputs.is_seen])
    ones = (seen.sum() + num_users * edges) / (len(seen) + num_users)
    of_zeros = ~inputs.is_seen * weight.unsqueeze(-1)
    wanted = balance * ones + (1 - balance) * (F.softplus(logits) * of_zeros).sum() / of_zeros.sum()
    found = Reconstruction(temperature=temperature, balance=balance)(inputs)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    both = [inputs.positive, inputs.negative]
    for gradient, formula in zip(torch.autograd.grad(found, both), torch.autograd.grad(wanted, both), strict=True):
        torch.testing.assert_close(gradient, formula, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("num_sampled", [1, 8, 13, 700])
def test_compiled_entropy_is_that_of_torch_in_double_precision(num_sampled):
    generator = torch.Generator().manual_seed(num_sampled)
    cosines = 2 * torch.rand(9, num_sampled, generator=generator) - 1
    cosines[0, 0] = 0.0
    is_one = torch.rand(9, num_sampled, generator=generator) < 0.3
    of_one, of_zero = torch.tensor(0.02), torch.rand(9, generator=generator)
    for temperature in (0.15, 0.02, 0.005):  # Logits up to 200.
        entropy, gradient = adjacency._compiled(cosines, is_one, of_one, of_zero, temperature)
        doubles = [each.double() for each in (of_one, of_zero)]
        wanted, wanted_gradient = adjacency._by_torch(cosines.double(), is_one, *doubles, temperature)
        assert entropy.item() == pytest.approx(wanted.item(), rel=1e-5)
        torch.testing.assert_close(gradient.double(), wanted_gradient, rtol=1e-4, atol=1e-6)


def test_compiled_entropy_is_the_same_on_two_threads():
    generator, before = torch.Generator().manual_seed(0), torch.get_num_threads()
    cosines = 2 * torch.rand(64, 4_100, generator=generator) - 1
    is_one, of_zero = torch.rand(64, 4_100, generator=generator) < 0.1, torch.rand(64, generator=generator)
    found = []
    try:
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            found.append(adjacency._compiled(cosines, is_one, torch.tensor(0.1), of_zero, 0.15))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_compiled_entropy_of_what_is_not_a_number_is_none():
    cosines = torch.tensor([[0.1, float("nan")]])
    for is_one in (False, True):
        marks = torch.tensor([[False, is_one]])
        entropy, _ = adjacency._compiled(cosines, marks, torch.tensor(0.1), torch.ones(1), 0.15)
        assert math.isnan(entropy.item())


@pytest.mark.parametrize("loss", ["hinge", "max_margin", "pairwise_logistic", "triplet"])
def test_pairwise_losses_use_the_first_negatives_only(loss):
    few = PLUGINS.make("loss", PartSettings(name=loss, options={"max_negatives": 1}))
    found = few(inputs_of([0.5], [[0.4, 0.9]]))
    assert float(found) == float(few(inputs_of([0.5], [[0.4]])))
    assert float(found) < float(PLUGINS.make("loss", PartSettings(name=loss))(inputs_of([0.5], [[0.4, 0.9]])))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("max_margin", {"margin": 2.1}, "margin: wanted a number, above 0, at most 2, got 2.1"),
        ("hinge", {"max_negatives": 0}, "max_negatives: wanted a whole number, above 0, got 0"),
        ("cce", {"temperature": 0.0}, "temperature: wanted a number, above 0, got 0.0"),
        ("triplet", {"distance": "cosine"}, "distance: wanted 'euclidean' or 'squared', got 'cosine'"),
        ("reconstruction", {"balance": 1.0}, "balance: wanted a number, above 0, below 1, got 1.0"),
    ],
)
def test_bad_option_is_refused(name, options, message):
    with pytest.raises(SettingsError, match=message):
        PLUGINS.make("loss", PartSettings(name=name, options=options))


def test_rated_edges_are_marked():
    # User 1 rated items 0 and 2, user 2 item 1.
    ratings = Ratings(np.array([1, 2, 1]), np.array([0, 1, 2]), np.zeros(3, np.float32))
    found = RatingSampler(ratings, num_users=3).is_rated(np.array([0, 1, 2]), np.array([[0, 2], [2, 1], [1, 9]]))
    assert found.tolist() == [[False, False], [True, False], [True, False]]
    none = Ratings(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    assert RatingSampler(none, num_users=3).is_rated(np.array([0]), np.array([[0, 1]])).tolist() == [[False, False]]


def test_training_by_mse_brings_cosines_to_ratings():
    # Users give 5 stars to every item of their own parity and 1 star to every other.
    state, size = even_odd_state(size=8), 8
    events = [(f"u{user}", f"i{item}", START_MS) for user in range(size) for item in range(size)]
    stars = np.array([5.0 if (user + item) % 2 == 0 else 1.0 for user in range(size) for item in range(size)])
    for relation, chosen in (("rating>=4", stars == 5.0), ("rating", stars == 1.0)):
        rated = interactions_of([event for event, is_chosen in zip(events, chosen, strict=True) if is_chosen], relation)
        state.apply(EventBatch(replace(rated, values=stars[chosen].astype(np.float32))))
    model = {"width": 16, "loss": {"name": "mse", "options": {"negative_weight": 0.0}}}
    users, items = torch.from_numpy(quick_model(state, quick_settings(model=model)).tensors["vectors"]).split(size)
    found, wanted = users @ items.T, torch.from_numpy(stars.reshape(size, size) / 2 - 1.5)
    assert (found - wanted).abs().mean() < 0.2
