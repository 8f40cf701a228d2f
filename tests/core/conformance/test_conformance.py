"""Each check finds the fault that it is there for, and says what it wanted and what came."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import Aggregation, QuantileAggregation, SumAggregation

from springtide.conformance import CHECKS, run_checks
from springtide.errors import ConformanceError, TrainingError
from springtide.plugins.contracts import ContextWeight, Encoder, Factor, Loss, NegativeSampler, Task
from springtide.plugins.loading import Plugins, load_plugins
from springtide.settings.model import PartSettings
from springtide.testing import check_encoder, check_loss

PLUGINS = load_plugins()


def failures_of(kind, factory, plugins=None, only=None):
    """Return what each check of a kind that fails wanted and got."""
    plugins = (plugins or Plugins([])).with_part(kind, "faulty", factory)
    checks = [check for check in CHECKS[kind] if only in (None, check.name)]
    assert checks, only
    results = run_checks(kind, PartSettings(name="faulty"), plugins, checks=checks)
    return {result.check.name: (result.wanted, result.got) for result in results if not result.is_kept}


class Mean(Encoder):
    """A sound encoder: its own level and the mean of its neighbours', through a matrix."""

    def __init__(self, width, num_layers, aggregator):
        super().__init__(width, num_layers, aggregator)
        self.matrices = nn.ModuleList(nn.Linear(width, width) for _ in range(num_layers))

    def layer(self, depth, sources, targets, edges):
        return self.matrices[depth](targets + edges.aggregate(sources, self.aggregators[depth]))


class TooWide(Mean):
    def layer(self, depth, sources, targets, edges):
        return torch.cat([super().layer(depth, sources, targets, edges)] * 2, dim=1)


class Restless(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources, targets, edges) + torch.rand(1)


class Idle(Mean):
    def __init__(self, width, num_layers, aggregator):
        super().__init__(width, num_layers, aggregator)
        self.never_used = nn.Parameter(torch.ones(1))


class Deaf(Mean):
    def layer(self, depth, sources, targets, edges):
        return self.matrices[depth](targets)


class ByRow(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources, targets, edges) * torch.arange(len(targets)).unsqueeze(1)


class DividesByDegree(Mean):
    def layer(self, depth, sources, targets, edges):
        summed = edges.aggregate(sources, SumAggregation())
        return self.matrices[depth](targets + summed / edges.target_degree.unsqueeze(1))


class NeedsNodes(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources, targets, edges) + targets[0] * 0


class NeedsManyNodes(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources, targets, edges) + (targets[2] * 0 if len(targets) else 0)


class NoPairTwice(Mean):
    def layer(self, depth, sources, targets, edges):
        pairs = torch.stack([edges.source, edges.target])
        assert torch.unique(pairs, dim=1).shape == pairs.shape, "a pair stands twice"
        return super().layer(depth, sources, targets, edges)


class Explodes(Mean):
    def layer(self, depth, sources, targets, edges):
        grown = torch.zeros(len(targets)).index_add(0, edges.target, edges.age_days.exp())
        return super().layer(depth, sources, targets, edges) + grown.unsqueeze(1)


class LooksAround(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources, targets, edges) - targets.mean(0)


class Forgetful(Mean):
    def __init__(self, width, num_layers, aggregator):
        super().__init__(width, num_layers, aggregator)
        self.not_kept = torch.rand(width)

    def readout(self, levels):
        return levels[-1] + self.not_kept


class LooksAwayFromIds(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources.detach() * 0, targets.detach() * 0, edges)


