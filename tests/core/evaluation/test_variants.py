"""Settings changed for an evaluation."""

from springtide.evaluation.variants import (
    frozen_settings,
    with_all_positive,
    with_context_weights,
    with_weights_named,
    without_weights,
)
from springtide.settings.model import InteractionSettings, Settings
from springtide.testing import interactions_of, quick_settings

WEIGHTED = quick_settings(ranking={"context_weights": {"popularity": {}, "calendar": {"prior": 2.0}}})


def weights_of(settings: Settings) -> dict[str, dict[str, object]]:
    return {name: dict(options) for name, options in settings.ranking.context_weights.items()}


def test_context_weights_are_replaced_and_all_else_stays() -> None:
    assert weights_of(with_context_weights(WEIGHTED, {"trend": {}})) == {"trend": {}}
    assert weights_of(without_weights(WEIGHTED)) == {}
    assert with_context_weights(WEIGHTED, WEIGHTED.ranking.context_weights) == WEIGHTED


def test_named_weights_keep_the_options_of_the_settings() -> None:
    assert weights_of(with_weights_named(WEIGHTED, ["calendar", "trend"])) == {"calendar": {"prior": 2.0}, "trend": {}}


def test_every_interaction_is_positive_and_features_are_frozen() -> None:
    interactions = interactions_of([("u", "i", 1)])
    [relation] = interactions.relations
    changed = with_all_positive(WEIGHTED, interactions)
    assert changed.interactions[relation] == InteractionSettings()
    frozen = frozen_settings(WEIGHTED, interactions)
    assert not frozen.training.live_exponents
    assert frozen.interactions == changed.interactions
