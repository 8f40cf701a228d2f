"""Reading a model artifact: its encoder, its exponents, and its schema of nodes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from springtide.model.attributes import NumberScale
from springtide.model.exponents import DislikeExponents, Exponents, TermExponents
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact
from springtide.model.schema import ModelSchema, schema_from_manifest
from springtide.model.vector_scale import VectorScale
from springtide.plugins.contracts import Schema
from springtide.plugins.loading import Plugins
from springtide.settings.model import ModelSettings

if TYPE_CHECKING:
    from springtide.plugins.contracts import Encoder

_SEEN_PREFIX = "own:"  # In manifests, before the names of exponents for seen items.
_COSINE = "cosine"
_DISLIKES = "dislikes"


def make_encoder(model: ModelSettings, schema: Schema, plugins: Plugins) -> "Encoder":
    """Make the encoder of the settings, with its aggregator.

    Raises:
        UnknownPartError: If no plugin offers one of them.
        SettingsError: If one does not take its options, or they do not fit each other.
    """
    aggregator = plugins.make("aggregator", plugins.aggregator_of(model), width=model.width)
    encoder: Encoder = plugins.make(
        "encoder",
        model.encoder,
        width=model.width,
        num_layers=model.num_layers,
        aggregator=aggregator,
        schema=schema,
    )
    return encoder


def is_relational(model: ModelSettings, plugins: Plugins) -> bool:
    """Return whether the encoder of the settings is relational: it looks at all node and edge types."""
    return make_encoder(model, Schema(), plugins).is_relational


def known_nodes(artifact: ModelArtifact) -> ModelSchema:
    """Return what a model knows of nodes, for a training that continues from it."""
    schema = artifact.manifest.schema
    scales = {
        name: NumberScale(tuple(of["names"]), np.array(of["mean"], np.float32), np.array(of["deviation"], np.float32))
        for name, of in schema["numbers"].items()
    }
    vectors = {name: VectorScale.from_manifest(of) for name, of in schema.get("vectors", {}).items()}
    return ModelSchema(schema_from_manifest(schema), artifact.attribute_values, scales, vectors)


def exponents_of(manifest: ModelManifest) -> Exponents:
    """Return the exponents in a manifest."""
    return _exponents_from(manifest.exponents)


def exponent_errors_of(manifest: ModelManifest) -> Exponents | None:
    """Return the standard errors of a manifest's exponents; None if the exponents were not learned."""
    return _exponents_from(manifest.exponent_errors) if manifest.exponent_errors else None


def _exponents_from(written: Mapping[str, Mapping[str, float]]) -> Exponents:
    unseen: dict[str, dict[str, float]] = {}
    seen: dict[str, dict[str, float]] = {}
    for weight, factors in written.items():
        for factor, exponent in factors.items():
            exponents = seen if factor.startswith(_SEEN_PREFIX) else unseen
            exponents.setdefault(weight, {})[factor.removeprefix(_SEEN_PREFIX)] = exponent
    unseen_cosine, seen_cosine = unseen.pop(_COSINE)[_COSINE], seen.pop(_COSINE)[_COSINE]
    dislikes = DislikeExponents()
    if unseen.get(_DISLIKES, {}).keys() == {"item", "like"}:
        dislikes = DislikeExponents(**unseen.pop(_DISLIKES))
    return Exponents(TermExponents(unseen_cosine, unseen), TermExponents(seen_cosine, seen), dislikes)


def exponents_to_manifest(exponents: Exponents) -> dict[str, dict[str, float]]:
    """Return exponents in the format of a manifest; see ``exponents_of``."""
    written: dict[str, dict[str, float]] = {}
    for prefix, terms in (("", exponents.unseen), (_SEEN_PREFIX, exponents.seen)):
        for weight, factors in {_COSINE: {_COSINE: terms.cosine}, **terms.factors}.items():
            written.setdefault(weight, {}).update({f"{prefix}{factor}": value for factor, value in factors.items()})
    if exponents.dislikes != DislikeExponents():  # Else they were not learned.
        written[_DISLIKES] = {"item": exponents.dislikes.item, "like": exponents.dislikes.like}
    return written
