"""Baselines that read sequences: SASRec, GRU4Rec and HSTU."""

import numpy as np
import pytest
import torch

from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings
from springtide.testing import history_of, observed_of
from springtide_plugins.baselines.sequential import SASRec
from springtide_plugins.baselines.sequential_fit import loss_of, network_of
from springtide_plugins.baselines.sequential_windows import Windows

PLUGINS = load_plugins()
NAMES = ["sasrec", "gru4rec", "hstu"]
QUICK = {
    "width": 16,
    "layers": 1,
    "heads": 2,
    "length": 8,
    "steps": 200,
    "batch": 32,
    "negatives": 16,
    "horizon": 1,
    "passes": 1e9,
}
NUM_ITEMS = 9
# Whatever came before: 0 is followed by 1, 1 by 2, 3 by 4, 4 by 5, and so on, within three items.
CYCLES = [
    (user, 3 * (user % 3) + (step + user) % 3, 1_000 * (20 * step + user)) for step in range(9) for user in range(20)
]
NOW = 10**6


def make(name, **options):
    return PLUGINS.make("baseline", PartSettings(name=name, options={**QUICK, **options}))


def fitted_on_cycles(name, **options):
    baseline = make(name, learning_rate=0.01, dropout=0.0, **options)
    baseline.fit(observed_of(CYCLES), 20, NUM_ITEMS)
    return baseline


@pytest.fixture(scope="module")
def fitted():
    """Each of them, fitted on cycles of three items."""
    return {name: fitted_on_cycles(name) for name in NAMES}


def scores_of(baseline, *histories):
    given = [history_of([(item, NOW - 20_000 * age) for age, item in enumerate(items)]) for items in histories]
    return baseline.scores(np.full(len(histories), -1), given, NOW)


@pytest.mark.parametrize("name", NAMES)
def test_what_follows_the_latest_item_comes_first(name, fitted):
    scores = scores_of(fitted[name], [1, 0, 2] * 2, [2, 1, 0] * 2, [3, 5, 4] * 2)  # Newest first.
    assert scores.argmax(1).tolist() == [2, 0, 4]


@pytest.mark.parametrize("name", NAMES)
def test_users_of_whom_nothing_is_known_get_popular_items(name, fitted):
    popularity = np.bincount([item for _, item, _ in CYCLES], minlength=NUM_ITEMS)
    scores = scores_of(fitted[name], [], [NUM_ITEMS])  # An item that came after the fit.
    assert np.isfinite(scores).all()
    for row in scores:
        assert (np.diff(popularity[np.argsort(-row, kind="stable")]) <= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_only_the_latest_items_are_read(name, fitted):
    latest = [2, 1, 0, 2, 1, 0, 2, 1]
    assert np.array_equal(*scores_of(fitted[name], latest, [*latest, 3, 4, 5]))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_fit_and_leaves_the_generator_of_torch_alone(name, fitted):
    state = torch.get_rng_state()
    again, other = fitted_on_cycles(name), fitted_on_cycles(name, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(again.weights, fitted[name].weights)
    assert not np.allclose(other.weights, again.weights)


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_one_answers_as_before(name, fitted):
    restored = make(name)
    restored.restore(fitted[name].state())
    assert np.array_equal(scores_of(restored, [0, 2], [4]), scores_of(fitted[name], [0, 2], [4]))


def test_order_of_events_of_one_time_is_not_learned():
    baskets = [(user, item, 1_000 * basket) for basket in range(12) for user in range(20) for item in (0, 1, 2)]
    baseline = make("sasrec", learning_rate=0.01, dropout=0.0, steps=60)  # With more it learns the chance by heart.
    baseline.fit(observed_of(baskets), 20, 3)
    [logits] = scores_of(baseline, [0, 2, 1, 0, 2, 1, 0])
    chances = np.exp(logits) / np.exp(logits).sum()
    assert chances[1:].max() < 0.9  # In the order of the rows, 1 always follows 0: then it is above .99.


@pytest.mark.parametrize("name", NAMES)
def test_users_of_one_item_each_leave_nothing_to_learn(name):
    baseline = make(name)
    baseline.fit(observed_of([(user, user % 3, user) for user in range(6)]), 6, 3)
    assert np.isfinite(scores_of(baseline, [1])).all()


def test_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="wanted a width that heads divide, got width 16 and 3 heads"):
        SASRec(width=16, heads=3)


def test_loss_corrects_for_the_chances_of_the_negatives(fitted):
    baseline = fitted["sasrec"]
    network = network_of(baseline.weights, NUM_ITEMS, baseline)
    batch = {
        "items": torch.tensor([[NUM_ITEMS] * 7 + [0]]),
        "times_ms": torch.zeros(1, 8, dtype=torch.int64),
        "targets": torch.tensor([[NUM_ITEMS] * 7 + [1]]),
        "is_target": torch.tensor([[False] * 7 + [True]]),
    }
    # All items, each as often as it is likely: then the sampled softmax is the whole one.
    chances = torch.full((NUM_ITEMS,), 1.0 / NUM_ITEMS)
    logits = torch.from_numpy(scores_of(baseline, [0])[0])
    found = loss_of(network, batch, torch.arange(NUM_ITEMS), chances)
    torch.testing.assert_close(found, torch.logsumexp(logits, 0) - logits[1], rtol=1e-4, atol=1e-5)
    # With all other items gBCE is the plain binary cross-entropy.
    others = torch.tensor([item for item in range(NUM_ITEMS) if item != 1])
    found = loss_of(network, batch, others, chances, calibration=1.0)
    wanted = torch.log1p(logits[others].exp()).sum() + torch.log1p((-logits[1]).exp())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("calibration", "power"), [(0.0, 1.0), (1.0, 0.25), (0.5, 0.625)])
