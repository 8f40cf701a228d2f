"""What every part of a kind must do: contract suites that built-ins and outsiders' plugins run alike, under pytest.

Subclass a suite in a test file, tell it how to make the part, and pytest runs its tests::

    class TestMyLoss(LossContract):
        def make(self):
            return MyLoss()
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch_geometric.nn import Aggregation

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.plugins.contracts import ContextWeight, Encoder, History, Loss, LossInputs, Moment, Observed
from springtide.plugins.edges import Edges

WIDTH, NUM_LAYERS, NUM_NODES, NUM_EDGES = 8, 2, 12, 30
NOW_MS = 1_700_000_000_000


class EncoderContract:
    """What any encoder must do, with any aggregator."""

    def make(self, width: int, num_layers: int) -> Encoder:
        """Return the encoder with the aggregator that it is tested with."""
        raise NotImplementedError

    def test_vectors_have_the_width_of_the_inputs(self) -> None:
        """Each level, and the vectors, are float32 ``[num_nodes, d]``."""
        levels = _levels(self._seeded(), _inputs(), _graph())
        vectors = self._seeded().readout(levels)
        assert len(levels) == NUM_LAYERS + 1
        for level in (*levels, vectors):
            assert level.shape == (NUM_NODES, WIDTH), f"wanted {(NUM_NODES, WIDTH)}, got {tuple(level.shape)}"
            assert level.dtype == torch.float32, f"wanted float32, got {level.dtype}"

    def test_the_same_seed_gives_the_same_vectors(self) -> None:
        """Nothing but torch's generator decides how an encoder begins."""
        assert torch.equal(_vectors(self._seeded()), _vectors(self._seeded()))

    def test_gradients_reach_the_inputs_and_every_parameter(self) -> None:
        """What no gradient reaches is never learned."""
        encoder, inputs = self._seeded().train(), _inputs().requires_grad_()
        _vectors(encoder, inputs).square().sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        for name, tensor in (("inputs", inputs), *encoder.named_parameters()):
            assert tensor.grad is not None, f"no gradient reaches {name}"
            assert tensor.grad.any(), f"the gradient of {name} is 0"

    def test_the_order_of_nodes_does_not_matter(self) -> None:
        """Nodes in another order have the same vectors in that order."""
        place_of = torch.randperm(NUM_NODES, generator=torch.Generator().manual_seed(1))
        edges, inputs = _graph(), _inputs()
        moved = torch.empty_like(inputs)
        moved[place_of] = inputs
        encoder = self._seeded()
        vectors = _vectors(encoder, moved, _edges(place_of[edges.source], place_of[edges.target], edges.weight))
        torch.testing.assert_close(vectors[place_of], _vectors(encoder, inputs, edges))

    def test_nodes_without_edges_have_finite_vectors(self) -> None:
        """A graph without any edge is one where every node is alone."""
        no_rows = torch.zeros(0, dtype=torch.long)
        vectors = _vectors(self._seeded(), edges=_edges(no_rows, no_rows, torch.zeros(0)))
        assert vectors.isfinite().all(), "a node without neighbours has a vector that is not finite"

    def test_a_node_alone_gets_what_it_gets_in_the_whole_graph(self) -> None:
        """Its neighbours' levels are enough: that is how users are folded in live."""
        encoder, edges = self._seeded(), _graph()
        levels = _levels(encoder, _inputs(), edges)
        node = int(edges.target[-1])
        own = (edges.target == node).nonzero().flatten()
        alone = Edges(
            torch.arange(len(own)),
            torch.zeros(len(own), dtype=torch.long),
            edges.weight[own],
            edges.age_days[own],
            edges.source_degree[edges.source[own]],
            edges.target_degree[node : node + 1],
        )
        own_levels = [levels[0][node : node + 1]]
        for depth in range(NUM_LAYERS):
            own_levels.append(encoder.layer(depth, levels[depth][edges.source[own]], own_levels[-1], alone))
        torch.testing.assert_close(encoder.readout(own_levels)[0], encoder.readout(levels)[node])

    def _seeded(self) -> Encoder:
        torch.manual_seed(0)
        return self.make(WIDTH, NUM_LAYERS).eval()


class AggregatorContract:
    """What any aggregator must do."""

    def make(self) -> Aggregation:
        """Return the aggregator."""
        raise NotImplementedError

    def test_targets_get_one_message_of_the_same_width(self) -> None:
        """Whatever comes in, each target has one message of width ``d``; finite where nothing came."""
        edges = _graph()
        combined = edges.aggregate(_inputs(), self.make())
        assert combined.shape == (NUM_NODES, WIDTH), f"wanted {(NUM_NODES, WIDTH)}, got {tuple(combined.shape)}"
        assert combined.isfinite().all(), "a message is not finite"

    def test_the_order_of_messages_does_not_matter(self) -> None:
        """Edges of one target come in no meaningful order."""
        edges = _graph()
        order = torch.randperm(NUM_EDGES, generator=torch.Generator().manual_seed(1))
        shuffled = _edges(edges.source[order], edges.target[order], edges.weight[order])
        torch.testing.assert_close(edges.aggregate(_inputs(), self.make()), shuffled.aggregate(_inputs(), self.make()))


