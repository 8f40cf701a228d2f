"""The built-in negative samplers, with numbers worked by hand."""

import numpy as np
import pytest
import torch

from springtide.errors import SettingsError
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings
from springtide.testing import even_odd_state, quick_model, quick_settings
from springtide_plugins.negative_samplers import Hard, InBatch, Popularity, Uniform

PLUGINS = load_plugins()
SAMPLERS = [part for part in PLUGINS.parts if part.kind == "negative sampler" and part.plugin == "springtide_plugins"]
COUNTS = np.array([0.0, 15.0, 80.0])
NO_POSITIVES = np.zeros((1, 1), np.int64)


def prepared(sampler, counts=COUNTS):
    sampler.prepare(counts)
    return sampler


def test_register_negative_samplers_offers_four():
    assert {part.name for part in SAMPLERS} == {"uniform", "popularity", "in_batch", "hard"}


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda part: part.name)
def test_training_works_with_the_sampler(sampler):
    settings = quick_settings(model={"width": 16, "negatives": {"name": sampler.name}})
    users, items = torch.from_numpy(quick_model(even_odd_state(), settings).tensors["vectors"]).split(24)
    nearest = (users @ items.T).topk(12, dim=1).indices
    is_right = nearest % 2 == torch.arange(24).unsqueeze(-1) % 2
    assert is_right.float().mean() > 0.95, "half of them are right by chance"


def test_uniform_gives_every_item_the_same_chance():
    assert prepared(Uniform()).log_q.exp().tolist() == pytest.approx([1 / 3] * 3)


def test_popularity_is_a_power_of_the_counts_and_one():
    # 1, 16 and 81 to the power of 1/2: 1, 4 and 9 of 14.
    assert prepared(Popularity(power=0.5)).log_q.exp().tolist() == pytest.approx([1 / 14, 4 / 14, 9 / 14])


def test_popularity_of_power_0_is_uniform():
    torch.testing.assert_close(prepared(Popularity(power=0.0)).log_q, prepared(Uniform()).log_q)


def test_in_batch_draws_the_positive_items_of_the_step():
    positives = np.array([[2, 5], [2, 7]])
    drawn = prepared(InBatch(), np.ones(9)).draw(positives, 400, np.random.default_rng(0))
    found = np.bincount(drawn, minlength=9)
    assert set(np.flatnonzero(found)) == {2, 5, 7}
    assert abs(found[2] - 200) < 50  # Half of them, with a standard deviation of 10.


def test_in_batch_corrects_by_each_items_share():
    assert prepared(InBatch()).log_q.exp().tolist() == pytest.approx([1 / 95, 15 / 95, 80 / 95])


def test_hard_draws_a_pool_of_different_items():
    counts = np.ones(50)
    drawn = prepared(Hard(pool_factor=2.0), counts).draw(NO_POSITIVES, 10, np.random.default_rng(0))
    assert len(drawn) == len(set(drawn.tolist())) == 20
    assert len(prepared(Hard(pool_factor=9.0), counts).draw(NO_POSITIVES, 10, np.random.default_rng(0))) == 50


def test_hard_draws_the_pool_by_popularity():
    # Of two, the first drawn is the second with a chance of 3 / 4.
    sampler, generator = prepared(Hard(power=1.0), np.array([0.0, 2.0])), np.random.default_rng(0)
    first = [int(sampler.draw(NO_POSITIVES, 1, generator)[0]) for _ in range(1_000)]
    assert abs(sum(first) - 750) < 60  # With a standard deviation of 14.


def test_hard_selects_the_nearest_items_after_those_skipped():
    cosine = torch.tensor([[0.1, 0.9, 0.5, 0.8, 0.3, 0.7]])
    is_seen = torch.tensor([[False, False, False, True, False, False]])
    selected = Hard(skip=1, share=0.0).select(cosine, is_seen, 3)
    assert selected is not None
    assert selected.tolist() == [[5, 2, 4]]  # 0.9 is skipped, 0.8 is its own.


def test_hard_keeps_a_share_of_random_items_and_interleaves_them():
    cosine = torch.tensor([[0.1, 0.2, 0.9, 0.8, 0.7, 0.6]])
    is_seen = torch.tensor([[True, False, False, False, False, False]])
    selected = Hard(skip=1, share=0.5).select(cosine, is_seen, 4)
    assert selected is not None
    # The first drawn that are not its own are 1 and 2; of the others, 3 is skipped, and 4 and 5 are the nearest.
    assert set(selected[0, ::2].tolist()) == {1, 2}
    assert selected[0, 1::2].tolist() == [4, 5]


def test_hard_prefers_skipped_items_to_seen_ones():
    cosine, is_seen = torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([[False, True, False]])
    selected = Hard(skip=2, share=0.0).select(cosine, is_seen, 3)
    assert selected is not None
    assert set(selected[0].tolist()) == {0, 2}


def test_a_loss_of_the_adjacency_refuses_selected_items():
    settings = quick_settings(model={"loss": {"name": "reconstruction"}, "negatives": {"name": "hard"}})
    with pytest.raises(SettingsError, match="'reconstruction' needs negatives as they were drawn"):
        PLUGINS.check(settings)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("popularity", {"power": -1.0}, "power: wanted a number, at least 0, got -1.0"),
        ("hard", {"share": 1.0}, "share: wanted a number, at least 0, below 1, got 1.0"),
        ("hard", {"pool_factor": 0.5}, "pool_factor: wanted a number, at least 1, got 0.5"),
        ("uniform", {"power": 1.0}, r"no option named 'power' \(it takes none\)"),
    ],
)
def test_bad_option_is_refused(name, options, message):
    with pytest.raises(SettingsError, match=message):
        PLUGINS.make("negative sampler", PartSettings(name=name, options=options))
