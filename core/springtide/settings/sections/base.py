"""What all sections share: they are frozen, refuse unknown keys, and document each setting."""

from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Value = TypeVar("Value")


class FrozenDict(dict[str, Value]):
    """A dict that refuses to be changed: settings are shared between threads and processes."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("settings are frozen: make new ones with model_copy(update=...)")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type, tuple[dict[str, Value]]]:
        return type(self), (dict(self),)


Positive = Annotated[float, Field(gt=0)]
Table = Annotated[dict[str, Value], AfterValidator(FrozenDict)]
"""A table whose keys the user chooses; a settings file replaces it whole."""
Options = Table[Any]


class Section(BaseModel):
    """A table of settings.

    The docstring below each setting is its documentation for users: what it means, its unit, and when to change it.
    ``springtide config show --explain``, ``springtide config init`` and ``settings/README.md`` print it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)


class PartSettings(Section):
    """A part by its name, with its options. A name alone is enough: `encoder = "gat"`."""

    name: str
    """Name of the part; `springtide plugins list` prints the choices."""
    options: Options = {}
    """Options of the part, by name; `springtide plugins list` prints those. What you leave out keeps its default."""


def _as_part(written: Any) -> Any:
    """Let a part be written as its name alone, and several aggregators as a list of names."""
    if isinstance(written, str):
        return {"name": written}
    if isinstance(written, list | tuple):
        return {"name": "several", "options": {"of": list(written)}}
    return written


Part = Annotated[PartSettings, BeforeValidator(_as_part)]
