"""The reference of all settings, made from their documentation: a page for people, and a commented TOML file.

``python -m springtide.settings.reference PATH`` writes the page.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from springtide.settings.fields import KeyPath, Setting, settings_in
from springtide.settings.model import PartSettings, Settings
from springtide.settings.view import comment, toml_key, toml_value

_FILE_HEAD = """\
Settings of Springtide. Each setting below has its default and is commented out: remove "# " to change it.

Environment variables override this file: SPRINGTIDE_SERVER__PORT=7000 sets port in [server].

A list or table of names, such as [interactions], replaces the default one: name all that you use."""

_PAGE_HEAD = """\
<!-- Written by `make docs` from the docstrings in sections/ and model.py: edit those. -->

# Settings

Springtide reads one TOML file: `--settings PATH`, or the file that `SPRINGTIDE_SETTINGS` names, or `springtide.toml` in
the working folder. `springtide config init` writes a file with all defaults, and `springtide config show --explain`
prints the settings in force. A setting that does not exist is refused, naming the nearest that does.

**Environment variables override the file.** The name is `SPRINGTIDE_`, the section, two underscores and the setting, in
capitals: `SPRINGTIDE_SERVER__PORT=7000` sets `port` in `[server]`. Deeper tables add two underscores each:
`SPRINGTIDE_MODEL__ENCODER__NAME=gat`. Lists and tables are written as JSON. `KAFKA_BOOTSTRAP_SERVERS` sets
`kafka.bootstrap_servers`.

**`"none"`** stands for "no value", which TOML cannot write: `max_edges = "none"` removes the bound.

**Parts** (encoder, loss, …) are written as a name, `encoder = "gat"`, or as a table with options:
`encoder = {name = "gat", options = {heads = 2}}`. `springtide plugins list` prints the names and the options.

"""


def commented_toml() -> str:
    """Return a settings file that says what each setting means; all are commented out and have their default.

    Lines of text begin with ``##``, settings with ``# ``: the file sets nothing, and still nothing but the defaults if
    one ``#`` is taken from the beginning of each line.
    """
    lines = comment(_FILE_HEAD, "##")
    for section in _top_sections():
        lines += ["", ""]
        lines += comment(section.documentation, "##")
        if section.section is None:
            for setting in _entry_settings(section) if section.row is not None else ():
                lines += ["##", *comment(f"`{setting.path[-1]}`: {setting.documentation}", "##")]
            # The header is commented out, too: a table without entries would replace the default one.
            lines.append(f"# [{section.path[0]}]")
            lines += [f"# {toml_key(name)} = {_toml(entry)}" for name, entry in _default(section).items()]
            continue
        lines.append(f"[{section.path[0]}]")
        lines += _commented(_settings_of(section.section, section.path))
        for nested in _nested(section):
            assert nested.section is not None, "it is a section"
            lines += ["", "", *comment(nested.documentation, "##"), f"# [{'.'.join(nested.path)}]"]
            lines += _commented(_settings_of(nested.section, nested.path))
    return "\n".join(lines) + "\n"


def _commented(settings: Iterator[Setting]) -> Iterator[str]:
    for setting in settings:
        if not _is_nested(setting):
            yield from ("", *comment(setting.documentation, "##"))
            yield f"# {toml_key(setting.path[-1])} = {_toml(_default(setting))}"


def page() -> str:
    """Return the reference page, as Markdown: a table for each section."""
    blocks = [_PAGE_HEAD.rstrip("\n"), _contents()]
    for section in _top_sections():
        name = section.path[0]
        if section.section is not None:
            blocks += [f"## {name}", section.documentation, _table(_settings_of(section.section, section.path))]
        else:
            defaults = [f"{toml_key(key)} = {_toml(entry)}" for key, entry in _default(section).items()]
            blocks += [f"## {name}", section.documentation, "The default:"]
            blocks += ["\n".join(["```toml", f"[{name}]", *defaults, "```"])]
            if section.row is not None:
                blocks += [f"Settings of each entry, `[{name}.NAME]`:", _table(_entry_settings(section))]
        for setting in _settings_of(section.section, section.path) if section.section is not None else ():
            if setting.row is not None:  # As model.tasks.
                heading = f"Settings of each entry, `[{'.'.join(setting.path)}.NAME]`:"
                blocks += [heading, _table(_entry_settings(setting))]
            if _is_nested(setting) and setting.section is not None:  # As server.tokens.
                blocks += [f"### {'.'.join(setting.path)}", setting.documentation]
                blocks += [_table(_settings_of(setting.section, setting.path))]
    return "\n\n".join(blocks) + "\n"


def _top_sections() -> list[Setting]:
    return [setting for setting in settings_in(Settings) if len(setting.path) == 1]


def _settings_of(section: type[BaseModel], path: KeyPath) -> Iterator[Setting]:
    """Yield the settings that a section declares itself; a part is one of them."""
    for name, field in section.model_fields.items():
        yield Setting((*path, name), section, field)


def _nested(section: Setting) -> list[Setting]:
    """Return the sections within a section, which have a table of their own."""
    assert section.section is not None, "only called for sections"
    return [setting for setting in _settings_of(section.section, section.path) if _is_nested(setting)]


def _is_nested(setting: Setting) -> bool:
    return setting.section is not None and not issubclass(setting.section, PartSettings)


def _entry_settings(table: Setting) -> Iterator[Setting]:
    assert table.row is not None, "only called for tables of sections"
    return _settings_of(table.row, (*table.path, "NAME"))


def _default(setting: Setting) -> Any:
    """Return the default as plain values; a part without options as its name."""
    default = setting.field.get_default(call_default_factory=True)
    if isinstance(default, PartSettings) and not default.options:
        return default.name
    return setting.owner.model_construct(**{setting.path[-1]: default}).model_dump(mode="json", warnings=False)[
        setting.path[-1]
    ]


def _toml(value: Any) -> str:
    return toml_value(value, is_grouped=True)


def _contents() -> str:
    return "Sections: " + ", ".join(f"[{section.path[0]}](#{section.path[0]})" for section in _top_sections()) + "."


def _table(settings: Iterator[Setting]) -> str:
    lines = ["| setting | default | meaning |", "| :-- | :-- | :-- |"]
    for setting in settings:
        if _is_nested(setting):
            continue
        meaning = setting.documentation.replace("\n\n", " ").replace("|", "\\|")
        lines.append(f"| `{setting.path[-1]}` | {_shown_default(setting)} | {meaning} |")
    return "\n".join(lines)


def _shown_default(setting: Setting) -> str:
    if setting.field.is_required():
        return "*(required)*"
    default = _default(setting)
    if isinstance(default, dict) and default:
        return ", ".join(f"`{name}`" for name in default)  # Tables of parts without options: their names say it all.
    return f"`{_toml(default)}`"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
