"""Each check of negative samplers finds the fault that it is there for, and says what it wanted and what came."""

import numpy as np
import pytest
import torch

from springtide.plugins.contracts import NegativeSampler


class Uniform(NegativeSampler):
    """A sound sampler."""

    def prepare(self, counts):
        self.num_items = len(counts)
        self.log_q = torch.full((self.num_items,), -float(np.log(self.num_items)))

    def draw(self, positives, count, generator):
        return generator.integers(0, self.num_items, count)


class OutOfRange(Uniform):
    def draw(self, positives, count, generator):
        return super().draw(positives, count, generator) + 1


class OwnChance(Uniform):
    def draw(self, positives, count, generator):
        return np.random.default_rng().integers(0, self.num_items, count)


class NoLogQ(Uniform):
    def prepare(self, counts):
        super().prepare(counts)
        self.log_q = self.log_q.double()


class OtherLogQ(Uniform):
    def prepare(self, counts):
        super().prepare(counts)
        self.log_q = torch.log_softmax(torch.arange(self.num_items).float(), 0)


class NaNWhereNone(Uniform):
    def prepare(self, counts):
        super().prepare(counts)
        self.log_q = torch.where(torch.from_numpy(counts) > 0, self.log_q, torch.nan)


class TakesOwn(Uniform):
    is_selective = True

    def select(self, cosine, is_seen, count):
        return cosine.topk(min(count, cosine.shape[1])).indices


class Undeclared(TakesOwn):
    is_selective = False


class GoesTooFar(TakesOwn):
    def select(self, cosine, is_seen, count):
        return torch.full((len(cosine), count), 7)


@pytest.mark.parametrize(
    ("factory", "check", "wanted"),
    [
        (OutOfRange, "drawn items are item rows", "rows from 0 to 5"),
        (OwnChance, "the same generator gives the same items", "the same items under the same seed"),
        (NoLogQ, "log probabilities are given for all items", "float32 log_q"),
        (OtherLogQ, "log probabilities are those of the draws", "items as often as log_q says: "),
        (NaNWhereNone, "items without interactions have log probabilities", "log_q without NaN"),
        (TakesOwn, "selected items are unseen", "no seen items"),
        (Undeclared, "selected items are unseen", "is_selective = True"),
        (GoesTooFar, "users who have seen all items get valid positions", "positions from 0 to 3"),
    ],
)
def test_faulty_negative_sampler_is_found(factory, check, wanted, failures_of):
    failures = failures_of("negative sampler", factory, only=check)
    assert wanted in failures[check][0]


def test_sound_negative_sampler_passes(failures_of):
    assert failures_of("negative sampler", Uniform) == {}
