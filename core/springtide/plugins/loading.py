"""Finding plugins, and the parts they offer."""

import functools
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from springtide.config import PartSettings, PluginSettings
from springtide.errors import PluginError, SettingsError, UnknownPartError
from springtide.plugins import hookspecs

KINDS: Mapping[str, str] = {
    "encoder": "register_encoders",
    "aggregator": "register_aggregators",
    "loss": "register_losses",
    "negative sampler": "register_negative_samplers",
    "task": "register_tasks",
    "context weight": "register_context_weights",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A named part that a plugin offers.

    Attributes:
        kind: One of ``KINDS``.
        name: What settings call it.
        factory: Makes it.
        origin: Distribution and version, or the module or file that it came from.
    """

    kind: str
    name: str
    factory: Callable[..., Any]
    origin: str

    @property
    def summary(self) -> str:
        """First line of the factory's docstring."""
        return (self.factory.__doc__ or "").strip().partition("\n")[0]


class Plugins:
    """The parts that the loaded plugins offer."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self._by_kind_and_name = {(part.kind, part.name): part for part in parts}

    def part(self, kind: str, name: str) -> Part:
        """Return the part.

        Raises:
            UnknownPartError: If no plugin offers it.
        """
        try:
            return self._by_kind_and_name[kind, name]
        except KeyError:
            raise UnknownPartError(kind, name, (part.name for part in self.parts if part.kind == kind)) from None

    def make(self, kind: str, wanted: PartSettings, **arguments: Any) -> Any:
        """Make a part with its options.

        Raises:
            UnknownPartError: If no plugin offers it.
            SettingsError: If it does not take the options.
        """
        part = self.part(kind, wanted.name)
        try:
            return part.factory(**arguments, **wanted.options)
        except TypeError as error:
            raise SettingsError(f"{kind} {wanted.name!r} does not take these options: {error}") from error


def load_plugins(settings: PluginSettings | None = None) -> Plugins:
    """Load the plugins that are installed (entry point group ``springtide``) and those that the settings name.

    Returns:
        The parts they offer.

    Raises:
        PluginError: If a plugin cannot be imported, misspells a hook, or offers a name that another one offers.
    """
    settings = settings or PluginSettings()
    manager = pluggy.PluginManager("springtide")
    manager.add_hookspecs(hookspecs)
    origins: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        for entry_point in distribution.entry_points:
            if entry_point.group == "springtide" and entry_point.name not in origins:
                origin = f"{distribution.name} {distribution.version}"
                _register(manager, entry_point.name, origin, entry_point.load)
                origins[entry_point.name] = origin
    for module_name in settings.modules:
        _register(manager, module_name, module_name, functools.partial(importlib.import_module, module_name))
        origins[module_name] = module_name
    for path in sorted(Path(settings.folder).glob("*.py")) if settings.folder else ():
        _register(manager, str(path), str(path), functools.partial(_import_file, path))
        origins[str(path)] = str(path)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"plugin {error.plugin!r} implements no hook of that name: {error}") from error
    return Plugins(_collect_parts(manager, origins))


def _register(manager: pluggy.PluginManager, name: str, origin: str, load: Callable[[], Any]) -> None:
    try:
        manager.register(load(), name=name)
    except Exception as error:
        raise PluginError(f"plugin {name!r} of {origin} cannot be loaded: {error}") from error


def _import_file(path: Path) -> ModuleType:
    module_name = f"springtide_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None, "a .py file has a spec"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def _collect_parts(manager: pluggy.PluginManager, origins: Mapping[str, str]) -> list[Part]:
    parts: dict[tuple[str, str], Part] = {}
    for kind, hook_name in KINDS.items():
        for implementation in getattr(manager.hook, hook_name).get_hookimpls():
            origin = origins[implementation.plugin_name]

            def register(name: str, factory: Callable[..., Any], kind: str = kind, origin: str = origin) -> None:
                taken = parts.get((kind, name))
                if taken is not None:
                    raise PluginError(f"{kind} {name!r} is offered twice: by {taken.origin} and by {origin}")
                parts[kind, name] = Part(kind, name, factory, origin)

            implementation.function(register=register)
    return list(parts.values())
