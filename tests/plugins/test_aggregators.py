"""The built-in aggregators, compared with numbers worked by hand and with those of PyG."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch_geometric.nn import LSTMAggregation, MaxAggregation, MeanAggregation, PowerMeanAggregation, Set2Set

from springtide.errors import SettingsError, UnknownPartError
from springtide.plugins.contracts import Edges
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings
from springtide_plugins.aggregators.edge_aware import Several, TimeDecay
from springtide_plugins.aggregators.power_mean import PowerMean
from springtide_plugins.aggregators.sequences import LatestLSTM, ProjectedSet2Set

PLUGINS = load_plugins()
WIDTH = 4
NAMES = sorted(
    part.name for part in PLUGINS.parts if part.kind == "aggregator" and part.origin.startswith("springtide ")
)


def make(name, **options):
    return PLUGINS.make("aggregator", PartSettings(name=name, options=options), width=WIDTH)


def edges_of(targets, weights=None, ages_days=None, num_targets=None):
    """Edges to the targets given, ascending, each from a source of its own."""
    count = len(targets)
    num_targets = num_targets or max(targets) + 1
    return Edges(
        torch.arange(count),
        torch.tensor(targets, dtype=torch.long),
        torch.tensor(weights or [1.0] * count),
        torch.tensor(ages_days or [0.0] * count),
        torch.ones(count),
        torch.ones(num_targets),
    )


def combined(aggregator, messages, **edges):
    """What one target gets of messages that are one number each, repeated over the width."""
    values = torch.tensor(messages).unsqueeze(-1).expand(-1, WIDTH)
    return edges_of([0] * len(messages), **edges).aggregate(values, aggregator)[0].tolist()


def random_messages(count):
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sum", 0.0),
        ("mean", 0.0),
        ("max", 3.0),
        ("min", -4.0),
        ("std", math.sqrt(26 / 3)),  # Squares 1, 9 and 16, and a mean of 0.
    ],
)
def test_plain_aggregators_do_what_their_names_say(name, expected):
    assert combined(make(name), [1.0, 3.0, -4.0]) == pytest.approx([expected] * WIDTH)


def test_softmax_weighs_each_message_by_itself():
    # Weights e^0 and e^log(3): a quarter and three quarters.
    assert combined(make("softmax"), [0.0, math.log(3)]) == pytest.approx([0.75 * math.log(3)] * WIDTH)


def test_softmax_learns_a_temperature_for_each_component_by_default():
    assert [parameter.numel() for parameter in make("softmax").parameters()] == [WIDTH]
    fixed = make("softmax", is_learned=False, inverse_temperature=2.0)
    assert list(fixed.parameters()) == []
    # Weights e^0 and e^(2 log 3).
    assert combined(fixed, [0.0, math.log(3)]) == pytest.approx([0.9 * math.log(3)] * WIDTH)


def test_attentional_weighs_messages_by_a_gate():
    aggregator, messages = make("attentional"), random_messages(3)
    found = edges_of([0, 0, 0]).aggregate(messages, aggregator)
    shares = (messages @ aggregator.gate_nn.weight.T).softmax(0)  # [3, 1]
    torch.testing.assert_close(found[0], (shares * aggregator.nn(messages)).sum(0))


def test_power_mean_is_computed_on_the_softplus_of_the_messages():
    # Softplus gives 1 and 2; their quadratic mean is the root of 2.5.
    messages = [math.log(math.e - 1), math.log(math.e**2 - 1)]
    expected = math.log(math.exp(math.sqrt(2.5)) - 1)
    assert combined(PowerMean(WIDTH, power=2.0), messages) == pytest.approx([expected] * WIDTH, rel=1e-5)


def test_power_mean_equals_pyg_between_softplus_and_its_inverse():
    messages, index = random_messages(6), torch.tensor([0, 0, 1, 1, 1, 2])
    expected = PowerMeanAggregation(p=3.0)(F.softplus(messages), index)
    found = PowerMean(WIDTH, power=3.0)(messages, index)
    torch.testing.assert_close(F.softplus(found), expected)


@pytest.mark.parametrize("message", [-30.0, -2.0, 0.0, 5.0, 90.0])
def test_power_mean_of_equal_messages_is_that_message(message):
    assert combined(PowerMean(WIDTH, power=3.0), [message] * 3) == pytest.approx([message] * WIDTH, abs=1e-3)


def test_power_mean_of_large_messages_does_not_overflow():
    aggregator, messages = PowerMean(WIDTH, power=50.0), torch.tensor([[90.0], [-90.0]]).repeat(1, WIDTH)
    found = edges_of([0, 0]).aggregate(messages.requires_grad_(), aggregator)
    found.sum().backward()
    # All but the greatest vanishes: half of a power, under the 50th root.
    torch.testing.assert_close(found[0], torch.full((WIDTH,), 90.0 * 0.5 ** (1 / 50)))
    assert messages.grad.isfinite().all()


def test_power_mean_rises_with_the_power_up_to_the_maximum():
    means = [combined(PowerMean(WIDTH, power=power), [-2.0, -1.0, 3.0])[0] for power in (0.01, 1.0, 4.0, 60.0)]
    assert -2.0 < means[0] < means[1] < means[2] < means[3] < 3.0
    assert means[3] > 2.9


def test_lstm_equals_pyg_where_all_targets_have_the_same_number_of_messages():
    messages, index = random_messages(6), torch.tensor([0, 0, 0, 1, 1, 1])
    aggregator, pyg = LatestLSTM(WIDTH), LSTMAggregation(WIDTH, WIDTH)
    pyg.load_state_dict(aggregator.state_dict())
    torch.testing.assert_close(aggregator(messages, index), pyg(messages, index))


def test_lstm_does_not_read_padding():
    counts = [1, 5, 0, 2, 4, 3]
    index = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    aggregator, messages = LatestLSTM(WIDTH, max_messages=8), random_messages(len(index))
    found = aggregator(messages, index, dim_size=len(counts))
    for target in (0, 1, 3, 4, 5):
        own = messages[index == target]
        torch.testing.assert_close(found[target], aggregator.lstm(own.unsqueeze(0))[0][0, -1])
    assert found[2].tolist() == [0.0] * WIDTH


def test_lstm_reads_the_latest_messages_oldest_first():
    aggregator, messages = LatestLSTM(WIDTH, max_messages=3), random_messages(7)
    found = edges_of([0] * 5 + [1] * 2).aggregate(messages, aggregator)
    torch.testing.assert_close(found[0], aggregator.lstm(messages[2:5].unsqueeze(0))[0][0, -1])
    torch.testing.assert_close(found[1], aggregator.lstm(messages[5:].unsqueeze(0))[0][0, -1])


def test_set2set_is_that_of_pyg_times_a_matrix():
    messages, index = random_messages(5), torch.tensor([0, 0, 1, 1, 1])
    aggregator, pyg = ProjectedSet2Set(WIDTH, processing_steps=2), Set2Set(WIDTH, processing_steps=2)
    pyg.load_state_dict(aggregator.readings.state_dict())
    expected = pyg(messages, index, dim_size=2) @ aggregator.project.weight.T
    torch.testing.assert_close(aggregator(messages, index), expected)


def test_time_decay_halves_a_weight_with_every_half_life():
    # Weights 1 and 3, the second a half-life older: (1·2 + 1.5·8) / 2.5.
    found = combined(TimeDecay(half_life_days=30.0), [2.0, 8.0], weights=[1.0, 3.0], ages_days=[0.0, 30.0])
    assert found == pytest.approx([5.6] * WIDTH)


def test_time_decay_uses_differences_of_age_so_that_old_edges_still_count():
    young = combined(TimeDecay(half_life_days=1.0), [2.0, 8.0], ages_days=[1.0, 0.0])
    old = combined(TimeDecay(half_life_days=1.0), [2.0, 8.0], ages_days=[100_001.0, 100_000.0])
    assert young == old == pytest.approx([6.0] * WIDTH)  # (0.5·2 + 1·8) / 1.5


def test_time_decay_of_edges_of_one_age_is_the_mean():
    edges, messages = edges_of([0, 0, 2], [1.0, 2.0, 3.0], [7.0] * 3), random_messages(3)
    found = edges.aggregate(messages, TimeDecay())
    torch.testing.assert_close(found, edges.aggregate(messages, MeanAggregation()))


def test_time_decay_learns_its_half_life():
    aggregator = TimeDecay(half_life_days=30.0)
    edges = edges_of([0, 0], ages_days=[30.0, 0.0])
    edges.aggregate(torch.tensor([[2.0], [8.0]]), aggregator).sum().backward()
    # The mean (2w + 8) / (w + 1) falls by 6 / (w + 1)² with w = 2^(−30/h), and dw / dlog h = w log 2 · 30/h.
    expected = -6 / 1.5**2 * 0.5 * math.log(2)
    assert float(aggregator.log_half_life_days.grad) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["time_decay", "power_mean"])
def test_values_that_are_not_learned_are_saved_too(name):
    fixed = make(name, is_learned=False)
    assert list(fixed.parameters()) == []
    assert len(fixed.state_dict()) == 1


def test_several_concatenates_the_results_of_its_aggregators():
    edges, messages = edges_of([0, 0, 1], [1.0, 3.0, 1.0]), random_messages(3)
    several = make("several", of=["mean", "max"])
    parts = [edges.aggregate(messages, part) for part in (MeanAggregation(), MaxAggregation())]
    torch.testing.assert_close(edges.aggregate(messages, several), torch.cat(parts, dim=-1) @ several.project.weight.T)


def test_several_may_contain_an_aggregator_that_uses_edges():
    several = make("several", of=["time_decay", "several"])
    with torch.no_grad():
        several.project.weight.copy_(torch.cat([torch.eye(WIDTH), torch.zeros(WIDTH, WIDTH)], dim=1))
    found = combined(several, [2.0, 8.0], ages_days=[30.0, 0.0])
    assert found == pytest.approx([6.0] * WIDTH)


def test_several_depends_on_the_order_of_messages_if_one_of_its_aggregators_does():
    assert make("several").is_permutation_invariant
    assert not make("several", of=["mean", "lstm"]).is_permutation_invariant


@pytest.mark.parametrize("name", NAMES)
def test_targets_without_messages_get_zeros(name):
    found = edges_of([1, 1, 3], num_targets=5).aggregate(random_messages(3), make(name))
    assert found[[0, 2, 4]].tolist() == [[0.0] * WIDTH] * 3
    assert edges_of([], num_targets=2).aggregate(random_messages(0), make(name)).tolist() == [[0.0] * WIDTH] * 2


@pytest.mark.parametrize("name", NAMES)
def test_aggregate_and_combine_give_the_same(name):
    aggregator, edges = make(name), edges_of([0, 0, 0, 2], [0.5, 1.0, 2.0, 1.0], [9.0, 4.0, 1.0, 3.0])
    of_nodes, of_edges = (random_messages(4).requires_grad_() for _ in range(2))
    by_nodes, by_edges = edges.aggregate(of_nodes, aggregator), edges.combine(of_edges, aggregator)
    torch.testing.assert_close(by_nodes, by_edges)
    by_nodes.square().sum().backward()
    by_edges.square().sum().backward()
    assert of_nodes.grad[:3].any()
    torch.testing.assert_close(of_nodes.grad, of_edges.grad)


@pytest.mark.parametrize("name", NAMES)
def test_reset_draws_new_random_parameters(name):
    aggregator = make(name)
    before = [parameter.clone() for parameter in aggregator.parameters()]
    with torch.no_grad():
        for parameter in aggregator.parameters():
            parameter.add_(1e3)
    aggregator.reset_parameters()
    for parameter, first in zip(aggregator.parameters(), before, strict=True):
        assert (parameter - first).abs().max() < 10


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("time_decay", {"half_life_days": 0}, "half_life_days: wanted a number, above 0, got 0"),
        ("power_mean", {"power": -1}, "power: wanted a number, above 0, got -1"),
        ("softmax", {"inverse_temperature": 0}, "inverse_temperature: wanted a number, above 0, got 0"),
        ("lstm", {"max_messages": 0}, "max_messages: wanted a whole number, above 0, got 0"),
        ("set2set", {"processing_steps": 0}, "processing_steps: wanted a whole number, above 0, got 0"),
        ("several", {"of": []}, "of: wanted a list of text, at least 1 of them, got"),
        ("mean", {"half_life_days": 1}, "no option named 'half_life_days'"),
    ],
)
def test_bad_option_is_refused(name, options, message):
    with pytest.raises(SettingsError, match=message):
        make(name, **options)


def test_several_with_an_unknown_name_is_refused():
    with pytest.raises(UnknownPartError, match="no aggregator named 'mode'"):
        make("several", of=["mean", "mode"])


def test_several_makes_its_aggregators_from_the_plugins():
    several = Several(WIDTH, lambda kind, name: {("aggregator", "mine"): MaxAggregation()}[kind, name], of=["mine"])
    assert type(several.parts[0]) is MaxAggregation