@pytest.mark.parametrize(
    ("factory", "check", "wanted", "got"),
    [
        (TooWide, "levels and vectors have the width of the inputs", "", ""),
        (Restless, "the same seed gives the same vectors", "the same vectors when asked twice", "a difference of"),
        (Idle, "gradients reach the inputs and every parameter", "a gradient at parameter 'never_used'", "none"),
        (Deaf, "neighbours count", "another vector when the neighbours are others", "the same"),
        (ByRow, "the order of nodes does not matter", "the same vectors when nodes come in another order", "a differ"),
        (
            DividesByDegree,
            "nodes without edges have finite vectors and gradients",
            "numbers in the vectors of nodes without edges that are finite",
            "32 of 32 numbers that are not",
        ),
        (NeedsNodes, "no nodes give no vectors", "no error", "IndexError"),
        (NeedsManyNodes, "one user with one item has a vector", "no error", "IndexError"),
        (NoPairTwice, "edges that stand twice do no harm", "no error", "AssertionError: a pair stands twice"),
        (Explodes, "heavy and ancient edges do no harm", "vectors that are finite", "numbers that are not"),
        (LooksAround, "a node alone gets what it gets in the whole graph", "vectors of nodes [1] when folded", "a dif"),
        (Forgetful, "saved and loaded it gives the same vectors", "the same vectors after saving and loading", "a dif"),
    ],
)
def test_faulty_encoder_is_found(factory, check, wanted, got):
    failures = failures_of("encoder", factory, only=check)
    assert set(failures) == {check}
    assert wanted in failures[check][0]
    assert got in failures[check][1]


def test_encoder_that_learns_nothing_of_who_took_what_is_found():
    failures = failures_of("encoder", LooksAwayFromIds, PLUGINS, "the withheld item comes first")
    wanted, got = failures["the withheld item comes first"]
    assert wanted == "item i first for at least 80% of users"
    assert got.endswith("%")


def test_sound_encoder_passes():
    assert failures_of("encoder", Mean, PLUGINS) == {}


class Messages(Aggregation):
    """Sums, with something added to it."""

    def forward(self, x, index=None, ptr=None, dim_size=None, dim=-2):
        return self.changed(self.reduce(x, index, ptr, dim_size, dim, reduce="sum"), x, index)

    def changed(self, summed, x, index):
        return summed


class Narrow(Messages):
    def changed(self, summed, x, index):
        return summed[:, :1]


class RestlessSum(Messages):
    def changed(self, summed, x, index):
        return summed + torch.rand(1)


class DeadSum(Messages):
    def changed(self, summed, x, index):
        return summed.detach() + x.sum() * 0


class SumOfAll(Messages):
    def changed(self, summed, x, index):
        return summed + x.mean()


class LastCounts(Messages):
    def changed(self, summed, x, index):
        return summed.index_copy(0, index, x)


class NoneIsNaN(Messages):
    def forward(self, x, index=None, ptr=None, dim_size=None, dim=-2):
        summed = super().forward(x, index, ptr, dim_size, dim)
        return summed / torch.bincount(index, minlength=dim_size).unsqueeze(-1)


class RootOfSum(Messages):
    def changed(self, summed, x, index):
        return summed.abs().sqrt()


class UpToFifty(Messages):
    def changed(self, summed, x, index):
        assert len(x) <= 50, "too many messages"
        return summed


class Uncopied(Messages):
    def __init__(self):
        super().__init__()
        self.scale = [torch.ones(1)]

    def __deepcopy__(self, memo):
        return self

    def reset_parameters(self):
        self.scale = [torch.full((1,), 2.0)]

    def changed(self, summed, x, index):
        return summed * self.scale[0]


class ForgetfulSum(Messages):
    def __init__(self):
        super().__init__()
        self.scale = torch.rand(1)

    def changed(self, summed, x, index):
        return summed * self.scale

    def forward(self, x, index=None, ptr=None, dim_size=None, dim=-2):
        return super().forward(x + (len(x) % 2), index, ptr, dim_size, dim)


