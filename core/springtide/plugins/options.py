"""The options of a part: declared by the signature of its factory, and checked when settings give them."""

import difflib
import functools
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from springtide.errors import PluginError, SettingsError

NONE = "none"  # TOML has no null: this word stands for it, as in all settings.

_KINDS_OF_PARAMETERS = {
    inspect.Parameter.VAR_KEYWORD: "**{}",
    inspect.Parameter.VAR_POSITIONAL: "*{}",
    inspect.Parameter.POSITIONAL_ONLY: "{}, which has no name to callers",
}
_BOUNDS = {
    "exclusiveMinimum": "above {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
}
_TYPES = {
    "number": "number",
    "integer": "whole number",
    "boolean": "true or false",
    "string": "text",
    "null": NONE,
    "object": "table",
}
_PLURALS = {"number": "numbers", "whole number": "whole numbers"}
_IN_TABLES = {"missing": "wanted a value", "extra_forbidden": "no option of that name"}
_BARE = ("text", "true or false", "'")  # Types that begin like this take no article.


@dataclass(frozen=True, slots=True)
class Option:
    """An option that a part declares.

    Attributes:
        name: Name in the settings.
        type: Type in words: ``number``, ``whole number``, ``true or false``, ``text``, ``'a' or 'b'``,
            ``list of text``.
        default: Value if settings give none.
        range: Bounds in words, such as ``above 0, at most 2``; empty if there are none.
    """

    name: str
    type: str
    default: Any
    range: str = ""

    @property
    def wanted(self) -> str:
        """Type and range as messages print them: ``a number, above 0, at most 2``."""
        article = "" if self.type.startswith(_BARE) else "a "
        return f"{article}{self.type}{self.range and ', '}{self.range}"

    @property
    def may_be_none(self) -> bool:
        """Whether the option may be none."""
        return NONE in self.type.split(" or ")


