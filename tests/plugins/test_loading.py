"""Plugins are found, or it is said why not.

All hooks are met: register_encoders, register_aggregators, register_losses, register_negative_samplers, register_tasks,
register_context_weights.
"""

import re
import sys

import pytest

from springtide.errors import PluginError, UnknownPartError
from springtide.plugins import hookspecs
from springtide.plugins.loading import KINDS, find_plugins, load_one, load_plugins
from springtide.settings.model import PluginSettings

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

TWO_MORE = """

@hookimpl
def register_encoders(register):
    register("of_bad", lambda width, num_layers, aggregator: None)


@hookimpl
def register_aggregators(register):
    register("of_bad", lambda width: None)
"""


def install(folder, name, module):
    """Let an installed package of a name offer a module as a plugin."""
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[springtide]\nplugin = {module}\n")


def names(plugins, kind):
    return {part.name for part in plugins.parts if part.kind == kind}


def test_built_ins_come_in_by_entry_point():
    plugins = load_plugins()
    assert names(plugins, "encoder") >= {"lightgcn", "graphsage"}
    assert names(plugins, "aggregator") >= {"mean", "sum"}
    assert names(plugins, "loss") >= {"max_margin"}
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
    with pytest.raises(PluginError, match=r"plugin 'no_such_module' cannot be loaded: No module named"):
        load_plugins(PluginSettings(modules=("no_such_module",)))


def test_file_that_cannot_be_imported_is_named_with_the_line(tmp_path):
    (tmp_path / "broken.py").write_text('"""Broken."""\n\nraise RuntimeError("no such wind")\n')
    with pytest.raises(PluginError, match=r"cannot be loaded: no such wind \(RuntimeError in .*broken\.py:3\)"):
        load_plugins(PluginSettings(folder=str(tmp_path)))


def test_all_that_cannot_be_loaded_is_told_at_once(tmp_path):
    (tmp_path / "broken.py").write_text('raise RuntimeError("no such wind")\n')
    with pytest.raises(PluginError, match=r"'no_such_module'.*; .*no such wind"):
        load_plugins(PluginSettings(modules=("no_such_module",), folder=str(tmp_path)))


def test_misspelt_hook_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / "mine.py").write_text(A_LOSS.format(name="zero").replace("register_losses", "register_loses"))
    message = r"no hook named 'register_loses' \(did you mean register_losses\?\), in .*mine\.py:14"
    with pytest.raises(PluginError, match=message):
        load_plugins(PluginSettings(folder=str(tmp_path)))


def test_hook_like_no_other_lists_the_choices(tmp_path):
    (tmp_path / "mine.py").write_text(A_LOSS.format(name="zero").replace("register_losses", "summon"))
    choices = ", ".join(sorted(KINDS.values()))
    with pytest.raises(PluginError, match=re.escape(f"no hook named 'summon' (choices: {choices})")):
        load_plugins(PluginSettings(folder=str(tmp_path)))


def test_part_that_does_not_declare_its_options_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text(
        A_LOSS.format(name="zero").replace('"zero", Zero', '"zero", lambda power: Zero()')
    )
    with pytest.raises(PluginError, match=r"mine\.py' cannot be loaded: loss 'zero': option 'power' has no type"):
        load_plugins(PluginSettings(folder=str(tmp_path)))


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (("class Zero", "raise OSError('far away')\n\n\nclass Zero"), "far away (OSError in "),
        (("register_losses", "register_loses"), "no hook named 'register_loses'"),
        (("(register):", "(registry):"), "registry"),
        (('"bad"', '"max_margin"'), "loss 'max_margin' is offered twice"),
        (('"bad", Zero', '"bad", lambda power: Zero()'), "option 'power' has no type"),
    ],
    ids=["does not import", "misspells a hook", "wrong argument", "name taken", "undeclared option"],
)
def test_plugin_that_fails_is_left_out_whole_if_the_settings_say_so(tmp_path, spoilt, reason):
    two_hooks = A_LOSS.format(name="bad") + TWO_MORE
    (tmp_path / "bad.py").write_text(two_hooks.replace(*spoilt))
    (tmp_path / "good.py").write_text(A_LOSS.format(name="good"))

    plugins = load_plugins(PluginSettings(folder=str(tmp_path), on_error="skip"))

    assert "good" in names(plugins, "loss")
    assert "bad" not in names(plugins, "loss")
    assert "of_bad" not in names(plugins, "aggregator") | names(plugins, "encoder")
    (failure,) = plugins.failures
    assert failure.plugin == str(tmp_path / "bad.py")
    assert reason in failure.reason
    assert "\n" not in str(failure)


