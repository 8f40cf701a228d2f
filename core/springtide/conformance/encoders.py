"""What any encoder must do."""

import safetensors.torch
import torch
from torch import Tensor

from springtide.conformance.checks import (
    Subject,
    checks_of,
    expect,
    expect_finite,
    expect_floats,
    expect_gradient,
    expect_same,
)
from springtide.conformance.samples import (
    ALONE,
    BUSY,
    NODE_TYPES,
    NUM_LAYERS,
    NUM_NODES,
    WIDTH,
    alone,
    doubled,
    edges_of,
    levels_of,
    moved,
    no_edges,
    sample_edges,
    sample_inputs,
    vectors_of,
)
from springtide.plugins.contracts import Edges, Encoder

_NUM_USERS = 12
_SHARE_OF_USERS = 0.8  # By chance it would be one user in seven: item i and the six of the other half are left.


def levels_and_vectors_have_the_width_of_the_inputs(subject: Subject) -> None:
    """Each level, and the vectors, are finite float32 ``[num_nodes, d]``."""
    encoder = _made(subject)
    levels = levels_of(encoder, sample_inputs(), _graph(encoder))
    for depth, level in enumerate(levels):
        expect_floats(level, (NUM_NODES, WIDTH), f"level {depth}")
    expect_floats(encoder.readout(levels), (NUM_NODES, WIDTH), "vectors")
    expect(len(encoder.aggregators) == NUM_LAYERS, f"{NUM_LAYERS} aggregators", len(encoder.aggregators))


def the_same_seed_gives_the_same_vectors(subject: Subject) -> None:
    """Nothing but torch's generator decides how an encoder begins, and nothing at all what it then gives."""
    encoder = _made(subject)
    vectors = _vectors(encoder)
    expect_same(_vectors(_made(subject)), vectors, "vectors of an encoder made under the same seed", 0.0)
    expect_same(_vectors(encoder), vectors, "vectors when asked twice", 0.0)


def gradients_reach_the_inputs_and_every_parameter(subject: Subject) -> None:
    """What no gradient reaches is never learned."""
    encoder, inputs = _made(subject).train(), sample_inputs().requires_grad_()
    vectors = vectors_of(encoder, inputs, _graph(encoder))
    # Of no special form: the sum of what has been normalised, say, does not depend on it.
    wanted = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(4))
    (vectors - wanted).square().sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    expect_gradient(inputs.grad, "the inputs")
    for name, parameter in encoder.named_parameters():
        expect_gradient(parameter.grad, f"parameter {name!r}")


def neighbours_count(subject: Subject) -> None:
    """The vector of a node follows the inputs of its neighbours, or the graph is for nothing."""
    encoder, inputs = _made(subject), sample_inputs()
    edges = _graph(encoder)
    others = inputs.clone()
    others[edges.source[edges.target == BUSY[0]]] += 1.0
    before, after = (vectors_of(encoder, each, edges)[BUSY[0]] for each in (inputs, others))
    expect(not torch.allclose(before, after), "another vector when the neighbours are others", "the same")


def the_order_of_nodes_does_not_matter(subject: Subject) -> None:
    """Nodes in another order have the same vectors in that order: rows are names, no more."""
    encoder, inputs = _made(subject), sample_inputs()
    edges = _graph(encoder)
    place_of = torch.randperm(NUM_NODES, generator=torch.Generator().manual_seed(1))
    in_order = torch.empty_like(inputs)
    in_order[place_of] = inputs
    found = vectors_of(encoder, in_order, moved(edges, place_of))[place_of]
    expect_same(found, vectors_of(encoder, inputs, edges), "vectors when nodes come in another order")


def nodes_without_edges_have_finite_vectors_and_gradients(subject: Subject) -> None:
    """New nodes have none, and one NaN spoils a whole training."""
    encoder, inputs = _made(subject).train(), sample_inputs().requires_grad_()
    for edges in (_graph(encoder), no_edges(encoder.is_relational)):
        vectors = vectors_of(encoder, inputs, edges)
        expect_finite(vectors[list(ALONE)], "numbers in the vectors of nodes without edges")
        expect_floats(vectors, (NUM_NODES, WIDTH), "vectors")
        vectors.sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        for name, parameter in encoder.named_parameters():
            if parameter.grad is not None:
                expect_finite(parameter.grad, f"gradients at parameter {name!r}")


def no_nodes_give_no_vectors(subject: Subject) -> None:
    """A fold-in of nobody happens, on a quiet stream."""
    encoder = _made(subject)
    edges = no_edges(encoder.is_relational, ())
    expect_floats(vectors_of(encoder, sample_inputs(0), edges), (0, WIDTH), "vectors of no nodes")


