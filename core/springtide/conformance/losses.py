"""Checks that every loss must pass."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from springtide.conformance.checks import (
    Subject,
    checks_of,
    expect,
    expect_finite,
    expect_gradient,
    expect_parameter_gradients,
    expect_same,
)
from springtide.plugins.contracts import Loss, LossInputs

NUM_LAYERS = 2
_WIDTH, _NUM_NEGATIVES = 8, 5


def the_loss_is_one_finite_number(subject: Subject) -> None:
    """It is a float32 scalar."""
    value = _made(subject)(loss_inputs())
    expect(isinstance(value, Tensor) and value.shape == (), "a scalar tensor", getattr(value, "shape", value))
    expect(value.dtype == torch.float32, "float32", value.dtype)
    expect_finite(value, "losses")


def the_same_inputs_give_the_same_loss(subject: Subject) -> None:
    """If it draws anything, it draws the same under the same seed of torch's generator."""
    inputs, values = loss_inputs(), []
    for _ in range(2):
        loss = _made(subject)
        torch.manual_seed(1)
        values.append(loss(inputs).detach())
    expect_same(values[1], values[0], "loss of the same inputs", 0.0)


def the_loss_falls_as_positives_rise_above_negatives(subject: Subject) -> None:
    """That is its purpose; a loss of ratings falls as cosines come near the ratings."""
    loss = _made(subject)
    values = []
    for cosine in (-0.9, 0.0, 0.9):
        torch.manual_seed(1)
        values.append(float(loss(loss_inputs(cosine))))
    rounded = ", ".join(f"{value:.4f}" for value in values)
    expect(values[0] > values[1] > values[2], "a loss that falls at cosines of -0.9, 0 and 0.9", rounded)


def gradients_reach_what_it_looks_at_and_every_parameter(subject: Subject) -> None:
    """``looks_at`` names the inputs that it learns from; a parameter without a gradient is never learned."""
    loss, inputs = _made(subject), _leaves(loss_inputs())
    known = {each.name for each in fields(LossInputs)}
    expect(loss.looks_at <= known, f"looks_at among {', '.join(sorted(known))}", ", ".join(sorted(loss.looks_at)))
    loss(inputs).backward()
    for name in sorted(loss.looks_at):
        found = getattr(inputs, name)
        for tensor in [found] if isinstance(found, Tensor) else found[-1:]:
            expect_gradient(tensor.grad, name)
    expect_parameter_gradients(loss)


def gradients_push_positives_up_and_negatives_down(subject: Subject) -> None:
    """The loss falls as all positives of a user rise together, and does not fall as a negative rises."""
    loss, inputs = _made(subject), _leaves(loss_inputs())
    loss(inputs).backward()
    if "positive" in loss.looks_at:
        expect_gradient(inputs.positive.grad, "the positives")
        assert inputs.positive.grad is not None, "just checked"
        slopes = torch.zeros(len(inputs.negative)).index_add(0, inputs.user, inputs.positive.grad)  # [num_users]
        expect(bool((slopes <= 0).all()), "a loss that falls along each user's positives", _listed(slopes))
    if "negative" in loss.looks_at:
        assert inputs.negative.grad is not None, "checked before"
        slopes = inputs.negative.grad[~inputs.is_seen]
        expect(bool((slopes >= 0).all()), "a loss that rises along each negative", _listed(slopes))
    along = torch.tensor(0.1, requires_grad=True)
    loss(loss_inputs(along)).backward()
    assert along.grad is not None, "vectors and cosines come from it"
    expect(float(along.grad) < 0, "a loss that falls as users and their items come nearer", f"slope {along.grad:.4g}")


def the_loss_is_a_mean(subject: Subject) -> None:
    """Neither having every edge twice nor tripling all weights changes the loss."""
    loss, once = _made(subject), loss_inputs()
    expected = _value(loss, once)
    expect_same(_value(loss, _repeated(once)), expected, "loss when every edge is there twice")
    expect_same(_value(loss, replace(once, weight=3 * once.weight)), expected, "loss when all weights are tripled")


def each_user_may_have_negatives_of_its_own(subject: Subject) -> None:
    """Log probabilities may be ``[num_users, num_negatives]``, one row for each user."""
    loss, inputs = _made(subject), loss_inputs()
    by_user = replace(inputs, negative_log_q=inputs.negative_log_q.expand_as(inputs.negative))
    expect_same(_value(loss, by_user), _value(loss, inputs), "loss when each user has a row of log probabilities")


def empty_batches_have_a_finite_loss(subject: Subject) -> None:
    """No edges and no ratings; one user with one edge and one negative; only seen items among the negatives."""
    loss, inputs = _made(subject), loss_inputs()
    all_seen = replace(inputs, is_seen=torch.ones_like(inputs.is_seen))
    for what, batch in (("no edges", _first(inputs, 0)), ("one edge", _first(inputs, 1)), ("seen items", all_seen)):
        leaves = _leaves(batch)
        value = loss(leaves)
        expect_finite(value, f"losses of a batch with {what}")
        if value.requires_grad:
            value.backward()
            for name in _LEAVES:
                gradient = getattr(leaves, name).grad
                if gradient is not None:
                    expect_finite(gradient, f"gradients at {name} of a batch with {what}")