@pytest.mark.parametrize(
    ("factory", "check", "wanted"),
    [
        (Narrow, "targets get one message of the same width", "messages of shape [15, 16]"),
        (RestlessSum, "the same seed gives the same messages", "the same messages when asked twice"),
        (DeadSum, "gradients reach the messages and every parameter", "a gradient at the messages"),
        (LastCounts, "the order of messages does not matter", "or is_permutation_invariant = False on the class"),
        (SumOfAll, "targets do not mix", "the same messages of targets [1] alone"),
        (NoneIsNaN, "targets get one message of the same width", "messages that are finite"),
        (RootOfSum, "equal messages have finite gradients", "gradients at the messages that are finite"),
        (UpToFifty, "messages that stand twice do no harm", "no error"),
        (Uncopied, "it can be copied and begun anew", "the same messages when a copy begins anew"),
        (ForgetfulSum, "saved and loaded it gives the same messages", "the same messages after saving and loading"),
    ],
)
def test_faulty_aggregator_is_found(factory, check, wanted):
    failures = failures_of("aggregator", factory, only=check)
    assert wanted in failures[check][0]


def test_aggregator_that_cannot_begin_with_a_node_alone_is_found():
    # PyG 2.8's reads the message before the first one.
    found = failures_of(
        "aggregator", lambda: QuantileAggregation(0.75), only="targets get one message of the same width"
    )
    assert "IndexError" in found["targets get one message of the same width"][1]


def test_aggregator_may_declare_that_the_order_matters():
    class InOrder(LastCounts):
        is_permutation_invariant = False

    assert failures_of("aggregator", InOrder, only="the order of messages does not matter") == {}


class Hinge(Loss):
    """A sound loss."""

    def forward(self, inputs):
        distance = inputs.negative[inputs.user] - inputs.positive.unsqueeze(-1)  # [num_edges, num_negatives]
        weight = ~inputs.is_seen[inputs.user] * inputs.weight.unsqueeze(-1)
        return (torch.nn.functional.softplus(5 * distance) * weight).sum() / weight.sum().clamp(min=1e-12)


class OneForEach(Hinge):
    def forward(self, inputs):
        return super().forward(inputs).expand(2)


class Noisy(Hinge):
    calls = 0

    def forward(self, inputs):
        Noisy.calls += 1
        return super().forward(inputs) + Noisy.calls


class UpsideDown(Hinge):
    def forward(self, inputs):
        return -super().forward(inputs)


class Unmoved(Hinge):
    def forward(self, inputs):
        return super().forward(replace(inputs, negative=inputs.negative.detach()))


class PushesWrongly(Hinge):
    """Falls as positives rise, and as negatives rise."""

    def forward(self, inputs):
        return super().forward(inputs) - 10 * inputs.negative.mean()


class Adds(Hinge):
    def forward(self, inputs):
        return super().forward(inputs) * inputs.weight.sum()


class OneListOfNegatives(Hinge):
    def forward(self, inputs):
        return super().forward(inputs) + inputs.negative_log_q[0].mean()


class DividesByNone(Hinge):
    def forward(self, inputs):
        return super().forward(inputs) + (inputs.positive * 0).mean()


class RootOfDistance(Hinge):
    def forward(self, inputs):
        return super().forward(inputs) + (1 - inputs.positive).clamp(min=0).sqrt().sum() / max(len(inputs.user), 1)


@pytest.mark.parametrize(
    ("factory", "check", "wanted", "got"),
    [
        (OneForEach, "the loss is one finite number", "a scalar tensor", "torch.Size([2])"),
        (Noisy, "the same inputs give the same loss", "the same loss of the same inputs", "a difference of 1"),
        (UpsideDown, "the loss falls as positives rise above negatives", "a loss that falls at cosines", "-"),
        (Unmoved, "gradients reach what it looks at and every parameter", "a gradient at negative", "none"),
        (PushesWrongly, "gradients push positives up and negatives down", "rises along each negative", "slopes -"),
        (UpsideDown, "gradients push positives up and negatives down", "falls along each user's positives", "slopes "),
        (Adds, "the loss is a mean", "the same loss when every edge stands twice", "a difference of"),
        (OneListOfNegatives, "each user may have negatives of its own", "the same loss when each user's", "a differ"),
        (
            DividesByNone,
            "empty batches have a finite loss",
            "losses of a batch with no edges that are finite",
            "1 of 1",
        ),
        (RootOfDistance, "cosines at their ends do no harm", "gradients at positive where cosines are 1", "4 of 4"),
    ],
)
def test_faulty_loss_is_found(factory, check, wanted, got):
    failures = failures_of("loss", factory, only=check)
    assert wanted in failures[check][0]
    assert got in failures[check][1]


