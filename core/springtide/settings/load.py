"""Loading the settings: the defaults, then one TOML file, then environment variables."""

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from springtide.errors import SettingsError
from springtide.settings.fields import may_be_none, row_of, section_of, settings_in
from springtide.settings.file import PREFIX, read_toml, settings_file, variables
from springtide.settings.model import Part, PartSettings, Settings
from springtide.settings.secrets import hide_in_output

NONE = "none"  # TOML has no null: this word stands for it where a setting may have no value.

_PART: TypeAdapter[PartSettings] = TypeAdapter(Part)  # It also reads a name, and a list of names.

_Tree = dict[str, Any]
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and where each was set.

    Attributes:
        settings: The settings.
        origins: File or environment variable that set each setting, by its path; settings with their default are left
            out.
    """

    settings: Settings
    origins: Mapping[_Path, str]


def load_settings(path: str | Path | None = None) -> LoadedSettings:
    """Load the settings.

    A table of the user's own names (``interactions``, ``ranking.context_weights``, ``options``) in the file replaces
    the whole default table. Everything else in the file, and every environment variable, replaces one setting.

    Args:
        path: TOML file; if None, the one that ``SPRINGTIDE_SETTINGS`` names, or ``springtide.toml`` if it exists.

    Raises:
        SettingsError: If the file cannot be read, or a setting is unknown or has a wrong value.
    """
    tree: _Tree = Settings().model_dump()
    origins: dict[_Path, str] = {}
    file = settings_file(path)
    if file is not None:
        _merge(Settings, tree, read_toml(file), (), str(file), origins, replaces_tables=True)
    for variable, values in _environment():
        _merge(Settings, tree, values, (), variable, origins, replaces_tables=False)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(detail, origins) for detail in error.errors())) from error
    hide_in_output(settings)
    settings.interaction_rules()  # Refuse bad rule names now, before any process starts.
    return LoadedSettings(settings, origins)


def _environment() -> Iterator[tuple[str, _Tree]]:
    """Yield each environment variable that sets something, with the tree of settings that it sets."""
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if servers:
        yield "KAFKA_BOOTSTRAP_SERVERS", {"kafka": {"bootstrap_servers": servers}}
    set_variables = variables()
    if not set_variables:
        return
    from pydantic_settings import BaseSettings, EnvSettingsSource  # Slow to import.
    from pydantic_settings import SettingsError as ParseError

    class Reader(Settings, BaseSettings):  # type: ignore[misc]  # the two configurations do not contradict each other
        """The settings as pydantic-settings wants them."""

    source = EnvSettingsSource(Reader, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter="__")
    every_variable = source.env_vars
    for variable in set_variables:
        section, _, rest = variable.removeprefix(PREFIX).lower().partition("__")
        source.env_vars = {variable.lower(): every_variable[variable.lower()]}
        try:
            values = source()
        except ParseError as error:
            # The message leaves the value out: it may hold a password.
            raise SettingsError(f"{variable}: wanted JSON for a table or a list") from error
        # pydantic-settings skips a section that does not exist: add it here, so that it is refused.
        yield variable, values or {section: {rest: None} if rest else None}


def _merge(
    model: type[BaseModel],
    tree: _Tree,
    over: Mapping[str, Any],
    path: _Path,
    origin: str,
    origins: dict[_Path, str],
    *,
    replaces_tables: bool,
) -> None:
    """Merge ``over`` into ``tree``, both shaped like ``model``, and note the origin of each setting that it sets."""
    for key, value in over.items():
        here = (*path, key)
        field = model.model_fields.get(key)
        if field is None:
            raise SettingsError(f"{origin}: no setting named {'.'.join(here)!r} ({_nearest(model, path, key)})")
        if value == NONE and may_be_none(field.annotation):
            tree[key] = None
            origins[here] = origin
            continue
        section = section_of(field.annotation)
        if section is not None:
            if issubclass(section, PartSettings) and isinstance(value, str | list):
                value = _PART.validate_python(value).model_dump()
            if not isinstance(value, Mapping):
                raise SettingsError(f"{origin}: {'.'.join(here)} is a table of settings, got {value!r}")
            tree[key] = tree[key] or {}
            _merge(section, tree[key], value, here, origin, origins, replaces_tables=replaces_tables)
            continue
        if isinstance(value, Mapping):
            _merge_table(field.annotation, tree, key, value, here, origin, origins, replaces=replaces_tables)
            continue
        tree[key] = value
        origins[here] = origin


def _merge_table(
    annotation: Any,
    tree: _Tree,
    key: str,
    value: Mapping[str, Any],
    here: _Path,
    origin: str,
    origins: dict[_Path, str],
    *,
    replaces: bool,
) -> None:
    """Merge a table of the user's own names; its values may be sections, with fixed keys."""
    row = row_of(annotation)
    table = {} if replaces else tree.get(key) or {}
    for name, entry in value.items():
        if row is not None and isinstance(entry, Mapping):
            table.setdefault(name, {})
            _merge(row, table[name], entry, (*here, name), origin, origins, replaces_tables=replaces)
        elif isinstance(entry, Mapping) and not replaces:
            table[name] = {**table.get(name, {}), **entry}
        else:
            # Environment variables are text: an option of a part is parsed as JSON if it can be.
            is_text = not replaces and here[-1] == "options" and isinstance(entry, str)
            table[name] = _read_option(entry) if is_text else entry
        origins[*here, name] = origin
    if not value:
        origins[here] = origin
    tree[key] = table


def _read_option(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _nearest(model: type[BaseModel], path: _Path, key: str) -> str:
    """Return a hint at the setting that was probably meant: in the same section, or of that name in another one."""
    close = difflib.get_close_matches(key, model.model_fields, n=1)
    if close:
        return f"did you mean {'.'.join((*path, close[0]))}?"
    by_name = {setting.path[-1]: setting.path for setting in settings_in(Settings)}
    close = difflib.get_close_matches(key, by_name, n=1, cutoff=0.75)
    if close:
        return f"did you mean {'.'.join(by_name[close[0]])}?"
    return f"choices: {', '.join(sorted(model.model_fields))}"


def _explain(detail: Any, origins: Mapping[_Path, str]) -> str:
    """Return an error of pydantic in one line: where it was set, which setting, what was wanted and what came."""
    here = tuple(str(part) for part in detail["loc"])
    origin = next((origins[here[:n]] for n in range(len(here), 0, -1) if here[:n] in origins), "settings")
    wanted = detail["msg"][:1].lower() + detail["msg"][1:]
    came = "" if isinstance(detail["input"], dict) else f", got {detail['input']!r}"
    return f"{origin}: {'.'.join(here)}: {wanted}{came}"
