"""The search space over settings."""

from collections.abc import Mapping
from typing import Annotated

import pytest
from pydantic import Field

from springtide.errors import SettingsError
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.tuning.dimensions import (
    Choices,
    Dimension,
    Factors,
    Range,
    Switch,
    TaskWeights,
    in_words,
    present_values,
    with_values,
)
from springtide.evaluation.tuning.search_space import restricted, search_space
from springtide.events.model import NodeUpsert
from springtide.plugins.contracts import Loss
from springtide.plugins.loading import Plugins, load_plugins
from springtide.settings.model import PartSettings, Settings
from springtide.testing import even_odd_events, interactions_of, quick_settings

CCE = Settings.model_validate({"model": {"loss": "cce", "negatives": "popularity"}})


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


def named(space: list[Dimension]) -> Mapping[str, Dimension]:
    return {dimension.name: dimension for dimension in space}


def choices_of(name: str, settings: Settings, plugins: Plugins) -> tuple[object, ...]:
    dimension = named(search_space(settings, plugins))[name]
    assert isinstance(dimension, Choices)
    return dimension.choices


def range_of(name: str, settings: Settings, plugins: Plugins) -> tuple[float, float]:
    dimension = named(search_space(settings, plugins))[name]
    assert isinstance(dimension, Range)
    return dimension.low, dimension.high


def test_present_values_change_nothing(plugins: Plugins) -> None:
    loss = {"name": "bce", "options": {"temperature": 0.123456}}
    settings = quick_settings(model={"loss": loss, "aggregator": "mean"}, training={"learning_rate": 0.0123456})
    space = search_space(settings, plugins)

    assert with_values(settings, space, present_values(space)) == settings
    assert in_words(space, present_values(space)) == ""


def test_present_value_is_in_the_space_however_odd(plugins: Plugins) -> None:
    settings = quick_settings(
        model={"num_layers": 7, "negatives": "hard"}, training={"learning_rate": 1e-6, "edge_half_life_days": 77.0}
    )

    for dimension in search_space(settings, plugins):
        if isinstance(dimension, Choices):
            assert dimension.present in dimension.choices
        else:
            assert dimension.low <= dimension.present <= dimension.high


def test_losses_that_want_ratings_are_not_tried(plugins: Plugins) -> None:
    losses = choices_of("model.loss", CCE, plugins)

    assert "mse" not in losses
    assert {"cce", "bce", "pairwise_logistic"} <= set(losses)


def test_losses_and_samplers_go_together_whichever_are_chosen(plugins: Plugins) -> None:
    # "hard" selects, which "reconstruction" cannot have.
    selecting = Settings.model_validate({"model": {"loss": "cce", "negatives": "hard"}})

    assert "hard" not in choices_of("model.negatives", CCE, plugins)
    assert "reconstruction" in choices_of("model.loss", CCE, plugins)
    assert "hard" in choices_of("model.negatives", selecting, plugins)
    assert "reconstruction" not in choices_of("model.loss", selecting, plugins)


def test_every_combination_of_parts_works(plugins: Plugins) -> None:
    settings = Settings()
    space = search_space(settings, plugins)
    for name in ("model.loss", "model.encoder", "model.negatives"):
        for choice in choices_of(name, settings, plugins):
            plugins.check(with_values(settings, space, {name: choice}))


def test_number_options_range_within_what_the_loss_declares(plugins: Plugins) -> None:
    class Bounded(Loss):
        """Declares bounds."""

        def __init__(
            self,
            margin: Annotated[float, Field(gt=0, le=2)] = 1.0,
            share: Annotated[float, Field(gt=0, lt=1)] = 0.5,
            floor: Annotated[float, Field(ge=0.3)] = 0.4,
            off: Annotated[float, Field(ge=0)] = 0.0,
            free: float = 0.2,
        ) -> None:
            super().__init__()

    more = plugins.with_part("loss", "bounded", Bounded)

    assert range_of("model.loss.bounded.margin", Settings(), more) == (0.25, 2.0)
    assert range_of("model.loss.bounded.share", Settings(), more) == (0.125, pytest.approx(0.995))
    assert range_of("model.loss.bounded.floor", Settings(), more) == (0.3, 1.6)
    assert range_of("model.loss.bounded.free", Settings(), more) == (0.05, 0.8)
    assert "model.loss.bounded.off" not in named(search_space(Settings(), more))


def test_option_of_the_own_loss_ranges_around_its_own_value(plugins: Plugins) -> None:
    settings = Settings.model_validate({"model": {"loss": {"name": "cce", "options": {"temperature": 0.4}}}})

    assert range_of("model.loss.cce.temperature", settings, plugins) == (0.1, 1.6)


def test_chosen_values_are_set_rounded(plugins: Plugins) -> None:
    settings = CCE
    values = {
        "model.loss": "bce",
        "model.loss.bce.temperature": 0.234567,
        "model.width": 128,
        "training.learning_rate": 0.0123456,
        "training.positive_half_life_days": None,
    }

    tuned = with_values(settings, search_space(settings, plugins), values)

    assert tuned.model.loss == PartSettings(name="bce", options={"temperature": 0.235})
    assert tuned.model.width == 128
    assert (tuned.training.learning_rate, tuned.training.positive_half_life_days) == (0.0123, None)


