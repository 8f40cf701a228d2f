"""The built-in losses, with numbers worked by hand."""

import math

import pytest
import torch

from springtide.errors import SettingsError
from springtide.plugins.contracts import LossInputs
from springtide_plugins.losses import MaxMargin, SampledSoftmax


def inputs_of(positive, negative, is_own=None, weight=None, user=None, positive_log_q=None, negative_log_q=None):
    num_users, num_negatives = len(negative), len(negative[0])
    return LossInputs(
        positive=torch.tensor(positive),
        user=torch.tensor(user if user is not None else range(len(positive))),
        weight=torch.tensor(weight or [1.0] * len(positive)),
        negative=torch.tensor(negative),
        is_own=torch.tensor(is_own or [[False] * num_negatives] * num_users),
        positive_log_q=torch.tensor(positive_log_q or [0.0] * len(positive)),
        negative_log_q=torch.tensor(negative_log_q or [0.0] * num_negatives),
    )


def test_max_margin_is_the_mean_hinge_over_true_negatives():
    # User 0: 0.4 − 0.5 + 0.2 = 0.1, and its second is its own. User 1: 0.6 − 0.3 + 0.2 = 0.5 and 0.0 − 0.3 + 0.2 < 0.
    inputs = inputs_of([0.5, 0.3], [[0.4, 0.9], [0.6, 0.0]], is_own=[[False, True], [False, False]])
    assert float(MaxMargin(margin=0.2)(inputs)) == pytest.approx((0.1 + 0.5 + 0.0) / 3)


def test_max_margin_weighs_edges():
    inputs = inputs_of([0.5, 0.3], [[0.4], [0.6]], weight=[3.0, 1.0])
    assert float(MaxMargin(margin=0.2)(inputs)) == pytest.approx((3 * 0.1 + 0.5) / 4)


def test_max_margin_looks_at_the_first_negatives_only():
    inputs = inputs_of([0.5], [[0.4, 0.9]])
    assert float(MaxMargin(margin=0.2, max_negatives=1)(inputs)) == pytest.approx(0.1)


def test_max_margin_is_zero_where_every_sampled_item_is_the_users_own():
    assert float(MaxMargin()(inputs_of([0.5], [[0.4, 0.9]], is_own=[[True, True]]))) == 0.0


def test_sampled_softmax_corrects_for_how_items_were_drawn():
    # Scores: positive 0.5/0.5 − log 0.5 = 1 + log 2; negatives 0/0.5 − log 0.25 = log 4 and 0.25/0.5 − log 0.5.
    inputs = inputs_of(
        [0.5],
        [[0.0, 0.25]],
        positive_log_q=[math.log(0.5)],
        negative_log_q=[math.log(0.25), math.log(0.5)],
    )
    positive, negatives = math.exp(1) * 2, [4.0, math.exp(0.5) * 2]
    expected = -math.log(positive / (positive + sum(negatives)))
    assert float(SampledSoftmax(temperature=0.5)(inputs)) == pytest.approx(expected)


def test_sampled_softmax_weighs_edges():
    loss = SampledSoftmax(temperature=1.0)
    first = float(loss(inputs_of([0.5], [[0.1]])))
    second = float(loss(inputs_of([-0.5], [[0.1]])))
    both = inputs_of([0.5, -0.5], [[0.1]], user=[0, 0], weight=[3.0, 1.0])
    assert float(loss(both)) == pytest.approx((3 * first + second) / 4)


def test_sampled_softmax_does_not_overflow_at_a_low_temperature():
    assert SampledSoftmax(temperature=1e-3)(inputs_of([-1.0], [[1.0, 1.0]])).isfinite()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaxMargin(margin=0.0), "wanted a margin above 0 and at most 2, got 0.0"),
        (lambda: MaxMargin(margin=2.1), "wanted a margin above 0 and at most 2, got 2.1"),
        (lambda: MaxMargin(max_negatives=0), "wanted max_negatives of at least 1, got 0"),
        (lambda: SampledSoftmax(temperature=0.0), "wanted a temperature above 0, got 0.0"),
        (lambda: SampledSoftmax(temperature=math.nan), "wanted a temperature above 0, got nan"),
    ],
)
def test_bad_option_is_refused(make, message):
    with pytest.raises(SettingsError, match=message):
        make()
