"""Products along edges: sums of neighbours at any width, the same on any number of threads."""

import itertools
import threading

import numpy as np
import pytest
import torch

from springtide.plugins import edge_products
from springtide.plugins.edge_products import edge_product, end_products


def random_edges(num_edges, num_sources, num_targets, seed=0):
    """Random edges, sorted by target; the last target has none."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.bincount(torch.randint(num_targets - 1, (num_edges,), generator=generator), minlength=num_targets)
    pointers = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    source = torch.randint(num_sources, (num_edges,), generator=generator)
    return pointers, source, torch.rand(num_edges, generator=generator)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("width", [1, 3, 8, 64, 64 + 16 + 5, 128])
def test_sums_equal_those_of_a_dense_matrix(width):
    pointers, source, weight = random_edges(500, 40, 30)
    values = torch.randn(40, width, generator=torch.Generator().manual_seed(1))
    target = torch.repeat_interleave(torch.arange(30), pointers.diff())
    matrix = torch.zeros(30, 40).index_put((target, source), weight, accumulate=True)
    torch.testing.assert_close(edge_product(pointers, source, weight, values), matrix @ values)


def test_targets_without_edges_get_0():
    pointers = torch.zeros(4, dtype=torch.long)
    none = torch.zeros(0, dtype=torch.long)
    assert edge_product(pointers, none, torch.zeros(0), torch.ones(2, 5)).tolist() == [[0.0] * 5] * 3


def test_values_that_are_not_contiguous_are_read_in_their_order():
    pointers, source, weight = random_edges(50, 8, 9)
    values = torch.randn(16, 8).T
    expected = edge_product(pointers, source, weight, values.contiguous())
    assert torch.equal(edge_product(pointers, source, weight, values), expected)


def test_double_precision_is_kept():
    pointers, source, weight = random_edges(50, 8, 9)
    values = torch.randn(8, 4, dtype=torch.float64)
    assert edge_product(pointers, source, weight.double(), values).dtype == torch.float64


@pytest.mark.parametrize("width", [1, 3, 8, 64, 64 + 16 + 5])
def test_products_of_both_ends_equal_those_of_gathered_vectors(width):
    pointers, source, _ = random_edges(500, 40, 30)
    of_targets, of_sources = (torch.randn(count, width) for count in (30, 40))
    target = torch.repeat_interleave(torch.arange(30), pointers.diff())
    expected = (of_targets[target] * of_sources[source]).sum(-1)
    torch.testing.assert_close(end_products(pointers, source, of_targets, of_sources), expected, rtol=1e-4, atol=1e-4)
    in_double = end_products(pointers, source, of_targets.double(), of_sources.double())
    torch.testing.assert_close(in_double.float(), expected, rtol=1e-4, atol=1e-4)


def test_products_of_both_ends_are_the_same_on_several_threads(threads):
    pointers, source, _ = random_edges(40_000, 300, 1_000)
    of_targets, of_sources = torch.randn(1_000, 64), torch.randn(300, 64)
    threads(1)
    alone = end_products(pointers, source, of_targets, of_sources)
    threads(3)
    assert torch.equal(end_products(pointers, source, of_targets, of_sources), alone)


@pytest.mark.parametrize("num_threads", [2, 3])
def test_sums_are_the_same_to_the_bit_on_several_threads(threads, monkeypatch, num_threads):
    worked = set()
    add_up = edge_products.add_up_neighbours

    def seen(*arguments):
        worked.add((threading.get_ident(), arguments[4:6]))
        add_up(*arguments)

    pointers, source, weight = random_edges(40_000, 300, 1_000)
    values = torch.randn(300, 64)
    threads(1)
    alone = edge_product(pointers, source, weight, values)
    threads(num_threads)
    monkeypatch.setattr(edge_products, "add_up_neighbours", seen)
    assert torch.equal(edge_product(pointers, source, weight, values), alone)
    parts = sorted(part for _, part in worked)
    assert len(parts) > num_threads
    assert (parts[0][0], parts[-1][1]) == (0, 1_000)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(parts))


def test_an_error_in_a_thread_is_raised(threads, monkeypatch):
    pointers, source, weight = random_edges(40_000, 300, 1_000)

    def fail(*arguments):
        if arguments[4]:  # Not in the first part alone.
            raise MemoryError("no room")

    threads(2)
    monkeypatch.setattr(edge_products, "add_up_neighbours", fail)
    with pytest.raises(MemoryError, match="no room"):
        edge_product(pointers, source, weight, torch.randn(300, 64))


def test_one_target_with_most_edges_is_added_up_once(threads):
    pointers = torch.tensor([0, 30_000, 30_000, 30_001])
    source = torch.from_numpy(np.arange(30_001) % 7)
    values = torch.randn(7, 64, generator=torch.Generator().manual_seed(0))
    threads(2)
    found = edge_product(pointers, source, torch.ones(30_001), values)
    expected = values.double()[source[:30_000]].sum(0)
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-3, atol=1e-1)
    assert torch.equal(found[2], values[source[30_000]])