def cosines_of_1_and_minus_1_have_finite_gradients(subject: Subject) -> None:
    """Equal vectors have a cosine of 1, where a root has an infinite slope."""
    loss = _made(subject)
    for cosine in (-1.0, 1.0):
        inputs = _leaves(loss_inputs(cosine))
        value = loss(inputs)
        expect_finite(value, f"losses at cosines of {cosine:g}")
        value.backward()
        for name in _LEAVES:
            gradient = getattr(inputs, name).grad
            if gradient is not None:
                expect_finite(gradient, f"gradients at {name} where cosines are {cosine:g}")


CHECKS = checks_of(
    the_loss_is_one_finite_number,
    the_same_inputs_give_the_same_loss,
    the_loss_falls_as_positives_rise_above_negatives,
    gradients_reach_what_it_looks_at_and_every_parameter,
    gradients_push_positives_up_and_negatives_down,
    the_loss_is_a_mean,
    each_user_may_have_negatives_of_its_own,
    empty_batches_have_a_finite_loss,
    cosines_of_1_and_minus_1_have_finite_gradients,
)


def loss_inputs(cosine: float | Tensor = 0.1) -> LossInputs:
    """Return a batch of two users with two edges each, and five sampled items.

    Args:
        cosine: Cosine of each user with their items; those of rated items are this share of their ratings.

    Returns:
        Vectors, cosines and levels that belong together; the first user has seen the first sampled item.
    """
    generator = torch.Generator().manual_seed(5)

    def random(count: int) -> Tensor:
        return F.normalize(torch.randn(count, _WIDTH, generator=generator), dim=-1)

    cosine = torch.as_tensor(cosine)
    user = torch.tensor([0, 0, 1, 1])
    users, orthogonal, sampled = random(2), random(4), random(_NUM_NEGATIVES)
    edge_users = users[user]  # [num_edges, d]
    orthogonal = F.normalize(orthogonal - (orthogonal * edge_users).sum(-1, keepdim=True) * edge_users, dim=-1)
    items = cosine * edge_users + (1 - cosine.square()).clamp(min=0).sqrt() * orthogonal  # [num_edges, d]
    # Above 0, since losses differ in whether a negative shall fall to 0 or further.
    negative = (users @ sampled.T).abs().clamp(0.05, 0.6)
    is_seen = torch.zeros(2, _NUM_NEGATIVES, dtype=torch.bool)
    is_seen[0, 0] = True
    rating = torch.tensor([-1.0, -0.5, 0.5, 1.0])
    return LossInputs(
        positive=cosine.expand(4).clone(),
        user=user,
        weight=torch.tensor([1.0, 2.0, 1.0, 1.0]),
        negative=negative,
        is_seen=is_seen,
        positive_log_q=torch.tensor([-2.0, -1.0, -1.5, -2.5]),
        negative_log_q=torch.linspace(-2.0, -1.0, _NUM_NEGATIVES),
        strength=torch.tensor([3.0, 1.0, 2.0, 1.0]),
        item=torch.tensor([0, 1, 2, 3]),
        user_vectors=users,
        item_vectors=items,
        user_levels=(*(random(2) for _ in range(NUM_LAYERS)), users),
        item_levels=(*(random(4) for _ in range(NUM_LAYERS)), items),
        rated=rating * cosine,
        rating=rating,
    )


_LEAVES = ("positive", "negative", "user_vectors", "item_vectors", "rated")
_OF_EDGES = ("positive", "user", "weight", "positive_log_q", "strength", "item", "item_vectors")
_OF_RATINGS = ("rated", "rating")


def _made(subject: Subject) -> Loss:
    loss: Loss = subject.make()
    return loss


def _value(loss: Loss, inputs: LossInputs) -> Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        value: Tensor = loss(inputs)
    return value


def _leaves(inputs: LossInputs) -> LossInputs:
    """Return the inputs, with those that gradients may reach as leaves."""

    def leaf(tensor: Tensor) -> Tensor:
        return tensor.detach().clone().requires_grad_()

    return replace(
        inputs,
        positive=leaf(inputs.positive),
        negative=leaf(inputs.negative),
        user_vectors=leaf(inputs.user_vectors),
        item_vectors=leaf(inputs.item_vectors),
        rated=leaf(inputs.rated),
        user_levels=tuple(map(leaf, inputs.user_levels)),
        item_levels=tuple(map(leaf, inputs.item_levels)),
    )


def _repeated(inputs: LossInputs) -> LossInputs:
    columns: dict[str, Any] = {name: torch.cat([getattr(inputs, name)] * 2) for name in (*_OF_EDGES, *_OF_RATINGS)}
    return replace(
        inputs,
        **columns,
        item_levels=tuple(torch.cat([level] * 2) for level in inputs.item_levels),
    )


def _first(inputs: LossInputs, num_edges: int) -> LossInputs:
    """Return the first user with ``num_edges`` edges and ratings, and one negative."""
    columns: dict[str, Any] = {name: getattr(inputs, name)[:num_edges] for name in (*_OF_EDGES, *_OF_RATINGS)}
    return replace(
        inputs,
        **columns,
        user_vectors=inputs.user_vectors[:1],
        negative=inputs.negative[:1, 1:2],
        is_seen=inputs.is_seen[:1, 1:2],
        negative_log_q=inputs.negative_log_q[1:2],
        user_levels=tuple(level[:1] for level in inputs.user_levels),
        item_levels=tuple(level[:num_edges] for level in inputs.item_levels),
    )


def _listed(tensor: Tensor) -> str:
    return "slopes " + ", ".join(f"{value:.3g}" for value in tensor.flatten().tolist())
