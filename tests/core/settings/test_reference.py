"""Every setting is explained, and the explanations are printed and can be read back."""

import re
import tomllib
from pathlib import Path

import pytest

from springtide.settings.fields import Setting, find_setting, row_of, section_of, settings_in
from springtide.settings.load import LoadedSettings, load_settings
from springtide.settings.model import Settings
from springtide.settings.reference import commented_toml, page
from springtide.settings.sections.base import Section
from springtide.settings.view import comment, to_toml

PAGE = Path(__file__).parents[3] / "core/springtide/settings/README.md"

UNITS_OF_NAMES = {"_ms": "milliseconds", "_per_s": "per second", "_s": "seconds", "_days": "days", "_bytes": "bytes"}
UNITS = (
    "number of",
    "most",
    "fewest",
    "share",
    "factor",
    "probability",
    "port",
    "level",
    "seed",
)
"""Words by which a number without a unit in its name says what it counts or measures."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SPRINGTIDE_SETTINGS", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)


def every_setting() -> list[Setting]:
    """All settings, those of tables' entries included."""
    found = list(settings_in(Settings))
    rows = [setting for setting in found if setting.row is not None]
    return found + [entry for table in rows for entry in settings_in(table.row, (*table.path, "NAME"))]


def named(setting: Setting) -> str:
    return ".".join(setting.path)


def is_number(setting: Setting) -> bool:
    """Whether the setting's value is a number, or a number or None."""
    names = re.findall(r"\w+", str(setting.field.annotation))
    return setting.section is None and setting.row is None and bool({"int", "float"} & set(names))


@pytest.mark.parametrize("setting", every_setting(), ids=named)
def test_every_setting_is_explained(setting):
    text = setting.documentation
    assert text.endswith("."), f"{named(setting)}: wanted a docstring of whole sentences, got {text!r}"
    assert text[0].isupper()


@pytest.mark.parametrize("setting", [setting for setting in every_setting() if is_number(setting)], ids=named)
def test_number_is_explained_with_its_unit(setting):
    words = f" {setting.documentation.lower()} "
    suffix = next((suffix for suffix in UNITS_OF_NAMES if setting.path[-1].endswith(suffix)), None)
    units = UNITS if suffix is None else (UNITS_OF_NAMES[suffix],)
    assert any(re.search(rf"\b{unit}\b", words) for unit in units), (
        f"{named(setting)}: wanted one of {', '.join(units)}"
    )


def test_numbers_are_told_from_other_settings():
    numbers = {named(setting) for setting in every_setting() if is_number(setting)}
    assert {"kafka.poll_timeout_ms", "graph.max_age_days", "interactions.NAME.weight", "training.seed"} <= numbers
    assert not numbers & {
        "kafka",
        "kafka.topic",
        "server.reflection",
        "interactions",
        "model.encoder",
        "plugins.folder",
    }


def test_setting_without_a_docstring_is_found_out():
    class Bare(Section):
        explained: int = 1
        """Number of things."""
        bare: int = 1

    documentation = [setting.documentation for setting in settings_in(Bare)]
    assert documentation == ["Number of things.", ""]


def test_settings_are_found_by_their_path():
    assert find_setting(Settings, ("kafka", "topic")).field.default == "springtide.events"
    assert find_setting(Settings, ("model", "encoder", "name")).path == ("model", "encoder", "name")
    assert find_setting(Settings, ("interactions", "my own", "weight")).field.default == 1.0
    assert find_setting(Settings, ("interactions", "my own")) is None, "a name of the user's"
    assert find_setting(Settings, ("kafka", "topics")) is None
    assert find_setting(Settings, ("kafka", "client_options", "sasl_mechanism")) is None


def test_sections_and_rows_are_told_apart():
    annotations = {name: field.annotation for name, field in Settings.model_fields.items()}
    assert section_of(annotations["kafka"]) is type(Settings().kafka)
    assert section_of(annotations["interactions"]) is None
    assert row_of(annotations["interactions"]) is type(Settings().interactions["purchase"])
    assert row_of(annotations["kafka"]) is None


def test_explained_toml_says_each_thing_once_and_reads_back(tmp_path):
    written = tmp_path / "a.toml"
    written.write_text('[server]\nport = 7000\n[interactions."stars>=4"]\n[interactions.view]\nweight = 0.2\n')
    loaded = load_settings(written)

    shown = to_toml(loaded, is_explained=True)

    for setting in every_setting():
        if setting.path[:2] != ("model", "tasks"):
            assert shown.count("\n".join(comment(setting.documentation))) >= 1, named(setting)
    weight = find_setting(Settings, ("interactions", "view", "weight")).documentation
    assert shown.count("\n".join(comment(weight))) == 1
    assert f"port = 7000  # {written}" in shown
    again = tmp_path / "b.toml"
    again.write_text(shown)
    assert load_settings(again).settings == loaded.settings


def test_plain_toml_has_no_explanations():
    assert "#" not in to_toml(LoadedSettings(Settings(), {}))


def test_commented_file_loads_as_the_defaults(tmp_path):
    file = tmp_path / "all.toml"
    file.write_text(commented_toml())

    assert load_settings(file) == LoadedSettings(Settings(), {})


def test_commented_file_has_its_sections_live():
    sections = set(tomllib.loads(commented_toml()))
    assert sections == set(Settings.model_fields) - {"interactions", "attributes"}, (
        "an empty list of interactions would mean none"
    )


def test_commented_file_loads_as_the_defaults_when_every_line_is_uncommented(tmp_path):
    file = tmp_path / "all.toml"
    file.write_text("\n".join(line.removeprefix("#") for line in commented_toml().splitlines()))

    loaded = load_settings(file)

    assert loaded.settings == Settings()
    wanted = {setting.path for setting in settings_in(Settings) if setting.section is None and len(setting.path) == 2}
    assert wanted - set(loaded.origins) <= {
        (section, table) for section, table in wanted if getattr(getattr(Settings(), section), table)
    }, "a setting is missing from the file"


def test_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"
