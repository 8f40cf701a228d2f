"""What any aggregator must do."""

import copy

import safetensors.torch
import torch
from torch_geometric.nn import Aggregation

from springtide.conformance.checks import (
    NotKept,
    Subject,
    checks_of,
    expect_finite,
    expect_floats,
    expect_gradient,
    expect_same,
)
from springtide.conformance.samples import (
    ALONE,
    BUSY,
    NUM_NODES,
    WIDTH,
    alone,
    doubled,
    no_edges,
    sample_edges,
    sample_inputs,
)
from springtide.plugins.contracts import Edges


def targets_get_one_message_of_the_same_width(subject: Subject) -> None:
    """Whatever comes in, each target has one finite message, float32 ``[num_targets, d]``."""
    combined = _graph().aggregate(sample_inputs(), _made(subject))
    expect_floats(combined, (NUM_NODES, WIDTH), "messages")


def the_same_seed_gives_the_same_messages(subject: Subject) -> None:
    """Nothing but torch's generator decides how an aggregator begins, and nothing at all what it then gives."""
    aggregator = _made(subject)
    combined = _graph().aggregate(sample_inputs(), aggregator)
    again = _graph().aggregate(sample_inputs(), _made(subject))
    expect_same(again, combined, "messages of one made under the same seed", 0.0)
    expect_same(_graph().aggregate(sample_inputs(), aggregator), combined, "messages when asked twice", 0.0)


def gradients_reach_the_messages_and_every_parameter(subject: Subject) -> None:
    """What no gradient reaches is never learned; and one that is not finite spoils everything."""
    aggregator, inputs = _made(subject).train(), sample_inputs().requires_grad_()
    combined = _graph().aggregate(inputs, aggregator)
    wanted = torch.randn(combined.shape, generator=torch.Generator().manual_seed(4))
    (combined - wanted).square().sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    expect_gradient(inputs.grad, "the messages")
    for name, parameter in aggregator.named_parameters():
        expect_gradient(parameter.grad, f"parameter {name!r}")


def messages_of_edges_are_combined_as_those_of_nodes(subject: Subject) -> None:
    """``edges.combine`` of what each source holds is ``edges.aggregate``, whichever way the messages take."""
    edges, inputs, aggregator = _graph(), sample_inputs(), _made(subject)
    found = edges.combine(inputs[edges.source], aggregator)
    expect_same(found, edges.aggregate(inputs, aggregator), "messages by edges.combine and by edges.aggregate")


def the_order_of_messages_does_not_matter(subject: Subject) -> None:
    """Neighbours are a set; an aggregator for which they are not says ``is_permutation_invariant = False``."""
    aggregator = _made(subject)
    if not getattr(aggregator, "is_permutation_invariant", True):
        return
    edges, inputs = _graph(), sample_inputs()
    order = torch.randperm(edges.num_edges, generator=torch.Generator().manual_seed(1))
    order = order[torch.argsort(edges.target[order], stable=True)]
    shuffled = Edges(
        edges.source[order],
        edges.target[order],
        edges.weight[order],
        edges.age_days[order],
        edges.source_degree,
        edges.target_degree,
    )
    expected = edges.aggregate(inputs, aggregator)
    try:
        expect_same(shuffled.aggregate(inputs, aggregator), expected, "messages in another order")
    except NotKept as error:
        raise NotKept(f"{error.wanted}, or is_permutation_invariant = False on the class", error.got) from error


def targets_do_not_mix(subject: Subject) -> None:
    """A target's message is the same whoever else is there: a live fold-in has a few targets only."""
    edges, inputs, aggregator = _graph(), sample_inputs(), _made(subject)
    expected = edges.aggregate(inputs, aggregator)
    for nodes in ([BUSY[0]], [ALONE[0], *BUSY, ALONE[1]]):
        own, sources = alone(edges, nodes)
        expect_same(own.aggregate(inputs[sources], aggregator), expected[nodes], f"messages of targets {nodes} alone")


def no_messages_give_finite_numbers(subject: Subject) -> None:
    """Targets without edges, and edges without targets, are met every day."""
    aggregator = _made(subject)
    expect_floats(no_edges(False).aggregate(sample_inputs(), aggregator), (NUM_NODES, WIDTH), "messages without edges")
    none = no_edges(False, ()).aggregate(sample_inputs(0), aggregator)
    expect_floats(none, (0, WIDTH), "messages to no target")


def equal_messages_have_finite_gradients(subject: Subject) -> None:
    """Neighbours that hold the same, zeros too, are met when attributes are all that nodes have."""
    for value in (0.0, 1.0):
        inputs = torch.full((NUM_NODES, WIDTH), value, requires_grad=True)
        combined = _graph().aggregate(inputs, _made(subject))
        expect_finite(combined, "messages")
        combined.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        assert inputs.grad is not None, "messages come from the inputs"
        expect_finite(inputs.grad, "gradients at the messages")


def messages_that_stand_twice_do_no_harm(subject: Subject) -> None:
    """Messages stay finite, with their shape."""
    combined = doubled(_graph()).aggregate(sample_inputs(), _made(subject))
    expect_floats(combined, (NUM_NODES, WIDTH), "messages")


def it_can_be_copied_and_begun_anew(subject: Subject) -> None:
    """Each layer of an encoder has a copy, with parameters of its own."""
    aggregator = _made(subject)
    expected = _graph().aggregate(sample_inputs(), aggregator)
    copied = copy.deepcopy(aggregator)
    copied.reset_parameters()
    expect_floats(_graph().aggregate(sample_inputs(), copied), (NUM_NODES, WIDTH), "messages of a copy begun anew")
    expect_same(_graph().aggregate(sample_inputs(), aggregator), expected, "messages when a copy begins anew", 0.0)


def saved_and_loaded_it_gives_the_same_messages(subject: Subject) -> None:
    """A model is kept as the tensors of ``state_dict``, by safetensors, and nothing else."""
    aggregator = _made(subject)
    saved = safetensors.torch.save(aggregator.state_dict())
    torch.manual_seed(1)
    other = subject.plugins.make(subject.kind, subject.wanted, **subject.offered).eval()
    other.load_state_dict(safetensors.torch.load(saved))
    expected = _graph().aggregate(sample_inputs(), aggregator)
    expect_same(_graph().aggregate(sample_inputs(), other), expected, "messages after saving and loading", 0.0)


CHECKS = checks_of(
    targets_get_one_message_of_the_same_width,
    the_same_seed_gives_the_same_messages,
    gradients_reach_the_messages_and_every_parameter,
    messages_of_edges_are_combined_as_those_of_nodes,
    the_order_of_messages_does_not_matter,
    targets_do_not_mix,
    no_messages_give_finite_numbers,
    equal_messages_have_finite_gradients,
    messages_that_stand_twice_do_no_harm,
    it_can_be_copied_and_begun_anew,
    saved_and_loaded_it_gives_the_same_messages,
)


def _made(subject: Subject) -> Aggregation:
    aggregator: Aggregation = subject.make().eval()
    return aggregator


def _graph() -> Edges:
    return sample_edges(False)
