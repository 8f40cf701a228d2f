"""Where plugins come from: Springtide itself, installed packages that the settings allow, modules, a folder."""

import functools
import importlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from springtide.errors import PluginError
from springtide.settings.model import PluginSettings

Way = Literal["built in", "plugins.allow", "plugins.modules", "plugins.folder", "command line"]
"""What lets a plugin in."""

EVERY_PACKAGE = "*"
_GROUP = "springtide"
_BUILT_IN = "springtide"  # The distribution whose parts are looked at first.


@dataclass(frozen=True, slots=True)
class Source:
    """A plugin that is to be loaded.

    Attributes:
        name: Name of the module, or path of the file.
        module_name: Name in ``sys.modules``.
        load: Imports the plugin and returns it.
        way: What lets it in.
        distribution: The installed distribution that offers it; empty for one that the settings name.
        version: The distribution's; empty likewise.
    """

    name: str
    module_name: str
    load: Callable[[], Any]
    way: Way
    distribution: str = ""
    version: str = ""

    @property
    def origin(self) -> str:
        """Distribution and version, or the name again."""
        return f"{self.distribution} {self.version}" if self.distribution else self.name

    @classmethod
    def of_module(cls, name: str, way: Way = "plugins.modules") -> "Source":
        """Return a plugin by its module's name."""
        return cls(name, name, functools.partial(importlib.import_module, name), way)

    @classmethod
    def of_file(cls, path: Path, way: Way = "plugins.folder") -> "Source":
        """Return a plugin by its file's path."""
        module_name = f"springtide_plugin_{path.stem}"
        return cls(str(path), module_name, functools.partial(_import_file, path, module_name), way)


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A plugin that this process has imported.

    Attributes:
        name: Name of the module, or path of the file.
        distribution: The installed distribution that offers it; empty for one that the settings name.
        version: The distribution's; empty likewise.
        way: What let it in.
    """

    name: str
    distribution: str
    version: str
    way: Way

    @property
    def origin(self) -> str:
        """Distribution and version, or the name again."""
        return f"{self.distribution} {self.version}" if self.distribution else self.name

    def __str__(self) -> str:
        return f"{self.name} of {self.origin} ({self.way})" if self.distribution else f"{self.name} ({self.way})"


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """An installed package that offers plugins, and that the settings do not allow: nothing of it is imported.

    Attributes:
        distribution: Its name.
        version: Its version.
        modules: The modules that it offers as plugins.
    """

    distribution: str
    version: str
    modules: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.distribution} {self.version} is installed and offers plugins; it is not imported, since "
            f'plugins.allow does not name it (allow = ["{self.distribution}"])'
        )


def built_in() -> Iterator[Source]:
    """Yield the plugins of Springtide itself; none where it is run from a folder, without being installed."""
    for distribution in importlib.metadata.distributions(name=_BUILT_IN):
        # A look-up by name also finds folders such as springtide-x-1.0.dist-info, which are of another one.
        if distribution.name == _BUILT_IN:
            yield from _offered_by(distribution, "built in")
            return


def allowed(settings: PluginSettings) -> Iterator[Source]:
    """Yield the plugins of the installed packages that ``plugins.allow`` names, but for those in ``plugins.modules``.

    In place of a package that offers none, since its name may be misspelt, comes a plugin that cannot be loaded.
    """
    if not settings.allow:
        return
    names = {normalized(name): name for name in settings.allow}
    missing = {key: name for key, name in names.items() if key not in (EVERY_PACKAGE, _BUILT_IN)}
    distributions = _distributions()
    for key, distribution in distributions.items():
        missing.pop(key, None)
        if EVERY_PACKAGE in names or key in names:
            for source in _offered_by(distribution, "plugins.allow"):
                if source.name not in settings.modules:
                    yield source
    offering = ", ".join(sorted(distribution.name for distribution in distributions.values())) or "none"
    for name in missing.values():
        yield Source(name, name, functools.partial(_refuse_unknown, offering), "plugins.allow")


def not_allowed(settings: PluginSettings) -> list[NotAllowed]:
    """Return the installed packages that offer plugins, and of which the settings let none in."""
    names = set(map(normalized, settings.allow))
    if EVERY_PACKAGE in names:
        return []
    left_out = []
    for key, distribution in _distributions().items():
        modules = tuple(entry_point.value for entry_point in _entry_points(distribution))
        if key not in names and not set(modules) <= set(settings.modules):
            left_out.append(NotAllowed(distribution.name, distribution.version, modules))
    return left_out


def named(settings: PluginSettings) -> Iterator[Source]:
    """Yield the plugins that the settings name by module or folder."""
    yield from map(Source.of_module, settings.modules)
    yield from map(Source.of_file, sorted(Path(settings.folder).glob("*.py")) if settings.folder else ())


def of_command_line(name: str) -> Source:
    """Return the plugin that a person names: by its file, by its module, or by a module that a package offers."""
    if name.endswith(".py"):
        return Source.of_file(Path(name), "command line")
    for distribution in _distributions().values():
        for source in _offered_by(distribution, "command line"):
            if source.name == name:
                return source
    return Source.of_module(name, "command line")


def normalized(name: str) -> str:
    """Return the name of a distribution as all spellings of it are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _distributions() -> dict[str, importlib.metadata.Distribution]:
    """Return the installed distributions that offer plugins, by normalized name; their metadata alone are read."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions():
        # One is found twice if its folder is twice on the path; the first is the one that would be imported.
        if distribution.name and normalized(distribution.name) != _BUILT_IN and any(_entry_points(distribution)):
            found.setdefault(normalized(distribution.name), distribution)
    return found


def _refuse_unknown(offering: str) -> None:
    raise PluginError(
        f"plugins.allow names it, and no installed package of that name offers plugins (choices: {offering})"
    )


def _entry_points(distribution: importlib.metadata.Distribution) -> Iterator[importlib.metadata.EntryPoint]:
    return (entry_point for entry_point in distribution.entry_points if entry_point.group == _GROUP)


def _offered_by(distribution: importlib.metadata.Distribution, way: Way) -> Iterator[Source]:
    for entry_point in _entry_points(distribution):
        yield Source(
            entry_point.value, entry_point.module, entry_point.load, way, distribution.name, distribution.version
        )


def _import_file(path: Path, module_name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None, "a .py file has a spec"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module
