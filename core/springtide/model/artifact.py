"""Reading a model artifact: its encoder, its exponents, and what it knows of nodes."""

from collections.abc import Mapping

import numpy as np

from springtide.model.attributes import NumberScale
from springtide.model.exponents import Exponents, TermExponents
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact
from springtide.model.schema import ModelSchema, schema_from_manifest
from springtide.plugins.contracts import Encoder, Schema
from springtide.plugins.loading import Plugins
from springtide.settings.model import ModelSettings

_OWN = "own:"  # Before the names of exponents that hold for items the user had.


_COSINE = "cosine"


def make_encoder(model: ModelSettings, schema: Schema, plugins: Plugins) -> Encoder:
    """Make the encoder of the settings, with its aggregator.

    Raises:
        UnknownPartError: If no plugin offers one of them.
        SettingsError: If they do not take their options, or not each other.
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
    """Return whether the encoder of the settings wants all node and edge types."""
    return make_encoder(model, Schema(), plugins).is_relational


def known_nodes(artifact: ModelArtifact) -> ModelSchema:
    """Return what a model knows of nodes, to go on from it."""
    schema = artifact.manifest.schema
    scales = {
        name: NumberScale(tuple(of["names"]), np.array(of["mean"], np.float32), np.array(of["deviation"], np.float32))
        for name, of in schema["numbers"].items()
    }
    return ModelSchema(schema_from_manifest(schema), artifact.attribute_values, scales)


def exponents_of(manifest: ModelManifest) -> Exponents:
    """Return the exponents that a manifest holds."""
    return _exponents_from(manifest.exponents)


def exponent_errors_of(manifest: ModelManifest) -> Exponents | None:
    """Return the standard errors of a manifest's exponents; None where the exponents were not learned."""
    return _exponents_from(manifest.exponent_errors) if manifest.exponent_errors else None


def _exponents_from(written: Mapping[str, Mapping[str, float]]) -> Exponents:
    new: dict[str, dict[str, float]] = {}
    own: dict[str, dict[str, float]] = {}
    for weight, factors in written.items():
        for factor, exponent in factors.items():
            (own if factor.startswith(_OWN) else new).setdefault(weight, {})[factor.removeprefix(_OWN)] = exponent
    of_new, of_own = new.pop(_COSINE), own.pop(_COSINE)
    return Exponents(TermExponents(of_new[_COSINE], new), TermExponents(of_own[_COSINE], own))


def exponents_to_manifest(exponents: Exponents) -> dict[str, dict[str, float]]:
    """Return exponents as a manifest holds them; see ``exponents_of``."""
    written: dict[str, dict[str, float]] = {}
    for prefix, terms in (("", exponents.unseen), (_OWN, exponents.seen)):
        for weight, factors in {_COSINE: {_COSINE: terms.cosine}, **terms.factors}.items():
            written.setdefault(weight, {}).update({f"{prefix}{factor}": value for factor, value in factors.items()})
    return written