def test_gbce_weakens_the_positive_by_the_share_of_negatives(fitted, calibration, power):
    baseline = fitted["sasrec"]
    network = network_of(baseline.weights, NUM_ITEMS, baseline)
    batch = {
        "items": torch.tensor([[NUM_ITEMS] * 7 + [0]]),
        "times_ms": torch.zeros(1, 8, dtype=torch.int64),
        "targets": torch.tensor([[NUM_ITEMS] * 7 + [1]]),
        "is_target": torch.tensor([[False] * 7 + [True]]),
    }
    negatives = torch.tensor([4, 7])  # 2 of the 8 others.
    logits = torch.from_numpy(scores_of(baseline, [0])[0])
    found = loss_of(network, batch, negatives, torch.ones(NUM_ITEMS), calibration=calibration)
    wanted = torch.log1p(logits[negatives].exp()).sum() + power * torch.log1p((-logits[1]).exp())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_gbce_learns_what_follows():
    fitted = fitted_on_cycles("sasrec", loss="gbce", horizon=1)
    assert scores_of(fitted, [1, 0, 2] * 2, [2, 1, 0] * 2).argmax(1).tolist() == [2, 0]


def drawn_from(events, **options):
    windows = Windows.of(observed_of(events), SASRec(length=4, **options))
    return windows.draw(2_000, 100, torch.Generator().manual_seed(0))


def test_targets_are_drawn_from_the_next_events_of_a_later_time():
    baskets = [
        (user, 10 * user + 3 * basket + item, 1_000 * basket)
        for basket in range(3)
        for user in (0, 1)
        for item in range(3)
    ]
    batch = drawn_from(baskets, horizon=4, half_life=10.0)
    read, targets = batch["items"][batch["is_target"]].numpy(), batch["targets"][batch["is_target"]].numpy()
    assert (read // 10 == targets // 10).all()  # Of the same user.
    places = np.stack([read % 10, targets % 10])
    found = {tuple(pair) for pair in places.T.tolist()}
    behind = {first: {second for one, second in found if one == first} for first in range(9)}
    assert {3, 4, 5} < behind[0] < {3, 4, 5, 6, 7, 8}
    assert behind[4] == {6, 7, 8}
    assert behind[7] == set()
    assert np.isin(batch["items"].numpy(), [*range(9), *range(10, 19), 100]).all()


def test_windows_end_with_recent_events_more_often():
    events = [(step % 5, step, 1_000 * step) for step in range(100)]
    batch = drawn_from(events, horizon=1, half_life=0.1)
    newest = batch["targets"][:, -1][batch["is_target"][:, -1]].numpy()
    shares = [np.mean(newest >= 90), np.mean((newest >= 80) & (newest < 90))]
    assert shares == pytest.approx([0.5, 0.25], abs=0.05)