class LossContract:
    """What any loss must do."""

    def make(self) -> Loss:
        """Return the loss."""
        raise NotImplementedError

    def test_the_loss_is_one_finite_number(self) -> None:
        """It is a float32 scalar."""
        loss = self.make()(_loss_inputs())
        assert loss.shape == (), f"wanted a scalar, got {tuple(loss.shape)}"
        assert loss.dtype == torch.float32, f"wanted float32, got {loss.dtype}"
        assert loss.isfinite(), f"wanted a finite number, got {loss}"

    def test_the_loss_falls_as_positives_rise_above_negatives(self) -> None:
        """That is what it is for."""
        loss = self.make()
        values = [float(loss(_loss_inputs(positive=cosine))) for cosine in (-0.9, 0.0, 0.9)]
        assert values[0] > values[1] > values[2], f"wanted a falling loss, got {values}"

    def test_gradients_push_positives_up_and_negatives_down(self) -> None:
        """The loss falls along positives, and rises along negatives."""
        inputs = _loss_inputs()
        inputs.positive.requires_grad_()
        inputs.negative.requires_grad_()
        self.make()(inputs).backward()
        assert inputs.positive.grad is not None, "no gradient reaches the positives"
        assert inputs.negative.grad is not None, "no gradient reaches the negatives"
        assert (inputs.positive.grad <= 0).all(), "the loss rises along a positive"
        assert inputs.positive.grad.any(), "the loss does not depend on the positives"
        assert (inputs.negative.grad[~inputs.is_own] >= 0).all(), "the loss falls along a negative"

    def test_the_loss_is_a_mean(self) -> None:
        """A batch that stands twice has the same loss."""
        once, loss = _loss_inputs(), self.make()
        twice = replace(
            once,
            positive=once.positive.repeat(2),
            user=once.user.repeat(2),
            weight=once.weight.repeat(2),
            positive_log_q=once.positive_log_q.repeat(2),
        )
        torch.testing.assert_close(loss(twice), loss(once))


