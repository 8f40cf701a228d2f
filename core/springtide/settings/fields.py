"""The settings as a tree of fields: what a setting is, and what its documentation says."""

import inspect
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, or a section of them.

    Attributes:
        path: Keys that lead to it from the root, such as ``("kafka", "topic")``.
        owner: Section that declares it.
        field: Its declaration.
    """

    path: KeyPath
    owner: type[BaseModel]
    field: FieldInfo

    @property
    def section(self) -> type[BaseModel] | None:
        """The section that it is; None if it is a value or a table of the user's own names."""
        return section_of(self.field.annotation)

    @property
    def row(self) -> type[BaseModel] | None:
        """The section that each entry of the table is; None if it is no table, or one of plain values."""
        return row_of(self.field.annotation)

    @property
    def documentation(self) -> str:
        """What it means, for users, as paragraphs between empty lines; empty if it has no docstring."""
        text = self.field.description or (self.section and self.section.__doc__) or ""
        paragraphs = inspect.cleandoc(text).split("\n\n")
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def settings_in(section: type[BaseModel], path: KeyPath = ()) -> Iterator[Setting]:
    """Yield all settings of a section and below, each before those inside it; not those of a table's entries."""
    for name, field in section.model_fields.items():
        setting = Setting((*path, name), section, field)
        yield setting
        if setting.section is not None:
            yield from settings_in(setting.section, setting.path)


def find_setting(section: type[BaseModel], path: Sequence[str]) -> Setting | None:
    """Return the setting at a path below a section; None if there is none, or the path ends in a user's own name."""
    owner: type[BaseModel] | None = section
    found: Setting | None = None
    for depth, key in enumerate(path, start=1):
        if owner is None and found is not None:
            owner, found = found.row, None  # The key is the name of a table's entry.
            continue
        if owner is None or key not in owner.model_fields:
            return None
        found = Setting(tuple(path[:depth]), owner, owner.model_fields[key])
        owner = found.section
    return found


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a setting is, or is unless it is None; None if it is no section."""
    choices = typing.get_args(annotation) if _is_union(annotation) else ()
    for candidate in (annotation, *choices):
        section = typing.get_args(candidate)[0] if typing.get_origin(candidate) is Annotated else candidate
        if isinstance(section, type) and issubclass(section, BaseModel):
            return section
    return None


def row_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that each entry of a table is; None if it is no table, or one of plain values."""
    arguments = typing.get_args(annotation)
    is_table = typing.get_origin(annotation) is dict
    return section_of(arguments[1]) if is_table else None


def may_be_none(annotation: Any) -> bool:
    """Return whether a setting may be None."""
    return _is_union(annotation) and type(None) in typing.get_args(annotation)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (Union, types.UnionType)
