"""Which models are measured, and what makes two runs the same."""

import pytest

from springtide.errors import SettingsError, UnknownPartError
from springtide.evaluation.plan import (
    ModelChoice,
    key_of_baseline,
    key_of_model,
    model_name,
    plan_baselines,
    plan_sections,
)
from springtide.plugins.loading import Part, Plugins, load_plugins
from springtide.settings.model import PartSettings, Settings


class RecentPopularity:
    def __init__(self, days: float = 28.0) -> None:
        self.days = days


class Summing:
    default_aggregator = "sum"


class Stating:
    default_aggregator = "max"


def plugins_of(*, origin: str = "parts 1.0") -> Plugins:
    """An encoder that states nothing, one that states sums, one that states the max; something of each other kind."""
    named = {
        "encoder": {"lightgcn": Summing, "plain": object, "stating": Stating},
        "aggregator": {"sum": object, "mean": object, "max": object},
        "loss": {"cce": object, "bce": object},
        "negative sampler": {"popularity": object},
        "context weight": dict.fromkeys(Settings().ranking.context_weights, object),
    }
    return Plugins(
        [Part.of(kind, name, make, origin, origin) for kind, parts in named.items() for name, make in parts.items()]
    )


def settings_with(**model: object) -> Settings:
    return Settings.model_validate({"model": {"loss": "cce", **model}})


def test_nothing_chosen_is_the_model_of_the_settings() -> None:
    settings = settings_with()

    (section,) = plan_sections(settings, plugins_of(), ModelChoice())

    assert (section.varied, section.same) == ("model", "")
    assert section.models == {"springtide (lightgcn, sum, cce)": settings_with(aggregator="sum")}


def test_every_encoder_comes_with_the_aggregator_it_states() -> None:
    (section,) = plan_sections(settings_with(), plugins_of(), ModelChoice(has_all_encoders=True))

    assert (section.varied, section.same) == ("encoder", "loss cce")
    assert list(section.models) == ["lightgcn, sum", "plain, mean", "stating, max"]
    chosen = section.models["stating, max"].model
    assert (chosen.encoder.name, chosen.aggregator.name, chosen.loss.name) == ("stating", "max", "cce")


def test_settings_encoder_keeps_the_settings_aggregator() -> None:
    settings = settings_with(encoder="stating", aggregator="sum")

    (section,) = plan_sections(settings, plugins_of(), ModelChoice(encoders=["stating", "plain"]))

    assert list(section.models) == ["stating, sum", "plain, mean"]


def test_named_aggregators_meet_every_encoder() -> None:
    choice = ModelChoice(encoders=["plain", "stating"], aggregators=["max", "sum"])

    (section,) = plan_sections(settings_with(), plugins_of(), choice)

    assert list(section.models) == ["plain, max", "plain, sum", "stating, max", "stating, sum"]


def test_aggregators_alone_meet_the_settings_encoder() -> None:
    (section,) = plan_sections(settings_with(), plugins_of(), ModelChoice(aggregators=["mean", "max"]))

    assert list(section.models) == ["lightgcn, mean", "lightgcn, max"]


def test_losses_have_a_section_of_their_own() -> None:
    choice = ModelChoice(encoders=["plain"], has_all_losses=True)

    encoders, losses = plan_sections(settings_with(), plugins_of(), choice)

    assert list(encoders.models) == ["plain, mean"]
    assert (losses.varied, losses.same) == ("loss", "encoder lightgcn, sum")
    assert list(losses.models) == ["bce", "cce"]
    assert losses.models["cce"] == settings_with(aggregator="sum")


def test_part_of_the_settings_keeps_its_options_and_others_have_none() -> None:
    settings = settings_with(loss={"name": "cce", "options": {"temperature": 0.1}}, aggregator=["mean", "max"])

    (section,) = plan_sections(settings, plugins_of(), ModelChoice(losses=["cce", "bce"]))

    assert section.same == "encoder lightgcn, several of=mean+max"
    assert section.models["cce temperature=0.1"] == settings
    assert section.models["bce"].model.loss == PartSettings(name="bce")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (ModelChoice(encoders=["gnat"]), "no encoder named 'gnat' (choices: lightgcn, plain, stating)"),
        (ModelChoice(aggregators=["avg"]), "no aggregator named 'avg' (choices: max, mean, sum)"),
        (ModelChoice(losses=["bpr"]), "no loss named 'bpr' (choices: bce, cce)"),
    ],
)
def test_part_that_no_plugin_offers_is_refused(choice: ModelChoice, message: str) -> None:
    with pytest.raises(UnknownPartError) as refused:
        plan_sections(settings_with(), plugins_of(), choice)

    assert str(refused.value) == message


