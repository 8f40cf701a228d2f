"""Checks that every aggregator must pass."""

import copy

import torch
from torch_geometric.nn import Aggregation

from springtide.conformance.checks import (
    CheckFailed,
    Subject,
    backward_from,
    checks_of,
    expect_finite,
    expect_floats,
    expect_gradient,
    expect_parameter_gradients,
    expect_same,
    load_into,
)
from springtide.conformance.samples import (
    CONNECTED,
    ISOLATED,
    NUM_NODES,
    WIDTH,
    duplicated,
    fold_in_edges,
    no_edges,
    sample_edges,
    sample_inputs,
)
from springtide.conformance.serving_halves import (
    the_serving_half_gives_the_same_messages,
    the_serving_half_takes_the_same_options,
)
from springtide.plugins.contracts import Edges


def targets_get_one_message_of_the_same_width(subject: Subject) -> None:
    """The messages to each target become one, finite float32 ``[num_targets, d]``."""
    combined = _graph().aggregate(sample_inputs(), _made(subject))
    expect_floats(combined, (NUM_NODES, WIDTH), "messages")


def the_same_seed_gives_the_same_messages(subject: Subject) -> None:
    """Only torch's generator decides the first parameters, and only these and the inputs decide the messages."""
    aggregator = _made(subject)
    combined = _graph().aggregate(sample_inputs(), aggregator)
    again = _graph().aggregate(sample_inputs(), _made(subject))
    expect_same(again, combined, "messages of an aggregator made under the same seed", 0.0)
    expect_same(_graph().aggregate(sample_inputs(), aggregator), combined, "messages when computed twice", 0.0)


def gradients_reach_the_messages_and_every_parameter(subject: Subject) -> None:
    """A parameter without a gradient is never learned, and one NaN spoils a whole training."""
    aggregator, inputs = _made(subject).train(), sample_inputs().requires_grad_()
    backward_from(_graph().aggregate(inputs, aggregator))
    expect_gradient(inputs.grad, "the messages")
    expect_parameter_gradients(aggregator)


def combine_gives_what_aggregate_gives(subject: Subject) -> None:
    """``edges.combine`` of one message for each edge equals ``edges.aggregate`` of the sources that they come from."""
    edges, inputs, aggregator = _graph(), sample_inputs(), _made(subject)
    found = edges.combine(inputs[edges.source], aggregator)
    expect_same(found, edges.aggregate(inputs, aggregator), "messages by edges.combine and by edges.aggregate")


def the_order_of_messages_does_not_matter(subject: Subject) -> None:
    """Neighbours are a set; an aggregator to which their order matters says ``is_permutation_invariant = False``."""
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
    except CheckFailed as error:
        raise CheckFailed(f"{error.wanted}, or is_permutation_invariant = False on the class", error.got) from error


def targets_do_not_depend_on_each_other(subject: Subject) -> None:
    """A target gets the same message whatever other targets there are: a live fold-in has a few targets only."""
    edges, inputs, aggregator = _graph(), sample_inputs(), _made(subject)
    expected = edges.aggregate(inputs, aggregator)
    for nodes in ([CONNECTED[0]], [ISOLATED[0], *CONNECTED, ISOLATED[1]]):
        own_edges, sources = fold_in_edges(edges, nodes)
        found = own_edges.aggregate(inputs[sources], aggregator)
        expect_same(found, expected[nodes], f"messages of targets {nodes} alone")


def targets_without_messages_get_finite_numbers(subject: Subject) -> None:
    """Targets without edges are common, and there may be no targets at all."""
    aggregator = _made(subject)
    expect_floats(no_edges(False).aggregate(sample_inputs(), aggregator), (NUM_NODES, WIDTH), "messages without edges")
    none = no_edges(False, ()).aggregate(sample_inputs(0), aggregator)
    expect_floats(none, (0, WIDTH), "messages to no target")


def equal_messages_have_finite_gradients(subject: Subject) -> None:
    """Neighbours are equal, or 0, if attributes are all that nodes have."""
    for value in (0.0, 1.0):
        inputs = torch.full((NUM_NODES, WIDTH), value, requires_grad=True)
        combined = _graph().aggregate(inputs, _made(subject))
        expect_finite(combined, "messages")
        combined.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        assert inputs.grad is not None, "messages come from the inputs"
        expect_finite(inputs.grad, "gradients at the messages")


def duplicate_messages_give_finite_numbers(subject: Subject) -> None:
    """A message that is there twice leaves the result finite, with its shape."""
    combined = duplicated(_graph()).aggregate(sample_inputs(), _made(subject))
    expect_floats(combined, (NUM_NODES, WIDTH), "messages")


def it_can_be_copied_and_reset(subject: Subject) -> None:
    """Each layer of an encoder has a copy, reset to parameters of its own."""
    aggregator = _made(subject)
    expected = _graph().aggregate(sample_inputs(), aggregator)
    copied = copy.deepcopy(aggregator)
    copied.reset_parameters()
    expect_floats(_graph().aggregate(sample_inputs(), copied), (NUM_NODES, WIDTH), "messages of a reset copy")
    expect_same(_graph().aggregate(sample_inputs(), aggregator), expected, "messages when a copy is reset", 0.0)


def saving_and_loading_changes_no_message(subject: Subject) -> None:
    """A model is stored as the tensors of ``state_dict``, by safetensors, and nothing else."""
    aggregator = _made(subject)
    other = subject.make(seed=1).eval()
    load_into(other, aggregator)
    expected = _graph().aggregate(sample_inputs(), aggregator)
    expect_same(_graph().aggregate(sample_inputs(), other), expected, "messages after saving and loading", 0.0)


CHECKS = checks_of(
    targets_get_one_message_of_the_same_width,
    the_same_seed_gives_the_same_messages,
    gradients_reach_the_messages_and_every_parameter,
    combine_gives_what_aggregate_gives,
    the_order_of_messages_does_not_matter,
    targets_do_not_depend_on_each_other,
    targets_without_messages_get_finite_numbers,
    equal_messages_have_finite_gradients,
    duplicate_messages_give_finite_numbers,
    it_can_be_copied_and_reset,
    saving_and_loading_changes_no_message,
    the_serving_half_gives_the_same_messages,
    the_serving_half_takes_the_same_options,
)


def _made(subject: Subject) -> Aggregation:
    aggregator: Aggregation = subject.make().eval()
    return aggregator


def _graph() -> Edges:
    return sample_edges(False)
