"""Edges: their products are what PyG's generic path gives, with the gradients of dense matrices."""

import pytest
import torch
from torch_geometric.nn import MaxAggregation, MeanAggregation, SumAggregation

from springtide.plugins.edge_sampling import draw_probabilities
from springtide.plugins.edges import Edges

NUM_SOURCES, NUM_TARGETS, NUM_EDGES, WIDTH = 7, 5, 20, 3


def edges_of(source, target, weight, num_sources, num_targets):
    source, target, weight = torch.tensor(source), torch.tensor(target), torch.tensor(weight)
    return Edges(
        source,
        target,
        weight,
        torch.arange(len(weight), dtype=torch.float32),
        torch.zeros(num_sources).index_add_(0, source, weight),
        torch.zeros(num_targets).index_add_(0, target, weight),
    )


@pytest.fixture
def edges():
    """Random edges, several between some pairs; the last target has none."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(NUM_TARGETS - 1, (NUM_EDGES,), generator=generator).sort().values
    source = torch.randint(NUM_SOURCES, (NUM_EDGES,), generator=generator)
    weight = torch.rand(NUM_EDGES, generator=generator) + 0.5
    return edges_of(source.tolist(), target.tolist(), weight.tolist(), NUM_SOURCES, NUM_TARGETS)


@pytest.fixture
def values():
    return torch.randn(NUM_SOURCES, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float32)


def test_sum_equals_the_generic_path(edges, values):
    messages = values[edges.source] * edges.weight.unsqueeze(-1)
    expected = SumAggregation()(messages, index=edges.target, dim_size=NUM_TARGETS)
    torch.testing.assert_close(edges.aggregate(values, SumAggregation()), expected)


def test_mean_equals_the_generic_path_where_weights_are_equal(edges, values):
    expected = MeanAggregation()(values[edges.source], index=edges.target, dim_size=NUM_TARGETS)
    torch.testing.assert_close(edges.aggregate(values, MeanAggregation(), torch.ones(NUM_EDGES)), expected)


def test_mean_is_weighted():
    edges = edges_of([0, 1], [0, 0], [1.0, 3.0], num_sources=2, num_targets=1)
    assert edges.aggregate(torch.tensor([[4.0], [8.0]]), MeanAggregation()).tolist() == [[7.0]]  # (1·4 + 3·8) / 4


def test_other_aggregators_get_unscaled_messages_where_all_weights_are_equal(edges, values):
    expected = MaxAggregation()(values[edges.source], index=edges.target, dim_size=NUM_TARGETS)
    same = torch.full_like(edges.weight, 0.3)
    torch.testing.assert_close(edges.aggregate(values, MaxAggregation(), same), expected)


@pytest.mark.parametrize("aggregator", [SumAggregation(), MeanAggregation()])
def test_targets_without_edges_get_zeros(edges, values, aggregator):
    assert edges.aggregate(values, aggregator)[-1].tolist() == [0.0] * WIDTH


@pytest.mark.parametrize("aggregator", [SumAggregation(), MeanAggregation()])
def test_gradients_equal_those_of_a_dense_matrix(edges, values, aggregator):
    def gradients(combine):
        of_values, of_weight = values.clone().requires_grad_(), edges.weight.clone().requires_grad_()
        (combine(of_values, of_weight) ** 2).sum().backward()
        return of_values.grad, of_weight.grad

    def dense(values, weight):
        matrix = torch.zeros(NUM_TARGETS, NUM_SOURCES).index_put((edges.target, edges.source), weight, accumulate=True)
        if isinstance(aggregator, MeanAggregation):
            matrix = matrix / matrix.sum(1, keepdim=True).clamp(min=1e-12)
        return matrix @ values

    found = gradients(lambda values, weight: edges.aggregate(values, aggregator, weight))
    for gradient, expected in zip(found, gradients(dense), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_gradients_follow_weights_that_change(edges, values):
    """What is kept of the weights for the way back is theirs of now: others, and the same changed in place."""
    aggregator, weight = SumAggregation(), torch.ones(edges.num_edges)

    def gradient_of(weight):
        of_values = values.clone().requires_grad_()
        edges.aggregate(of_values, aggregator, weight).sum().backward()
        return of_values.grad

    ones = gradient_of(weight)
    torch.testing.assert_close(gradient_of(3.0 * weight), 3.0 * ones)
    torch.testing.assert_close(gradient_of(weight), ones)
    weight.mul_(2.0)
    torch.testing.assert_close(gradient_of(weight), 2.0 * ones)


def test_the_latest_edges_are_those_with_few_newer_ones_and_edges_of_one_age_go_together():
    edges = edges_of([0, 1, 2, 3, 0, 1], [0, 0, 0, 0, 1, 1], [1.0] * 6, num_sources=4, num_targets=3)
    edges.age_days = torch.tensor([9.0, 4.0, 4.0, 1.0, 8.0, 2.0])
    assert edges.newer().tolist() == [3, 1, 1, 0, 1, 0]
    assert [edges.latest(count).source.tolist() for count in (1, 2, 3, 4)] == [
        [3, 1],
        [1, 2, 3, 0, 1],
        [1, 2, 3, 0, 1],
        [0, 1, 2, 3, 0, 1],
    ]
    assert edges.latest(2) is edges.latest(2)
    assert torch.equal(edges.latest(1).source_degree, edges.source_degree)


def test_no_edges_have_no_latest():
    none = torch.zeros(0, dtype=torch.long)
    edges = Edges(none, none, torch.zeros(0), torch.zeros(0), torch.zeros(1), torch.zeros(2))
    assert (edges.newer().tolist(), edges.latest(3).num_edges) == ([], 0)


def test_products_of_both_ends_have_the_gradients_of_gathered_vectors(edges, values):
    of_targets = torch.randn(NUM_TARGETS, WIDTH, generator=torch.Generator().manual_seed(2))

    def gradients(multiply):
        ends = of_targets.clone().requires_grad_(), values.clone().requires_grad_()
        products = multiply(*ends)
        products.square().sum().backward()
        return products.detach(), ends[0].grad, ends[1].grad

    expected = gradients(lambda ones, others: (ones[edges.target] * others[edges.source]).sum(-1))
    for found, wanted in zip(gradients(edges.products), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_edges_one_by_one_aggregate_values_of_their_own(edges):
    own = torch.randn(NUM_EDGES, WIDTH, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        edges.one_by_one().aggregate(own, SumAggregation(), edges.weight), edges.combine(own, SumAggregation())
    )


def test_symmetric_weight_divides_by_the_root_of_both_degrees():
    # Source 0 has degree 4, source 1 has 5; target 0 has degree 9.
    edges = edges_of([0, 1], [0, 0], [4.0, 5.0], num_sources=2, num_targets=1)
    torch.testing.assert_close(edges.symmetric_weight(), torch.tensor([4 / 36**0.5, 5 / 45**0.5]))


def test_pointers_say_where_each_targets_edges_begin():
    edges = edges_of([0, 1, 0], [0, 0, 2], [1.0, 1.0, 1.0], num_sources=2, num_targets=4)
    assert edges.pointers.tolist() == [0, 2, 2, 3, 3]


def test_sampling_keeps_small_neighbourhoods_whole():
    edges = edges_of([3, 1, 2], [0, 0, 1], [1.0, 2.0, 3.0], num_sources=4, num_targets=2)
    sampled = edges.sample(2, torch.Generator().manual_seed(0))
    assert (sampled.source.tolist(), sampled.target.tolist()) == ([3, 1, 2], [0, 0, 1])
    assert sampled.weight.tolist() == [1.0, 2.0, 3.0]


def test_sampling_draws_the_fanout_from_large_neighbourhoods():
    edges = edges_of([*range(50), 7], [0] * 50 + [1], [float(source) for source in [*range(50), 7]], 50, 3)
    sampled = edges.sample(10, torch.Generator().manual_seed(0))
    assert sampled.pointers.tolist() == [0, 10, 11, 11]
    assert sampled.source[-1] == 7
    assert len(set(sampled.source[:10].tolist())) > 5, "wanted a draw from all over the neighbourhood"
    assert sampled.weight.tolist() == sampled.source.float().tolist(), "an edge lost its weight"


def test_sampling_is_uniform():
    edges = edges_of([0, 1, 2, 3], [0] * 4, [1.0] * 4, num_sources=4, num_targets=1)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([edges.sample(2, generator).source for _ in range(1_000)])
    # 2,000 draws of 1/4: 500 each, with a standard deviation of 19.
    assert (torch.bincount(drawn, minlength=4) - 500).abs().max() < 80


def test_sampling_keeps_the_degrees_of_the_whole_graph():
    edges = edges_of([0, 1, 2], [0] * 3, [1.0] * 3, num_sources=3, num_targets=1)
    assert edges.sample(1, torch.Generator().manual_seed(0)).target_degree.tolist() == [3.0]


def test_edges_on_their_device_are_the_same_object(edges):
    assert edges.to("cpu") is edges


def test_edges_move_with_all_their_columns(edges):
    moved = edges.to("cpu:0")  # Another device by name, which every machine has.
    for name in ("source", "target", "weight", "age_days", "source_degree", "target_degree"):
        assert getattr(moved, name).device == torch.device("cpu")
        assert torch.equal(getattr(moved, name), getattr(edges, name))


def test_block_leads_from_sampled_neighbours_to_some_targets():
    # Edges 0→1, 2→1, 3→1, 1→2, 0→3 over four nodes.
    source, target = torch.tensor([0, 2, 3, 1, 0]), torch.tensor([1, 1, 1, 2, 3])
    degree = torch.ones(4)
    edges = Edges(source, target, torch.arange(5.0), torch.arange(5.0), degree, degree, relation=torch.arange(5))
    block, nodes = edges.block(torch.tensor([2, 1]), fanout=3, generator=torch.Generator())
    assert nodes.tolist() == [2, 1, 0, 3], "targets first, then who else is met"
    assert block.num_targets == 2
    assert block.target.tolist() == [0, 1, 1, 1]
    assert nodes[block.source].tolist() == [1, 0, 2, 3]
    assert block.weight.tolist() == [3.0, 0.0, 1.0, 2.0]
    assert block.relation.tolist() == [3, 0, 1, 2]
    narrow, _ = edges.block(torch.tensor([1]), fanout=2, generator=torch.Generator().manual_seed(0))
    assert narrow.num_edges == 2


def test_sampled_edges_of_a_target_keep_their_order():
    degree = torch.ones(1)
    ages = torch.arange(50.0, 0.0, -1.0)
    edges = Edges(torch.zeros(50, dtype=torch.long), torch.zeros(50, dtype=torch.long), ages, ages, degree, degree)
    sampled = edges.sample(10, torch.Generator().manual_seed(0))
    assert sampled.age_days.tolist() == sorted(sampled.age_days.tolist(), reverse=True)


def test_sums_over_drawn_edges_stand_for_all_edges():
    zeros, degree = torch.zeros(50, dtype=torch.long), torch.tensor([50.0])
    edges = Edges(zeros, zeros, torch.ones(50), torch.zeros(50), degree, degree)
    generator = torch.Generator().manual_seed(0)
    block, _ = edges.block(torch.tensor([0]), 10, generator)
    for drawn in (edges.sample(10, generator), block):
        assert drawn.num_edges == 10
        values = torch.tensor([[2.0]])
        assert drawn.aggregate(values, SumAggregation()).item() == pytest.approx(100.0)
        assert drawn.aggregate(values, MeanAggregation()).item() == pytest.approx(2.0)
        assert drawn.features()[0, 0] == 1.0, "a strength is that of one edge"


def aged(ages: list[float], weights: list[float] | None = None) -> Edges:
    """Return edges of these ages, oldest first, each from a source of its own to one target."""
    count = len(ages)
    weight = torch.ones(count) if weights is None else torch.tensor(weights)
    zeros = torch.zeros(count, dtype=torch.long)
    return Edges(torch.arange(count), zeros, weight, torch.tensor(ages), torch.ones(count), weight.sum().view(1))


def test_sampling_by_age_draws_the_latest_most():
    edges, generator = aged([20.0, 10.0, 0.0]), torch.Generator().manual_seed(0)
    drawn = torch.cat([edges.sample(2, generator, half_life_days=10.0).source for _ in range(3_000)])
    # By age 1 : 2 : 4, and a quarter uniform: 3/4 · 1/7 + 1/12 = 4/21, and so 25/84 and 43/84, of 6,000.
    expected = torch.tensor([4 / 21, 25 / 84, 43 / 84]) * 6_000
    assert (torch.bincount(drawn, minlength=3) - expected).abs().max() < 4 * 39  # Four standard deviations.


def test_sampling_by_age_goes_by_age_among_the_edges_of_a_target():
    source, target = torch.arange(6), torch.tensor([0, 0, 0, 1, 1, 1])
    ages = torch.tensor([2_010.0, 2_000.0, 1_990.0, 20.0, 10.0, 0.0])
    edges = Edges(source, target, torch.ones(6), ages, torch.ones(6), torch.full((2,), 3.0))
    probability = draw_probabilities(target, torch.tensor([3, 3]), ages, 10.0)
    one, other = probability[:3], probability[3:]
    torch.testing.assert_close(one, other)
    block, nodes = edges.block(torch.tensor([1, 0]), 2, torch.Generator().manual_seed(0), half_life_days=10.0)
    assert block.pointers.tolist() == [0, 2, 4]
    assert (nodes[block.source[:2]] >= 3).all(), "an edge of another target was drawn"
    assert (nodes[block.source[2:]] < 3).all(), "an edge of another target was drawn"


def test_what_is_drawn_by_age_stands_for_one_over_its_expected_draws():
    drawn = aged([20.0, 10.0, 0.0]).sample(2, torch.Generator().manual_seed(0), half_life_days=10.0)
    expected = torch.tensor([21 / 8, 84 / 50, 84 / 86])[drawn.source]  # 1 / (2 · 4/21), and so on.
    torch.testing.assert_close(drawn.stands_for, expected)


def test_sums_and_means_over_draws_by_age_expect_those_over_all_edges():
    edges = aged([40.0, 30.0, 20.0, 10.0, 0.0], [1.0, 2.0, 0.5, 1.0, 1.5])
    values, generator = torch.tensor([[8.0], [1.0], [6.0], [-3.0], [2.0]]), torch.Generator().manual_seed(0)
    draws = [edges.sample(3, generator, half_life_days=10.0) for _ in range(4_000)]
    sums = torch.cat([drawn.aggregate(values, SumAggregation()) for drawn in draws]).flatten()
    # 8 + 2 + 3 - 3 + 3 = 13; the weights sum up to 6.
    assert abs(sums.mean() - 13.0) < 4 * sums.std() / len(draws) ** 0.5
    wide = edges.sample(4, generator, half_life_days=10.0)
    mean, total = wide.aggregate(values, MeanAggregation()), wide.counted_weight().sum()
    torch.testing.assert_close(mean, wide.aggregate(values, SumAggregation()) / total)


def test_draws_by_age_vary_less_where_weights_fade_with_age():
    ages = torch.arange(99.0, -1.0, -1.0)
    faded = aged(ages.tolist(), torch.exp2(-ages / 10.0).tolist())
    values, generator = torch.ones(100, 1), torch.Generator().manual_seed(0)

    def spread(half_life_days: float | None) -> float:
        sums = [
            faded.sample(10, generator, half_life_days).aggregate(values, SumAggregation()).item() for _ in range(500)
        ]
        return float(torch.tensor(sums).std())

    assert spread(10.0) < spread(None) / 3


def test_no_edge_stands_for_more_than_four_times_what_it_does_in_a_uniform_draw():
    edges = aged([float(age) for age in range(10_000, 9_900, -1)] + [0.0])
    drawn = [edges.sample(10, torch.Generator().manual_seed(seed), half_life_days=1.0) for seed in range(50)]
    assert max(float(of.stands_for.max()) for of in drawn) <= 4 * 10.1 + 1e-3
    assert sum(int((of.source < 100).sum()) for of in drawn) > 0, "wanted an old edge among the draws"


def test_small_neighbourhoods_are_kept_whole_by_draws_by_age_too():
    drawn = aged([20.0, 0.0]).sample(2, torch.Generator(), half_life_days=1.0)
    assert drawn.source.tolist() == [0, 1]
    assert drawn.stands_for.tolist() == [1.0, 1.0]


def test_features_are_strength_and_freshness():
    zeros, degree = torch.zeros(2, dtype=torch.long), torch.ones(1)
    edges = Edges(zeros, zeros, torch.tensor([0.5, 2.0]), torch.tensor([7.0, 0.0]), degree, degree)
    expected = [[0.5, 2**-7.0, 0.5, 2 ** (-7 / 30), 2 ** (-7 / 180)], [2.0, 1.0, 1.0, 1.0, 1.0]]
    torch.testing.assert_close(edges.features(), torch.tensor(expected))


def test_relations_are_found_apart():
    zeros, degree = torch.zeros(3, dtype=torch.long), torch.ones(1)
    edges = Edges(zeros, zeros, torch.arange(3.0), torch.zeros(3), degree, degree, relation=torch.tensor([1, 0, 1]))
    assert edges.of_relation(1).weight.tolist() == [0.0, 2.0]
    assert edges.of_relation(1) is edges.of_relation(1)
    untyped = Edges(zeros, zeros, torch.arange(3.0), torch.zeros(3), degree, degree)
    with pytest.raises(ValueError, match="set is_relational on the encoder"):
        untyped.of_relation(0)


def test_weights_scale_messages_by_their_share_for_other_aggregators():
    degree = torch.ones(1)
    edges = Edges(torch.tensor([0, 0]), torch.tensor([0, 0]), torch.tensor([1.0, 3.0]), torch.zeros(2), degree, degree)
    # The mean weight is 2: messages count half and one and a half times.
    found = edges.combine(torch.tensor([[2.0], [1.0]]), MaxAggregation())
    assert found.tolist() == [[1.5]]
