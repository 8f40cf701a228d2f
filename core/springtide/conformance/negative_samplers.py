"""Checks that every negative sampler must pass."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from springtide.conformance.checks import Subject, checks_of, expect
from springtide.plugins.contracts import NegativeSampler

_COUNTS = np.array([40.0, 20.0, 20.0, 10.0, 5.0, 5.0])
_NUM_ITEMS, _NUM_USERS, _EDGES_PER_USER = len(_COUNTS), 32, 4
_WANTED = 128  # Items of a step: equal to the number of positives of its users.
_NUM_STEPS = 300  # 38,400 draws: a share of 0.4 has a standard deviation of 0.0025.
_TOLERANCE = 0.02


def drawn_items_are_item_rows(subject: Subject) -> None:
    """They are int64 and at least one; a selective sampler may draw more than were wanted."""
    drawn = _draw(_prepared(subject), np.random.default_rng(0))
    expect(isinstance(drawn, np.ndarray) and drawn.dtype == np.int64, "int64 rows", getattr(drawn, "dtype", drawn))
    expect(drawn.ndim == 1 and len(drawn) > 0, "a list of rows", list(drawn.shape))
    expect(
        int(drawn.min()) >= 0 and int(drawn.max()) < _NUM_ITEMS,
        f"rows from 0 to {_NUM_ITEMS - 1}",
        f"{drawn.min()} to {drawn.max()}",
    )


def the_same_generator_gives_the_same_items(subject: Subject) -> None:
    """Only the generator decides, so that a training can be repeated."""
    sampler = _prepared(subject)
    first, second = (_draw(sampler, np.random.default_rng(7)) for _ in range(2))
    expect(np.array_equal(first, second), "the same items under the same seed", "others")


def log_probabilities_are_given_for_all_items(subject: Subject) -> None:
    """``log_q`` is float32 ``[num_items]``, finite, and at most 0."""
    log_q = _prepared(subject).log_q
    expect(isinstance(log_q, Tensor) and log_q.dtype == torch.float32, "float32 log_q", type(log_q).__name__)
    expect(log_q.shape == (_NUM_ITEMS,), f"log_q of shape {[_NUM_ITEMS]}", list(log_q.shape))
    expect(bool(log_q.isfinite().all()) and bool((log_q <= 0).all()), "log_q at most 0, and finite", log_q.tolist())


def log_probabilities_are_those_of_the_draws(subject: Subject) -> None:
    """A softmax over sampled items is corrected by them; a selective sampler is not checked."""
    sampler = _prepared(subject)
    if sampler.is_selective:
        return
    chances = sampler.log_q.exp().numpy()
    expect(abs(float(chances.sum()) - 1.0) < 1e-4, "probabilities that add up to 1", f"{chances.sum():.4f}")
    generator = np.random.default_rng(1)
    found = np.bincount(np.concatenate([_draw(sampler, generator) for _ in range(_NUM_STEPS)]), minlength=_NUM_ITEMS)
    shares = found / found.sum()
    expect(
        bool(np.allclose(shares, chances, atol=_TOLERANCE)),
        f"items as often as log_q says: {np.round(chances, 3).tolist()}",
        np.round(shares, 3).tolist(),
    )


def items_without_interactions_have_log_probabilities(subject: Subject) -> None:
    """Catalogues are full of items that nobody has chosen yet."""
    sampler: NegativeSampler = subject.make()
    sampler.prepare(np.array([0.0, 3.0, 0.0]))
    drawn = sampler.draw(np.ones((2, 2), np.int64), 8, np.random.default_rng(0))
    expect(bool((drawn >= 0).all() and (drawn < 3).all()), "rows from 0 to 2", drawn.tolist())
    expect(not bool(sampler.log_q.isnan().any()), "log_q without NaN", sampler.log_q.tolist())


def selected_items_are_unseen(subject: Subject) -> None:
    """``select`` gives positions among the drawn items, int64 ``[num_users, num_selected]``; None stands for all."""
    sampler = _prepared(subject)
    drawn = _draw(sampler, np.random.default_rng(0))
    generator = torch.Generator().manual_seed(0)
    cosine = torch.rand(_NUM_USERS, len(drawn), generator=generator) * 2 - 1
    is_seen = torch.rand(_NUM_USERS, len(drawn), generator=generator) < 0.3
    selected = sampler.select(cosine, is_seen, 8)
    expect(
        (selected is not None) == sampler.is_selective, f"is_selective = {selected is not None}", sampler.is_selective
    )
    if selected is None:
        return
    expect(selected.dtype == torch.int64, "int64 positions", selected.dtype)
    expect(selected.ndim == 2 and len(selected) == _NUM_USERS, "positions for each user", list(selected.shape))
    expect(0 < selected.shape[1] <= 8, "at most the 8 wanted for each user", selected.shape[1])
    num_seen = int(is_seen.gather(1, selected).sum())
    expect(num_seen == 0, "no seen items", f"{num_seen} of {selected.numel()}")


def users_who_have_seen_all_items_get_valid_positions(subject: Subject) -> None:
    """A small catalogue has such users: their positions too are among the drawn items."""
    sampler = _prepared(subject)
    selected = sampler.select(torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.bool), 3)
    if selected is not None:
        expect(bool((selected >= 0).all() and (selected < 4).all()), "positions from 0 to 3", selected.tolist())


CHECKS = checks_of(
    drawn_items_are_item_rows,
    the_same_generator_gives_the_same_items,
    log_probabilities_are_given_for_all_items,
    log_probabilities_are_those_of_the_draws,
    items_without_interactions_have_log_probabilities,
    selected_items_are_unseen,
    users_who_have_seen_all_items_get_valid_positions,
)


def _prepared(subject: Subject) -> NegativeSampler:
    sampler: NegativeSampler = subject.make()
    sampler.prepare(_COUNTS.copy())
    return sampler


def _draw(sampler: NegativeSampler, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw for users whose positives are as frequent as the counts say."""
    positives = generator.choice(_NUM_ITEMS, (_NUM_USERS, _EDGES_PER_USER), p=_COUNTS / _COUNTS.sum())
    return sampler.draw(positives.astype(np.int64), _WANTED, generator)