class ContextWeightContract:
    """What any context weight must do."""

    tolerance = 0.02
    """How far log lifts may lie apart within one bucket: it may hold an hour, in which lifts move a little."""

    def make(self) -> ContextWeight:
        """Return the weight, knowing nothing yet."""
        raise NotImplementedError

    def test_factors_have_names_of_their_own(self) -> None:
        """Exponents are kept by name."""
        names = [factor.name for factor in self.make().factors]
        assert names, "no factor"
        assert len(set(names)) == len(names), f"a name stands twice: {names}"

    def test_the_order_of_events_does_not_matter(self) -> None:
        """Events that come late, or all at once, teach the same."""
        events = _events()
        order = np.random.default_rng(1).permutation(len(events))
        for_all, one_by_one = self.make(), self.make()
        for_all.observe(events)
        for place in order:
            one_by_one.observe(_part(events, [place]))
        _assert_same_lifts(for_all, one_by_one)

    def test_state_comes_back_the_same(self) -> None:
        """A restart changes nothing, nor does it end learning."""
        events = _events()
        before, after = self.make(), self.make()
        before.observe(_part(events, range(30)))
        after.restore(before.state())
        _assert_same_lifts(before, after)
        for weight in (before, after):
            weight.observe(_part(events, range(30, len(events))))
        _assert_same_lifts(before, after)
        for name, array in before.state().items():
            np.testing.assert_allclose(after.state()[name], array, rtol=1e-6)

    def test_state_is_a_copy(self) -> None:
        """It is written later, while the stream goes on."""
        weight, events = self.make(), _events()
        weight.observe(events)
        state = weight.state()
        kept = {name: array.copy() for name, array in state.items()}
        weight.observe(events)
        for name, array in kept.items():
            np.testing.assert_array_equal(state[name], array, err_msg=f"{name} is not a copy")

    def test_lifts_have_a_row_for_each_factor_and_are_finite(self) -> None:
        """More items than were seen may be asked for, and fewer."""
        weight = self.make()
        weight.observe(_events())
        for num_items in (0, 3, 50):
            lifts = weight.item_log_lifts(Moment(NOW_MS), num_items)
            if lifts is not None:
                _assert_array(lifts, (len(weight.factors), num_items))
        own = weight.history_log_lifts(_HISTORY, Moment(NOW_MS))
        if own is not None:
            _assert_array(own, (len(weight.factors), len(_HISTORY.distinct()[0])))

    def test_moments_of_one_bucket_have_the_same_lifts(self) -> None:
        """They are made once for all requests of the bucket."""
        weight = self.make()
        weight.observe(_events())
        moments = [Moment(NOW_MS + minutes * MS_PER_HOUR // 60) for minutes in range(-90, 90, 10)]
        lifts_of = {weight.bucket(moment): weight.item_log_lifts(moment, 10) for moment in moments}
        for moment in moments:
            lifts, expected = weight.item_log_lifts(moment, 10), lifts_of[weight.bucket(moment)]
            if lifts is not None and expected is not None:
                np.testing.assert_allclose(lifts, expected, atol=self.tolerance)

    def test_who_has_seen_nothing_is_neutral(self) -> None:
        """Lifts of 1 for every item; an empty history says nothing either."""
        weight = self.make()
        weight.observe(_part(_events(), []))
        lifts = weight.item_log_lifts(Moment(NOW_MS), 10)
        assert lifts is None or not lifts.any(), f"wanted no lift, got {lifts}"
        own = weight.history_log_lifts(_part_of_history(0), Moment(NOW_MS))
        assert own is None or own.size == 0, f"wanted nothing of an empty history, got {own}"


def _levels(encoder: Encoder, inputs: Tensor, edges: Edges) -> list[Tensor]:
    levels = [inputs]
    for depth in range(encoder.num_layers):
        levels.append(encoder.layer(depth, levels[-1], levels[-1], edges))
    return levels


def _vectors(encoder: Encoder, inputs: Tensor | None = None, edges: Edges | None = None) -> Tensor:
    return encoder.readout(_levels(encoder, _inputs() if inputs is None else inputs, edges or _graph()))


def _inputs() -> Tensor:
    return torch.randn(NUM_NODES, WIDTH, generator=torch.Generator().manual_seed(2))


def _graph() -> Edges:
    """Return random edges in which the last node has no edge at all."""
    generator = torch.Generator().manual_seed(3)
    ends = torch.randint(NUM_NODES - 1, (2, NUM_EDGES), generator=generator)
    return _edges(ends[0], ends[1], torch.rand(NUM_EDGES, generator=generator) + 0.5)


def _edges(source: Tensor, target: Tensor, weight: Tensor) -> Edges:
    order = torch.argsort(target, stable=True)
    source, target, weight = source[order], target[order], weight[order]
    source_degree = torch.zeros(NUM_NODES).index_add_(0, source, weight)
    target_degree = torch.zeros(NUM_NODES).index_add_(0, target, weight)
    return Edges(source, target, weight, torch.zeros(len(weight)), source_degree, target_degree)


def _loss_inputs(positive: float = 0.1) -> LossInputs:
    """Return three edges of two users, four sampled items; the first of them is one that the first user has."""
    return LossInputs(
        positive=torch.full((3,), positive),
        user=torch.tensor([0, 0, 1]),
        weight=torch.tensor([1.0, 2.0, 1.0]),
        negative=torch.tensor([[0.3, 0.2, -0.1, 0.4], [0.1, 0.0, 0.5, -0.3]]),
        is_own=torch.tensor([[True, False, False, False], [False, False, False, False]]),
        positive_log_q=torch.full((3,), -2.0),
        negative_log_q=torch.full((4,), -2.0),
    )


def _events() -> Observed:
    """Return 60 interactions of 5 users with 7 items over 400 days, oldest first."""
    generator = np.random.default_rng(4)
    return Observed(
        generator.integers(0, 5, 60).astype(np.int32),
        generator.integers(0, 7, 60).astype(np.int32),
        np.sort(NOW_MS - generator.integers(0, 400 * MS_PER_DAY, 60)),
        np.ones(60, np.float32),
    )


def _part(events: Observed, positions: Sequence[int]) -> Observed:
    chosen = np.array(positions, np.int64)
    return Observed(
        events.user_rows[chosen], events.item_rows[chosen], events.timestamps_ms[chosen], events.weights[chosen]
    )


def _part_of_history(count: int) -> History:
    times = NOW_MS - np.arange(count, dtype=np.int64) * MS_PER_DAY
    return History(np.array([4, 2, 4, 0], np.int32)[:count], times, np.ones(count, np.float32))


_HISTORY = _part_of_history(4)


def _assert_array(lifts: object, shape: tuple[int, int]) -> None:
    assert isinstance(lifts, np.ndarray), f"wanted an array, got {type(lifts)}"
    assert lifts.dtype == np.float32, f"wanted float32, got {lifts.dtype}"
    assert lifts.shape == shape, f"wanted {shape}, got {lifts.shape}"
    assert np.isfinite(lifts).all(), "a log lift is not finite"


def _assert_same_lifts(one: ContextWeight, other: ContextWeight) -> None:
    for days in (-200, 0, 3, 200):
        moment = Moment(NOW_MS + days * MS_PER_DAY)
        for lifts, expected in (
            (one.item_log_lifts(moment, 10), other.item_log_lifts(moment, 10)),
            (one.history_log_lifts(_HISTORY, moment), other.history_log_lifts(_HISTORY, moment)),
        ):
            assert (lifts is None) == (expected is None), "one has lifts, the other none"
            if lifts is not None and expected is not None:
                np.testing.assert_allclose(lifts, expected, rtol=1e-4, atol=1e-5)
