"""Plugins are found, or it is said why not: register_encoders, register_aggregators, register_losses, …"""

import sys

import pytest

from springtide.config import PartSettings, PluginSettings
from springtide.errors import PluginError, SettingsError, UnknownPartError
from springtide.plugins import hookspecs
from springtide.plugins.loading import KINDS, load_plugins

A_LOSS = '''
"""A loss that is always 0."""
from springtide.plugins.contracts import Loss
from springtide.plugins.hookspecs import hookimpl


class Zero(Loss):
    """Asks for nothing."""

    def forward(self, inputs):
        return inputs.positive.sum() * 0


@hookimpl
def register_losses(register):
    register("{name}", Zero)
'''


def names(plugins, kind):
    return {part.name for part in plugins.parts if part.kind == kind}


def test_built_ins_come_in_by_entry_point():
    plugins = load_plugins()
    assert names(plugins, "encoder") >= {"lightgcn", "graphsage"}
    assert names(plugins, "aggregator") >= {"mean", "sum"}
    assert names(plugins, "loss") >= {"max_margin", "sampled_softmax"}
    assert names(plugins, "context weight") >= {"calendar", "popularity", "repeat", "trend"}
    assert plugins.part("encoder", "lightgcn").origin.startswith("springtide ")


def test_parts_say_what_they_are():
    assert load_plugins().part("aggregator", "mean").summary == "Mean of the messages, weighted by the edges."


def test_every_kind_has_a_hook():
    hooks = {name for name in vars(hookspecs) if name.startswith("register_")}
    assert set(KINDS.values()) == hooks


def test_plugins_of_a_folder_are_loaded_afresh_each_time(tmp_path):
    (tmp_path / "mine.py").write_text(A_LOSS.format(name="zero"))
    settings = PluginSettings(folder=str(tmp_path))
    assert "zero" in names(load_plugins(settings), "loss")
    assert "zero" in names(load_plugins(settings), "loss")
    assert "zero" not in names(load_plugins(), "loss"), "a plugin stayed behind in a manager that all share"


def test_plugin_of_a_folder_is_named_by_its_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(A_LOSS.format(name="zero"))
    assert load_plugins(PluginSettings(folder=str(tmp_path))).part("loss", "zero").origin == str(path)


def test_module_of_the_settings_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "springtide_test_plugin.py").write_text(A_LOSS.format(name="zero"))
    monkeypatch.syspath_prepend(tmp_path)
    try:
        plugins = load_plugins(PluginSettings(modules=("springtide_test_plugin",)))
    finally:
        sys.modules.pop("springtide_test_plugin", None)
    assert plugins.part("loss", "zero").origin == "springtide_test_plugin"


def test_module_that_is_not_there_is_named():
    with pytest.raises(PluginError, match=r"plugin 'no_such_module' .* cannot be loaded: No module named"):
        load_plugins(PluginSettings(modules=("no_such_module",)))


def test_file_that_cannot_be_imported_is_named(tmp_path):
    (tmp_path / "broken.py").write_text('raise RuntimeError("no such wind")\n')
    with pytest.raises(PluginError, match=r"broken\.py.*cannot be loaded: no such wind"):
        load_plugins(PluginSettings(folder=str(tmp_path)))


def test_misspelt_hook_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text(A_LOSS.format(name="zero").replace("register_losses", "register_loses"))
    with pytest.raises(PluginError, match=r"mine\.py.* implements no hook of that name: .*register_loses"):
        load_plugins(PluginSettings(folder=str(tmp_path)))


def test_argument_that_a_hook_does_not_have_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text(A_LOSS.format(name="zero").replace("(register)", "(registry)"))
    with pytest.raises(PluginError, match=r"(?s)mine\.py.*registry"):
        load_plugins(PluginSettings(folder=str(tmp_path)))


def test_name_offered_twice_names_both(tmp_path):
    for file in ("a.py", "b.py"):
        (tmp_path / file).write_text(A_LOSS.format(name="zero"))
    with pytest.raises(PluginError, match=r"loss 'zero' is offered twice: by .*\.py and by .*\.py") as refused:
        load_plugins(PluginSettings(folder=str(tmp_path)))
    assert all(str(tmp_path / file) in str(refused.value) for file in ("a.py", "b.py"))


def test_name_of_a_built_in_cannot_be_taken(tmp_path):
    (tmp_path / "mine.py").write_text(A_LOSS.format(name="max_margin"))
    with pytest.raises(PluginError, match=r"loss 'max_margin' is offered twice: by .*springtide "):
        load_plugins(PluginSettings(folder=str(tmp_path)))


def test_unknown_part_lists_the_choices():
    with pytest.raises(UnknownPartError, match=r"no encoder named 'sage' \(choices: graphsage, lightgcn\)"):
        load_plugins().part("encoder", "sage")


def test_option_that_a_part_does_not_take_is_refused():
    with pytest.raises(SettingsError, match=r"loss 'max_margin' does not take these options: .*'margins'"):
        load_plugins().make("loss", PartSettings(name="max_margin", options={"margins": 0.1}))
