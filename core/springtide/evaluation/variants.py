"""Settings changed for an evaluation: other context weights, every interaction positive, frozen features."""

from collections.abc import Iterable, Mapping
from typing import Any

from springtide.events.model import Interactions
from springtide.settings.model import InteractionSettings, Settings


def with_context_weights(settings: Settings, weights: Mapping[str, Any]) -> Settings:
    """Return the settings with these context weights and no others.

    Args:
        settings: All other settings.
        weights: Options of each weight, by its name.
    """
    ranking = settings.ranking.model_copy(update={"context_weights": dict(weights)})
    return settings.model_copy(update={"ranking": ranking})


def with_weights_named(settings: Settings, names: Iterable[str]) -> Settings:
    """Return the settings with the named context weights alone, with the options that the settings give them."""
    options = settings.ranking.context_weights
    return with_context_weights(settings, {name: options.get(name, {}) for name in names})


def without_weights(settings: Settings) -> Settings:
    """Return the settings of a model that ranks by cosine similarity alone."""
    return with_context_weights(settings, {})


def with_all_positive(settings: Settings, interactions: Interactions) -> Settings:
    """Return settings by which every interaction counts as positive, as in published results on these data sets."""
    rules = {relation: InteractionSettings() for relation in interactions.relations}
    return settings.model_copy(update={"interactions": {**settings.interactions, **rules}})


def frozen_settings(settings: Settings, interactions: Interactions, *, has_feedback: bool = False) -> Settings:
    """Return the settings for an evaluation that freezes everything at the cut.

    Every interaction counts as positive, unless ``has_feedback``: then the rules of the settings hold. Exponents are
    learned with features frozen at the start of their slice, as they will be when the test set is ranked.
    """
    frozen = settings.training.model_copy(update={"live_exponents": False})
    settings = settings.model_copy(update={"training": frozen})
    return settings if has_feedback else with_all_positive(settings, interactions)
