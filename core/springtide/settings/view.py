"""Settings as people see them: TOML, with the secrets masked."""

import json
import math
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from springtide.settings.fields import KeyPath, Setting, find_setting
from springtide.settings.load import NONE, LoadedSettings
from springtide.settings.model import Settings
from springtide.settings.secrets import masked

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_COMMENT_WIDTH = 100  # Characters of a line of explanation.


def to_toml(loaded: LoadedSettings, *, is_explained: bool = False) -> str:
    """Return the settings as TOML that can be read back, secrets masked.

    A comment behind a setting that is not a default names the file or the environment variable that set it.

    Args:
        loaded: The settings.
        is_explained: Whether a comment above each setting says what it means.
    """
    writer = _Writer(loaded.origins, is_explained)
    writer.write(masked(loaded.settings))
    return writer.text()


def changes_to_toml(settings: Settings) -> str:
    """Return the settings that are not a default, as TOML that can be read back.

    A setting that holds a secret is left out, and a comment names it.
    """
    left_out: list[str] = []
    changes = _changes(settings, type(settings)(), masked(settings), (), left_out)
    writer = _Writer()
    writer.lines += [f"# Left out, since it holds a secret: {name}" for name in left_out]
    writer.write(changes)
    return writer.text()


def comment(text: str, prefix: str = "#") -> list[str]:
    """Return text as lines of a comment, each begun by the prefix; paragraphs are separated by empty lines."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        wrapped = textwrap.wrap(paragraph, _COMMENT_WIDTH, break_long_words=False, break_on_hyphens=False)
        lines += [prefix] * bool(lines) + [f"{prefix} {line}" for line in wrapped]
    return lines


def toml_key(key: str) -> str:
    """Return a key as TOML, quoted if it must be."""
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def toml_value(value: Any, *, is_grouped: bool = False) -> str:
    """Return a value as TOML on one line.

    Args:
        value: What TOML can say, or None.
        is_grouped: Whether large numbers have their digits in groups of three: ``50_000_000``.
    """
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(entry, is_grouped=is_grouped) for entry in value)}]"
    if isinstance(value, dict):
        pairs = [f"{toml_key(key)} = {toml_value(entry, is_grouped=is_grouped)}" for key, entry in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, float) and math.isinf(value):
        return str(value)  # TOML writes inf where JSON has Infinity; all other values are written alike.
    if is_grouped and isinstance(value, int | float) and abs(value) >= 100_000:
        return f"{value:_}"
    return json.dumps(value, ensure_ascii=False)


def _changes(
    section: BaseModel, default: BaseModel | None, shown: Mapping[str, Any], path: KeyPath, left_out: list[str]
) -> dict[str, Any]:
    """Return what differs, section by section; a table of the user's own names is there whole or not at all."""
    changes: dict[str, Any] = {}
    plain = section.model_dump(mode="json")
    for key in type(section).model_fields:
        value, usual = getattr(section, key), getattr(default, key, None)
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


@dataclass(slots=True)
class _Writer:
    """Writes tables as TOML, with the origins of settings behind them and, if wanted, explanations above them."""

    origins: Mapping[KeyPath, str] = field(default_factory=dict)
    is_explained: bool = False
    lines: list[str] = field(default_factory=list)
    _explained: set[tuple[type[BaseModel], str]] = field(default_factory=set)

    def write(self, table: Mapping[str, Any], path: KeyPath = ()) -> None:
        plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
        tables = {key: value for key, value in table.items() if isinstance(value, dict)}
        # A table without a header of its own is explained above its first entry.
        explanation = self._explanation(path)
        if path and (plain or not tables):
            self.lines += ["", *explanation, f"[{'.'.join(map(toml_key, path))}]"]
        elif explanation:
            self.lines += ["", *explanation]
        for key, value in plain.items():
            if above := self._explanation((*path, key)):
                self.lines += ["", *above]
            origin = self.origins.get((*path, key))
            self.lines.append(f"{toml_key(key)} = {toml_value(value)}" + (f"  # {origin}" if origin else ""))
        for key, value in tables.items():
            self.write(value, (*path, key))

    def text(self) -> str:
        return "\n".join(self.lines).strip() + "\n"

    def _explanation(self, path: KeyPath) -> list[str]:
        """Return the comment for a setting; nothing where the same setting of another entry was explained before."""
        setting: Setting | None = find_setting(Settings, path) if self.is_explained and path else None
        if setting is None or (setting.owner, path[-1]) in self._explained:
            return []
        self._explained.add((setting.owner, path[-1]))
        return comment(setting.documentation)
