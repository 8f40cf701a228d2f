"""Finding plugins, and the parts they offer."""

import difflib
import itertools
import sys
import threading
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import pluggy

from springtide.errors import PluginError
from springtide.plugins import hookspecs
from springtide.plugins.guarding import Guards
from springtide.plugins.part import Reference, reason_of
from springtide.plugins.parts import KINDS, Failure, Part, Plugins
from springtide.plugins.sources import (
    LoadedPlugin,
    NotAllowed,
    Source,
    allowed,
    built_in,
    named,
    not_allowed,
    of_command_line,
)
from springtide.settings.model import PluginSettings, Settings

__all__ = [
    "KINDS",
    "Failure",
    "LoadedPlugin",
    "NotAllowed",
    "Part",
    "Plugins",
    "find_plugins",
    "load_checked_plugins",
    "load_one",
    "load_plugins",
    "load_serving_plugins",
]


def load_plugins(settings: PluginSettings | None = None) -> Plugins:
    """Load the built-in plugin, those of the packages that the settings allow, and those that they name.

    Packages offer plugins by the entry point group ``springtide``. Of one that ``plugins.allow`` does not name, nothing
    is imported (``Plugins.not_allowed``). A part that a plugin registers by reference is imported when it is made or
    described.

    Returns:
        The parts they offer, and the plugins that failed, if ``settings.on_error`` is ``skip``.

    Raises:
        PluginError: If a plugin cannot be imported, misspells a hook, offers a part that does not declare its options,
            or offers a name that another plugin offers.
    """
    settings = settings or PluginSettings()
    loader = _Loader(settings, itertools.chain(built_in(), allowed(settings), named(settings)))
    while loader.load_next():
        pass
    loader.refuse_failures()
    return Plugins(source=loader)


def find_plugins(settings: PluginSettings | None = None) -> Plugins:
    """Load the built-in plugin and those that the settings name; those of allowed packages when a part is wanted.

    They are loaded one by one until one offers a part that none before it does. So a plugin that is allowed, and that
    nothing asks for, costs nothing, whatever it imports; and what is wrong with it is not seen.

    Raises:
        PluginError: As ``load_plugins`` does, for the plugins that are loaded now.
    """
    settings = settings or PluginSettings()
    first = [*built_in(), *named(settings)]
    loader = _Loader(settings, itertools.chain(first, allowed(settings)))
    for _ in first:
        loader.load_next()
    loader.refuse_failures()
    return Plugins(source=loader)


def load_checked_plugins(settings: Settings) -> Plugins:
    """Load all plugins, and check all parts that the settings name.

    Raises:
        PluginError: As ``load_plugins`` does.
        SettingsError: As ``Plugins.check`` does.
    """
    plugins = load_plugins(settings.plugins)
    plugins.check(settings)
    return plugins


def load_serving_plugins(settings: Settings, guards: Guards | None = None) -> Plugins:
    """Load the plugins that a server needs, and check the parts that it makes.

    Args:
        settings: All settings.
        guards: Stand before the parts that others wrote; None for none.

    Raises:
        PluginError: As ``find_plugins`` does.
        SettingsError: As ``Plugins.check_serving`` does.
    """
    plugins = find_plugins(settings.plugins)
    plugins.check_serving(settings)
    return plugins.behind(guards)


def load_one(name: str, settings: PluginSettings | None = None) -> Plugins:
    """Load one plugin that a person names, beside those that the settings let in; failures of these are ignored.

    Args:
        name: Name of its module, or path of its file; the module may be one that an installed package offers.
        settings: Which others to load.

    Raises:
        PluginError: If it cannot be loaded.
    """
    settings = (settings or PluginSettings()).model_copy(update={"on_error": "skip"})
    loader = _Loader(settings, itertools.chain(built_in(), allowed(settings), named(settings)))
    while loader.load_next():
        pass
    loader.failures = [failure for failure in loader.failures if failure.plugin == name]
    if not loader.failures and not any(part.plugin == name for part in loader.parts.values()):
        loader.take(of_command_line(name))
    if loader.failures:
        raise PluginError("; ".join(map(str, loader.failures)))
    return Plugins(source=loader)


class _Loader:
    """Takes plugins one by one, each whole or not at all: of one that fails, neither parts nor modules remain.

    It is used by several threads: the one that loads models may want a part, too.

    Args:
        settings: Whether to go on without those that fail, and which packages are allowed.
        sources: The plugins, in the order in which they are taken.
    """

    def __init__(self, settings: PluginSettings, sources: Iterable[Source]) -> None:
        self.parts: dict[tuple[str, str], Part] = {}
        self.loaded: list[LoadedPlugin] = []
        self.failures: list[Failure] = []
        self._settings = settings
        self._not_allowed: list[NotAllowed] | None = None
        self._sources = iter(sources)
        self._skips_failed = settings.on_error == "skip"
        self._lock = threading.RLock()
        self._manager = pluggy.PluginManager("springtide")
        self._manager.add_hookspecs(hookspecs)

    def load_next(self) -> bool:
        with self._lock:
            source = next(self._sources, None)
            if source is not None:
                self.take(source)
            return source is not None

    def not_allowed(self) -> list[NotAllowed]:
        # Kept: it reads the metadata of every installed package, 0.1 s of computing, and the status is asked for every
        # second. What is installed later is imported after a start only.
        if self._not_allowed is None:
            self._not_allowed = not_allowed(self._settings)
        return list(self._not_allowed)

    def refuse_failures(self) -> None:
        if self.failures and not self._skips_failed:
            raise PluginError("; ".join(map(str, self.failures)))

    def take(self, source: Source) -> None:
        modules_before = dict(sys.modules)
        try:
            plugin = source.load()
            self._manager.register(plugin, name=source.name)
            self._refuse_unknown_hooks(plugin)
            self.parts.update(self._parts_of(plugin, source))
            self.loaded.append(LoadedPlugin(source.name, source.distribution, source.version, source.way))
        except Exception as error:  # A plugin may fail in any way; the message says which one it was.
            self.failures.append(Failure(source.name, source.origin, reason_of(error)))
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

    def _parts_of(self, plugin: Any, source: Source) -> dict[tuple[str, str], Part]:
        found: dict[tuple[str, str], Part] = {}
        for kind, hook_name in KINDS.items():

            def register(name: str, factory: Reference, serving: Reference | None = None, *, kind: str = kind) -> None:
                taken = found.get((kind, name)) or self.parts.get((kind, name))
                if taken is not None:
                    raise PluginError(f"{kind} {name!r} is offered twice: by {taken.origin} and by {source.origin}")
                found[kind, name] = Part.of(
                    *(kind, name, factory, source.origin, source.name, serving), is_built_in=source.way == "built in"
                )

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