@pytest.mark.parametrize(
    "spoilt",
    [("class Zero", "raise OSError('far away')\n\n\nclass Zero"), ("register_losses", "register_loses")],
    ids=["fails during import", "fails after import"],
)
@pytest.mark.parametrize("way", ["file", "module", "entry point"])
def test_plugin_that_failed_is_forgotten_and_loads_once_it_is_corrected(tmp_path, monkeypatch, spoilt, way):
    package = tmp_path / "springtide_late"
    package.mkdir()
    (package / "__init__.py").write_text("from springtide_late.numbers import ONE\n")
    (package / "numbers.py").write_text("ONE = 1\n")
    path = tmp_path / "late.py" if way == "file" else package / "parts.py"
    settings = {
        "file": PluginSettings(folder=str(tmp_path)),
        "module": PluginSettings(modules=("springtide_late.parts",)),
        "entry point": PluginSettings(allow=("springtide_late",)),
    }[way]
    if way == "entry point":
        install(tmp_path, "springtide-late", "springtide_late.parts")
    monkeypatch.syspath_prepend(tmp_path)

    path.write_text(A_LOSS.format(name="zero").replace(*spoilt))
    with pytest.raises(PluginError, match=r"late\.py|springtide_late\.parts"):
        load_plugins(settings)
    assert not late_modules()

    path.write_text(A_LOSS.format(name="zero"))
    try:
        assert "zero" in names(load_plugins(settings), "loss")
    finally:
        for name in late_modules():
            del sys.modules[name]


def late_modules():
    return {name for name in sys.modules if name.startswith(("springtide_late", "springtide_plugin_late"))}


