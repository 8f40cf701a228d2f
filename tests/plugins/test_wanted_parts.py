"""A plugin is loaded, and a part imported, when something asks for it; what is wrong with it is said then."""

import re
import subprocess
import sys

import pytest

from springtide.errors import PluginError, SettingsError, UnknownPartError
from springtide.plugins.contracts import Schema
from springtide.plugins.loading import find_plugins, load_plugins, load_serving_plugins
from springtide.plugins.part import Part
from springtide.plugins.parts import Plugins
from springtide.settings.model import PartSettings, PluginSettings, Settings

A_WEIGHT = '''
"""A context weight that says nothing."""
from springtide.plugins.contracts import ContextWeight
from springtide.plugins.hookspecs import hookimpl


class Neutral(ContextWeight):
    """Says nothing."""


@hookimpl
def register_context_weights(register):
    register("{name}", {factory})
'''

HEAVY = ("torch", "torch_geometric", "networkx", "numba", "scipy", "pyarrow")

HALVES = '''
"""The halves of an encoder and an aggregator."""

from springtide.plugins.contracts.serving import ServingAggregator, ServingEncoder


class Trained:
    """Not looked at."""

    default_aggregator = "stale"


class Served(ServingEncoder):
    """Keeps what it was made with."""

    default_aggregator = "fresh"

    def __init__(self, width, num_layers, aggregators, weights, heads: int = 4):
        self.width, self.num_layers, self.weights, self.heads = width, num_layers, weights, heads
        self.aggregators = aggregators


class Combined(ServingAggregator):
    """Keeps what it was made with."""

    def __init__(self, weights, make, others: tuple[str, ...] = ()):
        self.weights = weights
        self.others = [make("aggregator", name, {"of": name}) for name in others]
'''


def install(folder, name, text):
    (folder / f"{name}.py").write_text(text)
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[springtide]\nplugin = {name}\n")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install three plugins: one that works, one that cannot be imported, and one more that works."""
    before = set(sys.modules)
    install(tmp_path, "springtide_a_works", A_WEIGHT.format(name="calm", factory="Neutral"))
    install(tmp_path, "springtide_b_broken", "import no_such_module\n")
    install(tmp_path, "springtide_c_works", A_WEIGHT.format(name="still", factory='"springtide_c_works:Neutral"'))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("springtide_"):
            del sys.modules[name]


def loaded():
    return {name for name in sys.modules if name.startswith(("springtide_a_", "springtide_b_", "springtide_c_"))}


def make(plugins, name, kind="context weight"):
    return plugins.make(kind, PartSettings(name=name))


def test_plugin_that_nothing_asks_for_is_not_imported(installed):
    plugins = find_plugins(PluginSettings(allow=("*",)))
    make(plugins, "trend")
    assert not loaded()


def test_part_that_another_plugin_offers_is_found_past_one_that_is_broken(installed):
    plugins = find_plugins(PluginSettings(allow=("*",)))
    assert type(make(plugins, "still")).__module__ == "springtide_c_works"
    assert type(make(plugins, "calm")).__module__ == "springtide_a_works"


def test_name_that_no_plugin_offers_is_refused_with_the_plugin_that_might_have(installed):
    with pytest.raises(
        PluginError, match=r"'springtide_b_broken' of springtide_b_broken 1\.0 cannot be loaded: No mod"
    ):
        make(find_plugins(PluginSettings(allow=("*",))), "storm")


def test_name_that_no_plugin_offers_is_refused_with_the_choices_of_all(installed):
    with pytest.raises(UnknownPartError, match=r"no context weight named 'storm' \(choices: .*calm, .*still, "):
        make(find_plugins(PluginSettings(allow=("*",), on_error="skip")), "storm")


def test_listing_loads_all(installed):
    with pytest.raises(PluginError, match="springtide_b_broken"):
        _ = find_plugins(PluginSettings(allow=("*",))).parts
    listed = find_plugins(PluginSettings(allow=("*",), on_error="skip"))
    assert {"calm", "still", "trend"} <= {part.name for part in listed.parts}
    assert [failure.plugin for failure in listed.failures] == ["springtide_b_broken"]


def test_broken_plugin_is_refused_where_all_are_loaded(installed):
    with pytest.raises(PluginError, match="springtide_b_broken"):
        load_plugins(PluginSettings(allow=("*",)))


def test_module_that_is_installed_and_named_by_the_settings_is_loaded_once(installed):
    settings = PluginSettings(modules=("springtide_a_works",), allow=("*",), on_error="skip")
    for plugins in (find_plugins(settings), load_plugins(settings)):
        assert "calm" in {part.name for part in plugins.parts}
        assert [failure.plugin for failure in plugins.failures] == ["springtide_b_broken"]


def test_module_that_the_settings_name_is_imported_at_the_start(tmp_path):
    (tmp_path / "broken.py").write_text('raise RuntimeError("no such wind")\n')
    with pytest.raises(PluginError, match="no such wind"):
        find_plugins(PluginSettings(folder=str(tmp_path)))


