"""Settings as people may see them: TOML or a plain tree, with the secrets left out."""

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from springtide.settings.load import NONE, LoadedSettings
from springtide.settings.model import Settings

_SECRET_NAME = re.compile(r"password|passwd|secret|token|credential|api_?key|access_?key", re.IGNORECASE)
_SECRET_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MASK = "***"


def masked(settings: Settings) -> dict[str, Any]:
    """Return the settings as a plain tree, with every password, token or key, and the credentials in URLs, masked."""
    tree: dict[str, Any] = _mask(settings.model_dump(mode="json"))
    return tree


def to_toml(loaded: LoadedSettings) -> str:
    """Return the settings as TOML that can be read back, secrets masked, with a comment where one is not a default."""
    lines: list[str] = []
    _write_table(masked(loaded.settings), (), loaded.origins, lines)
    return "\n".join(lines).strip() + "\n"


def changes_to_toml(settings: Settings) -> str:
    """Return what of the settings is not a default, as TOML that can be read back.

    What holds a secret is left out, and a comment names it.
    """
    left_out: list[str] = []
    changes = _changes(settings, type(settings)(), masked(settings), (), left_out)
    lines = [f"# Left out, since it holds a secret: {name}" for name in left_out]
    _write_table(changes, (), {}, lines)
    return "\n".join(lines).strip() + "\n"


def _changes(
    of: BaseModel, default: BaseModel | None, shown: Mapping[str, Any], path: tuple[str, ...], left_out: list[str]
) -> dict[str, Any]:
    """Return what differs, section by section; a table with names of one's own is there whole or not at all."""
    changes: dict[str, Any] = {}
    plain = of.model_dump(mode="json")
    for key in type(of).model_fields:
        value, usual = getattr(of, key), getattr(default, key, None)
        if value == usual:
            continue
        here = (*path, key)
        if isinstance(value, BaseModel):
            within = usual if type(usual) is type(value) else None
            changes[key] = _changes(value, within, shown[key], here, left_out)
        elif shown[key] == plain[key]:
            changes[key] = plain[key]
        else:
            left_out.append(".".join(here))
    return changes


def _mask(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _mask(entry, key) for key, entry in value.items()}
    if isinstance(value, list):
        return [_mask(entry, name) for entry in value]
    if isinstance(value, str):
        return _MASK if value and _SECRET_NAME.search(name) else _SECRET_IN_URL.sub(f"{_MASK}@", value)
    return value


def _write_table(
    table: Mapping[str, Any], path: tuple[str, ...], origins: Mapping[tuple[str, ...], str], lines: list[str]
) -> None:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    if path and (plain or not tables):
        lines += ["", f"[{'.'.join(_key(part) for part in path)}]"]
    for key, value in plain.items():
        origin = origins.get((*path, key))
        lines.append(f"{_key(key)} = {_value(value)}" + (f"  # {origin}" if origin else ""))
    for key, value in tables.items():
        _write_table(value, (*path, key), origins, lines)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, list):
        return f"[{', '.join(_value(entry) for entry in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {_value(entry)}' for key, entry in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)  # Strings, numbers and booleans are written alike in JSON and TOML.