def test_plugin_that_fails_leaves_the_module_that_was_loaded_before(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(A_LOSS.format(name="zero"))
    loaded = load_one(str(path)).part("loss", "zero").factory
    path.write_text(A_LOSS.format(name="zero").replace("register_losses", "register_loses"))
    with pytest.raises(PluginError, match="register_loses"):
        load_one(str(path))
    assert sys.modules["springtide_plugin_mine"].Zero is loaded


def test_plugins_of_two_distributions_may_have_an_entry_point_of_the_same_name(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / f"springtide_{name}.py").write_text(A_LOSS.format(name=name))
        install(tmp_path, f"springtide-{name}", f"springtide_{name}")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        plugins = load_plugins(PluginSettings(allow=("springtide-one", "Springtide_Two")))
    finally:
        for name in ("one", "two"):
            sys.modules.pop(f"springtide_{name}", None)
    assert plugins.part("loss", "one").origin == "springtide-one 1.0"
    assert plugins.part("loss", "two").origin == "springtide-two 1.0"


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


def test_unknown_part_lists_the_choices(tmp_path):
    (tmp_path / "mine.py").write_text(A_LOSS.format(name="zero"))
    plugins = load_plugins(PluginSettings(folder=str(tmp_path)))
    choices = ", ".join(sorted(names(plugins, "loss")))
    with pytest.raises(UnknownPartError, match=re.escape(f"no loss named 'zeros' (choices: {choices})")):
        plugins.part("loss", "zeros")


def test_one_file_is_loaded_beside_what_is_installed(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(A_LOSS.format(name="zero"))
    plugins = load_one(str(path))
    assert [part.name for part in plugins.parts if part.plugin == str(path)] == ["zero"]
    assert "lightgcn" in names(plugins, "encoder")


def test_module_that_is_installed_already_is_found_again():
    plugins = load_one("springtide_plugins")
    assert plugins.part("encoder", "lightgcn").plugin == "springtide_plugins"


def test_one_file_that_cannot_be_loaded_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text("import no_such_module\n")
    with pytest.raises(PluginError, match=r"No module named 'no_such_module' .*mine\.py:1"):
        load_one(str(tmp_path / "mine.py"))


def test_installed_module_that_cannot_be_loaded_is_refused_once(tmp_path, monkeypatch):
    (tmp_path / "springtide_late.py").write_text("import no_such_module\n")
    install(tmp_path, "springtide-late", "springtide_late")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"of springtide-late 1\.0 cannot be loaded") as refused:
        load_one("springtide_late")
    assert str(refused.value).count("no_such_module") == 1


@pytest.fixture
def late_package(tmp_path, monkeypatch):
    """A package that offers a loss, and leaves a file behind when it is imported."""
    ran = tmp_path / "ran"
    (tmp_path / "springtide_late.py").write_text(f"open({str(ran)!r}, 'w').close()\n" + A_LOSS.format(name="zero"))
    install(tmp_path, "springtide-late", "springtide_late")
    monkeypatch.syspath_prepend(tmp_path)
    yield ran
    for name in late_modules():
        del sys.modules[name]


@pytest.mark.parametrize("load", [load_plugins, find_plugins])
def test_package_that_the_settings_do_not_allow_is_told_and_not_imported(late_package, load):
    plugins = load()

    said = (
        r"no loss named 'zero' \(choices: .*\); springtide-late 1\.0 is installed .* \(allow = \[.springtide-late.\]\)"
    )
    with pytest.raises(UnknownPartError, match=said):
        plugins.part("loss", "zero")
    (left_out,) = plugins.not_allowed
    assert (left_out.distribution, left_out.version, left_out.modules) == (
        "springtide-late",
        "1.0",
        ("springtide_late",),
    )
    assert not late_package.exists()


def test_installed_packages_are_looked_at_once_however_often_the_status_is_asked_for(late_package, monkeypatch):
    plugins = find_plugins()
    first = plugins.not_allowed
    monkeypatch.setattr("importlib.metadata.distributions", lambda: pytest.fail("looked at again"))
    assert plugins.not_allowed == first
    assert len(first) == 1


@pytest.mark.parametrize(
    ("settings", "way"),
    [
        ({"allow": ("springtide_LATE",)}, "plugins.allow"),
        ({"allow": ("*",)}, "plugins.allow"),
        ({"modules": ("springtide_late",)}, "plugins.modules"),
        ({"modules": ("springtide_late",), "allow": ("springtide-late",)}, "plugins.modules"),
    ],
)
@pytest.mark.parametrize("load", [load_plugins, find_plugins])
def test_what_is_loaded_says_where_it_came_from_and_what_let_it_in(late_package, load, settings, way):
    plugins = load(PluginSettings(**settings))
    assert plugins.part("loss", "zero").plugin == "springtide_late"
    built_in, late = plugins.loaded
    assert (built_in.name, built_in.distribution, built_in.way) == ("springtide_plugins", "springtide", "built in")
    assert (late.name, late.way) == ("springtide_late", way)
    assert (late.distribution, late.version) == (("springtide-late", "1.0") if way == "plugins.allow" else ("", ""))
    assert plugins.not_allowed == []
    assert late_package.exists()


def test_allowed_package_that_offers_nothing_is_refused_with_those_that_do(late_package):
    with pytest.raises(PluginError, match=r"'springtide-lat' .* no installed package .* \(choices: springtide-late\)"):
        load_plugins(PluginSettings(allow=("springtide-lat",)))
    assert load_plugins(PluginSettings(allow=("springtide",))).failures == [], "built-in parts are always allowed"


def test_module_that_a_person_names_is_loaded_whatever_the_settings_allow(late_package):
    part = load_one("springtide_late").part("loss", "zero")
    assert part.origin == "springtide-late 1.0"
