"""Finding plugins, and the parts they offer."""

import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from springtide.errors import PluginError
from springtide.plugins import hookspecs
from springtide.plugins.part import Reference, reason_of
from springtide.plugins.parts import KINDS, Failure, Part, Plugins
from springtide.settings.model import PluginSettings, Settings

__all__ = [
    "KINDS",
    "Failure",
    "Part",
    "Plugins",
    "find_plugins",
    "load_beside_installed",
    "load_checked_plugins",
    "load_plugins",
    "load_serving_plugins",
]

_GROUP = "springtide"
_BUILT_IN = "springtide"  # The distribution whose parts are looked at first.


def load_plugins(settings: PluginSettings | None = None) -> Plugins:
    """Load the plugins that are installed (entry point group ``springtide``) and those that the settings name.

    A part that a plugin registers by reference is imported when it is made or described.

    Returns:
        The parts they offer, and the plugins that failed, if ``settings.on_error`` is ``skip``.

    Raises:
        PluginError: If a plugin cannot be imported, misspells a hook, offers a part that does not declare its options,
            or offers a name that another plugin offers.
    """
    settings = settings or PluginSettings()
    named = list(_named(settings))
    loader = _Loader([*_built_in(), *_others(named), *named], settings.on_error == "skip")
    while loader.load_next():
        pass
    loader.refuse_failures()
    return Plugins(source=loader)


def find_plugins(settings: PluginSettings | None = None) -> Plugins:
    """Load the built-in plugin and those that the settings name; the other installed ones when a part is wanted.

    They are loaded one by one until one offers a part that none before it does. So a plugin that is installed, and that
    nothing asks for, costs nothing, whatever it imports; and what is wrong with it is not seen.

    Raises:
        PluginError: As ``load_plugins`` does, for the plugins that are loaded now.
    """
    settings = settings or PluginSettings()
    named = list(_named(settings))
    first = [*_built_in(), *named]
    loader = _Loader(itertools.chain(first, _others(named)), settings.on_error == "skip")
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


def load_serving_plugins(settings: Settings) -> Plugins:
    """Load the plugins that a server needs, and check the parts that it makes.

    Raises:
        PluginError: As ``find_plugins`` does.
        SettingsError: As ``Plugins.check_serving`` does.
    """
    plugins = find_plugins(settings.plugins)
    plugins.check_serving(settings)
    return plugins


def load_beside_installed(source: str) -> Plugins:
    """Load one plugin beside the installed ones; failures of the installed ones are ignored.

    Args:
        source: Name of its module, or path of its file; the module may be an installed plugin's.

    Raises:
        PluginError: If it cannot be loaded.
    """
    loader = _Loader([*_built_in(), *_others(())], skips_failed=True)
    while loader.load_next():
        pass
    loader.failures = [failure for failure in loader.failures if failure.plugin == source]
    if source.endswith(".py"):
        loader.take(_Source.of_file(Path(source)))
    elif not loader.failures and not any(part.plugin == source for part in loader.parts.values()):
        loader.take(_Source.of_module(source))
    if loader.failures:
        raise PluginError("; ".join(map(str, loader.failures)))
    return Plugins(source=loader)


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


def _built_in() -> Iterator[_Source]:
    """Yield the plugins of Springtide itself."""
    try:
        yield from _offered_by(importlib.metadata.distribution(_BUILT_IN))
    except importlib.metadata.PackageNotFoundError:
        return  # Run from a folder, without being installed.


def _others(named: Sequence[_Source]) -> Iterator[_Source]:
    """Yield the other installed plugins, but for those whose module the settings name."""
    seen: set[tuple[str, str]] = set()
    taken = {source.name for source in named}
    for distribution in importlib.metadata.distributions():
        if distribution.name == _BUILT_IN:
            continue
        for source in _offered_by(distribution):
            # A distribution is found twice if its folder is twice on the path.
            key = (distribution.name, source.name)
            if key not in seen and source.name not in taken:
                seen.add(key)
                yield source


def _offered_by(distribution: importlib.metadata.Distribution) -> Iterator[_Source]:
    for entry_point in distribution.entry_points:
        if entry_point.group == _GROUP:
            origin = f"{distribution.name} {distribution.version}"
            yield _Source(entry_point.value, origin, entry_point.module, entry_point.load)


def _named(settings: PluginSettings) -> Iterator[_Source]:
    """Yield the plugins that the settings name."""
    yield from map(_Source.of_module, settings.modules)
    yield from map(_Source.of_file, sorted(Path(settings.folder).glob("*.py")) if settings.folder else ())


class _Loader:
    """Takes plugins one by one, each whole or not at all: of one that fails, neither parts nor modules remain.

    It is used by several threads: the one that loads models may want a part, too.

    Args:
        sources: The plugins, in the order in which they are taken.
        skips_failed: Whether to go on without those that fail.
    """

    def __init__(self, sources: Iterable[_Source], skips_failed: bool) -> None:
        self.parts: dict[tuple[str, str], Part] = {}
        self.failures: list[Failure] = []
        self._sources = iter(sources)
        self._skips_failed = skips_failed
        self._lock = threading.RLock()
        self._manager = pluggy.PluginManager("springtide")
        self._manager.add_hookspecs(hookspecs)

    def load_next(self) -> bool:
        with self._lock:
            source = next(self._sources, None)
            if source is not None:
                self.take(source)
            return source is not None

    def refuse_failures(self) -> None:
        if self.failures and not self._skips_failed:
            raise PluginError("; ".join(map(str, self.failures)))

    def take(self, source: _Source) -> None:
        modules_before = dict(sys.modules)
        try:
            plugin = source.load()
            self._manager.register(plugin, name=source.name)
            self._refuse_unknown_hooks(plugin)
            self.parts.update(self._parts_of(plugin, source.name, source.origin))
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

    def _parts_of(self, plugin: Any, plugin_name: str, origin: str) -> dict[tuple[str, str], Part]:
        found: dict[tuple[str, str], Part] = {}
        for kind, hook_name in KINDS.items():

            def register(name: str, factory: Reference, serving: Reference | None = None, *, kind: str = kind) -> None:
                taken = found.get((kind, name)) or self.parts.get((kind, name))
                if taken is not None:
                    raise PluginError(f"{kind} {name!r} is offered twice: by {taken.origin} and by {origin}")
                found[kind, name] = Part.of(kind, name, factory, origin, plugin_name, serving)

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
