"""Checks that every encoder must pass."""

import torch
from torch import Tensor

from springtide.conformance.checks import (
    Subject,
    backward_from,
    checks_of,
    expect,
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
    NODE_TYPES,
    NUM_LAYERS,
    NUM_NODES,
    WIDTH,
    duplicated,
    edges_of,
    fold_in_edges,
    levels_of,
    no_edges,
    permuted,
    sample_edges,
    sample_inputs,
    vectors_of,
)
from springtide.conformance.serving_halves import (
    the_serving_half_gives_the_same_vectors,
    the_serving_half_takes_the_same_options,
)
from springtide.plugins.contracts import Edges, Encoder

_NUM_USERS = 12
_SHARE_OF_USERS = 0.8  # By chance it would be one user in seven: seven unseen items are left for each.


def levels_and_vectors_have_the_width_of_the_inputs(subject: Subject) -> None:
    """Each level, and the vectors, are finite float32 ``[num_nodes, d]``."""
    encoder = _made(subject)
    levels = levels_of(encoder, sample_inputs(), _graph(encoder))
    for depth, level in enumerate(levels):
        expect_floats(level, (NUM_NODES, WIDTH), f"level {depth}")
    expect_floats(encoder.readout(levels), (NUM_NODES, WIDTH), "vectors")
    expect(len(encoder.aggregators) == NUM_LAYERS, f"{NUM_LAYERS} aggregators", len(encoder.aggregators))


def the_same_seed_gives_the_same_vectors(subject: Subject) -> None:
    """Only torch's generator decides the first parameters, and only these and the inputs decide the vectors."""
    encoder = _made(subject)
    vectors = _vectors(encoder)
    expect_same(_vectors(_made(subject)), vectors, "vectors of an encoder made under the same seed", 0.0)
    expect_same(_vectors(encoder), vectors, "vectors when computed twice", 0.0)


def gradients_reach_the_inputs_and_every_parameter(subject: Subject) -> None:
    """A parameter without a gradient is never learned."""
    encoder, inputs = _made(subject).train(), sample_inputs().requires_grad_()
    backward_from(vectors_of(encoder, inputs, _graph(encoder)))
    expect_gradient(inputs.grad, "the inputs")
    expect_parameter_gradients(encoder)


def vectors_depend_on_neighbours(subject: Subject) -> None:
    """Another input of its neighbours changes the vector of a node: otherwise the graph would be of no use."""
    encoder, inputs = _made(subject), sample_inputs()
    edges = _graph(encoder)
    changed = inputs.clone()
    changed[edges.source[edges.target == CONNECTED[0]]] += 1.0
    before, after = (vectors_of(encoder, each, edges)[CONNECTED[0]] for each in (inputs, changed))
    expect(not torch.allclose(before, after), "another vector when the neighbours change", "the same")


def the_order_of_nodes_does_not_matter(subject: Subject) -> None:
    """Nodes in another order get the same vectors in that order: row numbers have no meaning."""
    encoder, inputs = _made(subject), sample_inputs()
    edges = _graph(encoder)
    position_of = torch.randperm(NUM_NODES, generator=torch.Generator().manual_seed(1))
    in_order = torch.empty_like(inputs)
    in_order[position_of] = inputs
    found = vectors_of(encoder, in_order, permuted(edges, position_of))[position_of]
    expect_same(found, vectors_of(encoder, inputs, edges), "vectors when nodes come in another order")


def nodes_without_edges_have_finite_vectors_and_gradients(subject: Subject) -> None:
    """New nodes have no edges, and a single NaN spoils a whole training."""
    encoder, inputs = _made(subject).train(), sample_inputs().requires_grad_()
    for edges in (_graph(encoder), no_edges(encoder.is_relational)):
        vectors = vectors_of(encoder, inputs, edges)
        expect_finite(vectors[list(ISOLATED)], "numbers in the vectors of nodes without edges")
        expect_floats(vectors, (NUM_NODES, WIDTH), "vectors")
        vectors.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        for name, parameter in encoder.named_parameters():
            if parameter.grad is not None:
                expect_finite(parameter.grad, f"gradients at parameter {name!r}")


def no_nodes_give_no_vectors(subject: Subject) -> None:
    """On a quiet stream there may be no user to fold in."""
    encoder = _made(subject)
    edges = no_edges(encoder.is_relational, ())
    expect_floats(vectors_of(encoder, sample_inputs(0), edges), (0, WIDTH), "vectors of no nodes")


