"""Cosines of single pairs and the rows that a step looks at are those of torch's own functions, gradients too."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from springtide.training.pair_cosines import cosines_of_pairs, restricted, unit_vectors


def pairs(width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(5, width, generator=generator, requires_grad=True)
    items = torch.randn(9, width, generator=generator, requires_grad=True)
    return users, items, torch.randint(9, (5, 7), generator=generator)


@pytest.mark.parametrize("width", [1, 2, 15, 16, 17, 64, 100])
def test_products_and_gradients_are_those_of_torch(width: int) -> None:
    users, items, rows = pairs(width)
    factors = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    wanted = (items[rows] * users.unsqueeze(1)).sum(-1)
    wanted_gradients = torch.autograd.grad((wanted * factors).sum(), (users, items))
    found = cosines_of_pairs(users, items, rows)
    gradients = torch.autograd.grad((found * factors).sum(), (users, items))
    torch.testing.assert_close(found, wanted)
    for one, other in zip(gradients, wanted_gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_vectors_that_are_not_contiguous_give_the_same() -> None:
    users, items, rows = pairs(16)
    turned = items.detach().T.contiguous().T
    assert torch.equal(cosines_of_pairs(users, turned, rows), cosines_of_pairs(users, items, rows))


def test_rows_of_groups_name_the_same_vectors() -> None:
    vectors = torch.arange(20.0).view(10, 2)
    groups = [torch.tensor([7, 2, 7]), torch.tensor([], dtype=torch.int64), torch.tensor([3])]
    few, rows = restricted(vectors, groups)
    assert few.tolist() == vectors[[2, 3, 7]].tolist()
    assert [few[of].tolist() for of in rows] == [vectors[of].tolist() for of in groups]


def test_all_vectors_stay_where_a_step_draws_as_many() -> None:
    vectors, groups = torch.zeros(3, 2), [torch.tensor([0, 1, 2])]
    few, rows = restricted(vectors, groups)
    assert few is vectors
    assert np.array_equal(rows[0], groups[0])


def test_unit_vectors_and_their_gradients_are_those_of_torch() -> None:
    vectors = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    vectors[2] *= 1e-3
    vectors.requires_grad_()
    factors = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    found, wanted = unit_vectors(vectors), F.normalize(vectors, dim=-1)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad((units * factors).sum(), vectors)[0] for units in (found, wanted)]
    torch.testing.assert_close(*gradients)


def test_vectors_that_are_0_stay_0() -> None:
    assert unit_vectors(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
