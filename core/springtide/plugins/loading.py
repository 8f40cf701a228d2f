"""Finding plugins, and the parts they offer."""

import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from springtide.errors import PluginError
from springtide.plugins import hookspecs
from springtide.plugins.parts import KINDS, Failure, Part, Plugins
from springtide.settings.model import PluginSettings, Settings

__all__ = ["KINDS", "Failure", "Part", "Plugins", "load_beside_installed", "load_checked_plugins", "load_plugins"]


def load_plugins(settings: PluginSettings | None = None) -> Plugins:
    """Load the plugins that are installed (entry point group ``springtide``) and those that the settings name.

    Returns:
        The parts they offer, and the plugins that failed, if ``settings.on_error`` is ``skip``.

    Raises:
        PluginError: If a plugin cannot be imported, misspells a hook, offers a part that does not declare its options,
            or offers a name that another plugin offers.
    """
    settings = settings or PluginSettings()
    loader = _Loader()
    for source in _sources(settings):
        loader.take(source)
    if loader.failures and settings.on_error == "refuse":
        raise PluginError("; ".join(map(str, loader.failures)))
    return Plugins(list(loader.parts.values()), loader.failures)


def load_checked_plugins(settings: Settings) -> Plugins:
    """Load the plugins, and check the parts that the settings name.

    Raises:
        PluginError: As ``load_plugins`` does.
        SettingsError: As ``Plugins.check`` does.
    """
    plugins = load_plugins(settings.plugins)
    plugins.check(settings)
    return plugins


def load_beside_installed(source: str) -> Plugins:
    """Load one plugin beside the installed ones; failures of the installed ones are ignored.

    Args:
        source: Name of its module, or path of its file; the module may be an installed plugin's.

    Raises:
        PluginError: If it cannot be loaded.
    """
    loader = _Loader()
    for installed in _sources(PluginSettings()):
        loader.take(installed)
    loader.failures = [failure for failure in loader.failures if failure.plugin == source]
    if source.endswith(".py"):
        loader.take(_Source.of_file(Path(source)))
    elif not loader.failures and not any(part.plugin == source for part in loader.parts.values()):
        loader.take(_Source.of_module(source))
    if loader.failures:
        raise PluginError("; ".join(map(str, loader.failures)))
    return Plugins(list(loader.parts.values()))


@dataclass(frozen=True, slots=True)
class _Source:
    """A plugin that is to be loaded.

    Attributes:
        name: Name of the module, or path of the file.
        origin: Distribution and version, or the name again.
        module_name: Name in ``sys.modules``.
        load: Imports the plugin and returns it.
    """

    name: str
    origin: str
    module_name: str
    load: Callable[[], Any]

    @classmethod
    def of_module(cls, name: str) -> "_Source":
        return cls(name, name, name, functools.partial(importlib.import_module, name))

    @classmethod
    def of_file(cls, path: Path) -> "_Source":
        module_name = f"springtide_plugin_{path.stem}"
        return cls(str(path), str(path), module_name, functools.partial(_import_file, path, module_name))


def _sources(settings: PluginSettings) -> Iterator[_Source]:
    """Yield the installed plugins, then those that the settings name."""
    seen: set[tuple[str, str]] = set()
    for distribution in importlib.metadata.distributions():
        for entry_point in distribution.entry_points:
            # A distribution is found twice if its folder is twice on the path.
            key = (distribution.name, entry_point.name)
            if entry_point.group == "springtide" and key not in seen:
                seen.add(key)
                origin = f"{distribution.name} {distribution.version}"
                yield _Source(entry_point.value, origin, entry_point.module, entry_point.load)
    yield from map(_Source.of_module, settings.modules)
    yield from map(_Source.of_file, sorted(Path(settings.folder).glob("*.py")) if settings.folder else ())


class _Loader:
    """Takes plugins one by one, each whole or not at all: of one that fails, neither parts nor modules remain."""

    def __init__(self) -> None:
        self.parts: dict[tuple[str, str], Part] = {}
        self.failures: list[Failure] = []
        self._manager = pluggy.PluginManager("springtide")
        self._manager.add_hookspecs(hookspecs)

    def take(self, source: _Source) -> None:
        modules_before = dict(sys.modules)
        try:
            plugin = source.load()
            self._manager.register(plugin, name=source.name)
            self._refuse_unknown_hooks(plugin)
            self.parts.update(self._parts_of(plugin, source.name, source.origin))
        except Exception as error:  # A plugin may fail in any way; the message says which one it was.
            self.failures.append(Failure(source.name, source.origin, _reason(error)))
            if self._manager.has_plugin(source.name):
                self._manager.unregister(name=source.name)
            # Otherwise the next try would find the failed module, and not read the corrected file.
            _forget_modules(source.module_name.partition(".")[0], modules_before)

    def _refuse_unknown_hooks(self, plugin: Any) -> None:
        for caller in self._manager.get_hookcallers(plugin) or ():
            for implementation in caller.get_hookimpls():
                if not caller.has_spec() and not implementation.optionalhook:
                    close = difflib.get_close_matches(caller.name, KINDS.values(), n=1)
                    meant = f"did you mean {close[0]}?" if close else f"choices: {', '.join(sorted(KINDS.values()))}"
                    code = implementation.function.__code__
                    where = f"{code.co_filename}:{code.co_firstlineno}"
                    raise PluginError(f"no hook named {caller.name!r} ({meant}), in {where}")

    def _parts_of(self, plugin: Any, plugin_name: str, origin: str) -> dict[tuple[str, str], Part]:
        found: dict[tuple[str, str], Part] = {}
        for kind, hook_name in KINDS.items():

            def register(name: str, factory: Callable[..., Any], kind: str = kind) -> None:
                taken = found.get((kind, name)) or self.parts.get((kind, name))
                if taken is not None:
                    raise PluginError(f"{kind} {name!r} is offered twice: by {taken.origin} and by {origin}")
                found[kind, name] = Part.of(kind, name, factory, origin, plugin_name)

            for implementation in getattr(self._manager.hook, hook_name).get_hookimpls():
                if implementation.plugin is plugin:
                    implementation.function(**dict.fromkeys(implementation.argnames, register))
        return found


def _forget_modules(package: str, before: Mapping[str, ModuleType]) -> None:
    """Undo the imports of a package and its modules since ``before``, a copy of ``sys.modules``."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        if name not in before:
            del sys.modules[name]
        else:
            sys.modules[name] = before[name]


def _import_file(path: Path, module_name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None, "a .py file has a spec"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def _reason(error: Exception) -> str:
    """Return what went wrong in one line, and where in the plugin, unless the message says so itself."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, PluginError | pluggy.PluginValidationError):
        return message
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename != __file__ and "importlib" not in frame.filename
    ]
    return f"{message} ({type(error).__name__} in {frames[-1].filename}:{frames[-1].lineno})" if frames else message
