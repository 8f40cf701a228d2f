"""Parts are made with what their signatures name, and what cannot work is refused when settings are read."""

from typing import Annotated

import pytest
from pydantic import Field
from torch_geometric.nn import MeanAggregation, SumAggregation

from springtide.errors import PluginError, SettingsError
from springtide.plugins.contracts import ContextWeight, Encoder, Loss, NegativeSampler, Task
from springtide.plugins.loading import Plugins, load_checked_plugins
from springtide.settings.model import PartSettings, Settings


class Plain(Encoder):
    """Keeps what it was made with."""

    def __init__(self, width, num_layers, aggregator, schema, heads: Annotated[int, Field(ge=1)] = 4):
        super().__init__(width, num_layers, aggregator)
        if width % heads:
            raise SettingsError(f"wanted a width that {heads} heads divide, got {width}")
        self.schema = schema


class Several(SumAggregation):
    """Asks for others."""

    def __init__(self, width, make, of: tuple[str, ...] = ("mean",)):
        super().__init__()
        self.width = width
        self.others = [make("aggregator", name) for name in of]


class Margin(Loss):
    """Falls on bad options, as other people's classes do."""

    def __init__(self, margin: float = 0.2):
        super().__init__()
        if margin < 0:
            raise ValueError("margin is negative")


class AsDrawn(Loss):
    """Wants items as they were drawn."""

    needs_random_negatives = True


class Hard(NegativeSampler):
    """Selects."""

    is_selective = True


def plugins_of(*parts):
    plugins = Plugins([])
    for kind, name, factory in parts:
        plugins = plugins.with_part(kind, name, factory)
    return plugins


@pytest.fixture
def plugins():
    return plugins_of(
        ("encoder", "plain", Plain),
        ("aggregator", "mean", MeanAggregation),
        ("aggregator", "several", Several),
        ("loss", "margin", Margin),
        ("loss", "as_drawn", AsDrawn),
        ("negative sampler", "uniform", NegativeSampler),
        ("negative sampler", "hard", Hard),
        ("task", "nothing", Task),
        ("context weight", "neutral", ContextWeight),
    )


def settings_of(model=None, context_weights=None, baselines=None, decoders=None):
    parts = {"encoder": "plain", "aggregator": "mean", "loss": "margin", "negatives": "uniform"}
    return Settings.model_validate(
        {
            "model": {**parts, **(model or {})},
            "ranking": {"context_weights": context_weights or {}, "rerankers": {}},
            "events": {"decoders": decoders or {}},
            "gate": {"baselines": baselines or {}},
        }
    )


def refusal_of(plugins, settings):
    with pytest.raises(SettingsError) as refused:
        plugins.check(settings)
    return str(refused.value)


def test_factory_gets_what_its_signature_names(plugins):
    made = plugins.make("aggregator", PartSettings(name="mean"), width=8, num_layers=2)
    assert type(made) is MeanAggregation


def test_part_that_asks_for_others_hands_on_what_it_was_offered(plugins):
    options = {"of": ["mean", "several"]}
    made = plugins.make("aggregator", PartSettings(name="several", options=options), width=8)
    assert made.width == 8
    assert [type(other) for other in made.others] == [MeanAggregation, Several]
    assert made.others[1].width == 8


def test_wrong_option_names_the_part(plugins):
    with pytest.raises(SettingsError, match=r"^encoder 'plain': heads: wanted a whole number, at least 1, got 0$"):
        plugins.make("encoder", PartSettings(name="plain", options={"heads": 0}))


def test_value_that_a_constructor_refuses_is_a_settings_error(plugins):
    with pytest.raises(SettingsError, match=r"^loss 'margin': margin is negative$"):
        plugins.make("loss", PartSettings(name="margin", options={"margin": -1}))


def test_factory_that_makes_something_else_is_refused():
    plugins = plugins_of(("loss", "odd", MeanAggregation))
    with pytest.raises(PluginError, match=r"loss 'odd' of here: wanted a Loss, got MeanAggregation"):
        plugins.make("loss", PartSettings(name="odd"))


def test_part_that_takes_the_place_of_another_is_the_one_that_is_made(plugins):
    assert type(plugins.with_part("loss", "margin", AsDrawn).make("loss", PartSettings(name="margin"))) is AsDrawn


def test_summary_is_the_first_line_of_the_docstring(plugins):
    assert plugins.part("encoder", "plain").summary == "Keeps what it was made with."


def test_settings_whose_parts_go_together_pass(plugins):
    plugins.check(settings_of({"tasks": {"mine": {"name": "nothing"}}}, {"neutral": {}}))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"encoder": "plane"}, "model.encoder: no encoder named 'plane' (choices: plain)"),
        ({"width": 10}, "model.encoder: encoder 'plain': wanted a width that 4 heads divide, got 10"),
        ({"aggregator": ["mean", "most"]}, "model.aggregator: no aggregator named 'most' (choices: mean, several)"),
        (
            {"loss": {"name": "margin", "options": {"margins": 0.1}}},
            "model.loss: loss 'margin': no option named 'margins' (did you mean margin? choices: margin)",
        ),
        ({"negatives": "none"}, "model.negatives: no negative sampler named 'none' (choices: hard, uniform)"),
        (
            {"loss": "as_drawn", "negatives": "hard"},
            "model.negatives: loss 'as_drawn' needs negatives as they were drawn, "
            "and negative sampler 'hard' selects among them",
        ),
        ({"tasks": {"mine": {"name": "much"}}}, "model.tasks.mine: no task named 'much' (choices: nothing)"),
    ],
)
def test_parts_that_cannot_work_are_refused_with_the_key_of_their_setting(plugins, model, message):
    assert refusal_of(plugins, settings_of(model)) == message


def test_context_weight_that_cannot_work_is_refused_with_its_key(plugins):
    assert refusal_of(plugins, settings_of(context_weights={"neutral": {"strength": 1}})) == (
        "ranking.context_weights.neutral: context weight 'neutral': no option named 'strength' (it takes none)"
    )


def test_baseline_of_the_gate_that_is_not_there_is_refused_with_its_key(plugins):
    assert refusal_of(plugins, settings_of(baselines={"luck": {}})) == (
        "gate.baselines.luck: no baseline named 'luck' (choices: none)"
    )


def test_decoder_that_is_not_there_is_refused_with_its_key(plugins):
    assert refusal_of(plugins, settings_of(decoders={"morse": {}})) == (
        "events.decoders.morse: no decoder named 'morse' (choices: none)"
    )


def test_everything_wrong_is_told_at_once(plugins):
    said = refusal_of(plugins, settings_of({"encoder": "plane", "loss": "gain"}))
    assert said.count("no ") == 2
    assert "model.encoder: " in said
    assert "; model.loss: " in said


def test_loaded_settings_are_checked():
    settings = Settings.model_validate({"model": {"encoder": "no_such_encoder"}})
    with pytest.raises(SettingsError, match=r"model\.encoder: no encoder named 'no_such_encoder'"):
        load_checked_plugins(settings)