def one_user_with_one_item_has_a_vector(subject: Subject) -> None:
    """A graph may begin with them."""
    encoder = _made(subject)
    ends, relation = torch.tensor([0, 1]), torch.tensor([0, 1]) if encoder.is_relational else None
    edges = edges_of(ends, ends.flip(0), torch.ones(2), torch.zeros(2), NODE_TYPES[5:7], relation)
    expect_floats(vectors_of(encoder, sample_inputs(2), edges), (2, WIDTH), "vectors")


def edges_that_stand_twice_do_no_harm(subject: Subject) -> None:
    """Vectors stay finite, with their shape."""
    encoder = _made(subject)
    vectors = vectors_of(encoder, sample_inputs(), doubled(_graph(encoder)))
    expect_floats(vectors, (NUM_NODES, WIDTH), "vectors")


def heavy_and_ancient_edges_do_no_harm(subject: Subject) -> None:
    """Weights are sums of what happened, and ages reach years."""
    encoder = _made(subject)
    edges = _graph(encoder)
    edges = edges_of(edges.source, edges.target, edges.weight * 100, edges.age_days * 200, relation=edges.relation)
    expect_floats(vectors_of(encoder, sample_inputs(), edges), (NUM_NODES, WIDTH), "vectors")


def a_node_alone_gets_what_it_gets_in_the_whole_graph(subject: Subject) -> None:
    """Users are folded in live from nothing but their own edges: a layer may look at nothing else."""
    encoder = _made(subject)
    edges = _graph(encoder)
    levels = levels_of(encoder, sample_inputs(), edges)
    expected = encoder.readout(levels)
    for nodes in ([BUSY[0]], [ALONE[0]], [*BUSY, *ALONE]):
        own, sources = alone(edges, nodes)
        own_levels = [levels[0][nodes]]
        for depth in range(encoder.num_layers):
            own_levels.append(encoder.layer(depth, levels[depth][sources], own_levels[-1], own))
        expect_same(encoder.readout(own_levels), expected[nodes], f"vectors of nodes {nodes} when folded in")


def saved_and_loaded_it_gives_the_same_vectors(subject: Subject) -> None:
    """A model is kept as the tensors of ``state_dict``, by safetensors, and nothing else."""
    encoder = _made(subject)
    expected = _vectors(encoder)
    saved = safetensors.torch.save(encoder.state_dict())
    torch.manual_seed(1)
    other = subject.plugins.make(subject.kind, subject.wanted, **subject.offered).eval()
    other.load_state_dict(safetensors.torch.load(saved))
    expect_same(_vectors(other), expected, "vectors after saving and loading", 0.0)


def the_withheld_item_comes_first(subject: Subject) -> None:
    """Even users took even items, odd users odd ones: of what user i never had, item i must come first."""
    from springtide.worlds import even_odd_state, quick_model, quick_settings

    model = {"encoder": subject.wanted.model_dump(), "aggregator": "mean"}
    settings = quick_settings(model=model)
    artifact = quick_model(even_odd_state(_NUM_USERS, settings, subject.plugins), settings, subject.plugins)
    users, items = artifact.tensors["vectors"][: 2 * _NUM_USERS].chunk(2)
    row = torch.arange(_NUM_USERS)
    is_had = (row.unsqueeze(1) - row).remainder(2).eq(0) & row.unsqueeze(1).ne(row)  # [num_users, num_items]
    first = (users @ items.T).masked_fill(is_had, -torch.inf).argmax(1)
    share = float((first == row).float().mean())
    expect(share >= _SHARE_OF_USERS, f"item i first for at least {_SHARE_OF_USERS:.0%} of users", f"{share:.0%}")


CHECKS = checks_of(
    levels_and_vectors_have_the_width_of_the_inputs,
    the_same_seed_gives_the_same_vectors,
    gradients_reach_the_inputs_and_every_parameter,
    neighbours_count,
    the_order_of_nodes_does_not_matter,
    nodes_without_edges_have_finite_vectors_and_gradients,
    no_nodes_give_no_vectors,
    one_user_with_one_item_has_a_vector,
    edges_that_stand_twice_do_no_harm,
    heavy_and_ancient_edges_do_no_harm,
    a_node_alone_gets_what_it_gets_in_the_whole_graph,
    saved_and_loaded_it_gives_the_same_vectors,
    the_withheld_item_comes_first,
)


def _made(subject: Subject) -> Encoder:
    encoder: Encoder = subject.make().eval()
    return encoder


def _graph(encoder: Encoder) -> Edges:
    return sample_edges(encoder.is_relational)


def _vectors(encoder: Encoder) -> Tensor:
    with torch.no_grad():
        return vectors_of(encoder, sample_inputs(), _graph(encoder))