def test_sound_loss_passes():
    assert failures_of("loss", Hinge) == {}


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
        (OutOfRange, "drawn items are rows of items", "rows from 0 to 5"),
        (OwnChance, "the same generator gives the same items", "the same items under the same seed"),
        (NoLogQ, "log probabilities belong to all items", "float32 log_q"),
        (OtherLogQ, "log probabilities are those of the draws", "items as often as log_q says: "),
        (NaNWhereNone, "items that nobody chose do no harm", "log_q without NaN"),
        (TakesOwn, "selected items are not the users own", "none of the users' own items"),
        (Undeclared, "selected items are not the users own", "is_selective = True"),
        (GoesTooFar, "users who own all do no harm", "positions from 0 to 3"),
    ],
)
def test_faulty_negative_sampler_is_found(factory, check, wanted):
    failures = failures_of("negative sampler", factory, only=check)
    assert wanted in failures[check][0]


def test_sound_negative_sampler_passes():
    assert failures_of("negative sampler", Uniform) == {}


class Parity(Task):
    """A sound task: which of two labels an item has."""

    labels = (("item", "side"),)

    def prepare(self, graph, width):
        codes, values = graph.categories("item", "side")
        self.rows = np.flatnonzero(codes >= 0)
        if len(self.rows) == 0:
            raise TrainingError("wanted items with a side")
        self.codes, self.start = torch.from_numpy(codes[self.rows]), graph.item_start
        self.head = nn.Linear(width, len(values))

    def draw(self, count, generator):
        self.drawn = generator.integers(0, len(self.rows), count)
        return self.rows[self.drawn] + self.start

    def forward(self, vectors):
        return nn.functional.cross_entropy(self.head(vectors), self.codes[self.drawn])


class OneName(Parity):
    labels = ("side",)

    def prepare(self, graph, width):
        pass


class RowsOfElsewhere(Parity):
    def draw(self, count, generator):
        return super().draw(count, generator) + 1_000


class IdleTask(Parity):
    def prepare(self, graph, width):
        super().prepare(graph, width)
        self.never_used = nn.Parameter(torch.ones(1))


class Stubborn(Parity):
    def forward(self, vectors):
        return nn.functional.cross_entropy(self.head(vectors), 1 - self.codes[self.drawn].flip(0))


class ForgetfulTask(Parity):
    def prepare(self, graph, width):
        super().prepare(graph, width)
        self.not_kept = torch.rand(1)

    def forward(self, vectors):
        return super().forward(vectors) + self.not_kept.sum()


class Careless(Parity):
    def prepare(self, graph, width):
        pass


@pytest.mark.parametrize(
    ("factory", "check", "wanted"),
    [
        (OneName, "labels are node types and attributes", "pairs of (node type, attribute)"),
        (RowsOfElsewhere, "a batch is nodes of the graph", "nodes from 0 to 47"),
        (IdleTask, "gradients reach the vectors and every parameter", "a gradient at parameter 'never_used'"),
        (Stubborn, "it learns what the vectors tell", "a loss that falls below "),
        (ForgetfulTask, "saved and loaded it gives the same loss", "the same loss after saving and loading"),
        (Careless, "a graph without its labels is refused", "a TrainingError where no node has a label"),
    ],
)
def test_faulty_task_is_found(factory, check, wanted):
    failures = failures_of("task", factory, only=check)
    assert wanted in failures[check][0]


