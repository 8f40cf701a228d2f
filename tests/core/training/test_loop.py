"""Learning rates over the steps of a stage, and what a step draws."""

import pytest

from springtide.settings.model import TrainingSettings
from springtide.training.loop import draws_per_step, frozen_warmup_then_cosine, users_per_step, warmup_then_cosine


def test_learning_rate_warms_up_and_cools_down():
    rates = [warmup_then_cosine(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01


def test_a_trained_network_is_frozen_first_and_then_moved_at_half_the_rate():
    rates = [frozen_warmup_then_cosine(step, 50) for step in range(50)]
    assert rates[:10] == [0.0] * 10
    assert rates[10] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01
    assert frozen_warmup_then_cosine(0, 1) > 0.0, "a single step is not frozen"


@pytest.mark.parametrize(
    ("edges_per_active_user", "num_items", "drawn"),
    [
        (510.0, 24_000, (64, 4_096)),  # Long histories and many items: the settings.
        (15.3, 2_525, (16, 1_263)),
        (30.2, 1_001, (31, 501)),
        (2.0, 40, (16, 256)),
    ],
)
def test_a_step_draws_no_more_than_the_data_has(edges_per_active_user, num_items, drawn):
    assert draws_per_step(TrainingSettings(), edges_per_active_user, num_items) == drawn


def test_a_step_draws_no_more_than_the_settings_want():
    assert draws_per_step(TrainingSettings(edges_per_user=4, num_negatives=8), 510.0, 24_000) == (4, 8)


@pytest.mark.parametrize(("num_active", "num_users"), [(10, 256), (943, 256), (1_601, 401), (2_469, 512), (10**6, 512)])
def test_a_step_takes_a_quarter_of_the_users_where_they_are_few(num_active, num_users):
    assert users_per_step(TrainingSettings(), num_active) == num_users


def test_a_step_takes_no_more_users_than_the_settings_want():
    assert users_per_step(TrainingSettings(batch_users=16), 943) == 16