def test_name_that_a_built_in_part_has_is_refused_in_a_module_of_the_settings(tmp_path):
    (tmp_path / "mine.py").write_text(A_WEIGHT.format(name="trend", factory="Neutral"))
    with pytest.raises(PluginError, match=r"context weight 'trend' is offered twice: by springtide "):
        find_plugins(PluginSettings(folder=str(tmp_path)))


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("no_such_module:Neutral", "No module named 'no_such_module'"),
        ("springtide.clock:Neutral", "module 'springtide.clock' has no attribute 'Neutral'"),
    ],
)
def test_reference_that_leads_nowhere_is_refused_when_the_part_is_wanted(tmp_path, reference, reason):
    (tmp_path / "mine.py").write_text(A_WEIGHT.format(name="calm", factory=repr(reference)))
    plugins = find_plugins(PluginSettings(folder=str(tmp_path)))
    message = f"context weight 'calm' of {tmp_path / 'mine.py'} cannot be imported from '{reference}': {reason}"
    with pytest.raises(PluginError, match=re.escape(message)) as refused:
        make(plugins, "calm")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("reference", ["mine", "mine.Neutral", "my-module:Neutral", "mine:", ":Neutral"])
def test_reference_of_another_form_is_refused_at_once(reference):
    with pytest.raises(PluginError, match=r"loss 'odd': wanted a reference such as 'package\.module:attribute', got"):
        Plugins().with_part("loss", "odd", reference)


def test_serving_half_of_a_kind_that_has_none_is_refused():
    with pytest.raises(PluginError, match="loss 'odd': only encoders and aggregators have a serving half"):
        Part.of("loss", "odd", "mine:Odd", "here", "here", "mine:Served")


def test_reference_is_imported_where_its_options_are_asked_for():
    part = load_plugins().part("baseline", "week_popularity")
    assert [(option.name, option.default) for option in part.options] == [("days", 7.0)]


def test_built_in_parts_of_a_server_are_made_without_what_trains():
    code = f"""
import sys
from springtide.plugins.loading import load_serving_plugins
from springtide.settings.model import Settings
plugins = load_serving_plugins(Settings())
plugins.make_decoders(Settings().events)
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"encoder": "lightgnc"}, r"model\.encoder: no encoder named 'lightgnc' \(choices: .*lightgcn"),
        ({"aggregator": "meen"}, r"model\.aggregator: no aggregator named 'meen'"),
        ({"loss": "bcee"}, r"model\.loss: no loss named 'bcee'"),
        ({"negatives": "none"}, r"model\.negatives: no negative sampler named 'none'"),
        ({"tasks": {"mine": {"name": "much"}}}, r"model\.tasks\.mine: no task named 'much'"),
    ],
)
def test_server_refuses_a_part_of_training_that_no_plugin_offers(model, message):
    with pytest.raises(SettingsError, match=message):
        load_serving_plugins(Settings.model_validate({"model": model}))


def test_server_refuses_wrong_options_of_what_it_makes():
    with pytest.raises(SettingsError, match=r"ranking\.context_weights\.session: .* window_minutes: wanted a number"):
        load_serving_plugins(
            Settings.model_validate({"ranking": {"context_weights": {"session": {"window_minutes": 0}}}})
        )


def test_baseline_that_no_plugin_offers_is_refused_by_the_server():
    with pytest.raises(SettingsError, match=r"gate\.baselines\.luck: no baseline named 'luck'"):
        load_serving_plugins(Settings.model_validate({"gate": {"baselines": {"luck": {}}}}))


@pytest.fixture
def halves(tmp_path, monkeypatch):
    (tmp_path / "springtide_a_halves.py").write_text(HALVES)
    monkeypatch.syspath_prepend(tmp_path)

    def part(kind, name, trained, served):
        return Part.of(kind, name, trained, "here", "here", served)

    yield Plugins(
        [
            part("encoder", "both", "no_such_module:Trained", "springtide_a_halves:Served"),
            part("aggregator", "fresh", "no_such_module:Trained", "springtide_a_halves:Combined"),
            part("aggregator", "trained", "no_such_module:Trained", None),
        ]
    )
    sys.modules.pop("springtide_a_halves", None)


def model_of(**model):
    return Settings.model_validate({"model": {"width": 2, "num_layers": 2, "encoder": "both", **model}}).model


def test_serving_halves_get_the_weights_under_their_own_names(halves):
    weights = {"matrix": 1, "aggregators.0.slope": 2, "aggregators.1.slope": 3}
    made = halves.make_serving_encoder(
        model_of(aggregator={"name": "fresh", "options": {"others": ["fresh"]}}), None, weights
    )
    assert (made.width, made.num_layers, made.heads, made.weights) == (2, 2, 4, weights)
    assert [each.weights for each in made.aggregators] == [{"slope": 2}, {"slope": 3}]
    assert [each.others[0].weights for each in made.aggregators] == [{"of": "fresh"}] * 2


def test_default_aggregator_is_that_of_the_serving_half(halves):
    assert halves.aggregator_of(model_of()).name == "fresh"


def test_server_checks_options_by_the_serving_half(halves):
    settings = Settings.model_validate({"model": {"encoder": {"name": "both", "options": {"heads": "two"}}}})
    with pytest.raises(SettingsError, match=r"model\.encoder: encoder 'both': heads: wanted a whole number, got 'two'"):
        halves.check_serving(settings)


def test_part_without_a_serving_half_is_named(halves):
    assert halves.parts_with_torch(model_of()) == []
    assert [str(part) for part in halves.parts_with_torch(model_of(aggregator="trained"))] == ["aggregator 'trained'"]


def test_server_without_torch_says_which_part_needs_it(halves, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # As if it were not installed.
    monkeypatch.delitem(sys.modules, "springtide.plugins.torch_serving", raising=False)
    message = "no serving half of aggregator 'trained': torch is not installed: pip install 'springtide[train]'"
    with pytest.raises(PluginError, match=re.escape(message)):
        halves.make_serving_encoder(model_of(aggregator="trained"), Schema(), {})