def one_user_with_one_item_has_a_vector(subject: Subject) -> None:
    """The smallest graph is one user and one item."""
    encoder = _made(subject)
    ends, relation = torch.tensor([0, 1]), torch.tensor([0, 1]) if encoder.is_relational else None
    edges = edges_of(ends, ends.flip(0), torch.ones(2), torch.zeros(2), NODE_TYPES[5:7], relation)
    expect_floats(vectors_of(encoder, sample_inputs(2), edges), (2, WIDTH), "vectors")


def duplicate_edges_give_finite_vectors(subject: Subject) -> None:
    """An edge that is there twice leaves vectors finite, with their shape."""
    encoder = _made(subject)
    vectors = vectors_of(encoder, sample_inputs(), duplicated(_graph(encoder)))
    expect_floats(vectors, (NUM_NODES, WIDTH), "vectors")


def heavy_and_old_edges_give_finite_vectors(subject: Subject) -> None:
    """Weights add up over many events, and ages reach years."""
    encoder = _made(subject)
    edges = _graph(encoder)
    edges = edges_of(edges.source, edges.target, edges.weight * 100, edges.age_days * 200, relation=edges.relation)
    expect_floats(vectors_of(encoder, sample_inputs(), edges), (NUM_NODES, WIDTH), "vectors")


def a_fold_in_gives_the_vectors_of_the_whole_graph(subject: Subject) -> None:
    """Users are folded in live from their own edges alone: a layer may look at nothing else."""
    encoder = _made(subject)
    edges = _graph(encoder)
    levels = levels_of(encoder, sample_inputs(), edges)
    expected = encoder.readout(levels)
    for nodes in ([CONNECTED[0]], [ISOLATED[0]], [*CONNECTED, *ISOLATED]):
        own_edges, sources = fold_in_edges(edges, nodes)
        own_levels = [levels[0][nodes]]
        for depth in range(encoder.num_layers):
            own_levels.append(encoder.layer(depth, levels[depth][sources], own_levels[-1], own_edges))
        expect_same(encoder.readout(own_levels), expected[nodes], f"vectors of nodes {nodes} when folded in")


def saving_and_loading_changes_no_vector(subject: Subject) -> None:
    """A model is stored as the tensors of ``state_dict``, by safetensors, and nothing else."""
    encoder = _made(subject)
    expected = _vectors(encoder)
    other = subject.make(seed=1).eval()
    load_into(other, encoder)
    expect_same(_vectors(other), expected, "vectors after saving and loading", 0.0)


def the_withheld_item_is_ranked_first(subject: Subject) -> None:
    """Trained on even users with even items and odd users with odd ones, item i is the best unseen item of user i."""
    from springtide.toy_data import even_odd_state, quick_model, quick_settings

    model = {"encoder": subject.wanted.model_dump(), "aggregator": "mean"}
    settings = quick_settings(model=model)
    artifact = quick_model(even_odd_state(_NUM_USERS, settings, subject.plugins), settings, subject.plugins)
    vectors = torch.from_numpy(artifact.tensors["vectors"])
    users, items = vectors[: 2 * _NUM_USERS].chunk(2)
    row = torch.arange(_NUM_USERS)
    is_seen = (row.unsqueeze(1) - row).remainder(2).eq(0) & row.unsqueeze(1).ne(row)  # [num_users, num_items]
    first = (users @ items.T).masked_fill(is_seen, -torch.inf).argmax(1)
    share = float((first == row).float().mean())
    expect(share >= _SHARE_OF_USERS, f"item i first for at least {_SHARE_OF_USERS:.0%} of users", f"{share:.0%}")


CHECKS = checks_of(
    levels_and_vectors_have_the_width_of_the_inputs,
    the_same_seed_gives_the_same_vectors,
    gradients_reach_the_inputs_and_every_parameter,
    vectors_depend_on_neighbours,
    the_order_of_nodes_does_not_matter,
    nodes_without_edges_have_finite_vectors_and_gradients,
    no_nodes_give_no_vectors,
    one_user_with_one_item_has_a_vector,
    duplicate_edges_give_finite_vectors,
    heavy_and_old_edges_give_finite_vectors,
    a_fold_in_gives_the_vectors_of_the_whole_graph,
    saving_and_loading_changes_no_vector,
    the_withheld_item_is_ranked_first,
    the_serving_half_gives_the_same_vectors,
    the_serving_half_takes_the_same_options,
)


def _made(subject: Subject) -> Encoder:
    encoder: Encoder = subject.make().eval()
    return encoder


def _graph(encoder: Encoder) -> Edges:
    return sample_edges(encoder.is_relational)


def _vectors(encoder: Encoder) -> Tensor:
    with torch.no_grad():
        return vectors_of(encoder, sample_inputs(), _graph(encoder))
