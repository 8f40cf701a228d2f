"""The two halves of an encoder or an aggregator, which must compute the same: in torch to train, in numpy to serve."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from springtide.conformance.checks import Subject, expect, expect_same
from springtide.conformance.samples import NODE_TYPES, NUM_LAYERS, SCHEMA, WIDTH
from springtide.plugins.contracts import Edges, Encoder
from springtide.plugins.contracts.serving import Array, ServingEncoder
from springtide.plugins.serving_edges import ServingEdges
from springtide.settings.model import ModelSettings, PartSettings

TOLERANCE = 1e-5  # Of one plus the largest number.
_AGGREGATORS = ("sum", "mean", "max")


@dataclass(frozen=True, slots=True)
class _Size:
    """Size of a random graph.

    Attributes:
        num_sources: Number of sources.
        num_targets: Number of targets; the last one has no edges if there are others.
        num_edges: Number of edges.
        is_sampled: Whether its edges stand for several each.
        has_own_sources: Whether each edge has a source of its own, as in a fold-in.
    """

    num_sources: int
    num_targets: int
    num_edges: int
    is_sampled: bool = False
    has_own_sources: bool = False


SIZES = (
    _Size(4, 3, 0),
    _Size(0, 1, 0, has_own_sources=True),
    _Size(0, 0, 0),
    _Size(1, 1, 1, has_own_sources=True),
    _Size(37, 1, 37, has_own_sources=True),
    _Size(90, 7, 90, has_own_sources=True),
    _Size(20, 30, 150),
    _Size(20, 30, 150, is_sampled=True),
)


def the_serving_half_gives_the_same_vectors(subject: Subject) -> None:
    """A server folds users and items in by the serving half, if there is one, and by torch if not."""
    if subject.plugins.part(subject.kind, subject.wanted.name).serving_reference is None:
        return
    for name in _AGGREGATORS:
        compare_halves(subject, subject.wanted, PartSettings(name=name))


def the_serving_half_gives_the_same_messages(subject: Subject) -> None:
    """A server combines messages by the serving half, if there is one, and by torch if not."""
    if subject.plugins.part(subject.kind, subject.wanted.name).serving_reference is None:
        return
    for name in ("graphsage", "mpnn"):
        compare_halves(subject, PartSettings(name=name), subject.wanted)


def the_serving_half_takes_the_same_options(subject: Subject) -> None:
    """Both halves are made with the options of the settings, and with the same defaults."""
    part = subject.plugins.part(subject.kind, subject.wanted.name)
    if part.serving_reference is None:
        return
    wanted, got = (sorted(map(str, declared.options)) for declared in (part.declared, part.serving_declared))
    expect(got == wanted, f"the options {', '.join(wanted) or 'none'}", ", ".join(got) or "none")
    defaults = [getattr(factory, "default_aggregator", None) for factory in (part.factory, part.serving)]
    expect(defaults[0] == defaults[1], f"default_aggregator = {defaults[0]!r} on the serving half", repr(defaults[1]))


def compare_halves(subject: Subject, encoder: PartSettings, aggregator: PartSettings) -> None:
    """Compare the levels and vectors of an encoder with an aggregator with those of their serving halves.

    Raises:
        CheckFailed: If they differ.
    """
    model = ModelSettings(width=WIDTH, num_layers=NUM_LAYERS, encoder=encoder, aggregator=aggregator)
    learned = _learned(subject, model)
    weights = {name: tensor.numpy() for name, tensor in learned.state_dict().items()}
    serving = subject.plugins.make_serving_encoder(model, SCHEMA, weights)
    expect(isinstance(serving, ServingEncoder), "a ServingEncoder as the serving half", type(serving).__name__)
    for seed, size in enumerate(SIZES):
        arrays = _random_edges(size, seed)
        if not learned.is_relational:
            arrays |= {"relation": None, "source_type": None, "target_type": None}
        what = f"vectors of encoder {encoder.name!r} with aggregator {aggregator.name!r} on {size}"
        found, expected = _levels_of_serving(serving, arrays, size, seed), _levels_of(learned, arrays, size, seed)
        for of_serving, of_training in zip(found, expected, strict=True):
            expect(of_serving.dtype == np.float32, f"float32 as {what}", of_serving.dtype)
            # Rounding goes with the largest numbers, which may cancel each other in a component.
            scale = 1 + float(of_training.abs().max()) if of_training.numel() else 1.0
            expect_same(torch.from_numpy(of_serving / np.float32(scale)), of_training / scale, what, TOLERANCE)


def _learned(subject: Subject, model: ModelSettings) -> Encoder:
    """Make the encoder with its aggregator, and change all its parameters: some begin at 0."""
    torch.manual_seed(5)
    plugins = subject.plugins
    made = plugins.make("aggregator", plugins.aggregator_of(model), width=model.width)
    encoder: Encoder = plugins.make(
        "encoder", model.encoder, width=model.width, num_layers=model.num_layers, aggregator=made, schema=SCHEMA
    )
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return encoder.eval()


def _random_edges(size: _Size, seed: int) -> dict[str, Any]:
    """Return the arguments of ``ServingEdges`` by name; the last target has none where there are several."""
    random = np.random.default_rng(seed)
    num_targets, num_edges = size.num_targets, size.num_edges
    target = np.sort(random.integers(0, max(num_targets - 1, 1), num_edges)) if num_edges else np.zeros(0, np.int64)
    source = np.arange(num_edges) if size.has_own_sources else random.integers(0, size.num_sources, num_edges)
    age_days = (random.random(num_edges) * 400).astype(np.float32)
    order = np.lexsort((-age_days, target))
    weight = (random.random(num_edges) + 0.5).astype(np.float32)
    target_degree = np.bincount(target, weight, minlength=num_targets).astype(np.float32)
    return {
        "source": source.astype(np.int64),
        "target": target,
        "weight": weight,
        "age_days": age_days[order],
        "source_degree": (random.random(size.num_sources) * 9 + 1).astype(np.float32),
        "target_degree": target_degree + np.float32(0.5) * random.random(num_targets).astype(np.float32),
        "relation": random.integers(0, len(SCHEMA.relations), num_edges),
        "source_type": random.choice(NODE_TYPES, size.num_sources).astype(np.int64),
        "target_type": random.choice(NODE_TYPES, num_targets).astype(np.int64),
        "stands_for": (random.random(num_edges) * 3 + 1).astype(np.float32) if size.is_sampled else None,
    }


def _random_levels(size: _Size, seed: int) -> tuple[Array, Array]:
    """Return the sources' levels, float32 ``[num_layers, num_sources, d]``, and level 0 of the targets."""
    random = np.random.default_rng(100 + seed)
    sources = random.standard_normal((NUM_LAYERS, size.num_sources, WIDTH)).astype(np.float32)
    return sources, random.standard_normal((size.num_targets, WIDTH)).astype(np.float32)


def _levels_of_serving(encoder: ServingEncoder, arrays: dict[str, Any], size: _Size, seed: int) -> list[Array]:
    edges = ServingEdges(**(arrays | {"source": None} if size.has_own_sources else arrays))
    sources, level_0 = _random_levels(size, seed)
    levels = [level_0]
    for depth in range(NUM_LAYERS):
        levels.append(encoder.layer(depth, sources[depth], levels[-1], edges))
    return [*levels, encoder.readout(levels)]


@torch.no_grad()
def _levels_of(encoder: Encoder, arrays: dict[str, Any], size: _Size, seed: int) -> list[Tensor]:
    tensors = {name: None if array is None else torch.from_numpy(array) for name, array in arrays.items()}
    edges = Edges(**tensors)  # type: ignore[arg-type]  # those that may not be None are not
    sources, level_0 = (torch.from_numpy(array) for array in _random_levels(size, seed))
    levels = [level_0]
    for depth in range(NUM_LAYERS):
        levels.append(encoder.layer(depth, sources[depth], levels[-1], edges))
    return [*levels, encoder.readout(levels)]
