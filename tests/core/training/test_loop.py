"""Learning rates over the steps of a stage."""

import pytest

from springtide.training.loop import frozen_warmup_then_cosine, warmup_then_cosine


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