def test_another_encoder_comes_without_the_options_and_aggregator_of_the_present_one(plugins: Plugins) -> None:
    encoder = {"name": "graphsage", "options": {"fanout": 7}}
    settings = Settings.model_validate({"model": {"encoder": encoder, "aggregator": "max"}})
    space = search_space(settings, plugins)

    tuned = with_values(settings, space, {"model.encoder": "gcn"})
    same = with_values(settings, space, {"model.encoder": "graphsage", "training.steps": 33})

    assert (tuned.model.encoder, tuned.model.aggregator) == (PartSettings(name="gcn"), None)
    assert (same.model.encoder, same.model.aggregator) == (settings.model.encoder, PartSettings(name="max"))


def test_options_of_other_losses_apply_to_no_present_value(plugins: Plugins) -> None:
    present = present_values(search_space(CCE, plugins))

    assert "model.loss.cce.temperature" in present
    assert not [name for name in present if name.startswith("model.loss.") and not name.startswith("model.loss.cce.")]


def genres(names: tuple[str, ...]) -> Dataset:
    """Items that have these genres in turn, and each a name of its own."""
    interactions = interactions_of(even_odd_events(24))
    nodes = [
        NodeUpsert("item", item_id, {"genre": (names[place % len(names)],)}, {}, {}, 0)
        for place, item_id in enumerate(interactions.item_ids)
    ]
    return Dataset("made up", interactions, nodes)


def test_context_weights_of_the_settings_are_searched_and_others_switched_on(plugins: Plugins) -> None:
    weights = {"trend": {"half_lives_days": [2.0, 20.0]}, "calendar": {}, "place": {}}
    settings = quick_settings(ranking={"context_weights": weights})
    path = "ranking.context_weights"
    space = named(search_space(settings, plugins))

    assert space[f"{path}.trend.half_lives_days"] == Factors(
        f"{path}.trend.half_lives_days", 1.0, (0.5, 1.0, 2.0), (2.0, 20.0)
    )
    assert space[f"{path}.trend.prior"] == Range(f"{path}.trend.prior", 2.0, 0.5, 8.0)
    assert isinstance(space[f"{path}.item_item"], Switch)
    # One ranking stands for all moments of the validation set, and the data have no places.
    assert not [name for name in space if name.startswith((f"{path}.calendar", f"{path}.place"))]


def test_values_of_context_weights_are_set(plugins: Plugins) -> None:
    settings = quick_settings(ranking={"context_weights": {"trend": {}, "popularity": {}}})
    path = "ranking.context_weights"
    values = {f"{path}.trend.half_lives_days": 0.5, f"{path}.popularity.prior": 2.3456, f"{path}.item_item": True}
    space = search_space(settings, plugins)

    tuned = with_values(settings, space, values)

    assert tuned.ranking.context_weights == {
        "trend": {"half_lives_days": [0.5, 3.5, 14.0]},
        "popularity": {"prior": 2.35},
        "item_item": {},
    }
    assert in_words(space, values) == "with item_item, popularity.prior=2.35, trend.half_lives_days=times 0.5"
    plugins.check(tuned)


def test_weights_of_tasks_are_searched_and_tasks_added(plugins: Plugins) -> None:
    trip = {"name": "graph_classification", "weight": 0.2, "options": {"label": "daypart"}}
    settings = quick_settings(model={"tasks": {"trip": trip}})
    space = search_space(settings, plugins, genres(("comedy", "drama")))
    added, own = "model.tasks.item_genre.weight", "model.tasks.trip.weight"

    assert isinstance(named(space)[added], TaskWeights)
    tuned = with_values(settings, space, {added: 0.3, own: 2.0})
    without = with_values(settings, space, {own: None})

    assert tuned.model.tasks["trip"].weight == 2.0
    assert tuned.model.tasks["trip"].options == {"label": "daypart"}
    assert tuned.model.tasks["item_genre"].weight == 0.3
    assert tuned.model.tasks["item_genre"].options == {"node_type": "item", "attribute": "genre"}
    assert without.model.tasks == {}
    plugins.check(tuned)


def test_search_may_be_restricted_to_some_settings(plugins: Plugins) -> None:
    space = search_space(CCE, plugins)

    steps = restricted(space, ["training.steps"])
    options = restricted(space, ["model.loss.cce"])

    assert [dimension.name for dimension in steps] == ["model.loss", "training.steps"]
    assert steps[0] == Choices("model.loss", "cce", ("cce",))
    assert "model.loss.cce.temperature" in present_values(options)
    assert restricted(space, []) == space
    assert restricted(space, ["model.loss"])[0] == space[0]


def test_restriction_to_what_is_not_searched_is_refused(plugins: Plugins) -> None:
    with pytest.raises(SettingsError, match=r"wanted settings that are searched, got 'training\.step' \(choices"):
        restricted(search_space(CCE, plugins), ["training.step"])


def test_category_of_one_value_is_no_task(plugins: Plugins) -> None:
    space = named(search_space(quick_settings(), plugins, genres(("comedy",))))

    assert "model.tasks.item_genre.weight" not in space
    assert "model.tasks.graph_classification.weight" in space  # Needs no attribute.