def test_all_that_is_built_in_can_be_made_as_it_is_planned() -> None:
    plugins = load_plugins()

    encoders, losses = plan_sections(Settings(), plugins, ModelChoice(has_all_encoders=True, has_all_losses=True))

    assert {"lightgcn, sum", "gcn, sum", "graphsage, mean", "hetero, mean"} <= set(encoders.models)
    assert {"cce", "mse", "max_margin"} <= set(losses.models)
    for settings in (*encoders.models.values(), *losses.models.values()):
        plugins.check(settings)


def test_key_changes_with_what_bears_on_the_result() -> None:
    def key(training: dict[str, object] | None = None, origin: str = "parts 1.0", **model: object) -> object:
        parts = {"aggregator": "sum", "loss": "cce", **model}
        settings = Settings.model_validate({"model": parts, "training": training or {}})
        return key_of_model("films", settings, plugins_of(origin=origin))

    others = [
        key(width=32),
        key({"steps": 7}),
        key({"seed": 1}),
        key(loss={"name": "cce", "options": {"temperature": 0.1}}),
        key(origin="parts 1.1"),
    ]

    assert len({key(), *others}) == 1 + len(others)
    assert key() == key(url="elsewhere", keep=3) == key({"niceness": 3, "retrain_every_s": 60.0})


def test_key_names_data_set_model_and_seed() -> None:
    settings = Settings.model_validate({"model": {"aggregator": "sum", "loss": "cce"}, "training": {"seed": 5}})

    key = key_of_model("films", settings, plugins_of())

    assert (key.dataset, key.model, key.seed) == ("films", model_name(settings), 5)


def test_key_of_a_baseline_changes_with_its_options_and_origin() -> None:
    plugins = load_plugins()
    wanted = PartSettings(name="recent_popularity")

    key = key_of_baseline("films", wanted, plugins)

    assert (key.dataset, key.model, key.seed) == ("films", "recent_popularity", None)
    assert key == key_of_baseline("films", wanted, plugins)
    assert key != key_of_baseline("films", PartSettings(name="recent_popularity", options={"days": 3.0}), plugins)
    elsewhere = plugins.with_part("baseline", "recent_popularity", RecentPopularity, "another 1.0")
    assert key != key_of_baseline("films", wanted, elsewhere)


def test_model_without_weights_has_a_name_and_a_key_of_its_own() -> None:
    (section,) = plan_sections(settings_with(), plugins_of(), ModelChoice(models=["default", "cosine"]))

    default, cosine = section.models.values()
    assert list(section.models) == [
        "springtide (lightgcn, sum, cce)",
        "springtide (lightgcn, sum, cce), cosine alone",
    ]
    assert dict(cosine.ranking.context_weights) == {}
    assert key_of_model("films", default, plugins_of()) != key_of_model("films", cosine, plugins_of())


def test_named_baselines_alone_leave_no_model() -> None:
    choice = ModelChoice(models=["popularity"])

    (section,) = plan_sections(settings_with(), plugins_of(), choice)

    assert section.models == {}
    assert plan_baselines(load_plugins(), choice) == ([PartSettings(name="popularity")], {})


def test_unknown_models_are_refused() -> None:
    with pytest.raises(UnknownPartError, match="no baseline named 'luck'"):
        plan_baselines(load_plugins(), ModelChoice(models=["default", "luck"]))


def test_slow_baselines_come_only_if_asked_for() -> None:
    plugins = load_plugins()

    usual, _ = plan_baselines(plugins, ModelChoice())
    every, left_out = plan_baselines(plugins, ModelChoice(has_all_baselines=True))

    slow = {"ease", "slim", "ials", "bpr", "mult_vae", "lightgcn_bpr", "tgn", "sasrec", "gru4rec", "hstu"}
    assert {"popularity", "tifu_knn"} <= {part.name for part in usual}
    assert not slow & {part.name for part in usual}
    assert slow <= {part.name for part in every} | left_out.keys()


def missing() -> object:
    raise SettingsError("wants a package that is not there")


def test_baseline_that_cannot_work_here_is_left_out_with_its_reason() -> None:
    plugins = Plugins([Part.of("baseline", "missing", missing, "here", "here")])

    assert plan_baselines(plugins, ModelChoice()) == (
        [],
        {"missing": "baseline 'missing': wants a package that is not there"},
    )
    with pytest.raises(SettingsError, match="wants a package"):
        plan_baselines(plugins, ModelChoice(models=["missing"]))
