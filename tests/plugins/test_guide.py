"""What plugins/README.md shows works: its plugins load, do what their kinds must do, and train together."""

import inspect
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from springtide.conformance import run_checks
from springtide.errors import SettingsError
from springtide.plugins import hookspecs
from springtide.plugins.contracts import Circumstances, Moment
from springtide.plugins.loading import KINDS, load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings, PluginSettings, Settings
from springtide.testing import START_MS, even_odd_state, observed_of, quick_model, quick_settings
from springtide_services.cli.plugin_projects import project_files

GUIDE = (Path(__file__).parents[2] / "plugins" / "README.md").read_text(encoding="utf-8")
HOOKS = sorted(name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("register_"))
PARTS = [
    ("encoder", "residual"),
    ("encoder", "by_relation"),
    ("aggregator", "spread"),
    ("loss", "pairwise"),
    ("negative sampler", "alike"),
    ("task", "how_often"),
    ("context weight", "last_was"),
    ("context weight", "channel"),
    ("baseline", "latest"),
    ("decoder", "clicks"),
    ("index", "signs"),
    ("reranker", "cheapest_first"),
]


def blocks(language: str, text: str = GUIDE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def section_of(hook: str) -> str:
    section = re.search(rf"^## `{hook}\(register\)`$(.*?)(?=^## )", GUIDE, re.MULTILINE | re.DOTALL)
    assert section is not None, f"no heading for {hook}"
    return section[1]


@pytest.fixture
def plugins(tmp_path):
    for hook in HOOKS:
        for number, block in enumerate(blocks("python", section_of(hook))):
            (tmp_path / f"{hook}_{number}.py").write_text(block)
    return load_plugins(PluginSettings(folder=str(tmp_path)))


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_has_an_example_that_uses_it(hook):
    assert f"def {hook}(register):" in blocks("python", section_of(hook))[0]


def test_every_example_is_tested(plugins):
    examples = [(part.kind, part.name) for part in plugins.parts if part.origin.endswith(".py")]
    assert sorted(examples) == sorted(PARTS)


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_example_does_what_its_kind_must_do(kind, name, plugins):
    failed = [result for result in run_checks(kind, PartSettings(name=name), plugins) if not result.has_passed]
    assert not failed


@pytest.mark.parametrize("encoder", ["residual", "by_relation"])
def test_examples_train_and_rank_together(encoder, plugins):
    settings = quick_settings(
        model={
            "width": 16,
            "encoder": encoder,
            "aggregator": "spread",
            "loss": "pairwise",
            "negatives": "alike",
            "tasks": {"mine": {"name": "how_often"}},
        },
        ranking={"context_weights": {"last_was": {}, "channel": {}}},
    )
    plugins.check(settings)
    state = even_odd_state(12, settings, plugins)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(quick_model(state, settings, plugins), plugins))
    (ranking,) = ranker.recommend([Query(Moment(START_MS), "u3", count=3)])
    assert len(ranking.items) == 3


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.strip().splitlines()[-1].strip())
def test_block_runs(block):
    names = {"__name__": "example"}
    exec(compile(block, "plugins/README.md", "exec"), names)
    for name, found in names.items():
        if name.startswith("test_"):
            found()


@pytest.mark.parametrize("block", blocks("toml"))
def test_settings_are_ones_that_can_be_read(block):
    load_plugins().check(Settings.model_validate(tomllib.loads(block)))


def test_refused_option_is_told_as_the_guide_says():
    names = {"__name__": "example"}
    exec(next(block for block in blocks("python") if "class Tuned" in block), names)
    plugins = load_plugins().with_part("loss", "tuned", names["Tuned"])
    model = {"loss": {"name": "tuned", "options": {"margin": 3.0}}}
    with pytest.raises(SettingsError) as refused:
        plugins.check(Settings.model_validate({"model": model}))
    assert f"springtide: {refused.value}\n" in blocks("text")


def test_example_of_a_channel_learns_what_is_wanted_there(plugins):
    weight = plugins.make("context weight", PartSettings(name="channel"))
    observed = observed_of([(0, 0, 1), (0, 0, 2), (0, 1, 3), (0, 1, 4), (0, 1, 5)])
    channels = Circumstances(np.array([0, 0, 1, 1, -1], np.int32), ["app", "web"])
    weight.observe(replace(observed, circumstances={"channel": channels}))

    def lifts(channel):
        return weight.item_log_lifts(Moment(6, attributes={"channel": channel}), 3)

    # Item 0 twice in the app, item 1 twice on the web; half of all four is in either, and one does not say.
    assert np.exp(lifts("app")).tolist() == [pytest.approx([7 / 6, 5 / 6, 1.0])]
    assert np.exp(lifts("web")).tolist() == [pytest.approx([5 / 6, 7 / 6, 1.0])]
    assert lifts("pigeon") is None
    assert weight.bucket(Moment(6, attributes={"channel": "pigeon"})) == weight.bucket(Moment(6))


def test_every_kind_that_can_be_begun_is_named():
    command = next(line for line in blocks("console")[0].splitlines() if "plugins new" in line)
    assert all(kind.replace(" ", "-") in command for kind in KINDS)
    assert project_files("my_loss", "loss")["pyproject.toml"].count('my_loss = "my_loss"') == 1