class DeclaredOptions:
    """The parameters of a factory: its options, and the arguments that Springtide passes.

    Args:
        factory: A class, a function or a ``functools.partial``.
        on_offer: Names of the arguments that factories of its kind may take; every other parameter is an option.

    Attributes:
        takes: The offered arguments that the factory takes.
        options: Its options, in the order of the signature.

    Raises:
        PluginError: If a parameter cannot be an option: it has no name, type or default, its type is not one that
            settings can give, or its default is not of its type.
    """

    def __init__(self, factory: Callable[..., Any], on_offer: Iterable[str]) -> None:
        parameters = _parameters(factory)
        offered = set(on_offer)
        self.takes = frozenset(offered & parameters.keys())
        options = {name: parameter for name, parameter in parameters.items() if name not in offered}
        for name, parameter in options.items():
            _refuse_undeclared(name, parameter)
        hints = _resolved(factory, {name: parameter.annotation for name, parameter in options.items()})
        self._adapters = {name: _adapter(name, hint) for name, hint in hints.items()}
        self.options: Sequence[Option] = [
            _option(name, adapter, options[name].default) for name, adapter in self._adapters.items()
        ]

    def validated(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that settings give, converted for the factory; options not given are left out.

        Raises:
            SettingsError: If an option is unknown, of the wrong type or out of its range; one line lists all problems.
        """
        by_name = {option.name: option for option in self.options}
        found, problems = {}, []
        for name, value in given.items():
            if name not in by_name:
                problems.append(f"no option named {name!r} ({self._choices(name)})")
                continue
            option = by_name[name]
            # Validated as JSON: an option can be what TOML and JSON can say, and a list there may become a tuple here.
            written = json.dumps(None if value == NONE and option.may_be_none else value, default=str)
            try:
                found[name] = self._adapters[name].validate_json(written, strict=True)
            except ValidationError as error:
                problems.append(_explain(option, error, value))
        if problems:
            raise SettingsError("; ".join(problems))
        return found

    def _choices(self, name: str) -> str:
        names = [option.name for option in self.options]
        close = difflib.get_close_matches(name, names, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        return f"{meant}choices: {', '.join(names)}" if names else "it takes none"


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    nn = sys.modules.get("torch.nn")  # Not imported here: a class that descends from its module has done so.
    if nn is not None and inspect.isclass(factory) and factory.__init__ is nn.Module.__init__:
        return {}  # The signature of torch has *args, but takes none.
    try:
        return dict(inspect.signature(factory).parameters)
    except (TypeError, ValueError) as error:
        raise PluginError(f"wanted a class or a function, got {factory!r}") from error


def _refuse_undeclared(name: str, parameter: inspect.Parameter) -> None:
    if parameter.kind in _KINDS_OF_PARAMETERS:
        taken = _KINDS_OF_PARAMETERS[parameter.kind].format(name)
        raise PluginError(f"its factory takes {taken}: wanted options by name, each with a type and a default")
    for what, is_missing in (
        ("type", parameter.annotation is inspect.Parameter.empty),
        ("default", parameter.default is inspect.Parameter.empty),
    ):
        if is_missing:
            raise PluginError(
                f"option {name!r} has no {what}: wanted one in the signature, as in `{name}: float = 0.1`"
            )


def _resolved(factory: Callable[..., Any], annotations: dict[str, Any]) -> dict[str, Any]:
    """Return the annotations, with strings evaluated in the module of the factory."""
    function = factory
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        function = function.__init__
    elif not inspect.isroutine(function):
        function = type(function).__call__
    function = inspect.unwrap(function)
    holder = types.SimpleNamespace(__annotations__=annotations)
    try:
        return typing.get_type_hints(holder, getattr(function, "__globals__", {}), include_extras=True)
    except NameError as error:
        raise PluginError(f"the type of an option cannot be found: {error}") from error


def _adapter(name: str, annotation: Any) -> TypeAdapter[Any]:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        adapter.json_schema()
    except PydanticUserError as error:
        wanted = "a type that settings can give: a number, text, true or false, a choice, or a list of them"
        raise PluginError(f"option {name!r}: wanted {wanted}, got {annotation!r}") from error
    return adapter


def _option(name: str, adapter: TypeAdapter[Any], default: Any) -> Option:
    schema = adapter.json_schema()
    kind, bounds = _words(schema, schema.get("$defs", {}))
    option = Option(name, kind, default, bounds)
    try:
        adapter.validate_python(default)
    except ValidationError as error:
        raise PluginError(f"default of {_explain(option, error, default)}") from error
    return option


def _explain(option: Option, error: ValidationError, value: Any) -> str:
    """Return what was wanted, by the option's declaration, a table's field or a validator; and what came."""
    for detail in error.errors():
        if detail["type"] in ("value_error", "assertion_error"):
            where = ".".join(map(str, (option.name, *detail["loc"])))
            return f"{where}: {detail['msg'].partition(', ')[2]}, got {detail['input'] if detail['loc'] else value!r}"
        if detail["loc"] and option.type == "table":
            where = ".".join(map(str, (option.name, *detail["loc"])))
            wanted = _IN_TABLES.get(detail["type"], f"{detail['msg'][:1].lower()}{detail['msg'][1:]}")
            return f"{where}: {wanted}, got {'none' if detail['type'] == 'missing' else repr(detail['input'])}"
    return f"{option.name}: wanted {option.wanted}, got {value!r}"


def _words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[str, str]:
    """Return the type and the bounds of a JSON schema, in words."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    bounds = ", ".join(words.format(f"{schema[key]:g}") for key, words in _BOUNDS.items() if key in schema)
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if choices:
        return " or ".join(repr(choice) for choice in choices), bounds
    if "anyOf" in schema:
        kinds, ranges = zip(*(_words(each, definitions) for each in schema["anyOf"]), strict=True)
        return " or ".join(kinds), ", ".join(filter(None, ranges))
    if schema.get("type") == "array":
        kind, entry_bounds = _words(schema.get("items", {}), definitions)
        both = filter(None, (bounds, f"each {entry_bounds}" if entry_bounds else ""))
        return f"list of {_PLURALS.get(kind, kind)}", ", ".join(both)
    return _TYPES.get(schema.get("type", ""), "value"), bounds