def test_sound_task_passes():
    assert failures_of("task", Parity) == {}


class Seen(ContextWeight):
    """A sound weight: items that were ever seen."""

    def __init__(self):
        self.seen = np.zeros(100, np.float32)

    def observe(self, observed):
        self.seen[observed.item_rows] = 1.0

    def bucket(self, moment):
        return "always"

    def item_log_lifts(self, moment, num_items):
        return self.seen[None, :num_items].copy()

    def state(self):
        return {"seen": self.seen.copy()}

    def restore(self, state):
        self.seen = state["seen"].copy()


class TwiceNamed(Seen):
    factors = (Factor("seen"), Factor("seen"))


class LastSeen(Seen):
    def observe(self, observed):
        self.seen[:] = 0
        super().observe(observed)


class StartsAnew(Seen):
    def restore(self, state):
        pass


class SharesItsState(Seen):
    """Counts, so that what goes on shows."""

    def observe(self, observed):
        np.add.at(self.seen, observed.item_rows, 1.0)

    def state(self):
        return {"seen": self.seen}


class OneRowForTwo(Seen):
    factors = (Factor("one"), Factor("other"))


class ByTheMinute(Seen):
    def item_log_lifts(self, moment, num_items):
        return super().item_log_lifts(moment, num_items) * (moment.timestamp_ms // 60_000 % 60)


class Prejudiced(Seen):
    def __init__(self):
        super().__init__()
        self.seen += 1.0


@pytest.mark.parametrize(
    ("factory", "check", "wanted"),
    [
        (TwiceNamed, "factors have names of their own", "names that differ"),
        (LastSeen, "the order of events does not matter", "the same lifts when events come one by one"),
        (StartsAnew, "its state comes back the same", "the same lifts after a restart"),
        (SharesItsState, "its state is a copy", "a copy as state 'seen'"),
        (OneRowForTwo, "lifts have a row for each factor and are finite", "log lifts of shape [2, 0]"),
        (ByTheMinute, "moments of one bucket have the same lifts", "the same log lifts at moments of one bucket"),
        (Prejudiced, "who has seen nothing is neutral", "log lifts of 0 before anything was seen"),
    ],
)
def test_faulty_context_weight_is_found(factory, check, wanted):
    failures = failures_of("context weight", factory, only=check)
    assert wanted in failures[check][0]


def test_sound_context_weight_passes():
    assert failures_of("context weight", Seen) == {}


def test_failure_names_the_part_and_says_what_was_wanted_and_what_came():
    with pytest.raises(ConformanceError) as failed:
        check_loss(Adds)
    said = str(failed.value)
    assert said.startswith("loss 'Adds' fails ")
    assert "✗ the loss is a mean\n    wanted the same loss when every edge stands twice, got a difference of " in said


def test_failure_is_an_assertion_for_pytest():
    with pytest.raises(AssertionError):
        check_loss(UpsideDown)


def test_factory_that_does_not_declare_its_options_is_refused_by_its_name():
    def make_hinge(power):
        return Hinge()

    with pytest.raises(ConformanceError, match=r"^loss 'make_hinge': option 'power' has no type"):
        check_loss(make_hinge)


def test_options_are_handed_on():
    def make_deep(width, num_layers, aggregator, is_deaf: bool = False):
        return (Deaf if is_deaf else Mean)(width, num_layers, aggregator)

    with pytest.raises(ConformanceError, match="neighbours count"):
        check_encoder(make_deep, is_deaf=True)


@pytest.mark.parametrize("kind", CHECKS)
def test_every_check_has_a_name_and_a_reason(kind):
    names = [check.name for check in CHECKS[kind]]
    assert len(set(names)) == len(names)
    assert all(check.reason.endswith(".") for check in CHECKS[kind])
